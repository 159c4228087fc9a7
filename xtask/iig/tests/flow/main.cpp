// A runtime just large enough to carry calls, and checks that they take the documented way.

#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <DriverKit/OSAction.h>
#include <DriverKit/OSString.h>

#include "Base.h"
#include "Sub.h"

// ---- runtime -------------------------------------------------------------------------------------------------------

struct OSMetaClassPrivate {
    const OSClassLoadInformation * info;
};

static std::vector<OSMetaClass *> & classes()
{
    static std::vector<OSMetaClass *> all;
    return all;
}

static OSMetaClass * named(const char * name)
{
    for (OSMetaClass * meta : classes()) {
        if (!strcmp(meta->metaClassPrivate->info->description->name, name)) return meta;
    }
    return nullptr;
}

extern "C" void OSClassRegister(const OSClassLoadInformation * info)
{
    auto * meta = static_cast<OSMetaClass *>(calloc(1, sizeof(OSMetaClass)));
    assert(info->New(meta) == 0);
    meta->metaClassPrivate = new OSMetaClassPrivate{info};
    *info->metaPointer = meta;
    classes().push_back(meta);
}

extern "C" void OSClassUnregister(const OSClassLoadInformation *) {}

kern_return_t OSObjectAllocate(OSMetaClass * meta, OSObject ** object)
{
    auto * memory = static_cast<OSObject *>(calloc(1, meta->metaClassPrivate->info->instanceSize));
    const kern_return_t ret = meta->New(memory);
    memory->meta = meta;
    memory->refcount = 1;
    *object = memory;
    return ret;
}

static std::vector<std::string> trace;
static std::vector<char> pending;

static const char * method_name(uint64_t msgid)
{
    for (OSMetaClass * meta : classes()) {
        const OSClassDescription * description = meta->metaClassPrivate->info->description;
        for (uint32_t i = 0; i < description->methodCount; i++) {
            if (description->methods[i].msgid == msgid) return description->methods[i].name;
        }
    }
    return "?";
}

static kern_return_t deliver(IORPC rpc)
{
    IORPCMessage * message = IORPCMessageFromMach(rpc.message, false);
    auto * object = reinterpret_cast<OSMetaClassBase *>(message->objects[0]);
    if (message->flags & kIORPCMessageAction) {
        // The test's actions keep target and message id in their reference memory.
        auto * reference = static_cast<uint64_t *>(static_cast<OSAction *>(object)->GetReference());
        message->msgid = reference[1];
        object = reinterpret_cast<OSMetaClassBase *>(reference[0]);
    }
    return object->Dispatch(rpc);
}

kern_return_t OSMetaClassBase::Invoke(const IORPC rpc)
{
    IORPCMessage * message = IORPCMessageFromMach(rpc.message, false);
    trace.push_back(method_name(message->msgid));
    if (message->flags & kIORPCMessageOneway) {
        // Kept as bytes and delivered when the caller's arguments are gone.
        pending.assign(reinterpret_cast<char *>(rpc.message), reinterpret_cast<char *>(rpc.message) + rpc.sendSize);
        return kIOReturnSuccess;
    }
    return deliver(rpc);
}

static kern_return_t run_pending()
{
    std::vector<char> bytes;
    bytes.swap(pending);
    IORPC rpc = {reinterpret_cast<IORPCMessageMach *>(bytes.data()), nullptr, static_cast<uint32_t>(bytes.size()), 0};
    return deliver(rpc);
}

kern_return_t OSMetaClassBase::Dispatch(const IORPC) { return kIOReturnUnsupported; }
const OSMetaClass * OSMetaClassBase::getMetaClass() const { return meta; }
void OSMetaClassBase::retain() const { refcount++; }
void OSMetaClassBase::release() const { refcount--; }
bool OSMetaClassBase::isEqualTo(const OSMetaClassBase * other) const { return this == other; }
OSMetaClassBase * OSMetaClassBase::safeMetaCast(const OSMetaClassBase * object, const OSMetaClass * to)
{
    for (OSMetaClass * meta = object->meta; meta; meta = named(meta->metaClassPrivate->info->description->superName)) {
        if (meta == to) return const_cast<OSMetaClassBase *>(object);
    }
    return nullptr;
}
bool OSObject::init() { return true; }
void OSObject::free() {}
void OSObject::retain() const { OSMetaClassBase::retain(); }
void OSObject::release() const { OSMetaClassBase::release(); }

