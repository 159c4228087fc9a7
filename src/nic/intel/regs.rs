//! Registers and bits that Intel's gigabit controllers share. Sections are those of the 82574 datasheet, revision 3.4; what
//! only the I210's kin have is in [`super::igc`].

/// Vendor (section 9.1.1).
pub const VENDOR: u32 = 0x8086;
/// Registers are behind BAR 0 (section 9.1.2.10).
pub const BAR: u32 = 0;

/// Device control (section 10.2.2.1).
pub const CTRL: u64 = 0x0000;
pub mod ctrl {
    pub const MASTER_DISABLE: u32 = 1 << 2;
    pub const SET_LINK_UP: u32 = 1 << 6;
    pub const FORCE_SPEED: u32 = 1 << 11;
    pub const FORCE_DUPLEX: u32 = 1 << 12;
    pub const ADVERTISE_D3_WAKE: u32 = 1 << 20;
    pub const RESET: u32 = 1 << 26;
    pub const VLAN_MODE: u32 = 1 << 30;
}

/// Device status (section 10.2.2.2).
pub const STATUS: u64 = 0x0008;
pub mod status {
    pub const FULL_DUPLEX: u32 = 1 << 0;
    pub const LINK_UP: u32 = 1 << 1;
    pub const MASTER_ENABLED: u32 = 1 << 19;

    /// Bits per second as bits 6 and 7 say: 10, 100 or 1000 Mb/s.
    pub fn gigabit(status: u32) -> u64 {
        match status >> 6 & 3 {
            0 => 10_000_000,
            1 => 100_000_000,
            _ => 1_000_000_000,
        }
    }
}

/// EEPROM control (section 10.2.2.3): auto-read is done.
pub const EEC: u64 = 0x0010;
pub const EEC_AUTO_READ: u32 = 1 << 9;
/// EEPROM read (section 10.2.2.4); where the register is depends on the family.
pub mod eerd {
    pub const START: u32 = 1 << 0;
    pub const DONE: u32 = 1 << 1;
    pub const ADDRESS_SHIFT: u32 = 2;
    pub const DATA_SHIFT: u32 = 16;
}

/// Extended device control (section 10.2.2.5).
pub const CTRL_EXT: u64 = 0x0018;
pub mod ctrl_ext {
    /// The driver is there: manageability firmware keeps off.
    pub const DRIVER_LOADED: u32 = 1 << 28;
}

/// MDI control (section 10.2.2.7).
pub const MDIC: u64 = 0x0020;
pub mod mdic {
    pub const REGISTER_SHIFT: u32 = 16;
    pub const PHY_1: u32 = 1 << 21;
    pub const WRITE: u32 = 1 << 26;
    pub const READ: u32 = 2 << 26;
    pub const READY: u32 = 1 << 28;
    pub const ERROR: u32 = 1 << 30;
}
/// PHY registers (IEEE 802.3 section 22.2.4): control.
pub const PHY_CONTROL: u32 = 0;
pub mod phy_control {
    pub const RESTART_NEGOTIATION: u16 = 1 << 9;
    pub const POWER_DOWN: u16 = 1 << 11;
    pub const NEGOTIATE: u16 = 1 << 12;
}

/// Flow control: address of pause frames, their type, pause time (sections 10.2.2.10 to 10.2.2.13).
pub const FCAL: u64 = 0x0028;
pub const FCAH: u64 = 0x002c;
pub const FCT: u64 = 0x0030;
pub const FCTTV: u64 = 0x0170;
/// Thresholds for pause frames (sections 10.2.5.3, 10.2.5.4).
pub const FCRTL: u64 = 0x2160;
pub const FCRTH: u64 = 0x2168;

/// A cause that every family has: the link changed (section 10.2.4.1).
pub const CAUSE_LINK: u32 = 1 << 2;

/// Receive control (section 10.2.5.1).
pub const RCTL: u64 = 0x0100;
pub mod rctl {
    pub const ENABLE: u32 = 1 << 1;
    pub const UNICAST_PROMISCUOUS: u32 = 1 << 3;
    pub const MULTICAST_PROMISCUOUS: u32 = 1 << 4;
    pub const LONG: u32 = 1 << 5;
    pub const BROADCAST: u32 = 1 << 15;
    pub const STRIP_CRC: u32 = 1 << 26;
    /// Buffer sizes 2048, 4096, 8192, 16384 (BSIZE, BSEX).
    pub const SIZES: [(u32, u32); 4] =
        [(2048, 0), (4096, 3 << 16 | 1 << 25), (8192, 2 << 16 | 1 << 25), (16384, 1 << 16 | 1 << 25)];
}

/// A queue's registers, from its base (sections 10.2.5.5 to 10.2.5.12, 10.2.6.5 to 10.2.6.11).
pub mod queue {
    pub const BASE_LOW: u64 = 0x00;
    pub const BASE_HIGH: u64 = 0x04;
    pub const LEN: u64 = 0x08;
    pub const HEAD: u64 = 0x10;
    pub const TAIL: u64 = 0x18;
    pub const CONTROL: u64 = 0x28;
}
/// Receive checksums (section 10.2.5.15).
pub const RXCSUM: u64 = 0x5000;
pub mod rxcsum {
    pub const IP: u32 = 1 << 8;
    pub const TRANSPORT: u32 = 1 << 9;
    /// The descriptor has the RSS hash instead of a checksum.
    pub const HASH: u32 = 1 << 13;
}
/// Receive filter control (section 10.2.5.16).
pub const RFCTL: u64 = 0x5008;
/// Multicast hash table: 128 words (section 10.2.5.17).
pub const MTA: u64 = 0x5200;
pub const MTA_WORDS: usize = 128;
/// Receive addresses (sections 10.2.5.18, 10.2.5.19).
pub const RAL: u64 = 0x5400;
pub const RAH: u64 = 0x5404;
pub const RAH_VALID: u32 = 1 << 31;
/// Receive addresses that there are, 8 bytes each.
pub const RECEIVE_ADDRESSES: u64 = 16;
/// Multiple receive queues (section 10.2.5.21).
pub const MRQC: u64 = 0x5818;
/// Redirection table, 128 entries of one byte (section 10.2.5.22).
pub const RETA: u64 = 0x5c00;
/// Hash key, 40 bytes (section 10.2.5.23).
pub const RSSRK: u64 = 0x5c80;

/// Transmit control (section 10.2.6.1).
pub const TCTL: u64 = 0x0400;
pub mod tctl {
    pub const ENABLE: u32 = 1 << 1;
    pub const PAD_SHORT: u32 = 1 << 3;
    /// 15 tries.
    pub const TRIES: u32 = 15 << 4;
}
/// Inter-packet gap (section 10.2.6.2): IPGT 8, IPGR1 8, IPGR2 6.
pub const TIPG: u64 = 0x0410;
pub const TIPG_USUAL: u32 = 8 | 8 << 10 | 6 << 20;

/// Wake-up control and filters (sections 10.2.8.1, 10.2.8.2).
pub const WUC: u64 = 0x5800;
pub const WUC_PME: u32 = 1 << 1;
pub const WUFC: u64 = 0x5808;
pub const WUFC_MAGIC: u32 = 1 << 1;
