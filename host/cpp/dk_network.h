/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Packet pools, packets and their queues: a part of dk_runtime.h, which includes it; include that.
 */
#ifndef DK_NETWORK_H
#define DK_NETWORK_H

/* ---- packets ------------------------------------------------------------------------------------------------------ */

enum { /* dk_packet.state: who has it */
    DK_PKT_FREE = 0,       /* on the pool's free list */
    DK_PKT_STACK = 1,      /* the stack fills it */
    DK_PKT_TX_QUEUED = 2,  /* in a TX submission queue */
    DK_PKT_TX_DRIVER = 3,  /* dequeued for transmit by the driver */
    DK_PKT_RX_POSTED = 4,  /* empty, in the RX submission queue */
    DK_PKT_RX_DRIVER = 5,  /* empty packet with the driver */
    DK_PKT_POOL_DRIVER = 6, /* allocated from the pool by the driver */
    DK_PKT_RX_STACK = 7    /* being delivered to the stack */
};
/* The driver may touch a packet in these states only. */
#define DK_PKT_IS_DRIVER(state) ((state) == DK_PKT_TX_DRIVER || (state) == DK_PKT_RX_DRIVER || (state) == DK_PKT_POOL_DRIVER)

enum { /* dk_packet.tx_csum_flags; the object layer maps to Apple's bits where they differ */
    DK_TXCSUM_TCP4 = 0x0002,
    DK_TXCSUM_IPHDR = 0x0004,
    DK_TXCSUM_UDP4 = 0x0008,
    DK_TXCSUM_TCP6 = 0x0020,
    DK_TXCSUM_UDP6 = 0x0040,
    DK_TXCSUM_PARTIAL = 0x1000,
    DK_TXCSUM_ZERO_INVERT = 0x2000,
};
enum { /* dk_packet.rx_csum_flags */
    DK_RXCSUM_IP_CHECKED = 0x0100,
    DK_RXCSUM_IP_VALID = 0x0200,
    DK_RXCSUM_DATA_VALID = 0x0400,
    DK_RXCSUM_PSEUDO_HDR = 0x0800,
};
enum { /* dk_packet.tso_flags and lro_flags */
    DK_TSO_IPV4 = 1,
    DK_TSO_IPV6 = 2,
};
enum { /* dk_packet.flags */
    DK_PKTF_LINK_MULTICAST = 1u << 0,
    DK_PKTF_LINK_BROADCAST = 1u << 1,
    DK_PKTF_TRAFFIC_BACKGROUND = 1u << 2,
    DK_PKTF_TRAFFIC_REALTIME = 1u << 3,
    DK_PKTF_WAKE = 1u << 4,
    DK_PKTF_TIMESTAMP = 1u << 5,           /* timestamp_ns is set */
    DK_PKTF_TIMESTAMP_REQUESTED = 1u << 6,
    DK_PKTF_VLAN = 1u << 7,                /* vlan_tag is set */
    DK_PKTF_PREPARED = 1u << 8,
};

/* One packet. The object layer reads and writes the metadata directly, after it looked at `state` with
 * __atomic_load_n(&p->state, __ATOMIC_RELAXED) and called dk_packet_misuse if the driver does not have it. */
