/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Checked arithmetic: true if the result did not fit.
 */
#ifndef WEIR_OS_OVERFLOW_H
#define WEIR_OS_OVERFLOW_H

#define os_add_overflow(a, b, res) __builtin_add_overflow((a), (b), (res))
#define os_sub_overflow(a, b, res) __builtin_sub_overflow((a), (b), (res))
#define os_mul_overflow(a, b, res) __builtin_mul_overflow((a), (b), (res))

#define os_add3_overflow(a, b, c, res) \
    ({ __typeof__(*(res)) __s; bool __o = os_add_overflow((a), (b), &__s); os_add_overflow(__s, (c), (res)) || __o; })
#define os_mul_and_add_overflow(a, x, b, res) \
    ({ __typeof__(*(res)) __s; bool __o = os_mul_overflow((a), (x), &__s); os_add_overflow(__s, (b), (res)) || __o; })

#endif /* WEIR_OS_OVERFLOW_H */
