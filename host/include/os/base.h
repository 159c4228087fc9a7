/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Attributes.
 */
#ifndef WEIR_OS_BASE_H
#define WEIR_OS_BASE_H

#include <sys/cdefs.h>

#define OS_EXPORT           extern __attribute__((visibility("default")))
#define OS_INLINE           static inline
#define OS_ALWAYS_INLINE    __attribute__((always_inline))
#define OS_NOINLINE         __attribute__((noinline))
#define OS_NORETURN         __attribute__((noreturn))
#define OS_NOTHROW          __attribute__((nothrow))
#define OS_WARN_RESULT      __attribute__((warn_unused_result))
#define OS_UNUSED           __attribute__((unused))
#define OS_USED             __attribute__((used))
#define OS_PACKED           __attribute__((packed))
#define OS_ALIGNED(n)       __attribute__((aligned(n)))
#define OS_FORMAT_PRINTF(x, y) __attribute__((format(printf, x, y)))

#define os_likely(x)    __builtin_expect(!!(x), 1)
#define os_unlikely(x)  __builtin_expect(!!(x), 0)

#define __OS_CONCAT(x, y) x ## y
#define OS_CONCAT(x, y)   __OS_CONCAT(x, y)
#define OS_STRINGIFY(s)   #s

#endif /* WEIR_OS_BASE_H */
