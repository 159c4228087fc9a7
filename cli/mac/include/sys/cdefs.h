/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * C linkage, for check builds without Apple's SDK; host/include/sys/cdefs.h defines the rest.
 */
#ifndef WEIR_CHECK_SYS_CDEFS_H
#define WEIR_CHECK_SYS_CDEFS_H

#ifdef __cplusplus
#define __BEGIN_DECLS extern "C" {
#define __END_DECLS   }
#else
#define __BEGIN_DECLS
#define __END_DECLS
#endif

#endif /* WEIR_CHECK_SYS_CDEFS_H */
