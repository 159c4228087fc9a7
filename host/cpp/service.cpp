// SPDX-License-Identifier: MIT OR Apache-2.0
// IOService over the engine's registry.

#include "service.h"

#include "classes.h"
#include "memory.h"
#include "properties.h"

#include <DriverKit/IODispatchQueue.h>
#include <DriverKit/IOKitKeys.h>
#include <DriverKit/IOUserClient.h>
#include <DriverKit/OSArray.h>
#include <DriverKit/OSBoolean.h>
#include <DriverKit/OSData.h>
#include <DriverKit/OSNumber.h>
#include <DriverKit/OSString.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>

struct IOService_IVars {
    std::mutex lock;
    // One wrapper per name for as long as the service lives, so that CopyDispatchQueue hands out the same object.
    std::map<std::string, IODispatchQueue *> queues;
    std::set<std::string> removed; // properties that RemoveProperty took away
    std::string name;
    int32_t busy = 0;
};

namespace {

/// The state; providers that the engine makes itself never see init().
IOService_IVars *state_of(const IOService *service)
{
    std::atomic_ref<IOService_IVars *> slot(const_cast<IOService *>(service)->IOService::ivars);
    IOService_IVars *state = slot.load(std::memory_order_acquire);
    if (state == nullptr) {
        auto *made = new IOService_IVars();
        if (slot.compare_exchange_strong(state, made, std::memory_order_acq_rel)) {
            state = made;
        } else {
            delete made;
        }
    }
    return state;
}

/// The wrapper of the queue called `name`, with a reference for the caller; null if there is no such queue.
IODispatchQueue *copy_queue(IOService *service, const char *name)
{
    IOService_IVars *state = state_of(service);
    const std::lock_guard<std::mutex> guard(state->lock);
    const auto found = state->queues.find(name);
    if (found != state->queues.end()) {
        found->second->retain();
        return found->second;
    }
    dk_queue *queue = dk_service_copy_queue(dk::service_of(service), name);
    IODispatchQueue *wrapper = dk::wrap_queue(queue);
    if (wrapper != nullptr) {
        state->queues[name] = wrapper;
        wrapper->retain();
    }
    return wrapper;
}

#define CHECK_FAULT(name, natural)                                                                                     \
    do {                                                                                                               \
        const kern_return_t injected = dk::fault("IOService::" name, natural);                                         \
        if (injected != kIOReturnSuccess) {                                                                            \
            return injected;                                                                                           \
        }                                                                                                              \
    } while (0)

} // namespace

bool IOService::init()
{
    if (!OSObject::init() || dk::fault("IOService::init") != kIOReturnSuccess) {
        return false;
    }
    state_of(this);
    return true;
}

void IOService::free()
{
    if (ivars != nullptr) {
        for (const auto &[name, queue] : ivars->queues) {
            queue->release();
        }
        dk::drop(ivars);
    }
    OSObject::free();
}

// ---- life cycle ----------------------------------------------------------------------------------------------------------

kern_return_t IMPL(IOService, Start)
{
    CHECK_FAULT("Start", kIOReturnError);
    return dk_service_super_start(dk::service_of(this), provider);
}

kern_return_t IMPL(IOService, Stop)
{
    // Never made to fail: there would be no way to end.
    dk::service_terminated(this);
    return dk_service_super_stop(dk::service_of(this), provider);
}

void IMPL(IOService, Stop_async) { Stop(provider); }

kern_return_t IMPL(IOService, RegisterService)
{
    CHECK_FAULT("RegisterService", kIOReturnError);
    const kern_return_t result = dk_service_register(dk::service_of(this));
    if (result == kIOReturnSuccess) {
        dk::service_published(this);
    }
    return result;
}

kern_return_t IMPL(IOService, Terminate)
{
    CHECK_FAULT("Terminate", kIOReturnError);
    return dk_service_terminate(dk::service_of(this), options);
}

