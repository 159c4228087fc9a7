/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The C library's inttypes.h, its 64-bit formats those of `long long`. See bits/stdint-intn.h.
 */
#ifndef WEIR_INTTYPES_H
#define WEIR_INTTYPES_H

#include_next <inttypes.h>

#if defined(__GLIBC__) && __SIZEOF_LONG__ == 8
#undef PRId64
#undef PRIi64
#undef PRIo64
#undef PRIu64
#undef PRIx64
#undef PRIX64
#undef SCNd64
#undef SCNi64
#undef SCNo64
#undef SCNu64
#undef SCNx64
#define PRId64 "lld"
#define PRIi64 "lli"
#define PRIo64 "llo"
#define PRIu64 "llu"
#define PRIx64 "llx"
#define PRIX64 "llX"
#define SCNd64 "lld"
#define SCNi64 "lli"
#define SCNo64 "llo"
#define SCNu64 "llu"
#define SCNx64 "llx"
#endif

#endif /* WEIR_INTTYPES_H */
