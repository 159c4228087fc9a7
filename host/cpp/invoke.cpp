// SPDX-License-Identifier: MIT OR Apache-2.0
// How a message finds its queue, and OSAction.
//
// A method of the dext runs on the queue that its QUEUENAME() names, else on the object's default queue: at once if the
// caller is on it, otherwise the caller waits. A method that the framework implements runs in the kernel on a Mac, so it
// needs no queue here either. A callback through an OSAction runs on the queue of the target's method; nobody waits for it.

#include "action.h"
#include "classes.h"

#include <DriverKit/IOService.h>
#include <DriverKit/OSString.h>

#include <cstdlib>
#include <cstring>

namespace {

thread_local bool t_on_source_queue = false;

constexpr size_t kContent = sizeof(IORPCMessageMach);

/// The queue that the method of `object` has to run on; null = none, run where the caller is. Borrowed.
dk_queue *queue_for(OSMetaClassBase *object, const dk::Method *method)
{
    dk_service *service = dk::header_of(object)->service;
    if (service == nullptr || method == nullptr || !method->dext) {
        return nullptr;
    }
    return dk_service_queue_for(service, method->queue != nullptr ? method->queue : kIOServiceDefaultQueueName);
}

struct Call {
    OSMetaClassBase *object;
    IORPC rpc;
    kern_return_t result;
};

void run_call(void *context, bool run)
{
    auto *call = static_cast<Call *>(context);
    call->result = run ? call->object->Dispatch(call->rpc) : kIOReturnAborted;
}

kern_return_t wait_on(dk_queue *queue, OSMetaClassBase *object, const IORPC &rpc, const void *site)
{
    Call call{object, rpc, kIOReturnAborted};
    dk_queue_sync(queue, run_call, &call, site);
    return call.result;
}

/// Calls `visit` for every object that the message names.
template <typename Visit> void each_object(IORPCMessage *message, size_t size, Visit visit)
{
    const size_t words = (size - kContent) / sizeof(uint64_t);
    for (size_t word = 0; word < words && word < 64; ++word) {
        if ((message->objectRefs >> word & 1) != 0) {
            OSObjectRef reference = 0;
            std::memcpy(&reference, reinterpret_cast<const uint8_t *>(message) + word * sizeof(uint64_t), sizeof reference);
            if (reference != 0) {
                visit(reinterpret_cast<OSObject *>(reference));
            }
        }
    }
}

/// The last part of a delivery: the callback has returned, or will never run.
void finish_delivery(OSAction *action)
{
    OSAction_IVars *state = action->ivars;
    std::vector<void (^)(void)> handlers;
    {
        const std::lock_guard<std::mutex> guard(state->lock);
        --state->running;
        ++state->deliveries;
        if (state->running == 0 && state->cancelled) {
            handlers.swap(state->cancel_handlers);
        }
    }
    for (void (^handler)(void) : handlers) {
        handler();
        Block_release(handler);
    }
}

/// A delivery that waits in a queue: a copy of the message that holds every object it names.
struct Pending {
    OSAction *action;
    OSObject *target;
    IORPC rpc;
    alignas(16) uint8_t bytes[];
};

void run_pending(void *context, bool run)
{
    auto *pending = static_cast<Pending *>(context);
    bool cancelled = false;
    {
        const std::lock_guard<std::mutex> guard(pending->action->ivars->lock);
        cancelled = pending->action->ivars->cancelled;
    }
    if (run && !cancelled) {
        pending->target->Dispatch(pending->rpc);
    }
    finish_delivery(pending->action);
    each_object(IORPCMessageFromMach(pending->rpc.message, false), pending->rpc.sendSize,
                [](OSObject *object) { object->release(); });
    pending->target->release();
    pending->action->release();
    std::free(pending);
}

kern_return_t deliver_later(dk_queue *queue, OSAction *action, OSObject *target, const IORPC &rpc)
{
    auto *pending = static_cast<Pending *>(std::calloc(1, sizeof(Pending) + rpc.sendSize));
    if (pending == nullptr) {
        finish_delivery(action);
        target->release();
        action->release();
        return kIOReturnNoMemory;
    }
    // The references to action and target come from the caller.
    pending->action = action;
    pending->target = target;
    pending->rpc = rpc;
    pending->rpc.reply = nullptr;
    pending->rpc.message = reinterpret_cast<IORPCMessageMach *>(pending->bytes);
    std::memcpy(pending->bytes, rpc.message, rpc.sendSize);
    each_object(IORPCMessageFromMach(pending->rpc.message, false), rpc.sendSize,
                [](OSObject *object) { object->retain(); });
    dk_queue_async(queue, run_pending, pending);
    return kIOReturnSuccess;
}

} // namespace

dk::OnSourceQueue::OnSourceQueue() : before_(t_on_source_queue) { t_on_source_queue = true; }

dk::OnSourceQueue::~OnSourceQueue() { t_on_source_queue = before_; }

