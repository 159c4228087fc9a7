//! Intel's gigabit Ethernet controllers.
//!
//! `control` and `queue` are what all of them share; a `family::Family` says where they differ. VLAN tags stay in the
//! frames: the system has no way to take them apart.

mod control;
mod desc;
pub mod e1000e;
mod family;
pub mod igc;
mod queue;
mod regs;

pub use control::IntelConfig;

/// The back end for a device number behind Intel's vendor number.
pub(super) fn kind(identity: u32) -> Option<&'static str> {
    use family::Family;
    let known = |devices: &[u32]| identity & 0xffff == regs::VENDOR && devices.contains(&(identity >> 16));
    if known(e1000e::E1000e::DEVICES) {
        Some("e1000e")
    } else if known(igc::Igc::DEVICES) {
        Some("igc")
    } else {
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
