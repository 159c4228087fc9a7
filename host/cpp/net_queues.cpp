// SPDX-License-Identifier: MIT OR Apache-2.0
// The four packet queues in both models: data queue, action functions.

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

/// Gives a queue object its engine queue. `actions` null: model A. Takes `actions`.
kern_return_t init_queue(IOUserNetworkPacketQueue *object, uint32_t kind, IOUserNetworkPacketBufferPool *pool,
                         uint32_t capacity, uint32_t id, uint32_t service_class, IODispatchQueue *dispatch_queue,
                         Actions *actions)
{
    auto *state = pool != nullptr && (actions != nullptr || dispatch_queue != nullptr)
                      ? new (std::nothrow) IOUserNetworkPacketQueue_IVars()
                      : nullptr;
    if (state == nullptr || object->ivars != nullptr || !object->init()) {
        delete actions;
        delete state;
        return kIOReturnBadArgument;
    }
    object->ivars = state;
    state->kind = kind;
    state->pool.set(pool);
    dk_ret error = kIOReturnSuccess;
    if (actions == nullptr) {
        state->netq = dk_netq_create(kind, dk::pool_of(pool), capacity, id, service_class,
                                     dk::queue_of(dispatch_queue), nullptr, &error);
        return state->netq != nullptr ? kIOReturnSuccess : error;
    }
    actions->queue = object;
    const dk_netq_actions table{
        .ctx = actions,
        .dequeue = actions->dequeue != nullptr ? call_dequeue : nullptr,
        .enqueue = actions->enqueue != nullptr ? call_enqueue : nullptr,
        .free_space = actions->free_space != nullptr ? call_free_space : nullptr,
        .release = release_actions,
    };
    state->netq =
        dk_netq_create(kind, dk::pool_of(pool), capacity, id, service_class, nullptr, &table, &error);
    // A failure has released the actions.
    state->actions = state->netq != nullptr ? actions : nullptr;
    return state->netq != nullptr ? kIOReturnSuccess : error;
}

/// X::Create of model A.
template <typename T>
kern_return_t make_queue(OSMetaClass *meta, uint32_t kind, IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                         uint32_t id, uint32_t service_class, IODispatchQueue *dispatch_queue, T **out)
{
    *out = nullptr;
    kern_return_t result = dk::fault(kCreate[kind]);
    if (result != kIOReturnSuccess) {
        return result;
    }
    T *object = dk::alloc<T>(meta);
    if (object == nullptr) {
        return kIOReturnNoMemory;
    }
    result = init_queue(object, kind, pool, capacity, id, service_class, dispatch_queue, nullptr);
    if (result != kIOReturnSuccess) {
        object->release();
        return result;
    }
    *out = object;
    return kIOReturnSuccess;
}

