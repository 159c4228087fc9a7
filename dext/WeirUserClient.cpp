// SPDX-License-Identifier: MIT OR Apache-2.0
// A client's connection: commands, the wire's shared memory, notifications. weir_client.h is the contract.
//
// Calls of one client arrive one at a time on its own Default queue, which is not the NIC's: what both touch is
// behind the NIC's `control` lock (the core, the wire) or `clients` lock (the list, each client's notification).

#include "weir_dext.h"

#include <string.h>

#include <DriverKit/IOBufferMemoryDescriptor.h>
#include <DriverKit/IOMemoryMap.h>
#include <DriverKit/IOUserClient.h>
#include <DriverKit/OSBoolean.h>
#include <DriverKit/OSData.h>
#include <DriverKit/OSDictionary.h>

#include "WeirUserClient.h"

#undef super
#define super IOUserClient

struct WeirUserClient_IVars {
    WeirEthernet *nic; /* retained from Start to Stop */
    uint32_t type;
    WeirUserClient *next;           /* under `clients` */
    OSAction *notify;               /* under `clients` */
    uint32_t notifyMask;            /* under `clients` */
    IOBufferMemoryDescriptor *wire; /* kept until Stop: the client may have it mapped */
    uint64_t wireSize;
};

namespace weir {
namespace {

WeirUserClient_IVars *state(OSObject *target)
{
    WeirUserClient *client = OSDynamicCast(WeirUserClient, target);
    return client == nullptr ? nullptr : client->ivars;
}

bool mayWrite(WeirUserClient *client)
{
    OSDictionary *entitlements = nullptr;
    if (client->CopyClientEntitlements(&entitlements) != kIOReturnSuccess || entitlements == nullptr) {
        return false;
    }
    OSBoolean *value = OSDynamicCast(OSBoolean, entitlements->getObject(WEIR_CLIENT_ENTITLEMENT));
    const bool granted = value != nullptr && value->getValue();
    entitlements->release();
    return granted;
}

/* Commands that leave the driver as it was. Whatever is not here needs the entitlement. */
bool onlyReads(uint32_t command)
{
    switch (command) {
    case WEIR_CMD_INFO:
    case WEIR_CMD_COUNTERS:
    case WEIR_CMD_RULE_COUNTERS:
    case WEIR_CMD_HISTOGRAM:
    case WEIR_CMD_RULESET_TEXT:
        return true;
    default:
        return false;
    }
}

bool changesRules(uint32_t command)
{
    return command == WEIR_CMD_RULESET_LOAD || command == WEIR_CMD_RULESET_CLEAR || command == WEIR_CMD_MODE;
}

/* Memory of the glue's own that a request or a reply is in while it is worked on. */
class Buffer {
public:
    explicit Buffer(size_t size) : size_(size), bytes_(size == 0 ? nullptr : static_cast<uint8_t *>(IOMallocZero(size))) {}
    ~Buffer()
    {
        if (bytes_ != nullptr) {
            IOFree(bytes_, size_);
        }
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    bool valid() const { return size_ == 0 || bytes_ != nullptr; }
    uint8_t *bytes() const { return bytes_; }
    size_t size() const { return size_; }

private:
    size_t size_;
    uint8_t *bytes_;
};

/* Where the request is, without a copy; `map` keeps a descriptor's mapping. */
kern_return_t findRequest(IOUserClientMethodArguments *arguments, IOMemoryMap **map, const uint8_t *&at, uint64_t &len)
{
    if (arguments->structureInputDescriptor != nullptr) {
        const kern_return_t ret = arguments->structureInputDescriptor->CreateMapping(0, 0, 0, 0, 0, map);
        if (ret != kIOReturnSuccess) {
            return ret;
        }
        at = reinterpret_cast<const uint8_t *>((*map)->GetAddress());
        len = (*map)->GetLength();
    } else if (arguments->structureInput != nullptr) {
        at = static_cast<const uint8_t *>(arguments->structureInput->getBytesNoCopy());
        len = arguments->structureInput->getLength();
    }
    return at == nullptr || len < sizeof(weir_cmd) ? kIOReturnBadArgument : kIOReturnSuccess;
}

kern_return_t storeReply(IOUserClientMethodArguments *arguments, const uint8_t *bytes, size_t len)
{
    if (arguments->structureOutputDescriptor != nullptr) {
        IOMemoryMap *map = nullptr;
        kern_return_t ret = arguments->structureOutputDescriptor->CreateMapping(0, 0, 0, 0, 0, &map);
        if (ret != kIOReturnSuccess) {
            return ret;
        }
        if (map->GetLength() < len) {
            ret = kIOReturnNoSpace;
        } else if (len > 0) {
            memcpy(reinterpret_cast<void *>(map->GetAddress()), bytes, len);
        }
        map->release();
        return ret;
    }
    if (len == 0) {
        return kIOReturnSuccess;
    }
    arguments->structureOutput = OSData::withBytes(bytes, len);
    return arguments->structureOutput == nullptr ? kIOReturnNoMemory : kIOReturnSuccess;
}

kern_return_t runCommand(WeirUserClient *client, IOUserClientMethodArguments *arguments, const Buffer &request)
{
    weir_cmd command;
    memcpy(&command, request.bytes(), sizeof(command));
    if (!onlyReads(command.command) && !mayWrite(client)) {
        return kIOReturnNotPrivileged;
    }
    const uint64_t room = arguments->structureOutputMaximumSize;
    const Buffer reply(room < WEIR_CLIENT_REPLY_MAX ? room : WEIR_CLIENT_REPLY_MAX);
    if (!reply.valid()) {
        return kIOReturnNoMemory;
    }

    WeirEthernet *nic = client->ivars->nic;
    weir_status status = WEIR_OK;
    size_t len = 0;
    {
        Locked lock(nic->ivars->control);
        if (nic->ivars->core == nullptr) {
            return kIOReturnNotReady;
        }
        status = weir_control(nic->ivars->core, request.bytes(), request.size(), reply.bytes(), reply.size(), &len);
        if (status == WEIR_OK && changesRules(command.command)) {
            notifyClients(nic, WEIR_NOTIFY_RULESET, 0);
        }
    }
    arguments->scalarOutput[0] = static_cast<uint64_t>(static_cast<int64_t>(status));
    arguments->scalarOutput[1] = len;
    return storeReply(arguments, reply.bytes(), len <= reply.size() ? len : 0);
}

kern_return_t command(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient_IVars *self = state(target);
    if (self == nullptr || self->nic == nullptr) {
        return kIOReturnNotAttached;
    }
    if (arguments->scalarOutput == nullptr) {
        return kIOReturnBadArgument;
    }
    IOMemoryMap *map = nullptr;
    const uint8_t *at = nullptr;
    uint64_t len = 0;
    kern_return_t ret = findRequest(arguments, &map, at, len);
    if (ret == kIOReturnSuccess && len > WEIR_CLIENT_REQUEST_MAX) {
        ret = kIOReturnMessageTooLarge;
    }
    if (ret == kIOReturnSuccess) {
        /* A copy: the client can write to its memory while the command is looked at. */
        const Buffer request(len);
        if (request.valid()) {
            memcpy(request.bytes(), at, len);
            OSSafeReleaseNULL(map);
            ret = runCommand(OSDynamicCast(WeirUserClient, target), arguments, request);
        } else {
            ret = kIOReturnNoMemory;
        }
    }
    OSSafeReleaseNULL(map);
    return ret;
}

/* `control` is held, the core exists, nobody has the wire. */
kern_return_t attachWireLocked(WeirUserClient *client)
{
    WeirUserClient_IVars *self = client->ivars;
    weir_core *core = self->nic->ivars->core;
    const uint64_t size = weir_wire_size(core);
    IOBufferMemoryDescriptor *memory = nullptr;
    kern_return_t ret = IOBufferMemoryDescriptor::Create(kIOMemoryDirectionInOut, size, 0x4000, &memory);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    IOAddressSegment range = {};
    ret = memory->SetLength(size);
    if (ret == kIOReturnSuccess) {
        ret = memory->GetAddressRange(&range);
    }
    if (ret == kIOReturnSuccess && (range.address == 0 || range.length < size)) {
        ret = kIOReturnNoMemory;
    }
    if (ret == kIOReturnSuccess) {
        memset(reinterpret_cast<void *>(range.address), 0, size);
        ret = toIOReturn(weir_wire_attach(core, reinterpret_cast<uint8_t *>(range.address), size));
    }
    if (ret != kIOReturnSuccess) {
        memory->release();
        return ret;
    }
    self->wire = memory;
    self->wireSize = size;
    self->nic->ivars->wireClient = client;
    return kIOReturnSuccess;
}

kern_return_t openWire(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient *client = OSDynamicCast(WeirUserClient, target);
    if (client == nullptr || client->ivars->nic == nullptr) {
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
    WeirUserClient_IVars *self = state(target);
    if (self == nullptr || self->nic == nullptr) {
        return kIOReturnNotAttached;
    }
    WeirEthernet_IVars *nic = self->nic->ivars;
    Locked lock(nic->control);
    if (nic->core == nullptr || nic->wireClient == nullptr || nic->wireClient->ivars != self) {
        return kIOReturnNotOpen;
    }
    return toIOReturn(weir_wire_kick(nic->core));
}

kern_return_t registerNotify(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient_IVars *self = state(target);
    if (self == nullptr || self->nic == nullptr) {
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
        Locked lock(self->nic->ivars->clients);
        old = self->notify;
        self->notify = arguments->completion;
        self->notifyMask = static_cast<uint32_t>(mask);
        if (self->notify != nullptr) {
            self->notify->retain();
        }
    }
    OSSafeReleaseNULL(old);
    return kIOReturnSuccess;
}

kern_return_t setLink(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient *client = OSDynamicCast(WeirUserClient, target);
    if (client == nullptr || client->ivars->nic == nullptr) {
        return kIOReturnNotAttached;
    }
    if (arguments->scalarInput == nullptr || arguments->scalarInput[0] > 1) {
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
    return toIOReturn(weir_link_set(nic->core, static_cast<uint32_t>(arguments->scalarInput[0])));
}

kern_return_t glueCounters(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient_IVars *self = state(target);
    if (self == nullptr || self->nic == nullptr) {
        return kIOReturnNotAttached;
    }
    weir_glue_counters sum = {};
    {
        Locked lock(self->nic->ivars->control);
        if (self->nic->ivars->core == nullptr) {
            return kIOReturnNotReady;
        }
        sumCounters(self->nic, sum);
    }
    return storeReply(arguments, reinterpret_cast<const uint8_t *>(&sum), sizeof(sum));
}

constexpr uint32_t kAny = kIOUserClientVariableStructureSize;

/* function, completion (0 must not, 1 must, kAny may), scalars in, structure in, scalars out, structure out */
const IOUserClientMethodDispatch kMethods[WEIR_SELECTOR_COUNT] = {
    {command, 0, 0, kAny, 2, kAny},
    {openWire, 0, 0, 0, 2, 0},
    {kickWire, 0, 0, 0, 0, 0},
    {registerNotify, kAny, 1, 0, 0, 0},
    {setLink, 0, 1, 0, 0, 0},
    {glueCounters, 0, 0, 0, 0, sizeof(weir_glue_counters)},
};

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
    }
}

/* Ends the connection: nobody tells it anything more and the wire is free. Safe to repeat. */
void disconnect(WeirUserClient *client)
{
    WeirUserClient_IVars *self = client->ivars;
    WeirEthernet *nic = self->nic;
    if (nic == nullptr) {
        return;
    }
    OSAction *notify = nullptr;
    {
        Locked lock(nic->ivars->clients);
        for (WeirUserClient **at = &nic->ivars->clientList; *at != nullptr; at = &(*at)->ivars->next) {
            if (*at == client) {
                *at = self->next;
                break;
            }
        }
        notify = self->notify;
        self->notify = nullptr;
    }
    OSSafeReleaseNULL(notify);
    {
        Locked lock(nic->ivars->control);
        if (nic->ivars->wireClient == client) {
            detachWireLocked(nic);
        }
    }
    OSSafeReleaseNULL(self->wire);
    self->nic = nullptr;
    nic->release();
}

} // namespace

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

kern_return_t setClientType(IOService *service, uint32_t type, IOUserClient **client)
{
    WeirUserClient *created = OSDynamicCast(WeirUserClient, service);
    if (created == nullptr) {
        return kIOReturnError;
    }
    created->ivars->type = type;
    *client = created;
    return kIOReturnSuccess;
}

} // namespace weir

bool WeirUserClient::init()
{
    if (!super::init()) {
        return false;
    }
    ivars = IONewZero(WeirUserClient_IVars, 1);
    return ivars != nullptr;
}

void WeirUserClient::free()
{
    if (ivars != nullptr) {
        weir::disconnect(this);
        IOSafeDeleteNULL(ivars, WeirUserClient_IVars, 1);
    }
    super::free();
}

kern_return_t WeirUserClient::Start_Impl(IOService *provider)
{
    WeirEthernet *nic = OSDynamicCast(WeirEthernet, provider);
    if (nic == nullptr) {
        return kIOReturnBadArgument;
    }
    const kern_return_t ret = Start(provider, SUPERDISPATCH);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    nic->retain();
    ivars->nic = nic;
    weir::Locked lock(nic->ivars->clients);
    ivars->next = nic->ivars->clientList;
    nic->ivars->clientList = this;
    return kIOReturnSuccess;
}

kern_return_t WeirUserClient::Stop_Impl(IOService *provider)
{
    weir::disconnect(this);
    return Stop(provider, SUPERDISPATCH);
}

kern_return_t WeirUserClient::ExternalMethod(uint64_t selector, IOUserClientMethodArguments *arguments,
                                             const IOUserClientMethodDispatch *, OSObject *, void *)
{
    if (selector >= WEIR_SELECTOR_COUNT || arguments == nullptr) {
        return kIOReturnBadArgument;
    }
    /* super checks every size against the table and then calls the function. */
    return super::ExternalMethod(selector, arguments, &weir::kMethods[selector], this, nullptr);
}

/* The same object for every call, so that unmapping finds it. */
kern_return_t WeirUserClient::CopyClientMemoryForType_Impl(uint64_t type, uint64_t *options,
                                                           IOMemoryDescriptor **memory)
{
    if (type != WEIR_CLIENT_MEMORY_WIRE || options == nullptr || memory == nullptr) {
        return kIOReturnBadArgument;
    }
    if (ivars->wire == nullptr) {
        return kIOReturnNotOpen;
    }
    ivars->wire->retain();
    *options = 0;
    *memory = ivars->wire;
    return kIOReturnSuccess;
}
