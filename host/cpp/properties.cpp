// SPDX-License-Identifier: MIT OR Apache-2.0

#include "properties.h"

#include <DriverKit/OSArray.h>
#include <DriverKit/OSBoolean.h>
#include <DriverKit/OSData.h>
#include <DriverKit/OSNumber.h>
#include <DriverKit/OSSet.h>
#include <DriverKit/OSString.h>

#include <string>

namespace {

// A dictionary that contains itself must not take the stack down.
constexpr unsigned kDeepest = 64;

dk_prop *tree_of(const OSMetaClassBase *object, unsigned depth)
{
    if (object == nullptr || depth > kDeepest) {
        return nullptr;
    }
    if (const auto *string = OSDynamicCast(OSString, object)) {
        return dk_prop_string(string->getCStringNoCopy(), string->getLength());
    }
    if (const auto *number = OSDynamicCast(OSNumber, object)) {
        return dk_prop_number(number->unsigned64BitValue(), static_cast<uint32_t>(number->numberOfBits()));
    }
    if (OSDynamicCast(OSBoolean, object) != nullptr) {
        return dk_prop_bool(object == static_cast<const OSMetaClassBase *>(kOSBooleanTrue));
    }
    if (const auto *data = OSDynamicCast(OSData, object)) {
        return dk_prop_data(data->getBytesNoCopy(), data->getLength());
    }
    if (const auto *dictionary = OSDynamicCast(OSDictionary, object)) {
        dk_prop *tree = dk_prop_dict();
        dictionary->iterateObjects(^bool(OSObject *key, OSObject *value) {
          const auto *name = OSDynamicCast(OSString, key);
          dk_prop *child = name != nullptr ? tree_of(value, depth + 1) : nullptr;
          if (child != nullptr) {
              dk_prop_set(tree, name->getCStringNoCopy(), name->getLength(), child);
          }
          return true;
        });
        return tree;
    }
    if (const auto *collection = OSDynamicCast(OSCollection, object)) {
        dk_prop *tree = dk_prop_array();
        collection->iterateObjects(^bool(OSObject *member) {
          dk_prop *child = tree_of(member, depth + 1);
          if (child != nullptr) {
              dk_prop_append(tree, child);
          }
          return true;
        });
        return tree;
    }
    return nullptr;
}

OSContainer *array_of(const dk_prop *prop)
{
    const size_t count = dk_prop_count(prop);
    OSArray *array = OSArray::withCapacity(static_cast<uint32_t>(count));
    for (size_t i = 0; array != nullptr && i < count; ++i) {
        OSContainer *member = dk::from_prop(dk_prop_at(prop, i, nullptr, nullptr));
        if (member == nullptr || !array->setObject(member)) {
            OSSafeReleaseNULL(array);
        }
        OSSafeReleaseNULL(member);
    }
    return array;
}

OSContainer *dictionary_of(const dk_prop *prop)
{
    const size_t count = dk_prop_count(prop);
    OSDictionary *dictionary = OSDictionary::withCapacity(static_cast<uint32_t>(count));
    for (size_t i = 0; dictionary != nullptr && i < count; ++i) {
        const char *key = nullptr;
        size_t length = 0;
        const dk_prop *child = dk_prop_at(prop, i, &key, &length);
        OSContainer *member = dk::from_prop(child);
        const std::string name(key, length);
        if (member == nullptr || !dictionary->setObject(name.c_str(), member)) {
            OSSafeReleaseNULL(dictionary);
        }
        OSSafeReleaseNULL(member);
    }
    return dictionary;
}

} // namespace

dk_prop *dk::to_prop(const OSMetaClassBase *object) { return tree_of(object, 0); }

OSContainer *dk::from_prop(const dk_prop *prop)
{
    if (prop == nullptr) {
        return nullptr;
    }
    uint32_t bits = 0;
    size_t length = 0;
    switch (dk_prop_type(prop)) {
    case DK_PROP_BOOL: {
        OSBoolean *value = dk_prop_value(prop, &bits) != 0 ? kOSBooleanTrue : kOSBooleanFalse;
        value->retain();
        return value;
    }
    case DK_PROP_NUMBER: {
        const uint64_t value = dk_prop_value(prop, &bits);
        return OSNumber::withNumber(value, bits);
    }
    case DK_PROP_STRING: {
        const auto *text = static_cast<const char *>(dk_prop_bytes(prop, &length));
        return OSString::withCString(length != 0 ? text : "", length);
    }
    case DK_PROP_DATA: {
        const void *bytes = dk_prop_bytes(prop, &length);
        return OSData::withBytes(bytes, length);
    }
    case DK_PROP_ARRAY:
        return array_of(prop);
    case DK_PROP_DICT:
        return dictionary_of(prop);
    default:
        return nullptr;
    }
}

OSDictionary *dk::take_dictionary(dk_prop *prop)
{
    OSContainer *object = from_prop(prop);
    dk_prop_free(prop);
    OSDictionary *dictionary = OSDynamicCast(OSDictionary, object);
    if (dictionary == nullptr) {
        OSSafeReleaseNULL(object);
    }
    return dictionary;
}
