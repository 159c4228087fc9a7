//! Random rules, and traffic that knows what it may send.

use super::model::*;
use super::packet::*;
use std::net::IpAddr;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn maybe<T>(&mut self, n: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(n).then(|| make(self))
    }
}

const INSIDE: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
const INSIDE6: [&str; 2] = ["fd00::1", "fd00::2"];
const OUTSIDE: [&str; 3] = ["192.0.2.1", "192.0.2.7", "198.51.100.9"];
const OUTSIDE6: [&str; 3] = ["2001:db8::1", "2001:db8::7", "2001:db8:1::9"];
/// What translation shows instead: `nat`, `rdr`, `binat`.
const SHOWN: [&str; 3] = ["203.0.113.5", "203.0.113.6", "203.0.113.7"];
const SHOWN6: [&str; 3] = ["fd00:5::5", "fd00:5::6", "fd00:5::7"];
const PORTS: [u16; 6] = [22, 53, 80, 443, 1024, 8080];
const FLAGS: [(u8, u8); 6] =
    [(SYN, SYN | ACK), (SYN, SYN | ACK | FIN | RST), (ACK, ACK), (0, RST), (SYN | ACK, SYN | ACK), (0, SYN | FIN)];

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn any_addr(r: &mut Random, v6: bool) -> IpAddr {
    let lists: [&[&str]; 3] = if v6 { [&INSIDE6, &OUTSIDE6, &SHOWN6] } else { [&INSIDE, &OUTSIDE, &SHOWN] };
    let list = lists[r.below(3)];
    addr(r.pick(list))
}

/// A prefix with its host bits cleared.
fn prefix(r: &mut Random, v6: bool) -> (IpAddr, u8) {
    let len = if v6 { r.pick(&[0, 16, 32, 48, 64, 127, 128]) } else { r.pick(&[0, 8, 24, 29, 31, 32]) };
    match any_addr(r, v6) {
        IpAddr::V4(a) => (IpAddr::V4((a.to_bits() & (u64::MAX << (32 - len)) as u32).into()), len),
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            (IpAddr::V6((a.to_bits() & mask).into()), len)
        }
    }
}

fn address(r: &mut Random, v6: Option<bool>, tables: usize) -> Address {
    let host = match (r.below(8), v6) {
        (0..4, _) | (_, None) => {
            if tables > 0 && r.one_in(4) {
                Host::Table(r.below(tables))
            } else {
                Host::Any
            }
        }
        (4 | 5, Some(v6)) => {
            let (net, len) = prefix(r, v6);
            // `/0` is `any` and loses its family.
            if len == 0 { Host::Any } else { Host::Prefix(net, len) }
        }
        (6, Some(v6)) => {
            let (a, b) = (any_addr(r, v6), any_addr(r, v6));
            Host::Range(a.min(b), a.max(b))
        }
        _ if tables > 0 => Host::Table(r.below(tables)),
        _ => Host::Any,
    };
    // `! any` is an error.
    Address { negate: host != Host::Any && r.one_in(4), host }
}

fn port(r: &mut Random) -> Port {
    let (a, b) = (r.pick(&PORTS), r.pick(&PORTS));
    let (low, high) = (a.min(b), a.max(b));
    match r.below(12) {
        0 => Port::Not(a),
        1 => Port::Less(a),
        2 => Port::LessOrEqual(a),
        3 => Port::Greater(a),
        4 => Port::GreaterOrEqual(a),
        5 => Port::Span(low, high),
        6 => Port::Between(low, high),
        7 => Port::Outside(low, high),
        _ => Port::Equal(a),
    }
}

