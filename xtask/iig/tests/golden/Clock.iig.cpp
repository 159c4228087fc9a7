/* generated from Clock.iig */

#undef IIG_IMPLEMENTATION
#define IIG_IMPLEMENTATION Clock.iig

#include <DriverKit/IOReturn.h>
#include <DriverKit/OSAction.h>
#include "Clock.h"

/* @iig implementation */
#include "ClockPrivate.h"
/* @iig end */

#ifndef Clock_Create_Msg_ObjRefs
struct Clock_Create_Msg_Content
{
    IORPCMessage __hdr;
    OSObjectRef __object;
    IORPCField<const ClockName>::type name;
    IORPCField<Clock **>::type clock;
};

struct Clock_Create_Msg
{
    IORPCMessageMach mach;
    Clock_Create_Msg_Content content;
};

#define Clock_Create_Msg_ObjRefs ( \
    (1ULL << (__builtin_offsetof(Clock_Create_Msg_Content, __object) / sizeof(OSObjectRef))))
#endif

#ifndef Clock_Set_Msg_ObjRefs
struct Clock_Set_Msg_Content
{
    IORPCMessage __hdr;
    OSObjectRef __object;
    IORPCField<uint64_t>::type time;
    OSObjectRef source;
};

struct Clock_Set_Msg
{
    IORPCMessageMach mach;
    Clock_Set_Msg_Content content;
};

#define Clock_Set_Msg_ObjRefs ( \
    (1ULL << (__builtin_offsetof(Clock_Set_Msg_Content, __object) / sizeof(OSObjectRef))) | \
    (1ULL << (__builtin_offsetof(Clock_Set_Msg_Content, source) / sizeof(OSObjectRef))))
#endif

#ifndef Clock_Read_Msg_ObjRefs
struct Clock_Read_Msg_Content
{
    IORPCMessage __hdr;
    OSObjectRef __object;
    IORPCField<uint64_t *>::type time;
};

struct Clock_Read_Msg
{
    IORPCMessageMach mach;
    Clock_Read_Msg_Content content;
};

#define Clock_Read_Msg_ObjRefs ( \
    (1ULL << (__builtin_offsetof(Clock_Read_Msg_Content, __object) / sizeof(OSObjectRef))))
#endif

#ifndef Clock_Announce_Msg_ObjRefs
struct Clock_Announce_Msg_Content
{
    IORPCMessage __hdr;
    OSObjectRef __object;
    IORPCCopiedField<const uint32_t[4]>::type values;
    IORPCCopiedField<uint32_t>::type valuesCount;
};

struct Clock_Announce_Msg
{
    IORPCMessageMach mach;
    Clock_Announce_Msg_Content content;
};

#define Clock_Announce_Msg_ObjRefs ( \
    (1ULL << (__builtin_offsetof(Clock_Announce_Msg_Content, __object) / sizeof(OSObjectRef))))
#endif

#ifndef Clock_SetHandler_Msg_ObjRefs
struct Clock_SetHandler_Msg_Content
{
    IORPCMessage __hdr;
    OSObjectRef __object;
    OSObjectRef action;
};

struct Clock_SetHandler_Msg
{
    IORPCMessageMach mach;
    Clock_SetHandler_Msg_Content content;
};

#define Clock_SetHandler_Msg_ObjRefs ( \
    (1ULL << (__builtin_offsetof(Clock_SetHandler_Msg_Content, __object) / sizeof(OSObjectRef))) | \
    (1ULL << (__builtin_offsetof(Clock_SetHandler_Msg_Content, action) / sizeof(OSObjectRef))))
#endif

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

static const OSMethodDescription Clock_MethodDescriptions[] =
{
    { Clock_Create_ID, "Clock::Create", NULL, kOSMethodIntroduced | kOSMethodStatic },
    { Clock_Set_ID, "Clock::Set", NULL, kOSMethodIntroduced },
    { Clock_Read_ID, "Clock::Read", NULL, kOSMethodIntroduced | kOSMethodPure },
    { Clock_Announce_ID, "Clock::Announce", "ClockQueue", kOSMethodIntroduced | kOSMethodOneway },
    { Clock_SetHandler_ID, "Clock::SetHandler", NULL, kOSMethodIntroduced },
    { Clock_Rang_ID, "Clock::Rang", NULL, kOSMethodIntroduced | kOSMethodPure | kOSMethodOneway },
};

