/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Clocks in ticks; a tick is a nanosecond here.
 */
#ifndef WEIR_MACH_MACH_TIME_H
#define WEIR_MACH_MACH_TIME_H

#include <stdint.h>
#include <DriverKit/IOReturn.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mach_timebase_info {
    uint32_t numer;
    uint32_t denom;
};
typedef struct mach_timebase_info * mach_timebase_info_t;
typedef struct mach_timebase_info mach_timebase_info_data_t;

kern_return_t
mach_timebase_info(mach_timebase_info_t info);

uint64_t
mach_absolute_time(void);

uint64_t
mach_continuous_time(void);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_MACH_MACH_TIME_H */
