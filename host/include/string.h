/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The C library's string.h and the functions of BSD.
 */
#ifndef WEIR_STRING_H
#define WEIR_STRING_H

#include_next <string.h>

#include <stddef.h>
#include <strings.h>

#if defined(__GLIBC__)
#if !__GLIBC_PREREQ(2, 38)
/* OpenBSD strlcpy(3): the length of src; dst is terminated if size is not 0. */
static inline size_t
strlcpy(char * dst, const char * src, size_t size)
{
    size_t length = strlen(src);
    if (size) {
        size_t copied = length < size - 1 ? length : size - 1;
        memcpy(dst, src, copied);
        dst[copied] = 0;
    }
    return length;
}

static inline size_t
strlcat(char * dst, const char * src, size_t size)
{
    size_t used = strnlen(dst, size);
    return used + (used < size ? strlcpy(dst + used, src, size - used) : strlen(src));
}
#endif
#endif

#endif /* WEIR_STRING_H */
