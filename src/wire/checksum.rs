//! The Internet checksum: RFC 1071, incremental updates after RFC 1624, pseudo headers of RFC 9293 and RFC 8200.
//!
//! A *sum* is a ones' complement sum, not yet complemented; a *checksum* is what stands in a header.

/// A ones' complement sum under way, in the byte order of the machine (RFC 1071 section 2 (B): the sum does not
/// care, if it is stored the way it was read).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sum(u64);

impl Sum {
    /// Nothing summed yet.
    pub const ZERO: Self = Self(0);

    /// Adds `data`, which starts at an even offset of what is summed. An odd last byte counts as if a zero followed.
    #[must_use]
    pub fn add_bytes(self, data: &[u8]) -> Self {
        // 32-bit words into 64-bit lanes: a carry is lost only after 2^32 words (RFC 1071 section 2 (C)).
        let (blocks, rest) = data.as_chunks::<32>();
        let mut lanes = [0u64; 8];
        for block in blocks {
            let (words, _) = block.as_chunks::<4>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let mut sum: u64 = lanes.iter().sum();
        let (words, tail) = rest.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        sum += u64::from(u32::from_ne_bytes(last));
        Self(fold32(self.0) + fold32(sum))
    }

    /// Adds one 16-bit word in host order.
    #[must_use]
    pub fn add_u16(self, word: u16) -> Self {
        Self(self.0 + u64::from(word.to_be()))
    }

    /// Adds one 32-bit word in host order.
    #[must_use]
    pub fn add_u32(self, word: u32) -> Self {
        Self(fold32(self.0) + u64::from(word.to_be()))
    }

    /// Adds another sum.
    #[must_use]
    pub fn plus(self, other: Sum) -> Self {
        Self(fold32(self.0) + fold32(other.0))
    }

    /// The 16-bit sum in host order.
    #[must_use]
    pub fn value(self) -> u16 {
        u16::from_be(fold16(self.0))
    }

    /// The checksum in host order: the complement.
    #[must_use]
    pub fn checksum(self) -> u16 {
        !self.value()
    }

    /// The checksum as UDP stores it: 0 means "none" there, so ones' complement's other zero is used (RFC 768).
    #[must_use]
    pub fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            sum => sum,
        }
    }
}

fn fold32(sum: u64) -> u64 {
    (sum & 0xffff_ffff) + (sum >> 32)
}

fn fold16(sum: u64) -> u16 {
    let sum = fold32(fold32(sum));
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The checksum of `data`, in host order.
#[must_use]
pub fn checksum(data: &[u8]) -> u16 {
    Sum::ZERO.add_bytes(data).checksum()
}

/// Sum of the IPv4 pseudo header (RFC 9293 section 3.1). `len` is the transport header and payload, in bytes.
#[must_use]
pub fn pseudo_v4(src: [u8; 4], dst: [u8; 4], protocol: u8, len: u32) -> Sum {
    Sum::ZERO.add_bytes(&src).add_bytes(&dst).add_u16(u16::from(protocol)).add_u32(len)
}

/// Sum of the IPv6 pseudo header (RFC 8200 section 8.1).
#[must_use]
pub fn pseudo_v6(src: [u8; 16], dst: [u8; 16], protocol: u8, len: u32) -> Sum {
    Sum::ZERO.add_bytes(&src).add_bytes(&dst).add_u32(len).add_u32(u32::from(protocol))
}

/// Updates a checksum after a 16-bit field changed from `old` to `new` (RFC 1624 equation 3). Host order.
#[must_use]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u64::from(!checksum) + u64::from(!old) + u64::from(new);
    !fold16(sum)
}

/// [`update`] for a field of several 16-bit words at an even offset of what is summed. Shorter and longer may
/// differ; an odd last byte counts as if a zero followed.
#[must_use]
pub fn update_bytes(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let old = Sum::ZERO.add_bytes(old).value();
    let new = Sum::ZERO.add_bytes(new).value();
    update(checksum, old, new)
}

/// [`update`] for UDP, where a stored 0 means that there is no checksum, and stays (RFC 768).
#[must_use]
pub fn update_udp(checksum: u16, old: u16, new: u16) -> u16 {
    if checksum == 0 {
        return 0;
    }
    match update(checksum, old, new) {
        0 => 0xffff,
        sum => sum,
    }
}
