// SPDX-License-Identifier: MIT OR Apache-2.0
// OSString, OSData, OSNumber, OSBoolean: values that hold no other object.

#include "runtime.h"

#include <DriverKit/OSBoolean.h>
#include <DriverKit/OSData.h>
#include <DriverKit/OSNumber.h>
#include <DriverKit/OSString.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

// ---- OSString ------------------------------------------------------------------------------------------------

struct OSString_IVars {
    char *owned;       // null for withCStringNoCopy
    const char *text;  // NUL-terminated
    size_t length;     // bytes without the NUL
};

static OSString *string_make(const char *method, const char *text, size_t length, bool copy)
{
    if (text == nullptr || dk::fault(method) != kIOReturnSuccess) {
        return nullptr;
    }
    auto *string = dk::make<OSString, OSString_IVars>(OSTypeID(OSString));
    if (string == nullptr) {
        return nullptr;
    }
    if (copy) {
        char *owned = static_cast<char *>(std::malloc(length + 1));
        if (owned == nullptr) {
            string->release();
            return nullptr;
        }
        std::memcpy(owned, text, length);
        owned[length] = '\0';
        string->ivars->owned = owned;
        text = owned;
    }
    string->ivars->text = text;
    string->ivars->length = length;
    return string;
}

OSStringPtr OSString::withCString(const char *cString)
{
    return string_make("OSString::withCString", cString, cString != nullptr ? std::strlen(cString) : 0, true);
}

OSStringPtr OSString::withCString(const char *cString, size_t length)
{
    return string_make("OSString::withCString", cString, cString != nullptr ? strnlen(cString, length) : 0, true);
}

OSStringPtr OSString::withCStringNoCopy(const char *cString)
{
    return string_make("OSString::withCStringNoCopy", cString, cString != nullptr ? std::strlen(cString) : 0, false);
}

OSStringPtr OSString::withString(const OSString *aString)
{
    if (aString == nullptr) {
        return nullptr;
    }
    return string_make("OSString::withString", aString->ivars->text, aString->ivars->length, true);
}

void OSString::free()
{
    if (ivars != nullptr) {
        std::free(ivars->owned);
    }
    dk::drop(ivars);
    OSContainer::free();
}

size_t OSString::getLength() const { return ivars->length; }

const char *OSString::getCStringNoCopy() const { return ivars->text; }

bool OSString::isEqualTo(const OSString *aString) const
{
    return aString != nullptr && aString->ivars->length == ivars->length &&
           std::memcmp(aString->ivars->text, ivars->text, ivars->length) == 0;
}

bool OSString::isEqualTo(const char *cString) const
{
    return cString != nullptr && std::strcmp(cString, ivars->text) == 0;
}

bool OSString::isEqualTo(const OSData *aDataObject) const
{
    return aDataObject != nullptr && aDataObject->isEqualTo(this);
}

bool OSString::isEqualTo(const OSMetaClassBase *anObject) const
{
    if (const auto *string = OSDynamicCast(OSString, anObject)) {
        return isEqualTo(string);
    }
    if (const auto *data = OSDynamicCast(OSData, anObject)) {
        return isEqualTo(data);
    }
    return false;
}

// ---- OSData --------------------------------------------------------------------------------------------------

struct OSData_IVars {
    uint8_t *owned;      // null for withBytesNoCopy
    uint8_t *bytes;      // the data, owned or not
    size_t length;
    size_t capacity;
};

static OSData *data_make(const char *method, const void *bytes, size_t length, size_t capacity)
{
    if ((bytes == nullptr && length != 0) || dk::fault(method) != kIOReturnSuccess) {
        return nullptr;
    }
    auto *data = dk::make<OSData, OSData_IVars>(OSTypeID(OSData));
    if (data == nullptr) {
        return nullptr;
    }
    capacity = std::max(capacity, length);
    if (capacity != 0) {
        data->ivars->owned = static_cast<uint8_t *>(std::calloc(1, capacity));
        if (data->ivars->owned == nullptr) {
            data->release();
            return nullptr;
        }
        if (length != 0) {
            std::memcpy(data->ivars->owned, bytes, length);
        }
    }
    data->ivars->bytes = data->ivars->owned;
    data->ivars->length = length;
    data->ivars->capacity = capacity;
    return data;
}

OSDataPtr OSData::withCapacity(uint32_t capacity) { return data_make("OSData::withCapacity", nullptr, 0, capacity); }

OSDataPtr OSData::withBytes(const void *bytes, size_t numBytes)
{
    return data_make("OSData::withBytes", bytes, numBytes, numBytes);
}

OSDataPtr OSData::withBytesNoCopy(void *bytes, size_t numBytes)
{
    if (bytes == nullptr) {
        return nullptr;
    }
    OSData *data = data_make("OSData::withBytesNoCopy", nullptr, 0, 0);
    if (data != nullptr) {
        data->ivars->bytes = static_cast<uint8_t *>(bytes);
        data->ivars->length = numBytes;
        data->ivars->capacity = numBytes;
    }
    return data;
}

OSDataPtr OSData::withData(const OSData *inData)
{
    if (inData == nullptr) {
        return nullptr;
    }
    return data_make("OSData::withData", inData->ivars->bytes, inData->ivars->length, inData->ivars->length);
}

OSDataPtr OSData::withData(const OSData *inData, size_t start, size_t numBytes)
{
    if (inData == nullptr || start > inData->ivars->length || numBytes > inData->ivars->length - start) {
        return nullptr;
    }
    return data_make("OSData::withData", inData->ivars->bytes + start, numBytes, numBytes);
}

void OSData::free()
{
    if (ivars != nullptr) {
        std::free(ivars->owned);
    }
    dk::drop(ivars);
    OSContainer::free();
}

