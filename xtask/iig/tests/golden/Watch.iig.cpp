/* generated from Watch.iig */

#undef IIG_IMPLEMENTATION
#define IIG_IMPLEMENTATION Watch.iig

#include <DriverKit/IOReturn.h>
#include <DriverKit/OSAction.h>
#include "Watch.h"

#include <DriverKit/OSString.h>

#ifndef Clock_Rang_Msg_ObjRefs
struct Clock_Rang_Msg_Content
{
    IORPCMessage __hdr;
    OSObjectRef __object;
    OSObjectRef action;
    IORPCCopiedField<uint64_t>::type time;
};

struct Clock_Rang_Msg
{
    IORPCMessageMach mach;
    Clock_Rang_Msg_Content content;
};

#define Clock_Rang_Msg_ObjRefs ( \
    (1ULL << (__builtin_offsetof(Clock_Rang_Msg_Content, __object) / sizeof(OSObjectRef))) | \
    (1ULL << (__builtin_offsetof(Clock_Rang_Msg_Content, action) / sizeof(OSObjectRef))))
#endif

static const OSMethodDescription Watch_MethodDescriptions[] =
{
    { IOService_Start_ID, "IOService::Start", NULL, 0 },
    { Watch_Alarm_ID, "Watch::Alarm", NULL, kOSMethodIntroduced | kOSMethodOneway | kOSMethodAction },
};

static const OSClassDescription OSClassDescription_Watch =
{
    .descriptionSize = sizeof(OSClassDescription),
    .methodCount = 2,
    .name = "Watch",
    .superName = "IOService",
    .flags = 0,
    .methods = Watch_MethodDescriptions,
};

OSMetaClass * gWatchMetaClass;

static kern_return_t
Watch_New(OSMetaClass * instance)
{
    static_assert(sizeof(WatchMetaClass) == sizeof(OSMetaClass), "metaclasses carry no state");
    if (!new(instance) WatchMetaClass) return kIOReturnNoMemory;
    return kIOReturnSuccess;
}

const OSClassLoadInformation
Watch_Class =
{
    .description = &OSClassDescription_Watch,
    .metaPointer = &gWatchMetaClass,
    .version = 1,
    .instanceSize = sizeof(Watch),
    .resv2 = {0},
    .New = &Watch_New,
    .resv3 = {0},
};

OSDefineClassRegistration(Watch)

kern_return_t
WatchMetaClass::New(OSObject * instance)
{
    if (!new(instance) Watch) return kIOReturnNoMemory;
    return kIOReturnSuccess;
}

kern_return_t
Watch::Dispatch(const IORPC rpc)
{
    return _Dispatch(this, rpc);
}

kern_return_t
Watch::_Dispatch(Watch * self, const IORPC rpc)
{
    IORPCMessage * msg = IORPCMessageFromMach(rpc.message, false);

    switch (msg->msgid)
    {
        case IOService_Start_ID:
            return IOService::Start_Invoke(rpc, self,
                [](OSMetaClassBase * __target, IOService_Start_Args) -> kern_return_t {
                    return static_cast<Watch *>(__target)->Start_Impl(provider);
                });
        case Watch_Alarm_ID:
            return Clock::Rang_Invoke(rpc, self,
                [](OSMetaClassBase * __target, Clock_Rang_Args) -> void {
                    return static_cast<Watch *>(__target)->Alarm_Impl(action, time);
                },
                OSTypeID(OSAction_Watch_Alarm));
        default:
            return IOService::_Dispatch(self, rpc);
    }
}

kern_return_t
WatchMetaClass::Dispatch(const IORPC rpc)
{
    IORPCMessage * msg = IORPCMessageFromMach(rpc.message, false);

    switch (msg->msgid)
    {
        default:
            return OSMetaClassBase::Dispatch(rpc);
    }
}

void
Watch::Alarm(
        OSAction * theAction,
        uint64_t arg1,
        OSDispatchMethod supermethod)
{
    Clock_Rang_Msg __msg = {};

    __msg.mach.msgh.msgh_id = kIORPCVersion190615;
    __msg.mach.msgh.msgh_size = sizeof(__msg);
    __msg.content.__hdr.msgid = Watch_Alarm_ID;
    __msg.content.__hdr.flags = kIORPCMessageOneway;
    __msg.content.__hdr.objectRefs = Clock_Rang_Msg_ObjRefs;
    __msg.content.__object = (OSObjectRef) this;
    __msg.content.action = (OSObjectRef) theAction;
    if (!IORPCCopiedField<uint64_t>::Store(__msg.content.time, arg1, IORPCCount<uint64_t>::value)) return;

    IORPC __rpc = { .message = &__msg.mach, .reply = NULL, .sendSize = sizeof(__msg), .replySize = 0 };
    (void) (supermethod ? supermethod(this, __rpc) : ((OSMetaClassBase *) this)->Invoke(__rpc));
}

kern_return_t
Watch::CreateActionAlarm(size_t referenceSize, OSAction ** action)
{
    OSString * typeName = OSString::withCString("OSAction_Watch_Alarm");
    if (!typeName) return kIOReturnNoMemory;
    kern_return_t ret = OSAction_Watch_Alarm::CreateWithTypeName(this,
        Watch_Alarm_ID,
        Clock_Rang_ID,
        referenceSize,
        typeName, action);
    typeName->release();
    return ret;
}

static const OSClassDescription OSClassDescription_OSAction_Watch_Alarm =
{
    .descriptionSize = sizeof(OSClassDescription),
    .methodCount = 0,
    .name = "OSAction_Watch_Alarm",
    .superName = "OSAction",
    .flags = 0,
    .methods = NULL,
};

OSMetaClass * gOSAction_Watch_AlarmMetaClass;

static kern_return_t
OSAction_Watch_Alarm_New(OSMetaClass * instance)
{
    static_assert(sizeof(OSAction_Watch_AlarmMetaClass) == sizeof(OSMetaClass), "metaclasses carry no state");
    if (!new(instance) OSAction_Watch_AlarmMetaClass) return kIOReturnNoMemory;
    return kIOReturnSuccess;
}

const OSClassLoadInformation
OSAction_Watch_Alarm_Class =
{
    .description = &OSClassDescription_OSAction_Watch_Alarm,
    .metaPointer = &gOSAction_Watch_AlarmMetaClass,
    .version = 1,
    .instanceSize = sizeof(OSAction_Watch_Alarm),
    .resv2 = {0},
    .New = &OSAction_Watch_Alarm_New,
    .resv3 = {0},
};

OSDefineClassRegistration(OSAction_Watch_Alarm)

kern_return_t
OSAction_Watch_AlarmMetaClass::New(OSObject * instance)
{
    if (!new(instance) OSAction_Watch_Alarm) return kIOReturnNoMemory;
    return kIOReturnSuccess;
}

kern_return_t
OSAction_Watch_Alarm::Dispatch(const IORPC rpc)
{
    return _Dispatch(this, rpc);
}

kern_return_t
OSAction_Watch_Alarm::_Dispatch(OSAction_Watch_Alarm * self, const IORPC rpc)
{
    IORPCMessage * msg = IORPCMessageFromMach(rpc.message, false);

    switch (msg->msgid)
    {
        default:
            return OSAction::_Dispatch(self, rpc);
    }
}

kern_return_t
OSAction_Watch_AlarmMetaClass::Dispatch(const IORPC rpc)
{
    IORPCMessage * msg = IORPCMessageFromMach(rpc.message, false);

    switch (msg->msgid)
    {
        default:
            return OSMetaClassBase::Dispatch(rpc);
    }
}

