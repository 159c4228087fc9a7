// SPDX-License-Identifier: MIT OR Apache-2.0
// IOPCIDevice over the engine's device.

#include "runtime.h"

#include "dk_pci.h"

#include <PCIDriverKit/IOPCIDevice.h>
#include <PCIDriverKit/IOPCIFamilyDefinitions.h>

#define CHECK_FAULT(name, natural)                                                                                     \
    do {                                                                                                               \
        const kern_return_t injected = dk::fault("IOPCIDevice::" name, natural);                                       \
        if (injected != kIOReturnSuccess) {                                                                            \
            return injected;                                                                                           \
        }                                                                                                              \
    } while (0)

namespace {

uint32_t config8(IOPCIDevice *device, uint64_t offset)
{
    uint8_t value = 0;
    device->ConfigurationRead8(offset, &value);
    return value;
}

/* The capability list of PCI 3.0 section 6.7: bounded, because a device may make it a circle. */
uint64_t find_capability(IOPCIDevice *device, uint32_t id, uint64_t after)
{
    uint32_t at = after != 0 ? config8(device, after + kIOPCINextCapabilityOffset)
                             : config8(device, kIOPCIConfigurationOffsetCapabilitiesPtr);
    for (int i = 0; i < 48 && at >= 0x40 && at != 0xff; ++i) {
        at &= 0xfc;
        if (config8(device, at) == id) {
            return at;
        }
        at = config8(device, at + kIOPCINextCapabilityOffset);
    }
    return 0;
}

/* PCI Express 3.0 section 7.9: extended capabilities start at 0x100. */
uint64_t find_extended(IOPCIDevice *device, uint32_t id, uint64_t after)
{
    uint64_t at = 0x100;
    if (after != 0) {
        uint32_t header = 0;
        device->ConfigurationRead32(after, &header);
        at = header >> 20;
    }
    for (int i = 0; i < 96 && at >= 0x100; ++i) {
        uint32_t header = 0;
        device->ConfigurationRead32(at, &header);
        if (header == 0 || header == 0xffffffff) {
            return 0;
        }
        if ((header & 0xffff) == id) {
            return at;
        }
        at = (header >> 20) & 0xffc;
    }
    return 0;
}

} // namespace

bool IOPCIDevice::init() { return IOService::init(); }

void IOPCIDevice::free() { IOService::free(); }

kern_return_t IMPL(IOPCIDevice, ClientCrashed)
{
    (void)options;
    dk_pci_close(dk::service_of(this), dk::service_of(client), true);
    return kIOReturnSuccess;
}

kern_return_t IOPCIDevice::Open(IOService *forClient, IOOptionBits)
{
    CHECK_FAULT("Open", kIOReturnExclusiveAccess);
    return forClient == nullptr ? kIOReturnBadArgument
                                : dk_pci_open(dk::service_of(this), dk::service_of(forClient));
}

void IOPCIDevice::Close(IOService *forClient, IOOptionBits)
{
    dk_pci_close(dk::service_of(this), dk::service_of(forClient), false);
}

/* Each width twice: with options, which mean nothing here, and without. The site is the caller's, so no function stands between. */
#define DK_MEMORY(bits)                                                                                                \
    void IOPCIDevice::MemoryRead##bits(uint8_t memoryIndex, uint64_t offset, uint##bits##_t *readData)                 \
    {                                                                                                                  \
        *readData = static_cast<uint##bits##_t>(                                                                       \
            dk_pci_read(dk::service_of(this), memoryIndex, offset, (bits) / 8, DK_SITE()));                            \
    }                                                                                                                  \
    void IOPCIDevice::MemoryRead##bits(uint8_t memoryIndex, uint64_t offset, uint##bits##_t *readData, IOOptionBits)   \
    {                                                                                                                  \
        *readData = static_cast<uint##bits##_t>(                                                                       \
            dk_pci_read(dk::service_of(this), memoryIndex, offset, (bits) / 8, DK_SITE()));                            \
    }                                                                                                                  \
    void IOPCIDevice::MemoryWrite##bits(uint8_t memoryIndex, uint64_t offset, uint##bits##_t data)                     \
    {                                                                                                                  \
        dk_pci_write(dk::service_of(this), memoryIndex, offset, (bits) / 8, data, DK_SITE());                          \
    }                                                                                                                  \
    void IOPCIDevice::MemoryWrite##bits(uint8_t memoryIndex, uint64_t offset, uint##bits##_t data, IOOptionBits)       \
    {                                                                                                                  \
        dk_pci_write(dk::service_of(this), memoryIndex, offset, (bits) / 8, data, DK_SITE());                          \
    }

#define DK_CONFIGURATION(bits)                                                                                         \
    void IOPCIDevice::ConfigurationRead##bits(uint64_t offset, uint##bits##_t *readData)                               \
    {                                                                                                                  \
        *readData = static_cast<uint##bits##_t>(                                                                       \
            dk_pci_read(dk::service_of(this), DK_PCI_CONFIG, offset, (bits) / 8, DK_SITE()));                          \
    }                                                                                                                  \
    void IOPCIDevice::ConfigurationWrite##bits(uint64_t offset, uint##bits##_t data)                                   \
    {                                                                                                                  \
        dk_pci_write(dk::service_of(this), DK_PCI_CONFIG, offset, (bits) / 8, data, DK_SITE());                        \
    }

DK_MEMORY(8)
DK_MEMORY(16)
DK_MEMORY(32)
DK_MEMORY(64)
DK_CONFIGURATION(8)
DK_CONFIGURATION(16)
DK_CONFIGURATION(32)

