//! The client's side of a wire memory: whatever stands at the far end of the cable.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering;

use super::{Geometry, MAGIC, Receiver, Sender, VERSION, WireFeatures, WireQueue, header};
use crate::mem::region::Shared;

/// Why a memory is not a wire memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// No NIC is attached to it, or it is something else.
    Magic,
    /// Another version of the layout.
    Version(u32),
    /// Sizes out of range, or more than the memory has.
    Geometry(Geometry),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("no NIC is attached to this memory"),
            Self::Version(v) => write!(f, "wire memory of version {v}, expected {VERSION}"),
            Self::Geometry(g) => write!(f, "wire memory with impossible sizes: {g:?}"),
        }
    }
}

impl core::error::Error for OpenError {}

/// What a client reads from the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireInfo {
    /// Sizes.
    pub geometry: Geometry,
    /// The NIC's address at the time of the attach.
    pub mac: [u8; 6],
    /// The NIC's MTU in bytes at the time of the attach.
    pub mtu: u32,
    /// What the NIC takes as it is.
    pub offers: WireFeatures,
}

/// An opened wire memory: the part that is not a queue's.
pub struct WireClient<'a> {
    mem: Shared<'a>,
    info: WireInfo,
}

impl<'a> WireClient<'a> {
    /// Opens a memory that a NIC is attached to, says what this client takes as it is, and returns the queues.
    /// The caller kicks the NIC afterwards, so that it looks.
    ///
    /// # Errors
    /// Why not.
    /// Allocates; called at Start.
    pub fn open(mem: Shared<'a>, accepts: WireFeatures) -> Result<(Self, Vec<WireQueue<'a>>), OpenError> {
        let word = |at: usize| mem.load_u32(at, Ordering::Relaxed).map_or(0, u32::from_le);
        // Acquire: pairs with the release in `WireRing::attach`.
        if mem.load_u32(header::MAGIC, Ordering::Acquire).map(u32::from_le) != Some(MAGIC) {
            return Err(OpenError::Magic);
        }
        if word(header::VERSION) != VERSION {
            return Err(OpenError::Version(word(header::VERSION)));
        }
        let geometry =
            Geometry { queues: word(header::QUEUES), slots: word(header::SLOTS), slot_size: word(header::SLOT_SIZE) };
        if !geometry.is_valid() || geometry.total_len() > mem.len() {
            return Err(OpenError::Geometry(geometry));
        }
        let mut mac = [0; 6];
        let _ = mem.read_bytes(header::MAC, &mut mac);
        let offers = WireFeatures::from_bits_truncate(word(header::OFFERS));
        let mut queues = Vec::with_capacity(geometry.queues as usize);
        for queue in 0..geometry.queues {
            let send = Sender::new(mem, &geometry, queue, true).ok_or(OpenError::Geometry(geometry))?.resume();
            let recv = Receiver::new(mem, &geometry, queue, false).ok_or(OpenError::Geometry(geometry))?.resume();
            queues.push(WireQueue { send, recv });
        }
        mem.store_u32(header::ACCEPTS, accepts.bits().to_le(), Ordering::Relaxed);
        mem.store_u32(header::READY, 1u32.to_le(), Ordering::Release);
        Ok((Self { mem, info: WireInfo { geometry, mac, mtu: word(header::MTU), offers } }, queues))
    }

    /// What the header said when it was opened.
    #[must_use]
    pub fn info(&self) -> &WireInfo {
        &self.info
    }

    /// False once the NIC has detached.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.mem.load_u32(header::MAGIC, Ordering::Acquire).map(u32::from_le) == Some(MAGIC)
    }

    /// Changes what this client takes as it is.
    pub fn set_accepts(&self, accepts: WireFeatures) {
        self.mem.store_u32(header::ACCEPTS, accepts.bits().to_le(), Ordering::Relaxed);
    }
}

impl Drop for WireClient<'_> {
    fn drop(&mut self) {
        self.mem.store_u32(header::READY, 0, Ordering::Release);
    }
}
