/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Part of weir_core.h, which includes it: programs that watch frames and events.
 */
#ifndef WEIR_TAP_H
#define WEIR_TAP_H

/* Taps: programs that watch. Each has memory that it shares with the core, layout in src/mem/tap_ring/mod.rs, and is not
 * trusted with it. A program that is slow loses records, which are counted; frames never wait for it. */
#define WEIR_TAPS_MAX 8u
/* weir_tap_config.kinds. */
enum {
    WEIR_TAP_IN = 1u << 0,     /* frames from the wire, as they arrived */
    WEIR_TAP_OUT = 1u << 1,    /* frames to the wire, as they leave */
    WEIR_TAP_COPIES = 1u << 2, /* of those only what a rule with `dup-to` matched, as it goes on */
    WEIR_TAP_EVENTS = 1u << 3, /* events, and no frames */
};
/* Flag of a frame's record: a rule with `dup-to` matched. */
#define WEIR_TAP_COPY 1u
/* A request: this, then `instructions` weir_bpf_insn, which say which frames and how much of them. */
typedef struct weir_tap_config {
    uint32_t version;      /* WEIR_ABI_VERSION */
    uint32_t kinds;        /* WEIR_TAP_* */
    uint32_t snaplen;      /* bytes of each frame; 0 = all */
    uint32_t ring_bytes;   /* of each ring, a power of two, 4 KiB to 16 MiB; all rings of a tap at most 64 MiB */
    uint32_t instructions; /* at most 4096; 0 = every frame */
    uint32_t reserved;     /* 0 */
} weir_tap_config;
WEIR_STATIC_ASSERT(sizeof(weir_tap_config) == 24, "weir_tap_config layout");
/* One instruction of a classic BPF program, as in <net/bpf.h>. */
typedef struct weir_bpf_insn {
    uint16_t code;
    uint8_t jt;
    uint8_t jf;
    uint32_t k;
} weir_bpf_insn;
WEIR_STATIC_ASSERT(sizeof(weir_bpf_insn) == 8, "weir_bpf_insn layout");
typedef struct weir_tap_info {
    uint32_t kinds;   /* 0 = nobody has this tap */
    uint32_t snaplen;
    uint64_t seen;    /* frames or events that were looked at */
    uint64_t kept;    /* that were wanted and found room */
    uint64_t lost;    /* that were wanted and found none */
} weir_tap_info;
WEIR_STATIC_ASSERT(sizeof(weir_tap_info) == 32, "weir_tap_info layout");
/* Bytes of memory that a request needs; 0 = the request is wrong. `rings`, which may be null, gets the rings in it. */
uint64_t weir_tap_size(weir_core *core, const void *req, size_t req_len, uint32_t *rings);
/* `mem` is zeroed and must stay mapped until weir_tap_detach has returned. WEIR_E_BUSY: somebody has this tap. */
weir_status weir_tap_attach(weir_core *core, uint32_t tap, const void *req, size_t req_len, uint8_t *mem, uint64_t len);
weir_status weir_tap_detach(weir_core *core, uint32_t tap);

enum {
    WEIR_EVENT_LOG = 1,     /* a rule with `log` matched */
    WEIR_EVENT_LINK = 2,
    WEIR_EVENT_RULESET = 3, /* rule = number of rules, reason = epoch */
    WEIR_EVENT_MISUSE = 4,
};
typedef struct weir_event {
    uint64_t time_ns;  /* 0 = not known */
    uint32_t kind;     /* WEIR_EVENT_* */
    uint32_t rule;     /* 0xffffffff = no rule */
    uint8_t direction; /* 1 in, 2 out */
    uint8_t action;    /* 0 pass, 1 block */
    uint8_t reason;    /* WEIR_DROP_*; 255 = none */
    uint8_t protocol;  /* IP protocol; 255 = not IP */
    uint16_t ethertype;
    uint16_t vlan;     /* outermost TCI; 0 = untagged */
    uint16_t sport;
    uint16_t dport;
    uint16_t len;      /* frame length, at most 65535 */
    uint8_t family;    /* 0 none, 4, 6 */
    uint8_t reserved;
    uint8_t src[16];   /* IPv4 in the first four bytes */
    uint8_t dst[16];
} weir_event;
WEIR_STATIC_ASSERT(sizeof(weir_event) == 64, "weir_event layout");

#endif /* WEIR_TAP_H */
