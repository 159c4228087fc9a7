/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Options of USBDriverKit's calls, and how copied descriptors are freed.
 */
#ifndef WEIR_USBDRIVERKIT_USBDRIVERKITDEFS_H
#define WEIR_USBDRIVERKIT_USBDRIVERKITDEFS_H

#include <USBDriverKit/AppleUSBDefinitions.h>

/* Options of Abort. */
enum IOUSBAbortOptions { kIOUSBAbortAsynchronous = 0, kIOUSBAbortSynchronous = 1 };
typedef enum IOUSBAbortOptions IOUSBAbortOptions;

#ifdef __cplusplus
/* Frees what a Copy method of a device or an interface returned; null is allowed. */
void IOUSBHostFreeDescriptor(const IOUSBDescriptor *descriptor);
void IOUSBHostFreeDescriptor(const IOUSBDeviceDescriptor *descriptor);
void IOUSBHostFreeDescriptor(const IOUSBConfigurationDescriptor *descriptor);
void IOUSBHostFreeDescriptor(const IOUSBBOSDescriptor *descriptor);
void IOUSBHostFreeDescriptor(const IOUSBStringDescriptor *descriptor);
#endif

#endif /* WEIR_USBDRIVERKIT_USBDRIVERKITDEFS_H */
