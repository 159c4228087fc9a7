//! Rule sets that are made: in the style of ClassBench's, and such that structures blow up.

use anyhow::{Context, Result, bail};
use weir_core::filter::classify::Rule;

use crate::headers::Random;
use crate::rules::{mask, split};

/// Ports that services listen on.
const PORTS: [u16; 16] = [20, 21, 22, 23, 25, 53, 80, 110, 123, 143, 161, 443, 993, 1433, 3306, 8080];

/// How a kind draws its rules: shares in percent.
struct Style {
    /// Addresses that are left open, source and destination.
    any: [usize; 2],
    /// Of the rest, those with a full-length prefix.
    host: [usize; 2],
    /// Ports that are left open, and that are one port; the rest are ranges.
    port_any: [usize; 2],
    port_exact: [usize; 2],
    protocol_any: usize,
}

/// Access lists have destinations and their ports, firewalls leave much open, chains have a bit of everything.
const fn style(kind: &str) -> Option<Style> {
    Some(match kind.as_bytes() {
        b"acl" => Style { any: [2, 1], host: [20, 60], port_any: [100, 35], port_exact: [0, 50], protocol_any: 12 },
        b"fw" => Style { any: [55, 25], host: [60, 40], port_any: [60, 40], port_exact: [25, 40], protocol_any: 6 },
        b"ipc" => Style { any: [12, 10], host: [40, 40], port_any: [70, 50], port_exact: [20, 40], protocol_any: 20 },
        _ => return None,
    })
}

/// `KIND:RULES:SEED`, KIND one of acl, fw, ipc, of `lengths` (every pair of prefix lengths, so that tuple spaces have a
/// thousand tuples), `nested` (prefixes in prefixes, so that trees copy), `ports` (one pair of addresses, ranges that
/// overlap). `v6-` before it makes IPv6 rules.
///
/// # Errors
/// Something else.
pub fn rules<const W: usize>(made: &str) -> Result<Vec<Rule<W>>> {
    let mut words = made.split(':');
    let mut next = || words.next().context("gen:KIND:RULES:SEED");
    let (kind, count, seed) = (next()?, next()?, next()?);
    let count = crate::measure::count(count).map_err(|error| anyhow::anyhow!("rules of gen:{made}: {error}"))?;
    let seed = seed.parse::<u64>().with_context(|| format!("seed of gen:{made}"))?;
    let kind = kind.strip_prefix("v6-").unwrap_or(kind);
    let mut random = Random::new(seed);
    // Prefixes are drawn from a few nets, as addresses of an organisation are.
    let nets: Vec<u128> = (0..(count / 50).clamp(8, 2000)).map(|_| wide::<W>(&mut random)).collect();
    let mut rules: Vec<Rule<W>> = Vec::with_capacity(count);
    while rules.len() < count {
        let at = rules.len();
        let rule = match kind {
            "lengths" => lengths(at, &mut random),
            "nested" => nested(at, &mut random),
            "ports" => ports(&mut random),
            _ => match style(kind) {
                Some(style) => styled(&style, &nets, &mut random),
                None => bail!("no rules of the kind {kind} can be made"),
            },
        };
        rules.push(Rule { priority: at as u32, ..rule });
    }
    Ok(rules)
}

fn wide<const W: usize>(random: &mut Random) -> u128 {
    (0..W).fold(0, |wide, _| wide << 32 | u128::from(random.bits()))
}

fn prefix<const W: usize>(wide: u128, len: u32) -> ([u32; W], [u32; W]) {
    let mask = mask::<W>(len);
    let mut addr = split::<W>(wide);
    addr.iter_mut().zip(&mask).for_each(|(word, mask)| *word &= mask);
    (addr, mask)
}

fn open<const W: usize>() -> Rule<W> {
    Rule {
        src: [0; W],
        src_mask: [0; W],
        dst: [0; W],
        dst_mask: [0; W],
        low: [0; 2],
        high: [u16::MAX; 2],
        class: 0,
        class_mask: 0,
        priority: 0,
    }
}

fn styled<const W: usize>(style: &Style, nets: &[u128], random: &mut Random) -> Rule<W> {
    let bits = 32 * W as u32;
    let mut rule = open();
    for side in 0..2 {
        let len = match random.below(100) {
            share if share < style.any[side] => 0,
            _ if random.below(100) < style.host[side] => bits,
            _ => bits / 2 + random.below(bits as usize / 2) as u32,
        };
        let host = u128::MAX.unbounded_shr(128 - bits / 2);
        let net = nets[random.below(nets.len())];
        let (addr, mask) = prefix((net & !host) | (wide::<W>(random) & host), len);
        if side == 0 {
            (rule.src, rule.src_mask) = (addr, mask)
        } else {
            (rule.dst, rule.dst_mask) = (addr, mask)
        }
        let share = random.below(100);
        let port = PORTS[random.below(PORTS.len())];
        (rule.low[side], rule.high[side]) = match share {
            share if share < style.port_any[side] => (0, u16::MAX),
            share if share < style.port_any[side] + style.port_exact[side] => (port, port),
            _ if random.below(2) == 0 => (1024, u16::MAX),
            _ => (port, port.saturating_add(1 << random.below(12))),
        };
    }
    if random.below(100) >= style.protocol_any {
        (rule.class, rule.class_mask) = ([6, 6, 6, 17, 17, 1, 50][random.below(7)], 0xff);
    }
    rule
}

fn lengths<const W: usize>(at: usize, random: &mut Random) -> Rule<W> {
    let side = 32 * W + 1;
    let ((src, src_mask), (dst, dst_mask)) =
        (prefix(wide::<W>(random), (at % side) as u32), prefix(wide::<W>(random), (at / side % side) as u32));
    Rule { src, src_mask, dst, dst_mask, ..open() }
}

fn nested<const W: usize>(at: usize, random: &mut Random) -> Rule<W> {
    // Addresses of one line from the root: every prefix is in every shorter one.
    let bits = 32 * W as u32;
    let line = u128::MAX.unbounded_shr(128 - bits) / 3;
    let (a, b) = (random.below(bits as usize + 1) as u32, random.below(bits as usize + 1) as u32);
    let ((src, src_mask), (dst, dst_mask)) = (prefix(line, a), prefix(!line, b));
    let low = (at % 60_000) as u16;
    Rule { src, src_mask, dst, dst_mask, low: [0, low], high: [u16::MAX, low.saturating_add(500)], ..open() }
}

fn ports<const W: usize>(random: &mut Random) -> Rule<W> {
    let mut range = || {
        let (a, b) = (random.bits() as u16, random.bits() as u16);
        (a.min(b), a.max(b))
    };
    let (src, dst) = (range(), range());
    let ((addr, mask), low, high) = (prefix(0x0a << (32 * W - 8), 8), [src.0, dst.0], [src.1, dst.1]);
    Rule { src: addr, src_mask: mask, low, high, ..open() }
}
