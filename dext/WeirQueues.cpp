// SPDX-License-Identifier: MIT OR Apache-2.0
// The packet pool and the packet queues of all pairs: creation, doorbells, enabling, release.

#include "weir_dext.h"

namespace weir {
namespace {

/* A packet can wait in a submission queue, in the core's ring and in a completion queue, in both directions. */
constexpr uint32_t kPlacesPerDirection = 3;

kern_return_t createPair(WeirEthernet *nic, Queue &queue)
{
    IOUserNetworkPacketBufferPool *pool = nic->ivars->pool;
    const uint32_t capacity = nic->ivars->settings.config.ring_size;
    const uint32_t id = queue.index;

    kern_return_t ret = IODispatchQueue::Create("dev.weir.pair", 0, 0, &queue.dispatch);
    if (ret == kIOReturnSuccess) {
        ret = IOUserNetworkTxSubmissionQueue::Create(pool, nic, capacity, id, queue.dispatch, &queue.txSubmit);
    }
    if (ret == kIOReturnSuccess) {
        ret = IOUserNetworkTxCompletionQueue::Create(pool, nic, capacity, id, queue.dispatch, &queue.txComplete);
    }
    if (ret == kIOReturnSuccess) {
        ret = IOUserNetworkRxSubmissionQueue::Create(pool, nic, capacity, id, queue.dispatch, &queue.rxSubmit);
    }
    if (ret == kIOReturnSuccess) {
        ret = IOUserNetworkRxCompletionQueue::Create(pool, nic, capacity, id, queue.dispatch, &queue.rxComplete);
    }
    return ret;
}

/* The action's reference holds the pair's index: all pairs share one handler. */
void setReference(OSAction *action, uint32_t index)
{
    auto *reference = static_cast<uint32_t *>(action->GetReference());
    if (reference != nullptr) {
        *reference = index;
    }
}

kern_return_t createTxDoorbell(WeirEthernet *nic, Queue &queue)
{
    kern_return_t ret = nic->CreateActionTxDataAvailable(sizeof(uint32_t), &queue.txAction);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    setReference(queue.txAction, queue.index);
    ret = queue.txSubmit->CopyDataQueue(&queue.txSource);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    return queue.txSource->SetDataAvailableHandler(queue.txAction);
}

/* Tells when the stack gave empty packets back to a dry queue. Without it a pair refills at its next wake-up, so
 * that a system whose RX submission queue has no data queue of its own still works. */
void createRxDoorbell(WeirEthernet *nic, Queue &queue)
{
    kern_return_t ret = nic->CreateActionRxBuffersAvailable(sizeof(uint32_t), &queue.rxAction);
    if (ret == kIOReturnSuccess) {
        setReference(queue.rxAction, queue.index);
        ret = queue.rxSubmit->CopyDataQueue(&queue.rxSource);
    }
    if (ret == kIOReturnSuccess) {
        ret = queue.rxSource->SetDataAvailableHandler(queue.rxAction);
    }
    if (ret != kIOReturnSuccess) {
        WEIR_LOG("pair %u: no doorbell for empty packets: 0x%08x", queue.index, ret);
        OSSafeReleaseNULL(queue.rxSource);
        OSSafeReleaseNULL(queue.rxAction);
    }
}

} // namespace

kern_return_t createPool(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    const weir_config &config = ivars->settings.config;
    const uint32_t packets = 2 * kPlacesPerDirection * config.ring_size * config.queues;

    IOUserNetworkPacketBufferPoolOptions options = {};
    options.packetCount = packets;
    options.bufferCount = packets;
    options.bufferSize = config.buf_len;
    options.maxBuffersPerPacket = 1;
    options.memorySegmentSize = 0;
    options.poolFlags = PoolFlagMapToDext;
    options.dmaSpecification.maxAddressBits = 64;
    IOService *owner = nic;
    if (ivars->device != nullptr) {
        options.poolFlags |= PoolFlagMapToDevice;
        owner = ivars->device;
    }
    ivars->bufferSize = config.buf_len;
    return IOUserNetworkPacketBufferPool::CreateWithOptions(owner, "dev.weir.pool", &options, &ivars->pool);
}

kern_return_t createQueues(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    for (uint32_t i = 0; i < ivars->settings.config.queues; ++i) {
        Queue &queue = ivars->queues[i];
        queue = {};
        queue.owner = nic;
        queue.index = i;
        ivars->queueCount = i + 1;
        kern_return_t ret = createPair(nic, queue);
        if (ret == kIOReturnSuccess) {
            ret = createTxDoorbell(nic, queue);
        }
        if (ret != kIOReturnSuccess) {
            return ret;
        }
        createRxDoorbell(nic, queue);
    }
    return kIOReturnSuccess;
}

void releaseQueues(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    for (uint32_t i = 0; i < ivars->queueCount; ++i) {
        Queue &queue = ivars->queues[i];
        OSSafeReleaseNULL(queue.txSource);
        OSSafeReleaseNULL(queue.rxSource);
        OSSafeReleaseNULL(queue.txAction);
        OSSafeReleaseNULL(queue.rxAction);
        OSSafeReleaseNULL(queue.txSubmit);
        OSSafeReleaseNULL(queue.rxSubmit);
        OSSafeReleaseNULL(queue.txComplete);
        OSSafeReleaseNULL(queue.rxComplete);
        OSSafeReleaseNULL(queue.dispatch);
    }
    ivars->queueCount = 0;
    OSSafeReleaseNULL(ivars->pool);
}

kern_return_t enableQueues(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    for (uint32_t i = 0; i < ivars->queueCount; ++i) {
        Queue &queue = ivars->queues[i];
        IOUserNetworkPacketQueue *const order[] = {queue.txComplete, queue.rxComplete, queue.rxSubmit, queue.txSubmit};
        for (IOUserNetworkPacketQueue *packetQueue : order) {
            const IOReturn ret = packetQueue->setEnable(true);
            if (ret != kIOReturnSuccess) {
                WEIR_LOG("pair %u: a packet queue cannot be enabled: 0x%08x", i, ret);
                disableQueues(nic);
                return ret;
            }
        }
    }
    return kIOReturnSuccess;
}

void disableQueues(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    for (uint32_t i = 0; i < ivars->queueCount; ++i) {
        Queue &queue = ivars->queues[i];
        IOUserNetworkPacketQueue *const order[] = {queue.txSubmit, queue.rxSubmit, queue.txComplete, queue.rxComplete};
        for (IOUserNetworkPacketQueue *packetQueue : order) {
            const IOReturn ret = packetQueue->setEnable(false);
            if (ret != kIOReturnSuccess) {
                WEIR_LOG("pair %u: a packet queue cannot be disabled: 0x%08x", i, ret);
            }
        }
    }
}

} // namespace weir
