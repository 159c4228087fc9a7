/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Old names of integer types.
 */
#ifndef WEIR_LIBKERN_OSTYPES_H
#define WEIR_LIBKERN_OSTYPES_H

#include <stdbool.h>
#include <stdint.h>

typedef uint8_t  UInt8;
typedef uint16_t UInt16;
typedef uint32_t UInt32;
typedef uint64_t UInt64;
typedef int8_t   SInt8;
typedef int16_t  SInt16;
typedef int32_t  SInt32;
typedef int64_t  SInt64;

#endif /* WEIR_LIBKERN_OSTYPES_H */
