// SPDX-License-Identifier: MIT OR Apache-2.0
// Registration of classes by the ELF constructors of generated code, casts, allocation.

#include "classes.h"

#include <DriverKit/IOService.h>
#include <DriverKit/OSAction.h>
#include <DriverKit/OSBoolean.h>
#include <NetworkingDriverKit/IOUserNetworkEthernet.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string_view>

namespace {

struct Table {
    std::mutex lock;
    std::map<std::string_view, OSMetaClass *> by_name;
    // Freed objects stay as they were for a while, so that a late release is recognised.
    std::mutex quarantine_lock;
    std::deque<dk::Header *> quarantine;
};

// Never destroyed: destructors of dexts run late.
Table &table()
{
    static Table *instance = new Table();
    return *instance;
}

OSMetaClass *find_locked(std::string_view name)
{
    const auto found = table().by_name.find(name);
    return found != table().by_name.end() ? found->second : nullptr;
}

const OSMetaClass *super_locked(const OSMetaClass *meta)
{
    OSMetaClassPrivate *info = meta->metaClassPrivate;
    const OSMetaClass *super = info->super.load(std::memory_order_acquire);
    if (super == nullptr && info->info->description->superName[0] != '\0') {
        super = find_locked(info->info->description->superName);
        info->super.store(super, std::memory_order_release);
    }
    return super;
}

/// True if the chain leads to `name`; `complete` tells whether it was loaded up to OSObject.
bool reaches(const OSMetaClass *meta, const char *name, bool *complete)
{
    *complete = false;
    bool found = false;
    for (; meta != nullptr; meta = super_locked(meta)) {
        const char *own = meta->metaClassPrivate->info->description->name;
        found = found || std::strcmp(own, name) == 0;
        *complete = std::strcmp(own, "OSObject") == 0;
    }
    return found;
}

/// Names the pure methods of a network driver that nobody implements: with some versions of macOS its process does not start.
void warn_of_missing(const OSMetaClass *meta)
{
    static constexpr std::string_view kPrefix = "IOUserNetworkEthernet::";
    for (const dk::Method &method : dk::all_methods(meta)) {
        if (method.pure && std::string_view(method.name).starts_with(kPrefix)) {
            dk::warning(nullptr, "%s does not implement %s, which is pure: not every Mac starts such a driver",
                        meta->metaClassPrivate->info->description->name, method.name);
        }
    }
}

void *make_entry(const dk_class *entry)
{
    OSMetaClass *meta = dk::class_named(entry->name);
    OSObject *object = nullptr;
    if (meta == nullptr) {
        meta = OSTypeID(IOService);
    }
    if (entry->net_ops != nullptr) {
        warn_of_missing(meta);
    }
    return OSObjectAllocate(meta, &object) == kIOReturnSuccess ? object : nullptr;
}

void retain_entry(void *object) { static_cast<OSObject *>(object)->retain(); }

void release_entry(void *object) { static_cast<OSObject *>(object)->release(); }

dk_service *service_entry(void *object) { return dk::service_of(static_cast<OSObject *>(object)); }

void fill_entry(dk_class *entry, const char *name, const char *super, bool net)
{
    entry->name = name;
    entry->super = super;
    entry->make = make_entry;
    entry->retain = retain_entry;
    entry->release = release_entry;
    entry->service = service_entry;
    entry->service_ops = &dk::kServiceOps;
    entry->net_ops = net ? &dk::kNetOps : nullptr;
}

// Constructors run in any order, so a class may come before its superclass: look at all that are left each time.
void enter_complete_locked()
{
    for (const auto &[name, meta] : table().by_name) {
        OSMetaClassPrivate *info = meta->metaClassPrivate;
        bool complete = false;
        if (info->entered || !reaches(meta, "IOService", &complete) || !complete) {
            continue;
        }
        const bool net = reaches(meta, "IOUserNetworkEthernet", &complete);
        fill_entry(&info->entry, info->info->description->name, info->info->description->superName, net);
        info->entered = true;
        dk_class_register(&info->entry);
        if (name == "IOService") {
            static dk_class resources;
            fill_entry(&resources, "IOUserResources", "IOService", false);
            dk_class_register(&resources);
        }
    }
}

void register_class(const OSClassLoadInformation *information, bool framework)
{
    // A header in front, so that a metaclass can be told from an object without knowing which one it is.
    auto *header = static_cast<dk::Header *>(std::calloc(1, sizeof(dk::Header) + sizeof(OSMetaClass)));
    if (header == nullptr) {
        std::abort();
    }
    header->size = sizeof(OSMetaClass);
    header->magic = dk::kHeaderMagic;
    auto *meta = reinterpret_cast<OSMetaClass *>(header + 1);
    if (information->New(meta) != kIOReturnSuccess) {
        std::free(header);
        std::abort();
    }
    meta->refcount = 1;
    meta->metaClassPrivate = new OSMetaClassPrivate{};
    meta->metaClassPrivate->info = information;
    meta->metaClassPrivate->meta = meta;
    meta->metaClassPrivate->framework = framework;
    *information->metaPointer = meta;
    const std::lock_guard<std::mutex> guard(table().lock);
    table().by_name[information->description->name] = meta;
    enter_complete_locked();
}

} // namespace

