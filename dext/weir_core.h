/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The whole contract between the DriverKit glue (C++, dext/) and the Rust core (src/).
 *
 * Rules that hold for every call:
 *  - Plain C types only. Every struct has a fixed layout, asserted below and again on the Rust side
 *    (src/abi/sys.rs is generated from this file by bindgen and committed).
 *  - `weir_core` is opaque and is one NIC instance. Functions that take a `queue` are the data path: for one
 *    queue they must not run concurrently (one serial dispatch queue per queue pair). The core detects a
 *    violation, refuses the call with 0 or WEIR_E_BUSY and counts it. All other functions are control: they
 *    may run concurrently with the data path and are serialised among themselves by the glue.
 *  - A packet handed to the core (weir_rx_post, weir_tx_submit) is lent: its memory stays valid and untouched by
 *    the glue until the core hands the same cookie back, exactly once, through weir_rx_poll, weir_tx_reap or
 *    weir_reclaim.
 *  - No function blocks, and none allocates after weir_create except weir_control (ruleset loads). The control
 *    functions of a USB adapter wait for its answers, for a bounded time.
 */
#ifndef WEIR_CORE_H
#define WEIR_CORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define WEIR_STATIC_ASSERT(cond, text) static_assert(cond, text)
extern "C" {
#else
#define WEIR_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

#define WEIR_ABI_VERSION 1u

/* Most packets that one data-path call takes or returns. */
#define WEIR_BURST_MAX 64u
#define WEIR_QUEUES_MAX 8u
#define WEIR_MULTICAST_MAX 256u
/* IEEE 802.3 clause 3: the smallest frame without FCS that software hands to a MAC that pads. */
#define WEIR_FRAME_MIN 14u
#define WEIR_MTU_MAX 16110u

/* ---- status ------------------------------------------------------------------------------------------- */

typedef int32_t weir_status;
enum {
    WEIR_OK = 0,
    WEIR_E_INVAL = -1,       /* an argument is outside its documented range */
    WEIR_E_NOMEM = -2,       /* the allocator or the DMA table returned nothing */
    WEIR_E_BUSY = -3,        /* data path entered twice for one queue, or peer already joined */
    WEIR_E_NODEV = -4,       /* no far end, or the device is gone */
    WEIR_E_VERSION = -5,     /* abi_version or a struct's size does not match */
    WEIR_E_STATE = -6,       /* not allowed in this state (for example enable before create finished) */
    WEIR_E_NOSPACE = -7,     /* the caller's buffer is too small; the needed size is reported where there is one */
    WEIR_E_UNSUPPORTED = -8, /* unknown command, or a feature this NIC does not have */
    WEIR_E_IMAGE = -9,       /* a ruleset image was refused; the running ruleset is untouched */
    WEIR_E_DROPPED = -10,    /* weir_pkt.status: the ruleset, the mode or a full ring in the core dropped it */
    WEIR_E_STALL = -11,      /* a USB endpoint is halted until its stall is cleared */
    WEIR_E_ABORTED = -12,    /* a USB transfer was aborted */
    WEIR_E_TIMEOUT = -13,    /* a USB transfer took too long */
    WEIR_E_IO = -14,         /* any other failure of a USB transfer */
};

/* ---- packets ------------------------------------------------------------------------------------------ */

/* weir_pkt.flags. TX: what the stack asks for. RX: what the NIC vouches for. */
enum {
    /* TX: compute the IPv4 header checksum. */
    WEIR_PKT_TX_CSUM_IP4 = 1u << 0,
    /* TX: a ones' complement sum from csum_start to the end of the frame is stored at csum_stuff; the pseudo
     * header's sum is already there (virtio 1.2 section 5.1.6.2, RFC 1071). */
    WEIR_PKT_TX_CSUM_PARTIAL = 1u << 1,
    /* TX: super-frame; cut into segments of mss payload bytes. */
    WEIR_PKT_TX_TSO4 = 1u << 2,
    WEIR_PKT_TX_TSO6 = 1u << 3,
    /* RX: the IPv4 header checksum was looked at / was right. */
    WEIR_PKT_RX_IP_CHECKED = 1u << 8,
    WEIR_PKT_RX_IP_VALID = 1u << 9,
    /* RX: the TCP or UDP checksum is right, or the frame never left this machine. */
    WEIR_PKT_RX_DATA_VALID = 1u << 10,
    /* RX: several TCP segments in one frame; segs says how many, mss their payload size. */
    WEIR_PKT_RX_LRO4 = 1u << 11,
    WEIR_PKT_RX_LRO6 = 1u << 12,
};

/* One packet buffer. The frame is at base + data_off for the CPU and at iova + data_off for a device. */
typedef struct weir_pkt {
    uint64_t cookie;      /* the glue's; never 0; returned untouched */
    uint8_t *base;        /* buffer base in this process */
    uint64_t iova;        /* buffer base for the device; 0 where there is none */
    uint32_t buf_len;     /* bytes at base */
    uint32_t data_off;    /* where the frame starts */
    uint32_t len;         /* frame length in bytes without FCS; 0 for an RX buffer that is reclaimed */
    uint32_t flags;       /* WEIR_PKT_* */
    uint16_t csum_start;  /* from the start of the frame, bytes */
    uint16_t csum_stuff;  /* from the start of the frame, bytes */
    uint16_t mss;         /* TCP payload bytes per segment; 0 = not a super-frame */
    uint16_t segs;        /* RX: segments in an LRO frame; 0 or 1 = ordinary */
    int32_t status;       /* completions: weir_status; WEIR_OK = sent, else why not */
    uint32_t reserved;    /* 0 */
} weir_pkt;
WEIR_STATIC_ASSERT(sizeof(weir_pkt) == 56, "weir_pkt layout");
WEIR_STATIC_ASSERT(offsetof(weir_pkt, buf_len) == 24 && offsetof(weir_pkt, csum_start) == 40, "weir_pkt layout");

/* One empty buffer to receive into; its fields are a weir_pkt's first ones. */
typedef struct weir_empty {
    uint64_t cookie;
    uint8_t *base;
    uint64_t iova;
    uint32_t buf_len;
    uint32_t data_off; /* the headroom to leave */
} weir_empty;
WEIR_STATIC_ASSERT(sizeof(weir_empty) == 32, "weir_empty layout");

/* The packets of one call, on which the core works as they stand. `reserved` is the core's and need not be set. */
typedef struct weir_burst {
    uint64_t reserved;
    weir_pkt pkts[WEIR_BURST_MAX];
} weir_burst;
WEIR_STATIC_ASSERT(sizeof(weir_burst) == 8 + WEIR_BURST_MAX * 56, "weir_burst layout");

/* ---- operation tables: what the core needs from the glue ------------------------------------------------ */

typedef struct weir_clock_ops {
    void *ctx;
    /* Monotonic nanoseconds. Called at most twice per data-path call: when a burst is there and at its end. */
    uint64_t (*now_ns)(void *ctx);
} weir_clock_ops;

typedef struct weir_log_ops {
    void *ctx;
    /* level: 0 error, 1 warning, 2 info. text is UTF-8, not terminated. Never called per packet. */
    void (*write)(void *ctx, uint32_t level, const char *text, size_t len);
} weir_log_ops;

/* Device registers; offset and width as the datasheet has them. All ones = the device is gone. */
typedef struct weir_reg_ops {
    void *ctx;
    uint32_t (*read32)(void *ctx, uint32_t bar, uint64_t offset);
    void (*write32)(void *ctx, uint32_t bar, uint64_t offset, uint32_t value);
    uint16_t (*read16)(void *ctx, uint32_t bar, uint64_t offset);
    void (*write16)(void *ctx, uint32_t bar, uint64_t offset, uint16_t value);
    uint8_t (*read8)(void *ctx, uint32_t bar, uint64_t offset);
    void (*write8)(void *ctx, uint32_t bar, uint64_t offset, uint8_t value);
    uint32_t (*config_read32)(void *ctx, uint64_t offset);
    void (*config_write32)(void *ctx, uint64_t offset, uint32_t value);
} weir_reg_ops;

/* One piece of memory that CPU and device share. */
typedef struct weir_region {
    uint8_t *base;
    uint64_t iova;   /* 0 where no device looks at it */
    uint64_t len;
    uint64_t handle; /* the glue's */
} weir_region;
WEIR_STATIC_ASSERT(sizeof(weir_region) == 32, "weir_region layout");

typedef struct weir_dma_ops {
    void *ctx;
    /* Zeroed memory, aligned to `align` (a power of two), contiguous for the device. */
    weir_status (*alloc)(void *ctx, uint64_t len, uint64_t align, weir_region *out);
    void (*free)(void *ctx, const weir_region *region);
} weir_dma_ops;

/* Where a USB network function is, read out of its configuration descriptor by weir_usb_probe. */
typedef struct weir_usb_plan {
    uint32_t nic;                 /* WEIR_NIC_USB_* */
    uint8_t configuration;        /* bConfigurationValue */
    uint8_t control_interface;    /* bInterfaceNumber of the communication interface */
    uint8_t data_interface;
    uint8_t data_alternate;       /* bAlternateSetting that has the bulk endpoints */
    uint8_t idle_alternate;       /* bAlternateSetting at rest; = data_alternate if there is no other */
    uint8_t endpoint_in;          /* bEndpointAddress of the bulk endpoints */
    uint8_t endpoint_out;
    uint8_t endpoint_notify;      /* interrupt endpoint of the communication interface; 0 = none */
    uint8_t mac_string;           /* iMACAddress; 0 = none */
    uint8_t ncm_capabilities;     /* bmNetworkCapabilities (NCM 1.0 table 5-2) */
    uint16_t packet_in;           /* wMaxPacketSize, bytes */
    uint16_t packet_out;
    uint16_t packet_notify;
    uint16_t max_segment;         /* wMaxSegmentSize, bytes with the Ethernet header; 0 = not said */
    uint16_t multicast_filters;   /* wNumberMCFilters, bits 14..0 */
    uint32_t flags;               /* WEIR_USB_* */
} weir_usb_plan;
WEIR_STATIC_ASSERT(sizeof(weir_usb_plan) == 28, "weir_usb_plan layout");

/* weir_usb_plan.flags; the glue's wishes. */
enum {
    WEIR_USB_CRC = 1u << 0,   /* NCM: ask for datagrams with their CRC-32 (SET_CRC_MODE) */
    WEIR_USB_NTB16 = 1u << 1, /* NCM: stay with 16-bit blocks also where the device has 32-bit ones */
};

/* weir_usb_ops: numbers of the pipes. */
enum {
    WEIR_USB_PIPE_IN = 0,
    WEIR_USB_PIPE_OUT = 1,
    WEIR_USB_PIPE_NOTIFY = 2,
    WEIR_USB_PIPES = 3,
};
/* Most transfers of one pipe, and most in one call (USBDriverKit's limit for bundled transfers). */
#define WEIR_USB_SLOTS_MAX 16u

/* A USB device. Each pipe has a ring of slots, each with a buffer of its own; a slot that was submitted is the
 * device's until weir_usb_complete names it. `submit` belongs to the data path and does not wait; all others are
 * called from control functions, wait for the device (bounded), and may not be called back from. */
typedef struct weir_usb_ops {
    void *ctx;
    /* Buffers of `len` bytes for `slots` slots of a pipe, aligned to 8; regions[slots] gets them. Once per pipe. */
    weir_status (*alloc_ring)(void *ctx, uint32_t pipe, uint32_t slots, uint32_t len, weir_region *regions);
    void (*free_ring)(void *ctx, uint32_t pipe);
    /* Starts transfers of lengths[i] bytes in slot (first + i) % slots, at most WEIR_USB_SLOTS_MAX. *accepted gets
     * how many were started, from the front; with an error the rest was not. */
    weir_status (*submit)(void *ctx, uint32_t pipe, uint32_t first, const uint32_t *lengths, uint32_t count,
                          uint32_t *accepted);
    /* Ends all transfers of a pipe; each is completed all the same, with WEIR_E_ABORTED unless it was finished. */
    weir_status (*abort)(void *ctx, uint32_t pipe);
    weir_status (*clear_stall)(void *ctx, uint32_t pipe);
    /* Selects an alternate setting of the data interface; opens or closes its pipes. */
    weir_status (*set_alternate)(void *ctx, uint32_t alternate);
    /* One control request. *transferred gets the bytes of its data stage. */
    weir_status (*control)(void *ctx, uint8_t request_type, uint8_t request, uint16_t value, uint16_t index,
                           uint8_t *data, uint16_t len, uint16_t *transferred);
    /* Waits; between two attempts of a control request. */
    void (*delay_ms)(void *ctx, uint32_t ms);
    weir_usb_plan plan;
} weir_usb_ops;

typedef struct weir_event_ops {
    void *ctx;
    /* Please run the poll sequence for `queue` soon, on its serial queue. Any thread; must not call back. */
    void (*wake)(void *ctx, uint32_t queue);
    /* The far end came or went: read weir_link_get and report it. Any thread; must not call back. */
    void (*link_changed)(void *ctx);
    /* The wire client's to-client ring went from empty to not empty. */
    void (*wire_notify)(void *ctx, uint32_t queue);
    /* Please call weir_tick soon, before its time. Any thread; must not call back. */
    void (*attention)(void *ctx);
    /* The programs behind these taps (a bit each) sleep and have something to see. Any thread; must not call back. */
    void (*tap_notify)(void *ctx, uint32_t taps);
} weir_event_ops;

typedef struct weir_ops {
    uint32_t size;        /* sizeof(weir_ops) */
    uint32_t abi_version; /* WEIR_ABI_VERSION */
    weir_clock_ops clock;
    weir_log_ops log;
    weir_event_ops event;
    weir_dma_ops dma;
    weir_reg_ops reg; /* all null for a NIC without registers */
    weir_usb_ops usb; /* all null for a NIC that is not USB */
} weir_ops;

/* ---- creation ------------------------------------------------------------------------------------------- */

typedef struct weir_core weir_core;

enum {
    WEIR_NIC_LOOPBACK = 1,
    WEIR_NIC_VIRTIO = 2, /* virtio-net over PCI, modern transport */
    WEIR_NIC_E1000E = 3, /* Intel 82574L and kin */
    WEIR_NIC_IGC = 4,    /* Intel I225, I226 and kin */
    WEIR_NIC_USB_NCM = 8,
    WEIR_NIC_USB_ECM = 9,
    WEIR_NIC_USB_RNDIS = 10,
};

/* weir_config.wire: what a loopback NIC finds at the other end of its cable. */
enum {
    WEIR_WIRE_NONE = 0,    /* no carrier until a wire client attaches */
    WEIR_WIRE_PAIR = 1,    /* the other instance that names the same wire_name */
    WEIR_WIRE_REFLECT = 2, /* answers ARP, ND, ICMP and ICMPv6 echo, UDP echo itself */
    WEIR_WIRE_CLIENT = 3,  /* shared-memory rings, served by a user client (weir_wire_attach) */
};

typedef struct weir_config {
    uint32_t size;        /* sizeof(weir_config) */
    uint32_t abi_version; /* WEIR_ABI_VERSION */
    uint32_t nic;         /* WEIR_NIC_* */
    uint32_t wire;        /* WEIR_WIRE_* */
    char wire_name[32];   /* NUL-terminated; names a pair */
    char if_name[16];     /* what `on IFNAME` in rules compares with; may be set later by weir_set_if_name */
    uint8_t mac[6];       /* all zero: the adapter's own */
    uint16_t queues;      /* 1..WEIR_QUEUES_MAX */
    uint32_t ring_size;   /* descriptors per ring, a power of two, 64..4096 */
    uint32_t mtu;         /* 68..mtu_max */
    uint32_t mtu_max;     /* ..WEIR_MTU_MAX */
    uint32_t buf_len;     /* bytes of each packet buffer the glue will lend */
    uint64_t seed;        /* keys the flow hash and everything random */
    uint32_t vectors;     /* interrupt vectors that the glue has for the device; 0 for a NIC without interrupts */
    uint32_t reserved;    /* 0 */
} weir_config;
WEIR_STATIC_ASSERT(sizeof(weir_config) == 104, "weir_config layout");

/* Finds the network function that has interface `interface` (bInterfaceNumber; 255 = any) in a configuration descriptor
 * with all that follows it, `len` bytes as the device sent them. WEIR_E_UNSUPPORTED: there is none. */
weir_status weir_usb_probe(const uint8_t *descriptor, size_t len, uint32_t interface, weir_usb_plan *out);

/* *out is untouched on failure. */
weir_status weir_create(const weir_config *config, const weir_ops *ops, weir_core **out);
/* Everything lent must have been reclaimed; what was not is counted as lost and logged. Null is allowed. */
void weir_destroy(weir_core *core);

/* ---- data path: one caller per queue at a time ------------------------------------------------------------ */

/* Lends n empty buffers for receive. Returns how many were taken, from the front. */
uint32_t weir_rx_post(weir_core *core, uint32_t queue, const weir_empty *empties, uint32_t n);
/* How many empty buffers weir_rx_post would take now. */
uint32_t weir_rx_space(weir_core *core, uint32_t queue);

enum {
    WEIR_POLL_MORE = 1u << 0, /* the budget ended before the work did: poll again */
};
/* Runs receive: takes finished frames from the NIC, judges them, returns those to deliver. `flags` may be null. */
uint32_t weir_rx_poll(weir_core *core, uint32_t queue, weir_burst *out, uint32_t budget, uint32_t *flags);

/* How many packets weir_tx_submit would take now; dequeue no more than this from the stack. */
uint32_t weir_tx_space(weir_core *core, uint32_t queue);
/* Lends the first n frames for transmit. Returns how many were taken, from the front; the others stand as they stood. */
uint32_t weir_tx_submit(weir_core *core, uint32_t queue, weir_burst *frames, uint32_t n);
/* Progresses transmit and returns completed packets with their status. */
uint32_t weir_tx_reap(weir_core *core, uint32_t queue, weir_pkt *out, uint32_t max);

/* Re-arms the wake-up of a queue. Returns 1 if work arrived in between: poll again, else sleep until wake. */
uint32_t weir_arm(weir_core *core, uint32_t queue);

/* Transfers of a USB pipe ended, in slots first, first + 1, ... (modulo the ring): actual[i] bytes, status[i]. Any
 * thread; may run concurrently with everything but weir_destroy. */
void weir_usb_complete(weir_core *core, uint32_t pipe, uint32_t first, const uint32_t *actual,
                       const weir_status *status, uint32_t count);

/* After weir_enable(core, 0): returns what is still lent, RX (len 0) and TX (status WEIR_E_STATE) alike, until 0. */
uint32_t weir_reclaim(weir_core *core, uint32_t queue, weir_pkt *out, uint32_t max);

/* ---- control --------------------------------------------------------------------------------------------- */

weir_status weir_enable(weir_core *core, uint32_t enable);
weir_status weir_set_promiscuous(weir_core *core, uint32_t enable);
weir_status weir_set_all_multicast(weir_core *core, uint32_t enable);
/* What the adapter turned out to be; the glue makes packet queues and buffers to fit. */
typedef struct weir_hardware {
    uint8_t mac[6];    /* station address */
    uint16_t queues;   /* queue pairs, at most weir_config.queues */
    uint32_t mtu_max;  /* at most weir_config.mtu_max */
    uint32_t vectors;  /* interrupt vectors used: vector q is queue q's, the last one control's; 1 = all share it */
    uint32_t tick_ms;  /* call weir_tick this often while enabled; 0 = never */
    uint32_t wake;     /* 1 = can wake the machine on a magic packet */
    uint32_t reserved; /* 0 */
} weir_hardware;
WEIR_STATIC_ASSERT(sizeof(weir_hardware) == 28, "weir_hardware layout");
weir_status weir_get_hardware(weir_core *core, weir_hardware *out);

/* Interrupt `vector` arrived. A vector that is one queue's alone may be answered by polling that queue instead.
 * Returns a mask of the queues to poll. */
uint32_t weir_interrupt(weir_core *core, uint32_t vector);
/* Counts an interrupt that was answered by polling its queue. Any thread. */
void weir_interrupt_polled(weir_core *core);
/* The watchdog. Returns 1 if the device broke a rule, hangs or asks for a reset: disable, reclaim, enable. */
uint32_t weir_tick(weir_core *core);
/* Whether the device wakes the machine on a magic packet while disabled. */
weir_status weir_set_wake(weir_core *core, uint32_t enable);

/* Replaces the list. More than WEIR_MULTICAST_MAX: all multicast frames are taken instead. */
weir_status weir_set_multicast(weir_core *core, const uint8_t (*addresses)[6], uint32_t count);
weir_status weir_set_mac(weir_core *core, const uint8_t mac[6]);
weir_status weir_get_mac(weir_core *core, uint8_t mac[6]);
weir_status weir_set_mtu(weir_core *core, uint32_t mtu);
/* NUL-terminated, at most 15 bytes: the BSD name once the stack has given one. */
weir_status weir_set_if_name(weir_core *core, const char *name);

/* Hardware assists: which offloads the stack may ask for. */
enum {
    WEIR_OFFLOAD_TX_CSUM = 1u << 0,
    WEIR_OFFLOAD_TSO4 = 1u << 1,
    WEIR_OFFLOAD_TSO6 = 1u << 2,
    WEIR_OFFLOAD_RX_CSUM = 1u << 3,
    WEIR_OFFLOAD_LRO = 1u << 4,
};
uint32_t weir_get_offloads(weir_core *core);
weir_status weir_set_offloads(weir_core *core, uint32_t offloads);

typedef struct weir_link {
    uint32_t up;           /* 1 = carrier */
    uint32_t full_duplex;  /* 1 */
    uint64_t speed_bps;    /* bits per second */
} weir_link;
WEIR_STATIC_ASSERT(sizeof(weir_link) == 16, "weir_link layout");
weir_status weir_link_get(weir_core *core, weir_link *out);
/* Administratively pulls or plugs the cable of a virtual NIC (tests, `weir ctl`). */
weir_status weir_link_set(weir_core *core, uint32_t up);

/* The far end of WEIR_WIRE_CLIENT and WEIR_WIRE_NONE: `mem` is memory shared with a client that is not trusted;
 * layout in src/mem/wire_ring.rs. It must stay mapped until weir_wire_detach has returned. */
uint64_t weir_wire_size(weir_core *core);
weir_status weir_wire_attach(weir_core *core, uint8_t *mem, uint64_t len);
weir_status weir_wire_detach(weir_core *core);
/* The client put frames into its ring or freed slots: wakes the queues concerned. */
weir_status weir_wire_kick(weir_core *core);

/* Versioned commands (src/control): req starts with weir_cmd. The reply is plain data for the command.
 * *resp_len gets the reply's size, also with WEIR_E_NOSPACE. */
typedef struct weir_cmd {
    uint32_t version; /* WEIR_ABI_VERSION */
    uint32_t command; /* WEIR_CMD_* */
    uint64_t arg;
} weir_cmd;
WEIR_STATIC_ASSERT(sizeof(weir_cmd) == 16, "weir_cmd layout");

enum {
    WEIR_CMD_INFO = 1,          /* reply: weir_info */
    WEIR_CMD_COUNTERS = 2,      /* reply: weir_counters; arg = queue, or WEIR_ALL_QUEUES for the sum */
    WEIR_CMD_RULESET_LOAD = 3,  /* request: weir_cmd then the image. reply: weir_load_result */
    WEIR_CMD_RULESET_CLEAR = 4, /* no ruleset: every frame passes */
    WEIR_CMD_RULE_COUNTERS = 5, /* reply: weir_rule_counters[]; arg = first rule */
    WEIR_CMD_MODE = 6,          /* arg: WEIR_MODE_* */
    WEIR_CMD_HISTOGRAM = 7,     /* reply: weir_histogram; arg: WEIR_HIST_* */
    WEIR_CMD_EVENTS = 8,        /* takes events out of the ring. reply: weir_event[] */
    WEIR_CMD_RULESET_TEXT = 9,  /* reply: the rules' normal form, one per line; arg = first rule */
    WEIR_CMD_ADDRESSES = 10,    /* request: weir_address[]: what (interface) in rules stands for */
    WEIR_CMD_TABLES = 11,       /* reply: one line per table: path, entries, flags; arg = first table */
    /* PATH is its length as uint32_t, then that many bytes: an anchor's path, or a table's name with the path of its
     * anchor and a slash in front. */
    WEIR_CMD_TABLE_SHOW = 12,   /* request: PATH. reply: weir_table_entry[]; arg = first entry */
    WEIR_CMD_TABLE_CHANGE = 13, /* request: PATH, weir_table_entry[]; arg: WEIR_TABLE_*. reply: weir_table_result */
    WEIR_CMD_TABLE_TEST = 14,   /* request: PATH, weir_table_entry[]. reply: one byte each: 1 = in the table */
    WEIR_CMD_STATES_LIST = 15,  /* asks each queue to list its states, at its next burst */
    WEIR_CMD_STATES = 16,       /* takes states off that list. reply: weir_state[] */
    WEIR_CMD_STATES_KILL = 17,  /* request: weir_state_filter */
    WEIR_CMD_STATUS = 18,       /* reply: weir_filter_status */
    WEIR_CMD_ANCHOR_LOAD = 19,  /* request: PATH, image whose root becomes the anchor. reply: weir_load_result */
    WEIR_CMD_ANCHOR_FLUSH = 20, /* request: PATH */
    WEIR_CMD_SOURCES_KILL = 21, /* forgets tracked sources. request: nothing, or a weir_table_entry: those in it */
    WEIR_CMD_SOURCES = 22,      /* reply: weir_source[]; arg: 0, or `next` of the last one */
    WEIR_CMD_TAPS = 40,         /* reply: weir_tap_info[WEIR_TAPS_MAX] */
    WEIR_CMD_CLOCK = 41,        /* reply: uint64_t, nanoseconds of the driver's clock now */
    WEIR_CMD_NIC_STATS = 60,    /* reply: weir_nic_stats */
};
#define WEIR_ALL_QUEUES 0xffffffffu
enum {
    WEIR_MODE_FILTER = 0, /* the ruleset decides */
    WEIR_MODE_BYPASS = 1, /* nothing is judged, everything is counted: the way out in a hurry */
    WEIR_MODE_BLOCK = 2,  /* nothing passes */
};

/* The structs of the commands about tables and states. */
#include "weir_filter.h"
#include "weir_tap.h"

weir_status weir_control(weir_core *core, const void *req, size_t req_len, void *resp, size_t resp_cap,
                         size_t *resp_len);

/* Why a frame was dropped. 0..16 are pf's (PFRES_*), under pf's names; the rest are the NIC's own. */
enum {
    WEIR_DROP_MATCH = 0,
    WEIR_DROP_BAD_OFFSET = 1,
    WEIR_DROP_FRAGMENT = 2,
    WEIR_DROP_SHORT = 3,
    WEIR_DROP_NORMALIZE = 4,
    WEIR_DROP_MEMORY = 5,
    WEIR_DROP_BAD_TIMESTAMP = 6,
    WEIR_DROP_CONGESTION = 7,
    WEIR_DROP_IP_OPTION = 8,
    WEIR_DROP_PROTO_CKSUM = 9,
    WEIR_DROP_STATE_MISMATCH = 10,
    WEIR_DROP_STATE_INSERT = 11,
    WEIR_DROP_STATE_LIMIT = 12,
    WEIR_DROP_SRC_LIMIT = 13,
    WEIR_DROP_SYNPROXY = 14,
    WEIR_DROP_DUMMYNET = 15,
    WEIR_DROP_INVALID_PORT = 16,
    WEIR_DROP_RUNT = 17,           /* shorter than an Ethernet header */
    WEIR_DROP_GIANT = 18,          /* longer than the MTU allows, or than the buffer */
    WEIR_DROP_MAC_FILTER = 19,     /* not for this station */
    WEIR_DROP_NO_CARRIER = 20,     /* transmit without a link */
    WEIR_DROP_NO_BUFFER = 21,      /* nothing posted to receive into */
    WEIR_DROP_BAD_DESCRIPTOR = 22, /* offset, length or checksum metadata outside the buffer */
    WEIR_DROP_STEER_FULL = 23,     /* the ring to the flow's own shard was full */
    WEIR_DROP_DISABLED = 24,       /* the interface went down with the frame in hand */
    WEIR_DROP_DEVICE = 25,         /* the device reported an error */
    WEIR_DROP_ADMIN = 26,          /* WEIR_MODE_BLOCK */
    WEIR_DROP_OFFLOAD = 27,        /* asks for an offload that does not fit the frame */
    WEIR_DROP_REASONS = 32,
};

typedef struct weir_counters {
    uint64_t rx_frames;     /* frames the NIC gave; = rx_delivered + rx_consumed + rx_held + sum(rx_dropped) */
    uint64_t rx_bytes;
    uint64_t rx_delivered;
    uint64_t rx_consumed;
    uint64_t rx_held;       /* gauge */
    uint64_t rx_multicast;
    uint64_t tx_dequeued;   /* = tx_sent + tx_consumed + tx_held + tx_in_flight + sum(tx_dropped) */
    uint64_t tx_bytes;
    uint64_t tx_sent;
    uint64_t tx_consumed;
    uint64_t tx_held;       /* gauge */
    uint64_t tx_in_flight;  /* gauge */
    uint64_t rx_injected;   /* frames the core made itself and delivered; not part of rx_frames */
    uint64_t tx_injected;   /* frames the core made itself and sent; not part of tx_dequeued */
    uint64_t pool_free;     /* gauges over lent RX buffers: rx_lent = pool_free + pool_posted + pool_held */
    uint64_t pool_posted;
    uint64_t pool_held;
    uint64_t rx_lent;       /* buffers lent by weir_rx_post and not yet handed back */
    uint64_t bursts_rx;
    uint64_t bursts_tx;
    uint64_t wakes;
    uint64_t misuse;        /* data path entered twice, bad cookies and the like */
    uint64_t events_lost;   /* event ring was full */
    uint64_t steered;       /* packets that the shard of their flow's state judged, not the one they came to */
    uint64_t rx_dropped[WEIR_DROP_REASONS];
    uint64_t tx_dropped[WEIR_DROP_REASONS];
} weir_counters;
WEIR_STATIC_ASSERT(sizeof(weir_counters) == 24 * 8 + 2 * 32 * 8, "weir_counters layout");

typedef struct weir_info {
    uint32_t abi_version;
    uint32_t queues;
    uint32_t mode;          /* WEIR_MODE_* */
    uint32_t mtu;
    uint64_t ruleset_epoch; /* 0 = none loaded yet */
    uint32_t rules;
    uint32_t offloads;
    uint8_t mac[6];
    uint8_t enabled;
    uint8_t promiscuous;
    uint32_t multicast_count;
    char if_name[16];
    weir_link link;
    char version[32];       /* NUL-terminated, the core's crate version */
} weir_info;
WEIR_STATIC_ASSERT(sizeof(weir_info) == 112, "weir_info layout");

/* What moving frames cost, in the adapter's terms, since weir_create. */
typedef struct weir_nic_stats {
    uint64_t doorbells;   /* calls that told the device of work: register writes, transfers submitted in one go */
    uint64_t interrupts;  /* times that the device told of work done */
    uint64_t registers;   /* register reads and writes, doorbells included */
    uint64_t transfers_in, transfers_out; /* USB: transfers received that had something in them, and sent */
    uint64_t frames_in, frames_out;       /* frames that the device delivered, and that it took */
    uint64_t copies;      /* frames that the CPU copied */
    uint64_t stalls;      /* endpoints found halted */
    uint64_t recoveries, timeouts; /* times that the device was brought back; did not answer or take a frame */
    uint64_t device_errors, empty_transfers; /* what makes no sense, and failed; what had nothing in it */
} weir_nic_stats;
WEIR_STATIC_ASSERT(sizeof(weir_nic_stats) == 13 * 8, "weir_nic_stats layout");

typedef struct weir_load_result {
    uint64_t epoch;       /* of the ruleset that now runs */
    uint32_t rules;
    uint32_t error;       /* with WEIR_E_IMAGE: filter::image::ImageError as a number */
    uint64_t error_at;    /* byte offset in the image */
    char text[112];       /* NUL-terminated reason */
} weir_load_result;
WEIR_STATIC_ASSERT(sizeof(weir_load_result) == 136, "weir_load_result layout");

typedef struct weir_rule_counters {
    uint64_t evaluations;
    uint64_t packets;
    uint64_t bytes;
    uint64_t states; /* gauge */
} weir_rule_counters;
WEIR_STATIC_ASSERT(sizeof(weir_rule_counters) == 32, "weir_rule_counters layout");

enum {
    WEIR_HIST_RX_BURST_NS = 0, /* time of one weir_rx_poll */
    WEIR_HIST_TX_BURST_NS = 1,
    WEIR_HIST_RX_BURST_LEN = 2,
    WEIR_HIST_TX_BURST_LEN = 3,
    WEIR_HIST_COUNT = 4,
};
/* bucket[i] counts values v with floor(log2(v)) == i; v = 0 is in bucket 0. */
typedef struct weir_histogram {
    uint64_t bucket[64];
    uint64_t sum;
} weir_histogram;
WEIR_STATIC_ASSERT(sizeof(weir_histogram) == 520, "weir_histogram layout");

/* ---- hooks that the glue defines for a core built for the dext (feature "dext") -------------------------- */

void *weir_hook_alloc(size_t size, size_t align);
void weir_hook_free(void *ptr, size_t size, size_t align);
/* Last words; must not return. */
void weir_hook_abort(const char *text, size_t len);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_CORE_H */
