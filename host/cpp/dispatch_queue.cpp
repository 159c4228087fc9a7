// SPDX-License-Identifier: MIT OR Apache-2.0
// IODispatchQueue over the engine's queues.

#include "runtime.h"

#include <DriverKit/IODispatchQueue.h>
#include <DriverKit/IOTimerDispatchSource.h>

#include <cstring>

struct IODispatchQueue_IVars {
    dk_queue *queue;
    uint64_t options;
};

dk_queue *dk::queue_of(IODispatchQueue *queue) { return queue != nullptr ? queue->ivars->queue : nullptr; }

IODispatchQueue *dk::wrap_queue(dk_queue *queue)
{
    if (queue == nullptr) {
        return nullptr;
    }
    auto *wrapper = make<IODispatchQueue, IODispatchQueue_IVars>(OSTypeID(IODispatchQueue));
    if (wrapper == nullptr) {
        dk_queue_release(queue);
        return nullptr;
    }
    wrapper->ivars->queue = queue;
    return wrapper;
}

bool dk::deadline_ns(uint64_t clock, uint64_t deadline, uint64_t *ns)
{
    switch (clock) {
    case kIOTimerClockUptimeRaw:
    case kIOTimerClockMonotonicRaw:
    case kIOTimerClockMachAbsoluteTime:
    case kIOTimerClockMachContinuousTime:
        // One clock in nanoseconds: the timebase is 1/1 and the system does not sleep.
        *ns = deadline;
        return true;
    default:
        return false;
    }
}

kern_return_t IMPL(IODispatchQueue, Create)
{
    *queue = nullptr;
    dk_ret error = dk::fault("IODispatchQueue::Create");
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (priority != 0 || name == nullptr || strnlen(name, sizeof(IODispatchQueueName)) == sizeof(IODispatchQueueName)) {
        return kIOReturnBadArgument;
    }
    dk_queue *made = dk_queue_create(name, &error);
    if (made == nullptr) {
        return error;
    }
    *queue = dk::wrap_queue(made);
    if (*queue == nullptr) {
        return kIOReturnNoMemory;
    }
    (*queue)->ivars->options = options;
    return kIOReturnSuccess;
}

bool IODispatchQueue::init() { return OSObject::init(); }

void IODispatchQueue::free()
{
    if (ivars != nullptr && ivars->queue != nullptr) {
        dk_queue_release(ivars->queue);
    }
    dk::drop(ivars);
    OSObject::free();
}

bool IODispatchQueue::OnQueue() { return dk_queue_on_queue(ivars->queue); }

const char *IODispatchQueue::GetName() { return dk_queue_name(ivars->queue); }

kern_return_t IODispatchQueue::Cancel(IODispatchQueueCancelHandler handler)
{
    const kern_return_t injected = dk::fault("IODispatchQueue::Cancel", kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk_queue_cancel(ivars->queue, handler != nullptr ? dk::run_block : nullptr, dk::hold_block(handler));
}

void IODispatchQueue::DispatchAsync(IODispatchBlock block)
{
    dk_queue_async(ivars->queue, dk::run_block, dk::hold_block(block));
}

void IODispatchQueue::DispatchAsync_f(void *context, IODispatchFunction function)
{
    DispatchAsync(^{
      function(context);
    });
}

void IODispatchQueue::DispatchConcurrent(IODispatchBlock block)
{
    if ((ivars->options & kIODispatchQueueReentrant) == 0) {
        dk::violation("wrong queue", DK_SITE(), "DispatchConcurrent on queue %s, which was not created reentrant",
                      GetName());
    }
    dk_queue_concurrent(ivars->queue, dk::run_block, dk::hold_block(block));
}

void IODispatchQueue::DispatchConcurrent_f(void *context, IODispatchFunction function)
{
    DispatchConcurrent(^{
      function(context);
    });
}

void IODispatchQueue::DispatchSync(IODispatchBlock block)
{
    dk_queue_sync(ivars->queue, dk::run_block, dk::hold_block(block), DK_SITE());
}

void IODispatchQueue::DispatchSync_f(void *context, IODispatchFunction function)
{
    DispatchSync(^{
      function(context);
    });
}

void IODispatchQueue::Log(const char *message, IODispatchLogFunction output)
{
    const dk_queue *current = dk_queue_current();
    output("%s: queue %s\n", message, current != nullptr ? dk_queue_name(current) : "(none)");
}

kern_return_t IODispatchQueue::RunAction(IODispatchAction action)
{
    __block kern_return_t result = kIOReturnAborted;
    if (OnQueue()) {
        return action();
    }
    dk_queue_sync(
        ivars->queue, dk::run_block, dk::hold_block(^{
          result = action();
        }),
        DK_SITE());
    return result;
}

kern_return_t IODispatchQueue::SleepWithDeadline(void *event, uint64_t options, uint64_t deadline)
{
    const kern_return_t injected = dk::fault("IODispatchQueue::Sleep", kIOReturnTimeout);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    uint64_t until = 0;
    if (deadline != 0 && !dk::deadline_ns(options, deadline, &until)) {
        return kIOReturnBadArgument;
    }
    dk_require_queue(ivars->queue, "IODispatchQueue::Sleep", DK_SITE());
    return dk_queue_sleep(ivars->queue, event, until);
}

kern_return_t IODispatchQueue::SleepWithTimeout(void *event, uint64_t timeout)
{
    uint64_t until = 0;
    if (timeout != 0 && __builtin_add_overflow(dk_now_ns(), timeout, &until)) {
        until = UINT64_MAX;
    }
    return SleepWithDeadline(event, kIOTimerClockUptimeRaw, until);
}

kern_return_t IODispatchQueue::Sleep(void *event, uint64_t timeout) { return SleepWithTimeout(event, timeout); }

kern_return_t IODispatchQueue::Wakeup(void *event) { return WakeupWithOptions(event, 0); }

kern_return_t IODispatchQueue::WakeupWithOptions(void *event, uint64_t options)
{
    if ((options & ~static_cast<uint64_t>(kIODispatchQueueWakeupAll)) != 0) {
        return kIOReturnBadArgument;
    }
    dk_require_queue(ivars->queue, "IODispatchQueue::Wakeup", DK_SITE());
    return dk_queue_wakeup(ivars->queue, event);
}