// ---- registration ----------------------------------------------------------------------------------------------------

extern "C" void OSClassRegister(const OSClassLoadInformation *information) { register_class(information, false); }

// The framework's own generated code is compiled with OSClassRegister defined as this (host/build.rs).
extern "C" void OSClassRegisterFramework(const OSClassLoadInformation *information)
{
    register_class(information, true);
}

extern "C" void OSClassUnregister(const OSClassLoadInformation *information)
{
    OSMetaClass *meta = *information->metaPointer;
    if (meta == nullptr) {
        return;
    }
    OSMetaClassPrivate *info = meta->metaClassPrivate;
    {
        const std::lock_guard<std::mutex> guard(table().lock);
        const auto found = table().by_name.find(information->description->name);
        // A class that was loaded again under the same name is not ours to remove.
        if (found != table().by_name.end() && found->second == meta) {
            table().by_name.erase(found);
        }
    }
    if (info->framework) {
        // The process ends; objects may still be around.
        return;
    }
    if (info->entered) {
        dk_class_unregister(&info->entry);
    }
    *information->metaPointer = nullptr;
    delete info->methods.load(std::memory_order_acquire);
    delete info;
    std::free(dk::header_of(meta));
}

// ---- the chain of classes ----------------------------------------------------------------------------------------------

const OSMetaClass *dk::super_of(const OSMetaClass *meta)
{
    const OSMetaClass *super = meta->metaClassPrivate->super.load(std::memory_order_acquire);
    if (super != nullptr) {
        return super;
    }
    const std::lock_guard<std::mutex> guard(table().lock);
    return super_locked(meta);
}

OSMetaClass *dk::class_named(const char *name)
{
    const std::lock_guard<std::mutex> guard(table().lock);
    return find_locked(name);
}

bool dk::is_subclass(const OSMetaClass *meta, const OSMetaClass *of)
{
    for (; meta != nullptr; meta = super_of(meta)) {
        if (meta == of) {
            return true;
        }
    }
    return false;
}

const std::vector<dk::Method> &dk::all_methods(const OSMetaClass *meta)
{
    OSMetaClassPrivate *info = meta->metaClassPrivate;
    const std::vector<Method> *made = info->methods.load(std::memory_order_acquire);
    if (made != nullptr) {
        return *made;
    }
    auto *methods = new std::vector<Method>();
    for (const OSMetaClass *at = meta; at != nullptr; at = super_of(at)) {
        const OSMetaClassPrivate *of = at->metaClassPrivate;
        const OSClassDescription *description = of->info->description;
        for (uint32_t i = 0; i < description->methodCount; ++i) {
            const OSMethodDescription &method = description->methods[i];
            const auto known = std::find_if(methods->begin(), methods->end(),
                                            [&](const Method &other) { return other.msgid == method.msgid; });
            if (known == methods->end()) {
                methods->push_back({method.msgid, method.name, method.queueName, !of->framework,
                                    (method.flags & kOSMethodPure) != 0});
            } else if (known->queue == nullptr) {
                known->queue = method.queueName;
            }
        }
    }
    std::sort(methods->begin(), methods->end(), [](const Method &a, const Method &b) { return a.msgid < b.msgid; });
    const std::vector<Method> *expected = nullptr;
    if (!info->methods.compare_exchange_strong(expected, methods, std::memory_order_acq_rel)) {
        delete methods;
        return *expected;
    }
    return *methods;
}

const dk::Method *dk::find_method(const OSMetaClass *meta, uint64_t msgid)
{
    const std::vector<Method> &methods = all_methods(meta);
    const auto at = std::lower_bound(methods.begin(), methods.end(), msgid,
                                     [](const Method &method, uint64_t id) { return method.msgid < id; });
    return at != methods.end() && at->msgid == msgid ? &*at : nullptr;
}

bool dk::overridden(const OSMetaClassBase *object, uint64_t msgid)
{
    const Method *method = find_method(object->meta, msgid);
    return method != nullptr && method->dext && !method->pure;
}

const char *dk::class_name(const OSMetaClassBase *object)
{
    if (object == nullptr || object->meta == nullptr) {
        return "(none)";
    }
    return object->meta->metaClassPrivate->info->description->name;
}

// ---- messages to the person at the keyboard ------------------------------------------------------------------------------

void dk::violation(const char *kind, const void *site, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dk_violation(kind, text, site);
}