typedef struct dk_packet {
    void *object;        /* the IOUserNetworkPacket, from dk_pool_set_object */
    dk_pool *pool;
    uint8_t *cpu;        /* buffer base, always valid in this process; not for the dext */
    uint64_t va;         /* getDataVirtualAddress: cpu with MapToDext, else the offset in the pool's memory */
    uint64_t iova;       /* getDataIOVirtualAddress: buffer base for the device; 0 without MapToDevice */
    uint64_t seg_offset; /* getMemorySegmentOffset */
    uint32_t state;      /* DK_PKT_*; the engine writes it */
    uint32_t index;      /* in the pool */
    uint32_t buf_size;
    uint32_t data_off;   /* frame = base + data_off */
    uint32_t data_len;
    uint32_t tx_csum_flags;
    uint16_t tx_csum_start; /* from the start of the frame */
    uint16_t tx_csum_stuff;
    uint32_t tso_flags;
    uint32_t tso_segsz;  /* getMSS, getTSOInfo */
    uint32_t rx_csum_flags;
    uint32_t rx_csum_value;
    uint32_t lro_flags;
    uint32_t lro_segs;
    uint32_t flags;      /* DK_PKTF_* */
    uint32_t service_class;
    uint32_t trace_id;
    int32_t completion_status;
    uint16_t vlan_tag;
    uint8_t link_header_len;
    uint8_t headroom;
    uint32_t reserved[2];
    uint64_t expiry_ns;
    uint64_t timestamp_ns;
} dk_packet;
DK_STATIC_ASSERT(sizeof(dk_packet) == 144, "dk_packet layout");
DK_STATIC_ASSERT(offsetof(dk_packet, state) == 48, "dk_packet layout");
DK_STATIC_ASSERT(offsetof(dk_packet, flags) == 100, "dk_packet layout");
DK_STATIC_ASSERT(offsetof(dk_packet, expiry_ns) == 128, "dk_packet layout");

/* Reports the use of a packet that the driver does not have (use after completion): state, history, place. */
void dk_packet_misuse(const dk_packet *packet, const char *what, const void *site);
/* Reports an offset/length outside the buffer ("pool address out of range"). */
void dk_packet_range(const dk_packet *packet, const char *what, uint64_t offset, uint64_t length, const void *site);
/* prepareWithQueue: checks that the queue belongs to the packet's pool. */
dk_ret dk_packet_prepare(dk_packet *packet, dk_netq *queue, uint32_t direction);

enum { /* dk_pool_options.flags, Apple's values where they are public */
    DK_POOL_SINGLE_SEGMENT = 0x2,
    DK_POOL_PERSISTENT = 0x4,
    DK_POOL_MAP_TO_DEXT = 0x10000000,
    DK_POOL_MAP_TO_DEVICE = 0x20000000,
};
typedef struct dk_pool_options {
    uint32_t packet_count;
    uint32_t buffer_count;
    uint32_t buffer_size;
    uint32_t max_buffers_per_packet;
    uint32_t memory_segment_size;
    uint32_t flags;
    uint64_t dma_options;
    uint64_t dma_max_address_bits;
} dk_pool_options;

/* kIOReturnBadArgument: a count or size is 0 or beyond 2^20 packets / 2^20 bytes / 4 GiB together,
 * buffer_count < packet_count. owner may be null. Makes packet_count packets; then dk_pool_set_object for each. */
dk_pool *dk_pool_create(dk_service *owner, const char *name, const dk_pool_options *options, dk_ret *err);
void dk_pool_retain(dk_pool *pool);
/* Last reference: packets that the driver still has are leaks (violation "packet leak"). */
void dk_pool_release(dk_pool *pool);
uint32_t dk_pool_packet_count(const dk_pool *pool);
uint32_t dk_pool_buffer_count(const dk_pool *pool);
uint32_t dk_pool_buffer_size(const dk_pool *pool);
uint32_t dk_pool_free_count(const dk_pool *pool);
dk_packet *dk_pool_packet(dk_pool *pool, uint32_t index);
void dk_pool_set_object(dk_pool *pool, uint32_t index, void *object);
/* allocatePacket: up to n packets for the driver, LIFO; returns how many. */
uint32_t dk_pool_alloc(dk_pool *pool, dk_packet **out, uint32_t n);
/* Waits for a packet (kIOUserNetworkBlocking); null when the host stops. */
dk_packet *dk_pool_alloc_blocking(dk_pool *pool);
/* deallocatePacket: from the driver only; anything else is a violation "double completion". kIOReturnBadArgument for a
 * packet of another pool. */
dk_ret dk_pool_free(dk_pool *pool, dk_packet *const *packets, uint32_t n, const void *site);
/* The pool's memory; the caller owns a reference. */
dk_mem *dk_pool_copy_memory(dk_pool *pool, dk_ret *err);

enum { /* kind of packet queue */
    DK_NETQ_TX_SUBMISSION = 0,
    DK_NETQ_TX_COMPLETION = 1,
    DK_NETQ_RX_SUBMISSION = 2,
    DK_NETQ_RX_COMPLETION = 3,
};

