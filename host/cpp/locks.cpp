// SPDX-License-Identifier: MIT OR Apache-2.0
// IOLock, IORWLock, IORecursiveLock, IORecursiveConditionLock. A thread that waits for one keeps its queue, as on a Mac.

#include "runtime.h"

#include <DriverKit/IOLib.h>

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <thread>

struct IOLock {
    std::mutex mutex;
    std::atomic<std::thread::id> owner{};
};

struct IORWLock {
    std::shared_mutex mutex;
    std::atomic<std::thread::id> writer{};
    std::atomic<int> readers{0};
};

struct IORecursiveLock {
    std::recursive_mutex mutex;
    std::atomic<std::thread::id> owner{};
    unsigned depth = 0;
};

namespace {

std::thread::id self() { return std::this_thread::get_id(); }

template <typename T> T *allocate(const char *name)
{
    return dk::fault(name) == kIOReturnSuccess ? new (std::nothrow) T() : nullptr;
}

void must(bool holds, const char *what, const void *site)
{
    if (!holds) {
        dk::violation("lock", site, "%s", what);
    }
}

} // namespace

extern "C" struct IOLock *IOLockAlloc(void) { return allocate<IOLock>("IOLockAlloc"); }

extern "C" void IOLockFree(struct IOLock *lock) { delete lock; }

extern "C" void IOLockLock(struct IOLock *lock)
{
    must(lock->owner.load() != self(), "IOLockLock: this thread has the lock already", DK_SITE());
    lock->mutex.lock();
    lock->owner = self();
}

extern "C" bool IOLockTryLock(struct IOLock *lock)
{
    if (lock->owner.load() == self() || !lock->mutex.try_lock()) {
        return false;
    }
    lock->owner = self();
    return true;
}

extern "C" void IOLockUnlock(struct IOLock *lock)
{
    must(lock->owner.load() == self(), "IOLockUnlock: this thread does not have the lock", DK_SITE());
    lock->owner = std::thread::id();
    lock->mutex.unlock();
}

extern "C" void IOLockAssert(struct IOLock *lock, IOLockAssertState state)
{
    must((lock->owner.load() == self()) == (state == kIOLockAssertOwned), "IOLockAssert failed", DK_SITE());
}

extern "C" struct IORWLock *IORWLockAlloc(void) { return allocate<IORWLock>("IORWLockAlloc"); }

extern "C" void IORWLockFree(struct IORWLock *lock) { delete lock; }

extern "C" void IORWLockRead(struct IORWLock *lock)
{
    must(lock->writer.load() != self(), "IORWLockRead: this thread has the lock for writing", DK_SITE());
    lock->mutex.lock_shared();
    ++lock->readers;
}

extern "C" void IORWLockWrite(struct IORWLock *lock)
{
    must(lock->writer.load() != self(), "IORWLockWrite: this thread has the lock already", DK_SITE());
    lock->mutex.lock();
    lock->writer = self();
}

extern "C" void IORWLockUnlock(struct IORWLock *lock)
{
    if (lock->writer.load() == self()) {
        lock->writer = std::thread::id();
        lock->mutex.unlock();
        return;
    }
    must(lock->readers.load() > 0, "IORWLockUnlock: nobody has the lock", DK_SITE());
    --lock->readers;
    lock->mutex.unlock_shared();
}

extern "C" void IORWLockAssert(struct IORWLock *lock, IORWLockAssertState state)
{
    const bool write = lock->writer.load() == self();
    const bool read = lock->readers.load() > 0;
    bool holds = false;
    switch (state) {
    case kIORWLockAssertRead:
        holds = read;
        break;
    case kIORWLockAssertWrite:
        holds = write;
        break;
    case kIORWLockAssertHeld:
        holds = read || write;
        break;
    case kIORWLockAssertNotHeld:
        holds = !read && !write;
        break;
    }
    must(holds, "IORWLockAssert failed", DK_SITE());
}

extern "C" struct IORecursiveLock *IORecursiveLockAlloc(void)
{
    return allocate<IORecursiveLock>("IORecursiveLockAlloc");
}

extern "C" void IORecursiveLockFree(struct IORecursiveLock *lock) { delete lock; }

extern "C" void IORecursiveLockLock(struct IORecursiveLock *lock)
{
    lock->mutex.lock();
    lock->owner = self();
    ++lock->depth;
}

extern "C" bool IORecursiveLockTryLock(struct IORecursiveLock *lock)
{
    if (!lock->mutex.try_lock()) {
        return false;
    }
    lock->owner = self();
    ++lock->depth;
    return true;
}

extern "C" void IORecursiveLockUnlock(struct IORecursiveLock *lock)
{
    must(lock->owner.load() == self(), "IORecursiveLockUnlock: this thread does not have the lock", DK_SITE());
    if (--lock->depth == 0) {
        lock->owner = std::thread::id();
    }
    lock->mutex.unlock();
}

extern "C" bool IORecursiveLockHaveLock(struct IORecursiveLock *lock) { return lock->owner.load() == self(); }
