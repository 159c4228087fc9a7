// SPDX-License-Identifier: MIT OR Apache-2.0
// OSSerialization: containers as bytes. The format is our own; it only has to be read by the same runtime. One tag byte
// per object; numbers and lengths are little endian, 8 bytes.

#include "runtime.h"

#include <DriverKit/OSArray.h>
#include <DriverKit/OSBoolean.h>
#include <DriverKit/OSData.h>
#include <DriverKit/OSDictionary.h>
#include <DriverKit/OSNumber.h>
#include <DriverKit/OSSerialization.h>
#include <DriverKit/OSString.h>

#include <cstring>
#include <string>
#include <vector>

struct OSSerialization_IVars {
    std::vector<uint8_t> bytes;          // own
    const uint8_t *data = nullptr;       // own or the caller's
    size_t length = 0;
    OSSerializationFreeBufferHandler free_buffer = nullptr;
};

namespace {

constexpr unsigned kDeepest = 64;
constexpr uint8_t kMagic[4] = {'D', 'K', 'S', '1'};

enum class Tag : uint8_t { kFalse, kTrue, kNumber, kString, kData, kArray, kDictionary };

struct Writer {
    std::vector<uint8_t> &out;

    void tag(Tag value) { out.push_back(static_cast<uint8_t>(value)); }
    void word(uint64_t value)
    {
        for (unsigned i = 0; i < 8; ++i) {
            out.push_back(static_cast<uint8_t>(value >> (8 * i)));
        }
    }
    void bytes(const void *data, size_t length)
    {
        word(length);
        const auto *from = static_cast<const uint8_t *>(data);
        out.insert(out.end(), from, from + length);
    }

    bool object(const OSObject *value, unsigned depth)
    {
        if (depth > kDeepest) {
            return false;
        }
        if (OSDynamicCast(OSBoolean, value) != nullptr) {
            tag(value == kOSBooleanTrue ? Tag::kTrue : Tag::kFalse);
            return true;
        }
        if (const auto *number = OSDynamicCast(OSNumber, value)) {
            tag(Tag::kNumber);
            word(number->numberOfBits());
            word(number->unsigned64BitValue());
            return true;
        }
        if (const auto *string = OSDynamicCast(OSString, value)) {
            tag(Tag::kString);
            bytes(string->getCStringNoCopy(), string->getLength());
            return true;
        }
        if (const auto *data = OSDynamicCast(OSData, value)) {
            tag(Tag::kData);
            bytes(data->getBytesNoCopy(), data->getLength());
            return true;
        }
        if (const auto *array = OSDynamicCast(OSArray, value)) {
            tag(Tag::kArray);
            word(array->getCount());
            return array->iterateObjects(^bool(OSObject *member) {
              return object(member, depth + 1);
            });
        }
        if (const auto *dictionary = OSDynamicCast(OSDictionary, value)) {
            tag(Tag::kDictionary);
            word(dictionary->getCount());
            return dictionary->iterateObjects(^bool(OSObject *key, OSObject *member) {
              return object(key, depth + 1) && object(member, depth + 1);
            });
        }
        return false;
    }
};

struct Reader {
    const uint8_t *at;
    size_t left;

    bool word(uint64_t *value)
    {
        if (left < 8) {
            return false;
        }
        *value = 0;
        for (unsigned i = 0; i < 8; ++i) {
            *value |= static_cast<uint64_t>(at[i]) << (8 * i);
        }
        at += 8;
        left -= 8;
        return true;
    }
    const void *bytes(uint64_t *length)
    {
        if (!word(length) || *length > left) {
            return nullptr;
        }
        const void *start = at;
        at += *length;
        left -= *length;
        return start;
    }

