/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * stdlib.h, for check builds without Apple's SDK.
 */
#ifndef WEIR_CHECK_STDLIB_H
#define WEIR_CHECK_STDLIB_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

__attribute__((noreturn)) void abort(void);
void * calloc(size_t count, size_t size);
void   free(void * memory);
void * malloc(size_t size);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_CHECK_STDLIB_H */