/// X::initWithPool of model B.
bool init_with_actions(IOUserNetworkPacketQueue *object, uint32_t kind, IOUserNetworkPacketBufferPool *pool,
                       uint32_t service_class, uint32_t capacity, uint32_t id, OSObject *target, DequeueAction dequeue,
                       EnqueueAction enqueue, QueryFreeSpaceAction free_space, void *ref_con)
{
    if ((dequeue == nullptr && enqueue == nullptr) || dk::fault(kWithPool[kind]) != kIOReturnSuccess) {
        return false;
    }
    auto *actions = new (std::nothrow) Actions{{}, nullptr, target, ref_con, dequeue, enqueue, free_space};
    return actions != nullptr &&
           init_queue(object, kind, pool, capacity, id, service_class, nullptr, actions) == kIOReturnSuccess;
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

/// A queue that no Create, withPool or initWithPool made (OSTypeAlloc and init() alone) has no end: calls are refused.
static bool made(const IOUserNetworkPacketQueue_IVars *state)
{
    if (state == nullptr) {
        dk::warning(nullptr, "a packet queue is used that has only been through init(): make it with Create or withPool");
    }
    return state != nullptr;
}

static kern_return_t set_enable(const IOUserNetworkPacketQueue_IVars *state, bool enable)
{
    if (!made(state)) {
        return kIOReturnNotReady;
    }
    const kern_return_t injected = dk::fault(kSetEnable[state->kind], kIOReturnNotReady);
    return injected != kIOReturnSuccess ? injected : dk_netq_set_enable(state->netq, enable);
}

kern_return_t IOUserNetworkPacketQueue::setEnable(bool isEnable) { return set_enable(ivars, isEnable); }

// The pool and the direction are fixed when a queue is made; these exist for source compatibility.
kern_return_t IOUserNetworkPacketQueue::SetPacketBufferPool(IOUserNetworkPacketBufferPool *pool)
{
    return made(ivars) && pool == ivars->pool.get() ? kIOReturnSuccess : kIOReturnUnsupported;
}

kern_return_t IOUserNetworkPacketQueue::SetPacketDirection(IOUserNetworkPacketDirection direction)
{
    if (!made(ivars)) {
        return kIOReturnUnsupported;
    }
    const bool transmit = ivars->kind == DK_NETQ_TX_SUBMISSION || ivars->kind == DK_NETQ_TX_COMPLETION;
    return direction == (transmit ? kIOUserNetworkPacketDirectionTx : kIOUserNetworkPacketDirectionRx)
               ? kIOReturnSuccess
               : kIOReturnUnsupported;
}

kern_return_t IMPL(IOUserNetworkPacketQueue, SetDataQueue)
{
    return made(ivars) && dataQueue == ivars->data_queue.get() ? kIOReturnSuccess : kIOReturnUnsupported;
}

kern_return_t IOUserNetworkPacketQueue::CopyDataQueue(IODataQueueDispatchSource **dataQueue)
{
    *dataQueue = nullptr;
    if (!made(ivars)) {
        return kIOReturnNotReady;
    }
    dk_ret error = dk::fault(kCopyDataQueue[ivars->kind]);
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (!ivars->data_queue) {
        dk_source *source = dk_netq_copy_source(ivars->netq, &error);
        if (source == nullptr) {
            return error;
        }
        auto *wrapper = dk::wrap_source<IODataQueueDispatchSource>(OSTypeID(IODataQueueDispatchSource), source);
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
    if (!made(state) || dk::fault(kEnqueue[state->kind], kIOReturnOverrun) != kIOReturnSuccess) {
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
    if (!made(state) || dk::fault(kDequeue[state->kind], kIOReturnUnderrun) != kIOReturnSuccess) {
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
    if (!made(state)) {
        return kIOReturnNotReady;
    }
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
    if (!made(ivars)) {
        return kIOReturnNotReady;
    }
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
        return make_queue(OSTypeID(type), kind, pool, capacity, queueId, 0, dispatchQueue, queue);                     \
    }

QUEUE_CREATE(IOUserNetworkTxSubmissionQueue, DK_NETQ_TX_SUBMISSION)
QUEUE_CREATE(IOUserNetworkTxCompletionQueue, DK_NETQ_TX_COMPLETION)
QUEUE_CREATE(IOUserNetworkRxSubmissionQueue, DK_NETQ_RX_SUBMISSION)
QUEUE_CREATE(IOUserNetworkRxCompletionQueue, DK_NETQ_RX_COMPLETION)

#define WITH_POOL(type, ...)                                                                                           \
    type *queue = OSTypeAlloc(type);                                                                                   \
    if (queue != nullptr && !queue->initWithPool(__VA_ARGS__)) {                                                       \
        OSSafeReleaseNULL(queue);                                                                                      \
    }                                                                                                                  \
    return queue

kern_return_t IOUserNetworkTxSubmissionQueue::Create(IOUserNetworkPacketBufferPool *pool, OSObject *,
                                                     IOUserNetworkServiceClass serviceClass, uint32_t capacity,
                                                     uint32_t queueId, IODispatchQueue *dispatchQueue,
                                                     IOUserNetworkTxSubmissionQueue **queue)
{
    return make_queue(OSTypeID(IOUserNetworkTxSubmissionQueue), DK_NETQ_TX_SUBMISSION, pool, capacity, queueId,
                      serviceClass, dispatchQueue, queue);
}

bool IOUserNetworkTxSubmissionQueue::initWithPool(IOUserNetworkPacketBufferPool *pool,
                                                  IOUserNetworkServiceClass serviceClass, uint32_t capacity,
                                                  IOUserNetworkPacketQueueId queueId, OSObject *target,
                                                  QueryFreeSpaceAction freeSpaceAction, DequeueAction dequeueAction,
                                                  void *refCon, IOOptionBits)
{
    return init_with_actions(this, DK_NETQ_TX_SUBMISSION, pool, serviceClass, capacity, queueId, target, dequeueAction,
                             nullptr, freeSpaceAction, refCon);
}

IOUserNetworkTxSubmissionQueue *
IOUserNetworkTxSubmissionQueue::withPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                                         IOUserNetworkPacketQueueId queueId, OSObject *target,
                                         QueryFreeSpaceAction freeSpaceAction, DequeueAction dequeueAction, void *refCon,
                                         IOOptionBits options)
{
    return withPoolAndServiceClass(pool, kIOUserNetworkPacketServiceClassBE, capacity, queueId, target, freeSpaceAction,
                                   dequeueAction, refCon, options);
}

IOUserNetworkTxSubmissionQueue *IOUserNetworkTxSubmissionQueue::withPoolAndServiceClass(
    IOUserNetworkPacketBufferPool *pool, IOUserNetworkServiceClass serviceClass, uint32_t capacity,
    IOUserNetworkPacketQueueId queueId, OSObject *target, QueryFreeSpaceAction freeSpaceAction,
    DequeueAction dequeueAction, void *refCon, IOOptionBits options)
{
    WITH_POOL(IOUserNetworkTxSubmissionQueue, pool, serviceClass, capacity, queueId, target, freeSpaceAction,
              dequeueAction, refCon, options);
}

void IOUserNetworkTxSubmissionQueue::purgePackets()
{
    if (made(IOUserNetworkPacketQueue::ivars) && dk::fault(kPurge, kIOReturnError) == kIOReturnSuccess) {
        dk_netq_purge(IOUserNetworkPacketQueue::ivars->netq);
    }
}

bool IOUserNetworkTxCompletionQueue::initWithPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                                                  IOUserNetworkPacketQueueId queueId, OSObject *target,
                                                  EnqueueAction enqueueAction, void *refCon, IOOptionBits)
{
    return init_with_actions(this, DK_NETQ_TX_COMPLETION, pool, 0, capacity, queueId, target, nullptr, enqueueAction,
                             nullptr, refCon);
}

IOUserNetworkTxCompletionQueue *
IOUserNetworkTxCompletionQueue::withPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                                         IOUserNetworkPacketQueueId queueId, OSObject *target,
                                         EnqueueAction enqueueAction, void *refCon, IOOptionBits options)
{
    WITH_POOL(IOUserNetworkTxCompletionQueue, pool, capacity, queueId, target, enqueueAction, refCon, options);
}

IOReturn IOUserNetworkTxCompletionQueue::setPacketPoller(IOUserNetworkPacketPoller *poller)
{
    return IOUserNetworkPacketQueue::setPacketPoller(poller);
}

bool IOUserNetworkRxCompletionQueue::initWithPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                                                  IOUserNetworkPacketQueueId queueId, OSObject *target,
                                                  EnqueueAction enqueueAction, void *refCon, IOOptionBits)
{
    return init_with_actions(this, DK_NETQ_RX_COMPLETION, pool, 0, capacity, queueId, target, nullptr, enqueueAction,
                             nullptr, refCon);
}

