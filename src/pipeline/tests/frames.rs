//! Frames over IPv4, written and read with checksums.

use alloc::vec;
use alloc::vec::Vec;

use crate::wire::tcp::{ACK, SYN};
use crate::wire::{self, protocol};

pub const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub protocol: u8,
    pub src: [u8; 4],
    pub dst: [u8; 4],
    pub sport: u16,
    pub dport: u16,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    /// ICMP type and code.
    pub icmp: (u8, u8),
    pub payload: Vec<u8>,
}

pub fn udp(src: ([u8; 4], u16), dst: ([u8; 4], u16)) -> Frame {
    Frame {
        protocol: protocol::UDP,
        src: src.0,
        dst: dst.0,
        sport: src.1,
        dport: dst.1,
        flags: 0,
        seq: 0,
        ack: 0,
        window: 0,
        icmp: (0, 0),
        payload: vec![7; 10],
    }
}

pub fn tcp(src: ([u8; 4], u16), dst: ([u8; 4], u16), flags: u8, seq: u32, ack: u32) -> Frame {
    Frame { protocol: protocol::TCP, flags, seq, ack, window: 8192, payload: Vec::new(), ..udp(src, dst) }
}

/// An ICMP echo request, or its answer; `sport` is the identifier.
pub fn echo(src: [u8; 4], dst: [u8; 4], id: u16, kind: u8) -> Frame {
    Frame { protocol: protocol::ICMP, icmp: (kind, 0), ..udp((src, id), (dst, 0)) }
}

/// Port unreachable about a frame.
pub fn unreachable(src: [u8; 4], about: &Frame) -> Frame {
    let payload = about.bytes()[14..42].to_vec();
    Frame { protocol: protocol::ICMP, icmp: (3, 3), payload, ..udp((src, 0), (about.src, 0)) }
}

impl Frame {
    /// The answer's ends.
    pub fn back(&self) -> Self {
        Self { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, ..self.clone() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self.protocol {
            protocol::TCP => {
                body.extend_from_slice(&self.sport.to_be_bytes());
                body.extend_from_slice(&self.dport.to_be_bytes());
                body.extend_from_slice(&self.seq.to_be_bytes());
                body.extend_from_slice(&self.ack.to_be_bytes());
                body.extend_from_slice(&[0x50, self.flags]);
                body.extend_from_slice(&self.window.to_be_bytes());
                body.extend_from_slice(&[0; 4]);
            }
            protocol::UDP => {
                body.extend_from_slice(&self.sport.to_be_bytes());
                body.extend_from_slice(&self.dport.to_be_bytes());
                body.extend_from_slice(&(8 + self.payload.len() as u16).to_be_bytes());
                body.extend_from_slice(&[0; 2]);
            }
            _ => {
                body.extend_from_slice(&[self.icmp.0, self.icmp.1, 0, 0]);
                body.extend_from_slice(&self.sport.to_be_bytes());
                body.extend_from_slice(&[0; 2]);
            }
        }
        body.extend_from_slice(&self.payload);
        let at = match self.protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            _ => 2,
        };
        let sum = self.sum(&body);
        body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend_from_slice(&(20 + body.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 1, 0, 0, 64, self.protocol, 0, 0]);
        frame.extend_from_slice(&self.src);
        frame.extend_from_slice(&self.dst);
        let sum = fold(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame.extend_from_slice(&body);
        frame
    }

    fn sum(&self, body: &[u8]) -> u16 {
        let mut bytes = Vec::new();
        if self.protocol != protocol::ICMP {
            bytes.extend_from_slice(&self.src);
            bytes.extend_from_slice(&self.dst);
            bytes.extend_from_slice(&[0, self.protocol]);
            bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        }
        bytes.extend_from_slice(body);
        fold(&bytes)
    }

    /// Reads a frame and checks its checksums.
    pub fn read(bytes: &[u8]) -> Self {
        let parsed = wire::parse(bytes);
        assert_eq!(parsed.error, None, "{bytes:02x?}");
        assert_eq!(fold(&bytes[14..34]), 0, "IP header checksum");
        let l4 = usize::from(parsed.l4);
        let body = &bytes[l4..parsed.end()];
        let (number, header) = match parsed.protocol {
            protocol::TCP => (parsed.protocol, usize::from(body[12] >> 4) * 4),
            other => (other, 8),
        };
        let four = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        let is_tcp = number == protocol::TCP;
        let is_icmp = number == protocol::ICMP;
        let two = |at: usize| u16::from_be_bytes(body[at..at + 2].try_into().unwrap());
        let frame = Self {
            protocol: number,
            src: parsed.src[..4].try_into().unwrap(),
            dst: parsed.dst[..4].try_into().unwrap(),
            sport: if is_icmp { two(4) } else { parsed.src_port },
            dport: parsed.dst_port,
            flags: parsed.tcp_flags,
            seq: if is_tcp { four(4) } else { 0 },
            ack: if is_tcp { four(8) } else { 0 },
            window: if is_tcp { two(14) } else { 0 },
            icmp: if is_icmp { (body[0], body[1]) } else { (0, 0) },
            payload: body[header..].to_vec(),
        };
        assert_eq!(frame.sum(body), 0, "transport checksum of {frame:?}");
        frame
    }
}

fn fold(bytes: &[u8]) -> u16 {
    let sum = bytes
        .chunks(2)
        .fold(0u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// The three segments of a handshake.
pub fn handshake(client: ([u8; 4], u16), server: ([u8; 4], u16)) -> [Frame; 3] {
    [
        tcp(client, server, SYN, 1000, 0),
        tcp(server, client, SYN | ACK, 9000, 1001),
        tcp(client, server, ACK, 1001, 9001),
    ]
}
