/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Speeds, errors and matching keys of the USB family.
 */
#ifndef WEIR_USBDRIVERKIT_IOUSBHOSTFAMILYDEFINITIONS_H
#define WEIR_USBDRIVERKIT_IOUSBHOSTFAMILYDEFINITIONS_H

#include <DriverKit/IOReturn.h>

/* IOUSBHostDevice::GetSpeed. */
enum tIOUSBHostConnectionSpeed {
    kIOUSBHostConnectionSpeedNone = 0,
    kIOUSBHostConnectionSpeedFull = 1,
    kIOUSBHostConnectionSpeedLow = 2,
    kIOUSBHostConnectionSpeedHigh = 3,
    kIOUSBHostConnectionSpeedSuper = 4,
    kIOUSBHostConnectionSpeedSuperPlus = 5,
    kIOUSBHostConnectionSpeedSuperPlusBy2 = 6,
    kIOUSBHostConnectionSpeedCount = 7
};
typedef enum tIOUSBHostConnectionSpeed tIOUSBHostConnectionSpeed;

/* Errors of the USB family: subsystem 1 of system 0x38. */
#define kUSBHostReturnPipeStalled ((kern_return_t)0xe0005000)
#define kUSBHostReturnNoPower ((kern_return_t)0xe0005001)
#define kIOUSBHostReturnPipeStalled kUSBHostReturnPipeStalled

/* Property keys of devices and interfaces, for matching. */
#define kUSBHostMatchingPropertyVendorID "idVendor"
#define kUSBHostMatchingPropertyProductID "idProduct"
#define kUSBHostMatchingPropertyConfigurationValue "bConfigurationValue"
#define kUSBHostMatchingPropertyInterfaceNumber "bInterfaceNumber"
#define kUSBHostMatchingPropertyInterfaceClass "bInterfaceClass"
#define kUSBHostMatchingPropertyInterfaceSubClass "bInterfaceSubClass"
#define kUSBHostMatchingPropertyInterfaceProtocol "bInterfaceProtocol"
#define kUSBHostMatchingPropertySpeed "USBSpeed"
#define kUSBHostMatchingPropertyPortType "USBPortType"
#define kUSBHostMatchingPropertyProductIDMask "idProductMask"
#define kUSBHostMatchingPropertyProductIDArray "idProductArray"
#define kUSBHostMatchingPropertyDeviceClass "bDeviceClass"
#define kUSBHostMatchingPropertyDeviceSubClass "bDeviceSubClass"
#define kUSBHostMatchingPropertyDeviceProtocol "bDeviceProtocol"
#define kUSBHostMatchingPropertyDeviceReleaseNumber "bcdDevice"

/* What devices, interfaces and ports say of themselves. */
#define kUSBHostPropertyLocationID "locationID"
#define kUSBHostDevicePropertyVendorString "kUSBVendorString"
#define kUSBHostDevicePropertySerialNumberString "kUSBSerialNumberString"
#define kUSBHostDevicePropertyContainerID "kUSBContainerID"
#define kUSBHostDevicePropertyFailedRequestedPower "kUSBFailedRequestedPower"
#define kUSBHostDevicePropertyResumeRecoveryTime "kUSBResumeRecoveryTime"
#define kUSBHostDevicePropertyPreferredConfiguration "kUSBPreferredConfiguration"
#define kUSBHostDevicePropertyPreferredRecoveryConfiguration "kUSBPreferredRecoveryConfiguration"
#define kUSBHostDevicePropertyCurrentConfiguration "kUSBCurrentConfiguration"
#define kUSBHostDevicePropertyRemoteWakeOverride "kUSBRemoteWakeOverride"
#define kUSBHostDevicePropertyEnableLPM "kUSBHostDeviceEnableLPM"
#define kUSBHostDevicePropertyDisablePortLPM "kUSBHostDeviceDisablePortLPM"
#define kUSBHostDevicePropertyAddress "kUSBAddress"
#define kUSBHostDevicePropertyManufacturerStringIndex "iManufacturer"
#define kUSBHostDevicePropertySerialNumberStringIndex "iSerialNumber"
#define kUSBHostDevicePropertyProductStringIndex "iProduct"
#define kUSBHostDevicePropertyProductString "kUSBProductString"
#define kUSBHostDevicePropertyNumConfigs "bNumConfigurations"
#define kUSBHostDevicePropertyMaxPacketSize "bMaxPacketSize0"
#define kUSBHostDevicePropertyStandardVersion "bcdUSB"
#define kUSBHostInterfacePropertyAlternateSetting "bAlternateSetting"
#define kUSBHostInterfacePropertyStringIndex "iInterface"
#define kUSBHostInterfacePropertyString "kUSBString"
#define kUSBHostInterfacePropertyNumEndpoints "bNumEndpoints"
#define kUSBHostPortPropertyStatus "port-status"

#endif /* WEIR_USBDRIVERKIT_IOUSBHOSTFAMILYDEFINITIONS_H */
