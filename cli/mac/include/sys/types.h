/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Names of integers, for check builds without Apple's SDK.
 */
#ifndef WEIR_CHECK_SYS_TYPES_H
#define WEIR_CHECK_SYS_TYPES_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t   u_int8_t;
typedef uint16_t  u_int16_t;
typedef uint32_t  u_int32_t;
typedef uint64_t  u_int64_t;
typedef long      ssize_t;
typedef int64_t   off_t;
typedef int32_t   pid_t;

#endif /* WEIR_CHECK_SYS_TYPES_H */
