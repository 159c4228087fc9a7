/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The name that code shared with kernel extensions uses.
 */
#ifndef WEIR_IOKIT_IORETURN_H
#define WEIR_IOKIT_IORETURN_H

#include <DriverKit/IOReturn.h>

#endif /* WEIR_IOKIT_IORETURN_H */
