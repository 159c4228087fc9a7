/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * C11 section 7.24 as far as a dext needs it, for check builds without Apple's SDK.
 */
#ifndef WEIR_CHECK_STRING_H
#define WEIR_CHECK_STRING_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void * memchr(const void * memory, int byte, size_t size);
int    memcmp(const void * left, const void * right, size_t size);
void * memcpy(void * to, const void * from, size_t size);
void * memmove(void * to, const void * from, size_t size);
void * memset(void * memory, int byte, size_t size);
char * strchr(const char * text, int character);
int    strcmp(const char * left, const char * right);
size_t strlcat(char * to, const char * from, size_t size);
size_t strlcpy(char * to, const char * from, size_t size);
size_t strlen(const char * text);
int    strncmp(const char * left, const char * right, size_t size);
size_t strnlen(const char * text, size_t size);
char * strrchr(const char * text, int character);
char * strstr(const char * text, const char * part);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_CHECK_STRING_H */
