/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Descriptors and constants of the Universal Serial Bus under Apple's names; what they mean is in the USB 2.0 and 3.1
 * specifications, chapter 9, and in USBDriverKit's documentation.
 */
#ifndef WEIR_USBDRIVERKIT_APPLEUSBDEFINITIONS_H
#define WEIR_USBDRIVERKIT_APPLEUSBDEFINITIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <DriverKit/IOLib.h>
#include <DriverKit/IOReturn.h>
#include <DriverKit/IOTypes.h>
#include <libkern/OSByteOrder.h>

/* Multi-byte fields are little-endian (USB 2.0 section 8.1). */
#define USBToHost16 OSSwapLittleToHostInt16
#define HostToUSB16 OSSwapHostToLittleInt16
#define USBToHost32 OSSwapLittleToHostInt32
#define HostToUSB32 OSSwapHostToLittleInt32
#define USBToHost64 OSSwapLittleToHostInt64
#define HostToUSB64 OSSwapHostToLittleInt64

/* One bit, and the bits from start to end, both included. */
#define IOUSBBit(bit)                  ((uint32_t)1 << (bit))
#define IOUSBBitRange(start, end)      ((uint32_t)(0xffffffffu >> (31 - (end))) & ((uint32_t)0xffffffffu << (start)))
#define IOUSBBitRange64(start, end)    ((uint64_t)(~0ULL >> (63 - (end))) & (uint64_t)(~0ULL << (start)))
#define IOUSBBitRangePhase(start, end) (start)

struct IOUSBDescriptorHeader {
    uint8_t bLength;
    uint8_t bDescriptorType;
} __attribute__((packed));
typedef struct IOUSBDescriptorHeader IOUSBDescriptorHeader;
typedef IOUSBDescriptorHeader IOUSBDescriptor;

struct IOUSBDeviceDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint16_t bcdUSB;
    uint8_t bDeviceClass;
    uint8_t bDeviceSubClass;
    uint8_t bDeviceProtocol;
    uint8_t bMaxPacketSize0;
    uint16_t idVendor;
    uint16_t idProduct;
    uint16_t bcdDevice;
    uint8_t iManufacturer;
    uint8_t iProduct;
    uint8_t iSerialNumber;
    uint8_t bNumConfigurations;
} __attribute__((packed));
typedef struct IOUSBDeviceDescriptor IOUSBDeviceDescriptor;

struct IOUSBConfigurationDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint16_t wTotalLength;
    uint8_t bNumInterfaces;
    uint8_t bConfigurationValue;
    uint8_t iConfiguration;
    uint8_t bmAttributes;
    uint8_t MaxPower;
} __attribute__((packed));
typedef struct IOUSBConfigurationDescriptor IOUSBConfigurationDescriptor;

struct IOUSBInterfaceDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint8_t bInterfaceNumber;
    uint8_t bAlternateSetting;
    uint8_t bNumEndpoints;
    uint8_t bInterfaceClass;
    uint8_t bInterfaceSubClass;
    uint8_t bInterfaceProtocol;
    uint8_t iInterface;
} __attribute__((packed));
typedef struct IOUSBInterfaceDescriptor IOUSBInterfaceDescriptor;

struct IOUSBInterfaceAssociationDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint8_t bFirstInterface;
    uint8_t bInterfaceCount;
    uint8_t bFunctionClass;
    uint8_t bFunctionSubClass;
    uint8_t bFunctionProtocol;
    uint8_t iFunction;
} __attribute__((packed));
typedef struct IOUSBInterfaceAssociationDescriptor IOUSBInterfaceAssociationDescriptor;

struct IOUSBEndpointDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint8_t bEndpointAddress;
    uint8_t bmAttributes;
    uint16_t wMaxPacketSize;
    uint8_t bInterval;
} __attribute__((packed));
typedef struct IOUSBEndpointDescriptor IOUSBEndpointDescriptor;

struct IOUSBSuperSpeedEndpointCompanionDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint8_t bMaxBurst;
    uint8_t bmAttributes;
    uint16_t wBytesPerInterval;
} __attribute__((packed));
typedef struct IOUSBSuperSpeedEndpointCompanionDescriptor IOUSBSuperSpeedEndpointCompanionDescriptor;

struct IOUSBSuperSpeedPlusIsochronousEndpointCompanionDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint16_t wReserved;
    uint32_t dwBytesPerInterval;
} __attribute__((packed));
typedef struct IOUSBSuperSpeedPlusIsochronousEndpointCompanionDescriptor
    IOUSBSuperSpeedPlusIsochronousEndpointCompanionDescriptor;

struct IOUSBDeviceQualifierDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint16_t bcdUSB;
    uint8_t bDeviceClass;
    uint8_t bDeviceSubClass;
    uint8_t bDeviceProtocol;
    uint8_t bMaxPacketSize0;
    uint8_t bNumConfigurations;
    uint8_t bReserved;
} __attribute__((packed));
typedef struct IOUSBDeviceQualifierDescriptor IOUSBDeviceQualifierDescriptor;

struct IOUSBConfigurationDescHeader {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint16_t wTotalLength;
} __attribute__((packed));
typedef struct IOUSBConfigurationDescHeader IOUSBConfigurationDescHeader;

/* A request's setup packet (USB 2.0 table 9-2). */
struct IOUSBDeviceRequest {
    uint8_t bmRequestType;
    uint8_t bRequest;
    uint16_t wValue;
    uint16_t wIndex;
    uint16_t wLength;
} __attribute__((packed));
typedef struct IOUSBDeviceRequest IOUSBDeviceRequest;

struct IOUSBStringDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint8_t bString[1];
} __attribute__((packed));
typedef struct IOUSBStringDescriptor IOUSBStringDescriptor;

struct IOUSBBOSDescriptor {
    uint8_t bLength;
    uint8_t bDescriptorType;
    uint16_t wTotalLength;
    uint8_t bNumDeviceCaps;
} __attribute__((packed));
typedef struct IOUSBBOSDescriptor IOUSBBOSDescriptor;

/* bDescriptorType (USB 2.0 table 9-5, USB 3.1 table 9-6). */
enum tIOUSBDescriptorType {
    kIOUSBDescriptorTypeDevice = 1,
    kIOUSBDescriptorTypeConfiguration = 2,
    kIOUSBDescriptorTypeString = 3,
    kIOUSBDescriptorTypeInterface = 4,
    kIOUSBDescriptorTypeEndpoint = 5,
    kIOUSBDescriptorTypeDeviceQualifier = 6,
    kIOUSBDescriptorTypeOtherSpeedConfiguration = 7,
    kIOUSBDescriptorTypeInterfacePower = 8,
    kIOUSBDescriptorTypeOTG = 9,
    kIOUSBDescriptorTypeDebug = 10,
    kIOUSBDescriptorTypeInterfaceAssociation = 11,
    kIOUSBDescriptorTypeBOS = 15,
    kIOUSBDescriptorTypeDeviceCapability = 16,
    kIOUSBDecriptorTypeHID = 33,
    kIOUSBDecriptorTypeReport = 34,
    kIOUSBDescriptorTypePhysical = 35,
    kIOUSBDescriptorTypeHub = 41,
    kIOUSBDescriptorTypeSuperSpeedHub = 42,
    kIOUSBDecriptorTypeSuperSpeedUSBEndpointCompanion = 48,
    kIOUSBDescriptorTypeSuperSpeedUSBEndpointCompanion = 48,
    kIOUSBDescriptorTypeSuperSpeedPlusIsochronousEndpointCompanion = 49
};
typedef enum tIOUSBDescriptorType tIOUSBDescriptorType;

/* bLength of descriptors that have one length. */
enum tIOUSBDescriptorSize {
    kIOUSBDescriptorHeaderSize = 2,
    kIOUSBDescriptorSizeDevice = 18,
    kIOUSBDescriptorSizeConfiguration = 9,
    kIOUSBDescriptorSizeInterface = 9,
    kIOUSBDescriptorSizeEndpoint = 7,
    kIOUSBDescriptorSizeStringMinimum = kIOUSBDescriptorHeaderSize,
    kIOUSBDescriptorSizeStringMaximum = 255,
    kIOUSBDescriptorSizeDeviceQualifier = 10,
    kIOUSBDescriptorSizeInterfaceAssociation = 8,
    kIOUSBDescriptorSizeBOS = 5,
    kIOUSBDescriptorSizeDeviceCapability = 3,
    kIOUSBDescriptorSizeSuperSpeedUSBEndpointCompanion = 6,
    kIOUSBDescriptorSizeSuperSpeedPlusIsochronousEndpointCompanion = 8
};
typedef enum tIOUSBDescriptorSize tIOUSBDescriptorSize;

/* bmAttributes of a configuration (USB 2.0 table 9-10). */
enum {
    kIOUSBConfigurationDescriptorAttributeRemoteWakeCapable = IOUSBBit(5),
    kIOUSBConfigurationDescriptorAttributeSelfPowered = IOUSBBit(6)
};

enum tIOUSBLanguageID { kIOUSBLanguageIDEnglishUS = 0x0409 };
typedef enum tIOUSBLanguageID tIOUSBLanguageID;