static const OSClassDescription OSClassDescription_Clock =
{
    .descriptionSize = sizeof(OSClassDescription),
    .methodCount = 6,
    .name = "Clock",
    .superName = "OSObject",
    .flags = 0,
    .methods = Clock_MethodDescriptions,
};

OSMetaClass * gClockMetaClass;

static kern_return_t
Clock_New(OSMetaClass * instance)
{
    static_assert(sizeof(ClockMetaClass) == sizeof(OSMetaClass), "metaclasses carry no state");
    if (!new(instance) ClockMetaClass) return kIOReturnNoMemory;
    return kIOReturnSuccess;
}

const OSClassLoadInformation
Clock_Class =
{
    .description = &OSClassDescription_Clock,
    .metaPointer = &gClockMetaClass,
    .version = 1,
    .instanceSize = sizeof(Clock),
    .resv2 = {0},
    .New = &Clock_New,
    .resv3 = {0},
};

OSDefineClassRegistration(Clock)

kern_return_t
ClockMetaClass::New(OSObject * instance)
{
    if (!new(instance) Clock) return kIOReturnNoMemory;
    return kIOReturnSuccess;
}

kern_return_t
Clock::Dispatch(const IORPC rpc)
{
    return _Dispatch(this, rpc);
}

kern_return_t
Clock::_Dispatch(Clock * self, const IORPC rpc)
{
    IORPCMessage * msg = IORPCMessageFromMach(rpc.message, false);

    switch (msg->msgid)
    {
        case Clock_Set_ID:
            return Clock::Set_Invoke(rpc, self,
                [](OSMetaClassBase * __target, Clock_Set_Args) -> kern_return_t {
                    return static_cast<Clock *>(__target)->Set_Impl(time, source);
                });
        case Clock_Announce_ID:
            return Clock::Announce_Invoke(rpc, self,
                [](OSMetaClassBase * __target, Clock_Announce_Args) -> void {
                    return static_cast<Clock *>(__target)->Announce_Impl(values, valuesCount);
                });
        case Clock_SetHandler_ID:
            return Clock::SetHandler_Invoke(rpc, self,
                [](OSMetaClassBase * __target, Clock_SetHandler_Args) -> kern_return_t {
                    return static_cast<Clock *>(__target)->SetHandler_Impl(action);
                });
        default:
            return OSObject::_Dispatch(self, rpc);
    }
}

kern_return_t
ClockMetaClass::Dispatch(const IORPC rpc)
{
    IORPCMessage * msg = IORPCMessageFromMach(rpc.message, false);

    switch (msg->msgid)
    {
        case Clock_Create_ID:
            return Clock::Create_Invoke(rpc, &Clock::Create_Impl);
        default:
            return OSMetaClassBase::Dispatch(rpc);
    }
}

kern_return_t
Clock::Create(
        const ClockName name,
        Clock ** clock)
{
    Clock_Create_Msg __msg = {};

    __msg.mach.msgh.msgh_id = kIORPCVersion190615;
    __msg.mach.msgh.msgh_size = sizeof(__msg);
    __msg.content.__hdr.msgid = Clock_Create_ID;
    __msg.content.__hdr.flags = 0;
    __msg.content.__hdr.objectRefs = Clock_Create_Msg_ObjRefs;
    __msg.content.__object = (OSObjectRef) OSTypeID(Clock);
    __msg.content.name = name;
    __msg.content.clock = clock;

    IORPC __rpc = { .message = &__msg.mach, .reply = NULL, .sendSize = sizeof(__msg), .replySize = 0 };
    return OSMTypeID(Clock)->Invoke(__rpc);
}

kern_return_t
Clock::Create_Invoke(const IORPC rpc,
        Create_Handler func)
{
    const Clock_Create_Msg * __message = (const Clock_Create_Msg *) (const void *) rpc.message;

    if (rpc.sendSize != sizeof(*__message)) return kIOReturnIPCError;
    if (__message->content.__hdr.objectRefs != (Clock_Create_Msg_ObjRefs)) return kIOReturnIPCError;

    return (*func)(__message->content.name,
        __message->content.clock);
}

