// SPDX-License-Identifier: MIT OR Apache-2.0
// The four packet queues in both models (data queue, action functions) and the poller.

#include "net.h"
#include "source.h"

#include <DriverKit/IODispatchQueue.h>
#include <NetworkingDriverKit/IOUserNetworkRxCompletionQueue.h>
#include <NetworkingDriverKit/IOUserNetworkRxSubmissionQueue.h>
#include <NetworkingDriverKit/IOUserNetworkTxCompletionQueue.h>
#include <NetworkingDriverKit/IOUserNetworkTxSubmissionQueue.h>

#include <algorithm>
#include <mutex>

namespace {

/// What the engine holds while a queue has action functions. The queue object may go first.
struct Actions {
    std::recursive_mutex lock; // an action may free its own queue
    IOUserNetworkPacketQueue *queue;
    OSObject *target;
    void *ref_con;
    DequeueAction dequeue;
    EnqueueAction enqueue;
    QueryFreeSpaceAction free_space;
};

constexpr uint32_t kBurst = 64;

} // namespace

struct IOUserNetworkPacketQueue_IVars {
    dk_netq *netq = nullptr;
    uint32_t kind = 0;
    dk::Ref<IOUserNetworkPacketBufferPool> pool; // its packet objects outlive the queue
    dk::Ref<IODataQueueDispatchSource> data_queue;
    Actions *actions = nullptr; // the engine's, until its release
};

