// SPDX-License-Identifier: MIT OR Apache-2.0
// Calls of the engine into an IOService.

#include "classes.h"

#include <DriverKit/IOService.h>
#include <DriverKit/IOUserClient.h>

namespace {

IOService *service_at(void *object) { return static_cast<IOService *>(object); }

bool up_init(void *object) { return service_at(object)->init(); }

dk_ret up_start(void *object, void *provider) { return service_at(object)->Start(service_at(provider)); }

dk_ret up_stop(void *object, void *provider) { return service_at(object)->Stop(service_at(provider)); }

dk_ret up_new_user_client(void *object, uint32_t type, void **client)
{
    IOUserClient *made = nullptr;
    *client = nullptr;
    const kern_return_t result = service_at(object)->NewUserClient(type, &made);
    if (result == kIOReturnSuccess) {
        *client = made;
        return made != nullptr ? kIOReturnSuccess : kIOReturnError;
    }
    return result;
}

dk_ret up_set_power_state(void *object, uint32_t flags) { return service_at(object)->SetPowerState(flags); }

void up_client_crashed(void *object, void *client, uint64_t options)
{
    service_at(object)->ClientCrashed(service_at(client), options);
}

} // namespace

namespace dk {
// In user_client.cpp.
dk_ret up_external_method(void *object, dk_ext_args *args);
dk_ret up_copy_client_memory(void *object, uint64_t type, uint64_t *options, dk_mem **mem);
} // namespace dk

const dk_service_ops dk::kServiceOps = {
    .init = up_init,
    .start = up_start,
    .stop = up_stop,
    .new_user_client = up_new_user_client,
    .set_power_state = up_set_power_state,
    .external_method = dk::up_external_method,
    .copy_client_memory = dk::up_copy_client_memory,
    .client_crashed = up_client_crashed,
};