kern_return_t IMPL(IOService, ClientCrashed)
{
    (void)client;
    (void)options;
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, NewUserClient)
{
    (void)type;
    (void)userClient;
    return kIOReturnUnsupported;
}

kern_return_t IMPL(IOService, Create)
{
    *result = nullptr;
    CHECK_FAULT("Create", kIOReturnNoMemory);
    if (provider == nullptr || propertiesKey == nullptr) {
        return kIOReturnBadArgument;
    }
    void *made = nullptr;
    const kern_return_t error = dk_service_create_from_property(dk::service_of(this), propertiesKey, &made);
    if (error == kIOReturnSuccess) {
        *result = static_cast<IOService *>(made);
    }
    return error;
}

IOService *IOService::GetProvider() const
{
    return static_cast<IOService *>(dk_service_provider(dk::service_of(this)));
}

// ---- identity and properties -------------------------------------------------------------------------------------------

kern_return_t IMPL(IOService, GetRegistryEntryID)
{
    CHECK_FAULT("GetRegistryEntryID", kIOReturnError);
    *registryEntryID = dk_service_entry_id(dk::service_of(this));
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, SetName)
{
    CHECK_FAULT("SetName", kIOReturnError);
    if (name == nullptr || strnlen(name, sizeof(IOServiceName)) == sizeof(IOServiceName)) {
        return kIOReturnBadArgument;
    }
    {
        IOService_IVars *state = state_of(this);
        const std::lock_guard<std::mutex> guard(state->lock);
        state->name = name;
    }
    return dk_service_set_name(dk::service_of(this), name);
}

