/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Addresses and protocol numbers of the Internet (IANA protocol-numbers) with BSD's names, and without sockets: a driver
 * extension has none, so it may name its own struct sockaddr.
 */
#ifndef WEIR_NETINET_IN_H
#define WEIR_NETINET_IN_H

#include <stdint.h>
#include <sys/types.h>
#include <machine/endian.h>

typedef uint32_t in_addr_t;
typedef uint16_t in_port_t;

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
typedef struct in6_addr in6_addr_t;

#define IPPROTO_IP       0
#define IPPROTO_HOPOPTS  0
#define IPPROTO_ICMP     1
#define IPPROTO_IGMP     2
#define IPPROTO_IPV4     4
#define IPPROTO_IPIP     IPPROTO_IPV4
#define IPPROTO_TCP      6
#define IPPROTO_EGP      8
#define IPPROTO_UDP      17
#define IPPROTO_IPV6     41
#define IPPROTO_ROUTING  43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_RSVP     46
#define IPPROTO_GRE      47
#define IPPROTO_ESP      50
#define IPPROTO_AH       51
#define IPPROTO_ICMPV6   58
#define IPPROTO_NONE     59
#define IPPROTO_DSTOPTS  60
#define IPPROTO_OSPFIGP  89
#define IPPROTO_PIM      103
#define IPPROTO_SCTP     132
#define IPPROTO_RAW      255
#define IPPROTO_MAX      256

#define INADDR_ANY       ((in_addr_t) 0x00000000)
#define INADDR_LOOPBACK  ((in_addr_t) 0x7f000001)
#define INADDR_BROADCAST ((in_addr_t) 0xffffffff)
#define INADDR_NONE      ((in_addr_t) 0xffffffff)

/* In host byte order (RFC 5771). */
#define IN_CLASSD(i)    (((uint32_t) (i) & 0xf0000000) == 0xe0000000)
#define IN_MULTICAST(i) IN_CLASSD(i)

#define IN6_IS_ADDR_MULTICAST(a) ((a)->s6_addr[0] == 0xff)
#define IN6_IS_ADDR_LINKLOCAL(a) ((a)->s6_addr[0] == 0xfe && ((a)->s6_addr[1] & 0xc0) == 0x80)

#define INET_ADDRSTRLEN  16
#define INET6_ADDRSTRLEN 46

#endif /* WEIR_NETINET_IN_H */
