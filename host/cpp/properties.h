// SPDX-License-Identifier: MIT OR Apache-2.0
// Between containers and the engine's property tree. Private to host/cpp.

#ifndef WEIR_HOST_PROPERTIES_H
#define WEIR_HOST_PROPERTIES_H

#include "runtime.h"

#include <DriverKit/OSContainer.h>
#include <DriverKit/OSDictionary.h>

namespace dk {

/// The tree of a container; null for what has none (an OSObject that is no container, or too deep a nesting).
dk_prop *to_prop(const OSMetaClassBase *object);
/// The container of a tree, with one reference; null without memory.
OSContainer *from_prop(const dk_prop *prop);
/// As from_prop, for a tree that is a dictionary; frees the tree.
OSDictionary *take_dictionary(dk_prop *prop);

} // namespace dk

#endif
