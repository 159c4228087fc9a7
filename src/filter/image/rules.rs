//! Rule records and prefixes, both ways.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::bytes::{Record, Strings};
use super::error::{ImageError, ImageErrorKind};
use super::parse::Text;
use super::{INTERFACE_MAX, LABEL_MAX, TEXT_MAX};
use crate::filter::{
    Action, AddrKind, AddrMatch, Direction, Endpoint, Family, IcmpMatch, PortMatch, PortOp, Rule, RuleFlags,
    TableEntry, TcpFlagsMatch,
};

const HAS_PROTOCOL: u8 = 1;
const HAS_ICMP: u8 = 2;
const HAS_ICMP_CODE: u8 = 4;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// What prefixes are sorted by: prefixes of an address stand before the longer ones inside them.
pub fn prefix_order(entry: &TableEntry) -> (u8, [u8; 16], u8) {
    (entry.family as u8, entry.addr, entry.len)
}

pub fn put(out: &mut Vec<u8>, strings: &mut Strings, rule: &Rule) {
    let icmp = rule.icmp.unwrap_or(IcmpMatch { kind: 0, code: None });
    let has = |bit: u8, yes: bool| if yes { bit } else { 0 };
    let present = has(HAS_PROTOCOL, rule.protocol.is_some())
        | has(HAS_ICMP, rule.icmp.is_some())
        | has(HAS_ICMP_CODE, icmp.code.is_some());
    out.extend_from_slice(&[
        rule.action as u8,
        rule.direction as u8,
        rule.family as u8,
        present,
        rule.protocol.unwrap_or(0),
        icmp.kind,
        icmp.code.unwrap_or(0),
        rule.tcp_flags.set,
        rule.tcp_flags.out_of,
        0,
        0,
        0,
    ]);
    out.extend_from_slice(&rule.flags.bits().to_le_bytes());
    out.extend_from_slice(&rule.line.to_le_bytes());
    strings.put(out, &rule.interface);
    strings.put(out, &rule.label);
    strings.put(out, &rule.text);
    put_endpoint(out, &rule.src);
    put_endpoint(out, &rule.dst);
    out.extend_from_slice(&[0; 4]);
}

fn put_endpoint(out: &mut Vec<u8>, side: &Endpoint) {
    out.extend_from_slice(&[side.addr.kind as u8, u8::from(side.addr.negate), side.port.op as u8, 0]);
    out.extend_from_slice(&side.port.a.to_le_bytes());
    out.extend_from_slice(&side.port.b.to_le_bytes());
    out.extend_from_slice(&side.addr.table.to_le_bytes());
    out.extend_from_slice(&side.addr.addr);
    out.extend_from_slice(&side.addr.end);
}

pub fn take(record: &mut Record<'_>, text: &mut Text<'_>, tables: usize) -> Result<Rule, ImageError> {
    let start = record.at();
    let action = record.known(|n| [Action::Pass, Action::Block, Action::Match].into_iter().find(|a| *a as u8 == n))?;
    let direction =
        record.known(|n| [Direction::Any, Direction::In, Direction::Out].into_iter().find(|d| *d as u8 == n))?;
    let family = record.known(|n| [Family::Any, Family::V4, Family::V6].into_iter().find(|f| *f as u8 == n))?;
    let present = record.known(|n| (n & !(HAS_PROTOCOL | HAS_ICMP | HAS_ICMP_CODE) == 0).then_some(n))?;
    let protocol = optional(record, present & HAS_PROTOCOL != 0)?;
    let icmp_kind = optional(record, present & HAS_ICMP != 0)?;
    let icmp_code = optional(record, present & HAS_ICMP_CODE != 0)?;
    let tcp_flags = TcpFlagsMatch { set: record.u8()?, out_of: record.u8()? };
    record.zero::<3>()?;
    let at = record.at();
    let flags = RuleFlags::from_bits(record.u32()?).ok_or(ImageError::new(ImageErrorKind::Enum, at))?;
    let line = record.u32()?;
    let interface = text.take(record, INTERFACE_MAX, Text::is_name)?;
    let label = text.take(record, LABEL_MAX, Text::is_plain)?;
    let normal_form = text.take(record, TEXT_MAX, Text::is_plain)?;
    let src = take_endpoint(record, tables)?;
    let dst = take_endpoint(record, tables)?;
    record.zero::<4>()?;
    let icmp = icmp_kind.map(|kind| IcmpMatch { kind, code: icmp_code });
    if icmp.is_none() && icmp_code.is_some() {
        return Err(ImageError::new(ImageErrorKind::Contradiction, start));
    }
    let rule = Rule {
        action,
        direction,
        flags,
        interface,
        family,
        protocol,
        src,
        dst,
        icmp,
        tcp_flags,
        label,
        text: normal_form,
        line,
    };
    if is_consistent(&rule) { Ok(rule) } else { Err(ImageError::new(ImageErrorKind::Contradiction, start)) }
}

fn optional(record: &mut Record<'_>, present: bool) -> Result<Option<u8>, ImageError> {
    if present { record.u8().map(Some) } else { record.zero::<1>().map(|()| None) }
}