struct OSAction_IVars {
    uint64_t reference[2];
};
void OSAction::free() {}
void * OSAction::GetReference() { return ivars->reference; }
kern_return_t OSAction::Create_Impl(OSAction_Create_Args) { return kIOReturnUnsupported; }
kern_return_t OSAction::CreateWithTypeName_Impl(OSAction_CreateWithTypeName_Args)
{
    OSObject * object = nullptr;
    kern_return_t ret = OSObjectAllocate(named(typeName->getCStringNoCopy()), &object);
    assert(ret == 0 && referenceSize == 24 && msgid == Base_Rang_ID);
    *action = static_cast<OSAction *>(object);
    (*action)->ivars = new OSAction_IVars{{reinterpret_cast<uint64_t>(target), targetmsgid}};
    return ret;
}
void OSAction::Aborted_Impl() {}

struct OSString_IVars {
    const char * text;
};
OSString * OSString::withCString(const char * text)
{
    static OSString_IVars ivars;
    static char memory[sizeof(OSString)];
    ivars.text = text;
    auto * string = reinterpret_cast<OSString *>(memory);
    gOSStringMetaClass->New(string);
    string->ivars = &ivars;
    return string;
}
const char * OSString::getCStringNoCopy() const { return ivars->text; }
void OSString::free() {}
bool OSString::isEqualTo(const OSMetaClassBase *) const { return false; }
void OSContainer::free() {}

// ---- classes under test --------------------------------------------------------------------------------------------

static uint64_t announced;
static OSObject * announcer;

kern_return_t Base::Create_Impl(Base_Create_Args)
{
    assert(!strcmp(name, "sub"));
    OSObject * object = nullptr;
    kern_return_t ret = OSObjectAllocate(named("Sub"), &object);
    *base = static_cast<Base *>(object);
    return ret;
}
kern_return_t Base::Start_Impl(Base * provider)
{
    trace.push_back("Base");
    return provider == this ? kIOReturnSuccess : kIOReturnBadArgument;
}
kern_return_t Base::Sum_Impl(Base_Sum_Args)
{
    *sum = 0;
    for (uint32_t i = 0; i < valuesCount; i++) *sum += values[i];
    return kIOReturnSuccess;
}
void Base::Announce_Impl(Base_Announce_Args)
{
    announced = valuesCount ? values[valuesCount - 1] : 0;
    announcer = who;
}
kern_return_t Base::Nothing_Impl() { return kIOReturnNoSpace; }

kern_return_t IMPL(Sub, Start)
{
    trace.push_back("Sub");
    started++;
    return super::Start(source, SUPERDISPATCH);
}
kern_return_t Sub::Read_Impl(Sub_Read_Args)
{
    *value = 42;
    return kIOReturnSuccess;
}
kern_return_t IMPL(Sub, Nothing) { return Nothing(SUPERDISPATCH); }
int Sub::local(int by) const { return by; }
void IMPL(Sub, OnRing) { rang = when + (action ? 0 : 1000); }

kern_return_t IMPL(SubSub, Start)
{
    trace.push_back("SubSub");
    return super::Start(provider, SUPERDISPATCH);
}
int SubSub::local(int by) const { return 10 * super::local(by); }
void IMPL(SubSub, OnRing)
{
    super::OnRing(action, time * 2, SUPERDISPATCH);
}

static void expect(const std::vector<std::string> & wanted)
{
    for (const auto & line : trace) printf("  %s\n", line.c_str());
    if (trace != wanted) abort();
    trace.clear();
}

