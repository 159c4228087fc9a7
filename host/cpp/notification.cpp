// SPDX-License-Identifier: MIT OR Apache-2.0
// IOServiceNotificationDispatchSource, and the state items of IOService.
//
// A notification is an entry of a small data queue: that gives enabling, cancelling and the doorbell their usual meaning.

#include "properties.h"
#include "service.h"
#include "source.h"

#include <DriverKit/IOServiceNotificationDispatchSource.h>
#include <DriverKit/OSDictionary.h>
#include <DriverKit/OSString.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <vector>

struct IOServiceNotificationDispatchSource_IVars {
    dk::Ref<OSDictionary> matching;
};

namespace {

struct Entry {
    uint64_t type;
    IOService *service; // retained
};

constexpr uint64_t kRingBytes = 4096;

struct Registry {
    std::mutex lock;
    std::vector<IOServiceNotificationDispatchSource *> sources;
    std::map<std::string, OSDictionary *> items;
    std::mutex state_lock;
    IOService *state_service = nullptr;
};

Registry &registry()
{
    static auto *instance = new Registry();
    return *instance;
}

void fill_entry(void *context, void *data, size_t) { *static_cast<Entry *>(data) = *static_cast<Entry *>(context); }

void take_entry(void *context, const void *data, size_t)
{
    *static_cast<Entry *>(context) = *static_cast<const Entry *>(data);
}

void post(IOServiceNotificationDispatchSource *source, uint64_t type, IOService *service)
{
    // What nobody will take must not hold the service.
    if (dk_source_cancelled(dk::state_of(source)->source)) {
        return;
    }
    Entry entry{type, service};
    service->retain();
    if (dk_dataq_enqueue(dk::state_of(source)->source, sizeof entry, fill_entry, &entry) != kIOReturnSuccess) {
        service->release();
        dk::warning(nullptr, "IOServiceNotificationDispatchSource: too many notifications wait, one was dropped");
    }
}

void post_to_all(uint64_t type, IOService *service)
{
    std::vector<IOServiceNotificationDispatchSource *> sources;
    {
        const std::lock_guard<std::mutex> guard(registry().lock);
        for (auto *source : registry().sources) {
            source->retain();
            sources.push_back(source);
        }
    }
    for (auto *source : sources) {
        if (dk::service_matches(service, source->ivars->matching.get())) {
            post(source, type, service);
        }
        source->release();
    }
}

void send_ready(OSAction *to, uint64_t, uint64_t)
{
    dk::sender<IOServiceNotificationDispatchSource>(OSTypeID(IOServiceNotificationDispatchSource))->ServiceNotificationReady(to);
}

/// Takes the next entry; its service has a reference for the caller.
kern_return_t next(IOServiceNotificationDispatchSource *source, Entry *entry)
{
    return dk_dataq_dequeue(dk::state_of(source)->source, take_entry, entry);
}

/// Lets go of what waits.
void drain(IOServiceNotificationDispatchSource *source)
{
    Entry entry{};
    while (next(source, &entry) == kIOReturnSuccess) {
        entry.service->release();
    }
}

} // namespace

void dk::service_published(IOService *service) { post_to_all(kIOServiceNotificationTypeMatched, service); }

void dk::service_terminated(IOService *service) { post_to_all(kIOServiceNotificationTypeTerminated, service); }

kern_return_t IMPL(IOServiceNotificationDispatchSource, Create)
{
    (void)options;
    *notification = nullptr;
    dk_ret error = dk::fault("IOServiceNotificationDispatchSource::Create");
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (matching == nullptr || queue == nullptr) {
        return kIOReturnBadArgument;
    }
    dk_source *made = dk_dataq_create(kRingBytes, dk::queue_of(queue), &error);
    if (made == nullptr) {
        return error;
    }
    auto *source = dk::wrap_source<IOServiceNotificationDispatchSource>(OSTypeID(IOServiceNotificationDispatchSource), made);
    if (source == nullptr) {
        return kIOReturnNoMemory;
    }
    source->ivars->matching.set(matching);
    {
        const std::lock_guard<std::mutex> guard(registry().lock);
        registry().sources.push_back(source);
    }
    dk_prop *tree = dk::to_prop(matching);
    auto *present = static_cast<IOService *>(tree != nullptr ? dk_service_find(tree) : nullptr);
    dk_prop_free(tree);
    if (present != nullptr) {
        post(source, kIOServiceNotificationTypeMatched, present);
    }
    *notification = source;
    return kIOReturnSuccess;
}

