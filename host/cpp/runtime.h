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

namespace dk {

/// Asks whether this call is to fail now. The caller returns the result at once, without side effects.
inline kern_return_t fault(const char *method) { return static_cast<kern_return_t>(dk_fault_check(method)); }

/// A new, initialised object with its ivars; null without memory. Ivars start out zeroed.
template <typename T, typename IVars> T *make()
{
    T *object = OSTypeAlloc(T);
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

/// A block on the heap, as the `void *` context of an engine callback. `run_block` runs and frees it.
template <typename Block> void *hold_block(Block block) { return reinterpret_cast<void *>(Block_copy(block)); }

inline void run_block(void *context)
{
    auto block = reinterpret_cast<void (^)(void)>(context);
    block();
    Block_release(block);
}

} // namespace dk

#endif
