// SPDX-License-Identifier: MIT OR Apache-2.0
// OSCollection, OSArray, OSDictionary. Members are retained. Iteration is in order of insertion,
// so that a run with the same seed visits members in the same order.

#include "collections.h"

#include <DriverKit/OSArray.h>
#include <DriverKit/OSDictionary.h>
#include <DriverKit/OSString.h>

#include <cstring>
#include <vector>

namespace {

OSObject *object_of(const OSMetaClassBase *object)
{
    return static_cast<OSObject *>(const_cast<OSMetaClassBase *>(object));
}

void release_all(std::vector<OSObject *> &members)
{
    // A member's free() may look at the collection: it is empty by then.
    std::vector<OSObject *> old;
    old.swap(members);
    for (OSObject *member : old) {
        member->release();
    }
}

bool iterate(const std::vector<OSObject *> &members, OSCollectionIterateObjectsBlock block)
{
    for (size_t i = 0; i < members.size(); ++i) {
        if (!block(members[i])) {
            return false;
        }
    }
    return true;
}

template <typename T, typename IVars> T *collection_make(OSMetaClass *meta, const char *method, uint32_t capacity)
{
    if (dk::fault(method) != kIOReturnSuccess) {
        return nullptr;
    }
    T *collection = dk::make<T, IVars>(meta);
    if (collection != nullptr) {
        collection->ensureCapacity(capacity);
    }
    return collection;
}

} // namespace

// ---- OSCollection ----------------------------------------------------------------------------------------------

void OSContainer::free() { OSObject::free(); }

void OSCollection::free() { OSContainer::free(); }

uint32_t OSCollection::getCount() const { return 0; }

uint32_t OSCollection::getCapacity() const { return 0; }

uint32_t OSCollection::ensureCapacity(uint32_t) { return 0; }

void OSCollection::flushCollection() {}

bool OSCollection::iterateObjects(OSCollectionIterateObjectsBlock) const { return true; }

// ---- OSArray -----------------------------------------------------------------------------------------------------

OSArrayPtr OSArray::withCapacity(uint32_t capacity)
{
    return collection_make<OSArray, OSArray_IVars>(OSTypeID(OSArray), "OSArray::withCapacity", capacity);
}

OSArrayPtr OSArray::withObjects(const OSObject **values, uint32_t count, uint32_t capacity)
{
    auto *array = collection_make<OSArray, OSArray_IVars>(OSTypeID(OSArray), "OSArray::withObjects", capacity > count ? capacity : count);
    for (uint32_t i = 0; array != nullptr && i < count; ++i) {
        if (!array->setObject(values[i])) {
            OSSafeReleaseNULL(array);
        }
    }
    return array;
}

OSArrayPtr OSArray::withArray(const OSArray *array, uint32_t capacity)
{
    if (array == nullptr) {
        return nullptr;
    }
    auto *copy = collection_make<OSArray, OSArray_IVars>(OSTypeID(OSArray), "OSArray::withArray", capacity);
    if (copy != nullptr && !copy->merge(array)) {
        OSSafeReleaseNULL(copy);
    }
    return copy;
}

void OSArray::free()
{
    if (ivars != nullptr) {
        release_all(ivars->members);
    }
    dk::drop(ivars);
    OSCollection::free();
}

uint32_t OSArray::getCount() const { return static_cast<uint32_t>(ivars->members.size()); }

uint32_t OSArray::getCapacity() const { return static_cast<uint32_t>(ivars->members.capacity()); }

uint32_t OSArray::ensureCapacity(uint32_t newCapacity)
{
    ivars->members.reserve(newCapacity);
    return getCapacity();
}

void OSArray::flushCollection() { release_all(ivars->members); }

bool OSArray::setObject(const OSMetaClassBase *anObject) { return setObject(getCount(), anObject); }

bool OSArray::setObject(uint32_t index, const OSMetaClassBase *anObject)
{
    if (anObject == nullptr || index > ivars->members.size()) {
        return false;
    }
    anObject->retain();
    ivars->members.insert(ivars->members.begin() + index, object_of(anObject));
    return true;
}

