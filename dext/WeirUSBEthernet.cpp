// SPDX-License-Identifier: MIT OR Apache-2.0
// A USB network function's life: interfaces, buffers, completions.

#include "weir_usb.h"

#include <string.h>

#include <DriverKit/IOBufferMemoryDescriptor.h>
#include <DriverKit/OSDictionary.h>
#include <DriverKit/OSNumber.h>

#undef super
#define super WeirEthernet

namespace weir {
namespace {

constexpr uint32_t kRequestMax = 2048;
/* The bus may not suspend a NIC that merely has nothing to receive. */
constexpr uint32_t kNeverIdle = 0;
constexpr uint32_t kHeader = 14;
constexpr uint32_t kOrdinaryMtu = 1500;

/* Any interface. */
constexpr uint32_t kAny = 255;

uint64_t numberProperty(OSDictionary *properties, const char *key)
{
    OSNumber *number = OSDynamicCast(OSNumber, properties->getObject(key));
    return number == nullptr ? 0 : number->unsigned64BitValue();
}

/* Finds the function in the device's descriptors. */
kern_return_t plan(WeirUSBEthernet *nic)
{
    WeirUSBEthernet_IVars *usb = nic->ivars;
    const IOUSBConfigurationDescriptor *configuration = usb->control->CopyConfigurationDescriptor();
    if (configuration == nullptr) {
        return kIOReturnNotFound;
    }
    const IOUSBInterfaceDescriptor *interface = usb->control->GetInterfaceDescriptor(configuration);
    const uint32_t number = interface == nullptr ? kAny : interface->bInterfaceNumber;
    const size_t length = configuration->wTotalLength;
    const weir_status status =
        weir_usb_probe(reinterpret_cast<const uint8_t *>(configuration), length, number, &usb->plan);
    IOUSBHostFreeDescriptor(configuration);
    return toIOReturn(status);
}

kern_return_t openData(WeirUSBEthernet *nic)
{
    WeirUSBEthernet_IVars *usb = nic->ivars;
    kern_return_t ret = usb->control->CopyDevice(&usb->device);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    uintptr_t iterator = 0;
    ret = usb->device->CreateInterfaceIterator(&iterator);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    IOUSBHostInterface *found = nullptr;
    while (found == nullptr) {
        IOUSBHostInterface *candidate = nullptr;
        ret = usb->device->CopyInterface(iterator, &candidate);
        if (ret != kIOReturnSuccess || candidate == nullptr) {
            break;
        }
        const IOUSBConfigurationDescriptor *configuration = candidate->CopyConfigurationDescriptor();
        if (configuration != nullptr) {
            const IOUSBInterfaceDescriptor *interface = candidate->GetInterfaceDescriptor(configuration);
            if (interface != nullptr && interface->bInterfaceNumber == usb->plan.data_interface) {
                found = candidate;
            }
            IOUSBHostFreeDescriptor(configuration);
        }
        if (found == nullptr) {
            candidate->release();
        }
    }
    (void)usb->device->DestroyInterfaceIterator(iterator);
    if (found == nullptr) {
        return ret != kIOReturnSuccess ? ret : kIOReturnNotFound;
    }
    usb->data = found;
    ret = usb->data->Open(nic, 0, nullptr);
    usb->dataOpen = ret == kIOReturnSuccess;
    return ret;
}

kern_return_t createRequest(WeirUSBEthernet *nic)
{
    WeirUSBEthernet_IVars *usb = nic->ivars;
    kern_return_t ret =
        IOBufferMemoryDescriptor::Create(kIOMemoryDirectionInOut, kRequestMax, 0, &usb->request);
    IOAddressSegment range = {};
    if (ret == kIOReturnSuccess) {
        ret = usb->request->SetLength(kRequestMax);
    }
    if (ret == kIOReturnSuccess) {
        ret = usb->request->GetAddressRange(&range);
    }
    if (ret == kIOReturnSuccess && (range.address == 0 || range.length < kRequestMax)) {
        ret = kIOReturnNoMemory;
    }
    usb->requestBytes = reinterpret_cast<uint8_t *>(range.address);
    return ret;
}

kern_return_t createActions(WeirUSBEthernet *nic)
{
    WeirUSBEthernet_IVars *usb = nic->ivars;
    kern_return_t ret = IODispatchQueue::Create("dev.weir.usb", 0, 0, &usb->completions);
    if (ret == kIOReturnSuccess) {
        ret = nic->SetDispatchQueue("WeirUSB", usb->completions);
    }
    for (uint32_t i = 0; i < WEIR_USB_PIPES && ret == kIOReturnSuccess; ++i) {
        ret = nic->CreateActionTransfersDone(sizeof(uint32_t), &usb->pipes[i].action);
        if (ret == kIOReturnSuccess) {
            auto *reference = static_cast<uint32_t *>(usb->pipes[i].action->GetReference());
            if (reference == nullptr) {
                return kIOReturnNoMemory;
            }
            *reference = i;
        }
    }
    return ret;
}

/* One queue pair, plain frames, an MTU within what the function says. */
kern_return_t settle(WeirUSBEthernet *nic)
{
    WeirEthernet_IVars *base = nic->WeirEthernet::ivars;
    WeirUSBEthernet_IVars *usb = nic->ivars;
    OSDictionary *properties = nullptr;
    const kern_return_t ret = nic->CopyProperties(&properties);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    usb->plan.flags |= numberProperty(properties, "WeirNCMWithCRC") != 0 ? WEIR_USB_CRC : 0;
    usb->plan.flags |= numberProperty(properties, "WeirNCM16Bit") != 0 ? WEIR_USB_NTB16 : 0;
    properties->release();
    weir_config &config = base->settings.config;
    config.nic = usb->plan.nic;
    config.queues = 1;
    const uint32_t most = usb->plan.max_segment > kHeader + kOrdinaryMtu ? usb->plan.max_segment - kHeader : kOrdinaryMtu;
    config.mtu_max = config.mtu_max < most ? config.mtu_max : most;
    config.mtu = config.mtu < config.mtu_max ? config.mtu : config.mtu_max;
    base->settings.offloads = 0;
    config.buf_len = bufferSizeFor(base->settings);
    return kIOReturnSuccess;
}

kern_return_t open(WeirEthernet *base, IOService *provider)
{
    WeirUSBEthernet *nic = usbOf(base);
    WeirUSBEthernet_IVars *usb = nic->ivars;
    usb->control = OSDynamicCast(IOUSBHostInterface, provider);
    if (usb->control == nullptr) {
        return kIOReturnBadArgument;
    }
    usb->control->retain();
    kern_return_t ret = usb->control->Open(nic, 0, nullptr);
    usb->controlOpen = ret == kIOReturnSuccess;
    if (ret == kIOReturnSuccess) {
        ret = plan(nic);
    }
    if (ret == kIOReturnSuccess) {
        ret = openData(nic);
    }
    if (ret == kIOReturnSuccess) {
        ret = createRequest(nic);
    }
    if (ret == kIOReturnSuccess) {
        ret = createActions(nic);
    }
    if (ret == kIOReturnSuccess) {
        ret = settle(nic);
    }
    if (ret == kIOReturnSuccess) {
        /* Advice: a system that does not know it suspends the port a little later. */
        (void)usb->data->SetIdlePolicy(kNeverIdle);
        __atomic_store_n(&usb->live, 1, __ATOMIC_SEQ_CST);
    }
    return ret;
}

void describe(WeirEthernet *base, weir_ops &ops) { fillUsbOps(usbOf(base), ops.usb); }

kern_return_t start(WeirEthernet *) { return kIOReturnSuccess; }

void cancel(WeirEthernet *base, uint32_t *pending, void (^cancelled)(void))
{
    for (UsbPipe &pipe : usbOf(base)->ivars->pipes) {
        cancelOne(pipe.action, pending, cancelled);
    }
}

/* No completion is on its way to the core any more. */
void stop(WeirEthernet *base)
{
    WeirUSBEthernet_IVars *usb = usbOf(base)->ivars;
    closePipes(usbOf(base));
    __atomic_store_n(&usb->live, 0, __ATOMIC_SEQ_CST);
    usb->completions->DispatchSync(^{
    });
}

void close(WeirEthernet *base)
{
    WeirUSBEthernet *nic = usbOf(base);
    WeirUSBEthernet_IVars *usb = nic->ivars;
    closePipes(nic);
    if (usb->dataOpen) {
        (void)usb->data->Close(nic, 0);
    }
    if (usb->controlOpen) {
        (void)usb->control->Close(nic, 0);
    }
    usb->dataOpen = usb->controlOpen = false;
    for (UsbPipe &pipe : usb->pipes) {
        OSSafeReleaseNULL(pipe.action);
    }
    usb->requestBytes = nullptr;
    OSSafeReleaseNULL(usb->request);
    OSSafeReleaseNULL(usb->data);
    OSSafeReleaseNULL(usb->control);
    OSSafeReleaseNULL(usb->device);
    OSSafeReleaseNULL(usb->completions);
}

const Bus kUsb = {open, describe, start, cancel, close, stop};

} // namespace
} // namespace weir

