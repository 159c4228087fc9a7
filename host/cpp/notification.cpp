// SPDX-License-Identifier: MIT OR Apache-2.0
// IOServiceNotificationDispatchSource; the state items of IOService and IOServiceStateNotificationDispatchSource.
//
// A notification is an entry of a small data queue: that gives enabling, cancelling and the doorbell their usual meaning.

#include "properties.h"
#include "service.h"
#include "source.h"

#include <DriverKit/IOServiceNotificationDispatchSource.h>
#include <DriverKit/IOServiceStateNotificationDispatchSource.h>
#include <DriverKit/OSArray.h>
#include <DriverKit/OSDictionary.h>
#include <DriverKit/OSString.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

struct IOServiceNotificationDispatchSource_IVars {
    dk::Ref<OSDictionary> matching;
};

struct IOServiceStateNotificationDispatchSource_IVars {
    std::set<std::string> names;
    bool armed = true;
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
    std::map<std::string, dk_prop *> items; // copies: the system keeps them, whoever made them
    std::mutex state_lock;
    IOService *state_service = nullptr;
    std::vector<IOServiceStateNotificationDispatchSource *> state_sources;
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

static void fill_mark(void *, void *data, size_t) { *static_cast<uint8_t *>(data) = 0; }

static void take_mark(void *, const void *, size_t) {}

/// Rings for every armed source that waits for `name`.
static void item_changed(const std::string &name)
{
    std::vector<IOServiceStateNotificationDispatchSource *> told;
    {
        const std::lock_guard<std::mutex> guard(registry().state_lock);
        for (auto *source : registry().state_sources) {
            if (source->ivars->armed && source->ivars->names.count(name) != 0) {
                source->ivars->armed = false;
                source->retain();
                told.push_back(source);
            }
        }
    }
    for (auto *source : told) {
        // One mark at most waits in there, so only a cancelled source refuses it.
        (void)dk_dataq_enqueue(dk::state_of(source)->source, 1, fill_mark, nullptr);
        source->release();
    }
}

static kern_return_t set_item(OSString *name, OSDictionary *value, bool create)
{
    if (name == nullptr || value == nullptr) {
        return kIOReturnBadArgument;
    }
    dk_prop *copy = dk::to_prop(value);
    if (copy == nullptr) {
        return kIOReturnBadArgument;
    }
    {
        const std::lock_guard<std::mutex> guard(registry().state_lock);
        auto &items = registry().items;
        const auto found = items.find(name->getCStringNoCopy());
        if (create != (found == items.end())) {
            dk_prop_free(copy);
            return create ? kIOReturnExclusiveAccess : kIOReturnNotFound;
        }
        std::swap(items[name->getCStringNoCopy()], copy);
    }
    dk_prop_free(copy);
    if (!create) {
        item_changed(name->getCStringNoCopy());
    }
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
    *value = static_cast<OSDictionary *>(dk::from_prop(found->second)); // what set_item() kept is a dictionary
    return *value != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

static void send_state(OSAction *to, uint64_t, uint64_t)
{
    dk::sender<IOServiceStateNotificationDispatchSource>(OSTypeID(IOServiceStateNotificationDispatchSource))
        ->StateNotificationReady(to);
}

kern_return_t IMPL(IOServiceStateNotificationDispatchSource, Create)
{
    *source = nullptr;
    dk_ret error = dk::fault("IOServiceStateNotificationDispatchSource::Create");
    if (error != kIOReturnSuccess) {
        return error;
    }
    if (service == nullptr || items == nullptr || queue == nullptr) {
        return kIOReturnBadArgument;
    }
    std::set<std::string> names;
    for (uint32_t at = 0; at < items->getCount(); ++at) {
        const auto *name = OSDynamicCast(OSString, items->getObject(at));
        if (name == nullptr) {
            return kIOReturnBadArgument;
        }
        names.insert(name->getCStringNoCopy());
    }
    dk_source *made = dk_dataq_create(kRingBytes, dk::queue_of(queue), &error);
    if (made == nullptr) {
        return error;
    }
    auto *object = dk::wrap_source<IOServiceStateNotificationDispatchSource>(
        OSTypeID(IOServiceStateNotificationDispatchSource), made);
    if (object == nullptr) {
        return kIOReturnNoMemory;
    }
    object->ivars->names = std::move(names);
    const std::lock_guard<std::mutex> guard(registry().state_lock);
    registry().state_sources.push_back(object);
    *source = object;
    return kIOReturnSuccess;
}

bool IOServiceStateNotificationDispatchSource::init()
{
    if (!IODispatchSource::init()) {
        return false;
    }
    ivars = new (std::nothrow) IOServiceStateNotificationDispatchSource_IVars();
    return ivars != nullptr;
}

void IOServiceStateNotificationDispatchSource::free()
{
    {
        const std::lock_guard<std::mutex> guard(registry().state_lock);
        auto &sources = registry().state_sources;
        sources.erase(std::remove(sources.begin(), sources.end(), this), sources.end());
    }
    dk::drop(ivars);
    IODispatchSource::free();
}

kern_return_t IMPL(IOServiceStateNotificationDispatchSource, SetEnableWithCompletion)
{
    return dk::source_enable(this, "IOServiceStateNotificationDispatchSource::SetEnableWithCompletion", enable, handler);
}

kern_return_t IMPL(IOServiceStateNotificationDispatchSource, Cancel)
{
    return dk::source_cancel(this, "IOServiceStateNotificationDispatchSource::Cancel", handler);
}

kern_return_t IMPL(IOServiceStateNotificationDispatchSource, SetHandler)
{
    const kern_return_t injected = dk::fault("IOServiceStateNotificationDispatchSource::SetHandler");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    return dk::source_set_handler(this, &dk::state_of(this)->handler, action, send_state, dk_source_set_handler);
}

/* What changed before this call is in what the caller reads after it: only later changes ring again. */
kern_return_t IMPL(IOServiceStateNotificationDispatchSource, StateNotificationBegin)
{
    while (dk_dataq_dequeue(dk::state_of(this)->source, take_mark, nullptr) == kIOReturnSuccess) {
    }
    const std::lock_guard<std::mutex> guard(registry().state_lock);
    ivars->armed = true;
    return kIOReturnSuccess;
}
