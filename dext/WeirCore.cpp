// SPDX-License-Identifier: MIT OR Apache-2.0
// The core's instance and the operation tables that it is given.

#include "weir_dext.h"

#include <string.h>
#include <time.h>

#include <DriverKit/IOBufferMemoryDescriptor.h>
#include <DriverKit/IODMACommand.h>

namespace weir {
namespace {

uint64_t nowNs(void *) { return clock_gettime_nsec_np(CLOCK_UPTIME_RAW); }

void writeLog(void *, uint32_t level, const char *text, size_t len)
{
    static const char *const kLevels[] = {"error", "warning", "info"};
    char line[256];
    const size_t n = len < sizeof(line) - 1 ? len : sizeof(line) - 1;
    memcpy(line, text, n);
    line[n] = '\0';
    WEIR_LOG("%{public}s: %{public}s", kLevels[level < 3 ? level : 2], line);
}

void wake(void *ctx, uint32_t queue)
{
    auto *nic = static_cast<WeirEthernet *>(ctx);
    if (queue < nic->ivars->queueCount) {
        schedulePoll(nic->ivars->queues[queue]);
    }
}

void linkChanged(void *ctx)
{
    auto *nic = static_cast<WeirEthernet *>(ctx);
    notifyClients(nic, WEIR_NOTIFY_LINK, 0);
}

void wireNotify(void *ctx, uint32_t queue)
{
    auto *nic = static_cast<WeirEthernet *>(ctx);
    notifyClients(nic, WEIR_NOTIFY_WIRE, 1u << (queue & 31));
}

void tapNotify(void *ctx, uint32_t taps)
{
    auto *nic = static_cast<WeirEthernet *>(ctx);
    __atomic_fetch_or(&nic->ivars->notifyTaps, taps, __ATOMIC_SEQ_CST);
    notifyClients(nic, WEIR_NOTIFY_TAP, 0);
}

void attention(void *ctx) { requestAttention(static_cast<WeirEthernet *>(ctx)); }

/* What backs a region; its address is the region's handle. */
struct Backing {
    IOBufferMemoryDescriptor *memory;
    IODMACommand *command; /* null where no device looks */
};

/* Enters all of `memory` into the device's address space. 0 = it cannot be, or not in one piece. */
uint64_t mapForDevice(IOService *device, IOBufferMemoryDescriptor *memory, uint64_t len, IODMACommand **command)
{
    IODMACommandSpecification specification = {};
    specification.options = kIODMACommandSpecificationNoOptions;
    specification.maxAddressBits = 64;
    if (IODMACommand::Create(device, kIODMACommandCreateNoOptions, &specification, command) != kIOReturnSuccess) {
        return 0;
    }
    uint64_t flags = 0;
    uint32_t count = 1;
    IOAddressSegment segment = {};
    if ((*command)->PrepareForDMA(kIODMACommandPrepareForDMANoOptions, memory, 0, len, &flags, &count, &segment) !=
        kIOReturnSuccess) {
        OSSafeReleaseNULL(*command);
        return 0;
    }
    if (count != 1 || segment.length < len) {
        (void)(*command)->CompleteDMA(kIODMACommandCompleteDMANoOptions);
        OSSafeReleaseNULL(*command);
        return 0;
    }
    return segment.address;
}

weir_status dmaAlloc(void *ctx, uint64_t len, uint64_t align, weir_region *out)
{
    IOService *device = static_cast<WeirEthernet *>(ctx)->ivars->device;
    IOBufferMemoryDescriptor *memory = nullptr;
    if (IOBufferMemoryDescriptor::Create(kIOMemoryDirectionInOut, len, align, &memory) != kIOReturnSuccess) {
        return WEIR_E_NOMEM;
    }
    IOAddressSegment range = {};
    if (memory->SetLength(len) != kIOReturnSuccess || memory->GetAddressRange(&range) != kIOReturnSuccess ||
        range.address == 0 || range.length < len) {
        memory->release();
        return WEIR_E_NOMEM;
    }
    memset(reinterpret_cast<void *>(range.address), 0, len);
    auto *backing = IONewZero(Backing, 1);
    if (backing == nullptr) {
        memory->release();
        return WEIR_E_NOMEM;
    }
    backing->memory = memory;
    out->iova = 0;
    if (device != nullptr) {
        out->iova = mapForDevice(device, memory, len, &backing->command);
        if (out->iova == 0) {
            memory->release();
            IOSafeDeleteNULL(backing, Backing, 1);
            return WEIR_E_NOMEM;
        }
    }
    out->base = reinterpret_cast<uint8_t *>(range.address);
    out->len = len;
    out->handle = reinterpret_cast<uintptr_t>(backing);
    return WEIR_OK;
}

/* The core frees a ring only after the device has let go of it. */
void dmaFree(void *, const weir_region *region)
{
    auto *backing = reinterpret_cast<Backing *>(static_cast<uintptr_t>(region->handle));
    if (backing->command != nullptr) {
        (void)backing->command->CompleteDMA(kIODMACommandCompleteDMANoOptions);
        backing->command->release();
    }
    backing->memory->release();
    IOSafeDeleteNULL(backing, Backing, 1);
}

/* Makes the settings fit the adapter: it may have fewer queues or a smaller MTU, and an address of its own. */
weir_status adoptHardware(WeirEthernet_IVars *ivars, weir_core *core)
{
    const weir_status status = weir_get_hardware(core, &ivars->hardware);
    if (status != WEIR_OK) {
        return status;
    }
    weir_config &config = ivars->settings.config;
    const weir_hardware &hardware = ivars->hardware;
    memcpy(config.mac, hardware.mac, sizeof(config.mac));
    config.queues = hardware.queues < config.queues ? hardware.queues : config.queues;
    config.mtu_max = hardware.mtu_max < config.mtu_max ? hardware.mtu_max : config.mtu_max;
    config.mtu = config.mtu < config.mtu_max ? config.mtu : config.mtu_max;
    return config.queues == 0 ? WEIR_E_NODEV : WEIR_OK;
}

} // namespace

IOReturn toIOReturn(weir_status status)
{
    switch (status) {
    case WEIR_OK:
        return kIOReturnSuccess;
    case WEIR_E_INVAL:
    case WEIR_E_IMAGE:
        return kIOReturnBadArgument;
    case WEIR_E_NOMEM:
        return kIOReturnNoMemory;
    case WEIR_E_BUSY:
        return kIOReturnBusy;
    case WEIR_E_NODEV:
        return kIOReturnNoDevice;
    case WEIR_E_VERSION:
        return kIOReturnUnsupportedMode;
    case WEIR_E_STATE:
        return kIOReturnAborted;
    case WEIR_E_NOSPACE:
        return kIOReturnNoSpace;
    case WEIR_E_UNSUPPORTED:
        return kIOReturnUnsupported;
    case WEIR_E_DROPPED:
        return kIOReturnNotPermitted;
    default:
        return kIOReturnError;
    }
}

kern_return_t createCore(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    weir_ops ops = {};
    ops.size = sizeof(weir_ops);
    ops.abi_version = WEIR_ABI_VERSION;
    ops.clock = {nic, nowNs};
    ops.log = {nic, writeLog};
    ops.event = {nic, wake, linkChanged, wireNotify, attention, tapNotify};
    ops.dma = {nic, dmaAlloc, dmaFree};
    if (ivars->bus != nullptr) {
        ivars->bus->describe(nic, ops);
    }

    weir_core *core = nullptr;
    Locked lock(ivars->control);
    weir_status status = weir_create(&ivars->settings.config, &ops, &core);
    if (status != WEIR_OK) {
        WEIR_LOG("the core refused its configuration: %d", status);
        return toIOReturn(status);
    }
    ivars->settings.offloads &= weir_get_offloads(core);
    status = weir_set_offloads(core, ivars->settings.offloads);
    if (status == WEIR_OK) {
        status = adoptHardware(ivars, core);
    }
    if (status != WEIR_OK) {
        weir_destroy(core);
        return toIOReturn(status);
    }
    ivars->assists = toAssists(ivars->settings.offloads);
    ivars->core = core;
    return kIOReturnSuccess;
}

void destroyCore(WeirEthernet *nic)
{
    weir_core *core = nullptr;
    {
        Locked lock(nic->ivars->control);
        detachWireLocked(nic);
        detachTapsLocked(nic, nullptr);
        core = nic->ivars->core;
        nic->ivars->core = nullptr;
    }
    if (core == nullptr) {
        return;
    }
    if (nic->ivars->bus != nullptr && nic->ivars->bus->stop != nullptr) {
        nic->ivars->bus->stop(nic);
    }
    weir_destroy(core);
    /* Polls that the core asked for before it went. */
    drainQueues(nic);
}

} // namespace weir
