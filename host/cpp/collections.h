// SPDX-License-Identifier: MIT OR Apache-2.0
// Where an array keeps its members; sets are arrays with other ways in. Private to host/cpp.

#ifndef WEIR_HOST_COLLECTIONS_H
#define WEIR_HOST_COLLECTIONS_H

#include "runtime.h"

#include <DriverKit/OSArray.h>

#include <vector>

struct OSArray_IVars {
    std::vector<OSObject *> members;
};

#endif
