/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The part of dk_runtime.h that is USB. A service has a node: a device or one of its interfaces. All of these functions
 * may wait for the device, except dk_usb_pipe_submit.
 */
#ifndef DK_USB_H
#define DK_USB_H

#include "dk_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dk_usb_pipe dk_usb_pipe; /* IOUSBHostPipe */

/* kIOReturnNotAttached without a node. */
dk_ret dk_usb_open(dk_service *service);
dk_ret dk_usb_close(dk_service *service);
/* The device that an interface belongs to becomes the node of `device`. */
dk_ret dk_usb_bind_device(dk_service *interface, dk_service *device);
/* The nth interface (0 = first) of the selected configuration; kIOReturnNotFound behind the last. */
dk_ret dk_usb_bind_interface(dk_service *device, uint32_t nth, dk_service *interface);
/* -1 without an interface. */
int32_t dk_usb_interface_number(dk_service *service);
/* Copies descriptors: the device's (what = 1), or a configuration with all that follows it: by index (what = 2), by
 * value (what = 3), the selected one (what = 4). Returns the whole length; copies at most `room`. 0 = there is none. */
uint32_t dk_usb_descriptor(dk_service *service, uint32_t what, uint32_t which, void *out, uint32_t room);
dk_ret dk_usb_set_configuration(dk_service *device, uint32_t value);
dk_ret dk_usb_set_alternate(dk_service *interface, uint32_t alternate);
dk_ret dk_usb_control(dk_service *service, uint8_t request_type, uint8_t request, uint16_t value, uint16_t index,
                      dk_mem *data, uint16_t length, uint16_t *transferred, uint32_t timeout_ms);
dk_ret dk_usb_reset(dk_service *device);
uint32_t dk_usb_speed(dk_service *service);
uint32_t dk_usb_address(dk_service *service);
void dk_usb_set_idle(dk_service *service, uint32_t ms);
uint32_t dk_usb_idle(dk_service *service);

/* A pipe of the selected alternate setting; kIOReturnNotFound, kIOReturnNotOpen. One reference. */
dk_usb_pipe *dk_usb_copy_pipe(dk_service *interface, uint8_t address, dk_ret *err);
void dk_usb_pipe_release(dk_usb_pipe *pipe);
/* Called exactly once, by any thread, unless the submission failed. */
typedef void (*dk_usb_done)(void *ctx, dk_ret status, uint32_t actual);
/* Borrows mem, holds it until the end. */
dk_ret dk_usb_pipe_submit(dk_usb_pipe *pipe, dk_mem *mem, uint32_t length, dk_usb_done done, void *ctx);
/* Waits for the end; timeout_ms 0 = none. */
dk_ret dk_usb_pipe_io(dk_usb_pipe *pipe, dk_mem *mem, uint32_t length, uint32_t *actual, uint32_t timeout_ms);
void dk_usb_pipe_abort(dk_usb_pipe *pipe);
dk_ret dk_usb_pipe_clear_stall(dk_usb_pipe *pipe);
/* The endpoint descriptor, 7 bytes. */
dk_ret dk_usb_pipe_descriptor(dk_usb_pipe *pipe, uint8_t out[7]);
uint32_t dk_usb_pipe_speed(const dk_usb_pipe *pipe);
uint32_t dk_usb_pipe_address(const dk_usb_pipe *pipe);

#ifdef __cplusplus
}
#endif

#endif /* DK_USB_H */
