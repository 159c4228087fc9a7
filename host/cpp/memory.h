// SPDX-License-Identifier: MIT OR Apache-2.0
// Wrappers of engine memory. Private to host/cpp.

#ifndef WEIR_HOST_MEMORY_H
#define WEIR_HOST_MEMORY_H

#include "runtime.h"

#include <DriverKit/IOMemoryDescriptor.h>

#include <vector>

struct IOMemoryDescriptor_IVars {
    dk_mem *mem = nullptr;
    std::vector<dk_map *> maps; // made by Map(), which hands out no object to release
};

namespace dk {

/// A descriptor around engine memory; takes the caller's reference, also on failure.
IOMemoryDescriptor *wrap_memory(dk_mem *mem);
/// The engine's memory behind a descriptor; null for null. Borrowed.
dk_mem *memory_of(IOMemoryDescriptor *memory);

} // namespace dk

#endif
