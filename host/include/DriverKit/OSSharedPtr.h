/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A pointer that holds a reference. DriverKit 21.
 */
#ifndef WEIR_DRIVERKIT_OSSHAREDPTR_H
#define WEIR_DRIVERKIT_OSSHAREDPTR_H

#include <stddef.h>
#include <DriverKit/OSMetaClass.h>

struct OS_retain_t {
    explicit constexpr OS_retain_t() = default;
};
struct OS_no_retain_t {
    explicit constexpr OS_no_retain_t() = default;
};

/* Take another reference; take over the caller's. */
inline constexpr OS_retain_t OSRetain{};
inline constexpr OS_no_retain_t OSNoRetain{};

template <class T>
struct __attribute__((trivial_abi)) OSSharedPtr {
    using pointer = T *;
    using element_type = T;
    using retain_t = OS_retain_t;
    using no_retain_t = OS_no_retain_t;

    OSSharedPtr() noexcept : ptr_(nullptr) {}
    OSSharedPtr(decltype(nullptr)) noexcept : ptr_(nullptr) {}
    explicit OSSharedPtr(pointer p, no_retain_t) noexcept : ptr_(p) {}
    explicit OSSharedPtr(pointer p, retain_t) noexcept : ptr_(p) { take(); }
    OSSharedPtr(const OSSharedPtr & other) : ptr_(other.ptr_) { take(); }
    OSSharedPtr(OSSharedPtr && other) noexcept : ptr_(other.detach()) {}
    template <class U>
        requires requires(U * u) { static_cast<T *>(u); }
    OSSharedPtr(const OSSharedPtr<U> & other) : ptr_(other.get()) { take(); }
    template <class U>
        requires requires(U * u) { static_cast<T *>(u); }
    OSSharedPtr(OSSharedPtr<U> && other) noexcept : ptr_(other.detach()) {}
    ~OSSharedPtr() { drop(); }

    OSSharedPtr & operator=(decltype(nullptr)) noexcept { return reset(); }
    OSSharedPtr & operator=(const OSSharedPtr & other) { return reset(other.ptr_, OSRetain); }
    OSSharedPtr & operator=(OSSharedPtr && other) noexcept
    {
        if (this != &other) reset(other.detach(), OSNoRetain);
        return *this;
    }
    template <class U>
    OSSharedPtr & operator=(const OSSharedPtr<U> & other) { return reset(other.get(), OSRetain); }
    template <class U>
    OSSharedPtr & operator=(OSSharedPtr<U> && other) { return reset(other.detach(), OSNoRetain); }

    constexpr pointer get() const noexcept { return ptr_; }
    T & operator*() const noexcept { return *ptr_; }
    pointer operator->() const noexcept { return ptr_; }
    explicit operator bool() const { return ptr_ != nullptr; }

    /* Gives the reference to the caller. */
    pointer detach() noexcept
    {
        pointer p = ptr_;
        ptr_ = nullptr;
        return p;
    }

    /* For out parameters: a reference stored there becomes this pointer's. */
    struct attacher {
        explicit attacher(OSSharedPtr & sp) noexcept : sp_(sp) {}
        operator pointer *() const
        {
            sp_.reset();
            return &sp_.ptr_;
        }
        operator OSSharedPtr *() const
        {
            sp_.reset();
            return &sp_;
        }

    private:
        OSSharedPtr & sp_;
    };
    attacher attach() noexcept { return attacher(*this); }

    OSSharedPtr & reset() noexcept
    {
        drop();
        ptr_ = nullptr;
        return *this;
    }
    OSSharedPtr & reset(pointer p, no_retain_t) noexcept
    {
        drop();
        ptr_ = p;
        return *this;
    }
    OSSharedPtr & reset(pointer p, retain_t) noexcept
    {
        if (p) p->retain();
        return reset(p, OSNoRetain);
    }

    void swap(OSSharedPtr & other) noexcept
    {
        pointer p = ptr_;
        ptr_ = other.ptr_;
        other.ptr_ = p;
    }

private:
    void take() const
    {
        if (ptr_) ptr_->retain();
    }
    void drop() const
    {
        if (ptr_) ptr_->release();
    }

    pointer ptr_;
};

template <class T, class U>
inline bool operator==(const OSSharedPtr<T> & a, const OSSharedPtr<U> & b) { return a.get() == b.get(); }
template <class T>
inline bool operator==(const OSSharedPtr<T> & a, decltype(nullptr)) { return a.get() == nullptr; }
template <class T>
inline bool operator==(const OSSharedPtr<T> & a, const T * b) { return a.get() == b; }
template <class T>
inline void swap(OSSharedPtr<T> & a, OSSharedPtr<T> & b) noexcept { a.swap(b); }

/* OSTypeAlloc() of a type that is only known as a template parameter. */
template <class T>
inline OSSharedPtr<T>
OSMakeShared()
{
    OSObject * object = nullptr;
    return OSSharedPtr<T>(OSObjectAllocate(T::sGetMetaClass(), &object) == 0 ? (T *) object : nullptr, OSNoRetain);
}

template <class T, class U>
inline OSSharedPtr<T>
OSDynamicPtrCast(const OSSharedPtr<U> & source)
{
    OSMetaClassBase * object = source ? OSMetaClassBase::safeMetaCast(source.get(), T::sGetMetaClass()) : nullptr;
    return OSSharedPtr<T>((T *) object, OSRetain);
}

template <class T, class U>
inline OSSharedPtr<T>
OSDynamicPtrCast(OSSharedPtr<U> && source)
{
    OSMetaClassBase * object = source ? OSMetaClassBase::safeMetaCast(source.get(), T::sGetMetaClass()) : nullptr;
    if (!object) return nullptr;
    source.detach();
    return OSSharedPtr<T>((T *) object, OSNoRetain);
}

#endif /* WEIR_DRIVERKIT_OSSHAREDPTR_H */
