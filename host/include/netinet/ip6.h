/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The IPv6 header (RFC 8200 section 3) and its extensions (section 4) with the names of RFC 3542.
 */
#ifndef WEIR_NETINET_IP6_H
#define WEIR_NETINET_IP6_H

#include <netinet/in.h>

struct ip6_hdr {
    union {
        struct ip6_hdrctl {
            uint32_t ip6_un1_flow;
            uint16_t ip6_un1_plen;
            uint8_t  ip6_un1_nxt;
            uint8_t  ip6_un1_hlim;
        } ip6_un1;
        uint8_t ip6_un2_vfc;
    } ip6_ctlun;
    struct in6_addr ip6_src;
    struct in6_addr ip6_dst;
} __attribute__((packed));

#define ip6_vfc  ip6_ctlun.ip6_un2_vfc
#define ip6_flow ip6_ctlun.ip6_un1.ip6_un1_flow
#define ip6_plen ip6_ctlun.ip6_un1.ip6_un1_plen
#define ip6_nxt  ip6_ctlun.ip6_un1.ip6_un1_nxt
#define ip6_hlim ip6_ctlun.ip6_un1.ip6_un1_hlim
#define ip6_hops ip6_ctlun.ip6_un1.ip6_un1_hlim

#define IPV6_VERSION      0x60
#define IPV6_VERSION_MASK 0xf0

struct ip6_ext {
    uint8_t ip6e_nxt;
    uint8_t ip6e_len;
} __attribute__((packed));

struct ip6_frag {
    uint8_t  ip6f_nxt;
    uint8_t  ip6f_reserved;
    uint16_t ip6f_offlg;
    uint32_t ip6f_ident;
} __attribute__((packed));

#endif /* WEIR_NETINET_IP6_H */
