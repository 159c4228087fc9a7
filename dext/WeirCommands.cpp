// SPDX-License-Identifier: MIT OR Apache-2.0
// The user client's commands: small requests as structures, large ones in the client's memory.

#include "weir_user_client.h"

#include <string.h>

#include <DriverKit/IOMemoryMap.h>
#include <DriverKit/OSData.h>

namespace weir {
namespace {

/* Commands that leave the driver as it was. Whatever is not here needs the entitlement. */
bool onlyReads(uint32_t command)
{
    switch (command) {
    case WEIR_CMD_INFO:
    case WEIR_CMD_COUNTERS:
    case WEIR_CMD_RULE_COUNTERS:
    case WEIR_CMD_HISTOGRAM:
    case WEIR_CMD_RULESET_TEXT:
    case WEIR_CMD_TABLES:
    case WEIR_CMD_TABLE_SHOW:
    case WEIR_CMD_TABLE_TEST:
    case WEIR_CMD_STATUS:
    case WEIR_CMD_TAPS:
    case WEIR_CMD_CLOCK:
    case WEIR_CMD_SOURCES:
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

kern_return_t execute(WeirUserClient *client, IOUserClientMethodArguments *arguments, const Buffer &request)
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

} // namespace

kern_return_t runCommand(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient *client = connected(target);
    if (client == nullptr) {
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
            ret = execute(client, arguments, request);
        } else {
            ret = kIOReturnNoMemory;
        }
    }
    OSSafeReleaseNULL(map);
    return ret;
}

kern_return_t setLink(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient *client = connected(target);
    if (client == nullptr) {
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
    WeirUserClient *client = connected(target);
    if (client == nullptr) {
        return kIOReturnNotAttached;
    }
    weir_glue_counters sum = {};
    {
        Locked lock(client->ivars->nic->ivars->control);
        if (client->ivars->nic->ivars->core == nullptr) {
            return kIOReturnNotReady;
        }
        sumCounters(client->ivars->nic, sum);
    }
    return storeReply(arguments, reinterpret_cast<const uint8_t *>(&sum), sizeof(sum));
}

} // namespace weir
