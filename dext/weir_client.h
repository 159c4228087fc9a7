/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The contract between the dext's user client (WeirUserClient) and its clients: IOServiceOpen types, selectors,
 * sizes, notifications, shared memory. Clients on Linux speak it over the runtime's socket, on macOS over IOKit.
 *
 * Every client is hostile until proven otherwise: sizes are checked before anything is looked at, structures are
 * copied out of client memory before they are validated, and what changes the driver needs an entitlement.
 */
#ifndef WEIR_CLIENT_H
#define WEIR_CLIENT_H

#include <stdint.h>

#include "weir_core.h"

/* IOServiceOpen's type. */
enum {
    WEIR_CLIENT_CONTROL = 0, /* commands, counters, notifications */
    WEIR_CLIENT_WIRE = 1,    /* also the far end of a NIC whose wire is "client" or "none"; one at a time */
};

/* A client whose entitlements have this key set to true may change the driver. Every other client may read. */
#define WEIR_CLIENT_ENTITLEMENT "dev.weir.control"

/* IOConnectCall*Method's selector. Scalars are 64 bits. */
enum {
    /* Structure in: weir_cmd, then its payload (a descriptor above 4096 bytes). Structure out: the reply.
     * Scalars out: [0] weir_status, sign-extended; [1] size of the whole reply, also when it did not fit.
     * The call itself succeeds whenever the command reached the core, so that a refusal's reply arrives too. */
    WEIR_SELECTOR_COMMAND = 0,
    /* Wire clients only. Scalars out: [0] bytes of the rings' memory (map type WEIR_CLIENT_MEMORY_WIRE), [1] queues.
     * Needs the entitlement. kIOReturnExclusiveAccess while another client holds the wire. */
    WEIR_SELECTOR_OPEN_WIRE = 1,
    /* The client put frames into its ring or freed slots. Only after WEIR_SELECTOR_OPEN_WIRE. */
    WEIR_SELECTOR_KICK_WIRE = 2,
    /* Asynchronous. Scalar in: [0] WEIR_NOTIFY_* mask. The completion is kept and called for every notification
     * until another registration, or mask 0 without completion, replaces it. */
    WEIR_SELECTOR_NOTIFY = 3,
    /* Scalar in: [0] 1 plugs, 0 pulls the cable of a virtual NIC. Needs the entitlement. */
    WEIR_SELECTOR_SET_LINK = 4,
    /* Structure out: weir_glue_counters. */
    WEIR_SELECTOR_GLUE_COUNTERS = 5,
    /* Structure in: weir_tap_config, then its filter program. Scalars out: [0] bytes of the rings' memory (map type
     * WEIR_CLIENT_MEMORY_TAP), [1] rings. One tap in a client's life; frames need the entitlement, events do not.
     * kIOReturnNoResources when all taps are taken: half of them are for clients with the entitlement only. */
    WEIR_SELECTOR_OPEN_TAP = 6,
    WEIR_SELECTOR_CLOSE_TAP = 7,
    WEIR_SELECTOR_COUNT = 8,
};

/* IOConnectMapMemory's type. */
enum {
    /* The wire rings, layout in src/mem/wire_ring.rs; wire clients only, after WEIR_SELECTOR_OPEN_WIRE. */
    WEIR_CLIENT_MEMORY_WIRE = 0,
    /* The tap's rings, layout in src/mem/tap_ring/mod.rs; after WEIR_SELECTOR_OPEN_TAP. */
    WEIR_CLIENT_MEMORY_TAP = 1,
};

/* Largest request and largest reply of WEIR_SELECTOR_COMMAND, bytes. */
#define WEIR_CLIENT_REQUEST_MAX (64u << 20)
#define WEIR_CLIENT_REPLY_MAX (16u << 20)
/* Largest request of WEIR_SELECTOR_OPEN_TAP, bytes. */
#define WEIR_CLIENT_TAP_MAX (sizeof(weir_tap_config) + 4096u * sizeof(weir_bpf_insn))

/* Notifications: asynchronous scalars [0] one WEIR_NOTIFY_* bit, [1] its argument. Each is edge-triggered and
 * coalesced: look at the state, then wait again. */
enum {
    WEIR_NOTIFY_WIRE = 1u << 0,    /* a to-client ring went from empty to not empty; argument: mask of queues */
    WEIR_NOTIFY_LINK = 1u << 1,    /* argument: 1 up, 0 down */
    WEIR_NOTIFY_RULESET = 1u << 2, /* a ruleset was loaded or cleared, or the mode changed; argument: 0 */
    WEIR_NOTIFY_TAP = 1u << 3,     /* a ring of this client's tap, whose reader waits, has a record; argument: 0 */
    WEIR_NOTIFY_ALL = 15u,
};

/* What the glue itself counted. All zero in a healthy system but the first four. */
typedef struct weir_glue_counters {
    uint64_t tx_dequeued;      /* = tx_completed + tx_returned + packets in flight */
    uint64_t tx_completed;     /* accepted by the TX completion queue */
    uint64_t rx_dequeued;      /* = rx_delivered + rx_returned + packets in flight */
    uint64_t rx_delivered;     /* accepted by the RX completion queue */
    uint64_t tx_returned;      /* given back to the pool: the completion queue refused them */
    uint64_t rx_returned;      /* given back to the pool: empty at disable, refused, or bad */
    uint64_t tx_bad_address;   /* address or length outside the pool's buffers: completed untouched */
    uint64_t rx_bad_address;   /* the same for empty packets: returned untouched */
    uint64_t rx_bad_metadata;  /* the packet refused its length or checksum information: returned */
    uint64_t tx_refused;       /* the core took fewer than it had promised: completed with an error */
    uint64_t rx_refused;
    uint64_t enqueue_short;    /* packets that EnqueuePackets did not accept, both directions */
    uint64_t packets_in_flight; /* gauge: with the core now, both directions */
    uint64_t doorbell_hops;    /* TX doorbells that arrived on another queue than their own */
} weir_glue_counters;
WEIR_STATIC_ASSERT(sizeof(weir_glue_counters) == 14 * 8, "weir_glue_counters layout");

#endif /* WEIR_CLIENT_H */
