/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Logging. A format is printf's, plus annotations in braces as in "%{public}s".
 */
#ifndef WEIR_OS_LOG_H
#define WEIR_OS_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct os_log_s {
    const char * subsystem;
    const char * category;
};
typedef const struct os_log_s * os_log_t;

typedef uint8_t os_log_type_t;
enum {
    OS_LOG_TYPE_DEFAULT = 0x00,
    OS_LOG_TYPE_INFO    = 0x01,
    OS_LOG_TYPE_DEBUG   = 0x02,
    OS_LOG_TYPE_ERROR   = 0x10,
    OS_LOG_TYPE_FAULT   = 0x11,
};

extern const struct os_log_s _os_log_default;

#define OS_LOG_DEFAULT  ((os_log_t) &_os_log_default)
#define OS_LOG_DISABLED ((os_log_t) NULL)

os_log_t
os_log_create(const char * subsystem, const char * category);

bool
os_log_type_enabled(os_log_t log, os_log_type_t type);

void
_os_log_write(os_log_t log, os_log_type_t type, const char * format, ...);

void
_os_log_vwrite(os_log_t log, os_log_type_t type, const char * format, va_list arguments);

#ifdef __cplusplus
}
#endif

#define os_log_with_type(log, type, format, ...)                                \
    do {                                                                        \
        os_log_t __log = (log);                                                 \
        if (__log && os_log_type_enabled(__log, (type)))                        \
            _os_log_write(__log, (type), format, ##__VA_ARGS__);                \
    } while (0)

#define os_log(log, format, ...)       os_log_with_type(log, OS_LOG_TYPE_DEFAULT, format, ##__VA_ARGS__)
#define os_log_info(log, format, ...)  os_log_with_type(log, OS_LOG_TYPE_INFO, format, ##__VA_ARGS__)
#define os_log_debug(log, format, ...) os_log_with_type(log, OS_LOG_TYPE_DEBUG, format, ##__VA_ARGS__)
#define os_log_error(log, format, ...) os_log_with_type(log, OS_LOG_TYPE_ERROR, format, ##__VA_ARGS__)
#define os_log_fault(log, format, ...) os_log_with_type(log, OS_LOG_TYPE_FAULT, format, ##__VA_ARGS__)

#define os_log_info_enabled(log)  os_log_type_enabled(log, OS_LOG_TYPE_INFO)
#define os_log_debug_enabled(log) os_log_type_enabled(log, OS_LOG_TYPE_DEBUG)

#endif /* WEIR_OS_LOG_H */
