/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the files of the USB glue share. What the bytes mean (descriptors, blocks, messages) is the core's business.
 *
 * Threads. Requests and the life of pipes belong to Default. Completions arrive on `completions`, a queue of their own:
 * Default may be waiting for the device just then. `submit` is called from the pair's queue. `pipes` guards the pointers to the
 * pipes' objects against the moment in which the data setting changes.
 */
#ifndef WEIR_USB_H
#define WEIR_USB_H

#include "weir_dext.h"

#include <USBDriverKit/USBDriverKit.h>

#include "WeirUSBEthernet.h"

namespace weir {

struct UsbPipe {
    IOUSBHostPipe *pipe; /* null while the data setting is not selected */
    OSAction *action;
    uint32_t slots;
    IOBufferMemoryDescriptor *memory[WEIR_USB_SLOTS_MAX];
};

} // namespace weir

struct WeirUSBEthernet_IVars {
    IOUSBHostInterface *control; /* the provider; opened */
    IOUSBHostInterface *data;    /* opened */
    IOUSBHostDevice *device;
    IOBufferMemoryDescriptor *request; /* data stage of control requests */
    uint8_t *requestBytes;
    IODispatchQueue *completions;
    IOLock *pipesLock;
    bool controlOpen;
    bool dataOpen;
    uint32_t live; /* atomic: completions may go to the core */
    weir_usb_plan plan;
    weir::UsbPipe pipes[WEIR_USB_PIPES];
};

namespace weir {

inline WeirUSBEthernet *usbOf(WeirEthernet *nic) { return static_cast<WeirUSBEthernet *>(nic); }

/* WeirUSBOps.cpp: what the core asks of the device. */
weir_status toStatus(kern_return_t ret);
void fillUsbOps(WeirUSBEthernet *nic, weir_usb_ops &ops);
void closePipes(WeirUSBEthernet *nic);

} // namespace weir

#endif /* WEIR_USB_H */