kern_return_t IMPL(IOService, CopyName)
{
    *name = nullptr;
    CHECK_FAULT("CopyName", kIOReturnNoMemory);
    IOService_IVars *state = state_of(this);
    const std::lock_guard<std::mutex> guard(state->lock);
    *name = OSString::withCString(state->name.empty() ? dk_service_class(dk::service_of(this)) : state->name.c_str());
    return *name != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

static OSDictionary *copy_properties(IOService *service)
{
    OSDictionary *dictionary = dk::take_dictionary(dk_service_copy_properties(dk::service_of(service)));
    if (dictionary != nullptr) {
        IOService_IVars *state = state_of(service);
        const std::lock_guard<std::mutex> guard(state->lock);
        for (const std::string &name : state->removed) {
            dictionary->removeObject(name.c_str());
        }
    }
    return dictionary;
}

kern_return_t IMPL(IOService, CopyProperties)
{
    *properties = nullptr;
    CHECK_FAULT("CopyProperties", kIOReturnNoMemory);
    *properties = copy_properties(this);
    return *properties != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

kern_return_t IMPL(IOService, SearchProperty)
{
    (void)plane;
    *property = nullptr;
    CHECK_FAULT("SearchProperty", kIOReturnNotFound);
    for (IOService *at = this; at != nullptr;
         at = (options & kIOServiceSearchPropertyParents) != 0 ? at->GetProvider() : nullptr) {
        OSDictionary *dictionary = copy_properties(at);
        if (dictionary == nullptr) {
            return kIOReturnNoMemory;
        }
        auto *found = OSDynamicCast(OSContainer, dictionary->getObject(name));
        if (found != nullptr) {
            found->retain();
            *property = found;
        }
        dictionary->release();
        if (found != nullptr) {
            return kIOReturnSuccess;
        }
    }
    return kIOReturnNotFound;
}

kern_return_t IMPL(IOService, SetProperties)
{
    CHECK_FAULT("SetProperties", kIOReturnUnsupported);
    dk_prop *tree = dk::to_prop(properties);
    if (tree == nullptr) {
        return kIOReturnBadArgument;
    }
    {
        IOService_IVars *state = state_of(this);
        const std::lock_guard<std::mutex> guard(state->lock);
        for (size_t i = 0; i < dk_prop_count(tree); ++i) {
            const char *key = nullptr;
            size_t length = 0;
            dk_prop_at(tree, i, &key, &length);
            state->removed.erase(std::string(key, length));
        }
    }
    return dk_service_set_properties(dk::service_of(this), tree);
}

kern_return_t IMPL(IOService, RemoveProperty)
{
    CHECK_FAULT("RemoveProperty", kIOReturnError);
    if (propertyName == nullptr) {
        return kIOReturnBadArgument;
    }
    IOService_IVars *state = state_of(this);
    const std::lock_guard<std::mutex> guard(state->lock);
    state->removed.insert(propertyName->getCStringNoCopy());
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, CopyProviderProperties)
{
    *properties = nullptr;
    CHECK_FAULT("CopyProviderProperties", kIOReturnNoMemory);
    OSArray *array = OSArray::withCapacity(4);
    for (IOService *at = GetProvider(); array != nullptr && at != nullptr; at = at->GetProvider()) {
        OSDictionary *all = copy_properties(at);
        OSDictionary *wanted = all;
        if (all != nullptr && propertyKeys != nullptr) {
            wanted = OSDictionary::withCapacity(propertyKeys->getCount());
            propertyKeys->iterateObjects(^bool(OSObject *key) {
              OSObject *value = all->getObject(key);
              return value == nullptr || wanted == nullptr || wanted->setObject(key, value);
            });
            all->release();
        }
        if (wanted == nullptr || !array->setObject(wanted)) {
            OSSafeReleaseNULL(array);
        }
        OSSafeReleaseNULL(wanted);
    }
    *properties = array;
    return array != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

// ---- queues ----------------------------------------------------------------------------------------------------------------

kern_return_t IMPL(IOService, SetDispatchQueue)
{
    CHECK_FAULT("SetDispatchQueue", kIOReturnNoMemory);
    if (name == nullptr || queue == nullptr) {
        return kIOReturnBadArgument;
    }
    const kern_return_t result = dk_service_set_queue(dk::service_of(this), name, dk::queue_of(queue), DK_SITE());
    if (result != kIOReturnSuccess) {
        return result;
    }
    IODispatchQueue *old = nullptr;
    queue->retain();
    {
        IOService_IVars *state = state_of(this);
        const std::lock_guard<std::mutex> guard(state->lock);
        IODispatchQueue *&slot = state->queues[name];
        old = slot;
        slot = queue;
    }
    OSSafeReleaseNULL(old);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, CopyDispatchQueue)
{
    *queue = nullptr;
    CHECK_FAULT("CopyDispatchQueue", kIOReturnError);
    if (name == nullptr) {
        return kIOReturnBadArgument;
    }
    *queue = copy_queue(this, name);
    return *queue != nullptr ? kIOReturnSuccess : kIOReturnNotFound;
}

kern_return_t IMPL(IOService, CreateDefaultDispatchQueue)
{
    *queue = copy_queue(this, kIOServiceDefaultQueueName);
    return *queue != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

// ---- power -----------------------------------------------------------------------------------------------------------------

kern_return_t IMPL(IOService, SetPowerState)
{
    CHECK_FAULT("SetPowerState", kIOReturnError);
    return dk_service_super_set_power_state(dk::service_of(this), powerFlags);
}

kern_return_t IMPL(IOService, ChangePowerState)
{
    CHECK_FAULT("ChangePowerState", kIOReturnError);
    // The kernel answers with a change of state, later.
    retain();
    dk_queue_async(dk_service_queue_for(dk::service_of(this), kIOServiceDefaultQueueName), dk::run_block,
                   dk::hold_block(^{
                     SetPowerState(powerFlags);
                     release();
                   }));
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, JoinPMTree)
{
    CHECK_FAULT("JoinPMTree", kIOReturnError);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, SetPowerOverride)
{
    (void)enable;
    CHECK_FAULT("SetPowerOverride", kIOReturnError);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, RequireMaxBusStall)
{
    (void)maxBusStall;
    CHECK_FAULT("RequireMaxBusStall", kIOReturnError);
    return kIOReturnSuccess;
}

// ---- the rest --------------------------------------------------------------------------------------------------------------

kern_return_t IMPL(IOService, AdjustBusy)
{
    CHECK_FAULT("AdjustBusy", kIOReturnError);
    IOService_IVars *state = state_of(this);
    const std::lock_guard<std::mutex> guard(state->lock);
    state->busy += delta;
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, GetBusyState)
{
    CHECK_FAULT("GetBusyState", kIOReturnError);
    IOService_IVars *state = state_of(this);
    const std::lock_guard<std::mutex> guard(state->lock);
    *busyState = state->busy > 0 ? static_cast<uint32_t>(state->busy) : 0;
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, CoreAnalyticsSendEvent)
{
    (void)options;
    (void)eventPayload;
    CHECK_FAULT("CoreAnalyticsSendEvent", kIOReturnError);
    return eventName != nullptr ? kIOReturnSuccess : kIOReturnBadArgument;
}

kern_return_t IMPL(IOService, UpdateReport)
{
    (void)channels;
    (void)action;
    (void)outElementCount;
    (void)offset;
    (void)capacity;
    (void)buffer;
    return kIOReturnUnsupported;
}

kern_return_t IMPL(IOService, ConfigureReport)
{
    (void)channels;
    (void)action;
    (void)outCount;
    return kIOReturnUnsupported;
}

kern_return_t IMPL(IOService, SetLegend)
{
    CHECK_FAULT("SetLegend", kIOReturnError);
    dk_prop *list = dk::to_prop(legend);
    if (list == nullptr) {
        return kIOReturnBadArgument;
    }
    static constexpr char kLegend[] = "IOReportLegend";
    static constexpr char kPublic[] = "IOReportLegendPublic";
    dk_prop *tree = dk_prop_dict();
    dk_prop_set(tree, kLegend, sizeof kLegend - 1, list);
    dk_prop_set(tree, kPublic, sizeof kPublic - 1, dk_prop_bool(is_public));
    return dk_service_set_properties(dk::service_of(this), tree);
}

// ---- matching ----------------------------------------------------------------------------------------------------------------

bool dk::service_matches(IOService *service, OSDictionary *matching)
{
    if (service == nullptr || matching == nullptr) {
        return false;
    }
    if (const auto *name = OSDynamicCast(OSString, matching->getObject(kIOProviderClassKey))) {
        const OSMetaClass *wanted = class_named(name->getCStringNoCopy());
        if (!name->isEqualTo(dk_service_class(service_of(service))) &&
            (wanted == nullptr || !is_subclass(service->meta, wanted))) {
            return false;
        }
    }
    if (const auto *name = OSDynamicCast(OSString, matching->getObject(kIONameMatchKey))) {
        IOService_IVars *state = state_of(service);
        const std::lock_guard<std::mutex> guard(state->lock);
        if (!name->isEqualTo(state->name.c_str())) {
            return false;
        }
    }
    const auto *wanted = OSDynamicCast(OSDictionary, matching->getObject(kIOPropertyMatchKey));
    if (wanted == nullptr) {
        return true;
    }
    OSDictionary *properties = copy_properties(service);
    const char *class_name = dk_service_class(service_of(service));
    const bool same = properties != nullptr && wanted->iterateObjects(^bool(OSObject *key, OSObject *value) {
      const OSObject *mine = properties->getObject(key);
      if (mine == nullptr && OSDynamicCast(OSString, key) != nullptr &&
          static_cast<OSString *>(key)->isEqualTo(kIOUserClassKey)) {
          // A service that was booted by its class name carries that instead of the property.
          const auto *named = OSDynamicCast(OSString, value);
          return named != nullptr && named->isEqualTo(class_name);
      }
      return mine != nullptr && mine->isEqualTo(value);
    });
    OSSafeReleaseNULL(properties);
    return same;
}
