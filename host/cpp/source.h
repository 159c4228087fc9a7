// SPDX-License-Identifier: MIT OR Apache-2.0
// What the dispatch sources share. Private to host/cpp.

#ifndef WEIR_HOST_SOURCE_H
#define WEIR_HOST_SOURCE_H

#include "action.h"

#include <DriverKit/IODataQueueDispatchSource.h>
#include <DriverKit/IODispatchSource.h>

struct IODispatchSource_IVars {
    dk_source *source = nullptr;
    OSAction *handler = nullptr;       // retained
    OSAction *space_handler = nullptr; // of a data queue; retained
};

namespace dk {

/// A source of class T around an engine source; takes the engine source, also on failure.
template <typename T> T *wrap_source(OSMetaClass *meta, dk_source *source)
{
    T *object = alloc<T>(meta);
    if (object != nullptr) {
        auto *state = new (std::nothrow) IODispatchSource_IVars();
        static_cast<IODispatchSource *>(object)->IODispatchSource::ivars = state;
        if (state != nullptr && object->init()) {
            state->source = source;
            return object;
        }
        object->release();
    }
    dk_source_release(source);
    return nullptr;
}

inline IODispatchSource_IVars *state_of(const IODispatchSource *source) { return source->IODispatchSource::ivars; }

kern_return_t source_cancel(IODispatchSource *source, const char *method, IODispatchSourceCancelHandler handler);
kern_return_t source_enable(IODispatchSource *source, const char *method, bool enable,
                            IODispatchSourceCancelHandler handler);

/// The engine's handler that sends the callback `send(action, a, b)`. A null action gives a handler that does nothing.
typedef void (*SendCallback)(OSAction *action, uint64_t a, uint64_t b);
kern_return_t source_set_handler(IODispatchSource *source, OSAction **slot, OSAction *action, SendCallback send,
                                 dk_ret (*set)(dk_source *, const dk_handler *));

/// An object of class T to send callbacks from: the message's first object is the action, so any instance will do. Kept
/// for the life of the process, since a handler may run while its own source is being freed.
template <typename T> T *sender(OSMetaClass *meta)
{
    static T *instance = [meta] {
        T *object = alloc<T>(meta);
        if (object != nullptr) {
            set_internal(object);
        }
        return object;
    }();
    return instance;
}

} // namespace dk

#endif