bool IOServiceNotificationDispatchSource::init()
{
    if (!IODispatchSource::init()) {
        return false;
    }
    ivars = new (std::nothrow) IOServiceNotificationDispatchSource_IVars();
    return ivars != nullptr;
}

void IOServiceNotificationDispatchSource::free()
{
    {
        const std::lock_guard<std::mutex> guard(registry().lock);
        auto &sources = registry().sources;
        sources.erase(std::remove(sources.begin(), sources.end(), this), sources.end());
    }
    if (dk::state_of(this) != nullptr && dk::state_of(this)->source != nullptr) {
        drain(this);
    }
    dk::drop(ivars);
    IODispatchSource::free();
}

kern_return_t IMPL(IOServiceNotificationDispatchSource, SetEnableWithCompletion)
{
    return dk::source_enable(this, "IOServiceNotificationDispatchSource::SetEnableWithCompletion", enable, handler);
}

kern_return_t IMPL(IOServiceNotificationDispatchSource, Cancel)
{
    const kern_return_t result = dk::source_cancel(this, "IOServiceNotificationDispatchSource::Cancel", handler);
    if (result == kIOReturnSuccess) {
        drain(this);
    }
    return result;
}

kern_return_t IMPL(IOServiceNotificationDispatchSource, SetHandler)
{
    const kern_return_t injected = dk::fault("IOServiceNotificationDispatchSource::SetHandler");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk::source_set_handler(this, &dk::state_of(this)->handler, action, send_ready, dk_source_set_handler);
}

kern_return_t IOServiceNotificationDispatchSource::DeliverNotifications(IOServiceNotificationBlock block)
{
    Entry entry{};
    while (next(this, &entry) == kIOReturnSuccess) {
        block(entry.type, entry.service, 0);
        entry.service->release();
    }
    return kIOReturnSuccess;
}

// ---- state items ---------------------------------------------------------------------------------------------------------

// One set of items for the process: there is one system here.

kern_return_t IMPL(IOService, CopySystemStateNotificationService)
{
    *service = nullptr;
    const kern_return_t injected = dk::fault("IOService::CopySystemStateNotificationService", kIOReturnNotFound);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    const std::lock_guard<std::mutex> guard(registry().state_lock);
    IOService *&shared = registry().state_service;
    if (shared == nullptr) {
        shared = OSTypeAlloc(IOService);
        if (shared == nullptr) {
            return kIOReturnNoMemory;
        }
        dk::set_internal(shared);
        shared->init();
    }
    shared->retain();
    *service = shared;
    return kIOReturnSuccess;
}

static kern_return_t set_item(OSString *name, OSDictionary *value, bool create)
{
    if (name == nullptr || value == nullptr) {
        return kIOReturnBadArgument;
    }
    OSDictionary *old = nullptr;
    {
        const std::lock_guard<std::mutex> guard(registry().state_lock);
        auto &items = registry().items;
        const auto found = items.find(name->getCStringNoCopy());
        if (create != (found == items.end())) {
            return create ? kIOReturnExclusiveAccess : kIOReturnNotFound;
        }
        value->retain();
        OSDictionary *&slot = items[name->getCStringNoCopy()];
        old = slot;
        slot = value;
    }
    OSSafeReleaseNULL(old);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOService, StateNotificationItemCreate)
{
    const kern_return_t injected = dk::fault("IOService::StateNotificationItemCreate");
    return injected != kIOReturnSuccess ? injected : set_item(itemName, schema, true);
}

kern_return_t IMPL(IOService, StateNotificationItemSet)
{
    const kern_return_t injected = dk::fault("IOService::StateNotificationItemSet");
    return injected != kIOReturnSuccess ? injected : set_item(itemName, value, false);
}

kern_return_t IMPL(IOService, StateNotificationItemCopy)
{
    *value = nullptr;
    const kern_return_t injected = dk::fault("IOService::StateNotificationItemCopy", kIOReturnNotFound);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    if (itemName == nullptr) {
        return kIOReturnBadArgument;
    }
    const std::lock_guard<std::mutex> guard(registry().state_lock);
    const auto found = registry().items.find(itemName->getCStringNoCopy());
    if (found == registry().items.end()) {
        return kIOReturnNotFound;
    }
    *value = found->second;
    (*value)->retain();
    return kIOReturnSuccess;
}
