// SPDX-License-Identifier: MIT OR Apache-2.0
// IODispatchSource, timers, interrupts and data queues.

#include "source.h"

#include <DriverKit/IOInterruptDispatchSource.h>
#include <DriverKit/IOMemoryDescriptor.h>
#include <DriverKit/IOService.h>
#include <DriverKit/IOTimerDispatchSource.h>

#include "memory.h"

// ---- IODispatchSource ------------------------------------------------------------------------------------------------

namespace {

struct ActionHandler {
    OSAction *action;
    dk::SendCallback send;
};

void invoke_action(void *context, uint64_t a, uint64_t b)
{
    const auto *handler = static_cast<ActionHandler *>(context);
    handler->send(handler->action, a, b);
}

void release_action(void *context)
{
    auto *handler = static_cast<ActionHandler *>(context);
    dk::action_detach(handler->action);
    delete handler;
}

void invoke_nothing(void *, uint64_t, uint64_t) {}

} // namespace

kern_return_t dk::source_set_handler(IODispatchSource *source, OSAction **slot, OSAction *action, SendCallback send,
                                     dk_ret (*set)(dk_source *, const dk_handler *))
{
    dk_handler handler{nullptr, invoke_nothing, nullptr};
    if (action != nullptr) {
        auto *context = new (std::nothrow) ActionHandler{action, send};
        if (context == nullptr) {
            return kIOReturnNoMemory;
        }
        action_attach(action);
        handler = {context, invoke_action, release_action};
        action->retain();
    }
    OSAction *old = *slot;
    *slot = action;
    const kern_return_t result = set(state_of(source)->source, &handler);
    if (old != nullptr) {
        old->release();
    }
    return result;
}

