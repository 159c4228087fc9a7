// SPDX-License-Identifier: MIT OR Apache-2.0
// IOUSBHostPipe: single and bundled transfers, and their completions.

#include "memory.h"
#include "usb.h"

#include <DriverKit/OSAction.h>
#include <USBDriverKit/USBDriverKit.h>

#include <cstring>
#include <deque>
#include <mutex>
#include <vector>

namespace {

/// A finished bundled transfer that was not told yet.
struct Finished {
    OSAction *action; // retained
    uint32_t index;
    uint32_t actual;
    kern_return_t status;
};

} // namespace

struct IOUSBHostPipe_IVars {
    dk_usb_pipe *pipe = nullptr;
    dk_queue *queue = nullptr; // completions of bundled transfers are told from here, as many as there are at once
    std::mutex lock;
    std::vector<IOMemoryDescriptor *> ring; // retained
    std::deque<Finished> finished;
    bool telling = false;
    uint32_t idle_ms = 0;
};

namespace {

/// What a transfer holds: the pipe, and the action that is told.
struct Flight {
    IOUSBHostPipe *pipe;
    OSAction *action;
    uint32_t index;
};

Flight *take_off(IOUSBHostPipe *pipe, OSAction *action, uint32_t index)
{
    auto *flight = new (std::nothrow) Flight{pipe, action, index};
    if (flight != nullptr) {
        pipe->retain();
        action->retain();
    }
    return flight;
}

void land(Flight *flight)
{
    flight->action->release();
    flight->pipe->release();
    delete flight;
}

void single_done(void *context, dk_ret status, uint32_t actual)
{
    auto *flight = static_cast<Flight *>(context);
    flight->pipe->CompleteAsyncIO(flight->action, status, actual, dk_now_ns());
    land(flight);
}

/// Tells what has finished, one call for as many neighbours as there are.
void tell(void *context, bool run)
{
    auto *pipe = static_cast<IOUSBHostPipe *>(context);
    IOUSBHostPipe_IVars *state = pipe->ivars;
    for (;;) {
        uint32_t bytes[kIOUSBHostPipeBundlingMax] = {};
        kern_return_t status[kIOUSBHostPipeBundlingMax] = {};
        OSAction *action = nullptr;
        uint32_t first = 0;
        uint32_t count = 0;
        {
            const std::lock_guard<std::mutex> guard(state->lock);
            while (!state->finished.empty() && count < kIOUSBHostPipeBundlingMax) {
                const Finished &next = state->finished.front();
                if (count == 0) {
                    action = next.action;
                    first = next.index;
                } else if (next.action != action || next.index != first + count) {
                    break;
                }
                bytes[count] = next.actual;
                status[count] = next.status;
                if (count != 0) {
                    next.action->release();
                }
                ++count;
                state->finished.pop_front();
            }
            if (count == 0) {
                state->telling = false;
            }
        }
        if (count == 0) {
            break;
        }
        if (run) {
            pipe->CompleteAsyncIOBundled(action, first, count, bytes, static_cast<int>(count), status,
                                         static_cast<int>(count));
        }
        action->release();
    }
    pipe->release();
}

void bundled_done(void *context, dk_ret status, uint32_t actual)
{
    auto *flight = static_cast<Flight *>(context);
    IOUSBHostPipe *pipe = flight->pipe;
    IOUSBHostPipe_IVars *state = pipe->ivars;
    bool first = false;
    {
        const std::lock_guard<std::mutex> guard(state->lock);
        flight->action->retain();
        state->finished.push_back({flight->action, flight->index, actual, status});
        first = !state->telling;
        state->telling = true;
    }
    if (first) {
        pipe->retain();
        dk_queue_async(state->queue, tell, pipe);
    }
    land(flight);
}

} // namespace

IOUSBHostPipe *dk::wrap_pipe(dk_usb_pipe *pipe)
{
    auto *object = make<IOUSBHostPipe, IOUSBHostPipe_IVars>(OSTypeID(IOUSBHostPipe));
    dk_ret error = 0;
    dk_queue *queue = object != nullptr ? dk_queue_create("USB completions", &error) : nullptr;
    if (queue == nullptr) {
        dk_usb_pipe_release(pipe);
        if (object != nullptr) {
            object->release();
        }
        return nullptr;
    }
    object->ivars->pipe = pipe;
    object->ivars->queue = queue;
    return object;
}

bool IOUSBHostPipe::init() { return OSObject::init(); }

void IOUSBHostPipe::free()
{
    if (ivars != nullptr) {
        for (IOMemoryDescriptor *memory : ivars->ring) {
            if (memory != nullptr) {
                memory->release();
            }
        }
        if (ivars->queue != nullptr) {
            dk_queue_release(ivars->queue);
        }
        if (ivars->pipe != nullptr) {
            dk_usb_pipe_release(ivars->pipe);
        }
    }
    dk::drop(ivars);
    OSObject::free();
}

kern_return_t IMPL(IOUSBHostPipe, GetSpeed)
{
    *speed = static_cast<uint8_t>(dk_usb_pipe_speed(ivars->pipe));
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostPipe, GetDeviceAddress)
{
    *address = static_cast<uint8_t>(dk_usb_pipe_address(ivars->pipe));
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostPipe, Abort)
{
    (void)options;
    (void)withError;
    (void)forClient;
    const kern_return_t injected = dk::fault("IOUSBHostPipe::Abort", kIOReturnError);
    dk_usb_pipe_abort(ivars->pipe);
    return injected;
}

