/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Requests and replies of the commands about addresses, tables and states. Part of weir_core.h, which includes it.
 */
#ifndef WEIR_FILTER_H
#define WEIR_FILTER_H

/* arg of WEIR_CMD_TABLE_CHANGE */
enum {
    WEIR_TABLE_ADD = 0,
    WEIR_TABLE_DELETE = 1,
    WEIR_TABLE_REPLACE = 2, /* without entries: flush */
};

/* Addresses are in network order, IPv4 in the first four bytes. family: 4 or 6. */
typedef struct weir_address {
    uint8_t addr[16];
    uint8_t broadcast[16];
    uint8_t peer[16];
    uint8_t family;
    uint8_t len;           /* prefix length of its network */
    uint8_t has_broadcast;
    uint8_t has_peer;
} weir_address;
WEIR_STATIC_ASSERT(sizeof(weir_address) == 52, "weir_address layout");

typedef struct weir_table_entry {
    uint8_t addr[16]; /* host bits are zero */
    uint8_t family;
    uint8_t len;
    uint8_t negate;   /* 1 = not in the table, although a shorter prefix is */
    uint8_t reserved; /* 0 */
} weir_table_entry;
WEIR_STATIC_ASSERT(sizeof(weir_table_entry) == 20, "weir_table_entry layout");

typedef struct weir_table_result {
    uint32_t added;
    uint32_t deleted;
    uint32_t changed; /* the other way round with regard to `negate` */
    uint32_t entries; /* now in the table */
} weir_table_result;
WEIR_STATIC_ASSERT(sizeof(weir_table_result) == 16, "weir_table_result layout");

typedef struct weir_state {
    uint64_t id;           /* for weir_state_filter */
    uint64_t packets[2];   /* of the end that began, of the other */
    uint64_t bytes[2];
    uint64_t age_ms;
    uint64_t expires_ms;
    uint8_t wire_far[16];  /* as the wire shows it */
    uint8_t wire_near[16];
    uint8_t stack_far[16]; /* as the stack has it */
    uint8_t stack_near[16];
    uint16_t wire_ports[2]; /* far, near; ICMP: identifier, type of the request */
    uint16_t stack_ports[2];
    uint32_t rule;         /* 0xffffffff = not there any more */
    uint8_t direction;     /* 1 in, 2 out */
    uint8_t family;        /* 4, 6 */
    uint8_t protocol;
    uint8_t phase[2];      /* TCP: BSD's states, 4 = established; others: 0 nothing, 1 single, 2 multiple */
    uint8_t reserved[7];
} weir_state;
WEIR_STATIC_ASSERT(sizeof(weir_state) == 144, "weir_state layout");

/* A source that is tracked. */
typedef struct weir_source {
    uint8_t addr[16];
    uint32_t rule;        /* 0xffffffff = of all rules, or of one that is not there any more */
    uint32_t states;
    uint32_t connections; /* of those, the ones whose handshake is over */
    uint32_t rate;        /* thousandths of connections that counted for its rate when the last one came */
    uint64_t age_ms;
    uint64_t expires_ms;  /* without states */
    uint64_t next;        /* where the list goes on */
    uint8_t family;       /* 4, 6 */
    uint8_t reserved[7];
} weir_source;
WEIR_STATIC_ASSERT(sizeof(weir_source) == 64, "weir_source layout");

/* States that meet everything that is given are killed. */
typedef struct weir_state_filter {
    uint64_t id;        /* 0 = any */
    uint8_t host[16];   /* one end */
    uint8_t peer[16];   /* the other */
    uint8_t host_family; /* 0 = any */
    uint8_t host_len;
    uint8_t peer_family; /* 0 = any */
    uint8_t peer_len;
    uint32_t reserved;  /* 0 */
    char label[64];     /* NUL-terminated; of the rule that made them; empty = any */
} weir_state_filter;
WEIR_STATIC_ASSERT(sizeof(weir_state_filter) == 112, "weir_state_filter layout");

typedef struct weir_filter_status {
    uint64_t states;       /* now */
    uint32_t timeouts[20]; /* seconds, in pf's order: tcp.first .. tcp.closed, udp.*, icmp.*, other.*, frag, interval,
                            * adaptive.start, adaptive.end, src.track, tcp.tsdiff */
    uint32_t limits[5];    /* states, src-nodes, frags, tables, table-entries */
    uint32_t reserved;
} weir_filter_status;
WEIR_STATIC_ASSERT(sizeof(weir_filter_status) == 112, "weir_filter_status layout");

#endif /* WEIR_FILTER_H */
