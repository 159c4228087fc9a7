// SPDX-License-Identifier: MIT OR Apache-2.0
// OSAction's state, and actions as handlers of the engine. Private to host/cpp.

#ifndef WEIR_HOST_ACTION_H
#define WEIR_HOST_ACTION_H

#include "runtime.h"

#include <DriverKit/OSAction.h>

#include <mutex>
#include <vector>

struct OSAction_IVars {
    std::mutex lock;
    OSObject *target = nullptr; // retained until the action is cancelled or freed
    uint64_t target_msgid = 0;
    uint64_t msgid = 0;
    void *reference = nullptr;
    size_t reference_size = 0;
    uint32_t running = 0;  // deliveries that are queued or run now
    uint32_t senders = 0;  // sources that hold the action as their handler
    bool cancelled = false;
    bool aborted = false;
    std::vector<void (^)(void)> cancel_handlers;
    void (^aborted_handler)(void) = nullptr;
    OSActionWaitToken *token = nullptr;
    uint64_t deliveries = 0;
    dk_async *async = nullptr; // the completion of a user client's asynchronous call
};

namespace dk {

/// Counts a source that may invoke the action. The last one that lets go aborts the action.
void action_attach(OSAction *action);
void action_detach(OSAction *action);

/// The completion of an asynchronous call of a user client, with one reference. Retains `async`.
kern_return_t make_async_action(OSObject *client, dk_async *async, OSAction **out);
/// What AsyncCompletion() sends through such an action.
kern_return_t complete_async(OSAction *action, const IORPC rpc);

/// Delivers `rpc`, whose receiver is the action in its first object slot, to the action's target.
kern_return_t deliver_action(const IORPC rpc);

} // namespace dk

#endif