bool OSArray::merge(const OSArray *otherArray)
{
    if (otherArray == nullptr) {
        return false;
    }
    const size_t count = otherArray->ivars->members.size();
    for (size_t i = 0; i < count; ++i) {
        setObject(otherArray->ivars->members[i]);
    }
    return true;
}

bool OSArray::replaceObject(uint32_t index, const OSMetaClassBase *anObject)
{
    if (anObject == nullptr || index >= ivars->members.size()) {
        return false;
    }
    anObject->retain();
    OSObject *old = ivars->members[index];
    ivars->members[index] = object_of(anObject);
    old->release();
    return true;
}

void OSArray::removeObject(uint32_t index)
{
    if (index < ivars->members.size()) {
        OSObject *old = ivars->members[index];
        ivars->members.erase(ivars->members.begin() + index);
        old->release();
    }
}

OSObject *OSArray::getObject(uint32_t index) const
{
    return index < ivars->members.size() ? ivars->members[index] : nullptr;
}

OSObject *OSArray::getLastObject() const { return ivars->members.empty() ? nullptr : ivars->members.back(); }

uint32_t OSArray::getNextIndexOfObject(const OSMetaClassBase *anObject, uint32_t index) const
{
    for (size_t i = index; i < ivars->members.size(); ++i) {
        if (ivars->members[i] == object_of(anObject)) {
            return static_cast<uint32_t>(i);
        }
    }
    return ~uint32_t{0};
}

bool OSArray::iterateObjects(OSCollectionIterateObjectsBlock block) const { return iterate(ivars->members, block); }

bool OSArray::isEqualTo(const OSArray *anArray) const
{
    if (anArray == this) {
        return true;
    }
    if (anArray == nullptr || anArray->getCount() != getCount()) {
        return false;
    }
    for (uint32_t i = 0; i < getCount(); ++i) {
        if (!ivars->members[i]->isEqualTo(anArray->ivars->members[i])) {
            return false;
        }
    }
    return true;
}

bool OSArray::isEqualTo(const OSMetaClassBase *anObject) const { return isEqualTo(OSDynamicCast(OSArray, anObject)); }

// ---- OSDictionary ------------------------------------------------------------------------------------------------

struct OSDictionary_IVars {
    struct Entry {
        OSObject *key;
        OSObject *value;
    };
    std::vector<Entry> entries;

    size_t find(const OSObject *key) const
    {
        size_t i = 0;
        while (i < entries.size() && entries[i].key != key && !entries[i].key->isEqualTo(key)) {
            ++i;
        }
        return i;
    }
    size_t find(const char *key) const
    {
        size_t i = 0;
        while (i < entries.size()) {
            const auto *string = OSDynamicCast(OSString, entries[i].key);
            if (string != nullptr && string->isEqualTo(key)) {
                break;
            }
            ++i;
        }
        return i;
    }
    void erase(size_t at)
    {
        if (at < entries.size()) {
            const Entry old = entries[at];
            entries.erase(entries.begin() + static_cast<ptrdiff_t>(at));
            old.key->release();
            old.value->release();
        }
    }
    void clear()
    {
        std::vector<Entry> old;
        old.swap(entries);
        for (const Entry &entry : old) {
            entry.key->release();
            entry.value->release();
        }
    }
};

OSDictionaryPtr OSDictionary::withCapacity(uint32_t capacity)
{
    return collection_make<OSDictionary, OSDictionary_IVars>(OSTypeID(OSDictionary), "OSDictionary::withCapacity", capacity);
}

OSDictionaryPtr OSDictionary::withObjects(const OSObject **values, const OSObject **keys, uint32_t count,
                                          uint32_t capacity)
{
    auto *dictionary = collection_make<OSDictionary, OSDictionary_IVars>(OSTypeID(OSDictionary), "OSDictionary::withObjects",
                                                                        capacity > count ? capacity : count);
    for (uint32_t i = 0; dictionary != nullptr && i < count; ++i) {
        if (!dictionary->setObject(keys[i], values[i])) {
            OSSafeReleaseNULL(dictionary);
        }
    }
    return dictionary;
}