/* Model B. The action functions of Apple's withPool(), called on a serial queue of the packet queue's own.
 * packets: array of n. Returns accepted (dequeue) or filled in (enqueue). */
typedef struct dk_netq_actions {
    void *ctx;
    /* TX submission: here are n frames; RX submission: here are n empty packets. What is not accepted stays queued. */
    uint32_t (*dequeue)(void *ctx, dk_packet **packets, uint32_t n);
    /* completion queues: fill up to n. */
    uint32_t (*enqueue)(void *ctx, dk_packet **packets, uint32_t n);
    /* TX submission, may be null: packets the driver can take now; *bytes likewise (in: UINT32_MAX). */
    uint32_t (*free_space)(void *ctx, uint32_t *bytes);
    void (*release)(void *ctx);
} dk_netq_actions;

/* Model A (queue not null, actions null) or model B (actions not null; queue may be null). Borrows pool and queue,
 * holds them; takes actions. capacity 1..65536. service_class: kIOUserNetworkServiceClass*, 0 = best effort. */
dk_netq *dk_netq_create(uint32_t kind, dk_pool *pool, uint32_t capacity, uint32_t id, uint32_t service_class,
                        dk_queue *queue, const dk_netq_actions *actions, dk_ret *err);
void dk_netq_retain(dk_netq *netq);
void dk_netq_release(dk_netq *netq);
void *dk_netq_object(const dk_netq *netq);
void *dk_netq_set_object(dk_netq *netq, void *object);
uint32_t dk_netq_id(const dk_netq *netq);
uint32_t dk_netq_capacity(const dk_netq *netq);
dk_pool *dk_netq_pool(const dk_netq *netq); /* borrowed */
/* kIOReturnNotReady before the interface is being enabled. Disabling returns queued packets to the pool. */
dk_ret dk_netq_set_enable(dk_netq *netq, bool enable);
bool dk_netq_enabled(const dk_netq *netq);
/* The doorbell; the caller owns a reference. It rings once per submission (or refill of an empty RX submission queue),
 * coalesced while a run of its handler is queued, and not for packets that a handler left. Always the same source. kIOReturnUnsupported for model B. */
dk_source *dk_netq_copy_source(dk_netq *netq, dk_ret *err);
/* Submission queues: hands packets to the driver. Violation "wrong queue" if two callers are inside at once. */
uint32_t dk_netq_dequeue(dk_netq *netq, dk_packet **out, uint32_t max, const void *site);
/* Completion queues: gives packets back; returns how many were accepted from the front (0 while disabled). A packet
 * the driver does not have is a violation "double completion"; an offset or length outside the buffer likewise. */
uint32_t dk_netq_enqueue(dk_netq *netq, dk_packet *const *packets, uint32_t n, const void *site);
/* Model B: pull (submission) / drain (completion); asynchronous. kIOReturnUnsupported for model A. */
dk_ret dk_netq_request(dk_netq *netq);
/* TX submission: takes everything that waits out of the queue, back to the stack as dropped. */
dk_ret dk_netq_purge(dk_netq *netq);
dk_ret dk_netq_set_poller(dk_netq *netq, dk_poller *poller);

/* Poller: while enabled, `poll` (a = packets limit, b = 0) runs on the queue every interval; `event` a = 0 PollStart,
 * 1 PollStop. Takes both handlers. */
dk_poller *dk_poller_create(dk_queue *queue, const dk_handler *poll, const dk_handler *event, dk_ret *err);
void dk_poller_retain(dk_poller *poller);
void dk_poller_release(dk_poller *poller);
dk_ret dk_poller_set_parameters(dk_poller *poller, uint64_t data_rate, uint64_t interval_ns);
dk_ret dk_poller_enable(dk_poller *poller);
/* Waits until no poll runs (unless called on its queue). */
dk_ret dk_poller_disable(dk_poller *poller);
void dk_poller_update(dk_poller *poller, uint32_t packets, uint32_t bytes);

#endif /* DK_NETWORK_H */
