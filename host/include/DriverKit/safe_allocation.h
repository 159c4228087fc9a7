/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * An array on the heap that knows its size and checks indices. DriverKit 20.
 */
#ifndef WEIR_DRIVERKIT_SAFE_ALLOCATION_H
#define WEIR_DRIVERKIT_SAFE_ALLOCATION_H

#include <stddef.h>
#include <stdint.h>
#include <DriverKit/IOLib.h>

struct OSAllocateMemory_t {
    explicit constexpr OSAllocateMemory_t() = default;
};
struct OSAllocateMemoryZero_t {
    explicit constexpr OSAllocateMemoryZero_t() = default;
};
struct OSAdoptMemory_t {
    explicit constexpr OSAdoptMemory_t() = default;
};
inline constexpr OSAllocateMemory_t OSAllocateMemory{};
inline constexpr OSAllocateMemoryZero_t OSAllocateMemoryZero{};
inline constexpr OSAdoptMemory_t OSAdoptMemory{};

template <class T>
class OSAllocation
{
public:
    OSAllocation() = default;
    OSAllocation(decltype(nullptr)) {}
    explicit OSAllocation(size_t n, OSAllocateMemory_t) : OSAllocation(n, OSAllocateMemoryZero) {}
    explicit OSAllocation(size_t n, OSAllocateMemoryZero_t)
    {
        static_assert(__is_trivially_destructible(T), "elements are not destroyed");
        data_ = IONewZero(T, n);
        size_ = data_ ? n : 0;
    }
    explicit OSAllocation(T * memory, size_t n, OSAdoptMemory_t) : data_(memory), size_(n) {}
    OSAllocation(OSAllocation && other) noexcept : data_(other.data_), size_(other.size_) { other.forget(); }
    OSAllocation(const OSAllocation &) = delete;
    OSAllocation & operator=(const OSAllocation &) = delete;
    OSAllocation & operator=(OSAllocation && other) noexcept
    {
        if (this == &other) return *this;
        clear();
        data_ = other.data_;
        size_ = other.size_;
        other.forget();
        return *this;
    }
    OSAllocation & operator=(decltype(nullptr))
    {
        clear();
        return *this;
    }
    ~OSAllocation() { clear(); }

    explicit operator bool() const { return data_ != nullptr; }
    size_t size() const { return size_; }
    T * data() const { return data_; }
    T * begin() const { return data_; }
    T * end() const { return data_ + size_; }
    T & operator[](ptrdiff_t n) const
    {
        if (n < 0 || (size_t) n >= size_) panic("OSAllocation: index %td of %zu", n, size_);
        return data_[n];
    }

private:
    void forget()
    {
        data_ = nullptr;
        size_ = 0;
    }
    void clear()
    {
        if (data_) IODelete(data_, T, size_);
        forget();
    }

    T * data_ = nullptr;
    size_t size_ = 0;
};

#endif /* WEIR_DRIVERKIT_SAFE_ALLOCATION_H */