kern_return_t dk::deliver_action(const IORPC rpc)
{
    IORPCMessage *message = IORPCMessageFromMach(rpc.message, false);
    auto *action = OSDynamicCast(OSAction, reinterpret_cast<OSObject *>(message->objects[0]));
    if (action == nullptr || action->ivars == nullptr) {
        return kIOReturnSuccess;
    }
    OSAction_IVars *state = action->ivars;
    if (state->async != nullptr) {
        return complete_async(action, rpc);
    }
    OSObject *target = nullptr;
    {
        const std::lock_guard<std::mutex> guard(state->lock);
        if (state->cancelled || state->target == nullptr) {
            return kIOReturnAborted;
        }
        target = state->target;
        target->retain();
        ++state->running;
    }
    action->retain();
    message->msgid = state->target_msgid;
    message->flags &= ~static_cast<uint64_t>(kIORPCMessageAction);

    const bool stay = t_on_source_queue;
    t_on_source_queue = false;
    const Method *method = find_method(target->meta, state->target_msgid);
    dk_queue *queue = stay ? nullptr : queue_for(target, method);
    kern_return_t result = kIOReturnSuccess;
    if (queue != nullptr && !dk_queue_on_queue(queue) && (message->flags & kIORPCMessageOneway) != 0) {
        return deliver_later(queue, action, target, rpc);
    }
    if (queue == nullptr || dk_queue_on_queue(queue)) {
        result = target->Dispatch(rpc);
    } else {
        result = wait_on(queue, target, rpc, DK_SITE());
    }
    t_on_source_queue = stay;
    finish_delivery(action);
    target->release();
    action->release();
    return result;
}

kern_return_t OSMetaClassBase::Invoke(const IORPC rpc)
{
    const IORPCMessage *message = IORPCMessageFromMach(rpc.message, false);
    if ((message->flags & kIORPCMessageAction) != 0) {
        return dk::deliver_action(rpc);
    }
    // A metaclass: static methods need no queue.
    if (meta == nullptr) {
        return Dispatch(rpc);
    }
    dk_queue *queue = queue_for(this, dk::find_method(meta, message->msgid));
    if (queue == nullptr || dk_queue_on_queue(queue)) {
        return Dispatch(rpc);
    }
    return wait_on(queue, this, rpc, DK_SITE());
}

// ---- OSAction ------------------------------------------------------------------------------------------------------------

namespace {

kern_return_t create_action(OSMetaClass *meta, OSObject *target, uint64_t target_msgid, uint64_t msgid,
                            size_t reference_size, OSAction **out)
{
    *out = nullptr;
    if (target == nullptr) {
        return kIOReturnBadArgument;
    }
    OSObject *object = nullptr;
    const kern_return_t result = OSObjectAllocate(meta, &object);
    if (result != kIOReturnSuccess) {
        return result;
    }
    auto *action = static_cast<OSAction *>(object);
    action->ivars = new (std::nothrow) OSAction_IVars();
    if (action->ivars == nullptr || !action->init()) {
        action->release();
        return kIOReturnNoMemory;
    }
    OSAction_IVars *state = action->ivars;
    if (reference_size != 0) {
        state->reference = std::calloc(1, reference_size);
        if (state->reference == nullptr) {
            action->release();
            return kIOReturnNoMemory;
        }
    }
    state->reference_size = reference_size;
    state->target_msgid = target_msgid;
    state->msgid = msgid;
    target->retain();
    state->target = target;
    *out = action;
    return kIOReturnSuccess;
}

} // namespace

kern_return_t dk::make_async_action(OSObject *client, dk_async *async, OSAction **out)
{
    const kern_return_t result = create_action(OSTypeID(OSAction), client, 0, 0, 0, out);
    if (result == kIOReturnSuccess) {
        dk_async_retain(async);
        (*out)->ivars->async = async;
    }
    return result;
}

kern_return_t IMPL(OSAction, Create)
{
    const kern_return_t injected = dk::fault("OSAction::Create");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    dk::warning(DK_SITE(),
                "OSAction::Create: the target's dispatcher drops what comes through an action that was not made by "
                "CreateAction<Method>()");
    return create_action(OSTypeID(OSAction), target, targetmsgid, msgid, referenceSize, action);
}

kern_return_t IMPL(OSAction, CreateWithTypeName)
{
    const kern_return_t injected = dk::fault("OSAction::CreateWithTypeName");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    OSMetaClass *meta = typeName != nullptr ? dk::class_named(typeName->getCStringNoCopy()) : nullptr;
    if (meta == nullptr || !dk::is_subclass(meta, OSTypeID(OSAction))) {
        meta = OSTypeID(OSAction);
    }
    return create_action(meta, target, targetmsgid, msgid, referenceSize, action);
}

void OSAction::free()
{
    if (ivars != nullptr) {
        OSAction_IVars *state = ivars;
        if (state->target != nullptr) {
            state->target->release();
        }
        for (void (^handler)(void) : state->cancel_handlers) {
            Block_release(handler);
        }
        if (state->aborted_handler != nullptr) {
            Block_release(state->aborted_handler);
        }
        if (state->async != nullptr) {
            dk_async_release(state->async);
        }
        std::free(state->token);
        std::free(state->reference);
        dk::drop(ivars);
    }
    OSObject::free();
}

