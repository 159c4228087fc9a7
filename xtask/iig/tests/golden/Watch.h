/* generated from Watch.iig */

// A driver's classes.
#ifndef Watch_h
#define Watch_h

#include "Clock.h"
#include <DriverKit/IOService.h>

/* class Watch Watch.iig:8-29 */

#define Watch_Alarm_ID 0x10470828fdb8c92aULL

#define Watch_Start_Args \
        IOService * provider

#define Watch_Alarm_Args \
        OSAction * theAction, \
        uint64_t arg1

#define Watch_Methods \
public: \
 \
    virtual kern_return_t \
    Dispatch( \
        const IORPC rpc) APPLE_KEXT_OVERRIDE; \
 \
    static kern_return_t \
    _Dispatch( \
        Watch * self, \
        const IORPC rpc); \
 \
    kern_return_t \
    CreateActionAlarm( \
        size_t referenceSize, \
        OSAction ** action); \
 \
    static uint32_t \
    count(); \
 \
    void \
    Alarm( \
        OSAction * theAction, \
        uint64_t arg1, \
        OSDispatchMethod supermethod = NULL); \
 \
protected: \
    /* _Impl methods */ \
 \
    kern_return_t \
    Start_Impl( \
        Watch_Start_Args); \
 \
    void \
    Alarm_Impl( \
        Watch_Alarm_Args); \
 \
public: \
    /* _Invoke methods */ \


#define Watch_VirtualMethods \
public: \
 \
    virtual bool \
    init() APPLE_KEXT_OVERRIDE; \
 \
    virtual const char * \
    name() const noexcept APPLE_KEXT_OVERRIDE; \
 \
    virtual kern_return_t \
    turn( \
        Hand * hand, \
        int by = 1); \


extern OSMetaClass * gWatchMetaClass;
extern const OSClassLoadInformation Watch_Class;

class WatchMetaClass : public OSMetaClass
{
public:
    virtual kern_return_t
    New(OSObject * instance) override;
    virtual kern_return_t
    Dispatch(const IORPC rpc) override;
};

class WatchInterface : public OSInterface
{
public:
    virtual const char *
    name() const noexcept = 0;

};

struct Watch_IVars;
struct Watch_LocalIVars;

class Watch : public IOService, public WatchInterface
{
    friend class WatchMetaClass;

public:
#ifdef Watch_DECLARE_IVARS
Watch_DECLARE_IVARS
#else
    union
    {
        Watch_IVars * ivars;
        Watch_LocalIVars * lvars;
    };
#endif

    static OSMetaClass *
    sGetMetaClass() { return gWatchMetaClass; }

    using super = IOService;

    struct Hand { int length; };
    int hands = 2;

    Watch_Methods
    Watch_VirtualMethods

    int inlined() const { return hands; }

};

#include <DriverKit/OSAction.h>

#define OSAction_Watch_Alarm_Methods \
public: \
 \
    virtual kern_return_t \
    Dispatch( \
        const IORPC rpc) APPLE_KEXT_OVERRIDE; \
 \
    static kern_return_t \
    _Dispatch( \
        OSAction_Watch_Alarm * self, \
        const IORPC rpc); \
 \
protected: \
    /* _Impl methods */ \
 \
public: \
    /* _Invoke methods */ \


#define OSAction_Watch_Alarm_VirtualMethods \
public: \


extern OSMetaClass * gOSAction_Watch_AlarmMetaClass;
extern const OSClassLoadInformation OSAction_Watch_Alarm_Class;

class OSAction_Watch_AlarmMetaClass : public OSMetaClass
{
public:
    virtual kern_return_t
    New(OSObject * instance) override;
    virtual kern_return_t
    Dispatch(const IORPC rpc) override;
};

class OSAction_Watch_AlarmInterface : public OSInterface
{
public:
};

struct OSAction_Watch_Alarm_IVars;
struct OSAction_Watch_Alarm_LocalIVars;

class OSAction_Watch_Alarm : public OSAction, public OSAction_Watch_AlarmInterface
{
    friend class OSAction_Watch_AlarmMetaClass;

public:
#ifdef OSAction_Watch_Alarm_DECLARE_IVARS
OSAction_Watch_Alarm_DECLARE_IVARS
#else
    union
    {
        OSAction_Watch_Alarm_IVars * ivars;
        OSAction_Watch_Alarm_LocalIVars * lvars;
    };
#endif

    static OSMetaClass *
    sGetMetaClass() { return gOSAction_Watch_AlarmMetaClass; }

    using super = OSAction;

    OSAction_Watch_Alarm_Methods
    OSAction_Watch_Alarm_VirtualMethods

};



struct Strap {
    Watch * watch;
};

#endif
