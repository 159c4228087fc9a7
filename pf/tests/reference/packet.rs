//! Packets, and their frames, built byte by byte.

use super::model::Dir;
use std::net::IpAddr;

/// One packet, as it goes past the NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub dir: Dir,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub tos: u8,
    pub ttl: u8,
    /// IPv4's don't-fragment bit, and its identification.
    pub df: bool,
    pub id: u16,
    /// Which far station: the last byte of its address.
    pub far: u8,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Tcp {
        sport: u16,
        dport: u16,
        seq: u32,
        ack: u32,
        flags: u8,
        data: u8,
        /// The maximum segment size option.
        mss: Option<u16>,
    },
    Udp {
        sport: u16,
        dport: u16,
        data: u8,
    },
    /// A query or its answer.
    Icmp {
        kind: u8,
        id: u16,
    },
    /// An error about a packet that went the other way; `v6` errors have their own types.
    Error {
        kind: u8,
        code: u8,
        about: Box<Packet>,
    },
    Other {
        proto: u8,
    },
    /// Nobody has put it together: the first, or a later one.
    Fragment {
        proto: u8,
        first: bool,
    },
    /// No IP at all.
    Raw {
        ethertype: u16,
    },
}

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

impl Packet {
    /// One that begins at the start of its days.
    pub fn new(dir: Dir, src: IpAddr, dst: IpAddr, body: Body) -> Self {
        Self { dir, src, dst, tos: 0, ttl: 64, df: false, id: 0x1234, far: 1, body }
    }

    pub fn v6(&self) -> bool {
        self.src.is_ipv6()
    }

    pub fn proto(&self) -> u8 {
        match self.body {
            Body::Tcp { .. } => 6,
            Body::Udp { .. } => 17,
            Body::Icmp { .. } | Body::Error { .. } => {
                if self.v6() {
                    58
                } else {
                    1
                }
            }
            Body::Other { proto } | Body::Fragment { proto, .. } => proto,
            Body::Raw { .. } => 0,
        }
    }

    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.body {
            Body::Tcp { sport, dport, .. } | Body::Udp { sport, dport, .. } => Some((sport, dport)),
            _ => None,
        }
    }

    /// The same packet with other ends; ports where it has some, an identifier where it has one.
    pub fn between(&self, src: (IpAddr, u16), dst: (IpAddr, u16)) -> Self {
        let mut packet = self.clone();
        (packet.src, packet.dst) = (src.0, dst.0);
        match &mut packet.body {
            Body::Tcp { sport, dport, .. } | Body::Udp { sport, dport, .. } => (*sport, *dport) = (src.1, dst.1),
            Body::Icmp { id, .. } => *id = src.1,
            _ => {}
        }
        packet
    }

    pub fn frame(&self) -> Vec<u8> {
        let (src, dst) = self.macs();
        let mut frame = Vec::with_capacity(192);
        frame.extend(dst);
        frame.extend(src);
        frame.extend(self.ethertype().to_be_bytes());
        if let Body::Raw { .. } = self.body {
            frame.extend([0x63; 46]);
        } else {
            frame.extend(self.bytes());
        }
        frame
    }

    /// Source and destination.
    pub fn macs(&self) -> ([u8; 6], [u8; 6]) {
        let (near, far) = ([2, 0, 0, 0, 0, 0x10], [2, 0, 0, 0, 0, self.far]);
        if self.dir == Dir::In { (far, near) } else { (near, far) }
    }

    pub fn ethertype(&self) -> u16 {
        match self.body {
            Body::Raw { ethertype } => ethertype,
            _ if self.v6() => 0x86dd,
            _ => 0x0800,
        }
    }

    /// From the IP header on.
    fn bytes(&self) -> Vec<u8> {
        let mut body = self.transport();
        let at = match self.body {
            Body::Tcp { .. } => Some(16),
            Body::Udp { .. } => Some(6),
            Body::Icmp { .. } | Body::Error { .. } => Some(2),
            Body::Other { .. } | Body::Fragment { .. } | Body::Raw { .. } => None,
        };
        let proto = self.proto();
        if let Some(at) = at {
            let mut summed = match (self.src, self.dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) if proto != 1 => {
                    [&src.octets()[..], &dst.octets(), &[0, proto], &(body.len() as u16).to_be_bytes()].concat()
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    [&src.octets()[..], &dst.octets(), &(body.len() as u32).to_be_bytes(), &[0, 0, 0, proto]].concat()
                }
                _ => Vec::new(),
            };
            summed.extend(&body);
            let sum = match checksum(&summed) {
                0 if proto == 17 => 0xffff,
                sum => sum,
            };
            body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        let mut packet = Vec::new();
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                packet.extend([0x45, self.tos]);
                packet.extend((20 + body.len() as u16).to_be_bytes());
                packet.extend(self.id.to_be_bytes());
                // RFC 791: flags, then the offset in units of eight.
                packet.extend(match self.body {
                    Body::Fragment { first: true, .. } => [0x20, 0],
                    Body::Fragment { first: false, .. } => [0, 185],
                    _ if self.df => [0x40, 0],
                    _ => [0, 0],
                });
                packet.extend([self.ttl, proto, 0, 0]);
                packet.extend(src.octets());
                packet.extend(dst.octets());
                let sum = checksum(&packet);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                packet.extend([0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
                packet.extend((body.len() as u16).to_be_bytes());
                let fragment = matches!(self.body, Body::Fragment { .. });
                packet.extend([if fragment { 44 } else { proto }, self.ttl]);
                packet.extend(src.octets());
                packet.extend(dst.octets());
            }
            _ => panic!("one family"),
        }
        packet.extend(body);
        packet
    }

    fn transport(&self) -> Vec<u8> {
        match &self.body {
            Body::Tcp { sport, dport, seq, ack, flags, data, mss } => {
                let mut bytes = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
                bytes.extend(seq.to_be_bytes());
                bytes.extend(ack.to_be_bytes());
                bytes.extend([if mss.is_some() { 0x60 } else { 0x50 }, *flags, 0x40, 0, 0, 0, 0, 0]);
                if let Some(mss) = mss {
                    bytes.extend([2, 4]);
                    bytes.extend(mss.to_be_bytes());
                }
                bytes.extend(vec![0x61; usize::from(*data)]);
                bytes
            }
            Body::Udp { sport, dport, data } => {
                let len = 8 + u16::from(*data);
                let mut bytes = [*sport, *dport, len, 0].map(u16::to_be_bytes).concat();
                bytes.extend(vec![0x62; usize::from(*data)]);
                bytes
            }
            Body::Icmp { kind, id } => [&[*kind, 0, 0, 0][..], &id.to_be_bytes(), &[0, 1]].concat(),
            Body::Error { kind, code, about } => [&[*kind, *code, 0, 0, 0, 0, 0, 0][..], &about.bytes()].concat(),
            Body::Other { .. } => vec![1, 2, 3, 4, 5, 6, 7, 8, 9],
            Body::Fragment { proto, first } => {
                let mut bytes = Vec::new();
                if self.v6() {
                    // RFC 8200 section 4.5.
                    bytes.extend([*proto, 0]);
                    bytes.extend(if *first { [0, 1] } else { [5, 0xc8] });
                    bytes.extend([0, 0, 0, 9]);
                }
                bytes.extend([0x64; 24]);
                bytes
            }
            Body::Raw { .. } => Vec::new(),
        }
    }
}

/// RFC 1071.
fn checksum(data: &[u8]) -> u16 {
    let mut sum: u32 =
        data.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
