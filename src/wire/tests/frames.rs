//! Frames of every shape, made byte by byte from a description.

use proptest::prelude::*;

/// What to build.
#[derive(Clone, Debug)]
pub struct Shape {
    pub tags: Vec<(bool, u16)>,
    pub net: Net,
    pub transport: Transport,
    pub payload: Vec<u8>,
    pub padding: usize,
}

#[derive(Clone, Debug)]
pub enum Net {
    V4 { options: usize, id: u16, dont: bool, offset: u16, more: bool, src: [u8; 4], dst: [u8; 4] },
    V6 { extensions: Vec<Extension>, src: [u8; 16], dst: [u8; 16] },
    Other(u16),
}

#[derive(Clone, Debug)]
pub enum Extension {
    HopByHop(u8),
    Dest(u8),
    Routing(u8),
    Fragment { offset: u16, more: bool, id: u32 },
    Auth(u8),
}

#[derive(Clone, Debug)]
pub enum Transport {
    Tcp { options: usize, flags: u8, src: u16, dst: u16 },
    Udp { src: u16, dst: u16 },
    Icmp { kind: u8, code: u8 },
    Icmp6 { kind: u8, code: u8 },
    Other(u8),
}

fn extension() -> impl Strategy<Value = Extension> {
    prop_oneof![
        any::<u8>().prop_map(|n| Extension::Dest(n & 3)),
        any::<u8>().prop_map(|n| Extension::Routing(n & 3)),
        (0u16..9, any::<bool>(), any::<u32>()).prop_map(|(offset, more, id)| Extension::Fragment {
            offset: offset / 4 * 3,
            more,
            id
        }),
        any::<u8>().prop_map(|n| Extension::Auth(n & 3)),
    ]
}

pub fn shape() -> impl Strategy<Value = Shape> {
    let v4 = (0usize..=10, any::<u16>(), any::<bool>(), 0u16..9, any::<bool>(), any::<[u8; 4]>(), any::<[u8; 4]>())
        .prop_map(|(options, id, dont, offset, more, src, dst)| {
            // Two in three are not fragments.
            let (offset, more) = if offset < 6 { (0, false) } else { ((offset - 6) * 3, more) };
            Net::V4 { options, id, dont, offset, more, src, dst }
        });
    let v6 = (any::<Option<u8>>(), prop::collection::vec(extension(), 0..4), any::<[u8; 16]>(), any::<[u8; 16]>())
        .prop_map(|(hop, mut extensions, src, dst)| {
            if let Some(n) = hop {
                extensions.insert(0, Extension::HopByHop(n & 3));
            }
            Net::V6 { extensions, src, dst }
        });
    let net = prop_oneof![4 => v4, 4 => v6, 1 => any::<u16>().prop_map(Net::Other)];
    let transport =
        prop_oneof![
            (0usize..=10, any::<u8>(), any::<u16>(), any::<u16>())
                .prop_map(|(options, flags, src, dst)| Transport::Tcp { options, flags, src, dst }),
            (any::<u16>(), any::<u16>()).prop_map(|(src, dst)| Transport::Udp { src, dst }),
            (any::<u8>(), any::<u8>()).prop_map(|(kind, code)| Transport::Icmp { kind, code }),
            (any::<u8>(), any::<u8>()).prop_map(|(kind, code)| Transport::Icmp6 { kind, code }),
            (140u8..=252).prop_map(Transport::Other),
        ];
    let tags = prop::collection::vec((any::<bool>(), any::<u16>()), 0..4);
    let payload = prop::collection::vec(any::<u8>(), 0..64);
    (tags, net, transport, payload, 0usize..20).prop_map(|(tags, net, transport, payload, padding)| Shape {
        tags,
        net,
        transport,
        payload,
        padding,
    })
}

