/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the stack hands over when the NIC answers for a sleeping host. DriverKit 20. Offsets count bytes from the start
 * of nicproxy_info_s.
 */
#ifndef WEIR_NETWORKINGDRIVERKIT_NICPROXY_H
#define WEIR_NETWORKINGDRIVERKIT_NICPROXY_H

#include <stdint.h>
#include <net/ethernet.h>
#include <netinet/in.h>

typedef struct in6_addr in6_addr_t;

#define NIC_PROXY_FLAGS_WOMP    0x40
#define NIC_PROXY_FLAGS_WONLINK 0x80

enum {
    nicproxy_keepalive_ethertype_ip = 0,
    nicproxy_keepalive_tcp          = 2,
};

enum {
    rr_length_mask = 0x3fff,
    rr_ptr_mask    = 0xc000,
};

typedef struct nicproxy_limits_info_s {
    uint8_t  ipv4_cnt;
    uint8_t  ipv6_cnt;
    uint16_t kaIPv4Count;
    uint16_t kaIPv6Count;
    uint16_t wakeUDPCount;
    uint16_t wakeTCPCount;
    uint16_t rr_cnt;
    uint8_t  mDnsMaxDomainLen;
    uint8_t  ethCount;
    uint16_t rr_buf_size;
} nicproxy_limits_info_t;

typedef struct nicproxy_inet_info_s {
    uint8_t  v4AddrCount;
    uint8_t  v6AddrCount;
    uint8_t  v4LocalAddrCount;
    uint8_t  v6LocalAddrCount;
    uint32_t v4AddrOfft;
    uint32_t v4PrefixOfft;
    uint32_t v6AddrOfft;
    uint32_t v6PrefixOfft;
} nicproxy_inet_info_t;

typedef struct nicproxy_rr_info_s {
    uint32_t RRCount;
    uint32_t RRBufLen;
    uint32_t RRIdxOfft;
    uint32_t RRBufOfft;
} nicproxy_rr_info_t;

typedef struct nicproxy_port_info_s {
    uint16_t UDPPortCount;
    uint16_t TCPPortCount;
    uint32_t UDPPortOfft;
    uint32_t TCPPortOfft;
} nicproxy_port_info_t;

typedef struct nicproxy_keep_alive_info_s {
    uint16_t v4KACount;
    uint16_t v6KACount;
    uint32_t v4KAOfft;
    uint32_t v6KAOfft;
    uint32_t retryInterval;
    uint32_t retryCount;
} nicproxy_keep_alive_info_t;

typedef struct nicproxy_v4_keep_alive_s {
    ether_addr_t remote_mac_addr;
    in_addr_t    local_ip;
    in_addr_t    remote_ip;
    in_port_t    local_port;
    in_port_t    remote_port;
    uint32_t     timeout;
    uint32_t     seq_num;
    uint32_t     ack_num;
    uint16_t     win_size;
} nicproxy_v4_keep_alive_t;

typedef struct nicproxy_v6_keep_alive_s {
    ether_addr_t remote_mac_addr;
    in6_addr_t   local_ip;
    in6_addr_t   remote_ip;
    in_port_t    local_port;
    in_port_t    remote_port;
    uint32_t     timeout;
    uint32_t     seq_num;
    uint32_t     ack_num;
    uint16_t     win_size;
} nicproxy_v6_keep_alive_t;

typedef struct nicproxy_info_s {
    uint32_t                   len;
    ether_addr_t               mac_addr;
    uint8_t                    flags;
    uint8_t                    reserved;
    nicproxy_inet_info_t       ips;
    nicproxy_rr_info_t         rrs;
    nicproxy_port_info_t       ports;
    nicproxy_keep_alive_info_t kas;
    uint8_t                    buf[0];
} nicproxy_info_t;

/* The predecessor of nicproxy_info_s; only ever passed as a pointer. */
struct offload_info_s;

/* RFC 1035 section 4.1: a resource record is a label, a pointer to a label, or the fixed part after the name. */
typedef union rr_record_s {
    struct {
        uint8_t hb;
        uint8_t lb;
    } ptr;
    struct {
        uint8_t len;
        uint8_t name[];
    } label;
    struct {
        uint16_t type;
        uint16_t rr_class;
        uint32_t ttl;
        uint16_t len;
        uint8_t  record[];
    } __attribute__((packed)) rr;
} rr_record_t;

typedef struct rr_sub_type_s {
    uint16_t sub_typ_cnt;
    uint8_t  sub_typ_name[];
} rr_sub_type_t;

#endif /* WEIR_NETWORKINGDRIVERKIT_NICPROXY_H */
