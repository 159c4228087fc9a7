//! How each part of a ruleset is written and read. One description serves both ways.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;

use super::TEXT_MAX;
use super::bytes::Record;
use super::error::{ImageError, ImageErrorKind};
use crate::filter::{
    Action, AddrKind, AddrMatch, Anchor, Answer, Call, Direction, Dynamic, DynamicKind, Endpoint, EtherMatch, Family,
    FragmentPolicy, IcmpMatch, Limits, MacMatch, Options, Overload, Pipe, Pool, PoolKind, PortMatch, PortOp, Rate,
    Rule, RuleFlags, Scrub, SourceTrack, StateMode, StateOptions, Table, TableEntry, TcpFlagsMatch, Timeouts,
};

pub type Taken<T> = Result<T, ImageError>;

/// A value in the image.
pub trait Codec: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(record: &mut Record<'_>) -> Taken<Self>;
}

macro_rules! number {
    ($($number:ty),*) => {
        $(impl Codec for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(record: &mut Record<'_>) -> Taken<Self> {
                record.bytes().map(Self::from_le_bytes)
            }
        })*
    };
}

number!(u8, u16, u32);

/// Enums whose number is their value.
macro_rules! choice {
    ($($choice:ident { $($value:ident),* $(,)? })*) => {
        $(impl Codec for $choice {
            fn put(&self, out: &mut Vec<u8>) {
                out.push(*self as u8);
            }
            fn take(record: &mut Record<'_>) -> Taken<Self> {
                record.known(|number| [$(Self::$value),*].into_iter().find(|value| *value as u8 == number))
            }
        })*
    };
}

choice! {
    Action {
        Pass, Block, Match, Scrub, NoScrub, Nat, NoNat, Binat, NoBinat, Rdr, NoRdr, Dummynet, NoDummynet, Anchor,
    }
    Direction { Any, In, Out }
    Family { Any, V4, V6 }
    AddrKind { Any, Mask4, Mask6, Range4, Range6, Table, Dynamic }
    PortOp { Any, Eq, Ne, Lt, Le, Gt, Ge, Range, Inside, Outside }
    StateMode { No, Keep, Modulate, Synproxy }
    SourceTrack { No, Global, Rule }
    FragmentPolicy { Default, Reassemble, NoReassemble, Crop, DropOverlap }
    PoolKind { None, Bitmask, Random, SourceHash, RoundRobin }
    DynamicKind { Own, Network, Broadcast, Peer }
}

/// Structs, field by field; `= field` writes one byte for a field that has its default.
macro_rules! fields {
    ($($name:ident { $($field:ident),* $(,)? $(= $rare:ident),* $(,)? })*) => {
        $(impl Codec for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
                $(put_rare(&self.$rare, out);)*
            }
            fn take(record: &mut Record<'_>) -> Taken<Self> {
                // Struct expressions are evaluated in the order they are written.
                Ok(Self { $($field: Codec::take(record)?,)* $($rare: take_rare(record)?,)* })
            }
        })*
    };
}

fields! {
    AddrMatch { kind, negate, addr, end, table }
    PortMatch { op, a, b }
    Endpoint { = addr, = port }
    IcmpMatch { kind, code }
    TcpFlagsMatch { set, out_of }
    MacMatch { negate, addr, mask }
    EtherMatch { protocol, src, dst, vlan }
    Call { anchor, children }
    Rate { limit, seconds }
    Overload { table, flush, global }
    StateOptions {
        mode, if_bound, sloppy, no_sync, max, source_track, max_src_nodes, max_src_states, max_src_conn,
        max_src_conn_rate, overload,
        = timeouts,
    }
    Scrub { no_df, random_id, reassemble_tcp, min_ttl, max_mss, set_tos, fragment }
    Pool { kind, sticky, static_port, key, ports, hosts }
    Pipe { queue, number, reverse }
    Rule {
        action, direction, flags, interface, family, protocol,
        = src, = dst, = icmp, = tcp_flags, = tos, = tagged, = probability, = packet_rate, = ether, = call, = tag,
        = answer, = state, = scrub, = nat, = rdr, = pipe, = ridentifier, = labels, = text, = line,
    }
    TableEntry { addr, family, len, negate }
    Table { anchor, name, persist, constant, counters, defined, entries }
    Dynamic { interface, which, no_alias, len }
    Limits { states, src_nodes, frags, tables, table_entries }
    Options { timeouts, limits, reassemble, reassemble_no_df, keep_counters, host_id, skip }
    Anchor { path, lists }
}