enum { kIOUSBAppleVendorID = 0x05ac };

/* bmRequestType (USB 2.0 table 9-2). */
enum tIOUSBDeviceRequestDirectionValue {
    kIOUSBDeviceRequestDirectionValueOut = 0,
    kIOUSBDeviceRequestDirectionValueIn = 1
};
enum tIOUSBDeviceRequestTypeValue {
    kIOUSBDeviceRequestTypeValueStandard = 0,
    kIOUSBDeviceRequestTypeValueClass = 1,
    kIOUSBDeviceRequestTypeValueVendor = 2
};
enum tIOUSBDeviceRequestRecipientValue {
    kIOUSBDeviceRequestRecipientValueDevice = 0,
    kIOUSBDeviceRequestRecipientValueInterface = 1,
    kIOUSBDeviceRequestRecipientValueEndpoint = 2,
    kIOUSBDeviceRequestRecipientValueOther = 3
};
typedef enum tIOUSBDeviceRequestDirectionValue tIOUSBDeviceRequestDirectionValue;
typedef enum tIOUSBDeviceRequestTypeValue tIOUSBDeviceRequestTypeValue;
typedef enum tIOUSBDeviceRequestRecipientValue tIOUSBDeviceRequestRecipientValue;
enum tIOUSBDeviceRequest {
    kIOUSBDeviceRequestSize = 8,
    kIOUSBDeviceRequestDirectionMask = IOUSBBit(7),
    kIOUSBDeviceRequestDirectionPhase = 7,
    kIOUSBDeviceRequestDirectionOut = 0 << 7,
    kIOUSBDeviceRequestDirectionIn = 1 << 7,
    kIOUSBDeviceRequestTypeMask = IOUSBBitRange(5, 6),
    kIOUSBDeviceRequestTypePhase = 5,
    kIOUSBDeviceRequestTypeStandard = 0 << 5,
    kIOUSBDeviceRequestTypeClass = 1 << 5,
    kIOUSBDeviceRequestTypeVendor = 2 << 5,
    kIOUSBDeviceRequestRecipientMask = IOUSBBitRange(0, 4),
    kIOUSBDeviceRequestRecipientPhase = 0,
    kIOUSBDeviceRequestRecipientDevice = 0,
    kIOUSBDeviceRequestRecipientInterface = 1,
    kIOUSBDeviceRequestRecipientEndpoint = 2,
    kIOUSBDeviceRequestRecipientOther = 3
};

/* bRequest of standard requests (USB 2.0 table 9-4, USB 3.1 table 9-5). */
enum {
    kIOUSBDeviceRequestGetStatus = 0,
    kIOUSBDeviceRequestClearFeature = 1,
    kIOUSBDeviceRequestGetState = 2,
    kIOUSBDeviceRequestSetFeature = 3,
    kIOUSBDeviceRequestSetAddress = 5,
    kIOUSBDeviceRequestGetDescriptor = 6,
    kIOUSBDeviceRequestSetDescriptor = 7,
    kIOUSBDeviceRequestGetConfiguration = 8,
    kIOUSBDeviceRequestSetConfiguration = 9,
    kIOUSBDeviceRequestGetInterface = 10,
    kIOUSBDeviceRequestSetInterface = 11,
    kIOUSBDeviceRequestSynchFrame = 12,
    kIOUSBDeviceRequestSetSel = 48,
    kIOUSBDeviceRequestSetIsochronousDelay = 49
};

/* Answers to GET_STATUS, and features to set and clear (USB 2.0 section 9.4.5 and table 9-6, USB 3.1 table 9-7). */
enum {
    kIOUSBDeviceStatusSelfPowered = IOUSBBit(0),
    kIOUSBDeviceStatusRemoteWakeEnable = IOUSBBit(1),
    kIOUSBDeviceStatusU1Enable = IOUSBBit(2),
    kIOUSBDeviceStatusU2Enable = IOUSBBit(3),
    kIOUSBDeviceStatusLTMEnable = IOUSBBit(4),
    kIOUSBInterfaceStatusRemoteWakeCapable = IOUSBBit(0),
    kIOUSBInterfaceStatusRemoteWakeEnable = IOUSBBit(1),
    IOUSBEndpointStatusHalt = IOUSBBit(0),
    kIOUSBDeviceFeatureSelectorRemoteWakeup = 1,
    kIOUSBDeviceFeatureSelectorTestMode = 2,
    kIOUSBDeviceFeatureSelectorU1Enable = 48,
    kIOUSBDeviceFeatureSelectorU2Enable = 49,
    kIOUSBDeviceFeatureSelectorLTMEnable = 50,
    kIOUSBInterfaceFeatureSelectorSuspend = 0,
    IOUSBEndpointFeatureSelectorStall = 0
};

