//! User clients: the control plane of a dext, in process and over a Unix socket.
//!
//! Everything that comes from a client is hostile: counts and sizes are bounded before anything is allocated, unknown
//! messages end the connection, and nothing here panics on what a peer sends.

mod conn;
mod remote;
mod server;
mod wire;

#[cfg(test)]
mod tests;

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub use conn::UserClient;
pub use remote::{ConnectError, RemoteClient};
pub use server::{Policy, Server};

use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::prop::Properties;
use crate::sched::lock;

/// Most scalars in either direction (`DK_SCALARS_MAX`).
pub const SCALARS_MAX: usize = 16;
/// Structures up to this size are passed inline, larger ones as a memory descriptor (`DK_STRUCT_INLINE_MAX`).
pub const INLINE_MAX: usize = 4096;
/// Largest structure in either direction: 16 MiB.
pub const STRUCT_MAX: usize = 16 << 20;
/// Most memory regions that one client may offer.
const REGIONS_MAX: usize = 64;

/// One call of `ExternalMethod`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Which method.
    pub selector: u64,
    /// Scalar inputs, at most [`SCALARS_MAX`].
    pub scalars: Vec<u64>,
    /// Structure input, at most [`STRUCT_MAX`] bytes.
    pub input: Option<Vec<u8>>,
    /// Scalar outputs wanted, at most [`SCALARS_MAX`].
    pub scalars_out: u32,
    /// Structure output wanted, at most [`STRUCT_MAX`] bytes.
    pub output_max: u64,
    /// Nonzero: an asynchronous call; completions carry this number.
    pub async_reference: u64,
}

/// What a call returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the method returned.
    pub status: IoReturn,
    /// Scalar outputs.
    pub scalars: Vec<u64>,
    /// Structure output.
    pub output: Vec<u8>,
}

/// A completion of an asynchronous call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// [`Call::async_reference`].
    pub reference: u64,
    /// The status the driver gave.
    pub status: IoReturn,
    /// Up to [`SCALARS_MAX`] values.
    pub values: Vec<u64>,
}

/// Where completions go; called on the driver's queues, must not block.
pub type CompletionSink = Arc<dyn Fn(Completion) + Send + Sync>;

struct Region {
    base: u64,
    mem: Arc<Mem>,
}

/// Who is behind a user client.
pub struct Peer {
    /// Entitlements of that process.
    pub entitlements: Properties,
    sink: Mutex<Option<CompletionSink>>,
    regions: Mutex<Vec<Region>>,
    next_base: AtomicU64,
}

impl Peer {
    pub(crate) fn new(entitlements: Properties, sink: Option<CompletionSink>) -> Arc<Peer> {
        Arc::new(Peer {
            entitlements,
            sink: Mutex::new(sink),
            regions: Mutex::new(Vec::new()),
            next_base: AtomicU64::new(0x10_0000),
        })
    }

    fn detach(&self) {
        let old = lock(&self.sink).take();
        drop(old);
    }

    /// Makes memory of the client known; the address by which the client names it.
    fn offer(&self, mem: Arc<Mem>) -> IoResult<u64> {
        let mut regions = lock(&self.regions);
        if regions.len() >= REGIONS_MAX {
            return Err(IoReturn::NO_RESOURCES);
        }
        let span = mem.length().next_multiple_of(crate::mem::PAGE) + crate::mem::PAGE;
        let base = self.next_base.fetch_add(span, Ordering::Relaxed);
        regions.push(Region { base, mem });
        Ok(base)
    }

    /// `CreateMemoryDescriptorFromClient`: segments by the client's addresses.
    ///
    /// # Errors
    /// `BAD_ARGUMENT`: not 1 to 32 segments, or one that is not inside a region.
    pub fn memory(&self, direction: u64, segments: &[(u64, u64)]) -> IoResult<Arc<Mem>> {
        let part = |&(address, length): &(u64, u64)| {
            let regions = lock(&self.regions);
            let r = regions.iter().find(|r| (r.base..r.base + r.mem.length()).contains(&address));
            let r = r.ok_or(IoReturn::BAD_ARGUMENT)?;
            Mem::sub(direction, address - r.base, length, &r.mem).map_err(|_| IoReturn::BAD_ARGUMENT)
        };
        let mut parts = segments.iter().map(part).collect::<IoResult<Vec<_>>>()?;
        match parts.len() {
            1 => parts.pop().ok_or(IoReturn::BAD_ARGUMENT),
            _ => Mem::multi(direction, parts),
        }
    }
}

/// The completion of an asynchronous call (`dk_async`).
pub struct AsyncCall {
    peer: Arc<Peer>,
    reference: u64,
}

impl AsyncCall {
    /// Sends a completion; silently nowhere if the client is gone.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for too many values, `NOT_ATTACHED` if the client is gone.
    pub fn complete(&self, status: i32, values: &[u64]) -> IoResult<()> {
        if values.len() > SCALARS_MAX {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let sink = lock(&self.peer.sink).clone().ok_or(IoReturn::NOT_ATTACHED)?;
        sink(Completion { reference: self.reference, status: IoReturn(status), values: values.to_vec() });
        Ok(())
    }
}

/// `dk_ext_args`.
#[repr(C)]
#[allow(missing_docs)]
pub struct RawExtArgs {
    pub selector: u64,
    pub scalar_in: *const u64,
    pub scalar_in_count: u32,
    pub scalar_out_count: u32,
    pub scalar_out: *mut u64,
    pub struct_in: *const c_void,
    pub struct_in_len: u64,
    pub struct_in_mem: *const Mem,
    pub struct_out_mem: *const Mem,
    pub struct_out_max: u64,
    pub has_struct_in: bool,
    pub reserved: [u8; 7],
    pub async_call: *const AsyncCall,
    pub reply: *mut Vec<u8>,
}
