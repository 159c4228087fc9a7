// SPDX-License-Identifier: MIT OR Apache-2.0
// OSSet and OSOrderedSet.

#include "collections.h"

#include <DriverKit/OSOrderedSet.h>
#include <DriverKit/OSSet.h>

// ---- OSSet -------------------------------------------------------------------------------------------------------

// A set keeps its members where an array does; only the ways in differ.
static std::vector<OSObject *> &members_of(const OSArray *array) { return array->OSArray::ivars->members; }

bool OSSet::init()
{
    if (!OSArray::init()) {
        return false;
    }
    OSArray::ivars = new (std::nothrow) OSArray_IVars();
    return OSArray::ivars != nullptr;
}

template <typename T> static T *set_make(OSMetaClass *meta, const char *method, uint32_t capacity)
{
    T *set = dk::fault(method) == kIOReturnSuccess ? dk::alloc<T>(meta) : nullptr;
    if (set != nullptr && !set->init()) {
        OSSafeReleaseNULL(set);
    }
    if (set != nullptr) {
        set->ensureCapacity(capacity);
    }
    return set;
}

OSSetPtr OSSet::withCapacity(uint32_t capacity) { return set_make<OSSet>(OSTypeID(OSSet), "OSSet::withCapacity", capacity); }

OSSetPtr OSSet::withObjects(const OSObject **values, uint32_t count, uint32_t capacity)
{
    auto *set = set_make<OSSet>(OSTypeID(OSSet), "OSSet::withObjects", capacity > count ? capacity : count);
    for (uint32_t i = 0; set != nullptr && i < count; ++i) {
        set->setObject(values[i]);
    }
    return set;
}

OSSetPtr OSSet::withArray(const OSArray *array, uint32_t capacity)
{
    auto *set = array != nullptr ? set_make<OSSet>(OSTypeID(OSSet), "OSSet::withArray", capacity) : nullptr;
    if (set != nullptr) {
        set->merge(array);
    }
    return set;
}

bool OSSet::setObject(const OSMetaClassBase *anObject)
{
    return anObject != nullptr && !containsObject(anObject) && OSArray::setObject(anObject);
}

bool OSSet::merge(const OSArray *otherArray)
{
    if (otherArray == nullptr) {
        return false;
    }
    otherArray->iterateObjects(^bool(OSObject *member) {
      setObject(member);
      return true;
    });
    return true;
}

void OSSet::removeObject(const OSMetaClassBase *anObject)
{
    const uint32_t at = getNextIndexOfObject(anObject, 0);
    if (at < getCount()) {
        OSArray::removeObject(at);
    }
}

bool OSSet::containsObject(const OSMetaClassBase *anObject) const
{
    return anObject != nullptr && getNextIndexOfObject(anObject, 0) < getCount();
}

bool OSSet::member(const OSMetaClassBase *anObject) const { return containsObject(anObject); }

OSObject *OSSet::getAnyObject() const { return getObject(0); }

// ---- OSOrderedSet --------------------------------------------------------------------------------------------------

struct OSOrderedSet_IVars {
    OSOrderBlock order;
};

bool OSOrderedSet::init()
{
    if (!OSSet::init()) {
        return false;
    }
    ivars = new (std::nothrow) OSOrderedSet_IVars();
    return ivars != nullptr;
}

void OSOrderedSet::free()
{
    if (ivars != nullptr && ivars->order != nullptr) {
        Block_release(ivars->order);
    }
    dk::drop(ivars);
    OSSet::free();
}

OSOrderedSetPtr OSOrderedSet::withCapacity(uint32_t capacity, OSOrderBlock orderBlock)
{
    auto *set = set_make<OSOrderedSet>(OSTypeID(OSOrderedSet), "OSOrderedSet::withCapacity", capacity);
    if (set != nullptr && orderBlock != nullptr) {
        set->ivars->order = Block_copy(orderBlock);
    }
    return set;
}

// In front of the first member that the order function does not put before the new one.
bool OSOrderedSet::setObject(const OSMetaClassBase *anObject)
{
    if (anObject == nullptr || containsObject(anObject)) {
        return false;
    }
    uint32_t at = 0;
    while (ivars->order != nullptr && at < getCount() && ivars->order(members_of(this)[at], anObject) < 0) {
        ++at;
    }
    return OSArray::setObject(ivars->order != nullptr ? at : getCount(), anObject);
}

bool OSOrderedSet::setFirstObject(const OSMetaClassBase *anObject)
{
    return anObject != nullptr && !containsObject(anObject) && OSArray::setObject(0, anObject);
}

bool OSOrderedSet::setLastObject(const OSMetaClassBase *anObject)
{
    return anObject != nullptr && !containsObject(anObject) && OSArray::setObject(getCount(), anObject);
}

int32_t OSOrderedSet::orderObject(const OSMetaClassBase *anObject)
{
    return ivars->order != nullptr ? ivars->order(anObject, nullptr) : 0;
}

OSObject *OSOrderedSet::getFirstObject() const { return getObject(0); }

OSObject *OSOrderedSet::getLastObject() const { return OSArray::getLastObject(); }
