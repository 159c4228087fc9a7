/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * All containers, and their C names. DriverKit 19.
 */
#ifndef WEIR_DRIVERKIT_OSCOLLECTIONS_H
#define WEIR_DRIVERKIT_OSCOLLECTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <DriverKit/OSObject.h>
#include <DriverKit/OSArray.h>
#include <DriverKit/OSBoolean.h>
#include <DriverKit/OSCollection.h>
#include <DriverKit/OSContainer.h>
#include <DriverKit/OSData.h>
#include <DriverKit/OSDictionary.h>
#include <DriverKit/OSNumber.h>
#include <DriverKit/OSOrderedSet.h>
#include <DriverKit/OSSerialization.h>
#include <DriverKit/OSSet.h>
#include <DriverKit/OSString.h>

typedef bool (^OSArrayApplier)(OSObjectPtr value);
typedef bool (^OSDictionaryApplier)(const char * key, OSObjectPtr value);

static inline void
OSObjectRetain(OSObjectPtr object)
{
    if (object) object->retain();
}

static inline void
OSObjectRelease(OSObjectPtr object)
{
    if (object) object->release();
}

#define OSObjectSafeReleaseNULL(ptr) \
    do { if (ptr) { OSObjectRelease(ptr); (ptr) = NULL; } } while (0)

static inline OSStringPtr
OSStringCreate(const char * cstring, size_t length)
{
    return OSString::withCString(cstring, length);
}

static inline const char *
OSStringGetStringPtr(OSStringPtr string)
{
    return string ? string->getCStringNoCopy() : NULL;
}

static inline size_t
OSStringGetLength(OSStringPtr string)
{
    return string ? string->getLength() : 0;
}

static inline OSNumberPtr
OSNumberCreateWithUInt64Value(uint64_t value)
{
    return OSNumber::withNumber(value, 64);
}

static inline uint64_t
OSNumberGetUInt64Value(OSNumberPtr number)
{
    return number ? number->unsigned64BitValue() : 0;
}

static inline OSDataPtr
OSDataCreate(const void * bytes, size_t length)
{
    return OSData::withBytes(bytes, length);
}

static inline size_t
OSDataGetLength(OSDataPtr data)
{
    return data ? data->getLength() : 0;
}

static inline const void *
OSDataGetBytesPtr(OSDataPtr data, size_t offset, size_t length)
{
    return data ? data->getBytesNoCopy(offset, length) : NULL;
}

static inline bool
OSDataAppendBytes(OSDataPtr data, const void * bytes, size_t length)
{
    return data && data->appendBytes(bytes, length);
}

static inline OSArrayPtr
OSArrayCreate(void)
{
    return OSArray::withCapacity(0);
}

static inline uint32_t
OSArrayGetCount(OSArrayPtr array)
{
    return array ? array->getCount() : 0;
}

static inline OSObjectPtr
OSArrayGetValue(OSArrayPtr array, size_t index)
{
    return array ? array->getObject((uint32_t) index) : NULL;
}

static inline bool
OSArrayAppendValue(OSArrayPtr array, OSObjectPtr value)
{
    return array && array->setObject(value);
}

static inline bool
OSArraySetValue(OSArrayPtr array, size_t index, OSObjectPtr value)
{
    return array && array->setObject((uint32_t) index, value);
}

static inline bool
OSArrayApply(OSArrayPtr array, OSArrayApplier applier)
{
    return array && array->iterateObjects(applier);
}

static inline OSDictionaryPtr
OSDictionaryCreate(void)
{
    return OSDictionary::withCapacity(0);
}

static inline uint32_t
OSDictionaryGetCount(OSDictionaryPtr dictionary)
{
    return dictionary ? dictionary->getCount() : 0;
}

static inline OSObjectPtr
OSDictionaryGetValue(OSDictionaryPtr dictionary, const char * key)
{
    return dictionary ? dictionary->getObject(key) : NULL;
}

static inline const char *
OSDictionaryGetStringValue(OSDictionaryPtr dictionary, const char * key)
{
    OSString * string = OSDynamicCast(OSString, OSDictionaryGetValue(dictionary, key));
    return string ? string->getCStringNoCopy() : NULL;
}

static inline uint64_t
OSDictionaryGetUInt64Value(OSDictionaryPtr dictionary, const char * key)
{
    OSNumber * number = OSDynamicCast(OSNumber, OSDictionaryGetValue(dictionary, key));
    return number ? number->unsigned64BitValue() : 0;
}

static inline bool
OSDictionarySetValue(OSDictionaryPtr dictionary, const char * key, OSObjectPtr value)
{
    return dictionary && dictionary->setObject(key, value);
}

static inline void
OSDictionarySetStringValue(OSDictionaryPtr dictionary, const char * key, const char * value)
{
    OSString * string = OSString::withCString(value);
    if (!string) return;
    OSDictionarySetValue(dictionary, key, string);
    string->release();
}

static inline void
OSDictionarySetUInt64Value(OSDictionaryPtr dictionary, const char * key, uint64_t value)
{
    OSNumber * number = OSNumber::withNumber(value, 64);
    if (!number) return;
    OSDictionarySetValue(dictionary, key, number);
    number->release();
}

#endif /* WEIR_DRIVERKIT_OSCOLLECTIONS_H */
