//! Both sides of a wire memory, and a side that lies.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::{FrameMeta, Geometry, OpenError, WireClient, WireFault, WireFeatures, WireRing, header};
use crate::mem::packet::PartialCsum;
use crate::mem::region::{HeapDma, Region};
use proptest::prelude::*;

const GEOMETRY: Geometry = Geometry { queues: 2, slots: 4, slot_size: 256 };
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn memory(geometry: &Geometry) -> Region {
    Region::alloc(Arc::new(HeapDma), geometry.total_len(), 4096).unwrap()
}

#[test]
fn sizes_for_a_nic_are_valid() {
    for (queues, ring, buf_len) in [(1, 64, 0), (8, 4096, 2048), (2, 256, 67_000), (3, 4096, 1 << 20)] {
        let geometry = Geometry::for_nic(queues, ring, buf_len);
        assert!(geometry.is_valid(), "{geometry:?}");
        assert!(geometry.slots <= ring);
        assert!(geometry.total_len() < 160 << 20, "{geometry:?}");
    }
    for bad in [
        Geometry { queues: 0, ..GEOMETRY },
        Geometry { queues: 9, ..GEOMETRY },
        Geometry { slots: 3, ..GEOMETRY },
        Geometry { slots: 0, ..GEOMETRY },
        Geometry { slots: 1 << 31, ..GEOMETRY },
        Geometry { slot_size: 100, ..GEOMETRY },
        Geometry { slot_size: 0, ..GEOMETRY },
        Geometry { slot_size: u32::MAX, ..GEOMETRY },
    ] {
        assert!(!bad.is_valid(), "{bad:?}");
    }
}

#[test]
fn frames_cross_in_both_directions() {
    let region = memory(&GEOMETRY);
    assert_eq!(WireClient::open(region.shared(), WireFeatures::empty()).err(), Some(OpenError::Magic));
    let (core, mut core_queues) = WireRing::attach(region.shared(), &GEOMETRY, MAC, 1500).unwrap();
    assert!(!core.client_ready());
    let (client, mut client_queues) = WireClient::open(region.shared(), WireFeatures::CSUM).unwrap();
    assert!(core.client_ready());
    assert_eq!(core.client_accepts(), WireFeatures::CSUM);
    let info = client.info();
    assert_eq!((info.geometry, info.mac, info.mtu), (GEOMETRY, MAC, 1500));
    for (ours, theirs) in core_queues.iter_mut().zip(&mut client_queues) {
        for (from, to) in [(&mut ours.send, &mut theirs.recv), (&mut theirs.send, &mut ours.recv)] {
            assert!(!to.wait(), "nothing there yet");
            let frames: Vec<Vec<u8>> = (1..=4u8).map(|i| vec![i; 60 + usize::from(i)]).collect();
            let meta =
                FrameMeta { csum: Some(PartialCsum { start: 14, stuff: 30 }), mss: 1000, v6: true, timestamp_ns: 77 };
            for frame in &frames {
                assert!(from.send(frame, &meta));
            }
            assert!(!from.send(&[0; 60], &meta), "full");
            assert!(!from.wait(), "full, so ask to be woken");
            assert_eq!(to.available(), 0, "not flushed");
            assert!(from.flush(), "the other side sleeps");
            assert!(!from.flush());
            let mut out = [0; 256];
            for frame in &frames {
                assert_eq!(to.peek(), Some(Ok((frame.len(), meta))));
                let (len, got) = to.recv(&mut out).unwrap().unwrap();
                assert_eq!((&out[..len], got), (frame.as_slice(), meta));
            }
            assert!(to.recv(&mut out).is_none());
            assert_eq!(from.space(), 0, "not released");
            assert!(to.release(), "the other side waits for room");
            assert!(from.wait());
            assert!(!from.send(&[], &meta));
            assert!(!from.send(&[0; 257], &meta));
            assert!(from.send(&[9; 256], &FrameMeta::default()) && !from.flush());
            assert_eq!(to.recv(&mut [0; 255]), Some(Err(WireFault::TooLong)), "skipped");
            assert!(to.recv(&mut out).is_none());
            assert!(to.release());
            assert_eq!(from.queued(), 0);
        }
    }
    drop(client);
    assert!(!core.client_ready());
    core.detach();
    let reopened = WireClient::open(region.shared(), WireFeatures::empty());
    assert_eq!(reopened.err(), Some(OpenError::Magic));
}

#[test]
fn a_second_client_continues() {
    let region = memory(&GEOMETRY);
    let (_core, mut core_queues) = WireRing::attach(region.shared(), &GEOMETRY, MAC, 1500).unwrap();
    let core = &mut core_queues[0];
    for round in 0..5u8 {
        let (_client, mut queues) = WireClient::open(region.shared(), WireFeatures::empty()).unwrap();
        let client = &mut queues[0];
        assert!(core.send.send(&[round; 60], &FrameMeta::default()));
        let _ = core.send.flush();
        assert!(client.send.send(&[round; 61], &FrameMeta::default()));
        let _ = client.send.flush();
        let mut out = [0; 256];
        assert_eq!(client.recv.recv(&mut out).unwrap().unwrap().0, 60);
        assert_eq!(core.recv.recv(&mut out).unwrap().unwrap().0, 61);
        let _ = (client.recv.release(), core.recv.release());
    }
}

