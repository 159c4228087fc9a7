// SPDX-License-Identifier: MIT OR Apache-2.0
// weir_usb_ops: rings of buffers, bundled transfers, requests.

#include "weir_usb.h"

#include <string.h>

namespace weir {
namespace {

constexpr uint32_t kRequestTimeoutMs = 2000;
/* Bulk transfers wait as long as the device does; the core's watchdog ends those that should not. */
constexpr uint32_t kNoTimeout = 0;
constexpr uint32_t kRequestMax = 2048;
constexpr uint8_t kDirectionIn = 0x80;

WeirUSBEthernet_IVars *stateOf(void *ctx) { return static_cast<WeirUSBEthernet *>(ctx)->ivars; }

uint8_t addressOf(const weir_usb_plan &plan, uint32_t pipe)
{
    return pipe == WEIR_USB_PIPE_IN ? plan.endpoint_in
                                    : (pipe == WEIR_USB_PIPE_OUT ? plan.endpoint_out : plan.endpoint_notify);
}

/* A buffer that the host controller reaches without copying. */
kern_return_t createBuffer(WeirUSBEthernet_IVars *usb, uint32_t pipe, uint32_t len, IOBufferMemoryDescriptor **memory,
                           weir_region &region)
{
    const IOOptionBits direction =
        pipe == WEIR_USB_PIPE_OUT ? kIOMemoryDirectionOut : kIOMemoryDirectionIn;
    kern_return_t ret = usb->data->CreateIOBuffer(direction, len, memory);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    IOAddressSegment range = {};
    ret = (*memory)->SetLength(len);
    if (ret == kIOReturnSuccess) {
        ret = (*memory)->GetAddressRange(&range);
    }
    if (ret == kIOReturnSuccess && (range.address == 0 || range.length < len)) {
        ret = kIOReturnNoMemory;
    }
    if (ret == kIOReturnSuccess) {
        memset(reinterpret_cast<void *>(range.address), 0, len);
        region = {reinterpret_cast<uint8_t *>(range.address), 0, len, reinterpret_cast<uintptr_t>(*memory)};
    }
    return ret;
}

void freeRing(void *ctx, uint32_t pipe)
{
    if (pipe >= WEIR_USB_PIPES) {
        return;
    }
    UsbPipe &ring = stateOf(ctx)->pipes[pipe];
    for (IOBufferMemoryDescriptor *&memory : ring.memory) {
        OSSafeReleaseNULL(memory);
    }
    ring.slots = 0;
}

weir_status allocRing(void *ctx, uint32_t pipe, uint32_t slots, uint32_t len, weir_region *regions)
{
    WeirUSBEthernet_IVars *usb = stateOf(ctx);
    if (pipe >= WEIR_USB_PIPES || slots == 0 || slots > WEIR_USB_SLOTS_MAX || usb->pipes[pipe].slots != 0) {
        return WEIR_E_INVAL;
    }
    for (uint32_t i = 0; i < slots; ++i) {
        if (createBuffer(usb, pipe, len, &usb->pipes[pipe].memory[i], regions[i]) != kIOReturnSuccess) {
            freeRing(ctx, pipe);
            return WEIR_E_NOMEM;
        }
    }
    usb->pipes[pipe].slots = slots;
    return WEIR_OK;
}

/* Takes a reference to a pipe that is open; null for one that is not. */
IOUSBHostPipe *copyPipe(WeirUSBEthernet_IVars *usb, uint32_t pipe)
{
    if (pipe >= WEIR_USB_PIPES) {
        return nullptr;
    }
    Locked lock(usb->pipesLock);
    IOUSBHostPipe *object = usb->pipes[pipe].pipe;
    if (object != nullptr) {
        object->retain();
    }
    return object;
}

weir_status submit(void *ctx, uint32_t pipe, uint32_t first, const uint32_t *lengths, uint32_t count,
                   uint32_t *accepted)
{
    WeirUSBEthernet_IVars *usb = stateOf(ctx);
    *accepted = 0;
    IOUSBHostPipe *object = copyPipe(usb, pipe);
    if (object == nullptr) {
        return WEIR_E_ABORTED;
    }
    const UsbPipe &ring = usb->pipes[pipe];
    kern_return_t ret = kIOReturnSuccess;
    /* A bundle is a run of neighbours: one that goes over the ring's end is two. */
    while (ret == kIOReturnSuccess && *accepted < count && first < ring.slots) {
        const uint32_t index = (first + *accepted) % ring.slots;
        const uint32_t left = count - *accepted;
        const uint32_t run = left < ring.slots - index ? left : ring.slots - index;
        uint32_t bundle[kIOUSBHostPipeBundlingMax] = {};
        memcpy(bundle, lengths + *accepted, run * sizeof(uint32_t));
        uint32_t taken = 0;
        ret = object->AsyncIOBundled(index, run, &taken, bundle, static_cast<int>(run), ring.action, kNoTimeout);
        *accepted += taken < run ? taken : run;
        if (ret == kIOReturnSuccess && taken < run) {
            ret = kIOReturnNoResources;
        }
    }
    object->release();
    return toStatus(ret);
}

weir_status abortPipe(void *ctx, uint32_t pipe)
{
    IOUSBHostPipe *object = copyPipe(stateOf(ctx), pipe);
    if (object == nullptr) {
        return WEIR_OK;
    }
    const kern_return_t ret =
        object->Abort(kIOUSBAbortSynchronous, kIOReturnAborted, static_cast<WeirUSBEthernet *>(ctx));
    object->release();
    return toStatus(ret);
}

weir_status clearStall(void *ctx, uint32_t pipe)
{
    IOUSBHostPipe *object = copyPipe(stateOf(ctx), pipe);
    if (object == nullptr) {
        return WEIR_E_ABORTED;
    }
    const kern_return_t ret = object->ClearStall(true);
    object->release();
    return toStatus(ret);
}

/* Opens a pipe of the function and gives it the ring's buffers. */
kern_return_t openPipe(WeirUSBEthernet_IVars *usb, uint32_t pipe)
{
    UsbPipe &ring = usb->pipes[pipe];
    const uint8_t address = addressOf(usb->plan, pipe);
    if (address == 0 || ring.slots == 0) {
        return kIOReturnSuccess;
    }
    IOUSBHostInterface *interface = pipe == WEIR_USB_PIPE_NOTIFY ? usb->control : usb->data;
    IOUSBHostPipe *object = nullptr;
    kern_return_t ret = interface->CopyPipe(address, &object);
    if (ret == kIOReturnSuccess) {
        ret = object->CreateMemoryDescriptorRing(ring.slots);
    }
    for (uint32_t i = 0; i < ring.slots && ret == kIOReturnSuccess; ++i) {
        ret = object->SetMemoryDescriptor(ring.memory[i], i);
    }
    if (ret != kIOReturnSuccess) {
        OSSafeReleaseNULL(object);
        return ret;
    }
    Locked lock(usb->pipesLock);
    ring.pipe = object;
    return kIOReturnSuccess;
}

weir_status setAlternate(void *ctx, uint32_t alternate)
{
    auto *nic = static_cast<WeirUSBEthernet *>(ctx);
    WeirUSBEthernet_IVars *usb = nic->ivars;
    closePipes(nic);
    kern_return_t ret = kIOReturnSuccess;
    if (usb->plan.idle_alternate != usb->plan.data_alternate) {
        ret = usb->data->SelectAlternateSetting(static_cast<uint8_t>(alternate));
    }
    for (uint32_t pipe = 0; pipe < WEIR_USB_PIPES && ret == kIOReturnSuccess; ++pipe) {
        if (alternate == usb->plan.data_alternate) {
            ret = openPipe(usb, pipe);
        }
    }
    if (ret != kIOReturnSuccess) {
        closePipes(nic);
    }
    return toStatus(ret);
}

weir_status controlRequest(void *ctx, uint8_t requestType, uint8_t request, uint16_t value, uint16_t index,
                           uint8_t *data, uint16_t len, uint16_t *transferred)
{
    WeirUSBEthernet_IVars *usb = stateOf(ctx);
    *transferred = 0;
    if (len > kRequestMax) {
        return WEIR_E_INVAL;
    }
    const bool in = (requestType & kDirectionIn) != 0;
    if (!in && len != 0) {
        memcpy(usb->requestBytes, data, len);
    }
    const kern_return_t ret = usb->control->DeviceRequest(requestType, request, value, index, len,
                                                          len == 0 ? nullptr : usb->request, transferred,
                                                          kRequestTimeoutMs);
    if (ret != kIOReturnSuccess) {
        *transferred = 0;
        return toStatus(ret);
    }
    if (*transferred > len) {
        *transferred = len;
    }
    if (in) {
        memcpy(data, usb->requestBytes, *transferred);
    }
    return WEIR_OK;
}

void delayMs(void *, uint32_t ms) { IOSleep(ms); }

} // namespace

weir_status toStatus(kern_return_t ret)
{
    if (ret == kIOReturnSuccess || ret == kIOReturnUnderrun) {
        return WEIR_OK;
    }
    if (ret == kUSBHostReturnPipeStalled) {
        return WEIR_E_STALL;
    }
    switch (ret) {
    case kIOReturnAborted:
        return WEIR_E_ABORTED;
    case kIOReturnTimeout:
        return WEIR_E_TIMEOUT;
    case kIOReturnNoDevice:
    case kIOReturnOffline:
        return WEIR_E_NODEV;
    case kIOReturnNoMemory:
        return WEIR_E_NOMEM;
    default:
        /* kIOReturnNotResponding among them: it passes around sleep and wake. */
        return WEIR_E_IO;
    }
}

void closePipes(WeirUSBEthernet *nic)
{
    WeirUSBEthernet_IVars *usb = nic->ivars;
    for (uint32_t i = 0; i < WEIR_USB_PIPES; ++i) {
        IOUSBHostPipe *object = nullptr;
        {
            Locked lock(usb->pipesLock);
            object = usb->pipes[i].pipe;
            usb->pipes[i].pipe = nullptr;
        }
        if (object != nullptr) {
            (void)object->Abort(kIOUSBAbortSynchronous, kIOReturnAborted, nic);
            object->release();
        }
    }
}

void fillUsbOps(WeirUSBEthernet *nic, weir_usb_ops &ops)
{
    ops = {nic,        allocRing,    freeRing,       submit,  abortPipe,
           clearStall, setAlternate, controlRequest, delayMs, nic->ivars->plan};
}

} // namespace weir
