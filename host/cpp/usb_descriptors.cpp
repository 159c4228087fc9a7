// SPDX-License-Identifier: MIT OR Apache-2.0
// Walking through descriptors, which are a device's: every step is checked against the configuration's length.

#include <USBDriverKit/USBDriverKit.h>

namespace {

/// The descriptor behind `one`, or the first one behind the configuration's own.
const IOUSBDescriptorHeader *behind(const IOUSBConfigurationDescriptor *configuration, const IOUSBDescriptorHeader *one)
{
    if (configuration == nullptr) {
        return nullptr;
    }
    const auto *first = reinterpret_cast<const uint8_t *>(configuration);
    const uint8_t *end = first + configuration->wTotalLength;
    const uint8_t *at = one != nullptr ? reinterpret_cast<const uint8_t *>(one) : first;
    // No pointer is formed beyond what was checked to be there.
    if (at < first || end - at < 2 || at[0] < 2 || at[0] > end - at) {
        return nullptr;
    }
    const uint8_t *next = at + at[0];
    const bool whole = end - next >= 2 && next[0] >= 2 && next[0] <= end - next;
    return whole ? reinterpret_cast<const IOUSBDescriptorHeader *>(next) : nullptr;
}

const IOUSBDescriptorHeader *header(const void *descriptor)
{
    return static_cast<const IOUSBDescriptorHeader *>(descriptor);
}

/// Whether `one` begins what is beside, not inside, its parent: something of the same kind, or of a kind that holds it.
bool ends(const IOUSBDescriptorHeader *parent, const IOUSBDescriptorHeader *one)
{
    if (one->bDescriptorType == parent->bDescriptorType) {
        return true;
    }
    const bool insideInterface = parent->bDescriptorType != kIOUSBDescriptorTypeInterfaceAssociation;
    return insideInterface && (one->bDescriptorType == kIOUSBDescriptorTypeInterface ||
                               one->bDescriptorType == kIOUSBDescriptorTypeInterfaceAssociation);
}

/// Periodic endpoints have an interval; others' bInterval means something else (USB 2.0 section 9.6.6).
bool isPeriodic(const IOUSBEndpointDescriptor *descriptor)
{
    return (IOUSBGetEndpointType(descriptor) & 1) != 0;
}

bool isIsochronous(const IOUSBEndpointDescriptor *descriptor)
{
    return IOUSBGetEndpointType(descriptor) == kIOUSBEndpointTypeIsochronous;
}

/// USB 3.1 section 9.6.7: bit 7 of an isochronous companion says that another companion follows.
bool hasPlus(const IOUSBEndpointDescriptor *descriptor, const IOUSBSuperSpeedEndpointCompanionDescriptor *companion,
             const IOUSBSuperSpeedPlusIsochronousEndpointCompanionDescriptor *plus)
{
    return isIsochronous(descriptor) && companion != nullptr && (companion->bmAttributes & 0x80) != 0 &&
           plus != nullptr;
}

} // namespace

extern "C" {

const IOUSBDescriptorHeader *IOUSBGetNextDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                                    const IOUSBDescriptorHeader *currentDescriptor)
{
    return behind(configurationDescriptor, currentDescriptor);
}

const IOUSBDescriptorHeader *IOUSBGetNextDescriptorWithType(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                                            const IOUSBDescriptorHeader *currentDescriptor,
                                                            const uint8_t type)
{
    do {
        currentDescriptor = behind(configurationDescriptor, currentDescriptor);
    } while (currentDescriptor != nullptr && currentDescriptor->bDescriptorType != type);
    return currentDescriptor;
}

const IOUSBDescriptorHeader *
IOUSBGetNextAssociatedDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                 const IOUSBDescriptorHeader *parentDescriptor,
                                 const IOUSBDescriptorHeader *currentDescriptor)
{
    const IOUSBDescriptorHeader *next =
        behind(configurationDescriptor, currentDescriptor != nullptr ? currentDescriptor : parentDescriptor);
    return next == nullptr || ends(parentDescriptor, next) ? nullptr : next;
}

const IOUSBDescriptorHeader *
IOUSBGetNextAssociatedDescriptorWithType(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                         const IOUSBDescriptorHeader *parentDescriptor,
                                         const IOUSBDescriptorHeader *currentDescriptor, const uint8_t type)
{
    do {
        currentDescriptor =
            IOUSBGetNextAssociatedDescriptor(configurationDescriptor, parentDescriptor, currentDescriptor);
    } while (currentDescriptor != nullptr && currentDescriptor->bDescriptorType != type);
    return currentDescriptor;
}