#[test]
fn a_wrong_header_is_refused() {
    let region = memory(&GEOMETRY);
    let mem = region.shared();
    assert!(WireRing::attach(mem.part(0, 4096).unwrap(), &GEOMETRY, MAC, 1500).is_none());
    let (_core, _queues) = WireRing::attach(mem, &GEOMETRY, MAC, 1500).unwrap();
    let open = || WireClient::open(mem, WireFeatures::empty()).err();
    assert_eq!(open(), None);
    for (at, value, good) in [
        (header::SLOTS, 1 << 16, GEOMETRY.slots),
        (header::SLOTS, 0, GEOMETRY.slots),
        (header::QUEUES, 3, GEOMETRY.queues),
        (header::SLOT_SIZE, 1 << 17, GEOMETRY.slot_size),
    ] {
        mem.store_u32(at, value, Ordering::Relaxed);
        assert!(matches!(open(), Some(OpenError::Geometry(_))), "{at} {value}");
        mem.store_u32(at, good, Ordering::Relaxed);
    }
    mem.store_u32(header::VERSION, 9, Ordering::Relaxed);
    assert_eq!(open(), Some(OpenError::Version(9)));
}

#[test]
fn impossible_indices_kill_the_ring_and_nothing_else() {
    let region = memory(&GEOMETRY);
    let mem = region.shared();
    for bad in [5, 100, u32::MAX, 1 << 31] {
        let (_core, mut queues) = WireRing::attach(mem, &GEOMETRY, MAC, 1500).unwrap();
        let from_client = GEOMETRY.ring_offset(0, true);
        let to_client = GEOMETRY.ring_offset(0, false);
        mem.store_u32(from_client, bad, Ordering::Relaxed);
        assert_eq!(queues[0].recv.available(), 0, "{bad}");
        assert!(queues[0].recv.is_dead());
        assert_eq!(queues[0].recv.peek(), Some(Err(WireFault::Index)));
        assert_eq!(queues[0].recv.recv(&mut [0; 256]), Some(Err(WireFault::Index)));
        // The right value afterwards does not bring it back.
        mem.store_u32(from_client, 1, Ordering::Relaxed);
        assert_eq!(queues[0].recv.available(), 0);
        mem.store_u32(to_client + 128, bad, Ordering::Relaxed);
        assert_eq!(queues[0].send.space(), 0);
        assert!(queues[0].send.is_dead());
        assert!(!queues[0].send.send(&[0; 60], &FrameMeta::default()));
        assert_eq!(queues[1].send.space(), 4);
        assert!(queues[1].send.send(&[0; 60], &FrameMeta::default()));
    }
}

#[test]
fn a_head_that_moves_back_kills_the_ring() {
    let region = memory(&GEOMETRY);
    let mem = region.shared();
    let (_core, mut queues) = WireRing::attach(mem, &GEOMETRY, MAC, 1500).unwrap();
    let send = &mut queues[0].send;
    let head = GEOMETRY.ring_offset(0, false) + 128;
    for _ in 0..4 {
        assert!(send.send(&[1; 60], &FrameMeta::default()));
    }
    let _ = send.flush();
    mem.store_u32(head, 3, Ordering::Relaxed);
    assert_eq!(send.space(), 3);
    mem.store_u32(head, 2, Ordering::Relaxed);
    assert_eq!(send.space(), 0);
    assert!(send.is_dead());
}

proptest! {
    /// Whatever a client writes into its ring and its descriptors: no panic, and what is taken is inside.
    #[test]
    fn hostile_memory(words in prop::collection::vec((0usize..512 + 4 * 32, any::<u64>()), 0..40), tails in prop::collection::vec(0u32..8, 1..12)) {
        let region = memory(&GEOMETRY);
        let mem = region.shared();
        let (_core, mut queues) = WireRing::attach(mem, &GEOMETRY, MAC, 1500).unwrap();
        let ring = GEOMETRY.ring_offset(0, true);
        let mut words = words.into_iter();
        let mut tail = 0;
        for step in tails {
            for (at, value) in words.by_ref().take(4) {
                // Descriptors get small numbers often, so that some are almost right.
                let value = if value & 1 == 0 { value & 0x0000_01ff_0000_01ff } else { value };
                mem.store_u64(ring + at / 8 * 8, value, Ordering::Relaxed);
            }
            if step < 6 {
                tail += step;
                mem.store_u32(ring, tail, Ordering::Relaxed);
            }
            let mut out = [0; 256];
            for _ in 0..8 {
                match queues[0].recv.recv(&mut out) {
                    Some(Ok((len, meta))) => {
                        prop_assert!((1..=256).contains(&len));
                        if let Some(csum) = meta.csum {
                            prop_assert!(csum.start <= csum.stuff && usize::from(csum.stuff) + 2 <= len);
                        }
                    }
                    Some(Err(WireFault::Index)) => prop_assert!(queues[0].recv.is_dead()),
                    Some(Err(_)) => {}
                    None => break,
                }
            }
            let _ = queues[0].recv.release();
            let _ = queues[0].send.space();
        }
    }
}