int main()
{
    // A static method goes through the metaclass; the array parameter of a waiting call is a pointer.
    Base * base = nullptr;
    assert(Base::Create("sub", &base) == kIOReturnSuccess);
    expect({"Base::Create"});
    Sub * sub = OSDynamicCast(Sub, base);
    assert(sub && !OSDynamicCast(SubSub, base));

    // Stub, Invoke, override, SUPERDISPATCH, base.
    assert(base->Start(base) == kIOReturnSuccess && sub->started == 1);
    expect({"Base::Start", "Sub", "Base"});
    assert(sub->Start(nullptr) == kIOReturnBadArgument);
    expect({"Base::Start", "Sub", "Base"});

    uint64_t value = 0;
    assert(base->Read(&value) == kIOReturnSuccess && value == 42);
    const uint32_t values[4] = {1, 2, 3, 4};
    assert(base->Sum(values, 4, &value) == kIOReturnSuccess && value == 10);
    assert(base->Nothing() == kIOReturnNoSpace);
    trace.clear();

    // A call without result: the message outlives the arguments, and names the objects to hold.
    {
        uint32_t mine[3] = {7, 8, 9};
        base->Announce(mine, 3, sub);
        memset(mine, 0, sizeof(mine));
    }
    auto * message = IORPCMessageFromMach(reinterpret_cast<IORPCMessageMach *>(pending.data()), false);
    assert(message->msgid == Base_Announce_ID && (message->msgid & kIORPCMessageIDKernel));
    int objects = 0;
    for (int bit = 0; bit < 64; bit++) {
        if (message->objectRefs >> bit & 1) {
            assert(reinterpret_cast<uint64_t *>(message)[bit] == reinterpret_cast<uint64_t>(sub));
            objects++;
        }
    }
    assert(objects == 2 && (message->objectRefs & 1u << 3));
    assert(run_pending() == kIOReturnSuccess && announced == 9 && announcer == sub);
    expect({"Base::Announce"});
    base->Announce(values, 5, sub); // more than the message holds
    assert(trace.empty() && pending.empty());

    // A callback through its action, and called directly.
    OSAction * action = nullptr;
    assert(sub->CreateActionOnRing(24, &action) == kIOReturnSuccess && action);
    assert(OSDynamicCast(OSAction_Sub_OnRing, action));
    trace.clear();
    base->Rang(action, 5);
    assert(run_pending() == kIOReturnSuccess && sub->rang == 5);
    expect({"Base::Rang"});
    sub->OnRing(action, 6);
    assert(!(Sub_OnRing_ID & kIORPCMessageIDKernel));
    assert(run_pending() == kIOReturnSuccess && sub->rang == 6);
    expect({"Sub::OnRing"});

    // An action of another class is refused.
    OSObject * plain = nullptr;
    assert(OSObjectAllocate(gOSActionMetaClass, &plain) == kIOReturnSuccess);
    sub->OnRing(static_cast<OSAction *>(plain), 7);
    assert(run_pending() == kIOReturnBadArgument && sub->rang == 6);
    sub->OnRing(nullptr, 7);
    assert(run_pending() == kIOReturnBadArgument);
    trace.clear();

    // Two generations of overrides; each SUPERDISPATCH goes up one class.
    SubSub * last = OSTypeAlloc(SubSub);
    assert(last && last->Start(last) == kIOReturnSuccess && last->started == 1);
    expect({"Base::Start", "SubSub", "Sub", "Base"});
    assert(static_cast<Sub *>(last)->local() == 20);
    assert(last->CreateActionOnRing(24, &action) == kIOReturnSuccess);
    trace.clear();
    base->Rang(action, 5);
    assert(run_pending() == kIOReturnSuccess && last->rang == 10);

    // A message of the wrong size, or with other objects, is refused by the unpacker.
    base->Announce(values, 1, sub);
    pending.pop_back();
    assert(run_pending() == kIOReturnIPCError);
    puts("ok");
    return 0;
}
