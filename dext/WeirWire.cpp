// SPDX-License-Identifier: MIT OR Apache-2.0
// The wire's memory, which a client shares with the core, and the notifications that clients wait for.

#include "weir_user_client.h"

#include <string.h>

namespace weir {
namespace {

/* `control` is held, the core exists, nobody has the wire. */
kern_return_t attachWireLocked(WeirUserClient *client)
{
    WeirUserClient_IVars *self = client->ivars;
    weir_core *core = self->nic->ivars->core;
    const uint64_t size = weir_wire_size(core);
    IOBufferMemoryDescriptor *memory = nullptr;
    uint8_t *base = nullptr;
    kern_return_t ret = createShared(size, &memory, &base);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    ret = toIOReturn(weir_wire_attach(core, base, size));
    if (ret != kIOReturnSuccess) {
        memory->release();
        return ret;
    }
    /* Of an earlier life of the NIC; the client's mapping keeps it as long as it needs it. */
    OSSafeReleaseNULL(self->wire);
    self->wire = memory;
    self->wireSize = size;
    self->nic->ivars->wireClient = client;
    return kIOReturnSuccess;
}

void tell(WeirUserClient *client, uint32_t kind, uint64_t argument)
{
    WeirUserClient_IVars *self = client->ivars;
    if (self->notify == nullptr || (self->notifyMask & kind) == 0) {
        return;
    }
    IOUserClientAsyncArgumentsArray data = {kind, argument};
    client->AsyncCompletion(self->notify, kIOReturnSuccess, data, 2);
}

/* What notifyClients() left behind. On the NIC's Default queue. */
void deliverNotifications(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    const uint32_t kinds = __atomic_exchange_n(&ivars->notifyPending, 0, __ATOMIC_SEQ_CST);
    const uint32_t queues = __atomic_exchange_n(&ivars->notifyQueues, 0, __ATOMIC_SEQ_CST);
    const uint32_t taps = __atomic_exchange_n(&ivars->notifyTaps, 0, __ATOMIC_SEQ_CST);
    weir_link link = {};
    if ((kinds & WEIR_NOTIFY_LINK) != 0) {
        if (ivars->registered && ivars->enabled) {
            (void)reportLink(nic);
        }
        Locked lock(ivars->control);
        if (ivars->core != nullptr) {
            (void)weir_link_get(ivars->core, &link);
        }
    }
    Locked lock(ivars->clients);
    for (WeirUserClient *client = ivars->clientList; client != nullptr; client = client->ivars->next) {
        if ((kinds & WEIR_NOTIFY_WIRE) != 0) {
            tell(client, WEIR_NOTIFY_WIRE, queues);
        }
        if ((kinds & WEIR_NOTIFY_LINK) != 0) {
            tell(client, WEIR_NOTIFY_LINK, link.up);
        }
        if ((kinds & WEIR_NOTIFY_RULESET) != 0) {
            tell(client, WEIR_NOTIFY_RULESET, 0);
        }
        for (uint32_t tap = 0; (kinds & WEIR_NOTIFY_TAP) != 0 && tap < WEIR_TAPS_MAX; tap++) {
            if ((taps >> tap & 1) != 0 && ivars->tapClients[tap] == client) {
                tell(client, WEIR_NOTIFY_TAP, 0);
            }
        }
    }
}

} // namespace

kern_return_t createShared(uint64_t size, IOBufferMemoryDescriptor **memory, uint8_t **base)
{
    IOBufferMemoryDescriptor *made = nullptr;
    kern_return_t ret = IOBufferMemoryDescriptor::Create(kIOMemoryDirectionInOut, size, 0x4000, &made);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    IOAddressSegment range = {};
    ret = made->SetLength(size);
    if (ret == kIOReturnSuccess) {
        ret = made->GetAddressRange(&range);
    }
    if (ret == kIOReturnSuccess && (range.address == 0 || range.length < size)) {
        ret = kIOReturnNoMemory;
    }
    if (ret != kIOReturnSuccess) {
        made->release();
        return ret;
    }
    *base = reinterpret_cast<uint8_t *>(range.address);
    memset(*base, 0, size);
    *memory = made;
    return kIOReturnSuccess;
}

kern_return_t openWire(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient *client = connected(target);
    if (client == nullptr) {
        return kIOReturnNotAttached;
    }
    if (client->ivars->type != WEIR_CLIENT_WIRE) {
        return kIOReturnUnsupported;
    }
    if (arguments->scalarOutput == nullptr) {
        return kIOReturnBadArgument;
    }
    if (!mayWrite(client)) {
        return kIOReturnNotPrivileged;
    }
    WeirEthernet_IVars *nic = client->ivars->nic->ivars;
    Locked lock(nic->control);
    if (nic->core == nullptr) {
        return kIOReturnNotReady;
    }
    if (nic->wireClient != nullptr && nic->wireClient != client) {
        return kIOReturnExclusiveAccess;
    }
    if (nic->wireClient == nullptr) {
        const kern_return_t ret = attachWireLocked(client);
        if (ret != kIOReturnSuccess) {
            return ret;
        }
    }
    arguments->scalarOutput[0] = client->ivars->wireSize;
    arguments->scalarOutput[1] = nic->settings.config.queues;
    return kIOReturnSuccess;
}

kern_return_t kickWire(OSObject *target, void *, IOUserClientMethodArguments *)
{
    WeirUserClient *client = connected(target);
    if (client == nullptr) {
        return kIOReturnNotAttached;
    }
    WeirEthernet_IVars *nic = client->ivars->nic->ivars;
    Locked lock(nic->control);
    if (nic->core == nullptr || nic->wireClient != client) {
        return kIOReturnNotOpen;
    }
    return toIOReturn(weir_wire_kick(nic->core));
}

void detachWireLocked(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    if (ivars->wireClient == nullptr) {
        return;
    }
    ivars->wireClient = nullptr;
    if (ivars->core != nullptr) {
        const weir_status status = weir_wire_detach(ivars->core);
        if (status != WEIR_OK) {
            WEIR_LOG("the wire cannot be detached: %d", status);
        }
    }
}

kern_return_t registerNotify(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient *client = connected(target);
    if (client == nullptr) {
        return kIOReturnNotAttached;
    }
    if (arguments->scalarInput == nullptr) {
        return kIOReturnBadArgument;
    }
    const uint64_t mask = arguments->scalarInput[0];
    if ((mask & ~static_cast<uint64_t>(WEIR_NOTIFY_ALL)) != 0 || (mask != 0) != (arguments->completion != nullptr)) {
        return kIOReturnBadArgument;
    }
    OSAction *old = nullptr;
    {
        Locked lock(client->ivars->nic->ivars->clients);
        old = client->ivars->notify;
        client->ivars->notify = arguments->completion;
        client->ivars->notifyMask = static_cast<uint32_t>(mask);
        if (client->ivars->notify != nullptr) {
            client->ivars->notify->retain();
        }
    }
    OSSafeReleaseNULL(old);
    return kIOReturnSuccess;
}

void notifyClients(WeirEthernet *nic, uint32_t kinds, uint32_t queues)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    __atomic_fetch_or(&ivars->notifyQueues, queues, __ATOMIC_SEQ_CST);
    if (__atomic_fetch_or(&ivars->notifyPending, kinds, __ATOMIC_SEQ_CST) != 0) {
        return;
    }
    nic->retain();
    ivars->defaultQueue->DispatchAsync(^{
      deliverNotifications(nic);
      nic->release();
    });
}

} // namespace weir
