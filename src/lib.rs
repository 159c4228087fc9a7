//! The data path of Weir, a filtering Ethernet driver: rings, NIC back ends, parsing, filter, counters and control.
//!
//! A frame's way through the modules is `nic` -> `wire` -> `filter` -> `pipeline` -> `driver`; [`abi`] is the C side
//! that the DriverKit glue calls (`dext/weir_core.h`). Modules import along that way only.
//!
//! Without the feature `std` the crate is `no_std` and takes its allocator and its last words from the glue
//! (`weir_hook_*` in `dext/weir_core.h`).
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::string_slice,
        clippy::panic_in_result_fn
    )
)]

extern crate alloc;

pub mod abi;
pub mod control;
pub mod driver;
pub mod filter;
pub mod flow;
pub mod mem;
pub mod nic;
pub mod pipeline;
pub mod telemetry;
pub mod wire;