kern_return_t
Clock::Set(
        uint64_t time,
        OSObject * source,
        OSDispatchMethod supermethod)
{
    Clock_Set_Msg __msg = {};

    __msg.mach.msgh.msgh_id = kIORPCVersion190615;
    __msg.mach.msgh.msgh_size = sizeof(__msg);
    __msg.content.__hdr.msgid = Clock_Set_ID;
    __msg.content.__hdr.flags = 0;
    __msg.content.__hdr.objectRefs = Clock_Set_Msg_ObjRefs;
    __msg.content.__object = (OSObjectRef) this;
    __msg.content.time = time;
    __msg.content.source = (OSObjectRef) source;

    IORPC __rpc = { .message = &__msg.mach, .reply = NULL, .sendSize = sizeof(__msg), .replySize = 0 };
    return supermethod ? supermethod(this, __rpc) : ((OSMetaClassBase *) this)->Invoke(__rpc);
}

kern_return_t
Clock::Set_Invoke(const IORPC rpc,
        OSMetaClassBase * target,
        Set_Handler func)
{
    const Clock_Set_Msg * __message = (const Clock_Set_Msg *) (const void *) rpc.message;

    if (rpc.sendSize != sizeof(*__message)) return kIOReturnIPCError;
    if (__message->content.__hdr.objectRefs != (Clock_Set_Msg_ObjRefs)) return kIOReturnIPCError;

    return (*func)(target,
        __message->content.time,
        (OSObject *) __message->content.source);
}

kern_return_t
Clock::Read(
        uint64_t * time,
        OSDispatchMethod supermethod)
{
    Clock_Read_Msg __msg = {};

    __msg.mach.msgh.msgh_id = kIORPCVersion190615;
    __msg.mach.msgh.msgh_size = sizeof(__msg);
    __msg.content.__hdr.msgid = Clock_Read_ID;
    __msg.content.__hdr.flags = 0;
    __msg.content.__hdr.objectRefs = Clock_Read_Msg_ObjRefs;
    __msg.content.__object = (OSObjectRef) this;
    __msg.content.time = time;

    IORPC __rpc = { .message = &__msg.mach, .reply = NULL, .sendSize = sizeof(__msg), .replySize = 0 };
    return supermethod ? supermethod(this, __rpc) : ((OSMetaClassBase *) this)->Invoke(__rpc);
}

kern_return_t
Clock::Read_Invoke(const IORPC rpc,
        OSMetaClassBase * target,
        Read_Handler func)
{
    const Clock_Read_Msg * __message = (const Clock_Read_Msg *) (const void *) rpc.message;

    if (rpc.sendSize != sizeof(*__message)) return kIOReturnIPCError;
    if (__message->content.__hdr.objectRefs != (Clock_Read_Msg_ObjRefs)) return kIOReturnIPCError;

    return (*func)(target,
        __message->content.time);
}

void
Clock::Announce(
        const uint32_t values[4],
        uint32_t valuesCount,
        OSDispatchMethod supermethod)
{
    Clock_Announce_Msg __msg = {};

    __msg.mach.msgh.msgh_id = kIORPCVersion190615;
    __msg.mach.msgh.msgh_size = sizeof(__msg);
    __msg.content.__hdr.msgid = Clock_Announce_ID;
    __msg.content.__hdr.flags = kIORPCMessageOneway;
    __msg.content.__hdr.objectRefs = Clock_Announce_Msg_ObjRefs;
    __msg.content.__object = (OSObjectRef) this;
    if (!IORPCCopiedField<const uint32_t[4]>::Store(__msg.content.values, values, valuesCount)) return;
    if (!IORPCCopiedField<uint32_t>::Store(__msg.content.valuesCount, valuesCount, IORPCCount<uint32_t>::value)) return;

    IORPC __rpc = { .message = &__msg.mach, .reply = NULL, .sendSize = sizeof(__msg), .replySize = 0 };
    (void) (supermethod ? supermethod(this, __rpc) : ((OSMetaClassBase *) this)->Invoke(__rpc));
}

