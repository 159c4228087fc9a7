// SPDX-License-Identifier: MIT OR Apache-2.0
// What the bodies of the framework classes share. Private to host/cpp.

#ifndef WEIR_HOST_RUNTIME_H
#define WEIR_HOST_RUNTIME_H

#include "dk_runtime.h"

#include <DriverKit/IOLib.h>
#include <DriverKit/IOReturn.h>
#include <DriverKit/OSObject.h>

#include <new>
#include <type_traits>

#include <Block.h>

class IODispatchQueue;

namespace dk {

// ---- faults and violations -----------------------------------------------------------------------------------------

/// Asks whether this call is to fail now. The caller returns the result at once, without side effects.
inline kern_return_t fault(const char *method, kern_return_t natural = kIOReturnNoMemory)
{
    return static_cast<kern_return_t>(dk_fault(method, natural));
}

/// Reports a broken rule; comes back only where a test collects violations.
void violation(const char *kind, const void *site, const char *format, ...) __attribute__((format(printf, 3, 4)));
void warning(const void *site, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define DK_SITE() __builtin_return_address(0)

// ---- objects -------------------------------------------------------------------------------------------------------

/// Stands in memory right in front of every object.
struct alignas(16) Header {
    dk_obj *ledger;
    dk_service *service; // for an IOService
    size_t size;         // of the object
    uint64_t magic;
};
constexpr uint64_t kHeaderMagic = 0x5745'4952'4f42'4a31;

inline Header *header_of(const OSMetaClassBase *object)
{
    return reinterpret_cast<Header *>(const_cast<OSMetaClassBase *>(object)) - 1;
}

/// The registry entry of an IOService, or null.
inline dk_service *service_of(const OSMetaClassBase *object)
{
    return object != nullptr ? header_of(object)->service : nullptr;
}

/// The class's name; also for an object that was freed already.
const char *class_name(const OSMetaClassBase *object);

/// The object belongs to the runtime: neither a leak nor part of the leak count.
inline void set_internal(const OSMetaClassBase *object) { dk_obj_set_internal(header_of(object)->ledger); }

/// The class called `name`, or null.
OSMetaClass *class_named(const char *name);
bool is_subclass(const OSMetaClass *meta, const OSMetaClass *of);
/// True if `object`'s class is not one of the framework's and implements, itself or through a class that is not one of
/// the framework's either, the method.
bool overridden(const OSMetaClassBase *object, uint64_t msgid);

/// Zeroed memory that IOFree() takes back, and its length; no call of the driver that could be made to fail.
void *alloc_block(size_t length);
size_t block_length(const void *address);

/// OSTypeAlloc for code that does not know the class's name.
template <typename T> T *alloc(OSMetaClass *meta)
{
    OSObject *object = nullptr;
    return OSObjectAllocate(meta, &object) == kIOReturnSuccess ? static_cast<T *>(object) : nullptr;
}

/// A new, initialised object with its ivars; null without memory. Ivars start out value-initialised.
template <typename T, typename IVars> T *make(OSMetaClass *meta)
{
    T *object = alloc<T>(meta);
    if (object == nullptr) {
        return nullptr;
    }
    if (!object->init()) {
        object->release();
        return nullptr;
    }
    if (object->ivars == nullptr) {
        object->ivars = new (std::nothrow) IVars();
        if (object->ivars == nullptr) {
            object->release();
            return nullptr;
        }
    }
    return object;
}

/// Deletes ivars that make() or an init() made.
template <typename IVars> void drop(IVars *&ivars)
{
    delete ivars;
    ivars = nullptr;
}

/// Holds a retained object.
template <typename T> class Ref {
public:
    Ref() = default;
    explicit Ref(T *object) { set(object); }
    Ref(const Ref &) = delete;
    Ref &operator=(const Ref &) = delete;
    ~Ref() { set(nullptr); }

    void set(T *object)
    {
        if (object != nullptr) {
            object->retain();
        }
        T *old = object_;
        object_ = object;
        if (old != nullptr) {
            old->release();
        }
    }
    T *get() const { return object_; }
    T *operator->() const { return object_; }
    explicit operator bool() const { return object_ != nullptr; }
    /// Hands out one more reference, for `Copy` methods.
    T *copy() const
    {
        if (object_ != nullptr) {
            object_->retain();
        }
        return object_;
    }

private:
    T *object_ = nullptr;
};

// ---- blocks --------------------------------------------------------------------------------------------------------

/// A block as the context of a dk_work: copied here, run and released by run_block. Null stays null.
inline void *hold_block(void (^block)(void))
{
    return block != nullptr ? reinterpret_cast<void *>(Block_copy(block)) : nullptr;
}

inline void run_block(void *context, bool run)
{
    if (context != nullptr) {
        auto block = reinterpret_cast<void (^)(void)>(context);
        if (run) {
            block();
        }
        Block_release(block);
    }
}

// ---- messages ------------------------------------------------------------------------------------------------------

/// While one of these lives, an action is delivered on the calling thread, which the engine has put on the right queue.
/// For timers and interrupts: their handlers run on the source's queue, not on that of the method.
class OnSourceQueue {
public:
    OnSourceQueue();
    ~OnSourceQueue();
    OnSourceQueue(const OnSourceQueue &) = delete;
    OnSourceQueue &operator=(const OnSourceQueue &) = delete;

private:
    bool before_;
};

// ---- wrappers ------------------------------------------------------------------------------------------------------

/// The engine's queue behind an IODispatchQueue; null for null.
dk_queue *queue_of(IODispatchQueue *queue);
/// A wrapper with one reference for an engine queue; takes the caller's reference to `queue`, also on failure.
IODispatchQueue *wrap_queue(dk_queue *queue);

/// Deadline of a kIOTimerClock* clock in engine nanoseconds; false for an unknown clock.
bool deadline_ns(uint64_t clock, uint64_t deadline, uint64_t *ns);

} // namespace dk

#endif