#define USBmakebmRequestType(direction, type, recipient) \
    ((uint8_t)((((direction) & 1) << 7) | (((type) & 3) << 5) | ((recipient) & 0x1f)))

/* bEndpointAddress, bmAttributes and wMaxPacketSize (USB 2.0 table 9-13). */
enum {
    kIOUSBEndpointDescriptorNumber = IOUSBBitRange(0, 3),
    kIOUSBEndpointDescriptorEndpointAddressReserved = IOUSBBitRange(4, 6),
    kIOUSBEndpointDescriptorDirection = IOUSBBit(7),
    kIOUSBEndpointDescriptorDirectionPhase = 7,
    kIOUSBEndpointDescriptorDirectionOut = 0,
    kIOUSBEndpointDescriptorDirectionIn = IOUSBBit(7),
    kIOUSBEndpointDescriptorTransferType = IOUSBBitRange(0, 1),
    kIOUSBEndpointDescriptorTransferTypePhase = 0,
    kIOUSBEndpointDescriptorTransferTypeControl = 0,
    kIOUSBEndpointDescriptorTransferTypeIsochronous = 1,
    kIOUSBEndpointDescriptorTransferTypeBulk = 2,
    kIOUSBEndpointDescriptorTransferTypeInterrupt = 3,
    kIOUSBEndpointDescriptorSynchronizationType = IOUSBBitRange(2, 3),
    kIOUSBEndpointDescriptorSynchronizationTypePhase = 2,
    kIOUSBEndpointDescriptorSynchronizationTypeNone = 0 << 2,
    kIOUSBEndpointDescriptorSynchronizationTypeAsynchronous = 1 << 2,
    kIOUSBEndpointDescriptorSynchronizationTypeAdaptive = 2 << 2,
    kIOUSBEndpointDescriptorSynchronizationTypeSynchronous = 3 << 2,
    kIOUSBEndpointDescriptorUsageType = IOUSBBitRange(4, 5),
    kIOUSBEndpointDescriptorUsageTypePhase = 4,
    kIOUSBEndpointDescriptorUsageTypeInterruptPeriodic = 0 << 4,
    kIOUSBEndpointDescriptorUsageTypeInterruptNotification = 1 << 4,
    kIOUSBEndpointDescriptorUsageTypeIsocData = 0 << 4,
    kIOUSBEndpointDescriptorUsageTypeIsocFeedback = 1 << 4,
    kIOUSBEndpointDescriptorUsageTypeIsocImplicit = 2 << 4,
    kIOUSBEndpointDescriptorPacketSize = IOUSBBitRange(0, 10),
    kIOUSBEndpointDescriptorPacketSizePhase = 0,
    kIOUSBEndpointDescriptorPacketSizeMult = IOUSBBitRange(11, 12),
    kIOUSBEndpointDescriptorPacketSizeMultPhase = 11
};
enum tIOUSBEndpointDirection {
    kIOUSBEndpointDirectionOut = 0,
    kIOUSBEndpointDirectionIn = 1,
    kIOUSBEndpointDirectionUnknown = 2
};
typedef enum tIOUSBEndpointDirection tIOUSBEndpointDirection;
enum tIOUSBEndpointType {
    kIOUSBEndpointTypeControl = 0,
    kIOUSBEndpointTypeIsochronous = 1,
    kIOUSBEndpointTypeBulk = 2,
    kIOUSBEndpointTypeInterrupt = 3
};
typedef enum tIOUSBEndpointType tIOUSBEndpointType;

/* Fields of a SuperSpeed endpoint companion (USB 3.1 table 9-27). */
enum {
    kIOUSBSuperSpeedEndpointCompanionDescriptorMaxBurst = IOUSBBitRange(0, 4),
    kIOUSBSuperSpeedEndpointCompanionDescriptorBulkMaxStreams = IOUSBBitRange(0, 4),
    kIOUSBSuperSpeedEndpointCompanionDescriptorIsocMult = IOUSBBitRange(0, 1),
    kIOUSBSuperSpeedEndpointCompanionDescriptorSSPIsocCompanion = IOUSBBit(7)
};

#include <USBDriverKit/IOUSBHostFamilyDefinitions.h>

#include <USBDriverKit/USBDriverKitDefs.h>

#include <USBDriverKit/AppleUSBDescriptorParsing.h>

#endif /* WEIR_USBDRIVERKIT_APPLEUSBDEFINITIONS_H */