fn tests(r: &mut Random, tables: usize, flags: bool) -> Tests {
    let v6 = r.maybe(2, |r| r.one_in(2));
    let proto = match (r.below(8), v6) {
        (0 | 1, _) => Some(6),
        (2 | 3, _) => Some(17),
        (4, Some(v6)) => Some(if v6 { 58 } else { 1 }),
        (5, _) => Some(47),
        _ => None,
    };
    let ports = matches!(proto, Some(6 | 17));
    Tests {
        dir: r.maybe(2, |r| r.pick(&[Dir::In, Dir::Out])),
        on: r.maybe(3, |r| (r.one_in(4), !r.one_in(4))),
        v6,
        proto,
        src: address(r, v6, tables),
        src_port: r.maybe(if ports { 5 } else { usize::MAX }, port).filter(|_| ports),
        dst: address(r, v6, tables),
        dst_port: r.maybe(2, port).filter(|_| ports),
        flags: if flags && proto == Some(6) {
            match r.below(4) {
                0 => Flags::Any,
                1 => {
                    let (set, of) = r.pick(&FLAGS);
                    Flags::Of(set, of)
                }
                _ => Flags::Default,
            }
        } else {
            Flags::Default
        },
        icmp_type: match proto {
            Some(1) => r.maybe(2, |r| r.pick(&[8, 0, 3])),
            Some(58) => r.maybe(2, |r| r.pick(&[128, 129, 1])),
            _ => None,
        },
        tos: r.maybe(12, |r| r.pick(&[0x10, 0x08])),
        tagged: r.maybe(6, |r| (r.one_in(3), r.below(TAGS.len()))),
    }
}

fn item(r: &mut Random, tables: usize, depth: usize) -> Item {
    if depth < 3 && r.one_in(6) {
        let items = (0..r.below(5)).map(|_| item(r, tables, depth + 1)).collect();
        let mut tests = tests(r, tables, false);
        tests.flags = Flags::Default;
        return Item::Anchor { quick: r.one_in(3), tests, items };
    }
    let action = r.pick(&[Action::Pass, Action::Pass, Action::Pass, Action::Block, Action::Block, Action::Match]);
    let tests = tests(r, tables, true);
    Item::Rule(Rule {
        action,
        quick: action != Action::Match && r.one_in(4),
        tests,
        tag: r.maybe(5, |r| r.below(TAGS.len())),
        state: !r.one_in(4),
    })
}

fn translation(r: &mut Random, tables: usize) -> Translation {
    let kind = r.pick(&[Kind::Nat, Kind::Rdr, Kind::Binat]);
    let v6 = r.one_in(2);
    let no = r.one_in(5);
    let mut tests = tests(r, tables, false);
    (tests.dir, tests.tos, tests.icmp_type, tests.v6) = (None, None, None, Some(v6));
    (tests.src, tests.dst) = (address(r, Some(v6), tables), address(r, Some(v6), tables));
    let shown = if v6 { &SHOWN6 } else { &SHOWN };
    let inside = addr(if v6 { r.pick(&INSIDE6) } else { r.pick(&INSIDE) });
    let mut to_port = None;
    let to = match kind {
        // An ICMP identifier is translated to one that nobody can foretell.
        Kind::Nat => {
            tests.proto = Some(r.pick(&[6, 17]));
            addr(shown[0])
        }
        Kind::Rdr => {
            // One port, or a range.
            tests.dst_port = tests.dst_port.filter(|port| matches!(port, Port::Equal(_) | Port::Span(..)));
            tests.dst = Address { negate: false, host: Host::Prefix(addr(shown[1]), if v6 { 128 } else { 32 }) };
            to_port = r.maybe(2, |r| r.pick(&PORTS)).filter(|_| matches!(tests.proto, Some(6 | 17)) && !no);
            inside
        }
        Kind::Binat => {
            (tests.src_port, tests.dst_port) = (None, None);
            tests.src = Address { negate: false, host: Host::Prefix(inside, if v6 { 128 } else { 32 }) };
            tests.dst = Address::ANY;
            addr(shown[2])
        }
    };
    Translation { kind, no, pass: !no && r.one_in(5), tests, tag: r.maybe(6, |r| r.below(TAGS.len())), to, to_port }
}

