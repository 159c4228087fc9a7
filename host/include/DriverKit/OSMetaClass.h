/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Root of the class hierarchy and run-time type information. DriverKit 19.
 */
#ifndef WEIR_DRIVERKIT_OSMETACLASS_H
#define WEIR_DRIVERKIT_OSMETACLASS_H

#include <Availability.h>
#include <stddef.h>
#include <stdint.h>
#include <DriverKit/IORPC.h>

class IODispatchQueue;
class OSMetaClass;
class OSObject;
struct OSMetaClassPrivate;

struct OSClassLoadInformation {
    const OSClassDescription * description;
    OSMetaClass ** metaPointer;
    uint32_t version;
    uint32_t instanceSize;
    uint64_t resv2[8];
    /* Constructs the metaclass in zeroed memory of sizeof(OSMetaClass) bytes. */
    kern_return_t (*New)(OSMetaClass * instance);
    uint64_t resv3[8];
};

class OSMetaClassBase
{
public:
    _Atomic(int32_t) mutable refcount;
    int32_t reserved;
    OSMetaClass * meta;

    inline void * operator new(size_t, void * placed) { return placed; }

    /* anObject if its class is toMeta or a subclass, else NULL. */
    static OSMetaClassBase *
    safeMetaCast(const OSMetaClassBase * anObject, const OSMetaClass * toMeta);

    /* As safeMetaCast, but aborts instead of returning NULL. */
    static OSMetaClassBase *
    requiredMetaCast(const OSMetaClassBase * anObject, const OSMetaClass * toMeta);

    bool
    IsRemote();

    const OSMetaClass *
    GetClass();

    const char *
    GetClassName();

    const char *
    GetClassName() const { return const_cast<OSMetaClassBase *>(this)->GetClassName(); }

    uint32_t
    getRetainCount() const { return (uint32_t) refcount; }

    virtual const OSMetaClass *
    getMetaClass() const;

    virtual void
    retain() const;

    virtual void
    release() const;

    virtual bool
    isEqualTo(const OSMetaClassBase * anObject) const;

    virtual kern_return_t
    Dispatch(const IORPC rpc);

    kern_return_t
    Invoke(const IORPC rpc);
};

class OSMetaClass : public OSMetaClassBase
{
public:
    OSMetaClassPrivate * metaClassPrivate;

    /* Constructs an object in zeroed memory of instanceSize bytes. */
    virtual kern_return_t
    New(OSObject * instance) = 0;
};

class OSInterface
{
};

#define SUPERDISPATCH ((OSDispatchMethod) &super::_Dispatch)

/* A zeroed object of class meta with one reference; init() has not been called. */
extern kern_return_t
OSObjectAllocate(OSMetaClass * meta, OSObject ** pObject);

/*
 * Linux runtime: generated code calls these from ELF constructors and destructors. Registration creates the
 * metaclass and stores it through metaPointer; it must not need any other class to be registered already.
 */
extern "C" void OSClassRegister(const OSClassLoadInformation * information);
extern "C" void OSClassUnregister(const OSClassLoadInformation * information);

#define OSTypeID(type)     g ## type ## MetaClass
#define OSTypeIDInst(inst) (inst)->GetClass()
#define OSMTypeID(type)    OSTypeID(type)

#define OSDynamicCast(type, inst)   \
    ((inst) ? ((type *) OSMetaClassBase::safeMetaCast((inst), OSTypeID(type))) : NULL)

#define OSRequiredCast(type, inst)   \
    ((inst) ? ((type *) OSMetaClassBase::requiredMetaCast((inst), OSTypeID(type))) : NULL)

#define OSTypeAlloc(type) \
({ \
    OSObject * __allocated = NULL; \
    kern_return_t __ret = OSObjectAllocate(OSTypeID(type), &__allocated); \
    (type *) (__ret == 0 ? __allocated : NULL); \
})

#if defined(__APPLE__)
/* Apple's loader finds the classes of a dext through this section. */
#define OSDefineClassRegistration(name) \
    __attribute__((used, section("__DATA_CONST,__osclassinfo,regular,no_dead_strip"))) \
    static const OSClassLoadInformation * const name ## _ClassPtr = &name ## _Class;
#else
/* Runs before a dext's own constructors, so that those may already allocate objects of its classes. */
#define OSDefineClassRegistration(name) \
    __attribute__((constructor(1000))) static void name ## _Register(void) { OSClassRegister(&name ## _Class); } \
    __attribute__((destructor(1000))) static void name ## _Unregister(void) { OSClassUnregister(&name ## _Class); }
#endif

#define APPLE_KEXT_OVERRIDE override

#endif /* WEIR_DRIVERKIT_OSMETACLASS_H */
