/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Clocks, for check builds without Apple's SDK.
 */
#ifndef WEIR_CHECK_TIME_H
#define WEIR_CHECK_TIME_H

/* clock_gettime_nsec_np(3) */
typedef enum {
    CLOCK_REALTIME = 0,
    CLOCK_MONOTONIC_RAW = 4,
    CLOCK_MONOTONIC_RAW_APPROX = 5,
    CLOCK_MONOTONIC = 6,
    CLOCK_UPTIME_RAW = 8,
    CLOCK_UPTIME_RAW_APPROX = 9,
} clockid_t;
#define CLOCK_MONOTONIC_RAW_APPROX CLOCK_MONOTONIC_RAW_APPROX
#define CLOCK_UPTIME_RAW           CLOCK_UPTIME_RAW
#define CLOCK_UPTIME_RAW_APPROX    CLOCK_UPTIME_RAW_APPROX

#endif /* WEIR_CHECK_TIME_H */
