// SPDX-License-Identifier: MIT OR Apache-2.0
// IOUserNetworkPacketPoller over the engine's poller.

#include "net.h"

#include <DriverKit/IODispatchQueue.h>
#include <NetworkingDriverKit/IOUserNetworkPacketPoller.h>

#include <mutex>

namespace {

/// What the engine holds for a poller. The poller object may go first.
struct PollContext {
    std::recursive_mutex lock;
    uint32_t holders = 2; // the poll handler and the event handler
    IOUserNetworkPacketPoller *poller = nullptr;
    OSObject *target = nullptr;
    void *ref_con = nullptr;
    PollAction poll = nullptr;
    EventAction event = nullptr;
};

void call_poll(void *context, uint64_t, uint64_t)
{
    auto *poll = static_cast<PollContext *>(context);
    const std::lock_guard<std::recursive_mutex> guard(poll->lock);
    if (poll->poller != nullptr) {
        poll->poll(poll->target, poll->poller, poll->ref_con);
    }
}

void call_event(void *context, uint64_t event, uint64_t)
{
    auto *poll = static_cast<PollContext *>(context);
    const std::lock_guard<std::recursive_mutex> guard(poll->lock);
    if (poll->poller != nullptr && poll->event != nullptr) {
        poll->event(poll->target, poll->poller,
                    event == 0 ? kIOUserNetworkPacketPollerEventPollStart : kIOUserNetworkPacketPollerEventPollStop,
                    poll->ref_con);
    }
}

void release_poll(void *context)
{
    auto *poll = static_cast<PollContext *>(context);
    bool last = false;
    {
        const std::lock_guard<std::recursive_mutex> guard(poll->lock);
        last = --poll->holders == 0;
    }
    if (last) {
        delete poll;
    }
}

} // namespace

struct IOUserNetworkPacketPoller_IVars {
    dk_poller *poller = nullptr;
    PollContext *context = nullptr;
};

dk_poller *dk::poller_of(const IOUserNetworkPacketPoller *poller)
{
    return poller != nullptr ? poller->ivars->poller : nullptr;
}

bool IOUserNetworkPacketPoller::initPoller(OSObject *target, IODispatchQueue *queue, PollAction pollAction,
                                           EventAction eventAction, IOOptionBits, void *refCon)
{
    if (queue == nullptr || pollAction == nullptr || ivars != nullptr || !init()) {
        return false;
    }
    auto *state = new (std::nothrow) IOUserNetworkPacketPoller_IVars();
    auto *context = new (std::nothrow) PollContext();
    if (state == nullptr || context == nullptr) {
        delete state;
        delete context;
        return false;
    }
    ivars = state;
    context->poller = this;
    context->target = target;
    context->ref_con = refCon;
    context->poll = pollAction;
    context->event = eventAction;
    const dk_handler poll{context, call_poll, release_poll};
    const dk_handler event{context, call_event, release_poll};
    dk_ret error = kIOReturnSuccess;
    state->poller = dk_poller_create(dk::queue_of(queue), &poll, &event, &error);
    // A failure has released the context.
    state->context = state->poller != nullptr ? context : nullptr;
    return state->poller != nullptr;
}

IOUserNetworkPacketPoller *IOUserNetworkPacketPoller::poller(OSObject *target, IODispatchQueue *queue,
                                                             PollAction pollAction, EventAction eventAction,
                                                             IOOptionBits options, void *refCon)
{
    auto *made = dk::fault("IOUserNetworkPacketPoller::poller") == kIOReturnSuccess
                     ? OSTypeAlloc(IOUserNetworkPacketPoller)
                     : nullptr;
    if (made != nullptr && !made->initPoller(target, queue, pollAction, eventAction, options, refCon)) {
        OSSafeReleaseNULL(made);
    }
    return made;
}

// The engine has a timer of its own for polling.
void IMPL(IOUserNetworkPacketPoller, TimerOccurred)
{
    (void)action;
    (void)time;
}

bool IOUserNetworkPacketPoller::init() { return OSObject::init(); }

void IOUserNetworkPacketPoller::free()
{
    if (ivars != nullptr && ivars->poller != nullptr) {
        dk_poller_disable(ivars->poller);
        {
            // Its PollStop may still be on the way.
            const std::lock_guard<std::recursive_mutex> guard(ivars->context->lock);
            ivars->context->poller = nullptr;
        }
        dk_poller_release(ivars->poller);
    }
    dk::drop(ivars);
    OSObject::free();
}

kern_return_t
IOUserNetworkPacketPoller::setPollerParameters(const IOUserNetworkPacketPollerParameters *params)
{
    const kern_return_t injected = dk::fault("IOUserNetworkPacketPoller::setPollerParameters", kIOReturnBadArgument);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return params != nullptr ? dk_poller_set_parameters(ivars->poller, params->dataRate, params->pollInterval)
                             : kIOReturnBadArgument;
}

void IOUserNetworkPacketPoller::enable() { dk_poller_enable(ivars->poller); }

void IOUserNetworkPacketPoller::disable() { dk_poller_disable(ivars->poller); }

kern_return_t IOUserNetworkPacketPoller::updatePacketCounters(uint32_t packetCount, uint32_t byteCount)
{
    dk_poller_update(ivars->poller, packetCount, byteCount);
    return kIOReturnSuccess;
}
