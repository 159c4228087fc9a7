/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Where the GNU C library keeps its signed exact-width types, with the types that Apple's LP64 has (arm/_types.h and
 * i386/_types.h: int64_t is `long long`): drivers overload, deduce and point by them. Size and alignment are the same.
 */
#ifndef _BITS_STDINT_INTN_H
#define _BITS_STDINT_INTN_H 1

typedef signed char int8_t;
typedef short       int16_t;
typedef int         int32_t;
typedef long long   int64_t;

#endif /* _BITS_STDINT_INTN_H */