namespace {


#define PER_KIND(name)                                                                                                 \
    {                                                                                                                  \
        "IOUserNetworkTxSubmissionQueue::" name, "IOUserNetworkTxCompletionQueue::" name,                              \
            "IOUserNetworkRxSubmissionQueue::" name, "IOUserNetworkRxCompletionQueue::" name                           \
    }
constexpr const char *kCreate[] = PER_KIND("Create");
constexpr const char *kWithPool[] = PER_KIND("withPool");
constexpr const char *kSetEnable[] = PER_KIND("SetEnable");
constexpr const char *kCopyDataQueue[] = PER_KIND("CopyDataQueue");
constexpr const char *kEnqueue[] = PER_KIND("EnqueuePackets");
constexpr const char *kDequeue[] = PER_KIND("DequeuePackets");
constexpr const char *kRequest[] = PER_KIND("request");
constexpr const char *kSetPoller[] = PER_KIND("setPacketPoller");
constexpr const char *kPurge = "IOUserNetworkTxSubmissionQueue::purgePackets";

bool is_submission(uint32_t kind) { return kind == DK_NETQ_TX_SUBMISSION || kind == DK_NETQ_RX_SUBMISSION; }

uint32_t call_dequeue(void *context, dk_packet **packets, uint32_t n)
{
    auto *actions = static_cast<Actions *>(context);
    const std::lock_guard<std::recursive_mutex> guard(actions->lock);
    uint32_t done = 0;
    while (done < n && actions->queue != nullptr) {
        IOUserNetworkPacket *objects[kBurst];
        const uint32_t count = std::min(n - done, kBurst);
        for (uint32_t i = 0; i < count; ++i) {
            objects[i] = dk::object_of(packets[done + i]);
        }
        const uint32_t taken = actions->dequeue(actions->target, actions->queue, objects, count, actions->ref_con);
        done += std::min(taken, count);
        if (taken < count) {
            break;
        }
    }
    return done;
}

uint32_t call_enqueue(void *context, dk_packet **packets, uint32_t n)
{
    auto *actions = static_cast<Actions *>(context);
    const std::lock_guard<std::recursive_mutex> guard(actions->lock);
    uint32_t done = 0;
    while (done < n && actions->queue != nullptr) {
        IOUserNetworkPacket *objects[kBurst] = {};
        const uint32_t room = std::min(n - done, kBurst);
        const uint32_t given =
            std::min(actions->enqueue(actions->target, actions->queue, objects, room, actions->ref_con), room);
        for (uint32_t i = 0; i < given; ++i) {
            if (objects[i] == nullptr || dk::packet_of(objects[i]) == nullptr) {
                dk::violation("bad packet", nullptr, "an EnqueueAction returned %u but packet %u is null", given, i);
                return done;
            }
            packets[done++] = dk::packet_of(objects[i]);
        }
        if (given < room) {
            break;
        }
    }
    return done;
}

uint32_t call_free_space(void *context, uint32_t *bytes)
{
    auto *actions = static_cast<Actions *>(context);
    const std::lock_guard<std::recursive_mutex> guard(actions->lock);
    return actions->queue != nullptr ? actions->free_space(actions->target, actions->queue, bytes) : 0;
}

void release_actions(void *context) { delete static_cast<Actions *>(context); }

/// Makes a queue object of class T over a new engine queue. `actions` null: model A. Takes `actions`.
template <typename T>
kern_return_t make_queue(const char *method, uint32_t kind, IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                         uint32_t id, uint32_t service_class, IODispatchQueue *dispatch_queue, Actions *actions, T **out)
{
    *out = nullptr;
    dk_ret error = dk::fault(method);
    if (error == kIOReturnSuccess && (pool == nullptr || (actions == nullptr && dispatch_queue == nullptr))) {
        error = kIOReturnBadArgument;
    }
    T *object = error == kIOReturnSuccess ? OSTypeAlloc(T) : nullptr;
    if (object == nullptr) {
        delete actions;
        return error != kIOReturnSuccess ? error : kIOReturnNoMemory;
    }
    auto *state = new (std::nothrow) IOUserNetworkPacketQueue_IVars();
    object->IOUserNetworkPacketQueue::ivars = state;
    if (state == nullptr || !object->init()) {
        delete actions;
        object->release();
        return kIOReturnNoMemory;
    }
    state->kind = kind;
    state->pool.set(pool);
    if (actions != nullptr) {
        actions->queue = object;
        state->actions = actions;
        const dk_netq_actions table{
            .ctx = actions,
            .dequeue = actions->dequeue != nullptr ? call_dequeue : nullptr,
            .enqueue = actions->enqueue != nullptr ? call_enqueue : nullptr,
            .free_space = actions->free_space != nullptr ? call_free_space : nullptr,
            .release = release_actions,
        };
        state->netq = dk_netq_create(kind, dk::pool_of(pool), capacity, id, service_class,
                                     dk::queue_of(dispatch_queue), &table, &error);
        if (state->netq == nullptr) {
            state->actions = nullptr; // taken, and released with the failure
        }
    } else {
        state->netq = dk_netq_create(kind, dk::pool_of(pool), capacity, id, service_class,
                                     dk::queue_of(dispatch_queue), nullptr, &error);
    }
    if (state->netq == nullptr) {
        object->release();
        return error;
    }
    *out = object;
    return kIOReturnSuccess;
}

template <typename T>
T *make_with_actions(uint32_t kind, IOUserNetworkPacketBufferPool *pool, uint32_t service_class, uint32_t capacity,
                     uint32_t id, OSObject *target, DequeueAction dequeue, EnqueueAction enqueue,
                     QueryFreeSpaceAction free_space, void *ref_con)
{
    if (dequeue == nullptr && enqueue == nullptr) {
        return nullptr;
    }
    auto *actions = new (std::nothrow) Actions{{}, nullptr, target, ref_con, dequeue, enqueue, free_space};
    T *queue = nullptr;
    if (actions != nullptr) {
        make_queue(kWithPool[kind], kind, pool, capacity, id, service_class, nullptr, actions, &queue);
    }
    return queue;
}

} // namespace

dk_netq *dk::netq_of(const IOUserNetworkPacketQueue *queue)
{
    return queue != nullptr && queue->IOUserNetworkPacketQueue::ivars != nullptr
               ? queue->IOUserNetworkPacketQueue::ivars->netq
               : nullptr;
}

// ---- IOUserNetworkPacketQueue --------------------------------------------------------------------------------------------

bool IOUserNetworkPacketQueue::init() { return OSObject::init(); }

void IOUserNetworkPacketQueue::free()
{
    if (ivars != nullptr) {
        if (ivars->actions != nullptr) {
            const std::lock_guard<std::recursive_mutex> guard(ivars->actions->lock);
            ivars->actions->queue = nullptr;
        }
        if (ivars->netq != nullptr) {
            dk_netq_release(ivars->netq);
        }
        dk::drop(ivars);
    }
    OSObject::free();
}