IOUserNetworkRxCompletionQueue *
IOUserNetworkRxCompletionQueue::withPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity,
                                         IOUserNetworkPacketQueueId queueId, OSObject *target,
                                         EnqueueAction enqueueAction, void *refCon, IOOptionBits options)
{
    WITH_POOL(IOUserNetworkRxCompletionQueue, pool, capacity, queueId, target, enqueueAction, refCon, options);
}

IOReturn IOUserNetworkRxCompletionQueue::setPacketPoller(IOUserNetworkPacketPoller *poller)
{
    return IOUserNetworkPacketQueue::setPacketPoller(poller);
}

// bufferCount sizes a kernel-side cache on a Mac; the engine posts as many packets as the queue has room for.
bool IOUserNetworkRxSubmissionQueue::initWithPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity, uint32_t,
                                                  IOUserNetworkPacketQueueId queueId, OSObject *target,
                                                  DequeueAction dequeueAction, void *refCon, IOOptionBits)
{
    return init_with_actions(this, DK_NETQ_RX_SUBMISSION, pool, 0, capacity, queueId, target, dequeueAction, nullptr,
                             nullptr, refCon);
}

IOUserNetworkRxSubmissionQueue *
IOUserNetworkRxSubmissionQueue::withPool(IOUserNetworkPacketBufferPool *pool, uint32_t capacity, uint32_t bufferCount,
                                         IOUserNetworkPacketQueueId queueId, OSObject *target,
                                         DequeueAction dequeueAction, void *refCon, IOOptionBits options)
{
    WITH_POOL(IOUserNetworkRxSubmissionQueue, pool, capacity, bufferCount, queueId, target, dequeueAction, refCon,
              options);
}
