// SPDX-License-Identifier: MIT OR Apache-2.0
// IOService's state and what happens to those who wait for a service. Private to host/cpp.

#ifndef WEIR_HOST_SERVICE_H
#define WEIR_HOST_SERVICE_H

#include "runtime.h"

#include <DriverKit/IOService.h>

namespace dk {

/// A service was registered, or will be stopped: tells the notification sources.
void service_published(IOService *service);
void service_terminated(IOService *service);
/// True if `service` has what the matching dictionary asks for.
bool service_matches(IOService *service, OSDictionary *matching);

} // namespace dk

#endif
