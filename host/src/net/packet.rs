//! One packet: the structure that the C++ layer reads, and what happened to it.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::pool::Pool;
use crate::sched::thread_token;

/// Who has a packet (`DK_PKT_*`).
pub mod state {
    /// On the pool's free list.
    pub const FREE: u32 = 0;
    /// The stack fills it.
    pub const STACK: u32 = 1;
    /// In a TX submission queue.
    pub const TX_QUEUED: u32 = 2;
    /// With the driver, to be sent.
    pub const TX_DRIVER: u32 = 3;
    /// Empty, in the RX submission queue.
    pub const RX_POSTED: u32 = 4;
    /// Empty, with the driver.
    pub const RX_DRIVER: u32 = 5;
    /// Allocated from the pool by the driver.
    pub const POOL_DRIVER: u32 = 6;
    /// On its way to the stack.
    pub const RX_STACK: u32 = 7;

    /// The driver has it.
    pub fn is_driver(state: u32) -> bool {
        matches!(state, TX_DRIVER | RX_DRIVER | POOL_DRIVER)
    }

    /// For messages.
    pub fn name(state: u32) -> &'static str {
        match state {
            FREE => "free",
            STACK => "filled by the stack",
            TX_QUEUED => "in the TX submission queue",
            TX_DRIVER => "with the driver for transmit",
            RX_POSTED => "in the RX submission queue",
            RX_DRIVER => "with the driver for receive",
            POOL_DRIVER => "allocated by the driver",
            RX_STACK => "being delivered",
            _ => "in no known state",
        }
    }
}

/// `dk_packet.tx_csum_flags`, `rx_csum_flags`, `tso_flags`, `flags`.
pub mod flag {
    /// Ones' complement sum from `tx_csum_start`, stored at `tx_csum_stuff`.
    pub const TX_PARTIAL: u32 = 0x1000;
    /// The transport checksum is right.
    pub const RX_DATA_VALID: u32 = 0x0400;
    /// Super-frame or merged frame, TCP over IPv4.
    pub const TSO_IPV4: u32 = 1;
    /// The same over IPv6.
    pub const TSO_IPV6: u32 = 2;
    /// Destination is a group address.
    pub const LINK_MULTICAST: u32 = 1;
    /// Destination is the broadcast address.
    pub const LINK_BROADCAST: u32 = 2;
    /// `prepareWithQueue` was called.
    pub const PREPARED: u32 = 1 << 8;
}

/// `dk_packet` (see `dk_runtime.h` for the meaning of the fields).
#[repr(C)]
#[allow(missing_docs)]
pub struct Packet {
    pub object: *mut c_void,
    pub pool: *const Pool,
    pub cpu: *mut u8,
    pub va: u64,
    pub iova: u64,
    pub seg_offset: u64,
    pub state: AtomicU32,
    pub index: u32,
    pub buf_size: u32,
    pub data_off: u32,
    pub data_len: u32,
    pub tx_csum_flags: u32,
    pub tx_csum_start: u16,
    pub tx_csum_stuff: u16,
    pub tso_flags: u32,
    pub tso_segsz: u32,
    pub rx_csum_flags: u32,
    pub rx_csum_value: u32,
    pub lro_flags: u32,
    pub lro_segs: u32,
    pub flags: u32,
    pub service_class: u32,
    pub trace_id: u32,
    pub completion_status: i32,
    pub vlan_tag: u16,
    pub link_header_len: u8,
    pub headroom: u8,
    pub reserved: [u32; 2],
    pub expiry_ns: u64,
    pub timestamp_ns: u64,
}

const _: () = assert!(size_of::<Packet>() == 144);
const _: () = assert!(std::mem::offset_of!(Packet, state) == 48);
const _: () = assert!(std::mem::offset_of!(Packet, flags) == 100);
const _: () = assert!(std::mem::offset_of!(Packet, expiry_ns) == 128);

const HISTORY: usize = 8;

/// What a packet went through last.
#[derive(Default)]
pub struct History {
    moves: AtomicU32,
    ring: [AtomicU64; HISTORY],
}

/// One kind of move.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Move {
    StackAlloc = 1,
    StackDrop,
    TxSubmit,
    TxDequeue,
    TxComplete,
    TxPurge,
    RxPost,
    RxDequeue,
    RxDeliver,
    RxWithdraw,
    PoolAlloc,
    PoolFree,
}

const NAMES: [&str; 13] = [
    "?",
    "allocated by the stack",
    "dropped by the stack",
    "put into TX submission queue",
    "dequeued from TX submission queue",
    "completed on TX completion queue",
    "purged from TX submission queue",
    "posted to RX submission queue",
    "dequeued from RX submission queue",
    "delivered on RX completion queue",
    "withdrawn from RX submission queue",
    "allocated from the pool by the driver, pool",
    "freed to the pool by the driver, pool",
];

impl History {
    /// Notes a move over packet queue `queue`.
    pub fn note(&self, what: Move, queue: u32) {
        let n = self.moves.load(Ordering::Relaxed);
        self.moves.store(n.wrapping_add(1), Ordering::Relaxed);
        let word = u64::from(what as u8) | u64::from(queue) << 8 | (thread_token() & 0xff_ffff) << 40;
        if let Some(slot) = self.ring.get(n as usize % HISTORY) {
            slot.store(word, Ordering::Relaxed);
        }
    }

    /// The latest moves, oldest first.
    pub fn lines(&self) -> Vec<String> {
        let n = self.moves.load(Ordering::Relaxed) as usize;
        (n.saturating_sub(HISTORY)..n)
            .map(|i| {
                let word = self.ring[i % HISTORY].load(Ordering::Relaxed);
                let name = NAMES.get((word & 0xff) as usize).unwrap_or(&NAMES[0]);
                format!("move {i}: {name} {} by thread {}", (word >> 8) & 0xffff_ffff, word >> 40)
            })
            .collect()
    }
}
