//! Both ends of a tap's ring, and a watcher that lies.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{
    CONTROL_LEN, HEADER_LEN, RecordHead, RecordKind, TapFault, TapGeometry, TapMemory, TapVerdict, TapWriter, format,
    header, ring,
};
use crate::mem::region::{HeapDma, Region};
use proptest::prelude::*;

const GEOMETRY: TapGeometry = TapGeometry { rings: 2, ring_bytes: 4096 };

fn memory(geometry: &TapGeometry) -> Region {
    let region = Region::alloc(Arc::new(HeapDma), geometry.total_len(), 4096).unwrap();
    assert!(format(region.shared(), geometry));
    region
}

fn head(time_ns: u64) -> RecordHead {
    RecordHead { direction: 1, frame_len: 1500, queue: 3, ..RecordHead::new(RecordKind::Frame, time_ns) }
}

#[test]
fn impossible_sizes_are_refused() {
    for bad in [
        TapGeometry { rings: 0, ..GEOMETRY },
        TapGeometry { rings: 10, ..GEOMETRY },
        TapGeometry { ring_bytes: 2048, ..GEOMETRY },
        TapGeometry { ring_bytes: 5000, ..GEOMETRY },
        TapGeometry { ring_bytes: 1 << 25, ..GEOMETRY },
        TapGeometry { rings: 9, ring_bytes: 1 << 24 },
    ] {
        assert!(!bad.is_valid(), "{bad:?}");
    }
    let region = memory(&GEOMETRY);
    let wider = TapGeometry { rings: 3, ..GEOMETRY };
    assert!(!format(region.shared(), &wider), "more than the memory has");
    region.shared().store_u32(header::RINGS, 3, Ordering::Relaxed);
    assert_eq!(TapMemory::open(region.shared()).err(), Some(TapFault::Geometry(wider)));
    region.shared().store_u32(header::VERSION, 9, Ordering::Relaxed);
    assert_eq!(TapMemory::open(region.shared()).err(), Some(TapFault::Version(9)));
    region.shared().store_u32(header::MAGIC, 0, Ordering::Relaxed);
    assert_eq!(TapMemory::open(region.shared()).err(), Some(TapFault::Magic));
}

#[test]
fn a_record_is_seen_whole_once_it_is_published() {
    let region = memory(&GEOMETRY);
    let mut writer = TapWriter::new(region.shared(), &GEOMETRY, 1).unwrap();
    let mut reader = TapMemory::open(region.shared()).unwrap().rings.pop().unwrap();
    let mut bytes = Vec::new();
    assert!(!reader.wait(), "nothing is there");
    let at = writer.write(&head(7), b"frame").unwrap();
    assert_eq!(reader.next(&mut bytes), Ok(None), "not shown yet");
    let known = RecordHead { verdict: TapVerdict::Block, reason: 3, rule: 9, flags: 1, ..head(7) };
    writer.amend(at, &known);
    assert!(writer.publish(), "the watcher sleeps");
    assert!(!writer.publish());
    assert_eq!(reader.next(&mut bytes), Ok(Some((known, 0))));
    assert_eq!(bytes, b"frame");
    assert_eq!(reader.next(&mut bytes), Ok(None));
}

#[test]
fn what_finds_no_room_is_counted_and_the_next_record_says_so() {
    let region = memory(&GEOMETRY);
    let mut writer = TapWriter::new(region.shared(), &GEOMETRY, 0).unwrap();
    let mut reader = TapMemory::open(region.shared()).unwrap().rings.swap_remove(0);
    let mut bytes = Vec::new();
    // 4096 bytes hold four records of 40 + 960.
    let written = (0..10).filter(|time| writer.write(&head(*time), &[7; 960]).is_some()).count();
    assert_eq!((written, writer.lost()), (4, 6));
    assert!(writer.write(&head(0), &[0; 5000]).is_none(), "longer than the ring");
    assert!(!writer.publish(), "nobody asked to be woken");
    assert_eq!(reader.lost(), 7);
    for time in 0..4 {
        assert_eq!(reader.next(&mut bytes), Ok(Some((head(time), 0))));
    }
    // The next one goes around the end.
    assert!(writer.write(&head(11), &[9; 200]).is_some());
    let _ = writer.publish();
    assert_eq!(reader.next(&mut bytes), Ok(Some((head(11), 7))));
    assert_eq!(bytes, [9; 200]);
}