bool WeirUSBEthernet::init()
{
    if (!super::init()) {
        return false;
    }
    ivars = IONewZero(WeirUSBEthernet_IVars, 1);
    if (ivars == nullptr) {
        return false;
    }
    ivars->pipesLock = IOLockAlloc();
    WeirEthernet::ivars->bus = &weir::kUsb;
    return ivars->pipesLock != nullptr;
}

void WeirUSBEthernet::free()
{
    if (ivars != nullptr) {
        if (ivars->pipesLock != nullptr) {
            IOLockFree(ivars->pipesLock);
        }
        IOSafeDeleteNULL(ivars, WeirUSBEthernet_IVars, 1);
    }
    super::free();
}

void WeirUSBEthernet::TransfersDone_Impl(OSAction *action, uint32_t ioCompletionIndex, uint32_t ioCompletionCount,
                                         const uint32_t *actualByteCountArray, int actualByteCountArrayCount,
                                         const kern_return_t *statusArray, int statusArrayCount)
{
    const auto *pipe = static_cast<const uint32_t *>(action->GetReference());
    const uint32_t count = ioCompletionCount;
    if (pipe == nullptr || count > WEIR_USB_SLOTS_MAX || static_cast<int>(count) > actualByteCountArrayCount ||
        static_cast<int>(count) > statusArrayCount) {
        WEIR_LOG("a completion of %u transfers makes no sense", count);
        return;
    }
    if (__atomic_load_n(&ivars->live, __ATOMIC_SEQ_CST) == 0 || WeirEthernet::ivars->core == nullptr) {
        return;
    }
    weir_status status[WEIR_USB_SLOTS_MAX];
    for (uint32_t i = 0; i < count; ++i) {
        status[i] = weir::toStatus(statusArray[i]);
    }
    weir_usb_complete(WeirEthernet::ivars->core, *pipe, ioCompletionIndex, actualByteCountArray, status, count);
}
