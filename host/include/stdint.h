/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The C library's stdint.h, its 64-bit types and constants those of Apple's LP64. See bits/stdint-intn.h.
 */
#ifndef WEIR_STDINT_H
#define WEIR_STDINT_H

#include_next <stdint.h>

#if defined(__GLIBC__) && __SIZEOF_LONG__ == 8
#undef INT64_C
#undef UINT64_C
#undef INT64_MIN
#undef INT64_MAX
#undef UINT64_MAX
#define INT64_C(value)  value##LL
#define UINT64_C(value) value##ULL
#define INT64_MAX       9223372036854775807LL
#define INT64_MIN       (-INT64_MAX - 1)
#define UINT64_MAX      18446744073709551615ULL
#endif

#endif /* WEIR_STDINT_H */
