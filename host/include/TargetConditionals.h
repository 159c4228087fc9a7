/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What is built for: a driver extension.
 */
#ifndef WEIR_TARGETCONDITIONALS_H
#define WEIR_TARGETCONDITIONALS_H

#define TARGET_OS_MAC          1
#define TARGET_OS_OSX          0
#define TARGET_OS_IPHONE       0
#define TARGET_OS_IOS          0
#define TARGET_OS_SIMULATOR    0
#define TARGET_OS_DRIVERKIT    1
#define TARGET_RT_64_BIT       1
#define TARGET_RT_LITTLE_ENDIAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#define TARGET_RT_BIG_ENDIAN    (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
#if defined(__aarch64__)
#define TARGET_CPU_ARM64  1
#define TARGET_CPU_X86_64 0
#else
#define TARGET_CPU_ARM64  0
#define TARGET_CPU_X86_64 1
#endif

#endif /* WEIR_TARGETCONDITIONALS_H */