/// No field asks for what another one excludes.
fn is_consistent(rule: &Rule) -> bool {
    let has_ports = rule.src.port.op != PortOp::Any || rule.dst.port.op != PortOp::Any;
    let ports_fit = !has_ports || matches!(rule.protocol, Some(TCP | UDP));
    let icmp_fits = rule.icmp.is_none()
        || (rule.protocol == Some(ICMP) && rule.family != Family::V6)
        || (rule.protocol == Some(ICMPV6) && rule.family != Family::V4);
    let flags_fit = rule.tcp_flags.set & !rule.tcp_flags.out_of == 0;
    let families_fit = [rule.src.addr.kind, rule.dst.addr.kind].into_iter().all(|kind| match kind {
        AddrKind::Any | AddrKind::Table => true,
        AddrKind::Mask4 | AddrKind::Range4 => rule.family != Family::V6,
        AddrKind::Mask6 | AddrKind::Range6 => rule.family != Family::V4,
    });
    let negation_fits = !rule.flags.contains(RuleFlags::NOT_INTERFACE) || !rule.interface.is_empty();
    let is_plain = rule.family == Family::Any
        && rule.protocol.is_none()
        && rule.src == Endpoint::default()
        && rule.dst == Endpoint::default()
        && rule.tcp_flags == TcpFlagsMatch::default()
        && !rule.flags.intersects(RuleFlags::FRAGMENT | RuleFlags::ALLOW_OPTS);
    let ether_fits = !rule.flags.contains(RuleFlags::ETHER) || is_plain;
    ports_fit && icmp_fits && flags_fit && families_fit && negation_fits && ether_fits
}

fn take_endpoint(record: &mut Record<'_>, tables: usize) -> Result<Endpoint, ImageError> {
    let start = record.at();
    let kind = record.known(|n| {
        use AddrKind::{Any, Mask4, Mask6, Range4, Range6, Table};
        [Any, Mask4, Mask6, Range4, Range6, Table].into_iter().find(|kind| *kind as u8 == n)
    })?;
    let negate = record.known(as_bool)?;
    let op = record.known(|n| {
        use PortOp::{Any, Eq, Ge, Gt, Inside, Le, Lt, Ne, Outside, Range};
        [Any, Eq, Ne, Lt, Le, Gt, Ge, Range, Inside, Outside].into_iter().find(|op| *op as u8 == n)
    })?;
    record.zero::<1>()?;
    let port = PortMatch { op, a: record.u16()?, b: record.u16()? };
    let table = record.u32()?;
    let addr = record.bytes::<16>()?;
    let end = record.bytes::<16>()?;
    let unused = match op {
        PortOp::Any => port.a | port.b,
        PortOp::Range | PortOp::Inside | PortOp::Outside => 0,
        _ => port.b,
    };
    if unused != 0 {
        return Err(ImageError::new(ImageErrorKind::NotZero, start));
    }
    let addr = AddrMatch { kind, negate, addr, end, table };
    check_addr(&addr, tables).map_err(|kind| ImageError::new(kind, start))?;
    Ok(Endpoint { addr, port })
}

pub fn as_bool(number: u8) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn check_addr(test: &AddrMatch, tables: usize) -> Result<(), ImageErrorKind> {
    let (addr, end) = (u128::from_be_bytes(test.addr), u128::from_be_bytes(test.end));
    let is_v4 = matches!(test.kind, AddrKind::Mask4 | AddrKind::Range4);
    let table_unused = test.kind == AddrKind::Table || test.table == 0;
    if !table_unused || (is_v4 && (addr | end) & (u128::MAX >> 32) != 0) {
        return Err(ImageErrorKind::NotZero);
    }
    match test.kind {
        AddrKind::Any | AddrKind::Table if (addr | end) != 0 => Err(ImageErrorKind::NotZero),
        AddrKind::Table if test.table as usize >= tables => Err(ImageErrorKind::TableIndex),
        AddrKind::Mask4 | AddrKind::Mask6 if addr & !end != 0 || end.leading_ones() != end.count_ones() => {
            Err(ImageErrorKind::HostBits)
        }
        AddrKind::Range4 | AddrKind::Range6 if addr > end => Err(ImageErrorKind::Range),
        _ => Ok(()),
    }
}

/// One prefix; `last` is the one before in the same table.
pub fn take_prefix(record: &mut Record<'_>, last: Option<&TableEntry>) -> Result<TableEntry, ImageError> {
    let start = record.at();
    let addr = record.bytes::<16>()?;
    let family = record.known(|n| [Family::V4, Family::V6].into_iter().find(|f| *f as u8 == n))?;
    let len = record.u8()?;
    let negate = record.known(as_bool)?;
    record.zero::<1>()?;
    let bits = if family == Family::V4 { 32 } else { 128 };
    if len > bits {
        return Err(ImageError::new(ImageErrorKind::PrefixLength, start));
    }
    let host_bits = u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
    if u128::from_be_bytes(addr) & host_bits != 0 {
        return Err(ImageError::new(ImageErrorKind::HostBits, start));
    }
    let entry = TableEntry { family, addr, len, negate };
    if last.is_some_and(|last| prefix_order(last) >= prefix_order(&entry)) {
        return Err(ImageError::new(ImageErrorKind::PrefixOrder, start));
    }
    Ok(entry)
}
