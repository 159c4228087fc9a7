//! Bursts across the border.

use core::mem::MaybeUninit;

use super::raw;
use crate::mem::handover::{Giver, Lent, Room, Taker};
use crate::mem::packet::RawPacket;
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

proptest! {
    /// What is taken together is what is taken one by one, but for a device's addresses in the upper half.
    #[test]
    fn a_burst_is_sound_if_each_is(raws in prop::collection::vec(any_raw(), 0..4)) {
        // SAFETY: no buffer is touched.
        let sound = |raw: &RawPacket| unsafe { Packet::from_raw(*raw) }.is_ok();
        let upper = |raw: &RawPacket| raw.iova >> 63 == 1;
        // SAFETY: as above.
        let lent = unsafe { Lent::new(&raws, |found| found.said()) };
        let wanted = raws.iter().all(|raw| raw.status == 0);
        if raws.iter().any(upper) {
            prop_assert!(lent.is_none());
        } else {
            prop_assert_eq!(lent.is_some(), wanted && raws.iter().all(sound));
        }
    }
}

#[test]
fn lent_packets_move_while_there_is_room() {
    let mut buffer = [0; 100];
    let raws = raws(&mut buffer, 3);
    // SAFETY: the buffer is not touched.
    let mut lent = unsafe { Lent::new(&raws, |_| false) }.unwrap();
    let mut burst: Burst = (10..73).map(|cookie| Packet::refused(cookie, Status::Ok)).collect();
    lent.move_to(&mut burst);
    assert_eq!((burst.len(), burst.last().unwrap().cookie()), (64, 1));
    let mut rest = Burst::new();
    lent.move_to(&mut rest);
    assert_eq!(cookies(&rest), [2, 3]);
    lent.move_to(&mut rest);
    assert_eq!(rest.len(), 2, "they moved");
    let mut places = [const { MaybeUninit::uninit() }; 1];
    assert_eq!(rest.give_to(&mut places), 1);
    assert_eq!(cookies(&rest), [3]);
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
