//! The far end of a loopback NIC, served from this process: a Linux interface or capture files.
//!
//! Pumps work on the rings that the NIC shares with a wire client (`weir_core::mem::wire_ring`); a [`WireLink`] is
//! the user client that maps them.

mod direct;
mod far;
mod link;
#[cfg(target_os = "linux")]
pub mod packet;
pub mod pcap;

#[cfg(test)]
pub(crate) mod fake_link;

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::port::{Mode, WirePump};
use crate::stack::spec::WireSpec;

pub use direct::Direct;
pub use link::ClientLink;

/// What a link calls when the NIC put frames into a ring or freed slots. Any thread; it returns at once.
pub type Notify = Box<dyn Fn() + Send + Sync>;

/// A user client that has opened the wire (`WEIR_SELECTOR_OPEN_WIRE`, `WEIR_CLIENT_MEMORY_WIRE`).
///
/// # Safety
/// The memory stays mapped, at the same place, as long as the link lives; nobody in this process writes to it except
/// atomically.
pub unsafe trait WireLink: Send + Sync {
    /// The rings' memory, aligned to 8 bytes.
    fn memory(&self) -> NonNull<[u8]>;
    /// `WEIR_SELECTOR_KICK_WIRE`: frames were put into a ring, or slots were freed, and the NIC asked to be woken.
    fn kick(&self);
    /// Sets what `WEIR_NOTIFY_WIRE` calls. `None` detaches: on return, no call of the old one runs any more.
    fn set_notify(&self, notify: Option<Notify>);
    /// The runtime's clock in nanoseconds: monotonic in threads mode, virtual in simulated mode.
    fn now_ns(&self) -> u64;
}

/// Makes the pump that `spec` describes; `None` where the core serves the far end by itself.
///
/// # Errors
/// A Linux interface needs Linux and real time.
pub fn open(spec: &WireSpec, link: Arc<dyn WireLink>, mode: Mode) -> io::Result<Option<Box<dyn WirePump>>> {
    match spec {
        WireSpec::None | WireSpec::Reflect | WireSpec::Pair(_) => Ok(None),
        WireSpec::Pcap(spec) => Ok(Some(Box::new(pcap::PcapPump::new(spec.clone(), link, mode)))),
        WireSpec::Packet { .. } if mode == Mode::Simulated => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "an interface lives in real time; in simulated mode take pcap: or reflect",
        )),
        #[cfg(target_os = "linux")]
        WireSpec::Packet { name, netns } => {
            Ok(Some(Box::new(packet::PacketPump::new(name.clone(), netns.clone(), link))))
        }
        #[cfg(not(target_os = "linux"))]
        WireSpec::Packet { .. } => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "AF_PACKET is Linux's; here take pcap: or reflect"))
        }
    }
}