static kern_return_t set_enable(const IOUserNetworkPacketQueue_IVars *state, bool enable)
{
    const kern_return_t injected = dk::fault(kSetEnable[state->kind], kIOReturnNotReady);
    return injected != kIOReturnSuccess ? injected : dk_netq_set_enable(state->netq, enable);
}

kern_return_t IOUserNetworkPacketQueue::setEnable(bool isEnable) { return set_enable(ivars, isEnable); }

// The pool and the direction are fixed when a queue is made; these exist for source compatibility.
kern_return_t IOUserNetworkPacketQueue::SetPacketBufferPool(IOUserNetworkPacketBufferPool *pool)
{
    return pool == ivars->pool.get() ? kIOReturnSuccess : kIOReturnUnsupported;
}

kern_return_t IOUserNetworkPacketQueue::SetPacketDirection(IOUserNetworkPacketDirection direction)
{
    const bool transmit = ivars->kind == DK_NETQ_TX_SUBMISSION || ivars->kind == DK_NETQ_TX_COMPLETION;
    return direction == (transmit ? kIOUserNetworkPacketDirectionTx : kIOUserNetworkPacketDirectionRx)
               ? kIOReturnSuccess
               : kIOReturnUnsupported;
}

kern_return_t IMPL(IOUserNetworkPacketQueue, SetDataQueue)
{
    return dataQueue == ivars->data_queue.get() ? kIOReturnSuccess : kIOReturnUnsupported;
}

kern_return_t IOUserNetworkPacketQueue::CopyDataQueue(IODataQueueDispatchSource **dataQueue)
{
    *dataQueue = nullptr;
    dk_ret error = dk::fault(kCopyDataQueue[ivars->kind]);
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (!ivars->data_queue) {
        dk_source *source = dk_netq_copy_source(ivars->netq, &error);
        if (source == nullptr) {
            return error;
        }
        auto *wrapper = dk::wrap_source<IODataQueueDispatchSource>(source);
        if (wrapper == nullptr) {
            return kIOReturnNoMemory;
        }
        ivars->data_queue.set(wrapper);
        wrapper->release();
    }
    *dataQueue = ivars->data_queue.copy();
    return kIOReturnSuccess;
}

static uint32_t enqueue(const IOUserNetworkPacketQueue_IVars *state, IOUserNetworkPacket **packets, uint32_t count,
                        const void *site)
{
    if (dk::fault(kEnqueue[state->kind], kIOReturnOverrun) != kIOReturnSuccess) {
        return 0;
    }
    uint32_t done = 0;
    while (done < count) {
        dk_packet *burst[kBurst];
        uint32_t n = 0;
        while (n < kBurst && done + n < count) {
            const IOUserNetworkPacket *packet = packets[done + n];
            if (packet == nullptr || dk::packet_of(packet) == nullptr) {
                dk::violation("bad packet", site, "EnqueuePackets: packet %u is %s", done + n,
                              packet == nullptr ? "null" : "of a pool that is gone");
                count = done + n;
                break;
            }
            burst[n++] = dk::packet_of(packet);
        }
        const uint32_t accepted = n != 0 ? dk_netq_enqueue(state->netq, burst, n, site) : 0;
        done += accepted;
        if (accepted < n || n == 0) {
            break;
        }
    }
    return done;
}

static uint32_t dequeue(const IOUserNetworkPacketQueue_IVars *state, IOUserNetworkPacket **packets, uint32_t most,
                        const void *site)
{
    if (dk::fault(kDequeue[state->kind], kIOReturnUnderrun) != kIOReturnSuccess) {
        return 0;
    }
    uint32_t done = 0;
    while (done < most) {
        dk_packet *burst[kBurst];
        const uint32_t wanted = std::min(most - done, kBurst);
        const uint32_t got = dk_netq_dequeue(state->netq, burst, wanted, site);
        for (uint32_t i = 0; i < got; ++i) {
            packets[done++] = dk::object_of(burst[i]);
        }
        if (got < wanted) {
            break;
        }
    }
    return done;
}

uint32_t IOUserNetworkPacketQueue::EnqueuePackets(IOUserNetworkPacket **packets, uint32_t packetCount)
{
    return enqueue(ivars, packets, packetCount, DK_SITE());
}

kern_return_t IOUserNetworkPacketQueue::EnqueuePacket(IOUserNetworkPacket *packet)
{
    return enqueue(ivars, &packet, 1, DK_SITE()) == 1 ? kIOReturnSuccess : kIOReturnOverrun;
}

