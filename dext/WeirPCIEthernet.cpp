// SPDX-License-Identifier: MIT OR Apache-2.0
// The bus of a PCI adapter: session, BARs, interrupts. What the registers mean is the core's business.

#include "weir_dext.h"

#include <string.h>

#include <DriverKit/IOInterruptDispatchSource.h>
#include <DriverKit/OSDictionary.h>
#include <DriverKit/OSNumber.h>
#include <DriverKit/OSString.h>
#include <PCIDriverKit/PCIDriverKit.h>

#include "WeirPCIEthernet.h"

#undef super
#define super WeirEthernet

namespace {

/* One vector a queue pair and one for everything else. */
constexpr uint32_t kVectorsMax = WEIR_QUEUES_MAX + 1;
constexpr uint8_t kBars = 6;
constexpr uint8_t kNoMemory = 0xff;
/* Buffers of an 82574 have one of four sizes, of which this is the largest: it may write that much into each. */
constexpr uint32_t kIntelBuffer = 16384;
/* Those of an I225 are counted in KiB: a frame of MTU 9000 with a tag. */
constexpr uint32_t kIgcBuffer = 9216;

} // namespace

struct WeirPCIEthernet_IVars {
    IOPCIDevice *pci; /* retained while it is open */
    uint8_t memoryIndex[kBars];
    uint32_t firstInterrupt; /* index of the first message interrupt */
    uint32_t vectors;        /* granted */
    IOInterruptDispatchSource *sources[kVectorsMax];
    OSAction *actions[kVectorsMax];
};

