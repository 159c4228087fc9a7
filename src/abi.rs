//! The C ABI: `dext/weir_core.h` in Rust, for the DriverKit glue. The only module that speaks C.
//!
//! Every exported function checks every argument before it is used: null and misaligned pointers, sizes, versions,
//! queue numbers, ranges. What C cannot express and the functions therefore rely on is said in their SAFETY
//! comments: that a pointer which is neither null nor misaligned points at as many live objects as the header says,
//! and that `core` came from [`weir_create`] and was not yet given to [`weir_destroy`].
//!
//! No panic crosses the boundary: there is none on the way, and an `extern "C"` function that panicked all the same
//! would end the process (RFC 2945).
#![allow(clippy::missing_safety_doc, reason = "the header is the contract of every function, summed up above")]

mod calls;
mod data;
#[cfg(all(not(feature = "std"), not(test)))]
mod hooks;
mod ops;
mod usb;
#[allow(missing_docs, non_camel_case_types, rustdoc::all, clippy::all, clippy::indexing_slicing, reason = "generated")]
#[rustfmt::skip]
pub mod sys;

pub use calls::*;
pub use data::*;
pub use usb::{weir_usb_complete, weir_usb_probe};

use crate::control;
use crate::driver::{Driver, Error};
use crate::mem::handover::{Places, RawEmpty};
use crate::mem::packet::RawPacket;
use crate::telemetry::DropReason;

/// The instance behind a `weir_core` pointer; `None` for null or one that cannot be an instance.
fn driver<'a>(core: *mut sys::weir_core) -> Option<&'a Driver> {
    let driver = core.cast::<Driver>();
    if !driver.is_aligned() {
        return None;
    }
    // SAFETY: the header's contract: `core` came from weir_create, where it was a Driver, and lives until
    // weir_destroy, which the caller does not run at the same time. Driver is Sync, so shared references from any
    // thread are fine.
    unsafe { driver.as_ref() }
}

/// The header's number for an error.
const fn status(result: Result<(), Error>) -> sys::weir_status {
    match result {
        Ok(()) => sys::WEIR_OK,
        Err(error) => error_status(error),
    }
}

const fn error_status(error: Error) -> sys::weir_status {
    match error {
        Error::Invalid => sys::WEIR_E_INVAL,
        Error::NoMemory => sys::WEIR_E_NOMEM,
        Error::Busy => sys::WEIR_E_BUSY,
        Error::NoDevice => sys::WEIR_E_NODEV,
        Error::Version => sys::WEIR_E_VERSION,
        Error::State => sys::WEIR_E_STATE,
        Error::NoSpace => sys::WEIR_E_NOSPACE,
        Error::Unsupported => sys::WEIR_E_UNSUPPORTED,
        Error::Image => sys::WEIR_E_IMAGE,
    }
}

// Both directions of the contract, checked by the compiler: each function has exactly the type that the header
// declares, and structs and numbers that have a Rust twin agree with it.
macro_rules! exported {
    ($($name:ident,)*) => {
        /// Names of the exported functions.
        pub const EXPORTED: &[&str] = &[$(stringify!($name)),*];
        const _: fn() = || {
            $(let _same_type = [sys::$name, $name];)*
        };
    };
}

exported! {
    weir_create, weir_destroy, weir_rx_post, weir_rx_space, weir_rx_poll, weir_tx_space, weir_tx_submit,
    weir_tx_reap, weir_arm, weir_reclaim, weir_enable, weir_set_promiscuous, weir_set_all_multicast,
    weir_get_hardware, weir_interrupt, weir_interrupt_polled, weir_tick, weir_set_wake, weir_set_multicast, weir_set_mac, weir_get_mac,
    weir_set_mtu, weir_set_if_name, weir_get_offloads, weir_set_offloads, weir_link_get, weir_link_set,
    weir_wire_size, weir_wire_attach, weir_wire_detach,
    weir_wire_kick, weir_tap_size, weir_tap_attach, weir_tap_detach, weir_control, weir_usb_probe, weir_usb_complete,
}

macro_rules! same_layout {
    ($ours:ty, $theirs:ty: $($field:ident),*) => {
        assert!(size_of::<$ours>() == size_of::<$theirs>());
        assert!(align_of::<$ours>() == align_of::<$theirs>());
        $(assert!(core::mem::offset_of!($ours, $field) == core::mem::offset_of!($theirs, $field));)*
    };
}

const _: () = {
    same_layout!(RawPacket, sys::weir_pkt: cookie, base, iova, buf_len, data_off, len, flags, csum_start,
        csum_stuff, mss, segs, status, reserved);
    same_layout!(RawEmpty, sys::weir_empty: cookie, base, iova, buf_len, data_off);
    same_layout!(Places, sys::weir_burst: reserved, pkts);
    assert!(crate::mem::packet::BURST_MAX == sys::WEIR_BURST_MAX as usize);
    assert!(crate::telemetry::DROP_REASONS == sys::WEIR_DROP_REASONS as usize);
    assert!(DropReason::InvalidPort as u32 == sys::WEIR_DROP_INVALID_PORT);
    assert!(DropReason::Offload as u32 == sys::WEIR_DROP_OFFLOAD);
    assert!(crate::nic::QUEUES_MAX == sys::WEIR_QUEUES_MAX as usize);
    assert!(crate::nic::MTU_MAX == sys::WEIR_MTU_MAX);
    assert!(crate::nic::MULTICAST_MAX == sys::WEIR_MULTICAST_MAX as usize);
    assert!(crate::mem::transfer::SLOTS_MAX == sys::WEIR_USB_SLOTS_MAX as usize);
    assert!(crate::pipeline::FRAME_MIN == sys::WEIR_FRAME_MIN as usize);
    assert!(crate::mem::Status::Dropped.code() == sys::WEIR_E_DROPPED);
    assert!(control::COMMAND_LEN == size_of::<sys::weir_cmd>() && control::ABI_VERSION == sys::WEIR_ABI_VERSION);
    assert!(control::ALL_QUEUES == sys::WEIR_ALL_QUEUES as u64);
    assert!(control::INFO_LEN == size_of::<sys::weir_info>());
    assert!(control::COUNTERS_LEN == size_of::<sys::weir_counters>());
    assert!(control::LOAD_RESULT_LEN == size_of::<sys::weir_load_result>());
    assert!(control::RULE_COUNTERS_LEN == size_of::<sys::weir_rule_counters>());
    assert!(control::HISTOGRAM_LEN == size_of::<sys::weir_histogram>());
    assert!(control::EVENT_LEN == size_of::<sys::weir_event>());
    assert!(control::TAP_INFO_LEN == size_of::<sys::weir_tap_info>());
    assert!(control::TAP_REQUEST_LEN == size_of::<sys::weir_tap_config>());
    assert!(crate::pipeline::tap::TAPS == sys::WEIR_TAPS_MAX as usize);
    assert!(crate::pipeline::tap::TapKinds::COPIES.bits() == sys::WEIR_TAP_COPIES);
    assert!(crate::pipeline::tap::TapKinds::EVENTS.bits() == sys::WEIR_TAP_EVENTS);
};

#[cfg(test)]
mod tests;
