//! Other people's code that is measured beside ours, and the memory that both get.

#[cfg(feature = "dpdk")]
pub mod acl;
#[cfg(feature = "dpdk")]
pub mod eal;
pub mod glue;
#[cfg(feature = "dpdk")]
pub mod hash;
pub mod huge;
pub mod lent;
#[cfg(feature = "dpdk")]
pub mod pcap;
#[cfg(feature = "dpdk")]
pub mod ring;
