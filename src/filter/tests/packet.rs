//! Packets as a person would describe them, and as bytes.

use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

use super::arbitrary::{addr, family, port, tcp_flags};
use crate::filter::Family;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp { sport: u16, dport: u16, flags: u8 },
    Udp { sport: u16, dport: u16 },
    Icmp { kind: u8, code: u8 },
    Other(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    First,
    Later,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// `None` = not IP, with this EtherType.
    pub other: Option<u16>,
    pub vlans: usize,
    pub family: Family,
    pub src: [u8; 16],
    pub dst: [u8; 16],
    pub transport: Transport,
    pub part: Part,
    /// IPv4 options, or an IPv6 routing header.
    pub options: bool,
    /// IPv6 hop-by-hop options, which pf lets pass.
    pub hop_by_hop: bool,
}

pub fn packet() -> impl Strategy<Value = Packet> {
    let transport = prop_oneof![
        4 => (port(), port(), tcp_flags()).prop_map(|(sport, dport, flags)| Transport::Tcp { sport, dport, flags }),
        3 => (port(), port()).prop_map(|(sport, dport)| Transport::Udp { sport, dport }),
        2 => (0u8..12, 0u8..3).prop_map(|(kind, code)| Transport::Icmp { kind, code }),
        1 => prop_oneof![Just(47u8), Just(50), Just(89)].prop_map(Transport::Other),
    ];
    let part = prop_oneof![6 => Just(Part::Whole), 1 => Just(Part::First), 1 => Just(Part::Later)];
    let other =
        prop_oneof![9 => Just(None), 1 => prop_oneof![Just(0x0806u16), Just(0x88cc), Just(0x0042)].prop_map(Some)];
    let extras = (0usize..3, prop::bool::weighted(0.15), prop::bool::weighted(0.1));
    family().prop_flat_map(move |family| {
        (addr(family), addr(family), transport.clone(), part.clone(), other.clone(), extras.clone()).prop_map(
            move |(src, dst, transport, part, other, (vlans, options, hop_by_hop))| Packet {
                other,
                vlans,
                family,
                src,
                dst,
                transport,
                part,
                options,
                hop_by_hop: hop_by_hop && family == Family::V6,
            },
        )
    })
}

impl Packet {
    pub fn protocol(&self) -> u8 {
        match (self.transport, self.family) {
            (Transport::Tcp { .. }, _) => 6,
            (Transport::Udp { .. }, _) => 17,
            (Transport::Icmp { .. }, Family::V6) => 58,
            (Transport::Icmp { .. }, _) => 1,
            (Transport::Other(number), _) => number,
        }
    }

    fn transport_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; 24];
        match self.transport {
            Transport::Tcp { sport, dport, flags } => {
                bytes[..2].copy_from_slice(&sport.to_be_bytes());
                bytes[2..4].copy_from_slice(&dport.to_be_bytes());
                bytes[12] = 5 << 4;
                bytes[13] = flags;
            }
            Transport::Udp { sport, dport } => {
                bytes[..2].copy_from_slice(&sport.to_be_bytes());
                bytes[2..4].copy_from_slice(&dport.to_be_bytes());
                bytes[4..6].copy_from_slice(&24u16.to_be_bytes());
            }
            Transport::Icmp { kind, code } => {
                bytes[0] = kind;
                bytes[1] = code;
            }
            Transport::Other(_) => {}
        }
        bytes
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in 0..self.vlans {
            frame.extend_from_slice(&[0x81, 0, 0, tag as u8 + 5]);
        }
        let ethertype = self.other.unwrap_or(if self.family == Family::V6 { 0x86dd } else { 0x0800 });
        frame.extend_from_slice(&ethertype.to_be_bytes());
        if self.other.is_some() {
            frame.extend_from_slice(&[0; 46]);
        } else if self.family == Family::V6 {
            self.put_v6(&mut frame);
        } else {
            self.put_v4(&mut frame);
        }
        frame
    }

    fn put_v4(&self, frame: &mut Vec<u8>) {
        let body = self.transport_bytes();
        let header_len = if self.options { 24 } else { 20 };
        let fragment: u16 = match self.part {
            Part::Whole => 0,
            Part::First => 0x2000,
            Part::Later => 0x2000 | 100,
        };
        frame.extend_from_slice(&[0x40 | (header_len / 4), 0]);
        frame.extend_from_slice(&(u16::from(header_len) + body.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 1]);
        frame.extend_from_slice(&fragment.to_be_bytes());
        frame.extend_from_slice(&[64, self.protocol(), 0, 0]);
        frame.extend_from_slice(&self.src[..4]);
        frame.extend_from_slice(&self.dst[..4]);
        if self.options {
            // Router alert (RFC 2113).
            frame.extend_from_slice(&[148, 4, 0, 0]);
        }
        frame.extend_from_slice(&body);
    }

    fn put_v6(&self, frame: &mut Vec<u8>) {
        let mut chain = Vec::new();
        if self.hop_by_hop {
            chain.push((0u8, vec![0, 0, 5, 2, 0, 0, 1, 0]));
        }
        if self.options {
            // Type 2 routing header (RFC 6275 section 6.4).
            let mut routing = vec![0, 2, 2, 1, 0, 0, 0, 0];
            routing.extend_from_slice(&self.dst);
            chain.push((43, routing));
        }
        if self.part != Part::Whole {
            let offset: u16 = if self.part == Part::Later { 800 } else { 0 };
            let [a, b] = (offset | 1).to_be_bytes();
            chain.push((44, vec![0, 0, a, b, 0, 0, 0, 7]));
        }
        let body = self.transport_bytes();
        let len = chain.iter().map(|(_, header)| header.len()).sum::<usize>() + body.len();
        frame.extend_from_slice(&[0x60, 0, 0, 0]);
        frame.extend_from_slice(&(len as u16).to_be_bytes());
        frame.extend_from_slice(&[chain.first().map_or(self.protocol(), |(kind, _)| *kind), 64]);
        frame.extend_from_slice(&self.src);
        frame.extend_from_slice(&self.dst);
        for (position, (_, header)) in chain.iter().enumerate() {
            let at = frame.len();
            frame.extend_from_slice(header);
            frame[at] = chain.get(position + 1).map_or(self.protocol(), |(kind, _)| *kind);
        }
        frame.extend_from_slice(&body);
    }
}
