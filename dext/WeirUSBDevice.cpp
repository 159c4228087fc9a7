// SPDX-License-Identifier: MIT OR Apache-2.0
// Chooses the configuration that has a network function, and keeps the device open so that it stays chosen.

#include <os/log.h>

#include <DriverKit/IOLib.h>
#include <USBDriverKit/USBDriverKit.h>

#include "WeirUSBDevice.h"
#include "weir_core.h"

#undef super
#define super IOService

struct WeirUSBDevice_IVars {
    IOUSBHostDevice *device;
    bool open;
};

namespace {

constexpr uint32_t kAnyInterface = 255;
/* USB 2.0 table 9-8: bNumConfigurations is a byte; nobody has more than a few. */
constexpr uint8_t kConfigurationsMax = 8;

/* NCM before ECM before RNDIS: the numbers of weir_core.h are in this order. 0 = no function. */
uint8_t bestConfiguration(IOUSBHostDevice *device)
{
    uint8_t best = 0;
    uint32_t kind = UINT32_MAX;
    for (uint8_t i = 0; i < kConfigurationsMax; ++i) {
        const IOUSBConfigurationDescriptor *configuration = device->CopyConfigurationDescriptor(i);
        if (configuration == nullptr) {
            break;
        }
        const size_t length = configuration->wTotalLength;
        weir_usb_plan plan = {};
        if (weir_usb_probe(reinterpret_cast<const uint8_t *>(configuration), length, kAnyInterface, &plan) == WEIR_OK &&
            plan.nic < kind) {
            kind = plan.nic;
            best = plan.configuration;
        }
        IOUSBHostFreeDescriptor(configuration);
    }
    return best;
}

} // namespace

bool WeirUSBDevice::init()
{
    if (!super::init()) {
        return false;
    }
    ivars = IONewZero(WeirUSBDevice_IVars, 1);
    return ivars != nullptr;
}

void WeirUSBDevice::free()
{
    IOSafeDeleteNULL(ivars, WeirUSBDevice_IVars, 1);
    super::free();
}

kern_return_t WeirUSBDevice::Start_Impl(IOService *provider)
{
    kern_return_t ret = Start(provider, SUPERDISPATCH);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    ivars->device = OSDynamicCast(IOUSBHostDevice, provider);
    ret = ivars->device == nullptr ? kIOReturnBadArgument : ivars->device->Open(this, 0, 0);
    if (ret == kIOReturnSuccess) {
        ivars->open = true;
        const uint8_t wanted = bestConfiguration(ivars->device);
        ret = wanted == 0 ? kIOReturnUnsupported : ivars->device->SetConfiguration(wanted, true);
    }
    if (ret == kIOReturnSuccess) {
        ret = RegisterService();
    }
    if (ret != kIOReturnSuccess) {
        os_log(OS_LOG_DEFAULT, "weir: no configuration of the device can be used: 0x%08x", ret);
        if (ivars->open) {
            (void)ivars->device->Close(this, 0);
            ivars->open = false;
        }
        (void)Stop(provider, SUPERDISPATCH);
    }
    return ret;
}

kern_return_t WeirUSBDevice::Stop_Impl(IOService *provider)
{
    if (ivars->open) {
        (void)ivars->device->Close(this, 0);
        ivars->open = false;
    }
    return Stop(provider, SUPERDISPATCH);
}
