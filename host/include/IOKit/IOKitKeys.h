/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The name that code shared with kernel extensions uses.
 */
#ifndef WEIR_IOKIT_IOKITKEYS_H
#define WEIR_IOKIT_IOKITKEYS_H

#include <DriverKit/IOKitKeys.h>

#endif /* WEIR_IOKIT_IOKITKEYS_H */