    OSObject *object(unsigned depth)
    {
        if (left == 0 || depth > kDeepest) {
            return nullptr;
        }
        const Tag tag = static_cast<Tag>(*at);
        ++at;
        --left;
        uint64_t length = 0;
        uint64_t value = 0;
        switch (tag) {
        case Tag::kFalse:
            return kOSBooleanFalse;
        case Tag::kTrue:
            return kOSBooleanTrue;
        case Tag::kNumber:
            return word(&length) && word(&value) ? OSNumber::withNumber(value, length) : nullptr;
        case Tag::kString: {
            const void *text = bytes(&length);
            return text != nullptr ? OSString::withCString(static_cast<const char *>(text), length) : nullptr;
        }
        case Tag::kData: {
            const void *data = bytes(&length);
            return data != nullptr ? OSData::withBytes(data, length) : nullptr;
        }
        case Tag::kArray:
            return array(depth);
        case Tag::kDictionary:
            return dictionary(depth);
        default:
            return nullptr;
        }
    }

    OSObject *array(unsigned depth)
    {
        uint64_t count = 0;
        // Every member takes a byte at least: a count that cannot be true is not believed.
        if (!word(&count) || count > left) {
            return nullptr;
        }
        OSArray *made = OSArray::withCapacity(0);
        for (uint64_t i = 0; made != nullptr && i < count; ++i) {
            OSObject *member = object(depth + 1);
            if (member == nullptr || !made->setObject(member)) {
                OSSafeReleaseNULL(made);
            }
            OSSafeReleaseNULL(member);
        }
        return made;
    }

    OSObject *dictionary(unsigned depth)
    {
        uint64_t count = 0;
        if (!word(&count) || count > left) {
            return nullptr;
        }
        OSDictionary *made = OSDictionary::withCapacity(0);
        for (uint64_t i = 0; made != nullptr && i < count; ++i) {
            OSObject *key = object(depth + 1);
            OSObject *member = key != nullptr ? object(depth + 1) : nullptr;
            if (member == nullptr || !made->setObject(key, member)) {
                OSSafeReleaseNULL(made);
            }
            OSSafeReleaseNULL(key);
            OSSafeReleaseNULL(member);
        }
        return made;
    }
};

} // namespace

OSSerializationPtr OSSerialization::createFromObject(const OSObjectPtr object)
{
    if (object == nullptr || dk::fault("OSSerialization::createFromObject") != kIOReturnSuccess) {
        return nullptr;
    }
    auto *made = dk::make<OSSerialization, OSSerialization_IVars>(OSTypeID(OSSerialization));
    if (made == nullptr) {
        return nullptr;
    }
    OSSerialization_IVars *state = made->ivars;
    state->bytes.assign(std::begin(kMagic), std::end(kMagic));
    if (!Writer{state->bytes}.object(object, 0)) {
        made->release();
        return nullptr;
    }
    state->data = state->bytes.data();
    state->length = state->bytes.size();
    return made;
}

OSSerializationPtr OSSerialization::createFromBytes(const void *bytes, size_t length,
                                                    OSSerializationFreeBufferHandler freeBuffer)
{
    if (bytes == nullptr || dk::fault("OSSerialization::createFromBytes") != kIOReturnSuccess) {
        return nullptr;
    }
    auto *made = dk::make<OSSerialization, OSSerialization_IVars>(OSTypeID(OSSerialization));
    if (made != nullptr) {
        made->ivars->data = static_cast<const uint8_t *>(bytes);
        made->ivars->length = length;
        if (freeBuffer != nullptr) {
            made->ivars->free_buffer = Block_copy(freeBuffer);
        }
    }
    return made;
}

void OSSerialization::free()
{
    if (ivars != nullptr && ivars->free_buffer != nullptr) {
        ivars->free_buffer(ivars->data, ivars->length);
        Block_release(ivars->free_buffer);
    }
    dk::drop(ivars);
    OSContainer::free();
}

OSObjectPtr OSSerialization::copyObject()
{
    if (dk::fault("OSSerialization::copyObject") != kIOReturnSuccess || ivars->length < sizeof kMagic ||
        std::memcmp(ivars->data, kMagic, sizeof kMagic) != 0) {
        return nullptr;
    }
    Reader reader{ivars->data + sizeof kMagic, ivars->length - sizeof kMagic};
    OSObject *object = reader.object(0);
    if (reader.left != 0) {
        OSSafeReleaseNULL(object);
    }
    return object;
}

const void *OSSerialization::finalizeBuffer(size_t *length)
{
    if (length != nullptr) {
        *length = ivars->length;
    }
    return ivars->data;
}
