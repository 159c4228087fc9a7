//! Other people's code that is measured beside ours.

#[cfg(feature = "dpdk")]
pub mod acl;
