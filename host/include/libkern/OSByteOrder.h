/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Byte order.
 */
#ifndef WEIR_LIBKERN_OSBYTEORDER_H
#define WEIR_LIBKERN_OSBYTEORDER_H

#include <stdint.h>

#define OSSwapInt16(x) __builtin_bswap16((uint16_t) (x))
#define OSSwapInt32(x) __builtin_bswap32((uint32_t) (x))
#define OSSwapInt64(x) __builtin_bswap64((uint64_t) (x))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define __WEIR_LITTLE(bits, x) ((uint ## bits ## _t) (x))
#define __WEIR_BIG(bits, x)    OSSwapInt ## bits(x)
#else
#define __WEIR_LITTLE(bits, x) OSSwapInt ## bits(x)
#define __WEIR_BIG(bits, x)    ((uint ## bits ## _t) (x))
#endif

#define OSSwapHostToLittleInt16(x) __WEIR_LITTLE(16, x)
#define OSSwapHostToLittleInt32(x) __WEIR_LITTLE(32, x)
#define OSSwapHostToLittleInt64(x) __WEIR_LITTLE(64, x)
#define OSSwapLittleToHostInt16(x) __WEIR_LITTLE(16, x)
#define OSSwapLittleToHostInt32(x) __WEIR_LITTLE(32, x)
#define OSSwapLittleToHostInt64(x) __WEIR_LITTLE(64, x)
#define OSSwapHostToBigInt16(x)    __WEIR_BIG(16, x)
#define OSSwapHostToBigInt32(x)    __WEIR_BIG(32, x)
#define OSSwapHostToBigInt64(x)    __WEIR_BIG(64, x)
#define OSSwapBigToHostInt16(x)    __WEIR_BIG(16, x)
#define OSSwapBigToHostInt32(x)    __WEIR_BIG(32, x)
#define OSSwapBigToHostInt64(x)    __WEIR_BIG(64, x)

#endif /* WEIR_LIBKERN_OSBYTEORDER_H */