void *OSAction::GetReference() { return ivars->reference; }

kern_return_t OSAction::Cancel(OSActionCancelHandler handler)
{
    const kern_return_t injected = dk::fault("OSAction::Cancel", kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    OSAction_IVars *state = ivars;
    OSObject *target = nullptr;
    bool now = false;
    {
        const std::lock_guard<std::mutex> guard(state->lock);
        state->cancelled = true;
        target = state->target;
        state->target = nullptr;
        now = state->running == 0;
        if (!now && handler != nullptr) {
            state->cancel_handlers.push_back(Block_copy(handler));
        }
    }
    if (now && handler != nullptr) {
        // Asynchronous, as on a Mac: the caller has returned from Cancel before its handler runs.
        dk_queue *queue = dk::service_of(target) != nullptr
                              ? dk_service_queue_for(dk::service_of(target), kIOServiceDefaultQueueName)
                              : dk_queue_current();
        if (queue != nullptr) {
            dk_queue_async(queue, dk::run_block, dk::hold_block(handler));
        } else {
            handler();
        }
    }
    if (target != nullptr) {
        target->release();
    }
    return kIOReturnSuccess;
}

kern_return_t OSAction::SetAbortedHandler(OSActionAbortedHandler handler)
{
    const kern_return_t injected = dk::fault("OSAction::SetAbortedHandler");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    void (^copy)(void) = nullptr;
    if (handler != nullptr) {
        copy = Block_copy(handler);
    }
    void (^old)(void) = nullptr;
    {
        const std::lock_guard<std::mutex> guard(ivars->lock);
        old = ivars->aborted_handler;
        ivars->aborted_handler = copy;
    }
    if (old != nullptr) {
        Block_release(old);
    }
    return kIOReturnSuccess;
}

void IMPL(OSAction, Aborted)
{
    void (^handler)(void) = nullptr;
    {
        const std::lock_guard<std::mutex> guard(ivars->lock);
        ivars->aborted = true;
        handler = ivars->aborted_handler;
        ivars->aborted_handler = nullptr;
    }
    if (handler != nullptr) {
        handler();
        Block_release(handler);
    }
}

void dk::action_attach(OSAction *action)
{
    action->retain();
    const std::lock_guard<std::mutex> guard(action->ivars->lock);
    ++action->ivars->senders;
}

void dk::action_detach(OSAction *action)
{
    bool abort = false;
    {
        const std::lock_guard<std::mutex> guard(action->ivars->lock);
        abort = --action->ivars->senders == 0 && !action->ivars->cancelled && action->ivars->aborted_handler != nullptr;
    }
    if (abort) {
        action->Aborted();
    }
    action->release();
}

// ---- waiting for an action ---------------------------------------------------------------------------------------------------

struct OSActionWaitToken {
    uint64_t deliveries; // of the action when WillWait was called
};

kern_return_t OSAction::WillWait(OSActionWaitToken **token)
{
    const kern_return_t injected = dk::fault("OSAction::WillWait");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    auto *made = static_cast<OSActionWaitToken *>(std::calloc(1, sizeof(OSActionWaitToken)));
    if (made == nullptr) {
        return kIOReturnNoMemory;
    }
    const std::lock_guard<std::mutex> guard(ivars->lock);
    if (ivars->token != nullptr) {
        std::free(made);
        return kIOReturnBusy;
    }
    made->deliveries = ivars->deliveries;
    *token = ivars->token = made;
    return kIOReturnSuccess;
}

kern_return_t OSAction::EndWait(OSActionWaitToken *token)
{
    const std::lock_guard<std::mutex> guard(ivars->lock);
    if (token == nullptr || token != ivars->token) {
        return kIOReturnBadArgument;
    }
    ivars->token = nullptr;
    std::free(token);
    return ivars->cancelled || ivars->aborted ? kIOReturnAborted : kIOReturnSuccess;
}

kern_return_t OSAction::Wait(OSActionWaitToken *token, uint64_t options, uint64_t deadline)
{
    uint64_t until = UINT64_MAX;
    if (deadline != 0 && !dk::deadline_ns(options, deadline, &until)) {
        return kIOReturnBadArgument;
    }
    for (;;) {
        {
            const std::lock_guard<std::mutex> guard(ivars->lock);
            if (token == nullptr || token != ivars->token) {
                return kIOReturnBadArgument;
            }
            if (ivars->deliveries > token->deliveries) {
                return kIOReturnSuccess;
            }
            if (ivars->cancelled || ivars->aborted) {
                return kIOReturnAborted;
            }
        }
        if (dk_now_ns() >= until) {
            return kIOReturnTimeout;
        }
        // Time is the engine's: in simulated mode this is what lets other queues run.
        constexpr uint64_t kStep = 100000;
        dk_sleep_ns(kStep);
    }
}
