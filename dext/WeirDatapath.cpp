// SPDX-License-Identifier: MIT OR Apache-2.0
// Packets between the packet queues and the core. Each pair runs on its own serial queue; nothing here looks
// inside a frame.
//
// A packet that was dequeued belongs to this file until it is, exactly once, accepted by a completion queue or given
// back to the pool. While the core has it, its cookie is the packet's address; bit 0 tells transmit packets apart.

#include "weir_dext.h"

namespace weir {

bool isRunning(WeirEthernet *nic) { return __atomic_load_n(&nic->ivars->running, __ATOMIC_SEQ_CST) != 0; }

namespace {

constexpr uint64_t kCookieTx = 1;

uint64_t toCookie(IOUserNetworkPacket *packet, uint64_t kind) { return reinterpret_cast<uintptr_t>(packet) | kind; }

IOUserNetworkPacket *toPacket(uint64_t cookie)
{
    return reinterpret_cast<IOUserNetworkPacket *>(static_cast<uintptr_t>(cookie & ~kCookieTx));
}

/* Hands packets to a completion queue; what it does not accept goes back to the pool. Returns the number accepted. */
uint32_t hand(Queue &queue, IOUserNetworkPacketQueue *to, IOUserNetworkPacket **packets, uint32_t n)
{
    uint32_t accepted = n == 0 ? 0 : to->EnqueuePackets(packets, n);
    if (accepted > n) {
        accepted = n;
    }
    if (accepted < n) {
        count(queue.counters.enqueue_short, n - accepted);
        (void)queue.owner->ivars->pool->deallocatePackets(packets + accepted, n - accepted);
    }
    return accepted;
}

void complete(Queue &queue, IOUserNetworkPacket **packets, uint32_t n)
{
    const uint32_t accepted = hand(queue, queue.txComplete, packets, n);
    count(queue.counters.tx_completed, accepted);
    count(queue.counters.tx_returned, n - accepted);
}

void deliver(Queue &queue, IOUserNetworkPacket **packets, uint32_t n)
{
    const uint32_t accepted = hand(queue, queue.rxComplete, packets, n);
    count(queue.counters.rx_delivered, accepted);
    count(queue.counters.rx_returned, n - accepted);
}

void giveBack(Queue &queue, IOUserNetworkPacket **packets, uint32_t n)
{
    if (n > 0) {
        count(queue.counters.rx_returned, n);
        (void)queue.owner->ivars->pool->deallocatePackets(packets, n);
    }
}

/* Where the packet's memory is. False, and the memory must not be touched, for an address that cannot be a mapped buffer or
 * an offset and length that leave it. */
bool locate(Queue &queue, IOUserNetworkPacket *packet, uint64_t kind, uint32_t len, weir_empty &buffer)
{
    const uint32_t size = queue.owner->ivars->bufferSize;
    const uint64_t base = packet->getDataVirtualAddress();
    const uint32_t offset = packet->getDataOffset();
    if (base < kLowestAddress || base > UINTPTR_MAX - size || offset > size || len > size - offset) {
        return false;
    }
    buffer = {
        .cookie = toCookie(packet, kind),
        .base = reinterpret_cast<uint8_t *>(static_cast<uintptr_t>(base)),
        .iova = queue.owner->ivars->device == nullptr ? 0 : packet->getDataIOVirtualAddress(),
        .buf_len = size,
        .data_off = offset,
    };
    return true;
}

/* A frame to transmit, every field written once. False as above, or if the packet asks for what its headers do not allow. */
bool describe(Queue &queue, IOUserNetworkPacket *packet, weir_pkt &frame)
{
    const uint32_t len = packet->getDataLength();
    weir_empty buffer;
    if (len == 0 || !locate(queue, packet, kCookieTx, len, buffer)) {
        return false;
    }
    frame = {
        .cookie = buffer.cookie,
        .base = buffer.base,
        .iova = buffer.iova,
        .buf_len = buffer.buf_len,
        .data_off = buffer.data_off,
        .len = len,
        .flags = 0,
        .csum_start = 0,
        .csum_stuff = 0,
        .mss = 0,
        .segs = 0,
        .status = WEIR_OK,
        .reserved = 0,
    };
    return describeTxOffload(packet, frame);
}

/* Finished transmissions: to the completion queue. Returns how many. */
uint32_t reapTx(Queue &queue, weir_core *core)
{
    weir_pkt done[kBurst];
    IOUserNetworkPacket *packets[kBurst];
    const uint32_t n = weir_tx_reap(core, queue.index, done, kBurst);
    for (uint32_t i = 0; i < n; ++i) {
        packets[i] = toPacket(done[i].cookie);
        packets[i]->setCompletionStatus(toIOReturn(done[i].status));
    }
    complete(queue, packets, n);
    return n;
}

/* New transmissions: to the core, no more than it takes. Returns how many were dequeued. */
uint32_t submitTx(Queue &queue, weir_core *core)
{
    const uint32_t space = weir_tx_space(core, queue.index);
    if (space == 0) {
        return 0;
    }
    IOUserNetworkPacket *packets[kBurst];
    const uint32_t n = queue.txSubmit->DequeuePackets(packets, space < kBurst ? space : kBurst);
    if (n == 0) {
        return 0;
    }
    count(queue.counters.tx_dequeued, n);

    weir_burst frames;
    IOUserNetworkPacket *bad[kBurst];
    uint32_t good = 0;
    uint32_t refused = 0;
    for (uint32_t i = 0; i < n; ++i) {
        if (describe(queue, packets[i], frames.pkts[good])) {
            ++good;
        } else {
            packets[i]->setCompletionStatus(kIOReturnBadArgument);
            bad[refused++] = packets[i];
        }
    }
    count(queue.counters.tx_bad_address, refused);

    for (uint32_t i = weir_tx_submit(core, queue.index, &frames, good); i < good; ++i) {
        bad[refused] = toPacket(frames.pkts[i].cookie);
        bad[refused++]->setCompletionStatus(kIOReturnNoResources);
        count(queue.counters.tx_refused);
    }
    complete(queue, bad, refused);
    return n;
}

/* Empty packets: to the core's receive ring. Returns how many were dequeued. */
uint32_t refillRx(Queue &queue, weir_core *core)
{
    const uint32_t space = weir_rx_space(core, queue.index);
    if (space == 0) {
        return 0;
    }
    IOUserNetworkPacket *packets[kBurst];
    const uint32_t n = queue.rxSubmit->DequeuePackets(packets, space < kBurst ? space : kBurst);
    if (n == 0) {
        return 0;
    }
    count(queue.counters.rx_dequeued, n);

    weir_empty empties[kBurst];
    IOUserNetworkPacket *bad[kBurst];
    uint32_t good = 0;
    uint32_t refused = 0;
    for (uint32_t i = 0; i < n; ++i) {
        if (locate(queue, packets[i], 0, 0, empties[good])) {
            ++good;
        } else {
            bad[refused++] = packets[i];
        }
    }
    count(queue.counters.rx_bad_address, refused);

    for (uint32_t i = weir_rx_post(core, queue.index, empties, good); i < good; ++i) {
        bad[refused++] = toPacket(empties[i].cookie);
        count(queue.counters.rx_refused);
    }
    giveBack(queue, bad, refused);
    return n;
}

/* Received frames: to the stack. Returns how many; `more` is set when the core has work left. */
uint32_t receive(Queue &queue, weir_core *core, bool &more)
{
    weir_burst frames;
    uint32_t flags = 0;
    const uint32_t n = weir_rx_poll(core, queue.index, &frames, kBurst, &flags);
    more = (flags & WEIR_POLL_MORE) != 0;

    IOUserNetworkPacket *good[kBurst];
    IOUserNetworkPacket *bad[kBurst];
    uint32_t delivered = 0;
    uint32_t refused = 0;
    for (uint32_t i = 0; i < n; ++i) {
        IOUserNetworkPacket *packet = toPacket(frames.pkts[i].cookie);
        if (setRxMetadata(packet, frames.pkts[i])) {
            good[delivered++] = packet;
        } else {
            bad[refused++] = packet;
            count(queue.counters.rx_bad_metadata);
        }
    }
    deliver(queue, good, delivered);
    giveBack(queue, bad, refused);
    return n;
}

/* Serves a pair until nothing moves, then arms its wake-up. On the pair's queue. */
void poll(Queue &queue)
{
    /* Before the work: whoever asks from now on gets another poll. */
    __atomic_store_n(&queue.pollPending, 0, __ATOMIC_SEQ_CST);
    if (!isRunning(queue.owner)) {
        return;
    }
    weir_core *core = queue.owner->ivars->core;
    /* Each direction goes round until it finds nothing more: a submission queue that was found empty rings its doorbell,
     * and weir_arm() sees what comes from the wire. */
    bool sending = true;
    bool receiving = true;
    for (uint32_t round = 0; (sending || receiving) && round < kPollRounds; ++round) {
        /* Before anything is sent: what a loopback wire answers at once needs a buffer. */
        const bool refilled = receiving && refillRx(queue, core) == kBurst;
        if (sending) {
            const uint32_t sent = submitTx(queue, core);
            /* After sending, because a loopback wire is done with most frames by now; what is reaped makes room. */
            sending = reapTx(queue, core) + sent != 0;
        }
        if (receiving) {
            bool more = false;
            const uint32_t received = receive(queue, core, more);
            receiving = received != 0 || more || refilled;
            /* So long a turn of one direction is time for the other to have something. */
            sending = sending || received == kBurst;
        }
    }
    if (sending || receiving || weir_arm(core, queue.index) != 0) {
        schedulePoll(queue);
    }
}

/* Takes everything back from a core that is disabled. On the pair's queue. */
void reclaim(Queue &queue)
{
    weir_core *core = queue.owner->ivars->core;
    weir_pkt back[kBurst];
    while (const uint32_t n = weir_reclaim(core, queue.index, back, kBurst)) {
        IOUserNetworkPacket *sent[kBurst];
        IOUserNetworkPacket *empty[kBurst];
        uint32_t sentCount = 0;
        uint32_t emptyCount = 0;
        for (uint32_t i = 0; i < n; ++i) {
            IOUserNetworkPacket *packet = toPacket(back[i].cookie);
            if ((back[i].cookie & kCookieTx) != 0) {
                packet->setCompletionStatus(toIOReturn(back[i].status));
                sent[sentCount++] = packet;
            } else {
                empty[emptyCount++] = packet;
            }
        }
        complete(queue, sent, sentCount);
        giveBack(queue, empty, emptyCount);
    }
}

/* A doorbell may arrive on Default or on the pair's queue: the work happens on the pair's. */
void ring(WeirEthernet *nic, OSAction *action)
{
    const auto *reference = static_cast<const uint32_t *>(action->GetReference());
    const uint32_t index = reference == nullptr ? 0 : *reference;
    WeirEthernet_IVars *ivars = nic->ivars;
    if (index >= ivars->queueCount || !isRunning(nic)) {
        return;
    }
    pollHere(ivars->queues[index]);
}

} // namespace

void schedulePoll(Queue &queue)
{
    if (__atomic_exchange_n(&queue.pollPending, 1, __ATOMIC_SEQ_CST) == 0) {
        Queue *target = &queue;
        queue.dispatch->DispatchAsync(^{
          poll(*target);
        });
    }
}

void pollHere(Queue &queue)
{
    if (queue.dispatch->OnQueue()) {
        poll(queue);
    } else {
        count(queue.counters.doorbell_hops);
        schedulePoll(queue);
    }
}

void drainQueues(WeirEthernet *nic)
{
    for (uint32_t i = 0; i < nic->ivars->queueCount; ++i) {
        IODispatchQueue *dispatch = nic->ivars->queues[i].dispatch;
        if (dispatch != nullptr) {
            dispatch->DispatchSync(^{
            });
        }
    }
}

kern_return_t startDatapath(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    weir_status status = WEIR_OK;
    {
        Locked lock(ivars->control);
        status = weir_enable(ivars->core, 1);
    }
    if (status != WEIR_OK) {
        WEIR_LOG("the core cannot be enabled: %d", status);
        return toIOReturn(status);
    }
    __atomic_store_n(&ivars->running, 1, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < ivars->queueCount; ++i) {
        schedulePoll(ivars->queues[i]);
    }
    armWatchdog(nic);
    return kIOReturnSuccess;
}

void quiesceDatapath(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    if (__atomic_exchange_n(&ivars->running, 0, __ATOMIC_SEQ_CST) == 0) {
        return;
    }
    drainQueues(nic);
    {
        Locked lock(ivars->control);
        const weir_status status = weir_enable(ivars->core, 0);
        if (status != WEIR_OK) {
            WEIR_LOG("the core cannot be disabled: %d", status);
        }
    }
    for (uint32_t i = 0; i < ivars->queueCount; ++i) {
        Queue *queue = &ivars->queues[i];
        queue->dispatch->DispatchSync(^{
          reclaim(*queue);
        });
    }
    weir_glue_counters sum;
    sumCounters(nic, sum);
    if (sum.packets_in_flight != 0) {
        WEIR_LOG("the core kept %llu packets", static_cast<unsigned long long>(sum.packets_in_flight));
    }
}

void sumCounters(WeirEthernet *nic, weir_glue_counters &out)
{
    out = {};
    auto *sum = reinterpret_cast<uint64_t *>(&out);
    for (uint32_t i = 0; i < nic->ivars->queueCount; ++i) {
        const auto *one = reinterpret_cast<const uint64_t *>(&nic->ivars->queues[i].counters);
        for (size_t k = 0; k < sizeof(out) / sizeof(*sum); ++k) {
            sum[k] += __atomic_load_n(&one[k], __ATOMIC_RELAXED);
        }
    }
    out.packets_in_flight = out.tx_dequeued - out.tx_completed - out.tx_returned + out.rx_dequeued -
                            out.rx_delivered - out.rx_returned;
}

} // namespace weir

void WeirEthernet::TxDataAvailable_Impl(OSAction *action) { weir::ring(this, action); }

void WeirEthernet::RxBuffersAvailable_Impl(OSAction *action) { weir::ring(this, action); }
