/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Walking through descriptors, and what their fields mean at a speed. DriverKit 19.
 */
#ifndef WEIR_USBDRIVERKIT_APPLEUSBDESCRIPTORPARSING_H
#define WEIR_USBDRIVERKIT_APPLEUSBDESCRIPTORPARSING_H

#include <USBDriverKit/AppleUSBDefinitions.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The descriptor behind `current` in a configuration, or the first one for null; null at the end or where a descriptor
 * is broken. */
const IOUSBDescriptorHeader *IOUSBGetNextDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                                    const IOUSBDescriptorHeader *currentDescriptor);
const IOUSBDescriptorHeader *IOUSBGetNextDescriptorWithType(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                                            const IOUSBDescriptorHeader *currentDescriptor,
                                                            const uint8_t type);

/* The same among what belongs to `parent`: what stands between it and the next descriptor of its type. An interface
 * association's end with the interfaces that it groups. */
const IOUSBDescriptorHeader *
IOUSBGetNextAssociatedDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                 const IOUSBDescriptorHeader *parentDescriptor,
                                 const IOUSBDescriptorHeader *currentDescriptor);
const IOUSBDescriptorHeader *
IOUSBGetNextAssociatedDescriptorWithType(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                         const IOUSBDescriptorHeader *parentDescriptor,
                                         const IOUSBDescriptorHeader *currentDescriptor, const uint8_t type);

const IOUSBInterfaceAssociationDescriptor *
IOUSBGetNextInterfaceAssociationDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                           const IOUSBDescriptorHeader *currentDescriptor);
const IOUSBInterfaceDescriptor *
IOUSBGetNextInterfaceDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                const IOUSBDescriptorHeader *currentDescriptor);
uint32_t IOUSBGetConfigurationMaxPowerMilliAmps(uint32_t usbDeviceSpeed, const IOUSBConfigurationDescriptor *descriptor);

const IOUSBEndpointDescriptor *
IOUSBGetNextEndpointDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                               const IOUSBInterfaceDescriptor *interfaceDescriptor,
                               const IOUSBDescriptorHeader *currentDescriptor);
uint8_t IOUSBGetEndpointDirection(const IOUSBEndpointDescriptor *descriptor);
uint8_t IOUSBGetEndpointAddress(const IOUSBEndpointDescriptor *descriptor);
uint8_t IOUSBGetEndpointNumber(const IOUSBEndpointDescriptor *descriptor);
uint8_t IOUSBGetEndpointType(const IOUSBEndpointDescriptor *descriptor);
uint8_t IOUSBGetEndpointUsageType(const IOUSBEndpointDescriptor *descriptor);
uint8_t IOUSBGetEndpointSynchronizationType(const IOUSBEndpointDescriptor *descriptor);
uint16_t IOUSBGetEndpointMaxPacketSize(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor);

/* Bytes of a service interval, bursts and transactions included; the companions may be null. */
uint32_t
IOUSBGetEndpointBurstSize(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor,
                          const IOUSBSuperSpeedEndpointCompanionDescriptor *companionDescriptor,
                          const IOUSBSuperSpeedPlusIsochronousEndpointCompanionDescriptor *sspCompanionDescriptor);
uint8_t
IOUSBGetEndpointMult(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor,
                     const IOUSBSuperSpeedEndpointCompanionDescriptor *companionDescriptor,
                     const IOUSBSuperSpeedPlusIsochronousEndpointCompanionDescriptor *sspCompanionDescriptor);
/* n of 2^(n-1) microframes of 125 us; the same in microframes and in frames of 1 ms. 0: the endpoint has no interval. */
uint32_t IOUSBGetEndpointIntervalEncodedMicroframes(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor);
uint32_t IOUSBGetEndpointIntervalMicroframes(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor);
uint32_t IOUSBGetEndpointIntervalFrames(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor);
uint32_t IOUSBGetEndpointMaxStreams(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor,
                                    const IOUSBSuperSpeedEndpointCompanionDescriptor *companionDescriptor);
uint32_t IOUSBGetEndpointMaxStreamsEncoded(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor,
                                           const IOUSBSuperSpeedEndpointCompanionDescriptor *companionDescriptor);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_USBDRIVERKIT_APPLEUSBDESCRIPTORPARSING_H */
