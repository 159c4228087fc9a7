// SPDX-License-Identifier: MIT OR Apache-2.0
// IOUserNetworkPacketBufferPool over the engine's pool.

#include "memory.h"
#include "net.h"

#include <DriverKit/IOService.h>
#include <NetworkingDriverKit/IOUserNetworkTypes.h>

#include <map>
#include <mutex>
#include <vector>

struct IOUserNetworkPacketBufferPool_IVars {
    dk_pool *pool = nullptr;
    IOService *device = nullptr; // not retained: the device outlives its driver's pools
    std::vector<IOUserNetworkPacket *> packets;
    dk::Ref<IOMemoryDescriptor> memory;
};

namespace {

// From the engine's pool to its object.
std::mutex g_pools_lock;
std::map<const dk_pool *, IOUserNetworkPacketBufferPool *> &pools()
{
    static auto *all = new std::map<const dk_pool *, IOUserNetworkPacketBufferPool *>();
    return *all;
}

dk_pool_options convert(const IOUserNetworkPacketBufferPoolOptions &options)
{
    return {
        .packet_count = options.packetCount,
        .buffer_count = options.bufferCount,
        .buffer_size = options.bufferSize,
        .max_buffers_per_packet = options.maxBuffersPerPacket,
        .memory_segment_size = options.memorySegmentSize,
        .flags = options.poolFlags,
        .dma_options = options.dmaSpecification.options,
        .dma_max_address_bits = options.dmaSpecification.maxAddressBits,
    };
}

/// Gives a pool object its engine pool and packets.
kern_return_t init_pool(IOUserNetworkPacketBufferPool *pool, OSObject *owner, const char *name,
                        const dk_pool_options &options)
{
    auto *state = pool->ivars == nullptr ? new (std::nothrow) IOUserNetworkPacketBufferPool_IVars() : nullptr;
    if (state == nullptr || !pool->init()) {
        delete state;
        return kIOReturnNoMemory;
    }
    pool->ivars = state;
    state->device = OSDynamicCast(IOService, owner);
    dk_ret error = kIOReturnNoMemory;
    state->pool = dk_pool_create(dk::service_of(state->device), name != nullptr ? name : "", &options, &error);
    if (state->pool == nullptr) {
        return error;
    }
    {
        const std::lock_guard<std::mutex> guard(g_pools_lock);
        pools()[state->pool] = pool;
    }
    const uint32_t count = dk_pool_packet_count(state->pool);
    state->packets.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
        IOUserNetworkPacketDescriptor descriptor{i};
        IOUserNetworkPacket *packet = nullptr;
        const kern_return_t result = pool->newPacket(&descriptor, &packet);
        if (result != kIOReturnSuccess || packet == nullptr) {
            return result != kIOReturnSuccess ? result : kIOReturnNoMemory;
        }
        state->packets.push_back(packet);
        dk_pool_set_object(state->pool, i, packet);
    }
    return kIOReturnSuccess;
}

kern_return_t create(const char *method, OSObject *owner, const char *name, const dk_pool_options &options,
                     IOUserNetworkPacketBufferPool **out)
{
    *out = nullptr;
    kern_return_t result = dk::fault(method);
    if (result != kIOReturnSuccess) {
        return result;
    }
    auto *pool = OSTypeAlloc(IOUserNetworkPacketBufferPool);
    if (pool == nullptr) {
        return kIOReturnNoMemory;
    }
    result = init_pool(pool, owner, name, options);
    if (result != kIOReturnSuccess) {
        pool->release();
        return result;
    }
    *out = pool;
    return kIOReturnSuccess;
}

} // namespace

dk_pool *dk::pool_of(const IOUserNetworkPacketBufferPool *pool)
{
    return pool != nullptr && pool->ivars != nullptr ? pool->ivars->pool : nullptr;
}

IOUserNetworkPacketBufferPool *dk::pool_object(const dk_pool *pool)
{
    const std::lock_guard<std::mutex> guard(g_pools_lock);
    const auto found = pools().find(pool);
    return found != pools().end() ? found->second : nullptr;
}

// The device need not be a real one: a virtual NIC passes itself, which counts as mapped to the dext.
kern_return_t IOUserNetworkPacketBufferPool::Create(OSObject *poolOwner, const char name[1024], uint32_t packetCount,
                                                    uint32_t bufferCount, uint32_t bufferSize,
                                                    IOUserNetworkPacketBufferPool **pool)
{
    const dk_pool_options options{
        .packet_count = packetCount,
        .buffer_count = bufferCount,
        .buffer_size = bufferSize,
        .max_buffers_per_packet = 1,
        .memory_segment_size = 0,
        .flags = DK_POOL_MAP_TO_DEXT,
        .dma_options = 0,
        .dma_max_address_bits = 64,
    };
    return create("IOUserNetworkPacketBufferPool::Create", poolOwner, name, options, pool);
}