#undef DK_MEMORY
#undef DK_CONFIGURATION

kern_return_t IMPL(IOPCIDevice, FindPCICapability)
{
    CHECK_FAULT("FindPCICapability", kIOReturnNotFound);
    const bool extended = static_cast<int32_t>(capabilityID) < 0;
    const uint64_t found = extended ? find_extended(this, 0u - capabilityID, searchOffset)
                                    : find_capability(this, capabilityID, searchOffset);
    if (found == 0) {
        return kIOReturnNotFound;
    }
    if (foundCapabilityOffset != nullptr) {
        *foundCapabilityOffset = found;
    }
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOPCIDevice, GetBusDeviceFunction)
{
    CHECK_FAULT("GetBusDeviceFunction", kIOReturnError);
    uint32_t bdf = 0;
    const kern_return_t ret = dk_pci_address(dk::service_of(this), &bdf);
    if (ret == kIOReturnSuccess) {
        *returnBusNumber = static_cast<uint8_t>(bdf >> 8);
        *returnDeviceNumber = (bdf >> 3) & 0x1f;
        *returnFunctionNumber = bdf & 7;
    }
    return ret;
}

/* PME from a state (PMC, PCI power management 1.2 section 3.2.3). */
kern_return_t IMPL(IOPCIDevice, HasPCIPowerManagement)
{
    CHECK_FAULT("HasPCIPowerManagement", kIOReturnUnsupported);
    const uint64_t at = find_capability(this, kIOPCICapabilityIDPowerManagement, 0);
    if (at == 0) {
        return kIOReturnUnsupported;
    }
    uint16_t pmc = 0;
    ConfigurationRead16(at + 2, &pmc);
    return state == 0 || (pmc & state) != 0 ? kIOReturnSuccess : kIOReturnUnsupported;
}

kern_return_t IMPL(IOPCIDevice, EnablePCIPowerManagement)
{
    CHECK_FAULT("EnablePCIPowerManagement", kIOReturnUnsupported);
    const uint64_t at = find_capability(this, kIOPCICapabilityIDPowerManagement, 0);
    if (at == 0) {
        return kIOReturnUnsupported;
    }
    uint16_t pmcsr = 0;
    ConfigurationRead16(at + 4, &pmcsr);
    const auto wanted = static_cast<uint16_t>(state & (kPCIPMCSPowerStateMask | kPCIPMCSPMEEnable));
    ConfigurationWrite16(at + 4, static_cast<uint16_t>((pmcsr & ~(kPCIPMCSPowerStateMask | kPCIPMCSPMEEnable)) | wanted));
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOPCIDevice, SaveDeviceState)
{
    CHECK_FAULT("SaveDeviceState", kIOReturnError);
    (void)options;
    return dk_pci_save(dk::service_of(this), false);
}

kern_return_t IMPL(IOPCIDevice, RestoreDeviceState)
{
    CHECK_FAULT("RestoreDeviceState", kIOReturnError);
    (void)options;
    return dk_pci_save(dk::service_of(this), true);
}

kern_return_t IMPL(IOPCIDevice, GetBARInfo)
{
    CHECK_FAULT("GetBARInfo", kIOReturnNotFound);
    uint8_t index = 0;
    uint8_t type = 0;
    uint64_t size = 0;
    const kern_return_t ret = dk_pci_bar(dk::service_of(this), barIndex, &index, &size, &type);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    if (memoryIndex != nullptr) {
        *memoryIndex = index;
    }
    if (barSize != nullptr) {
        *barSize = size;
    }
    if (barType != nullptr) {
        *barType = type;
    }
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOPCIDevice, SetLinkSpeed)
{
    CHECK_FAULT("SetLinkSpeed", kIOReturnUnsupported);
    (void)linkSpeed;
    (void)retrain;
    return kIOReturnUnsupported;
}

/* Link Status, PCI Express 3.0 section 7.8.8. */
kern_return_t IMPL(IOPCIDevice, GetLinkSpeed)
{
    CHECK_FAULT("GetLinkSpeed", kIOReturnUnsupported);
    const uint64_t at = find_capability(this, kIOPCICapabilityIDPCIExpress, 0);
    if (at == 0) {
        return kIOReturnUnsupported;
    }
    uint16_t status = 0;
    ConfigurationRead16(at + 0x12, &status);
    *linkSpeed = static_cast<IOPCILinkSpeed>(status & 0xf);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOPCIDevice, ConfigureInterrupts)
{
    CHECK_FAULT("ConfigureInterrupts", kIOReturnNoInterrupt);
    (void)options;
    return dk_pci_interrupts(dk::service_of(this), interruptType, numRequired, numRequested);
}

kern_return_t IMPL(IOPCIDevice, Reset)
{
    CHECK_FAULT("Reset", kIOReturnUnsupported);
    (void)options;
    return dk_pci_reset(dk::service_of(this), type);
}

kern_return_t IMPL(IOPCIDevice, SetASPMState)
{
    CHECK_FAULT("SetASPMState", kIOReturnUnsupported);
    (void)aspmLinkControl;
    return kIOReturnUnsupported;
}

/* No device here has registers that can be mapped: every access is a message to its model. */
kern_return_t IMPL(IOPCIDevice, _CopyDeviceMemoryWithIndex)
{
    CHECK_FAULT("_CopyDeviceMemoryWithIndex", kIOReturnUnsupported);
    (void)memoryIndex;
    (void)forClient;
    *returnMemory = nullptr;
    return kIOReturnUnsupported;
}
