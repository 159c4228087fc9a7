/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Availability of an API: all of it is available here.
 */
#ifndef WEIR_AVAILABILITY_H
#define WEIR_AVAILABILITY_H

#include <TargetConditionals.h>

#define API_AVAILABLE(...)
#define API_UNAVAILABLE(...)
#define API_DEPRECATED(...)
#define API_DEPRECATED_WITH_REPLACEMENT(...)
#define __API_AVAILABLE(...)
#define __API_UNAVAILABLE(...)
#define __API_DEPRECATED(...)
#define __DRIVERKIT_19_0 190000
#define __DRIVERKIT_20_0 200000
#define __DRIVERKIT_21_0 210000
#define __DRIVERKIT_22_0 220000
#define __DRIVERKIT_23_0 230000
#define __DRIVERKIT_24_0 240000

#endif /* WEIR_AVAILABILITY_H */
