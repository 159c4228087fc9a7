/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Internet addresses, for check builds without Apple's SDK.
 */
#ifndef WEIR_CHECK_NETINET_IN_H
#define WEIR_CHECK_NETINET_IN_H

#include <stdint.h>

typedef uint16_t in_port_t;
typedef uint32_t in_addr_t;
struct in_addr {
    in_addr_t s_addr;
};
struct in6_addr {
    union {
        uint8_t  __u6_addr8[16];
        uint16_t __u6_addr16[8];
        uint32_t __u6_addr32[4];
    } __u6_addr;
};
#define s6_addr __u6_addr.__u6_addr8

#endif /* WEIR_CHECK_NETINET_IN_H */
