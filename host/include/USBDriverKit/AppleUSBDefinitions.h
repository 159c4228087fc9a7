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

#include <DriverKit/IOReturn.h>
#include <DriverKit/IOTypes.h>

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
    kIOUSBDecriptorTypeSuperSpeedUSBEndpointCompanion = 48,
    kIOUSBDescriptorTypeSuperSpeedUSBEndpointCompanion = 48
};
typedef enum tIOUSBDescriptorType tIOUSBDescriptorType;

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
enum tIOUSBDeviceRequest {
    kIOUSBDeviceRequestSizePhase = 5,
    kIOUSBDeviceRequestTypePhase = 5,
    kIOUSBDeviceRequestDirectionPhase = 7,
    kIOUSBDeviceRequestRecipientPhase = 0,
    kIOUSBDeviceRequestDirectionOut = 0 << 7,
    kIOUSBDeviceRequestDirectionIn = 1 << 7,
    kIOUSBDeviceRequestTypeStandard = 0 << 5,
    kIOUSBDeviceRequestTypeClass = 1 << 5,
    kIOUSBDeviceRequestTypeVendor = 2 << 5,
    kIOUSBDeviceRequestRecipientDevice = 0,
    kIOUSBDeviceRequestRecipientInterface = 1,
    kIOUSBDeviceRequestRecipientEndpoint = 2,
    kIOUSBDeviceRequestRecipientOther = 3
};
#define USBmakebmRequestType(direction, type, recipient) \
    ((uint8_t)((((direction) & 1) << 7) | (((type) & 3) << 5) | ((recipient) & 0x1f)))

/* bEndpointAddress and bmAttributes (USB 2.0 table 9-13). */
enum {
    kIOUSBEndpointDescriptorNumber = 0x0f,
    kIOUSBEndpointDescriptorDirection = 0x80,
    kIOUSBEndpointDescriptorDirectionPhase = 7,
    kIOUSBEndpointDescriptorDirectionOut = 0x00,
    kIOUSBEndpointDescriptorDirectionIn = 0x80,
    kIOUSBEndpointDescriptorTransferType = 0x03,
    kIOUSBEndpointDescriptorTransferTypeControl = 0,
    kIOUSBEndpointDescriptorTransferTypeIsochronous = 1,
    kIOUSBEndpointDescriptorTransferTypeBulk = 2,
    kIOUSBEndpointDescriptorTransferTypeInterrupt = 3
};
enum tIOUSBEndpointDirection { kIOUSBEndpointDirectionOut = 0, kIOUSBEndpointDirectionIn = 1 };
enum tIOUSBEndpointType {
    kIOUSBEndpointTypeControl = 0,
    kIOUSBEndpointTypeIsochronous = 1,
    kIOUSBEndpointTypeBulk = 2,
    kIOUSBEndpointTypeInterrupt = 3
};

#include <USBDriverKit/IOUSBHostFamilyDefinitions.h>

#include <USBDriverKit/USBDriverKitDefs.h>

#include <USBDriverKit/AppleUSBDescriptorParsing.h>

#endif /* WEIR_USBDRIVERKIT_APPLEUSBDEFINITIONS_H */