kern_return_t IOUserNetworkPacketBufferPool::CreateWithOptions(IOService *device, const char name[1024],
                                                               const IOUserNetworkPacketBufferPoolOptions *options,
                                                               IOUserNetworkPacketBufferPool **pool)
{
    if (options == nullptr || pool == nullptr) {
        return kIOReturnBadArgument;
    }
    return create("IOUserNetworkPacketBufferPool::CreateWithOptions", device, name, convert(*options), pool);
}

IOUserNetworkPacketBufferPool *
IOUserNetworkPacketBufferPool::withName(const char *poolName, OSObject *owner, IONetworkPacketType packetType,
                                        const IOUserNetworkPacketBufferPoolOptions *options)
{
    auto *pool = OSTypeAlloc(IOUserNetworkPacketBufferPool);
    if (pool != nullptr && !pool->initWithName(poolName, owner, packetType, options)) {
        OSSafeReleaseNULL(pool);
    }
    return pool;
}

bool IOUserNetworkPacketBufferPool::initWithName(const char *poolName, OSObject *owner, IONetworkPacketType packetType,
                                                 const IOUserNetworkPacketBufferPoolOptions *options)
{
    return options != nullptr && packetType == IONetworkPacketTypeNetwork &&
           dk::fault("IOUserNetworkPacketBufferPool::withName") == kIOReturnSuccess &&
           init_pool(this, owner, poolName, convert(*options)) == kIOReturnSuccess;
}

IOReturn IOUserNetworkPacketBufferPool::newPacket(IOUserNetworkPacketDescriptor *descriptor,
                                                  IOUserNetworkPacket **packet)
{
    *packet = IOUserNetworkPacket::withPool(this, descriptor, 0);
    return *packet != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

void IOUserNetworkPacketBufferPool::release() const { OSObject::release(); }

bool IOUserNetworkPacketBufferPool::init() { return OSObject::init(); }

void IOUserNetworkPacketBufferPool::free()
{
    if (ivars != nullptr) {
        {
            const std::lock_guard<std::mutex> guard(g_pools_lock);
            pools().erase(ivars->pool);
        }
        if (ivars->pool != nullptr) {
            dk_pool_release(ivars->pool);
        }
        for (IOUserNetworkPacket *packet : ivars->packets) {
            dk::unwrap_packet(packet);
        }
        dk::drop(ivars);
    }
    OSObject::free();
}

kern_return_t IOUserNetworkPacketBufferPool::allocatePacket(IOUserNetworkPacket **packet, IOOptionBits options)
{
    const kern_return_t injected = dk::fault("IOUserNetworkPacketBufferPool::allocatePacket");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    dk_packet *got = nullptr;
    if ((options & kIOUserNetworkBlocking) != 0) {
        got = dk_pool_alloc_blocking(ivars->pool);
    } else if (dk_pool_alloc(ivars->pool, &got, 1) == 0) {
        got = nullptr;
    }
    if (got == nullptr) {
        return kIOReturnNoMemory;
    }
    *packet = dk::object_of(got);
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacketBufferPool::deallocatePackets(IOUserNetworkPacket **packets, uint32_t packetsCount)
{
    const void *site = DK_SITE();
    for (uint32_t i = 0; i < packetsCount; ++i) {
        if (packets[i] == nullptr || dk::packet_of(packets[i]) == nullptr) {
            return kIOReturnBadArgument;
        }
        dk_packet *packet = dk::packet_of(packets[i]);
        const kern_return_t result = dk_pool_free(ivars->pool, &packet, 1, site);
        if (result != kIOReturnSuccess) {
            return result;
        }
    }
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacketBufferPool::deallocatePacket(IOUserNetworkPacket *packet)
{
    return deallocatePackets(&packet, 1);
}

kern_return_t IOUserNetworkPacketBufferPool::DeallocatePacket(IOUserNetworkPacket *packet)
{
    return deallocatePackets(&packet, 1);
}

kern_return_t IOUserNetworkPacketBufferPool::DeallocatePackets(IOUserNetworkPacket **packets, uint32_t packetsCount)
{
    return deallocatePackets(packets, packetsCount);
}

kern_return_t IMPL(IOUserNetworkPacketBufferPool, CopyMemoryDescriptor)
{
    *memory = nullptr;
    dk_ret error = dk::fault("IOUserNetworkPacketBufferPool::CopyMemoryDescriptor");
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (!ivars->memory) {
        dk_mem *mem = dk_pool_copy_memory(ivars->pool, &error);
        if (mem == nullptr) {
            return error;
        }
        IOMemoryDescriptor *wrapper = dk::wrap_memory(mem);
        if (wrapper == nullptr) {
            return kIOReturnNoMemory;
        }
        ivars->memory.set(wrapper);
        wrapper->release();
    }
    *memory = ivars->memory.copy();
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUserNetworkPacketBufferPool, GetPacketCount)
{
    *count = dk_pool_packet_count(ivars->pool);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUserNetworkPacketBufferPool, GetBufferCount)
{
    *count = dk_pool_buffer_count(ivars->pool);
    return kIOReturnSuccess;
}

IOService *IOUserNetworkPacketBufferPool::getPoolOwnerDevice() { return ivars->device; }
