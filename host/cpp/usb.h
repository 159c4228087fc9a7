// SPDX-License-Identifier: MIT OR Apache-2.0
// Pipes. Private to host/cpp.

#ifndef WEIR_HOST_USB_H
#define WEIR_HOST_USB_H

#include "dk_usb.h"

class IOUSBHostPipe;

namespace dk {

/// An object with one reference for an engine pipe; takes the caller's reference to it, also on failure.
IOUSBHostPipe *wrap_pipe(dk_usb_pipe *pipe);

} // namespace dk

#endif
