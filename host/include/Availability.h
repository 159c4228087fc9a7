/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Availability of an API: on Linux all of it is there; a build for Apple's platforms looks at what is newer than
 * its deployment target.
 */
#ifndef WEIR_AVAILABILITY_H
#define WEIR_AVAILABILITY_H

#include <TargetConditionals.h>

#if defined(__APPLE__)
#define WEIR_API_driverkit(version) __attribute__((availability(driverkit, introduced=version)))
#define WEIR_API_macos(version)
#define WEIR_API_ios(version)
#define WEIR_API_LIST(first, second, ...) WEIR_API_ ## first WEIR_API_ ## second
#define API_AVAILABLE(...) WEIR_API_LIST(__VA_ARGS__, macos(0), macos(0))
#define __API_AVAILABLE(...) API_AVAILABLE(__VA_ARGS__)
#else
#define API_AVAILABLE(...)
#define __API_AVAILABLE(...)
#endif
#define API_UNAVAILABLE(...)
#define API_DEPRECATED(...)
#define API_DEPRECATED_WITH_REPLACEMENT(...)
#define __API_UNAVAILABLE(...)
#define __API_DEPRECATED(...)
#define __DRIVERKIT_19_0 190000
#define __DRIVERKIT_20_0 200000
#define __DRIVERKIT_21_0 210000
#define __DRIVERKIT_22_0 220000
#define __DRIVERKIT_23_0 230000
#define __DRIVERKIT_24_0 240000
#define __DRIVERKIT_25_0 250000

#endif /* WEIR_AVAILABILITY_H */