size_t OSData::getLength() const { return ivars->length; }

size_t OSData::getCapacity() const { return ivars->capacity; }

bool OSData::appendBytes(const void *bytes, size_t numBytes)
{
    if (numBytes == 0) {
        return true;
    }
    size_t wanted = 0;
    // Memory that is not ours cannot grow.
    if (ivars->bytes != ivars->owned || __builtin_add_overflow(ivars->length, numBytes, &wanted)) {
        return false;
    }
    if (wanted > ivars->capacity) {
        const size_t capacity = std::max(wanted, ivars->capacity * 2);
        auto *grown = static_cast<uint8_t *>(std::realloc(ivars->owned, capacity));
        if (grown == nullptr) {
            return false;
        }
        ivars->owned = ivars->bytes = grown;
        ivars->capacity = capacity;
    }
    if (bytes != nullptr) {
        std::memcpy(ivars->bytes + ivars->length, bytes, numBytes);
    } else {
        std::memset(ivars->bytes + ivars->length, 0, numBytes);
    }
    ivars->length = wanted;
    return true;
}

bool OSData::appendBytes(const OSData *aDataObj)
{
    if (aDataObj == nullptr) {
        return false;
    }
    if (aDataObj == this) {
        OSData *copy = withData(aDataObj);
        const bool done = copy != nullptr && appendBytes(copy->ivars->bytes, copy->ivars->length);
        OSSafeReleaseNULL(copy);
        return done;
    }
    return appendBytes(aDataObj->ivars->bytes, aDataObj->ivars->length);
}

const void *OSData::getBytesNoCopy() const { return ivars->length != 0 ? ivars->bytes : nullptr; }

const void *OSData::getBytesNoCopy(size_t start, size_t numBytes) const
{
    if (ivars->length == 0 || start >= ivars->length || numBytes > ivars->length - start) {
        return nullptr;
    }
    return ivars->bytes + start;
}

bool OSData::isEqualTo(const OSData *aDataObj) const
{
    return aDataObj != nullptr && isEqualTo(aDataObj->ivars->bytes, aDataObj->ivars->length);
}

bool OSData::isEqualTo(const OSString *aString) const
{
    if (aString == nullptr) {
        return false;
    }
    // A C string stored as data may or may not carry its NUL.
    const size_t length = aString->getLength();
    if (ivars->length == length + 1 && ivars->bytes[length] == '\0') {
        return std::memcmp(ivars->bytes, aString->getCStringNoCopy(), length) == 0;
    }
    return isEqualTo(aString->getCStringNoCopy(), length);
}

bool OSData::isEqualTo(const void *bytes, size_t numBytes) const
{
    return numBytes == ivars->length && (numBytes == 0 || std::memcmp(bytes, ivars->bytes, numBytes) == 0);
}

bool OSData::isEqualTo(const OSMetaClassBase *anObject) const
{
    if (const auto *data = OSDynamicCast(OSData, anObject)) {
        return isEqualTo(data);
    }
    if (const auto *string = OSDynamicCast(OSString, anObject)) {
        return isEqualTo(string);
    }
    return false;
}

// ---- OSNumber ------------------------------------------------------------------------------------------------

struct OSNumber_IVars {
    uint64_t value;
    size_t bits;
};

static uint64_t number_mask(size_t bits) { return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

static OSNumber *number_make(uint64_t value, size_t bits)
{
    if (bits == 0 || bits > 64 || dk::fault("OSNumber::withNumber") != kIOReturnSuccess) {
        return nullptr;
    }
    auto *number = dk::make<OSNumber, OSNumber_IVars>(OSTypeID(OSNumber));
    if (number != nullptr) {
        number->ivars->value = value & number_mask(bits);
        number->ivars->bits = bits;
    }
    return number;
}

OSNumberPtr OSNumber::withNumber(uint64_t value, size_t numberOfBits) { return number_make(value, numberOfBits); }

OSNumberPtr OSNumber::withNumber(const char *valueString, size_t numberOfBits)
{
    if (valueString == nullptr) {
        return nullptr;
    }
    return number_make(std::strtoull(valueString, nullptr, 0), numberOfBits);
}

void OSNumber::free()
{
    dk::drop(ivars);
    OSContainer::free();
}

size_t OSNumber::numberOfBits() const { return ivars->bits; }

uint8_t OSNumber::unsigned8BitValue() const { return static_cast<uint8_t>(ivars->value); }

uint16_t OSNumber::unsigned16BitValue() const { return static_cast<uint16_t>(ivars->value); }

uint32_t OSNumber::unsigned32BitValue() const { return static_cast<uint32_t>(ivars->value); }

uint64_t OSNumber::unsigned64BitValue() const { return ivars->value; }

bool OSNumber::isEqualTo(const OSNumber *aNumber) const
{
    return aNumber != nullptr && aNumber->ivars->value == ivars->value;
}

bool OSNumber::isEqualTo(const OSMetaClassBase *anObject) const { return isEqualTo(OSDynamicCast(OSNumber, anObject)); }

// ---- OSBoolean -----------------------------------------------------------------------------------------------

// The two values live as long as the process: retain and release do nothing.

OSBooleanPtr kOSBooleanTrue;
OSBooleanPtr kOSBooleanFalse;

// After the classes' own constructors (DriverKit/OSMetaClass.h), before anything that may use the values.
__attribute__((constructor(1001))) static void make_booleans(void)
{
    kOSBooleanTrue = OSTypeAlloc(OSBoolean);
    kOSBooleanFalse = OSTypeAlloc(OSBoolean);
}

void OSBoolean::free() {}

void OSBoolean::retain() const {}

void OSBoolean::release() const {}
