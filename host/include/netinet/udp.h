/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The UDP header (RFC 768) with BSD's names.
 */
#ifndef WEIR_NETINET_UDP_H
#define WEIR_NETINET_UDP_H

#include <netinet/in.h>

struct udphdr {
    uint16_t uh_sport;
    uint16_t uh_dport;
    uint16_t uh_ulen;
    uint16_t uh_sum;
};

#endif /* WEIR_NETINET_UDP_H */
