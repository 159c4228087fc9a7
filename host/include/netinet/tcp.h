/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The TCP header (RFC 9293 section 3.1) with BSD's names.
 */
#ifndef WEIR_NETINET_TCP_H
#define WEIR_NETINET_TCP_H

#include <netinet/in.h>

typedef uint32_t tcp_seq;

struct tcphdr {
    uint16_t th_sport;
    uint16_t th_dport;
    tcp_seq  th_seq;
    tcp_seq  th_ack;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    unsigned int th_x2  : 4;
    unsigned int th_off : 4;
#else
    unsigned int th_off : 4;
    unsigned int th_x2  : 4;
#endif
    uint8_t  th_flags;
#define TH_FIN  0x01
#define TH_SYN  0x02
#define TH_RST  0x04
#define TH_PUSH 0x08
#define TH_ACK  0x10
#define TH_URG  0x20
#define TH_ECE  0x40
#define TH_CWR  0x80
    uint16_t th_win;
    uint16_t th_sum;
    uint16_t th_urp;
};

#endif /* WEIR_NETINET_TCP_H */
