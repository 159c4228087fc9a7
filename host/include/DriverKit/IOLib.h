/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Memory, time, locks, logging, boot arguments. DriverKit 19; locks and typed allocation later.
 */
#ifndef WEIR_DRIVERKIT_IOLIB_H
#define WEIR_DRIVERKIT_IOLIB_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <sys/cdefs.h>
#include <TargetConditionals.h>
#include <DriverKit/IOReturn.h>
#include <DriverKit/IOTypes.h>
#include <libkern/OSByteOrder.h>
#include <mach/mach_time.h>
#include <os/log.h>
#include <os/overflow.h>

__BEGIN_DECLS

/* ---- logging ---- */

int
IOLog(const char * format, ...) __attribute__((format(printf, 1, 2)));

int
IOLogv(const char * format, va_list ap) __attribute__((format(printf, 1, 0)));

void
IOLogBuffer(const char * title, const void * buffer, size_t size);

void __attribute__((noinline, not_tail_called))
OSReportWithBacktrace(const char * str, ...) __attribute__((format(printf, 1, 2)));

void
panic(const char * str, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* ---- memory ---- */

typedef unsigned long long malloc_type_id_t;

void *
IOMalloc(size_t length) __attribute__((alloc_size(1)));

void *
IOMallocZero(size_t length) __attribute__((alloc_size(1)));

/* DriverKit 23.4 */
void *
IOMallocTyped(size_t length, malloc_type_id_t type_id) __attribute__((alloc_size(1)));

void *
IOMallocZeroTyped(size_t length, malloc_type_id_t type_id) __attribute__((alloc_size(1)));

/* length must be what was allocated. */
void
IOFree(void * address, size_t length);

extern uint64_t IOVMPageSize;

#define IONew(type, count)                                                  \
({                                                                          \
    size_t __size;                                                          \
    (os_mul_overflow(sizeof(type), (size_t) (count), &__size)               \
        ? ((type *) NULL)                                                   \
        : ((type *) IOMalloc(__size)));                                     \
})

#define IONewZero(type, count)                                              \
({                                                                          \
    size_t __size;                                                          \
    (os_mul_overflow(sizeof(type), (size_t) (count), &__size)               \
        ? ((type *) NULL)                                                   \
        : ((type *) IOMallocZero(__size)));                                 \
})

#define IODelete(ptr, type, count)                                          \
({                                                                          \
    size_t __size;                                                          \
    if (!os_mul_overflow(sizeof(type), (size_t) (count), &__size)) {        \
        IOFree((ptr), __size);                                              \
    }                                                                       \
})

#define IOSafeDeleteNULL(ptr, type, count)                                  \
    do {                                                                    \
        if (NULL != (ptr)) {                                                \
            IODelete((ptr), type, count);                                   \
            (ptr) = NULL;                                                   \
        }                                                                   \
    } while (0)

#define IOMallocType(type)     ((type *) IOMallocZero(sizeof(type)))
#define IOFreeType(elem, type) IOFree((elem), sizeof(type))

#define OSSafeReleaseNULL(inst) \
    do { if (inst) { (inst)->release(); (inst) = NULL; } } while (0)

/* ---- time ---- */

void
IOSleep(uint64_t ms);

void
IODelay(uint64_t us);

/* ---- other ---- */

void
OSSynchronizeIO(void);

uint32_t
crc32(uint32_t crc, const void * buf, size_t size);

void
read_random(void * buffer, size_t length);

bool
IOParseBootArgNumber(const char * arg_string, void * arg_ptr, int max_len);

bool
IOParseBootArgString(const char * arg_string, char * arg_ptr, int strlen);

struct IOCallOnceFlag {
    intptr_t opaque;
};
typedef void (^IOCallOnceBlock)(void);

void
IOCallOnce(struct IOCallOnceFlag * flag, IOCallOnceBlock block);

static inline IOFixed
IOFixedMultiply(IOFixed a, IOFixed b)
{
    return (IOFixed) (((int64_t) a * b) >> 16);
}

static inline IOFixed
IOFixedDivide(IOFixed a, IOFixed b)
{
    return (IOFixed) (((int64_t) a << 16) / b);
}

/* ---- locks; DriverKit 20 ---- */

struct IOLock;
struct IORecursiveLock;
struct IORWLock;

typedef enum {
    kIOLockAssertOwned    = 1,
    kIOLockAssertNotOwned = 2,
} IOLockAssertState;

typedef enum {
    kIORWLockAssertRead    = 1,
    kIORWLockAssertWrite   = 2,
    kIORWLockAssertHeld    = 3,
    kIORWLockAssertNotHeld = 4,
} IORWLockAssertState;

struct IOLock *
IOLockAlloc(void);

void
IOLockFree(struct IOLock * lock);

void
IOLockLock(struct IOLock * lock);

bool
IOLockTryLock(struct IOLock * lock);

void
IOLockUnlock(struct IOLock * lock);

void
IOLockAssert(struct IOLock * lock, IOLockAssertState type);

struct IORecursiveLock *
IORecursiveLockAlloc(void);

void
IORecursiveLockFree(struct IORecursiveLock * lock);

void
IORecursiveLockLock(struct IORecursiveLock * lock);

bool
IORecursiveLockTryLock(struct IORecursiveLock * lock);

void
IORecursiveLockUnlock(struct IORecursiveLock * lock);

bool
IORecursiveLockHaveLock(struct IORecursiveLock * lock);

struct IORWLock *
IORWLockAlloc(void);

void
IORWLockFree(struct IORWLock * lock);

void
IORWLockRead(struct IORWLock * lock);

void
IORWLockWrite(struct IORWLock * lock);

void
IORWLockUnlock(struct IORWLock * lock);

#define IOLockFreeZero(l)          do { IOLockFree(l); (l) = NULL; } while (0)
#define IORecursiveLockFreeZero(l) do { IORecursiveLockFree(l); (l) = NULL; } while (0)
#define IORWLockFreeZero(l)        do { IORWLockFree(l); (l) = NULL; } while (0)

__END_DECLS

#endif /* WEIR_DRIVERKIT_IOLIB_H */