kern_return_t IMPL(IOUSBHostPipe, AdjustPipe)
{
    (void)descriptors;
    return kIOReturnUnsupported;
}

kern_return_t IMPL(IOUSBHostPipe, GetDescriptors)
{
    (void)type;
    if (descriptors == nullptr) {
        return kIOReturnBadArgument;
    }
    *descriptors = {};
    descriptors->bcdUSB = 0x0200;
    static_assert(sizeof(descriptors->descriptor) == 7, "an endpoint descriptor");
    return dk_usb_pipe_descriptor(ivars->pipe, reinterpret_cast<uint8_t *>(&descriptors->descriptor));
}

kern_return_t IMPL(IOUSBHostPipe, SetIdlePolicy)
{
    ivars->idle_ms = idleTimeoutMs;
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostPipe, GetIdlePolicy)
{
    *idleTimeoutMS = ivars->idle_ms;
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostPipe, ClearStall)
{
    (void)withRequest;
    const kern_return_t injected = dk::fault("IOUSBHostPipe::ClearStall", kIOReturnNotResponding);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk_usb_pipe_clear_stall(ivars->pipe);
}

kern_return_t IMPL(IOUSBHostPipe, AsyncIO)
{
    (void)completionTimeoutMs;
    const kern_return_t injected = dk::fault("IOUSBHostPipe::AsyncIO", kUSBHostReturnPipeStalled);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    if (dk::memory_of(dataBuffer) == nullptr || completion == nullptr) {
        return kIOReturnBadArgument;
    }
    Flight *flight = take_off(this, completion, 0);
    if (flight == nullptr) {
        return kIOReturnNoMemory;
    }
    const kern_return_t ret =
        dk_usb_pipe_submit(ivars->pipe, dk::memory_of(dataBuffer), dataBufferLength, single_done, flight);
    if (ret != kIOReturnSuccess) {
        land(flight);
    }
    return ret;
}

kern_return_t IMPL(IOUSBHostPipe, IO)
{
    const kern_return_t injected = dk::fault("IOUSBHostPipe::IO", kIOReturnTimeout);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    if (dk::memory_of(dataBuffer) == nullptr) {
        return kIOReturnBadArgument;
    }
    return dk_usb_pipe_io(ivars->pipe, dk::memory_of(dataBuffer), dataBufferLength, bytesTransferred,
                          completionTimeoutMs);
}

kern_return_t IMPL(IOUSBHostPipe, CreateMemoryDescriptorRing)
{
    const kern_return_t injected = dk::fault("IOUSBHostPipe::CreateMemoryDescriptorRing", kIOReturnNoMemory);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    const std::lock_guard<std::mutex> guard(ivars->lock);
    if (size == 0 || !ivars->ring.empty()) {
        return kIOReturnBadArgument;
    }
    ivars->ring.resize(size, nullptr);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostPipe, SetMemoryDescriptor)
{
    const kern_return_t injected = dk::fault("IOUSBHostPipe::SetMemoryDescriptor", kIOReturnNoMemory);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    IOMemoryDescriptor *old = nullptr;
    {
        const std::lock_guard<std::mutex> guard(ivars->lock);
        if (index >= ivars->ring.size() || dk::memory_of(memoryDescriptor) == nullptr) {
            return kIOReturnBadArgument;
        }
        memoryDescriptor->retain();
        old = ivars->ring[index];
        ivars->ring[index] = memoryDescriptor;
    }
    if (old != nullptr) {
        old->release();
    }
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostPipe, AsyncIOBundled)
{
    (void)completionTimeoutMs;
    if (ioTransferAcceptedCount != nullptr) {
        *ioTransferAcceptedCount = 0;
    }
    const kern_return_t injected = dk::fault("IOUSBHostPipe::AsyncIOBundled", kUSBHostReturnPipeStalled);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    if (ioTransferCount == 0 || ioTransferCount > kIOUSBHostPipeBundlingMax || completion == nullptr ||
        dataBufferLengthArrayCount < static_cast<int>(ioTransferCount)) {
        return kIOReturnBadArgument;
    }
    for (uint32_t i = 0; i < ioTransferCount; ++i) {
        IOMemoryDescriptor *memory = nullptr;
        {
            const std::lock_guard<std::mutex> guard(ivars->lock);
            const size_t at = ioTransferIndex + i;
            memory = at < ivars->ring.size() ? ivars->ring[at] : nullptr;
        }
        if (memory == nullptr) {
            return kIOReturnBadArgument;
        }
        Flight *flight = take_off(this, completion, ioTransferIndex + i);
        if (flight == nullptr) {
            return kIOReturnNoMemory;
        }
        const kern_return_t ret =
            dk_usb_pipe_submit(ivars->pipe, dk::memory_of(memory), dataBufferLengthArray[i], bundled_done, flight);
        if (ret != kIOReturnSuccess) {
            land(flight);
            return ret;
        }
        if (ioTransferAcceptedCount != nullptr) {
            *ioTransferAcceptedCount = i + 1;
        }
    }
    return kIOReturnSuccess;
}
