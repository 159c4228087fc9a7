// SPDX-License-Identifier: MIT OR Apache-2.0
// The table of classes. Private to host/cpp.

#ifndef WEIR_HOST_CLASSES_H
#define WEIR_HOST_CLASSES_H

#include "runtime.h"

#include <atomic>
#include <vector>

namespace dk {

/// What one class does with one message.
struct Method {
    uint64_t msgid;
    const char *name;   // "Class::Method", of the class that introduced it
    const char *queue;  // null: the default queue
    bool dext;          // implemented outside the framework
    bool pure;          // nobody implements it
};

} // namespace dk

/// Hangs off every OSMetaClass.
struct OSMetaClassPrivate {
    const OSClassLoadInformation *info;
    OSMetaClass *meta;
    bool framework;                                             // part of the runtime, not of a dext
    std::atomic<const OSMetaClass *> super{nullptr};            // looked up when first needed
    std::atomic<const std::vector<dk::Method> *> methods{nullptr}; // whole chain, sorted by msgid; made when first needed
    dk_class entry{};
    bool entered = false;                                       // `entry` is with the engine
};

namespace dk {

/// Null for a root class or while the superclass is not loaded.
const OSMetaClass *super_of(const OSMetaClass *meta);
/// The method that answers `msgid`; null if no class of the chain knows it.
const Method *find_method(const OSMetaClass *meta, uint64_t msgid);
const std::vector<Method> &all_methods(const OSMetaClass *meta);

/// Up-calls of the engine.
extern const dk_service_ops kServiceOps;
extern const dk_net_ops kNetOps;

} // namespace dk

#endif
