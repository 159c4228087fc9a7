//! The stack side: what sends frames into a registered interface and takes those it receives.

#[cfg(target_os = "linux")]
pub(crate) mod netlink;
pub mod pcap;
pub mod smoltcp;
pub mod spec;
#[cfg(target_os = "linux")]
pub mod tap;
pub mod vnet;

#[cfg(test)]
pub(crate) mod fake_port;

use std::io;

use crate::port::{Mode, Stack};
use spec::StackSpec;

/// Makes attachments that share threads where that helps: those of one driver, or of drivers that are joined.
#[derive(Clone, Default)]
pub struct Stacks {
    #[cfg(target_os = "linux")]
    pump: tap::Pump,
}

impl Stacks {
    /// Makes the attachment that `spec` describes; [`Stack::attach`] starts it.
    ///
    /// # Errors
    /// A TAP device needs Linux and real time ([`Mode::Threads`]).
    pub fn open(&self, spec: &StackSpec, mode: Mode) -> io::Result<Box<dyn Stack>> {
        match spec {
            #[cfg(target_os = "linux")]
            StackSpec::Tap(_) if mode == Mode::Simulated => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a TAP device lives in real time; in simulated mode attach smoltcp: or pcap:",
            )),
            #[cfg(target_os = "linux")]
            StackSpec::Tap(spec) => Ok(Box::new(tap::Tap::sharing(spec.clone(), &self.pump))),
            #[cfg(not(target_os = "linux"))]
            StackSpec::Tap(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "TAP devices are Linux's; here attach smoltcp: or pcap:",
            )),
            StackSpec::Smoltcp(spec) => Ok(Box::new(smoltcp::Smoltcp::new(spec.clone(), mode))),
            StackSpec::Pcap(spec) => Ok(Box::new(pcap::Pcap::new(spec.clone(), mode))),
        }
    }
}

/// Makes one attachment with threads of its own.
///
/// # Errors
/// As [`Stacks::open`].
pub fn open(spec: &StackSpec, mode: Mode) -> io::Result<Box<dyn Stack>> {
    Stacks::default().open(spec, mode)
}
