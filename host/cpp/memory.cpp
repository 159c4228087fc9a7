// SPDX-License-Identifier: MIT OR Apache-2.0
// IOMemoryDescriptor, IOBufferMemoryDescriptor, IOMemoryMap, IODMACommand.

#include "memory.h"

#include <DriverKit/IOBufferMemoryDescriptor.h>
#include <DriverKit/IODMACommand.h>
#include <DriverKit/IOMemoryMap.h>
#include <DriverKit/IOService.h>

struct IOMemoryMap_IVars {
    dk_map *map = nullptr;
};

struct IODMACommand_IVars {
    dk_dma *dma = nullptr;
    dk::Ref<IOMemoryDescriptor> prepared;
};

namespace {

template <typename T> T *wrap_as(OSMetaClass *meta, dk_mem *mem)
{
    T *object = dk::alloc<T>(meta);
    if (object != nullptr) {
        auto *state = new (std::nothrow) IOMemoryDescriptor_IVars();
        static_cast<IOMemoryDescriptor *>(object)->IOMemoryDescriptor::ivars = state;
        if (state != nullptr && object->init()) {
            state->mem = mem;
            return object;
        }
        object->release();
    }
    dk_mem_release(mem);
    return nullptr;
}

} // namespace

IOMemoryDescriptor *dk::wrap_memory(dk_mem *mem) { return wrap_as<IOMemoryDescriptor>(OSTypeID(IOMemoryDescriptor), mem); }

dk_mem *dk::memory_of(IOMemoryDescriptor *memory)
{
    return memory != nullptr && memory->IOMemoryDescriptor::ivars != nullptr ? memory->IOMemoryDescriptor::ivars->mem
                                                                            : nullptr;
}

// ---- IOMemoryDescriptor ------------------------------------------------------------------------------------------------

bool IOMemoryDescriptor::init() { return OSObject::init(); }

void IOMemoryDescriptor::free()
{
    if (ivars != nullptr) {
        for (dk_map *map : ivars->maps) {
            dk_map_release(map);
        }
        if (ivars->mem != nullptr) {
            dk_mem_release(ivars->mem);
        }
        dk::drop(ivars);
    }
    OSObject::free();
}

kern_return_t IOMemoryDescriptor::Map(uint64_t options, uint64_t address, uint64_t length, uint64_t alignment,
                                      uint64_t *returnAddress, uint64_t *returnLength)
{
    dk_ret error = dk::fault("IOMemoryDescriptor::Map");
    if (error != kIOReturnSuccess) {
        return error;
    }
    dk_map *map = dk_map_create(ivars->mem, options, address, 0, length, alignment, &error);
    if (map == nullptr) {
        return error;
    }
    ivars->maps.push_back(map);
    *returnAddress = dk_map_address(map);
    *returnLength = dk_map_length(map);
    return kIOReturnSuccess;
}