namespace weir {
namespace {

WeirPCIEthernet *pciNic(WeirEthernet *nic) { return static_cast<WeirPCIEthernet *>(nic); }

WeirPCIEthernet_IVars *pciState(WeirEthernet *nic) { return pciNic(nic)->ivars; }

/* ---- registers ------------------------------------------------------------------------------------------------- */

uint8_t memoryIndex(const WeirPCIEthernet_IVars *state, uint32_t bar)
{
    return bar < kBars ? state->memoryIndex[bar] : kNoMemory;
}

#define WEIR_REGISTER(bits)                                                                                            \
    uint##bits##_t read##bits(void *ctx, uint32_t bar, uint64_t offset)                                                \
    {                                                                                                                  \
        WeirPCIEthernet_IVars *state = pciState(static_cast<WeirEthernet *>(ctx));                                     \
        uint##bits##_t value = static_cast<uint##bits##_t>(~0ull);                                                     \
        const uint8_t index = memoryIndex(state, bar);                                                                 \
        if (index != kNoMemory) {                                                                                      \
            state->pci->MemoryRead##bits(index, offset, &value);                                                       \
        }                                                                                                              \
        return value;                                                                                                  \
    }                                                                                                                  \
    void write##bits(void *ctx, uint32_t bar, uint64_t offset, uint##bits##_t value)                                   \
    {                                                                                                                  \
        WeirPCIEthernet_IVars *state = pciState(static_cast<WeirEthernet *>(ctx));                                     \
        const uint8_t index = memoryIndex(state, bar);                                                                 \
        if (index != kNoMemory) {                                                                                      \
            state->pci->MemoryWrite##bits(index, offset, value);                                                       \
        }                                                                                                              \
    }

WEIR_REGISTER(8)
WEIR_REGISTER(16)
WEIR_REGISTER(32)

#undef WEIR_REGISTER

uint32_t configRead32(void *ctx, uint64_t offset)
{
    uint32_t value = ~0u;
    pciState(static_cast<WeirEthernet *>(ctx))->pci->ConfigurationRead32(offset, &value);
    return value;
}

void configWrite32(void *ctx, uint64_t offset, uint32_t value)
{
    pciState(static_cast<WeirEthernet *>(ctx))->pci->ConfigurationWrite32(offset, value);
}

void describe(WeirEthernet *nic, weir_ops &ops)
{
    ops.reg = {nic, read32, write32, read16, write16, read8, write8, configRead32, configWrite32};
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Which back end serves the device: the personality's WeirNIC, which stands beside the match. */
bool readKind(WeirEthernet *nic, uint32_t &kind)
{
    static const struct {
        const char *name;
        uint32_t kind;
    } kKinds[] = {{"virtio", WEIR_NIC_VIRTIO}, {"e1000e", WEIR_NIC_E1000E}, {"igc", WEIR_NIC_IGC}};

    OSDictionary *properties = nullptr;
    if (nic->CopyProperties(&properties) != kIOReturnSuccess || properties == nullptr) {
        return false;
    }
    bool found = false;
    OSString *name = OSDynamicCast(OSString, properties->getObject("WeirNIC"));
    for (const auto &entry : kKinds) {
        if (name != nullptr && strcmp(name->getCStringNoCopy(), entry.name) == 0) {
            kind = entry.kind;
            found = true;
        }
    }
    properties->release();
    if (!found) {
        WEIR_LOG("property WeirNIC: must be \"virtio\", \"e1000e\" or \"igc\"");
    }
    return found;
}

/* A device whose driver died must stop writing to memory that is no longer the driver's. */
void setCrashReset(IOPCIDevice *pci)
{
    OSDictionary *properties = OSDictionary::withCapacity(1);
    OSNumber *kind = OSNumber::withNumber(static_cast<uint64_t>(kIOPCIDeviceResetTypeFunctionReset), 32);
    if (properties != nullptr && kind != nullptr && properties->setObject(kIOPCIDeviceCrashResetType, kind)) {
        const kern_return_t ret = pci->SetProperties(properties);
        if (ret != kIOReturnSuccess) {
            WEIR_LOG("no reset after a crash: 0x%08x", ret);
        }
    }
    OSSafeReleaseNULL(kind);
    OSSafeReleaseNULL(properties);
}

/* How many message interrupts of `type` there are from the first one on. */
uint32_t countInterrupts(WeirPCIEthernet_IVars *state, uint32_t kind)
{
    uint32_t found = 0;
    for (uint32_t index = 0; index < 2 * kVectorsMax && found < kVectorsMax; ++index) {
        uint64_t type = 0;
        if (IOInterruptDispatchSource::GetInterruptType(state->pci, index, &type) != kIOReturnSuccess) {
            break;
        }
        if ((type & kind) != 0) {
            state->firstInterrupt = found == 0 ? index : state->firstInterrupt;
            ++found;
        } else if (found != 0) {
            break;
        }
    }
    return found;
}

/* MSI-X with one vector a pair, else one message, else none: then the watchdog polls. */
void configureInterrupts(WeirPCIEthernet_IVars *state, uint32_t wanted)
{
    static const uint32_t kKinds[] = {kIOInterruptTypePCIMessagedX, kIOInterruptTypePCIMessaged};
    state->vectors = 0;
    for (uint32_t kind : kKinds) {
        const uint32_t most = kind == kIOInterruptTypePCIMessagedX ? wanted : 1;
        if (state->pci->ConfigureInterrupts(kind, 1, most, 0) == kIOReturnSuccess) {
            const uint32_t found = countInterrupts(state, kind);
            state->vectors = found < most ? found : most;
        }
        if (state->vectors != 0) {
            return;
        }
    }
    WEIR_LOG("no interrupts: the device is polled");
}

kern_return_t open(WeirEthernet *nic, IOService *provider)
{
    WeirPCIEthernet_IVars *state = pciState(nic);
    weir_config &config = nic->ivars->settings.config;
    memset(state->memoryIndex, kNoMemory, sizeof(state->memoryIndex));
    IOPCIDevice *pci = OSDynamicCast(IOPCIDevice, provider);
    if (pci == nullptr) {
        return kIOReturnNoDevice;
    }
    if (!readKind(nic, config.nic)) {
        return kIOReturnBadArgument;
    }
    const uint32_t buffer = config.nic == WEIR_NIC_E1000E ? kIntelBuffer : config.nic == WEIR_NIC_IGC ? kIgcBuffer : 0;
    if (buffer != 0 && config.buf_len < buffer + weir::kHeadroomMax) {
        config.buf_len = buffer + weir::kHeadroomMax;
    }
    const kern_return_t ret = pci->Open(nic, 0);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    pci->retain();
    state->pci = pci;
    setCrashReset(pci);

    uint16_t command = 0;
    pci->ConfigurationRead16(kIOPCIConfigurationOffsetCommand, &command);
    command |= kIOPCICommandMemorySpace | kIOPCICommandBusLead;
    pci->ConfigurationWrite16(kIOPCIConfigurationOffsetCommand, command);

    for (uint8_t bar = 0; bar < kBars; ++bar) {
        uint8_t index = 0;
        uint64_t size = 0;
        uint8_t type = 0;
        if (pci->GetBARInfo(bar, &index, &size, &type) == kIOReturnSuccess && size != 0 && type != kPCIBARTypeIO) {
            state->memoryIndex[bar] = index;
        }
    }
    configureInterrupts(state, config.queues + 1u);
    config.vectors = state->vectors;
    nic->ivars->device = pci;
    return kIOReturnSuccess;
}

/* ---- interrupts --------------------------------------------------------------------------------------------------- */

kern_return_t startVector(WeirEthernet *nic, uint32_t vector)
{
    WeirPCIEthernet_IVars *state = pciState(nic);
    WeirEthernet_IVars *base = nic->ivars;
    const bool isQueue = base->hardware.vectors > 1 && vector < base->queueCount;
    IODispatchQueue *queue = isQueue ? base->queues[vector].dispatch : base->defaultQueue;

    kern_return_t ret = IOInterruptDispatchSource::Create(state->pci, state->firstInterrupt + vector, queue,
                                                          &state->sources[vector]);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    ret = pciNic(nic)->CreateActionDeviceInterrupt(sizeof(uint32_t), &state->actions[vector]);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    auto *reference = static_cast<uint32_t *>(state->actions[vector]->GetReference());
    if (reference != nullptr) {
        *reference = vector;
    }
    ret = state->sources[vector]->SetHandler(state->actions[vector]);
    return ret == kIOReturnSuccess ? state->sources[vector]->SetEnable(true) : ret;
}

kern_return_t start(WeirEthernet *nic)
{
    const uint32_t vectors = nic->ivars->hardware.vectors;
    for (uint32_t vector = 0; vector < vectors && vector < kVectorsMax; ++vector) {
        const kern_return_t ret = startVector(nic, vector);
        if (ret != kIOReturnSuccess) {
            return ret;
        }
    }
    return kIOReturnSuccess;
}

void cancel(WeirEthernet *nic, uint32_t *pending, void (^cancelled)(void))
{
    WeirPCIEthernet_IVars *state = pciState(nic);
    for (uint32_t vector = 0; vector < kVectorsMax; ++vector) {
        cancelOne(state->sources[vector], pending, cancelled);
        cancelOne(state->actions[vector], pending, cancelled);
    }
}

void close(WeirEthernet *nic)
{
    WeirPCIEthernet_IVars *state = pciState(nic);
    for (uint32_t vector = 0; vector < kVectorsMax; ++vector) {
        OSSafeReleaseNULL(state->sources[vector]);
        OSSafeReleaseNULL(state->actions[vector]);
    }
    /* The pool is unmapped by now: nothing that the device could still reach is anyone else's. */
    if (state->pci != nullptr) {
        state->pci->Close(nic, 0);
    }
    OSSafeReleaseNULL(state->pci);
    state->vectors = 0;
}

const Bus kPCIBus = {open, describe, start, cancel, close, nullptr};

/* A queue's own vector means: poll it. Any other is asked about. */
void interrupt(WeirEthernet *nic, uint32_t vector)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    if (ivars->hardware.vectors > 1 && vector < ivars->queueCount) {
        /* On the pair's queue: it is drained between the end of the data path and the core's. */
        if (isRunning(nic)) {
            weir_interrupt_polled(ivars->core);
            pollHere(ivars->queues[vector]);
        }
        return;
    }
    uint32_t queues = 0;
    {
        Locked lock(ivars->control);
        if (ivars->core != nullptr) {
            queues = weir_interrupt(ivars->core, vector);
        }
    }
    for (uint32_t i = 0; i < ivars->queueCount; ++i) {
        if ((queues >> i & 1) != 0) {
            schedulePoll(ivars->queues[i]);
        }
    }
}

} // namespace
} // namespace weir

bool WeirPCIEthernet::init()
{
    if (!super::init()) {
        return false;
    }
    ivars = IONewZero(WeirPCIEthernet_IVars, 1);
    if (ivars == nullptr) {
        return false;
    }
    WeirEthernet::ivars->bus = &weir::kPCIBus;
    return true;
}

void WeirPCIEthernet::free()
{
    IOSafeDeleteNULL(ivars, WeirPCIEthernet_IVars, 1);
    super::free();
}

void WeirPCIEthernet::DeviceInterrupt_Impl(OSAction *action, uint64_t, uint64_t)
{
    const auto *reference = static_cast<const uint32_t *>(action->GetReference());
    weir::interrupt(this, reference == nullptr ? 0 : *reference);
}
