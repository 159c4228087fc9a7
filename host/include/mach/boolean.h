/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Mach's truth.
 */
#ifndef WEIR_MACH_BOOLEAN_H
#define WEIR_MACH_BOOLEAN_H

typedef int boolean_t;

#ifndef TRUE
#define TRUE  1
#define FALSE 0
#endif

#endif /* WEIR_MACH_BOOLEAN_H */