kern_return_t IOMemoryDescriptor::GetLength(uint64_t *returnLength)
{
    if (returnLength == nullptr) {
        return kIOReturnBadArgument;
    }
    *returnLength = dk_mem_length(ivars->mem);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOMemoryDescriptor, CreateMapping)
{
    *map = nullptr;
    dk_ret error = dk::fault("IOMemoryDescriptor::CreateMapping");
    if (error != kIOReturnSuccess) {
        return error;
    }
    dk_map *made = dk_map_create(ivars->mem, options, address, offset, length, alignment, &error);
    if (made == nullptr) {
        return error;
    }
    auto *object = dk::make<IOMemoryMap, IOMemoryMap_IVars>(OSTypeID(IOMemoryMap));
    if (object == nullptr) {
        dk_map_release(made);
        return kIOReturnNoMemory;
    }
    object->ivars->map = made;
    *map = object;
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOMemoryDescriptor, CreateSubMemoryDescriptor)
{
    *memory = nullptr;
    dk_ret error = dk::fault("IOMemoryDescriptor::CreateSubMemoryDescriptor");
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (dk::memory_of(ofDescriptor) == nullptr) {
        return kIOReturnBadArgument;
    }
    dk_mem *made = dk_mem_sub(memoryDescriptorCreateOptions, offset, length, dk::memory_of(ofDescriptor), &error);
    if (made == nullptr) {
        return error;
    }
    *memory = dk::wrap_memory(made);
    return *memory != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

kern_return_t IMPL(IOMemoryDescriptor, CreateWithMemoryDescriptors)
{
    *memory = nullptr;
    dk_ret error = dk::fault("IOMemoryDescriptor::CreateWithMemoryDescriptors");
    if (error != kIOReturnSuccess) {
        return error;
    }
    constexpr uint32_t kMost = 32;
    dk_mem *parts[kMost];
    if (withDescriptorsCount == 0 || withDescriptorsCount > kMost) {
        return kIOReturnBadArgument;
    }
    for (uint32_t i = 0; i < withDescriptorsCount; ++i) {
        parts[i] = dk::memory_of(withDescriptors[i]);
        if (parts[i] == nullptr) {
            return kIOReturnBadArgument;
        }
    }
    dk_mem *made = dk_mem_multi(memoryDescriptorCreateOptions, parts, withDescriptorsCount, &error);
    if (made == nullptr) {
        return error;
    }
    *memory = dk::wrap_memory(made);
    return *memory != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

// ---- IOBufferMemoryDescriptor --------------------------------------------------------------------------------------------

kern_return_t IMPL(IOBufferMemoryDescriptor, Create)
{
    *memory = nullptr;
    dk_ret error = dk::fault("IOBufferMemoryDescriptor::Create");
    if (error != kIOReturnSuccess) {
        return error;
    }
    dk_mem *made = dk_mem_create(options, capacity, alignment, &error);
    if (made == nullptr) {
        return error;
    }
    *memory = wrap_as<IOBufferMemoryDescriptor>(OSTypeID(IOBufferMemoryDescriptor), made);
    return *memory != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

bool IOBufferMemoryDescriptor::init() { return IOMemoryDescriptor::init(); }

void IOBufferMemoryDescriptor::free() { IOMemoryDescriptor::free(); }

kern_return_t IOBufferMemoryDescriptor::GetAddressRange(IOAddressSegment *range)
{
    const kern_return_t injected = dk::fault("IOBufferMemoryDescriptor::GetAddressRange", kIOReturnVMError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    if (range == nullptr) {
        return kIOReturnBadArgument;
    }
    return dk_mem_address(dk::memory_of(this), &range->address, &range->length);
}

kern_return_t IMPL(IOBufferMemoryDescriptor, SetLength)
{
    const kern_return_t injected = dk::fault("IOBufferMemoryDescriptor::SetLength", kIOReturnNoSpace);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk_mem_set_length(dk::memory_of(this), length);
}

// ---- IOMemoryMap -----------------------------------------------------------------------------------------------------------

bool IOMemoryMap::init() { return OSObject::init(); }

void IOMemoryMap::free()
{
    if (ivars != nullptr && ivars->map != nullptr) {
        dk_map_release(ivars->map);
    }
    dk::drop(ivars);
    OSObject::free();
}

uint64_t IOMemoryMap::GetAddress() { return dk_map_address(ivars->map); }

uint64_t IOMemoryMap::GetLength() { return dk_map_length(ivars->map); }

uint64_t IOMemoryMap::GetOffset() { return dk_map_offset(ivars->map); }

// ---- IODMACommand ------------------------------------------------------------------------------------------------------------

static_assert(sizeof(IOAddressSegment) == sizeof(dk_segment), "one layout");

kern_return_t IMPL(IODMACommand, Create)
{
    *command = nullptr;
    dk_ret error = dk::fault("IODMACommand::Create");
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (specification == nullptr) {
        return kIOReturnBadArgument;
    }
    dk_dma *made = dk_dma_create(dk::service_of(device), options, specification->maxAddressBits, &error);
    if (made == nullptr) {
        return error;
    }
    auto *object = dk::make<IODMACommand, IODMACommand_IVars>(OSTypeID(IODMACommand));
    if (object == nullptr) {
        dk_dma_release(made);
        return kIOReturnNoMemory;
    }
    object->ivars->dma = made;
    *command = object;
    return kIOReturnSuccess;
}

bool IODMACommand::init() { return OSObject::init(); }

void IODMACommand::free()
{
    if (ivars != nullptr && ivars->dma != nullptr) {
        dk_dma_release(ivars->dma);
    }
    dk::drop(ivars);
    OSObject::free();
}

kern_return_t IMPL(IODMACommand, PrepareForDMA)
{
    const kern_return_t injected = dk::fault("IODMACommand::PrepareForDMA", kIOReturnNoSpace);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    if (dk::memory_of(memory) == nullptr || segmentsCount == nullptr || segments == nullptr) {
        return kIOReturnBadArgument;
    }
    uint64_t direction = 0;
    const kern_return_t result = dk_dma_prepare(ivars->dma, options, dk::memory_of(memory), offset, length, &direction,
                                                segmentsCount, reinterpret_cast<dk_segment *>(segments));
    if (result == kIOReturnSuccess) {
        ivars->prepared.set(memory);
        if (flags != nullptr) {
            *flags = direction;
        }
    }
    return result;
}

kern_return_t IMPL(IODMACommand, CompleteDMA)
{
    const kern_return_t injected = dk::fault("IODMACommand::CompleteDMA", kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    const kern_return_t result = dk_dma_complete(ivars->dma, options);
    if (result == kIOReturnSuccess) {
        ivars->prepared.set(nullptr);
    }
    return result;
}

kern_return_t IMPL(IODMACommand, GetPreparation)
{
    const kern_return_t injected = dk::fault("IODMACommand::GetPreparation", kIOReturnNotReady);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    dk_mem *mem = nullptr;
    const kern_return_t result = dk_dma_get_preparation(ivars->dma, offset, length, &mem);
    if (result == kIOReturnSuccess && memory != nullptr) {
        *memory = ivars->prepared.copy();
    }
    return result;
}

kern_return_t IMPL(IODMACommand, PerformOperation)
{
    const kern_return_t injected = dk::fault("IODMACommand::PerformOperation", kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk_dma_perform(ivars->dma, options, dmaOffset, length, dataOffset, dk::memory_of(data));
}