const IOUSBInterfaceAssociationDescriptor *
IOUSBGetNextInterfaceAssociationDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                           const IOUSBDescriptorHeader *currentDescriptor)
{
    const IOUSBDescriptorHeader *found = IOUSBGetNextDescriptorWithType(configurationDescriptor, currentDescriptor,
                                                                        kIOUSBDescriptorTypeInterfaceAssociation);
    const bool whole = found != nullptr && found->bLength >= sizeof(IOUSBInterfaceAssociationDescriptor);
    return whole ? reinterpret_cast<const IOUSBInterfaceAssociationDescriptor *>(found) : nullptr;
}

const IOUSBInterfaceDescriptor *
IOUSBGetNextInterfaceDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                                const IOUSBDescriptorHeader *currentDescriptor)
{
    const IOUSBDescriptorHeader *found =
        IOUSBGetNextDescriptorWithType(configurationDescriptor, currentDescriptor, kIOUSBDescriptorTypeInterface);
    const bool whole = found != nullptr && found->bLength >= sizeof(IOUSBInterfaceDescriptor);
    return whole ? reinterpret_cast<const IOUSBInterfaceDescriptor *>(found) : nullptr;
}

uint32_t IOUSBGetConfigurationMaxPowerMilliAmps(uint32_t usbDeviceSpeed, const IOUSBConfigurationDescriptor *descriptor)
{
    // USB 2.0 table 9-10: 2 mA; USB 3.1 table 9-22: 8 mA at Gen X speeds.
    return descriptor->MaxPower * (usbDeviceSpeed >= kIOUSBHostConnectionSpeedSuper ? 8U : 2U);
}

const IOUSBEndpointDescriptor *
IOUSBGetNextEndpointDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor,
                               const IOUSBInterfaceDescriptor *interfaceDescriptor,
                               const IOUSBDescriptorHeader *currentDescriptor)
{
    do {
        currentDescriptor = IOUSBGetNextAssociatedDescriptorWithType(
            configurationDescriptor, header(interfaceDescriptor), currentDescriptor, kIOUSBDescriptorTypeEndpoint);
    } while (currentDescriptor != nullptr && currentDescriptor->bLength < sizeof(IOUSBEndpointDescriptor));
    return reinterpret_cast<const IOUSBEndpointDescriptor *>(currentDescriptor);
}

uint8_t IOUSBGetEndpointDirection(const IOUSBEndpointDescriptor *descriptor)
{
    return (descriptor->bEndpointAddress & kIOUSBEndpointDescriptorDirection) != 0 ? kIOUSBEndpointDirectionIn
                                                                                  : kIOUSBEndpointDirectionOut;
}

uint8_t IOUSBGetEndpointAddress(const IOUSBEndpointDescriptor *descriptor) { return descriptor->bEndpointAddress; }

uint8_t IOUSBGetEndpointNumber(const IOUSBEndpointDescriptor *descriptor)
{
    return descriptor->bEndpointAddress & kIOUSBEndpointDescriptorNumber;
}

uint8_t IOUSBGetEndpointType(const IOUSBEndpointDescriptor *descriptor)
{
    return descriptor->bmAttributes & kIOUSBEndpointDescriptorTransferType;
}

// USB 2.0 table 9-13: bits 5..4 and 3..2 of bmAttributes.
uint8_t IOUSBGetEndpointUsageType(const IOUSBEndpointDescriptor *descriptor) { return descriptor->bmAttributes >> 4 & 3; }

uint8_t IOUSBGetEndpointSynchronizationType(const IOUSBEndpointDescriptor *descriptor)
{
    return descriptor->bmAttributes >> 2 & 3;
}

uint16_t IOUSBGetEndpointMaxPacketSize(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor)
{
    (void)usbDeviceSpeed;
    return descriptor->wMaxPacketSize & 0x7ff;
}

uint8_t IOUSBGetEndpointMult(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor,
                             const IOUSBSuperSpeedEndpointCompanionDescriptor *companionDescriptor,
                             const IOUSBSuperSpeedPlusIsochronousEndpointCompanionDescriptor *sspCompanionDescriptor)
{
    if (usbDeviceSpeed == kIOUSBHostConnectionSpeedHigh && isPeriodic(descriptor)) {
        // USB 2.0 table 9-13: additional transactions in a microframe.
        return descriptor->wMaxPacketSize >> 11 & 3;
    }
    const bool super = usbDeviceSpeed >= kIOUSBHostConnectionSpeedSuper && isIsochronous(descriptor);
    if (!super || companionDescriptor == nullptr) {
        return 0;
    }
    if (usbDeviceSpeed > kIOUSBHostConnectionSpeedSuper &&
        hasPlus(descriptor, companionDescriptor, sspCompanionDescriptor)) {
        // As many bursts as the bytes of the interval take, beyond the first.
        const uint32_t burst = IOUSBGetEndpointMaxPacketSize(usbDeviceSpeed, descriptor) *
                               (static_cast<uint32_t>(companionDescriptor->bMaxBurst) + 1);
        const uint32_t bytes = sspCompanionDescriptor->dwBytesPerInterval;
        return burst == 0 || bytes == 0 ? 0 : static_cast<uint8_t>((bytes - 1) / burst);
    }
    return companionDescriptor->bmAttributes & 3;
}

