//! Bursts across the border.

use core::mem::MaybeUninit;

use super::raw;
use crate::mem::handover::{Empties, Frames, Giver, LentFrames, Places, RawEmpty, Room, Taker};
use crate::mem::packet::{BURST_MAX, RawPacket};
use crate::mem::ring::channel;
use crate::mem::{Burst, Packet, Status};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Descriptors of one buffer, for tests that look at no frame.
fn raws(buffer: &mut [u8], count: u64) -> Vec<RawPacket> {
    (1..=count).map(|cookie| RawPacket { cookie, ..raw(buffer) }).collect()
}

fn cookies(burst: &Burst) -> Vec<u64> {
    burst.iter().map(Packet::cookie).collect()
}

/// Numbers at the edges of what fits.
fn any_raw() -> impl Strategy<Value = RawPacket> {
    let word = || prop::sample::select(vec![0, 1, 7, 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX]);
    let len = || prop::sample::select(vec![0u32, 1, 60, 61, 100, 1 << 31, u32::MAX]);
    let sum = || prop::sample::select(vec![0u16, 1, 58, 59, 60, u16::MAX]);
    (word(), 0usize..4, word(), len(), len(), len(), 0u32..4, sum(), sum(), -2..2).prop_map(
        |(cookie, base, iova, buf_len, data_off, len, flags, csum_start, csum_stuff, status)| RawPacket {
            cookie,
            base: core::ptr::without_provenance_mut(base),
            iova,
            buf_len,
            data_off,
            len,
            flags,
            csum_start,
            csum_stuff,
            mss: 0,
            segs: 0,
            status: i32::max(status, 0),
            reserved: 0,
        },
    )
}

/// The same descriptors in memory that is lent for a call.
fn places(raws: &[RawPacket]) -> Places {
    let mut places = Places { reserved: MaybeUninit::uninit(), pkts: [const { MaybeUninit::uninit() }; BURST_MAX] };
    for (place, raw) in places.pkts.iter_mut().zip(raws) {
        place.write(*raw);
    }
    places
}

fn sound(raw: &RawPacket) -> bool {
    // SAFETY: no buffer is touched.
    unsafe { Packet::from_raw(*raw) }.is_ok()
}

proptest! {
    /// What is taken together is what is taken one by one, but for a device's addresses in the upper half.
    #[test]
    fn a_burst_is_sound_if_each_is(raws in prop::collection::vec(any_raw(), 0..10)) {
        let mut places = places(&raws);
        // SAFETY: as many are there; no buffer is touched.
        let lent = unsafe { LentFrames::new(&mut places, raws.len(), |found| found.said()) };
        let wanted = raws.iter().all(|raw| raw.status == 0);
        if raws.iter().any(|raw| raw.iova >> 63 == 1) {
            prop_assert!(lent.is_none());
            return Ok(());
        }
        prop_assert_eq!(lent.is_some(), wanted && raws.iter().all(sound));
        if let Some(mut lent) = lent {
            let mut spare = Burst::new();
            let (burst, bytes) = lent.take(BURST_MAX, &mut spare);
            prop_assert_eq!(cookies(burst), raws.iter().map(|raw| raw.cookie).collect::<Vec<_>>());
            prop_assert_eq!(bytes, Some(raws.iter().map(|raw| u64::from(raw.len)).sum()));
        }
    }

    /// Buffers move up to the first that is not sound.
    #[test]
    fn empty_buffers_move_while_they_are_sound(raws in prop::collection::vec(any_raw(), 0..10), room in 0usize..10) {
        let mut out = [const { MaybeUninit::uninit() }; BURST_MAX];
        let raws: Vec<_> = raws.iter().map(RawEmpty::of).collect();
        // SAFETY: no buffer is touched.
        let mut empties = unsafe { Empties::new(&raws) };
        let count = empties.give_to(&mut out[..room]);
        let emptied: Vec<_> = raws.iter().map(RawEmpty::packet).collect();
        let good = emptied.iter().take_while(|raw| sound(raw)).count();
        prop_assert_eq!(count, good.min(room));
        prop_assert_eq!(empties.any_bad(), emptied.iter().skip(count).any(|raw| !sound(raw)));
        for (place, raw) in out.iter().zip(&emptied).take(count) {
            // SAFETY: so many were filled.
            let packet = unsafe { place.assume_init_ref() };
            prop_assert_eq!((packet.cookie(), packet.headroom(), packet.len()), (raw.cookie, raw.data_off as usize, 0));
        }
    }
}

#[test]
fn frames_that_stay_are_not_touched() {
    let mut buffer = [0; 100];
    let raws = raws(&mut buffer, 3);
    for max in 0..4 {
        let mut places = places(&raws);
        // SAFETY: as many are there; the buffer is not touched.
        let mut lent = unsafe { LentFrames::new(&mut places, 3, |_| false) }.unwrap();
        let mut spare = Burst::new();
        let (burst, bytes) = lent.take(max, &mut spare);
        assert_eq!((burst.len(), bytes.is_some()), (max, max == 3));
        burst.clear();
        // SAFETY: as above.
        let left = unsafe { places.raws(3) }.iter().skip(max).map(|raw| raw.cookie);
        assert!(left.eq((1..=3).skip(max)), "{max}");
    }
    let mut burst: Burst = (1..=3).map(|cookie| Packet::refused(cookie, Status::Ok)).collect();
    assert_eq!(cookies(burst.take(2, &mut Burst::new()).0), [1, 2]);
}

#[test]
fn packets_move_while_there_is_room() {
    let mut burst: Burst = (1..=3).map(|cookie| Packet::refused(cookie, Status::Ok)).collect();
    let mut out = [const { MaybeUninit::uninit() }; 1];
    assert_eq!(burst.give_to(&mut out), 1);
    assert_eq!(cookies(&burst), [2, 3]);
}

#[test]
fn what_goes_back_has_nothing_of_the_core_in_it() {
    let mut places = [const { MaybeUninit::uninit() }; 5];
    let mut room = Room::new(&mut places);
    let packet = |cookie| {
        let mut packet = Packet::refused(cookie, Status::Ok);
        packet.set_shard(3);
        packet
    };
    let (mut tail, mut head) = channel(8).unwrap();
    for cookie in 1..=4 {
        assert!(tail.push(packet(cookie)).is_ok());
    }
    assert_eq!(room.take_from(&mut head, 3), 3);
    let mut burst: Burst = (5..=6).map(packet).collect();
    room.give(&mut burst);
    assert_eq!((burst.len(), room.left(), room.filled()), (0, 0, 5));
    assert_eq!((room.take_from(&mut head, 1), head.len()), (0, 1), "there is no room for it");
    room.forget();
    // SAFETY: all five were filled.
    let back = places.map(|place| unsafe { place.assume_init() });
    assert!(back.iter().map(|raw| (raw.cookie, raw.reserved)).eq([1, 2, 3, 5, 6].map(|cookie| (cookie, 0))));
}
