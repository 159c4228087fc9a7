/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Results of Mach calls.
 */
#ifndef WEIR_MACH_KERN_RETURN_H
#define WEIR_MACH_KERN_RETURN_H

#include <DriverKit/IOReturn.h>

#endif /* WEIR_MACH_KERN_RETURN_H */
