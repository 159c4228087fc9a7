/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Integer types and constants. DriverKit 19.
 */
#ifndef WEIR_DRIVERKIT_IOTYPES_H
#define WEIR_DRIVERKIT_IOTYPES_H

#include <stdbool.h>
#include <stdint.h>
#include <DriverKit/IOReturn.h>
#include <libkern/OSTypes.h>

typedef uint32_t IOOptionBits;
typedef int32_t  IOFixed;
typedef uint32_t IOVersion;
typedef uint32_t IOItemCount;
typedef uint32_t IOCacheMode;

typedef uint32_t      IOByteCount32;
typedef uint64_t      IOByteCount64;
typedef IOByteCount64 IOByteCount;

typedef uint32_t IOPhysicalAddress32;
typedef uint64_t IOPhysicalAddress64;
typedef uint32_t IOPhysicalLength32;
typedef uint64_t IOPhysicalLength64;

typedef IOPhysicalAddress64 IOPhysicalAddress;
typedef IOPhysicalLength64  IOPhysicalLength;

typedef uint64_t IOVirtualAddress;

enum {
    kNanosecondScale  = 1,
    kMicrosecondScale = 1000,
    kMillisecondScale = 1000 * 1000,
    kSecondScale      = 1000 * 1000 * 1000,
    kTickScale        = (kSecondScale / 100)
};

/* RequireMaxBusStall(), nanoseconds */
enum {
    kIOMaxBusStall40usec = 40000,
    kIOMaxBusStall30usec = 30000,
    kIOMaxBusStall25usec = 25000,
    kIOMaxBusStall20usec = 20000,
    kIOMaxBusStall10usec = 10000,
    kIOMaxBusStall5usec  = 5000,
    kIOMaxBusStallNone   = 0,
};

#endif /* WEIR_DRIVERKIT_IOTYPES_H */
