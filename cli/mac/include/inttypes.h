/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Conversions for 64-bit integers (C11 section 7.8.1), for check builds without Apple's SDK.
 */
#ifndef WEIR_CHECK_INTTYPES_H
#define WEIR_CHECK_INTTYPES_H

#include <stdint.h>

#define PRId32 "d"
#define PRIi32 "i"
#define PRIu32 "u"
#define PRIx32 "x"
#define PRIX32 "X"
#define PRId64 "lld"
#define PRIi64 "lli"
#define PRIu64 "llu"
#define PRIx64 "llx"
#define PRIX64 "llX"

#endif /* WEIR_CHECK_INTTYPES_H */
