//! Numbers of the virtio specification, version 1.2; sections are its.

/// Vendor of virtio devices; modern device numbers are 0x1040 plus the kind (section 4.1.2).
pub const VENDOR: u32 = 0x1af4;
/// A network card, modern.
pub const NETWORK_DEVICE: u32 = 0x1041;

/// `cfg_type` of a vendor-specific capability (section 4.1.4).
pub mod capability {
    pub const COMMON: u32 = 1;
    pub const NOTIFY: u32 = 2;
    pub const DEVICE: u32 = 4;
}

/// Offsets of the common configuration structure (section 4.1.4.3).
pub mod common {
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub const DEVICE_FEATURE: u64 = 0x04;
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub const DRIVER_FEATURE: u64 = 0x0c;
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    pub const DEVICE_STATUS: u64 = 0x14;
    pub const CONFIG_GENERATION: u64 = 0x15;
    pub const QUEUE_SELECT: u64 = 0x16;
    pub const QUEUE_SIZE: u64 = 0x18;
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    pub const QUEUE_ENABLE: u64 = 0x1c;
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    pub const QUEUE_DESC: u64 = 0x20;
    pub const QUEUE_DRIVER: u64 = 0x28;
    pub const QUEUE_DEVICE: u64 = 0x30;
    /// Bytes of what is used here.
    pub const LEN: u64 = 0x38;
}

/// Device status bits (section 2.1).
pub mod status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 64;
    pub const FAILED: u8 = 128;
}

/// No interrupt (section 4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

/// Feature bits: of the ring and transport (section 6), of the network device (section 5.1.3).
pub mod feature {
    pub const CSUM: u64 = 1 << 0;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const MTU: u64 = 1 << 3;
    pub const MAC: u64 = 1 << 5;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const GUEST_TSO6: u64 = 1 << 8;
    pub const GUEST_ECN: u64 = 1 << 9;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const HOST_TSO6: u64 = 1 << 12;
    pub const HOST_ECN: u64 = 1 << 13;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
    pub const CTRL_VQ: u64 = 1 << 17;
    pub const CTRL_RX: u64 = 1 << 18;
    pub const MQ: u64 = 1 << 22;
    pub const CTRL_MAC_ADDR: u64 = 1 << 23;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    pub const RING_PACKED: u64 = 1 << 34;
    pub const ORDER_PLATFORM: u64 = 1 << 36;
    pub const RSS: u64 = 1 << 60;
    pub const SPEED_DUPLEX: u64 = 1 << 63;
}

/// Offsets of the network device's configuration (section 5.1.4).
pub mod config {
    pub const MAC: u64 = 0;
    pub const STATUS: u64 = 6;
    pub const MAX_PAIRS: u64 = 8;
    pub const MTU: u64 = 10;
    pub const SPEED: u64 = 12;
    pub const DUPLEX: u64 = 16;
    /// RSS: the longest key, the longest table, the hashes that there are.
    pub const RSS_KEY_MAX: u64 = 17;
    pub const RSS_TABLE_MAX: u64 = 18;
    pub const RSS_TYPES: u64 = 20;
    /// `status`: carrier.
    pub const LINK_UP: u16 = 1;
    /// `speed` that is not known.
    pub const SPEED_UNKNOWN: u32 = 0xffff_ffff;
}

/// Control virtqueue: classes and commands (section 5.1.6.5).
pub mod control {
    /// Receive mode: promiscuous, all multicast.
    pub const RX: u8 = 0;
    pub const RX_PROMISC: u8 = 0;
    pub const RX_ALLMULTI: u8 = 1;
    /// Addresses.
    pub const MAC: u8 = 1;
    pub const MAC_TABLE_SET: u8 = 0;
    pub const MAC_ADDR_SET: u8 = 1;
    /// Queue pairs and steering.
    pub const MQ: u8 = 4;
    pub const MQ_VQ_PAIRS_SET: u8 = 0;
    pub const MQ_RSS_CONFIG: u8 = 1;
    /// Hashes of addresses, and of addresses and TCP ports, of IPv4 and IPv6 (section 5.1.6.4.3.1).
    pub const HASH_TYPES: u32 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4;
    /// The device's answer.
    pub const OK: u8 = 0;
}

/// `struct virtio_net_hdr` (section 5.1.6).
pub mod header {
    /// Bytes, with `num_buffers`, which VERSION_1 always has.
    pub const LEN: usize = 12;
    /// `flags`: a partial checksum; the checksum is right.
    pub const NEEDS_CSUM: u8 = 1;
    pub const DATA_VALID: u8 = 2;
    /// `gso_type`.
    pub const GSO_NONE: u8 = 0;
    pub const GSO_TCPV4: u8 = 1;
    pub const GSO_TCPV6: u8 = 4;
    pub const GSO_ECN: u8 = 0x80;
}

/// Split virtqueues (section 2.7).
pub mod split {
    /// Descriptor flags (section 2.7.5).
    pub const NEXT: u16 = 1;
    pub const WRITE: u16 = 2;
    /// Bytes of a descriptor and of a used element.
    pub const DESCRIPTOR: usize = 16;
    pub const USED_ELEMENT: usize = 8;
    /// `avail.flags`: the driver wants no interrupt (section 2.7.7).
    pub const NO_INTERRUPT: u16 = 1;
    /// `used.flags`: the device wants no notification (section 2.7.10).
    pub const NO_NOTIFY: u16 = 1;
}

/// Packed virtqueues (section 2.8).
pub mod packed {
    /// Descriptor flags (section 2.8.1).
    pub const NEXT: u16 = 1;
    pub const WRITE: u16 = 2;
    pub const AVAIL: u16 = 1 << 7;
    pub const USED: u16 = 1 << 15;
    /// Event suppression flags (section 2.8.14).
    pub const ENABLE: u16 = 0;
    pub const DISABLE: u16 = 1;
    pub const DESC: u16 = 2;
}
