/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The C library's time.h and the clocks of Darwin.
 */
#ifndef WEIR_TIME_H
#define WEIR_TIME_H

#include_next <time.h>

#include <stdint.h>

#ifndef CLOCK_UPTIME_RAW
#define CLOCK_UPTIME_RAW            8
#endif
#ifndef CLOCK_UPTIME_RAW_APPROX
#define CLOCK_UPTIME_RAW_APPROX     9
#endif
#ifndef CLOCK_MONOTONIC_RAW_APPROX
#define CLOCK_MONOTONIC_RAW_APPROX  5
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Nanoseconds of a clock; DriverKit has it in its C library. */
uint64_t
clock_gettime_nsec_np(clockid_t clock_id);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_TIME_H */
