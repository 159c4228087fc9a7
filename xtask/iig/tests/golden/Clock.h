/* generated from Clock.iig */

/* A framework class: every kind of method that definitions of our own use. */
#ifndef Clock_h
#define Clock_h

#include <DriverKit/OSObject.h>
#include <DriverKit/OSAction.h>

typedef char ClockName[16];

enum {
    kClockSlow = 1, // stays where it is
};

/*!
@iig implementation
#include "ClockPrivate.h"
@iig end
*/

/* class Clock Clock.iig:20-50 */

#define Clock_Create_ID 0xb93cc8cc366e1222ULL
#define Clock_Set_ID 0x9e4600c2fb9084deULL
#define Clock_Read_ID 0xc981614b9fd38edeULL
#define Clock_Announce_ID 0x8483427c63d12255ULL
#define Clock_SetHandler_ID 0xdfc899b47b8615ceULL
#define Clock_Rang_ID 0xe9a5044bb151dcc4ULL

#define Clock_Create_Args \
        const ClockName name, \
        Clock ** clock

#define Clock_Set_Args \
        uint64_t time, \
        OSObject * source

#define Clock_Read_Args \
        uint64_t * time

#define Clock_Announce_Args \
        const uint32_t values[4], \
        uint32_t valuesCount

#define Clock_SetHandler_Args \
        OSAction * action

#define Clock_Rang_Args \
        OSAction * action, \
        uint64_t time

#define Clock_Methods \
public: \
 \
    virtual kern_return_t \
    Dispatch( \
        const IORPC rpc) APPLE_KEXT_OVERRIDE; \
 \
    static kern_return_t \
    _Dispatch( \
        Clock * self, \
        const IORPC rpc); \
 \
    static kern_return_t \
    Create( \
        const ClockName name, \
        Clock ** clock); \
 \
    kern_return_t \
    Set( \
        uint64_t time, \
        OSObject * source, \
        OSDispatchMethod supermethod = NULL); \
 \
    kern_return_t \
    Read( \
        uint64_t * time, \
        OSDispatchMethod supermethod = NULL); \
 \
    void \
    Announce( \
        const uint32_t values[4], \
        uint32_t valuesCount, \
        OSDispatchMethod supermethod = NULL); \
 \
    uint64_t \
    ticks() const; \
 \
    kern_return_t \
    SetHandler( \
        OSAction * action, \
        OSDispatchMethod supermethod = NULL); \
 \
    void \
    Rang( \
        OSAction * action, \
        uint64_t time, \
        OSDispatchMethod supermethod = NULL); \
 \
protected: \
    /* _Impl methods */ \
 \
    static kern_return_t \
    Create_Impl( \
        Clock_Create_Args); \
 \
    kern_return_t \
    Set_Impl( \
        Clock_Set_Args); \
 \
    void \
    Announce_Impl( \
        Clock_Announce_Args); \
 \
    kern_return_t \
    SetHandler_Impl( \
        Clock_SetHandler_Args); \
 \
public: \
    /* _Invoke methods */ \
 \
    typedef kern_return_t (*Create_Handler)(Clock_Create_Args); \
    static kern_return_t \
    Create_Invoke( \
        const IORPC rpc, \
        Create_Handler func); \
 \
    typedef kern_return_t (*Set_Handler)(OSMetaClassBase * __target, Clock_Set_Args); \
    static kern_return_t \
    Set_Invoke( \
        const IORPC rpc, \
        OSMetaClassBase * target, \
        Set_Handler func); \
 \
    typedef kern_return_t (*Read_Handler)(OSMetaClassBase * __target, Clock_Read_Args); \
    static kern_return_t \
    Read_Invoke( \
        const IORPC rpc, \
        OSMetaClassBase * target, \
        Read_Handler func); \
 \
    typedef void (*Announce_Handler)(OSMetaClassBase * __target, Clock_Announce_Args); \
    static kern_return_t \
    Announce_Invoke( \
        const IORPC rpc, \
        OSMetaClassBase * target, \
        Announce_Handler func); \
 \
    typedef kern_return_t (*SetHandler_Handler)(OSMetaClassBase * __target, Clock_SetHandler_Args); \
    static kern_return_t \
    SetHandler_Invoke( \
        const IORPC rpc, \
        OSMetaClassBase * target, \
        SetHandler_Handler func); \
 \
    typedef void (*Rang_Handler)(OSMetaClassBase * __target, Clock_Rang_Args); \
    static kern_return_t \
    Rang_Invoke( \
        const IORPC rpc, \
        OSMetaClassBase * target, \
        Rang_Handler func); \
 \
    static kern_return_t \
    Rang_Invoke( \
        const IORPC rpc, \
        OSMetaClassBase * target, \
        Rang_Handler func, \
        const OSMetaClass * targetActionClass); \


#define Clock_VirtualMethods \
public: \
 \
    virtual bool \
    init() APPLE_KEXT_OVERRIDE; \
 \
    virtual kern_return_t \
    adjust( \
        int64_t by, \
        bool now = true) APPLE_KEXT_OVERRIDE; \


extern OSMetaClass * gClockMetaClass;
extern const OSClassLoadInformation Clock_Class;

class ClockMetaClass : public OSMetaClass
{
public:
    virtual kern_return_t
    New(OSObject * instance) override;
    virtual kern_return_t
    Dispatch(const IORPC rpc) override;
};

class ClockInterface : public OSInterface
{
public:
    virtual kern_return_t
    adjust(
        int64_t by,
        bool now) = 0;

};

struct Clock_IVars;
struct Clock_LocalIVars;

class Clock : public OSObject, public ClockInterface
{
    friend class ClockMetaClass;

public:
#ifdef Clock_DECLARE_IVARS
Clock_DECLARE_IVARS
#else
    union
    {
        Clock_IVars * ivars;
        Clock_LocalIVars * lvars;
    };
#endif

    static OSMetaClass *
    sGetMetaClass() { return gClockMetaClass; }

    using super = OSObject;

    Clock_Methods
    Clock_VirtualMethods

};



#endif