impl Transport {
    fn number(&self) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Icmp { .. } => 1,
            Self::Icmp6 { .. } => 58,
            Self::Other(number) => *number,
        }
    }

    fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        match *self {
            Self::Tcp { options, flags, src, dst } => {
                bytes.extend([src.to_be_bytes(), dst.to_be_bytes()].concat());
                bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, ((5 + options) << 4) as u8, flags, 1, 0, 0, 0, 0, 0]);
                bytes.extend(vec![1; options * 4]);
            }
            Self::Udp { src, dst } => {
                let len = payload.len() as u16 + 8;
                bytes.extend([src, dst, len, 0x1234].map(u16::to_be_bytes).concat());
            }
            Self::Icmp { kind, code } | Self::Icmp6 { kind, code } => {
                bytes.extend([kind, code, 0, 0, 0, 0, 0, 0]);
            }
            Self::Other(_) => {}
        }
        bytes.extend_from_slice(payload);
        bytes
    }
}

impl Shape {
    /// The frame, without FCS; checksums are not computed.
    pub fn build(&self) -> Vec<u8> {
        let mut frame = vec![0x02, 1, 2, 3, 4, 5, 0x02, 9, 8, 7, 6, 5];
        for (service, tci) in &self.tags {
            frame.extend(if *service { [0x88, 0xa8] } else { [0x81, 0x00] });
            frame.extend(tci.to_be_bytes());
        }
        let mut body = self.transport.bytes(&self.payload);
        match &self.net {
            Net::Other(ethertype) => {
                frame.extend(ethertype.to_be_bytes());
                frame.extend(body);
            }
            Net::V4 { options, id, dont, offset, more, src, dst } => {
                if *more {
                    body.resize(body.len().next_multiple_of(8), 0);
                }
                frame.extend([0x08, 0x00, 0x40 | (5 + options) as u8, 0xb8]);
                frame.extend(((20 + options * 4 + body.len()) as u16).to_be_bytes());
                frame.extend(id.to_be_bytes());
                let bits = offset | u16::from(*more) << 13 | u16::from(*dont) << 14;
                frame.extend(bits.to_be_bytes());
                frame.extend([61, self.transport.number(), 0, 0]);
                frame.extend(src);
                frame.extend(dst);
                frame.extend(vec![1; options * 4]);
                frame.extend(body);
            }
            Net::V6 { extensions, src, dst } => {
                let mut next = self.transport.number();
                for extension in extensions.iter().rev() {
                    let (number, bytes) = extension.bytes(next);
                    if let Extension::Fragment { more: true, .. } = extension {
                        body.resize(body.len().next_multiple_of(8), 0);
                    }
                    body.splice(0..0, bytes);
                    next = number;
                }
                frame.extend([0x86, 0xdd, 0x6b, 0x81, 2, 3]);
                frame.extend((body.len() as u16).to_be_bytes());
                frame.extend([next, 61]);
                frame.extend(src);
                frame.extend(dst);
                frame.extend(body);
            }
        }
        frame.resize(frame.len() + self.padding, 0);
        frame
    }
}

impl Extension {
    /// Its number, and its bytes in front of header `next`.
    fn bytes(&self, next: u8) -> (u8, Vec<u8>) {
        let options = |units: u8| {
            let mut bytes = vec![next, units];
            bytes.extend(vec![1; usize::from(units) * 8 + 6]);
            bytes
        };
        match *self {
            Self::HopByHop(units) => (0, options(units)),
            Self::Dest(units) => (60, options(units)),
            Self::Routing(units) => (43, options(units)),
            Self::Fragment { offset, more, id } => {
                let bits = offset << 3 | u16::from(more);
                (44, [&[next, 0][..], &bits.to_be_bytes(), &id.to_be_bytes()].concat())
            }
            // RFC 4302: 12 bytes and 4 more a unit.
            Self::Auth(units) => {
                let mut bytes = vec![next, units + 1];
                bytes.extend(vec![0; usize::from(units) * 4 + 10]);
                (51, bytes)
            }
        }
    }
}