kern_return_t
Clock::Announce_Invoke(const IORPC rpc,
        OSMetaClassBase * target,
        Announce_Handler func)
{
    const Clock_Announce_Msg * __message = (const Clock_Announce_Msg *) (const void *) rpc.message;

    if (rpc.sendSize != sizeof(*__message)) return kIOReturnIPCError;
    if (__message->content.__hdr.objectRefs != (Clock_Announce_Msg_ObjRefs)) return kIOReturnIPCError;

    (*func)(target,
        IORPCCopiedField<const uint32_t[4]>::Load(__message->content.values),
        IORPCCopiedField<uint32_t>::Load(__message->content.valuesCount));
    return kIOReturnSuccess;
}

kern_return_t
Clock::SetHandler(
        OSAction * action,
        OSDispatchMethod supermethod)
{
    Clock_SetHandler_Msg __msg = {};

    __msg.mach.msgh.msgh_id = kIORPCVersion190615;
    __msg.mach.msgh.msgh_size = sizeof(__msg);
    __msg.content.__hdr.msgid = Clock_SetHandler_ID;
    __msg.content.__hdr.flags = 0;
    __msg.content.__hdr.objectRefs = Clock_SetHandler_Msg_ObjRefs;
    __msg.content.__object = (OSObjectRef) this;
    __msg.content.action = (OSObjectRef) action;

    IORPC __rpc = { .message = &__msg.mach, .reply = NULL, .sendSize = sizeof(__msg), .replySize = 0 };
    return supermethod ? supermethod(this, __rpc) : ((OSMetaClassBase *) this)->Invoke(__rpc);
}

kern_return_t
Clock::SetHandler_Invoke(const IORPC rpc,
        OSMetaClassBase * target,
        SetHandler_Handler func)
{
    const Clock_SetHandler_Msg * __message = (const Clock_SetHandler_Msg *) (const void *) rpc.message;

    if (rpc.sendSize != sizeof(*__message)) return kIOReturnIPCError;
    if (__message->content.__hdr.objectRefs != (Clock_SetHandler_Msg_ObjRefs)) return kIOReturnIPCError;

    return (*func)(target,
        (OSAction *) __message->content.action);
}

void
Clock::Rang(
        OSAction * action,
        uint64_t time,
        OSDispatchMethod supermethod)
{
    Clock_Rang_Msg __msg = {};

    __msg.mach.msgh.msgh_id = kIORPCVersion190615;
    __msg.mach.msgh.msgh_size = sizeof(__msg);
    __msg.content.__hdr.msgid = Clock_Rang_ID;
    __msg.content.__hdr.flags = kIORPCMessageOneway | kIORPCMessageAction;
    __msg.content.__hdr.objectRefs = Clock_Rang_Msg_ObjRefs;
    __msg.content.__object = (OSObjectRef) action;
    __msg.content.action = (OSObjectRef) action;
    if (!IORPCCopiedField<uint64_t>::Store(__msg.content.time, time, IORPCCount<uint64_t>::value)) return;

    IORPC __rpc = { .message = &__msg.mach, .reply = NULL, .sendSize = sizeof(__msg), .replySize = 0 };
    (void) (supermethod ? supermethod(this, __rpc) : ((OSMetaClassBase *) this)->Invoke(__rpc));
}

kern_return_t
Clock::Rang_Invoke(const IORPC rpc,
        OSMetaClassBase * target,
        Rang_Handler func)
{
    return Clock::Rang_Invoke(rpc, target, func, NULL);
}

kern_return_t
Clock::Rang_Invoke(const IORPC rpc,
        OSMetaClassBase * target,
        Rang_Handler func,
        const OSMetaClass * targetActionClass)
{
    const Clock_Rang_Msg * __message = (const Clock_Rang_Msg *) (const void *) rpc.message;

    if (rpc.sendSize != sizeof(*__message)) return kIOReturnIPCError;
    if (__message->content.__hdr.objectRefs != (Clock_Rang_Msg_ObjRefs)) return kIOReturnIPCError;
    OSMetaClassBase * __action = (OSMetaClassBase *) __message->content.action;
    if (targetActionClass && !(__action && OSMetaClassBase::safeMetaCast(__action, targetActionClass)))
        return kIOReturnBadArgument;

    (*func)(target,
        (OSAction *) __message->content.action,
        IORPCCopiedField<uint64_t>::Load(__message->content.time));
    return kIOReturnSuccess;
}

