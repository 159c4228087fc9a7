//! NCM: frames travel in NCM transfer blocks (NCM 1.0 section 3).

pub mod decode;
pub mod encode;

pub use decode::Decoder;
pub use encode::{Encoder, Layout};

/// The two ways of one interface.
pub struct Ncm {
    /// Received blocks.
    pub decoder: Decoder,
    /// Blocks to send.
    pub encoder: Encoder,
}

impl Ncm {
    /// Both begin anew.
    pub fn reset(&mut self) {
        self.decoder.reset();
        self.encoder.reset();
    }
}

/// `dwSignature` of NTH16, NTH32 (NCM 1.0 tables 3-1 and 3-2).
pub(super) const NTH16: [u8; 4] = *b"NCMH";
pub(super) const NTH32: [u8; 4] = *b"ncmh";
/// `dwSignature` of NDPs without and with CRC-32 (tables 3-3 and 3-4).
pub(super) const NDP16: [u8; 4] = *b"NCM0";
pub(super) const NDP16_CRC: [u8; 4] = *b"NCM1";
pub(super) const NDP32: [u8; 4] = *b"ncm0";
pub(super) const NDP32_CRC: [u8; 4] = *b"ncm1";
/// Bytes of the CRC behind a datagram.
pub(super) const CRC_LEN: usize = 4;
/// Ethernet header, bytes: what lies between a datagram's start and the payload that divisor and remainder speak of.
pub(super) const ETHERNET_HEADER: usize = 14;

/// What `GET_NTB_PARAMETERS` answers (NCM 1.0 table 6-3), checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// `bmNtbFormatsSupported` bit 1.
    pub has_ntb32: bool,
    /// `dwNtbInMaxSize`.
    pub in_max: u32,
    /// `dwNtbOutMaxSize`.
    pub out_max: u32,
    /// `wNdpOutDivisor`.
    pub divisor: usize,
    /// `wNdpOutPayloadRemainder`.
    pub remainder: usize,
    /// `wNdpOutAlignment`.
    pub alignment: usize,
    /// `wNtbOutMaxDatagrams`; 0 = no limit.
    pub out_datagrams: usize,
}

/// The structure's length, and the smallest maximum that a device may have (table 6-3: 2048).
pub(super) const PARAMETERS_LEN: usize = 28;
const MIN_BLOCK: u32 = 2048;

impl Parameters {
    /// `None` for an answer with which nothing could be sent or received.
    #[must_use]
    pub fn parse(answer: &[u8]) -> Option<Self> {
        let all = answer.first_chunk::<PARAMETERS_LEN>()?;
        let [_, _, f0, _, i0, i1, i2, i3, .., o0, o1, o2, o3, d0, d1, r0, r1, a0, a1, n0, n1] = *all;
        let divisor = usize::from(u16::from_le_bytes([d0, d1]));
        let remainder = usize::from(u16::from_le_bytes([r0, r1]));
        let alignment = usize::from(u16::from_le_bytes([a0, a1]));
        let parameters = Self {
            has_ntb32: f0 & 2 != 0,
            in_max: u32::from_le_bytes([i0, i1, i2, i3]),
            out_max: u32::from_le_bytes([o0, o1, o2, o3]),
            divisor: divisor.max(1),
            remainder,
            alignment,
            out_datagrams: usize::from(u16::from_le_bytes([n0, n1])),
        };
        if f0 & 1 == 0 || parameters.in_max < MIN_BLOCK || parameters.out_max < MIN_BLOCK {
            return None;
        }
        // Table 6-3: the alignment is a power of two of at least 4; a device that says otherwise gets 4, and no
        // remainder that its divisor cannot leave. Large ones would only leave no room in a block.
        let aligned = alignment.is_power_of_two() && (4..=MIN_BLOCK as usize / 4).contains(&alignment);
        let divides = parameters.divisor <= MIN_BLOCK as usize / 4;
        Some(Self {
            alignment: if aligned { alignment } else { 4 },
            divisor: if divides { parameters.divisor } else { 4 },
            remainder: if divides && remainder < parameters.divisor { remainder } else { 0 },
            ..parameters
        })
    }
}

/// IEEE 802.3 clause 3.2.9's CRC, as a datagram's last four bytes have it.
pub(super) fn crc32(frame: &[u8]) -> [u8; CRC_LEN] {
    let mut crc = u32::MAX;
    for byte in frame {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).to_le_bytes()
}
