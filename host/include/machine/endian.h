/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Byte order under BSD's names; the network's is big-endian (RFC 1700).
 */
#ifndef WEIR_MACHINE_ENDIAN_H
#define WEIR_MACHINE_ENDIAN_H

#include <stdint.h>
#include <libkern/OSByteOrder.h>

#ifndef LITTLE_ENDIAN
#define LITTLE_ENDIAN 1234
#define BIG_ENDIAN    4321
#define BYTE_ORDER    __BYTE_ORDER__
#endif

#ifndef ntohs
#define ntohs(x)  OSSwapBigToHostInt16(x)
#define htons(x)  OSSwapHostToBigInt16(x)
#define ntohl(x)  OSSwapBigToHostInt32(x)
#define htonl(x)  OSSwapHostToBigInt32(x)
#define ntohll(x) OSSwapBigToHostInt64(x)
#define htonll(x) OSSwapHostToBigInt64(x)
#endif

#endif /* WEIR_MACHINE_ENDIAN_H */