fn put_rare<T: Codec + Default + PartialEq>(value: &T, out: &mut Vec<u8>) {
    let is_there = *value != T::default();
    is_there.put(out);
    if is_there {
        value.put(out);
    }
}

fn take_rare<T: Codec + Default + PartialEq>(record: &mut Record<'_>) -> Taken<T> {
    let at = record.at();
    if !bool::take(record)? {
        return Ok(T::default());
    }
    let value = T::take(record)?;
    // A default has one way to be written.
    if value == T::default() { Err(ImageError::new(ImageErrorKind::NotZero, at)) } else { Ok(value) }
}

impl Codec for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(record: &mut Record<'_>) -> Taken<Self> {
        record.known(|number| match number {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }
}

impl Codec for RuleFlags {
    fn put(&self, out: &mut Vec<u8>) {
        self.bits().put(out);
    }
    fn take(record: &mut Record<'_>) -> Taken<Self> {
        let at = record.at();
        Self::from_bits(u32::take(record)?).ok_or(ImageError::new(ImageErrorKind::Enum, at))
    }
}

impl Codec for Answer {
    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Drop => out.push(0),
            Self::Return => out.push(1),
            Self::Rst { ttl } => out.extend_from_slice(&[2, ttl]),
            Self::Icmp { v4, v6 } => out.extend_from_slice(&[3, v4.0, v4.1, v6.0, v6.1]),
        }
    }
    fn take(record: &mut Record<'_>) -> Taken<Self> {
        let at = record.at();
        Ok(match u8::take(record)? {
            0 => Self::Drop,
            1 => Self::Return,
            2 => Self::Rst { ttl: Codec::take(record)? },
            3 => Self::Icmp { v4: Codec::take(record)?, v6: Codec::take(record)? },
            _ => return Err(ImageError::new(ImageErrorKind::Enum, at)),
        })
    }
}

impl Codec for Timeouts {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(record: &mut Record<'_>) -> Taken<Self> {
        Codec::take(record).map(Self)
    }
}

impl<A: Codec, B: Codec> Codec for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(record: &mut Record<'_>) -> Taken<Self> {
        Ok((A::take(record)?, B::take(record)?))
    }
}

impl<T: Codec + Copy + Default, const N: usize> Codec for [T; N] {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|item| item.put(out));
    }
    fn take(record: &mut Record<'_>) -> Taken<Self> {
        let mut items = [T::default(); N];
        for item in &mut items {
            *item = T::take(record)?;
        }
        Ok(items)
    }
}

impl<T: Codec> Codec for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(record: &mut Record<'_>) -> Taken<Self> {
        if bool::take(record)? { T::take(record).map(Some) } else { Ok(None) }
    }
}

impl<T: Codec> Codec for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        self.iter().for_each(|item| item.put(out));
    }
    fn take(record: &mut Record<'_>) -> Taken<Self> {
        // Memory grows with what was read, not with what the count promises.
        let mut items = Self::new();
        for _ in 0..u32::take(record)? {
            let at = record.at();
            let item = T::take(record)?;
            items.try_reserve(1).map_err(|_| ImageError::new(ImageErrorKind::NoMemory, at))?;
            items.push(item);
        }
        Ok(items)
    }
}

impl Codec for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
    /// Text that is shown on one line of a terminal.
    fn take(record: &mut Record<'_>) -> Taken<Self> {
        let at = record.at();
        let error = |kind| ImageError::new(kind, at);
        let len = u32::take(record)? as usize;
        if len > TEXT_MAX {
            return Err(error(ImageErrorKind::StringLength));
        }
        let text = core::str::from_utf8(record.slice(len)?).map_err(|_| error(ImageErrorKind::StringContent))?;
        if text.chars().any(char::is_control) {
            return Err(error(ImageErrorKind::StringContent));
        }
        let mut owned = Self::new();
        owned.try_reserve_exact(len).map_err(|_| error(ImageErrorKind::NoMemory))?;
        owned.push_str(text);
        Ok(owned)
    }
}

/// Writes a number that the image's limits keep in 32 bits. One that is larger becomes the largest, which no reader
/// accepts.
pub fn put_count(count: usize, out: &mut Vec<u8>) {
    u32::try_from(count).unwrap_or(u32::MAX).put(out);
}
