//! Changed frames against sums computed from nothing, another parser, and frames that were built changed.

mod errors;
mod frames;
mod tcp;

use crate::wire::{Parsed, offload, parse};
use proptest::prelude::*;

/// One change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Src([u8; 16]),
    Dst([u8; 16]),
    SrcPort(u16),
    DstPort(u16),
    IcmpId(u16),
    Ttl(u8),
    MinTtl(u8),
    Tos(u8),
    NoDf,
    Id(u16),
    Seq(u32),
    Ack(u32),
    Mss(u16),
    Vlan(u8, u16),
    Reserved,
    Urgent,
}

pub(super) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let one = prop_oneof![
        any::<[u8; 16]>().prop_map(Change::Src),
        any::<[u8; 16]>().prop_map(Change::Dst),
        any::<u16>().prop_map(Change::SrcPort),
        any::<u16>().prop_map(Change::DstPort),
        any::<u16>().prop_map(Change::IcmpId),
        any::<u8>().prop_map(Change::Ttl),
        any::<u8>().prop_map(Change::MinTtl),
        any::<u8>().prop_map(Change::Tos),
        Just(Change::NoDf),
        any::<u16>().prop_map(Change::Id),
        any::<u32>().prop_map(Change::Seq),
        any::<u32>().prop_map(Change::Ack),
        any::<u16>().prop_map(Change::Mss),
        (0u8..5, any::<u16>()).prop_map(|(index, tci)| Change::Vlan(index, tci)),
        Just(Change::Reserved),
        Just(Change::Urgent),
    ];
    prop::collection::vec(one, 1..8)
}

/// Makes the changes and returns how many found their field.
pub(super) fn apply(edit: &mut super::Edit, changes: &[Change]) -> usize {
    let done = changes.iter().map(|change| match *change {
        Change::Src(addr) => edit.set_src(addr),
        Change::Dst(addr) => edit.set_dst(addr),
        Change::SrcPort(port) => edit.set_src_port(port),
        Change::DstPort(port) => edit.set_dst_port(port),
        Change::IcmpId(id) => edit.set_icmp_id(id),
        Change::Ttl(ttl) => edit.set_ttl(ttl),
        Change::MinTtl(ttl) => edit.raise_ttl(ttl),
        Change::Tos(tos) => edit.set_tos(tos),
        Change::NoDf => edit.clear_df(),
        Change::Id(id) => edit.set_ip_id(id),
        Change::Seq(delta) => edit.shift_seq(delta),
        Change::Ack(delta) => edit.shift_ack(delta),
        Change::Mss(max) => edit.clamp_mss(max),
        Change::Vlan(index, tci) => edit.set_vlan(usize::from(index), tci),
        Change::Reserved => edit.clear_reserved(),
        Change::Urgent => edit.clear_idle_urgent(),
    });
    done.filter(|done| *done).count()
}

/// Right checksums everywhere, computed from nothing.
pub(super) fn fill(frame: &mut [u8]) -> Parsed {
    let parsed = parse(frame);
    let _ = offload::fill_ipv4_header(frame, &parsed);
    let _ = offload::fill_transport(frame, &parsed);
    parsed
}