OSDictionaryPtr OSDictionary::withDictionary(const OSDictionary *dictionary, uint32_t capacity)
{
    if (dictionary == nullptr) {
        return nullptr;
    }
    auto *copy = collection_make<OSDictionary, OSDictionary_IVars>(OSTypeID(OSDictionary), "OSDictionary::withDictionary", capacity);
    if (copy != nullptr && !copy->merge(dictionary)) {
        OSSafeReleaseNULL(copy);
    }
    return copy;
}

void OSDictionary::free()
{
    if (ivars != nullptr) {
        ivars->clear();
    }
    dk::drop(ivars);
    OSCollection::free();
}

uint32_t OSDictionary::getCount() const { return static_cast<uint32_t>(ivars->entries.size()); }

uint32_t OSDictionary::getCapacity() const { return static_cast<uint32_t>(ivars->entries.capacity()); }

uint32_t OSDictionary::ensureCapacity(uint32_t newCapacity)
{
    ivars->entries.reserve(newCapacity);
    return getCapacity();
}

void OSDictionary::flushCollection() { ivars->clear(); }

bool OSDictionary::setObject(const OSObject *aKey, const OSMetaClassBase *anObject)
{
    if (aKey == nullptr || anObject == nullptr) {
        return false;
    }
    anObject->retain();
    const size_t at = ivars->find(aKey);
    if (at < ivars->entries.size()) {
        OSObject *old = ivars->entries[at].value;
        ivars->entries[at].value = object_of(anObject);
        old->release();
        return true;
    }
    aKey->retain();
    ivars->entries.push_back({const_cast<OSObject *>(aKey), object_of(anObject)});
    return true;
}

bool OSDictionary::setObject(const char *aKey, const OSMetaClassBase *anObject)
{
    OSString *key = OSString::withCString(aKey);
    const bool done = key != nullptr && setObject(key, anObject);
    OSSafeReleaseNULL(key);
    return done;
}

void OSDictionary::removeObject(const OSObject *aKey) { ivars->erase(ivars->find(aKey)); }

void OSDictionary::removeObject(const char *aKey) { ivars->erase(ivars->find(aKey)); }

bool OSDictionary::merge(const OSDictionary *otherDictionary)
{
    if (otherDictionary == nullptr) {
        return false;
    }
    if (otherDictionary == this) {
        return true;
    }
    for (const auto &entry : otherDictionary->ivars->entries) {
        setObject(entry.key, entry.value);
    }
    return true;
}

OSObject *OSDictionary::getObject(const OSObject *aKey) const
{
    const size_t at = aKey != nullptr ? ivars->find(aKey) : ivars->entries.size();
    return at < ivars->entries.size() ? ivars->entries[at].value : nullptr;
}

OSObject *OSDictionary::getObject(const char *aKey) const
{
    const size_t at = aKey != nullptr ? ivars->find(aKey) : ivars->entries.size();
    return at < ivars->entries.size() ? ivars->entries[at].value : nullptr;
}

// The collection interface visits the keys, as a kernel OSDictionary does.
bool OSDictionary::iterateObjects(OSCollectionIterateObjectsBlock block) const
{
    for (size_t i = 0; i < ivars->entries.size(); ++i) {
        if (!block(ivars->entries[i].key)) {
            return false;
        }
    }
    return true;
}

bool OSDictionary::iterateObjects(OSDictionaryIterateObjectsBlock block) const
{
    for (size_t i = 0; i < ivars->entries.size(); ++i) {
        if (!block(ivars->entries[i].key, ivars->entries[i].value)) {
            return false;
        }
    }
    return true;
}

bool OSDictionary::isEqualTo(const OSDictionary *aDictionary, const OSCollection *keys) const
{
    if (aDictionary == nullptr || keys == nullptr || aDictionary->getCount() != getCount()) {
        return false;
    }
    return keys->iterateObjects(^bool(OSObject *key) {
      const OSObject *mine = getObject(key);
      const OSObject *other = aDictionary->getObject(key);
      return mine != nullptr && other != nullptr && mine->isEqualTo(other);
    });
}

bool OSDictionary::isEqualTo(const OSDictionary *aDictionary) const
{
    return aDictionary == this || isEqualTo(aDictionary, this);
}

bool OSDictionary::isEqualTo(const OSMetaClassBase *anObject) const
{
    return isEqualTo(OSDynamicCast(OSDictionary, anObject));
}