#[test]
fn a_watcher_that_lies_about_its_index_gets_nothing_more() {
    for lie in [1, 4096, u32::MAX, 1 << 31] {
        let region = memory(&GEOMETRY);
        let mut writer = TapWriter::new(region.shared(), &GEOMETRY, 0).unwrap();
        region.shared().store_u32(HEADER_LEN + ring::HEAD, lie, Ordering::Relaxed);
        let mut taken = 0;
        while writer.write(&head(0), &[0; 1000]).is_some() {
            taken += 1;
        }
        assert!(writer.is_dead() && taken <= 4, "{lie:#x}");
        assert!(writer.write(&head(0), &[]).is_none());
    }
}

proptest! {
    #[test]
    fn records_come_out_as_they_went_in(
        sizes in proptest::collection::vec((0usize..700, any::<bool>()), 1..400),
    ) {
        let region = memory(&GEOMETRY);
        let mut writer = TapWriter::new(region.shared(), &GEOMETRY, 0).unwrap();
        let mut reader = TapMemory::open(region.shared()).unwrap().rings.swap_remove(0);
        let (mut expected, mut bytes, mut lost) = (alloc::collections::VecDeque::new(), Vec::new(), 0);
        for (time, (size, read)) in (0..).zip(sizes) {
            let frame: Vec<u8> = (0..size).map(|i| (i as u8).wrapping_mul(time as u8)).collect();
            match writer.write(&head(time), &frame) {
                Some(_) => expected.push_back((head(time), lost, frame)),
                None => lost += 1,
            }
            let _ = writer.publish();
            while read && let Some((head, lost, frame)) = expected.pop_front() {
                prop_assert_eq!(reader.next(&mut bytes), Ok(Some((head, lost))));
                prop_assert_eq!(&bytes, &frame);
            }
            if read {
                prop_assert_eq!(reader.next(&mut bytes), Ok(None));
            }
        }
        prop_assert_eq!(writer.lost(), lost);
    }

    #[test]
    fn a_reader_survives_any_memory(words in proptest::collection::vec(any::<u64>(), 512), tail in any::<u32>()) {
        let region = memory(&GEOMETRY);
        let shared = region.shared();
        for (index, word) in words.iter().enumerate() {
            shared.store_u64(HEADER_LEN + CONTROL_LEN + index * 8, *word, Ordering::Relaxed);
        }
        shared.store_u32(HEADER_LEN + ring::TAIL, tail & 0x1fff, Ordering::Relaxed);
        let mut reader = TapMemory::open(shared).unwrap().rings.swap_remove(0);
        let mut bytes = Vec::new();
        for _ in 0..200 {
            if !matches!(reader.next(&mut bytes), Ok(Some(_))) {
                break;
            }
        }
    }
}

#[test]
fn somebody_who_scribbles_all_over_the_memory_only_loses_records() {
    let region = memory(&GEOMETRY);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 1..=2u64 {
            let (shared, stop) = (region.shared(), &stop);
            scope.spawn(move || {
                let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                while !stop.load(Ordering::Relaxed) {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let at = (random >> 32) as usize % shared.len();
                    // Half of it where the indices are.
                    let at = if random & 1 == 0 { at } else { HEADER_LEN + at % CONTROL_LEN };
                    shared.store_u32(at & !3, random as u32, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..2000 {
            let mut writer = TapWriter::new(region.shared(), &GEOMETRY, 0).unwrap();
            for time in 0..64 {
                if let Some(at) = writer.write(&head(time), &[5; 300]) {
                    writer.amend(at, &head(time));
                }
                let _ = writer.publish();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
