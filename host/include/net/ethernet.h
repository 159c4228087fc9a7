/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Ethernet constants and headers, with Darwin's names.
 */
#ifndef WEIR_NET_ETHERNET_H
#define WEIR_NET_ETHERNET_H

#include <stdint.h>
#include <sys/types.h>

#define ETHER_ADDR_LEN          6
#define ETHER_TYPE_LEN          2
#define ETHER_CRC_LEN           4
#define ETHER_HDR_LEN           (ETHER_ADDR_LEN * 2 + ETHER_TYPE_LEN)
#define ETHER_MIN_LEN           64
#define ETHER_MAX_LEN           1518
#define ETHER_ALIGN             2
#define ETHER_VLAN_ENCAP_LEN    4
#define ETHERMTU                (ETHER_MAX_LEN - ETHER_HDR_LEN - ETHER_CRC_LEN)
#define ETHERMIN                (ETHER_MIN_LEN - ETHER_HDR_LEN - ETHER_CRC_LEN)
#define ETHER_IS_VALID_LEN(len) ((len) >= ETHER_MIN_LEN && (len) <= ETHER_MAX_LEN)
#define ETHER_IS_MULTICAST(addr) (*(addr) & 0x01)

typedef struct ether_header {
    uint8_t  ether_dhost[ETHER_ADDR_LEN];
    uint8_t  ether_shost[ETHER_ADDR_LEN];
    uint16_t ether_type;
} __attribute__((packed)) ether_header_t;

typedef struct ether_addr {
    uint8_t octet[ETHER_ADDR_LEN];
} ether_addr_t;
#define ether_addr_octet octet

#define ETHERTYPE_PUP        0x0200
#define ETHERTYPE_IP         0x0800
#define ETHERTYPE_ARP        0x0806
#define ETHERTYPE_REVARP     0x8035
#define ETHERTYPE_VLAN       0x8100
#define ETHERTYPE_IPV6       0x86dd
#define ETHERTYPE_PAE        0x888e
#define ETHERTYPE_LOOPBACK   0x9000

#endif /* WEIR_NET_ETHERNET_H */
