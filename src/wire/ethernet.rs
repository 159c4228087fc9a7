//! Ethernet frames (IEEE 802.3 clause 3) and VLAN tags (IEEE 802.1Q clause 9).

use super::ethertype;
use super::fixed::{get, set};

/// Bytes of an Ethernet header.
pub const HEADER_LEN: usize = 14;
/// Bytes of a VLAN tag.
pub const TAG_LEN: usize = 4;
/// ff:ff:ff:ff:ff:ff.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// A frame that has at least an Ethernet header.
pub struct EthernetFrame<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> EthernetFrame<T> {
    /// Wraps a frame. `None` if it is shorter than the header.
    pub fn new(bytes: T) -> Option<Self> {
        (bytes.as_ref().len() >= HEADER_LEN).then_some(Self { bytes })
    }

    /// Destination address.
    pub fn dst(&self) -> [u8; 6] {
        get(self.bytes.as_ref(), 0)
    }

    /// Source address.
    pub fn src(&self) -> [u8; 6] {
        get(self.bytes.as_ref(), 6)
    }

    /// What the bytes after the addresses say: an EtherType, or a length (1500 and less).
    pub fn ethertype(&self) -> u16 {
        u16::from_be_bytes(get(self.bytes.as_ref(), 12))
    }

    /// Everything behind the header.
    pub fn payload(&self) -> &[u8] {
        self.bytes.as_ref().get(HEADER_LEN..).unwrap_or_default()
    }

    /// True when the first tag is a VLAN tag.
    pub fn is_tagged(&self) -> bool {
        matches!(self.ethertype(), ethertype::VLAN | ethertype::SVLAN)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> EthernetFrame<T> {
    /// Replaces the destination address.
    pub fn set_dst(&mut self, mac: [u8; 6]) {
        set(self.bytes.as_mut(), 0, mac);
    }

    /// Replaces the source address.
    pub fn set_src(&mut self, mac: [u8; 6]) {
        set(self.bytes.as_mut(), 6, mac);
    }

    /// Replaces the EtherType.
    pub fn set_ethertype(&mut self, ethertype: u16) {
        set(self.bytes.as_mut(), 12, ethertype.to_be_bytes());
    }

    /// Everything behind the header.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut().get_mut(HEADER_LEN..).unwrap_or_default()
    }
}