uint32_t IOUSBGetEndpointBurstSize(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor,
                                   const IOUSBSuperSpeedEndpointCompanionDescriptor *companionDescriptor,
                                   const IOUSBSuperSpeedPlusIsochronousEndpointCompanionDescriptor *sspCompanionDescriptor)
{
    const uint32_t packet = IOUSBGetEndpointMaxPacketSize(usbDeviceSpeed, descriptor);
    if (usbDeviceSpeed < kIOUSBHostConnectionSpeedSuper || companionDescriptor == nullptr) {
        return packet * (1U + IOUSBGetEndpointMult(usbDeviceSpeed, descriptor, nullptr, nullptr));
    }
    if (usbDeviceSpeed > kIOUSBHostConnectionSpeedSuper &&
        hasPlus(descriptor, companionDescriptor, sspCompanionDescriptor)) {
        return sspCompanionDescriptor->dwBytesPerInterval;
    }
    if (IOUSBGetEndpointType(descriptor) == kIOUSBEndpointTypeControl) {
        return packet;
    }
    const uint32_t mult = isIsochronous(descriptor) ? companionDescriptor->bmAttributes & 3 : 0;
    return packet * (companionDescriptor->bMaxBurst + 1U) * (mult + 1U);
}

uint32_t IOUSBGetEndpointIntervalMicroframes(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor)
{
    const uint32_t encoded = IOUSBGetEndpointIntervalEncodedMicroframes(usbDeviceSpeed, descriptor);
    return encoded == 0 ? 0 : 1U << (encoded - 1);
}

uint32_t IOUSBGetEndpointIntervalFrames(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor)
{
    constexpr uint32_t kMicroframes = 8;
    return (IOUSBGetEndpointIntervalMicroframes(usbDeviceSpeed, descriptor) + kMicroframes - 1) / kMicroframes;
}

uint32_t IOUSBGetEndpointIntervalEncodedMicroframes(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor)
{
    constexpr uint32_t kMax = 16, kFrame = 4;
    const uint32_t interval = descriptor->bInterval;
    if (!isPeriodic(descriptor) || interval == 0) {
        return 0;
    }
    const bool frames = usbDeviceSpeed == kIOUSBHostConnectionSpeedFull || usbDeviceSpeed == kIOUSBHostConnectionSpeedLow;
    if (!frames) {
        return interval < kMax ? interval : kMax;
    }
    // USB 2.0 table 9-13: a full-speed isochronous endpoint's is an exponent, an interrupt endpoint's a count, of frames;
    // a count is rounded down to a power of two, so that the endpoint is not served too seldom.
    const uint32_t exponent =
        isIsochronous(descriptor) ? interval - 1 : 31U - static_cast<uint32_t>(__builtin_clz(interval));
    const uint32_t encoded = exponent + kFrame;
    return encoded < kMax ? encoded : kMax;
}

uint32_t IOUSBGetEndpointMaxStreamsEncoded(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor,
                                           const IOUSBSuperSpeedEndpointCompanionDescriptor *companionDescriptor)
{
    const bool bulk = IOUSBGetEndpointType(descriptor) == kIOUSBEndpointTypeBulk;
    if (usbDeviceSpeed < kIOUSBHostConnectionSpeedSuper || !bulk || companionDescriptor == nullptr) {
        return 0;
    }
    // USB 3.1 table 9-27: bits 4..0, of which 1 to 16 are used.
    return companionDescriptor->bmAttributes & 0x1f;
}

uint32_t IOUSBGetEndpointMaxStreams(uint32_t usbDeviceSpeed, const IOUSBEndpointDescriptor *descriptor,
                                    const IOUSBSuperSpeedEndpointCompanionDescriptor *companionDescriptor)
{
    const uint32_t encoded = IOUSBGetEndpointMaxStreamsEncoded(usbDeviceSpeed, descriptor, companionDescriptor);
    return encoded == 0 ? 0 : 1U << encoded;
}

} // extern "C"
