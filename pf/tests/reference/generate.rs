//! Random rules.

use super::model::*;
use super::packet::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    /// Numbers that have nothing to do with those of the seed beside it.
    pub fn seeded(seed: u64) -> Self {
        Self(Self(seed).next())
    }

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

pub const INSIDE: [IpAddr; 2] = [v4(10, 0, 0, 1), v4(10, 0, 0, 2)];
pub const INSIDE6: [IpAddr; 2] = [v6([0xfd00, 0, 0, 0, 0, 0, 0, 0x1]), v6([0xfd00, 0, 0, 0, 0, 0, 0, 0x2])];
pub const OUTSIDE: [IpAddr; 3] = [v4(192, 0, 2, 1), v4(192, 0, 2, 7), v4(198, 51, 100, 9)];
pub const OUTSIDE6: [IpAddr; 3] = [
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x1]),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x7]),
    v6([0x2001, 0xdb8, 0x1, 0, 0, 0, 0, 0x9]),
];
/// What translation shows instead: `nat`, `rdr`, `binat`.
pub const SHOWN: [IpAddr; 3] = [v4(203, 0, 113, 5), v4(203, 0, 113, 6), v4(203, 0, 113, 7)];
pub const SHOWN6: [IpAddr; 3] = [
    v6([0xfd00, 0x5, 0, 0, 0, 0, 0, 0x5]),
    v6([0xfd00, 0x5, 0, 0, 0, 0, 0, 0x6]),
    v6([0xfd00, 0x5, 0, 0, 0, 0, 0, 0x7]),
];
pub const PORTS: [u16; 6] = [22, 53, 80, 443, 1024, 8080];
const FLAGS: [(u8, u8); 6] =
    [(SYN, SYN | ACK), (SYN, SYN | ACK | FIN | RST), (ACK, ACK), (0, RST), (SYN | ACK, SYN | ACK), (0, SYN | FIN)];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(groups: [u16; 8]) -> IpAddr {
    let [a, b, c, d, e, f, g, h] = groups;
    IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h))
}

fn any_addr(r: &mut Random, v6: bool) -> IpAddr {
    let lists: [&[IpAddr]; 3] = if v6 { [&INSIDE6, &OUTSIDE6, &SHOWN6] } else { [&INSIDE, &OUTSIDE, &SHOWN] };
    let list = lists[r.below(3)];
    r.pick(list)
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
        fragment: false,
        probability: None,
    }
}

fn scrub(r: &mut Random) -> Scrub {
    Scrub {
        no_df: r.one_in(2),
        random_id: r.one_in(3),
        min_ttl: r.maybe(2, |r| r.pick(&[10, 64, 100])).unwrap_or(0),
        max_mss: r.maybe(2, |r| r.pick(&[536, 1200, 1440])).unwrap_or(0),
        set_tos: r.maybe(4, |r| r.pick(&[0x10, 0x08])),
    }
}

fn track(r: &mut Random) -> Track {
    let global = r.one_in(4);
    let connections = if global { 0 } else { r.maybe(2, |r| r.below(2) + 1).unwrap_or(0) };
    Track {
        global,
        states: r.maybe(2, |r| r.below(3) + 1).unwrap_or(0),
        nodes: if global { 0 } else { r.maybe(3, |r| r.below(2) + 1).unwrap_or(0) },
        connections,
        overload: r.maybe(2, |r| r.pick(&[Flush::No, Flush::Rule, Flush::Global])).filter(|_| connections != 0),
    }
}

/// Seconds far enough from each other.
const SECONDS: [u32; 6] = [5, 15, 25, 40, 80, 300];

fn keep(r: &mut Random) -> Keep {
    Keep {
        max: r.maybe(8, |r| r.below(3) + 1).unwrap_or(0),
        track: r.maybe(5, track),
        sloppy: r.one_in(10),
        timeout: r.maybe(8, |r| (r.below(TIMEOUTS.len()), r.pick(&SECONDS))),
    }
}

fn ether(r: &mut Random) -> EtherRule {
    let mac = |r: &mut Random| r.maybe(3, |r| (r.one_in(3), r.pick(&[1, 2, 0x10])));
    EtherRule {
        block: r.one_in(4),
        dir: r.maybe(2, |r| r.pick(&[Dir::In, Dir::Out])),
        quick: r.one_in(4),
        ethertype: r.maybe(2, |r| r.pick(&[0x0800, 0x86dd, 0x88cc, 0x88b5])),
        macs: [mac(r), mac(r)],
        tag: r.maybe(3, |r| r.below(TAGS.len())),
    }
}