kern_return_t dk::source_cancel(IODispatchSource *source, const char *method, IODispatchSourceCancelHandler handler)
{
    const kern_return_t injected = fault(method, kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    IODispatchSource_IVars *state = state_of(source);
    // The source and its engine source stay until the cancellation is complete, whoever lets go of them meanwhile. The
    // handler often drops the driver's last reference.
    source->retain();
    const kern_return_t result = dk_source_cancel(state->source, run_block, hold_block(^{
                                                    if (handler != nullptr) {
                                                        handler();
                                                    }
                                                    source->release();
                                                  }));
    OSSafeReleaseNULL(state->handler);
    OSSafeReleaseNULL(state->space_handler);
    return result;
}

kern_return_t dk::source_enable(IODispatchSource *source, const char *method, bool enable,
                                IODispatchSourceCancelHandler handler)
{
    const kern_return_t injected = fault(method, kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    IODispatchSource_IVars *state = state_of(source);
    return dk_source_set_enable(state->source, enable, handler != nullptr ? run_block : nullptr, hold_block(handler));
}

bool IODispatchSource::init() { return OSObject::init(); }

void IODispatchSource::free()
{
    if (ivars != nullptr) {
        if (ivars->source != nullptr) {
            dk_source_release(ivars->source);
        }
        OSSafeReleaseNULL(ivars->handler);
        OSSafeReleaseNULL(ivars->space_handler);
        dk::drop(ivars);
    }
    OSObject::free();
}

kern_return_t IMPL(IODispatchSource, SetEnable) { return SetEnableWithCompletion(enable, nullptr); }

// ---- IOTimerDispatchSource ---------------------------------------------------------------------------------------------

kern_return_t IMPL(IOTimerDispatchSource, Create)
{
    *source = nullptr;
    dk_ret error = dk::fault("IOTimerDispatchSource::Create");
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (queue == nullptr) {
        return kIOReturnBadArgument;
    }
    dk_source *made = dk_timer_create(dk::queue_of(queue), &error);
    if (made == nullptr) {
        return error;
    }
    *source = dk::wrap_source<IOTimerDispatchSource>(OSTypeID(IOTimerDispatchSource), made);
    return *source != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

bool IOTimerDispatchSource::init() { return IODispatchSource::init(); }

void IOTimerDispatchSource::free() { IODispatchSource::free(); }

kern_return_t IMPL(IOTimerDispatchSource, SetHandler)
{
    const kern_return_t injected = dk::fault("IOTimerDispatchSource::SetHandler");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk::source_set_handler(
        this, &dk::state_of(this)->handler, action,
        [](OSAction *to, uint64_t time, uint64_t) {
            const dk::OnSourceQueue here;
            dk::sender<IOTimerDispatchSource>(OSTypeID(IOTimerDispatchSource))->TimerOccurred(to, time);
        },
        dk_source_set_handler);
}

kern_return_t IMPL(IOTimerDispatchSource, SetEnableWithCompletion)
{
    return dk::source_enable(this, "IOTimerDispatchSource::SetEnableWithCompletion", enable, handler);
}

kern_return_t IMPL(IOTimerDispatchSource, Cancel)
{
    return dk::source_cancel(this, "IOTimerDispatchSource::Cancel", handler);
}

kern_return_t IMPL(IOTimerDispatchSource, WakeAtTime)
{
    const kern_return_t injected = dk::fault("IOTimerDispatchSource::WakeAtTime", kIOReturnNotReady);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    uint64_t when = 0;
    if (!dk::deadline_ns(options, deadline, &when)) {
        return kIOReturnBadArgument;
    }
    return dk_timer_wake_at(dk::state_of(this)->source, when, leeway);
}

// ---- IOInterruptDispatchSource -----------------------------------------------------------------------------------------

kern_return_t IMPL(IOInterruptDispatchSource, Create)
{
    *source = nullptr;
    dk_ret error = dk::fault("IOInterruptDispatchSource::Create");
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (dk::service_of(provider) == nullptr || queue == nullptr) {
        return kIOReturnBadArgument;
    }
    dk_source *made = dk_interrupt_create(dk::service_of(provider), index & kIOInterruptSourceIndexMask,
                                          dk::queue_of(queue), &error);
    if (made == nullptr) {
        return error;
    }
    *source = dk::wrap_source<IOInterruptDispatchSource>(OSTypeID(IOInterruptDispatchSource), made);
    return *source != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

kern_return_t IMPL(IOInterruptDispatchSource, GetInterruptType)
{
    const kern_return_t injected = dk::fault("IOInterruptDispatchSource::GetInterruptType", kIOReturnNoInterrupt);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    if (dk::service_of(provider) == nullptr || interruptType == nullptr) {
        return kIOReturnBadArgument;
    }
    return dk_interrupt_type(dk::service_of(provider), index & kIOInterruptSourceIndexMask, interruptType);
}

bool IOInterruptDispatchSource::init() { return IODispatchSource::init(); }

void IOInterruptDispatchSource::free() { IODispatchSource::free(); }

kern_return_t IMPL(IOInterruptDispatchSource, SetHandler)
{
    const kern_return_t injected = dk::fault("IOInterruptDispatchSource::SetHandler");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk::source_set_handler(
        this, &dk::state_of(this)->handler, action,
        [](OSAction *to, uint64_t count, uint64_t time) {
            const dk::OnSourceQueue here;
            dk::sender<IOInterruptDispatchSource>(OSTypeID(IOInterruptDispatchSource))->InterruptOccurred(to, count, time);
        },
        dk_source_set_handler);
}

kern_return_t IMPL(IOInterruptDispatchSource, SetEnableWithCompletion)
{
    return dk::source_enable(this, "IOInterruptDispatchSource::SetEnableWithCompletion", enable, handler);
}

kern_return_t IMPL(IOInterruptDispatchSource, Cancel)
{
    return dk::source_cancel(this, "IOInterruptDispatchSource::Cancel", handler);
}

kern_return_t IMPL(IOInterruptDispatchSource, GetLastInterrupt)
{
    const kern_return_t injected = dk::fault("IOInterruptDispatchSource::GetLastInterrupt", kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk_interrupt_last(dk::state_of(this)->source, count, time);
}

// ---- IODataQueueDispatchSource -------------------------------------------------------------------------------------------

namespace {

// The handlers of a data queue run on the queue of the action's target, not on that of the source.
void send_available(OSAction *to, uint64_t, uint64_t) { dk::sender<IODataQueueDispatchSource>(OSTypeID(IODataQueueDispatchSource))->DataAvailable(to); }

void send_serviced(OSAction *to, uint64_t, uint64_t) { dk::sender<IODataQueueDispatchSource>(OSTypeID(IODataQueueDispatchSource))->DataServiced(to); }

void fill_with_block(void *context, void *data, size_t length)
{
    (*static_cast<IODataQueueClientEnqueueEntryBlock *>(context))(data, length);
}

void take_with_block(void *context, const void *data, size_t length)
{
    (*static_cast<IODataQueueClientDequeueEntryBlock *>(context))(data, length);
}

} // namespace

kern_return_t IMPL(IODataQueueDispatchSource, Create)
{
    *source = nullptr;
    dk_ret error = dk::fault("IODataQueueDispatchSource::Create");
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (queue == nullptr) {
        return kIOReturnBadArgument;
    }
    dk_source *made = dk_dataq_create(queueByteCount, dk::queue_of(queue), &error);
    if (made == nullptr) {
        return error;
    }
    *source = dk::wrap_source<IODataQueueDispatchSource>(OSTypeID(IODataQueueDispatchSource), made);
    return *source != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

size_t IODataQueueDispatchSource::GetDataQueueEntryHeaderSize() { return sizeof(uint32_t); }

bool IODataQueueDispatchSource::init() { return IODispatchSource::init(); }

void IODataQueueDispatchSource::free() { IODispatchSource::free(); }

kern_return_t IMPL(IODataQueueDispatchSource, SetDataAvailableHandler)
{
    const kern_return_t injected = dk::fault("IODataQueueDispatchSource::SetDataAvailableHandler");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk::source_set_handler(this, &dk::state_of(this)->handler, action, send_available, dk_source_set_handler);
}

kern_return_t IMPL(IODataQueueDispatchSource, SetDataServicedHandler)
{
    const kern_return_t injected = dk::fault("IODataQueueDispatchSource::SetDataServicedHandler");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk::source_set_handler(this, &dk::state_of(this)->space_handler, action, send_serviced,
                                  dk_dataq_set_space_handler);
}

kern_return_t IMPL(IODataQueueDispatchSource, SetEnableWithCompletion)
{
    return dk::source_enable(this, "IODataQueueDispatchSource::SetEnableWithCompletion", enable, handler);
}

kern_return_t IMPL(IODataQueueDispatchSource, Cancel)
{
    return dk::source_cancel(this, "IODataQueueDispatchSource::Cancel", handler);
}

bool IODataQueueDispatchSource::IsDataAvailable() { return dk_dataq_available(dk::state_of(this)->source); }

kern_return_t IODataQueueDispatchSource::Peek(IODataQueueClientDequeueEntryBlock callback)
{
    return dk_dataq_peek(dk::state_of(this)->source, take_with_block, &callback);
}

kern_return_t IODataQueueDispatchSource::Dequeue(IODataQueueClientDequeueEntryBlock callback)
{
    const kern_return_t injected = dk::fault("IODataQueueDispatchSource::Dequeue", kIOReturnUnderrun);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk_dataq_dequeue(dk::state_of(this)->source, take_with_block, &callback);
}

kern_return_t IODataQueueDispatchSource::Enqueue(uint32_t dataSize, IODataQueueClientEnqueueEntryBlock callback)
{
    const kern_return_t injected = dk::fault("IODataQueueDispatchSource::Enqueue", kIOReturnOverrun);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk_dataq_enqueue(dk::state_of(this)->source, dataSize, fill_with_block, &callback);
}

kern_return_t IODataQueueDispatchSource::DequeueWithCoalesce(bool *sendDataServiced,
                                                             IODataQueueClientDequeueEntryBlock callback)
{
    const kern_return_t injected = dk::fault("IODataQueueDispatchSource::DequeueWithCoalesce", kIOReturnUnderrun);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    bool send = false;
    const kern_return_t result =
        dk_dataq_dequeue_coalesce(dk::state_of(this)->source, &send, take_with_block, &callback);
    *sendDataServiced = *sendDataServiced || send;
    return result;
}

kern_return_t IODataQueueDispatchSource::EnqueueWithCoalesce(uint32_t dataSize, bool *sendDataAvailable,
                                                             IODataQueueClientEnqueueEntryBlock callback)
{
    const kern_return_t injected = dk::fault("IODataQueueDispatchSource::EnqueueWithCoalesce", kIOReturnOverrun);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    bool send = false;
    const kern_return_t result =
        dk_dataq_enqueue_coalesce(dk::state_of(this)->source, dataSize, &send, fill_with_block, &callback);
    *sendDataAvailable = *sendDataAvailable || send;
    return result;
}

kern_return_t IODataQueueDispatchSource::CanEnqueueData(uint32_t dataSize) { return CanEnqueueData(dataSize, 1); }

kern_return_t IODataQueueDispatchSource::CanEnqueueData(uint32_t dataSize, uint32_t entryCount)
{
    return dk_dataq_can_enqueue(dk::state_of(this)->source, dataSize, entryCount) ? kIOReturnSuccess : kIOReturnOverrun;
}

void IODataQueueDispatchSource::SendDataServiced() { dk_dataq_send_serviced(dk::state_of(this)->source); }

void IODataQueueDispatchSource::SendDataAvailable() { dk_dataq_send_available(dk::state_of(this)->source); }

kern_return_t IMPL(IODataQueueDispatchSource, CopyMemory)
{
    *memory = nullptr;
    dk_ret error = dk::fault("IODataQueueDispatchSource::CopyMemory");
    if (error != kIOReturnSuccess) {
        return error;
    }
    dk_mem *mem = dk_dataq_copy_memory(dk::state_of(this)->source, &error);
    if (mem == nullptr) {
        return error;
    }
    *memory = dk::wrap_memory(mem);
    return *memory != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

kern_return_t IMPL(IODataQueueDispatchSource, CopyDataAvailableHandler)
{
    *action = dk::state_of(this)->handler;
    if (*action == nullptr) {
        return kIOReturnNotReady;
    }
    (*action)->retain();
    return kIOReturnSuccess;
}

kern_return_t IMPL(IODataQueueDispatchSource, CopyDataServicedHandler)
{
    *action = dk::state_of(this)->space_handler;
    if (*action == nullptr) {
        return kIOReturnNotReady;
    }
    (*action)->retain();
    return kIOReturnSuccess;
}