pub fn rules(r: &mut Random) -> Rules {
    let tables: Vec<Vec<(bool, IpAddr, u8)>> = (0..r.below(4))
        .map(|_| {
            let mut entries: Vec<(bool, IpAddr, u8)> = Vec::new();
            for _ in 0..r.below(5) + 1 {
                let v6 = r.one_in(2);
                let (net, len) = prefix(r, v6);
                if len > 0 && !entries.iter().any(|(_, known, of)| (*known, *of) == (net, len)) {
                    entries.push((r.one_in(4), net, len));
                }
            }
            entries
        })
        .collect();
    let count = tables.len();
    let translations = if r.one_in(2) { (0..r.below(4)).map(|_| translation(r, count)).collect() } else { Vec::new() };
    Rules { translations, filter: (0..r.below(12)).map(|_| item(r, count, 0)).collect(), tables }
}

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

    fn port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// Source and destination of something that nobody has asked for.
    fn ends(&mut self, r: &mut Random) -> (Dir, IpAddr, IpAddr) {
        let v6 = r.one_in(3);
        let dir = r.pick(&[Dir::In, Dir::Out]);
        let inside = addr(if v6 { r.pick(&INSIDE6) } else { r.pick(&INSIDE) });
        let outside = addr(if v6 { r.pick(&OUTSIDE6) } else { r.pick(&OUTSIDE) });
        match dir {
            Dir::Out => (dir, inside, outside),
            Dir::In if r.one_in(2) => (dir, outside, addr(if v6 { r.pick(&SHOWN6) } else { r.pick(&SHOWN) })),
            Dir::In => (dir, outside, inside),
        }
    }

    /// A packet, and whether its connection's ends could have sent it.
    pub fn packet(&mut self, r: &mut Random) -> (Packet, bool) {
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
                let body = Body::Tcp { sport, dport, seq: isn, ack: 0, flags: SYN, data: 0 };
                (Packet { dir, src, dst, tos, body }, true)
            }
            5 | 6 => {
                let (dir, src, dst) = self.ends(r);
                let sport = if r.one_in(3) { self.port() } else { r.pick(&PORTS) };
                let body = Body::Udp { sport, dport: r.pick(&PORTS), data: r.below(30) as u8 };
                (Packet { dir, src, dst, tos, body }, true)
            }
            7 => self.icmp(r, tos),
            8 => {
                let (dir, src, dst) = self.ends(r);
                let body = match r.below(3) {
                    // Of no connection: its ports are nobody else's.
                    0 => {
                        let flags = r.pick(&[ACK, SYN | ACK, RST, FIN | ACK]);
                        let (sport, dport) = (self.port(), r.pick(&PORTS));
                        Body::Tcp { sport, dport, seq: r.next() as u32, ack: r.next() as u32, flags, data: 0 }
                    }
                    1 => Body::Other { proto: 47 },
                    _ => Body::Other { proto: 99 },
                };
                (Packet { dir, src, dst, tos, body }, true)
            }
            _ => self.answer(r).unwrap_or_else(|| self.icmp(r, tos)),
        }
    }

    fn icmp(&mut self, r: &mut Random, tos: u8) -> (Packet, bool) {
        let (dir, src, dst) = self.ends(r);
        let kind = match (src.is_ipv6(), r.one_in(6)) {
            (false, false) => 8,
            (false, true) => 0,
            (true, false) => 128,
            (true, true) => 129,
        };
        (Packet { dir, src, dst, tos, body: Body::Icmp { kind, id: self.port() } }, true)
    }

    /// Something comes back for what has passed: an answer, or an error about it.
    fn answer(&mut self, r: &mut Random) -> Option<(Packet, bool)> {
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
            Body::Error { .. } => return None,
            _ => {
                let (kind, code) = if v6 { (1, 4) } else { (3, 3) };
                Body::Error { kind, code, about: Box::new(about.clone()) }
            }
        };
        Some((Packet { dir, src: about.dst, dst: about.src, tos: 0, body }, true))
    }

    /// The next segment of some connection.
    fn go_on(&mut self, r: &mut Random, tos: u8) -> (Packet, bool) {
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
        let body = Body::Tcp { sport: src.1, dport: dst.1, seq, ack, flags, data };
        (Packet { dir, src: src.0, dst: dst.0, tos, body }, !wild)
    }

    /// The packet that was made last has passed, as this one.
    pub fn has_passed(&mut self, left: &Packet) {
        if self.passed.len() > 20 {
            self.passed.remove(0);
        }
        let Some((index, from, uses, flags)) = self.pending.take() else {
            if !matches!(left.body, Body::Tcp { .. } | Body::Error { .. }) {
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
