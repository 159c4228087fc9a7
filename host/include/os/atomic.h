/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * C11 atomics under the names of os/atomic.h.
 */
#ifndef WEIR_OS_ATOMIC_H
#define WEIR_OS_ATOMIC_H

#include <stdatomic.h>

#endif /* WEIR_OS_ATOMIC_H */
