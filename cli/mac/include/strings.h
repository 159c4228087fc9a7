/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * bzero(3) and its like, for check builds without Apple's SDK.
 */
#ifndef WEIR_CHECK_STRINGS_H
#define WEIR_CHECK_STRINGS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

int  bcmp(const void * left, const void * right, size_t size);
void bcopy(const void * from, void * to, size_t size);
void bzero(void * memory, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_CHECK_STRINGS_H */