// Not all or nothing: success as soon as one packet was taken (use EnqueuePackets to know how many).
kern_return_t IOUserNetworkPacketQueue::enqueuePackets(IOUserNetworkPacket **inPackets, uint32_t count, IOOptionBits)
{
    return count == 0 || enqueue(ivars, inPackets, count, DK_SITE()) != 0 ? kIOReturnSuccess : kIOReturnOverrun;
}

uint32_t IOUserNetworkPacketQueue::DequeuePackets(IOUserNetworkPacket **packets, uint32_t maxDequeueCount)
{
    return dequeue(ivars, packets, maxDequeueCount, DK_SITE());
}

kern_return_t IOUserNetworkPacketQueue::DequeuePacket(IOUserNetworkPacket **packet)
{
    return dequeue(ivars, packet, 1, DK_SITE()) == 1 ? kIOReturnSuccess : kIOReturnUnderrun;
}

static kern_return_t request(const IOUserNetworkPacketQueue_IVars *state, bool submission)
{
    const kern_return_t injected = dk::fault(kRequest[state->kind], kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return is_submission(state->kind) == submission ? dk_netq_request(state->netq) : kIOReturnUnsupported;
}

kern_return_t IOUserNetworkPacketQueue::requestDequeue(void *, IOOptionBits) { return request(ivars, true); }

kern_return_t IOUserNetworkPacketQueue::requestEnqueue(void *, IOOptionBits) { return request(ivars, false); }

kern_return_t IOUserNetworkPacketQueue::setPacketPoller(IOUserNetworkPacketPoller *poller)
{
    const kern_return_t injected = dk::fault(kSetPoller[ivars->kind], kIOReturnUnsupported);
    return injected != kIOReturnSuccess ? injected : dk_netq_set_poller(ivars->netq, dk::poller_of(poller));
}

// ---- the four kinds --------------------------------------------------------------------------------------------------------

#define QUEUE_BASICS(type)                                                                                             \
    bool type::init() { return IOUserNetworkPacketQueue::init(); }                                                     \
    void type::free() { IOUserNetworkPacketQueue::free(); }                                                            \
    kern_return_t IMPL(type, SetEnable) { return set_enable(IOUserNetworkPacketQueue::ivars, isEnable); }

QUEUE_BASICS(IOUserNetworkTxSubmissionQueue)
QUEUE_BASICS(IOUserNetworkTxCompletionQueue)
QUEUE_BASICS(IOUserNetworkRxSubmissionQueue)
QUEUE_BASICS(IOUserNetworkRxCompletionQueue)

#define QUEUE_CREATE(type, kind)                                                                                       \
    kern_return_t IMPL(type, Create)                                                                                   \
    {                                                                                                                  \
        (void)owner;                                                                                                   \
        return make_queue(kCreate[kind], kind, pool, capacity, queueId, 0, dispatchQueue, nullptr, queue);             \
    }

QUEUE_CREATE(IOUserNetworkTxSubmissionQueue, DK_NETQ_TX_SUBMISSION)
QUEUE_CREATE(IOUserNetworkTxCompletionQueue, DK_NETQ_TX_COMPLETION)
QUEUE_CREATE(IOUserNetworkRxSubmissionQueue, DK_NETQ_RX_SUBMISSION)
QUEUE_CREATE(IOUserNetworkRxCompletionQueue, DK_NETQ_RX_COMPLETION)

kern_return_t IOUserNetworkTxSubmissionQueue::Create(IOUserNetworkPacketBufferPool *pool, OSObject *,
                                                     IOUserNetworkServiceClass serviceClass, uint32_t capacity,
                                                     uint32_t queueId, IODispatchQueue *dispatchQueue,
                                                     IOUserNetworkTxSubmissionQueue **queue)
{
    return make_queue(kCreate[DK_NETQ_TX_SUBMISSION], DK_NETQ_TX_SUBMISSION, pool, capacity, queueId, serviceClass,
                      dispatchQueue, nullptr, queue);
}

IOUserNetworkTxSubmissionQueue *
IOUserNetworkTxSubmissionQueue::withPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                                         IOUserNetworkPacketQueueId queueId, OSObject *target,
                                         QueryFreeSpaceAction freeSpaceAction, DequeueAction dequeueAction, void *refCon,
                                         IOOptionBits)
{
    return make_with_actions<IOUserNetworkTxSubmissionQueue>(DK_NETQ_TX_SUBMISSION, pool, 0, capacity, queueId, target,
                                                             dequeueAction, nullptr, freeSpaceAction, refCon);
}

