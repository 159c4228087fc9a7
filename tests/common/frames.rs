//! Frames and rules for tests.

use weir_core::filter::{Action, AddrKind, AddrMatch, Direction, Endpoint, PortMatch, PortOp, Rule, Ruleset};

pub const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
pub const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

/// A UDP packet over IPv4; `mark` is its payload's first bytes.
pub fn udp(src: [u8; 6], dst: [u8; 6], ips: ([u8; 4], [u8; 4]), ports: (u16, u16), mark: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&dst);
    frame.extend_from_slice(&src);
    frame.extend_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend_from_slice(&ips.0);
    frame.extend_from_slice(&ips.1);
    let sum = frame[14..34].chunks(2).fold(0u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(&ports.0.to_be_bytes());
    frame.extend_from_slice(&ports.1.to_be_bytes());
    frame.extend_from_slice(&[0, 26, 0, 0]);
    frame.extend_from_slice(&mark.to_be_bytes());
    frame.resize(60, 0);
    frame
}

/// From A to B, or with any other port: one flow per source port.
pub fn a_to_b(sport: u16, dport: u16, mark: u32) -> Vec<u8> {
    udp(A, B, ([10, 0, 0, 1], [10, 0, 0, 2]), (sport, dport), mark)
}

/// The mark of a frame of [`udp`].
pub fn mark(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[42..46].try_into().unwrap())
}

/// An ARP request for 10.0.0.2.
pub fn arp_request() -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&[0xff; 6]);
    frame.extend_from_slice(&A);
    frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend_from_slice(&A);
    frame.extend_from_slice(&[10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    frame.resize(60, 0);
    frame
}

/// `action direction all`.
pub fn rule(action: Action, direction: Direction) -> Rule {
    Rule { action, direction, text: String::from("a rule"), line: 1, ..Rule::default() }
}

/// `action direction proto udp to port = port`.
pub fn udp_port(action: Action, direction: Direction, port: u16) -> Rule {
    let port = PortMatch { op: PortOp::Eq, a: port, b: 0 };
    Rule { protocol: Some(17), dst: Endpoint { port, ..Endpoint::default() }, ..rule(action, direction) }
}

/// An IPv4 host.
pub fn host(addr: [u8; 4]) -> AddrMatch {
    let mut test = AddrMatch { kind: AddrKind::Mask4, ..AddrMatch::default() };
    test.addr[..4].copy_from_slice(&addr);
    test.end[..4].fill(0xff);
    test
}

pub fn ruleset(rules: Vec<Rule>) -> Ruleset {
    Ruleset::filter(rules, Vec::new())
}
