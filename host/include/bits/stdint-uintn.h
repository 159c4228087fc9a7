/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The unsigned half of stdint-intn.h.
 */
#ifndef _BITS_STDINT_UINTN_H
#define _BITS_STDINT_UINTN_H 1

typedef unsigned char      uint8_t;
typedef unsigned short     uint16_t;
typedef unsigned int       uint32_t;
typedef unsigned long long uint64_t;

#endif /* _BITS_STDINT_UINTN_H */
