//! The kernel's side of `IOUserNetworkEthernet`: pool, packets, queues, interface.

pub mod iface;
pub mod netq;
pub mod ops;
pub mod packet;
pub mod poller;
pub mod pool;
mod port;

#[cfg(test)]
mod tests;

/// `kIOUserNetworkHWAssist*` bits that the runtime uses.
pub mod assist {
    /// TCP checksums of outgoing packets.
    pub const TX_CHECKSUM_TCP: u32 = 0x2;
    /// UDP checksums of outgoing packets.
    pub const TX_CHECKSUM_UDP: u32 = 0x4;
    /// TCP segmentation, IPv4.
    pub const TSO4: u32 = 0x20_0000;
    /// TCP segmentation, IPv6.
    pub const TSO6: u32 = 0x40_0000;
    /// Checksums of received packets.
    pub const RX_CHECKSUM: u32 = 0x2000_0000;
}
