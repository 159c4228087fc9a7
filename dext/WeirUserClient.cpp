// SPDX-License-Identifier: MIT OR Apache-2.0
// A client's connection: life, method table, shared memory. weir_client.h is the contract.

#include "weir_user_client.h"

#include <DriverKit/OSBoolean.h>
#include <DriverKit/OSDictionary.h>

#undef super
#define super IOUserClient

namespace weir {
namespace {

constexpr uint32_t kAny = kIOUserClientVariableStructureSize;

/* function, completion (0 must not, 1 must, kAny may), scalars in, structure in, scalars out, structure out */
const IOUserClientMethodDispatch kMethods[WEIR_SELECTOR_COUNT] = {
    {runCommand, 0, 0, kAny, 2, kAny},
    {openWire, 0, 0, 0, 2, 0},
    {kickWire, 0, 0, 0, 0, 0},
    {registerNotify, kAny, 1, 0, 0, 0},
    {setLink, 0, 1, 0, 0, 0},
    {glueCounters, 0, 0, 0, 0, sizeof(weir_glue_counters)},
    {openTap, 0, 0, kAny, 2, 0},
    {closeTap, 0, 0, 0, 0, 0},
};

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
        detachTapsLocked(nic, client);
    }
    OSSafeReleaseNULL(self->wire);
    OSSafeReleaseNULL(self->tap);
    self->nic = nullptr;
    nic->release();
}

} // namespace

bool mayWrite(WeirUserClient *client)
{
    OSDictionary *entitlements = nullptr;
    if (client->CopyClientEntitlements(&entitlements) != kIOReturnSuccess || entitlements == nullptr) {
        return false;
    }
    const bool granted = entitlements->getObject(WEIR_CLIENT_ENTITLEMENT) == kOSBooleanTrue;
    entitlements->release();
    return granted;
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
    if (options == nullptr || memory == nullptr || type > WEIR_CLIENT_MEMORY_TAP) {
        return kIOReturnBadArgument;
    }
    IOBufferMemoryDescriptor *rings = type == WEIR_CLIENT_MEMORY_WIRE ? ivars->wire : ivars->tap;
    if (rings == nullptr) {
        return kIOReturnNotOpen;
    }
    rings->retain();
    *options = 0;
    *memory = rings;
    return kIOReturnSuccess;
}
