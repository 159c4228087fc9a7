//! What fields must be to each other: each check stands on a ruleset whose parts were read one by one.
#![forbid(unsafe_code)]

use super::{
    ANCHOR_NAME_MAX, ANCHOR_PATH_MAX, INTERFACE_MAX, ImageErrorKind, LABEL_MAX, LABELS_MAX, TABLE_NAME_MAX, TAG_MAX,
};
use crate::filter::{
    Action, AddrKind, AddrMatch, Answer, Dynamic, Endpoint, EtherMatch, Family, List, MacMatch, Pool, PortMatch,
    PortOp, Rule, RuleFlags, Ruleset, Scrub, StateMode, Table, TableEntry, TcpFlagsMatch,
};

type Checked = Result<(), ImageErrorKind>;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

fn ensure(holds: bool, kind: ImageErrorKind) -> Checked {
    if holds { Ok(()) } else { Err(kind) }
}

/// A name of one word, as interfaces have.
pub fn interface(name: &str) -> Checked {
    ensure(name.len() <= INTERFACE_MAX, ImageErrorKind::StringLength)?;
    ensure(name.chars().all(|c| c.is_ascii_graphic()), ImageErrorKind::StringContent)
}

pub fn tag(name: &str) -> Checked {
    ensure((1..=TAG_MAX).contains(&name.len()), ImageErrorKind::StringLength)
}

/// A path below the root: components that are not empty, without the wildcard.
pub fn anchor_path(path: &str) -> Checked {
    ensure((1..=ANCHOR_PATH_MAX).contains(&path.len()), ImageErrorKind::AnchorPath)?;
    let fits = |name: &str| (1..=ANCHOR_NAME_MAX).contains(&name.len()) && name != "*";
    ensure(path.split('/').all(fits), ImageErrorKind::AnchorPath)
}

/// What prefixes are sorted by: prefixes of an address stand before the longer ones inside them.
pub fn prefix_order(entry: &TableEntry) -> (u8, [u8; 16], u8) {
    (entry.family as u8, entry.addr, entry.len)
}

pub fn table(table: &Table) -> Checked {
    ensure((1..=TABLE_NAME_MAX).contains(&table.name.len()), ImageErrorKind::StringLength)?;
    if !table.anchor.is_empty() {
        anchor_path(&table.anchor)?;
    }
    ensure(table.defined || table.entries.is_empty(), ImageErrorKind::Contradiction)?;
    table.entries.iter().try_for_each(entry)?;
    let sorted = table.entries.array_windows::<2>().all(|[a, b]| prefix_order(a) < prefix_order(b));
    ensure(sorted, ImageErrorKind::PrefixOrder)
}

/// Whether a table may have this prefix.
///
/// # Errors
/// What is wrong with it.
pub fn entry(entry: &TableEntry) -> Checked {
    let bits = match entry.family {
        Family::Any => return Err(ImageErrorKind::Enum),
        Family::V4 => 32,
        Family::V6 => 128,
    };
    ensure(entry.len <= bits, ImageErrorKind::PrefixLength)?;
    let host_bits = u128::MAX.checked_shr(u32::from(entry.len)).unwrap_or(0);
    ensure(u128::from_be_bytes(entry.addr) & host_bits == 0, ImageErrorKind::HostBits)
}

pub fn dynamic(dynamic: &Dynamic) -> Checked {
    ensure(!dynamic.interface.is_empty(), ImageErrorKind::StringLength)?;
    interface(&dynamic.interface)?;
    ensure(dynamic.len.is_none_or(|len| len <= 128), ImageErrorKind::PrefixLength)
}

/// A rule of a list; `ruleset` has everything but rules.
pub fn rule(rule: &Rule, list: List, ruleset: &Ruleset) -> Checked {
    use ImageErrorKind::Contradiction;
    ensure(list.allows(rule.action), Contradiction)?;
    ensure(rule.ether.is_some() == (list == List::Ether), Contradiction)?;
    ensure(rule.call.is_some() == (rule.action == Action::Anchor), Contradiction)?;
    let anchors = ruleset.anchors.len();
    ensure(rule.call.is_none_or(|call| (call.anchor as usize) < anchors), ImageErrorKind::AnchorIndex)?;
    ensure(usize::from(rule.tag.max(rule.tagged)) <= ruleset.tags.len(), ImageErrorKind::TagIndex)?;
    ensure(!rule.flags.contains(RuleFlags::NOT_TAGGED) || rule.tagged != 0, Contradiction)?;
    interface(&rule.interface)?;
    ensure(!rule.flags.contains(RuleFlags::NOT_INTERFACE) || !rule.interface.is_empty(), Contradiction)?;
    ensure(rule.labels.len() <= LABELS_MAX, ImageErrorKind::Limit)?;
    let labels_fit = rule.labels.iter().all(|label| (1..=LABEL_MAX).contains(&label.len()));
    ensure(labels_fit, ImageErrorKind::StringLength)?;
    endpoint(&rule.src, rule.family, ruleset)?;
    endpoint(&rule.dst, rule.family, ruleset)?;
    packet_tests(rule)?;
    rule.ether.as_ref().map_or(Ok(()), |tests| ether(rule, tests))?;
    effects(rule, list, ruleset)
}

fn packet_tests(rule: &Rule) -> Checked {
    use ImageErrorKind::Contradiction;
    let has_ports = rule.src.port.op != PortOp::Any || rule.dst.port.op != PortOp::Any;
    ensure(!has_ports || matches!(rule.protocol, Some(TCP | UDP | SCTP)), Contradiction)?;
    let icmp_fits = rule.icmp.is_none()
        || (rule.protocol == Some(ICMP) && rule.family != Family::V6)
        || (rule.protocol == Some(ICMPV6) && rule.family != Family::V4);
    ensure(icmp_fits, Contradiction)?;
    ensure(rule.tcp_flags.set & !rule.tcp_flags.out_of == 0, Contradiction)?;
    ensure(rule.packet_rate.is_none_or(|rate| rate.seconds > 0), ImageErrorKind::Range)
}

