//! DriverKit for Linux: runs DriverKit network drivers as they are.
//!
//! The C++ layer (`cpp/`) holds Apple's classes; this crate is the engine under them (`dk_runtime.h`): dispatch queues,
//! time, memory, packets, the kernel's side of an interface, user clients, and the rules that a driver must not break.
//! [`Host`] runs a driver; a [`port::Stack`] connects its interface to something.

mod abi;
pub mod client;
pub mod diag;
pub mod dma;
mod far;
mod host;
pub mod ioreturn;
pub mod mem;
#[cfg(test)]
mod mock;
pub mod net;
pub mod pci;
pub mod port;
pub mod prop;
pub mod provider;
pub mod rt;
pub mod sched;
pub mod service;
pub mod source;
pub mod stack;
pub mod usb;
pub mod wire;

pub use weir_capture as capture;

pub use client::{Call, Completion, ConnectError, RemoteClient, Reply, UserClient};
pub use diag::fault::{Fault, FaultPlan};
pub use diag::ledger::Leak;
pub use diag::log::{LogConfig, LogLine};
pub use diag::{Collected, Violation};
pub use host::{FinalReport, Host, HostConfig, HostMode, Service};
pub use ioreturn::{IoResult, IoReturn};
pub use net::iface::{Counters, Link};
pub use prop::{Prop, Properties};
pub use service::{BootError, Report};
