// SPDX-License-Identifier: MIT OR Apache-2.0
// Clients that watch: memory that they share with the core for frames or events.

#include "weir_user_client.h"

#include <string.h>

#include <DriverKit/IOMemoryMap.h>
#include <DriverKit/OSData.h>

namespace weir {
namespace {

/* Taps from this one on are for clients with the entitlement only, so that others cannot take them all. */
constexpr uint32_t kReserved = WEIR_TAPS_MAX / 2;

/* A copy of the request, which the client cannot change while it is looked at. `*length` is right on success only. */
kern_return_t copyRequest(IOUserClientMethodArguments *arguments, uint8_t **request, size_t *length)
{
    IOMemoryMap *map = nullptr;
    const void *at = nullptr;
    uint64_t len = 0;
    if (arguments->structureInputDescriptor != nullptr) {
        const kern_return_t ret = arguments->structureInputDescriptor->CreateMapping(0, 0, 0, 0, 0, &map);
        if (ret != kIOReturnSuccess) {
            return ret;
        }
        at = reinterpret_cast<const void *>(map->GetAddress());
        len = map->GetLength();
    } else if (arguments->structureInput != nullptr) {
        at = arguments->structureInput->getBytesNoCopy();
        len = arguments->structureInput->getLength();
    }
    kern_return_t ret = kIOReturnBadArgument;
    if (at != nullptr && len >= sizeof(weir_tap_config) && len <= WEIR_CLIENT_TAP_MAX) {
        *request = static_cast<uint8_t *>(IOMallocZero(len));
        *length = len;
        ret = *request == nullptr ? kIOReturnNoMemory : kIOReturnSuccess;
    }
    if (ret == kIOReturnSuccess) {
        memcpy(*request, at, len);
    }
    OSSafeReleaseNULL(map);
    return ret;
}

/* A tap that nobody has; WEIR_TAPS_MAX = none. */
uint32_t freeTap(const WeirEthernet_IVars *nic, bool entitled)
{
    for (uint32_t n = 0; n < WEIR_TAPS_MAX; n++) {
        /* The reserved ones first for those who may have them. */
        const uint32_t tap = entitled ? WEIR_TAPS_MAX - 1 - n : n;
        if (nic->tapClients[tap] == nullptr && (entitled || tap < kReserved)) {
            return tap;
        }
    }
    return WEIR_TAPS_MAX;
}

bool hasTap(const WeirEthernet_IVars *nic, const WeirUserClient *client)
{
    for (const WeirUserClient *other : nic->tapClients) {
        if (other == client) {
            return true;
        }
    }
    return false;
}

kern_return_t attach(WeirUserClient *client, IOUserClientMethodArguments *arguments, const uint8_t *request, size_t length,
                     bool entitled)
{
    WeirEthernet_IVars *nic = client->ivars->nic->ivars;
    Locked lock(nic->control);
    if (nic->core == nullptr) {
        return kIOReturnNotReady;
    }
    /* Whoever maps memory of a type twice gets the same. */
    if (client->ivars->tap != nullptr) {
        return kIOReturnStillOpen;
    }
    uint32_t rings = 0;
    const uint64_t size = weir_tap_size(nic->core, request, length, &rings);
    if (size == 0) {
        return kIOReturnBadArgument;
    }
    const uint32_t tap = freeTap(nic, entitled);
    if (tap >= WEIR_TAPS_MAX) {
        return kIOReturnNoResources;
    }
    IOBufferMemoryDescriptor *memory = nullptr;
    uint8_t *base = nullptr;
    kern_return_t ret = createShared(size, &memory, &base);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    ret = toIOReturn(weir_tap_attach(nic->core, tap, request, length, base, size));
    if (ret != kIOReturnSuccess) {
        memory->release();
        return ret;
    }
    client->ivars->tap = memory;
    {
        Locked clients(nic->clients);
        nic->tapClients[tap] = client;
    }
    arguments->scalarOutput[0] = size;
    arguments->scalarOutput[1] = rings;
    return kIOReturnSuccess;
}

} // namespace

kern_return_t openTap(OSObject *target, void *, IOUserClientMethodArguments *arguments)
{
    WeirUserClient *client = connected(target);
    if (client == nullptr) {
        return kIOReturnNotAttached;
    }
    if (arguments->scalarOutput == nullptr) {
        return kIOReturnBadArgument;
    }
    uint8_t *request = nullptr;
    size_t length = 0;
    kern_return_t ret = copyRequest(arguments, &request, &length);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    weir_tap_config config;
    memcpy(&config, request, sizeof(config));
    const bool entitled = mayWrite(client);
    ret = entitled || config.kinds == WEIR_TAP_EVENTS ? attach(client, arguments, request, length, entitled)
                                                      : kIOReturnNotPrivileged;
    IOFree(request, length);
    return ret;
}

kern_return_t closeTap(OSObject *target, void *, IOUserClientMethodArguments *)
{
    WeirUserClient *client = connected(target);
    if (client == nullptr) {
        return kIOReturnNotAttached;
    }
    Locked lock(client->ivars->nic->ivars->control);
    if (!hasTap(client->ivars->nic->ivars, client)) {
        return kIOReturnNotOpen;
    }
    detachTapsLocked(client->ivars->nic, client);
    return kIOReturnSuccess;
}

void detachTapsLocked(WeirEthernet *nic, const WeirUserClient *client)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    for (uint32_t tap = 0; tap < WEIR_TAPS_MAX; tap++) {
        if (ivars->tapClients[tap] == nullptr || (client != nullptr && ivars->tapClients[tap] != client)) {
            continue;
        }
        {
            Locked clients(ivars->clients);
            ivars->tapClients[tap] = nullptr;
        }
        if (ivars->core != nullptr) {
            (void)weir_tap_detach(ivars->core, tap);
        }
    }
}

} // namespace weir