fn ether(rule: &Rule, tests: &EtherMatch) -> Checked {
    use ImageErrorKind::Contradiction;
    let is_plain = rule.protocol.is_none()
        && rule.tos.is_none()
        && rule.tcp_flags == TcpFlagsMatch::default()
        && [rule.src.port, rule.dst.port] == [PortMatch::default(); 2]
        && !rule.flags.intersects(RuleFlags::FRAGMENT | RuleFlags::ALLOW_OPTS);
    ensure(is_plain, Contradiction)?;
    let covered = |mac: &MacMatch| mac.addr.iter().zip(&mac.mask).all(|(addr, mask)| addr & !mask == 0);
    ensure(covered(&tests.src) && covered(&tests.dst), ImageErrorKind::HostBits)?;
    ensure(tests.vlan.is_none_or(|vlan| vlan < 4096), ImageErrorKind::Range)
}

/// What the rule does, and whether one of its list can.
fn effects(rule: &Rule, list: List, ruleset: &Ruleset) -> Checked {
    use Action::{Binat, Block, Dummynet, Match, Nat, Pass, Rdr, Scrub as Normalise};
    use ImageErrorKind::Contradiction;
    let lets_through = list == List::Filter && matches!(rule.action, Pass | Match);
    ensure(rule.answer == Answer::Drop || (rule.action == Block && list == List::Filter), Contradiction)?;
    ensure(rule.scrub == Scrub::default() || lets_through || rule.action == Normalise, Contradiction)?;
    let state = &rule.state;
    ensure(state.mode == StateMode::No || lets_through, Contradiction)?;
    ensure(state.max_src_conn_rate.is_none_or(|rate| rate.seconds > 0), ImageErrorKind::Range)?;
    let tables = ruleset.tables.len();
    ensure(state.overload.is_none_or(|to| (to.table as usize) < tables), ImageErrorKind::TableIndex)?;
    let (nats, redirects) = (matches!(rule.action, Nat | Binat), rule.action == Rdr);
    ensure(if nats { rule.nat.is_some() } else { rule.nat.is_none() || lets_through }, Contradiction)?;
    ensure(if redirects { rule.rdr.is_some() } else { rule.rdr.is_none() || lets_through }, Contradiction)?;
    let shapes = lets_through || list == List::Ether;
    ensure(if rule.action == Dummynet { rule.pipe.is_some() } else { rule.pipe.is_none() || shapes }, Contradiction)?;
    ensure(!rule.flags.contains(RuleFlags::TRANSLATE_PASS) || nats || redirects, Contradiction)?;
    [&rule.nat, &rule.rdr].into_iter().flatten().try_for_each(|to| pool(to, rule.family, ruleset))
}

fn pool(pool: &Pool, family: Family, ruleset: &Ruleset) -> Checked {
    ensure(!pool.hosts.is_empty(), ImageErrorKind::Pool)?;
    let (first, last) = pool.ports;
    ensure(last == 0 || first <= last, ImageErrorKind::Range)?;
    pool.hosts.iter().try_for_each(|host| {
        ensure(!host.negate && host.kind != AddrKind::Any, ImageErrorKind::Pool)?;
        address(host, family, ruleset)
    })
}

fn endpoint(side: &Endpoint, family: Family, ruleset: &Ruleset) -> Checked {
    let port = side.port;
    let unused = match port.op {
        PortOp::Any => port.a | port.b,
        PortOp::Range | PortOp::Inside | PortOp::Outside => 0,
        _ => port.b,
    };
    ensure(unused == 0, ImageErrorKind::NotZero)?;
    address(&side.addr, family, ruleset)
}

fn address(test: &AddrMatch, family: Family, ruleset: &Ruleset) -> Checked {
    let (addr, end) = (u128::from_be_bytes(test.addr), u128::from_be_bytes(test.end));
    let is_v4 = matches!(test.kind, AddrKind::Mask4 | AddrKind::Range4);
    let is_v6 = matches!(test.kind, AddrKind::Mask6 | AddrKind::Range6);
    let is_index = matches!(test.kind, AddrKind::Table | AddrKind::Dynamic);
    ensure(is_index || test.table == 0, ImageErrorKind::NotZero)?;
    ensure(!is_v4 || (addr | end) & (u128::MAX >> 32) == 0, ImageErrorKind::NotZero)?;
    ensure(!(is_v4 && family == Family::V6 || is_v6 && family == Family::V4), ImageErrorKind::Contradiction)?;
    let index = test.table as usize;
    match test.kind {
        AddrKind::Any | AddrKind::Table | AddrKind::Dynamic if (addr | end) != 0 => Err(ImageErrorKind::NotZero),
        AddrKind::Table => ensure(index < ruleset.tables.len(), ImageErrorKind::TableIndex),
        AddrKind::Dynamic => ensure(index < ruleset.dynamics.len(), ImageErrorKind::DynamicIndex),
        AddrKind::Mask4 | AddrKind::Mask6 => {
            let is_prefix = addr & !end == 0 && end.leading_ones() == end.count_ones();
            ensure(is_prefix, ImageErrorKind::HostBits)
        }
        AddrKind::Range4 | AddrKind::Range6 => ensure(addr <= end, ImageErrorKind::Range),
        AddrKind::Any => Ok(()),
    }
}