void dk::warning(const void *site, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dk_warning(text, site);
}

// ---- allocation ----------------------------------------------------------------------------------------------------------

kern_return_t OSObjectAllocate(OSMetaClass *meta, OSObject **pObject)
{
    *pObject = nullptr;
    if (meta == nullptr) {
        return kIOReturnBadArgument;
    }
    const OSMetaClassPrivate *info = meta->metaClassPrivate;
    // Framework objects are made by calls that have names of their own.
    if (!info->framework && !dk::is_subclass(meta, OSTypeID(OSAction))) {
        const kern_return_t injected = dk::fault("OSObjectAllocate");
        if (injected != kIOReturnSuccess) {
            return injected;
        }
    }
    const size_t size = info->info->instanceSize;
    auto *header = static_cast<dk::Header *>(std::calloc(1, sizeof(dk::Header) + size));
    if (header == nullptr) {
        return kIOReturnNoMemory;
    }
    auto *object = reinterpret_cast<OSObject *>(header + 1);
    const kern_return_t result = meta->New(object);
    if (result != kIOReturnSuccess) {
        std::free(header);
        return result;
    }
    const char *name = info->info->description->name;
    object->refcount = 1;
    object->meta = meta;
    header->size = size;
    header->magic = dk::kHeaderMagic;
    header->ledger = meta == OSTypeID(OSBoolean) ? dk_obj_new_immortal(name, object)
                                                 : dk_obj_new(name, object, DK_SITE());
    if (dk::is_subclass(meta, OSTypeID(IOService))) {
        header->service = dk_service_new(object, name);
    }
    *pObject = object;
    return kIOReturnSuccess;
}

// ---- OSMetaClassBase -------------------------------------------------------------------------------------------------------

OSMetaClassBase *OSMetaClassBase::safeMetaCast(const OSMetaClassBase *anObject, const OSMetaClass *toMeta)
{
    if (anObject == nullptr || toMeta == nullptr || !dk::is_subclass(anObject->meta, toMeta)) {
        return nullptr;
    }
    return const_cast<OSMetaClassBase *>(anObject);
}

OSMetaClassBase *OSMetaClassBase::requiredMetaCast(const OSMetaClassBase *anObject, const OSMetaClass *toMeta)
{
    OSMetaClassBase *object = safeMetaCast(anObject, toMeta);
    if (object == nullptr && anObject != nullptr) {
        dk::violation("bad cast", DK_SITE(), "OSRequiredCast: a %s is no %s", dk::class_name(anObject),
                      toMeta != nullptr ? toMeta->metaClassPrivate->info->description->name : "(none)");
    }
    return object;
}

bool OSMetaClassBase::IsRemote() { return false; }

const OSMetaClass *OSMetaClassBase::GetClass() { return meta; }

const char *OSMetaClassBase::GetClassName() { return dk::class_name(this); }

const OSMetaClass *OSMetaClassBase::getMetaClass() const { return meta; }

void OSMetaClassBase::retain() const {}

void OSMetaClassBase::release() const {}

bool OSMetaClassBase::isEqualTo(const OSMetaClassBase *anObject) const { return this == anObject; }

kern_return_t OSMetaClassBase::Dispatch(const IORPC rpc)
{
    const IORPCMessage *message = IORPCMessageFromMach(rpc.message, false);
    // A metaclass has no class of its own.
    const dk::Method *method = meta != nullptr ? dk::find_method(meta, message->msgid) : nullptr;
    if (method != nullptr && method->pure) {
        dk::violation("pure method", DK_SITE(), "%s is pure and not implemented by %s",
                      method->name, dk::class_name(this));
    }
    return kIOReturnUnsupported;
}

// ---- OSObject --------------------------------------------------------------------------------------------------------------

bool OSObject::init() { return true; }

void OSObject::retain() const
{
    dk_obj_retain(dk::header_of(this)->ledger, DK_SITE());
    refcount++;
}

void OSObject::release() const
{
    const dk::Header *header = dk::header_of(this);
    refcount--;
    if (dk_obj_release(header->ledger, DK_SITE()) == 0 && header->magic == dk::kHeaderMagic) {
        const_cast<OSObject *>(this)->free();
    }
}

void OSObject::free()
{
    dk::Header *header = dk::header_of(this);
    if (header->service != nullptr) {
        dk_service_free(header->service);
        header->service = nullptr;
    }
    dk_obj_freed(header->ledger, DK_SITE());
    header->magic = 0;
    Table &all = table();
    const std::lock_guard<std::mutex> guard(all.quarantine_lock);
    all.quarantine.push_back(header);
    while (all.quarantine.size() > DK_OBJ_QUARANTINE) {
        std::free(all.quarantine.front());
        all.quarantine.pop_front();
    }
}
