/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The C library's sys/cdefs.h and the macros of BSD.
 */
#ifndef WEIR_SYS_CDEFS_H
#define WEIR_SYS_CDEFS_H

#include_next <sys/cdefs.h>

#include <ptrcheck.h>

#ifndef __unused
#define __unused __attribute__((unused))
#endif
#ifndef __used
#define __used __attribute__((used))
#endif
#ifndef __packed
#define __packed __attribute__((packed))
#endif
#ifndef __aligned
#define __aligned(n) __attribute__((aligned(n)))
#endif
#ifndef __dead2
#define __dead2 __attribute__((noreturn))
#endif
#ifndef __deprecated
#define __deprecated __attribute__((deprecated))
#endif
#ifndef __printflike
#define __printflike(format, first) __attribute__((format(printf, format, first)))
#endif
#ifndef __probable
#define __probable(x)   __builtin_expect(!!(x), 1)
#define __improbable(x) __builtin_expect(!!(x), 0)
#endif

#endif /* WEIR_SYS_CDEFS_H */
