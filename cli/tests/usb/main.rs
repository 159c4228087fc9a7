//! The driver on models of USB network devices, in virtual time.

mod faults;
mod rig;
mod scenarios;
#[path = "../dext/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the virtual NIC")]
mod support;
