/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The IPv4 header (RFC 791 section 3.1) with BSD's names.
 */
#ifndef WEIR_NETINET_IP_H
#define WEIR_NETINET_IP_H

#include <netinet/in.h>

#define IPVERSION 4

struct ip {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    unsigned int ip_hl : 4;
    unsigned int ip_v  : 4;
#else
    unsigned int ip_v  : 4;
    unsigned int ip_hl : 4;
#endif
    uint8_t  ip_tos;
    uint16_t ip_len;
    uint16_t ip_id;
    uint16_t ip_off;
#define IP_RF      0x8000
#define IP_DF      0x4000
#define IP_MF      0x2000
#define IP_OFFMASK 0x1fff
    uint8_t  ip_ttl;
    uint8_t  ip_p;
    uint16_t ip_sum;
    struct in_addr ip_src;
    struct in_addr ip_dst;
};

#define IP_MAXPACKET 65535

#endif /* WEIR_NETINET_IP_H */
