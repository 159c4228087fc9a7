//! Traffic that knows what it may send.

use super::generate::*;
use super::model::Dir;
use super::packet::*;
use std::net::IpAddr;

/// A TCP connection's two ends, as far as each has got.
#[derive(Clone, Debug)]
struct Connection {
    /// Which way its SYN goes, and the ends as each side sees them.
    dir: Dir,
    opener: [(IpAddr, u16); 2],
    other: Option<[(IpAddr, u16); 2]>,
    step: usize,
    seq: [u32; 2],
    closing: [bool; 2],
}

/// What a TCP segment is in its connection.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The connection's ends could have sent it, in order.
    pub plausible: bool,
    /// Which connection: the port that it was begun from.
    pub connection: u16,
}

impl Place {
    /// Nothing to contradict.
    pub const NONE: Self = Self { plausible: true, connection: 0 };
}

/// Makes one packet after the other.
pub struct Traffic {
    next_port: u16,
    connections: Vec<Connection>,
    /// What has passed, as it left: for errors about it.
    passed: Vec<Packet>,
    pending: Option<(usize, usize, u32, u8)>,
}

impl Traffic {
    pub fn new() -> Self {
        Self { next_port: 20_000, connections: Vec::new(), passed: Vec::new(), pending: None }
    }

    /// Every conversation is over.
    pub fn forget_all(&mut self) {
        self.connections.clear();
        self.passed.clear();
    }

    /// What the rest of a header may be.
    fn finish(&self, r: &mut Random, tos: u8, packet: Packet) -> Packet {
        let raw = matches!(packet.body, Body::Raw { .. });
        let v4 = !packet.v6() && !matches!(packet.body, Body::Fragment { .. });
        Packet {
            tos,
            ttl: if raw { 64 } else { r.pick(&[2, 64, 128]) },
            df: v4 && !raw && r.one_in(3),
            id: if v4 && !raw { r.next() as u16 } else { 0x1234 },
            far: r.pick(&[1, 1, 2]),
            ..packet
        }
    }

    fn port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// Source and destination of something that nobody has asked for.
    fn ends(&mut self, r: &mut Random) -> (Dir, IpAddr, IpAddr) {
        let v6 = r.one_in(3);
        let dir = r.pick(&[Dir::In, Dir::Out]);
        let inside = r.pick(if v6 { &INSIDE6 } else { &INSIDE });
        let outside = r.pick(if v6 { &OUTSIDE6 } else { &OUTSIDE });
        match dir {
            Dir::Out => (dir, inside, outside),
            Dir::In if r.one_in(2) => (dir, outside, r.pick(if v6 { &SHOWN6 } else { &SHOWN })),
            Dir::In => (dir, outside, inside),
        }
    }

    /// A packet, and what it is in its connection.
    pub fn packet(&mut self, r: &mut Random) -> (Packet, Place) {
        self.pending = None;
        let tos = if r.one_in(8) { 0x10 } else { 0 };
        match r.below(10) {
            0..4 if !self.connections.is_empty() => self.go_on(r, tos),
            0..5 => {
                let (dir, src, dst) = self.ends(r);
                let (sport, dport) = (self.port(), r.pick(&PORTS));
                let isn = r.next() as u32;
                self.connections.push(Connection {
                    dir,
                    opener: [(src, sport), (dst, dport)],
                    other: None,
                    step: 0,
                    seq: [isn, r.next() as u32],
                    closing: [false; 2],
                });
                self.pending = Some((self.connections.len() - 1, 0, 1, SYN));
                let mss = if r.one_in(2) { Some(1460) } else { None };
                let body = Body::Tcp { sport, dport, seq: isn, ack: 0, flags: SYN, data: 0, mss };
                (self.finish(r, tos, Packet::new(dir, src, dst, body)), Place { plausible: true, connection: sport })
            }
            5 | 6 => {
                let (dir, src, dst) = self.ends(r);
                let sport = if r.one_in(3) { self.port() } else { r.pick(&PORTS) };
                let body = Body::Udp { sport, dport: r.pick(&PORTS), data: r.below(30) as u8 };
                (self.finish(r, tos, Packet::new(dir, src, dst, body)), Place::NONE)
            }
            7 => self.icmp(r, tos),
            8 => {
                let (dir, src, dst) = self.ends(r);
                let body = match r.below(6) {
                    // Of no connection: its ports are nobody else's. Some contradict themselves.
                    0 => {
                        let flags = r.pick(&[ACK, SYN | ACK, RST, FIN | ACK, 0, FIN, SYN | RST]);
                        let (sport, dport) = (self.port(), r.pick(&PORTS));
                        Body::Tcp {
                            sport,
                            dport,
                            seq: r.next() as u32,
                            ack: r.next() as u32,
                            flags,
                            data: 0,
                            mss: None,
                        }
                    }
                    1 => Body::Other { proto: 47 },
                    2 | 3 => Body::Fragment { proto: r.pick(&[6, 17, 17, 47]), first: r.one_in(2) },
                    4 => Body::Raw { ethertype: r.pick(&[0x88cc, 0x88b5]) },
                    _ => Body::Other { proto: 99 },
                };
                (self.finish(r, tos, Packet::new(dir, src, dst, body)), Place::NONE)
            }
            _ => self.answer(r).unwrap_or_else(|| self.icmp(r, tos)),
        }
    }

