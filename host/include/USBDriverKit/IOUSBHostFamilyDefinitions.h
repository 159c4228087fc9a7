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
    kIOUSBHostConnectionSpeedSuperPlusBy2 = 6
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

#endif /* WEIR_USBDRIVERKIT_IOUSBHOSTFAMILYDEFINITIONS_H */