fn scrub_rule(r: &mut Random, tables: usize) -> ScrubRule {
    let mut tests = tests(r, tables, false);
    (tests.tos, tests.icmp_type, tests.tagged) = (None, None, None);
    // A first and a later fragment would go different ways.
    (tests.src_port, tests.dst_port) = (None, None);
    ScrubRule { no: r.one_in(5), tests, scrub: scrub(r), reassembles: r.one_in(2) }
}

/// How many rules with `probability` one ruleset has: each doubles what may happen.
const COINS: usize = 2;

fn item(r: &mut Random, tables: usize, depth: usize, next: &mut usize, coins: &mut usize) -> Item {
    if depth < 3 && r.one_in(6) {
        let items = (0..r.below(5)).map(|_| item(r, tables, depth + 1, next, coins)).collect();
        let mut tests = tests(r, tables, false);
        tests.flags = Flags::Default;
        return Item::Anchor { quick: r.one_in(3), tests, items };
    }
    let action = r.pick(&[Action::Pass, Action::Pass, Action::Pass, Action::Block, Action::Block, Action::Match]);
    let mut tests = tests(r, tables, true);
    if *coins < COINS && r.one_in(10) {
        *coins += 1;
        tests.probability = Some(r.pick(&[25, 50, 75, 100]));
    }
    if r.one_in(16) {
        // What no fragment has.
        tests.fragment = true;
        (tests.src_port, tests.dst_port, tests.flags, tests.icmp_type) = (None, None, Flags::Default, None);
    }
    if r.one_in(12) {
        tests.src = Address { negate: r.one_in(4), host: Host::Table(BAD) };
    }
    *next += 1;
    let state = !r.one_in(4) && !tests.fragment;
    Item::Rule(Rule {
        action,
        quick: action != Action::Match && r.one_in(4),
        tests,
        tag: r.maybe(5, |r| r.below(TAGS.len())),
        state,
        keep: if action == Action::Pass && state { keep(r) } else { Keep::default() },
        scrub: if action != Action::Block && r.one_in(8) { scrub(r) } else { Scrub::default() },
        id: *next,
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
    let inside = r.pick(if v6 { &INSIDE6 } else { &INSIDE });
    let (mut to_port, mut or, mut ports) = (None, None, None);
    let to = match kind {
        Kind::Nat => {
            ports = r.maybe(2, |r| r.pick(&[NAT_PORTS, NAT_PORTS, (40_000, 40_001), (40_000, 40_000)])).filter(|_| !no);
            if ports.is_some_and(|ports| ports != NAT_PORTS) || r.one_in(2) {
                tests.proto = Some(r.pick(&[6, 17]));
            } else if tests.proto.is_some_and(|proto| !matches!(proto, 6 | 17)) {
                (tests.src_port, tests.dst_port) = (None, None);
            }
            or = r.maybe(4, |_| shown[1]).filter(|_| !no);
            shown[0]
        }
        Kind::Rdr => {
            // One port, or a range.
            tests.dst_port = tests.dst_port.filter(|port| matches!(port, Port::Equal(_) | Port::Span(..)));
            tests.dst = Address { negate: false, host: Host::Prefix(shown[1], if v6 { 128 } else { 32 }) };
            to_port = r.maybe(2, |r| r.pick(&PORTS)).filter(|_| matches!(tests.proto, Some(6 | 17)) && !no);
            inside
        }
        Kind::Binat => {
            (tests.src_port, tests.dst_port) = (None, None);
            tests.src = Address { negate: false, host: Host::Prefix(inside, if v6 { 128 } else { 32 }) };
            tests.dst = Address::ANY;
            shown[2]
        }
    };
    Translation {
        kind,
        no,
        pass: !no && r.one_in(5),
        tests,
        tag: r.maybe(6, |r| r.below(TAGS.len())),
        to,
        or,
        to_port,
        ports,
    }
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
    let mut tables = tables;
    let count = tables.len();
    tables.resize(TABLES.len(), Vec::new());
    let scrubs = if r.one_in(4) { (0..r.below(3)).map(|_| scrub_rule(r, count)).collect() } else { Vec::new() };
    let ether = if r.one_in(4) { (0..r.below(5)).map(|_| ether(r)).collect() } else { Vec::new() };
    let timeouts = if r.one_in(2) {
        (0..r.below(5)).map(|_| (r.below(TIMEOUTS.len()), r.pick(&SECONDS))).collect()
    } else {
        Vec::new()
    };
    let (mut next, mut coins) = (0, 0);
    let translations = if r.one_in(2) { (0..r.below(4)).map(|_| translation(r, count)).collect() } else { Vec::new() };
    let filter = (0..r.below(12)).map(|_| item(r, count, 0, &mut next, &mut coins)).collect();
    Rules { timeouts, ether, scrubs, tables, translations, filter }
}