    fn icmp(&mut self, r: &mut Random, tos: u8) -> (Packet, Place) {
        let (dir, src, dst) = self.ends(r);
        let kind = match (src.is_ipv6(), r.one_in(6)) {
            (false, false) => 8,
            (false, true) => 0,
            (true, false) => 128,
            (true, true) => 129,
        };
        let body = Body::Icmp { kind, id: self.port() };
        (self.finish(r, tos, Packet::new(dir, src, dst, body)), Place::NONE)
    }

    /// Something comes back for what has passed: an answer, or an error about it.
    fn answer(&mut self, r: &mut Random) -> Option<(Packet, Place)> {
        if self.passed.is_empty() {
            return None;
        }
        let about = self.passed[r.below(self.passed.len())].clone();
        let dir = if about.dir == Dir::In { Dir::Out } else { Dir::In };
        let v6 = about.v6();
        let body = match &about.body {
            Body::Udp { sport, dport, .. } if r.one_in(2) => Body::Udp { sport: *dport, dport: *sport, data: 9 },
            Body::Icmp { kind: 8 | 128, id } if r.one_in(2) => Body::Icmp { kind: if v6 { 129 } else { 0 }, id: *id },
            Body::Other { proto } => Body::Other { proto: *proto },
            Body::Error { .. } | Body::Fragment { .. } | Body::Raw { .. } => return None,
            _ => {
                let (kind, code) = if v6 { (1, 4) } else { (3, 3) };
                Body::Error { kind, code, about: Box::new(about.clone()) }
            }
        };
        Some((self.finish(r, 0, Packet::new(dir, about.dst, about.src, body)), Place::NONE))
    }

    /// The next segment of some connection.
    fn go_on(&mut self, r: &mut Random, tos: u8) -> (Packet, Place) {
        let index = r.below(self.connections.len());
        let connection = self.connections[index].clone();
        let back = if connection.dir == Dir::In { Dir::Out } else { Dir::In };
        let (from, flags, data, uses) = match (connection.step, connection.other) {
            // The SYN has not got through: again.
            (0, _) | (_, None) => (0, SYN, 0, 1),
            (1, _) => (1, SYN | ACK, 0, 1),
            (2, _) => (0, ACK, 0, 0),
            _ => {
                let from = r.below(2);
                if connection.closing[from] {
                    (from, ACK, 0, 0)
                } else {
                    match r.below(8) {
                        0 => (from, FIN | ACK, 0, 1),
                        1 => (from, RST | ACK, 0, 0),
                        _ => {
                            let data = r.below(100) as u8;
                            (from, ACK, data, u32::from(data))
                        }
                    }
                }
            }
        };
        let [mine, theirs] = if from == 0 { connection.seq } else { [connection.seq[1], connection.seq[0]] };
        let (dir, [src, dst]) = match (from, connection.other) {
            (1, Some([opener, other])) => (back, [other, opener]),
            _ => (connection.dir, connection.opener),
        };
        let ack = if flags & ACK == 0 { 0 } else { theirs };
        // Far outside of every window. (Without anything in it, and no reset, a segment's place does not matter to pf.)
        let wild = connection.step > 3 && (uses > 0 || flags & RST != 0) && r.one_in(8);
        let seq = if wild { mine.wrapping_add(0x4000_0000) } else { mine };
        if !wild {
            self.pending = Some((index, from, uses, flags));
        }
        let mss = if flags & SYN != 0 && r.one_in(2) { Some(1400) } else { None };
        let body = Body::Tcp { sport: src.1, dport: dst.1, seq, ack, flags, data, mss };
        (
            self.finish(r, tos, Packet::new(dir, src.0, dst.0, body)),
            Place { plausible: !wild, connection: connection.opener[0].1 },
        )
    }

    /// The packet that was made last has passed, as this one.
    pub fn has_passed(&mut self, left: &Packet) {
        if self.passed.len() > 20 {
            self.passed.remove(0);
        }
        let Some((index, from, uses, flags)) = self.pending.take() else {
            if matches!(left.body, Body::Udp { .. } | Body::Icmp { .. } | Body::Other { .. }) {
                self.passed.push(left.clone());
            }
            return;
        };
        let connection = &mut self.connections[index];
        if connection.step == 0 {
            let Some((sport, dport)) = left.ports() else { return };
            connection.other = Some([(left.src, sport), (left.dst, dport)]);
        }
        if connection.step < 3 || flags & (FIN | RST) != 0 || connection.closing != [false; 2] {
            self.passed.retain(|packet| packet.ports() != left.ports());
        } else {
            self.passed.push(left.clone());
        }
        connection.step += 1;
        connection.seq[from] = connection.seq[from].wrapping_add(uses);
        if flags & FIN != 0 {
            connection.closing[from] = true;
        }
        if flags & RST != 0 || (connection.closing == [true; 2] && flags & FIN == 0) {
            self.connections.swap_remove(index);
            self.passed.retain(|packet| packet.ports() != left.ports());
        }
    }

    /// It has not.
    pub fn was_dropped(&mut self) {
        self.pending = None;
    }
}