IOUserNetworkTxSubmissionQueue *IOUserNetworkTxSubmissionQueue::withPoolAndServiceClass(
    IOUserNetworkPacketBufferPool *pool, IOUserNetworkServiceClass serviceClass, uint32_t capacity,
    IOUserNetworkPacketQueueId queueId, OSObject *target, QueryFreeSpaceAction freeSpaceAction,
    DequeueAction dequeueAction, void *refCon, IOOptionBits)
{
    return make_with_actions<IOUserNetworkTxSubmissionQueue>(DK_NETQ_TX_SUBMISSION, pool, serviceClass, capacity, queueId,
                                                             target, dequeueAction, nullptr, freeSpaceAction, refCon);
}

void IOUserNetworkTxSubmissionQueue::purgePackets()
{
    if (dk::fault(kPurge, kIOReturnError) == kIOReturnSuccess) {
        dk_netq_purge(IOUserNetworkPacketQueue::ivars->netq);
    }
}

IOUserNetworkTxCompletionQueue *
IOUserNetworkTxCompletionQueue::withPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                                         IOUserNetworkPacketQueueId queueId, OSObject *target,
                                         EnqueueAction enqueueAction, void *refCon, IOOptionBits)
{
    return make_with_actions<IOUserNetworkTxCompletionQueue>(DK_NETQ_TX_COMPLETION, pool, 0, capacity, queueId, target,
                                                             nullptr, enqueueAction, nullptr, refCon);
}

// bufferCount sizes a kernel-side cache on a Mac; the engine posts as many packets as the queue has room for.
IOUserNetworkRxSubmissionQueue *
IOUserNetworkRxSubmissionQueue::withPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity, uint32_t,
                                         IOUserNetworkPacketQueueId queueId, OSObject *target,
                                         DequeueAction dequeueAction, void *refCon, IOOptionBits)
{
    return make_with_actions<IOUserNetworkRxSubmissionQueue>(DK_NETQ_RX_SUBMISSION, pool, 0, capacity, queueId, target,
                                                             dequeueAction, nullptr, nullptr, refCon);
}

IOUserNetworkRxCompletionQueue *
IOUserNetworkRxCompletionQueue::withPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                                         IOUserNetworkPacketQueueId queueId, OSObject *target, EnqueueAction enqueueAction,
                                         void *refCon, IOOptionBits)
{
    return make_with_actions<IOUserNetworkRxCompletionQueue>(DK_NETQ_RX_COMPLETION, pool, 0, capacity, queueId, target,
                                                             nullptr, enqueueAction, nullptr, refCon);
}

// ---- IOUserNetworkPacketPoller -----------------------------------------------------------------------------------------------

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

IOUserNetworkPacketPoller *IOUserNetworkPacketPoller::poller(OSObject *target, IODispatchQueue *queue,
                                                             PollAction pollAction, EventAction eventAction,
                                                             IOOptionBits, void *refCon)
{
    if (queue == nullptr || pollAction == nullptr ||
        dk::fault("IOUserNetworkPacketPoller::poller") != kIOReturnSuccess) {
        return nullptr;
    }
    auto *object = dk::make<IOUserNetworkPacketPoller, IOUserNetworkPacketPoller_IVars>();
    auto *context = object != nullptr ? new (std::nothrow) PollContext() : nullptr;
    if (context == nullptr) {
        OSSafeReleaseNULL(object);
        return nullptr;
    }
    context->poller = object;
    context->target = target;
    context->ref_con = refCon;
    context->poll = pollAction;
    context->event = eventAction;
    const dk_handler poll{context, call_poll, release_poll};
    const dk_handler event{context, call_event, release_poll};
    dk_ret error = kIOReturnSuccess;
    object->ivars->poller = dk_poller_create(dk::queue_of(queue), &poll, &event, &error);
    if (object->ivars->poller == nullptr) {
        OSSafeReleaseNULL(object);
        return nullptr;
    }
    object->ivars->context = context;
    return object;
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
