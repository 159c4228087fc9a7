/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Atomic operations that return the value before.
 */
#ifndef WEIR_LIBKERN_OSATOMIC_H
#define WEIR_LIBKERN_OSATOMIC_H

#include <stdbool.h>
#include <stdint.h>

static inline int32_t
OSAddAtomic(int32_t amount, volatile int32_t * address)
{
    return __atomic_fetch_add(address, amount, __ATOMIC_SEQ_CST);
}

static inline int64_t
OSAddAtomic64(int64_t amount, volatile int64_t * address)
{
    return __atomic_fetch_add(address, amount, __ATOMIC_SEQ_CST);
}

static inline int32_t
OSIncrementAtomic(volatile int32_t * address)
{
    return OSAddAtomic(1, address);
}

static inline int32_t
OSDecrementAtomic(volatile int32_t * address)
{
    return OSAddAtomic(-1, address);
}

static inline bool
OSCompareAndSwap(uint32_t oldValue, uint32_t newValue, volatile uint32_t * address)
{
    return __atomic_compare_exchange_n(address, &oldValue, newValue, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

#define OSMemoryBarrier() __atomic_thread_fence(__ATOMIC_SEQ_CST)

#endif /* WEIR_LIBKERN_OSATOMIC_H */
