//! Packets, rings, pools, regions: what they do at their edges. Interleavings are in `loom_tests`.

mod answers;
mod columns;
pub(crate) mod dma;
mod handover;
#[cfg(target_arch = "x86_64")]
mod locate;
#[cfg(target_arch = "x86_64")]
mod pair;
pub(crate) mod pipes;
#[cfg(target_arch = "x86_64")]
mod ranges;
mod row;
mod slots;
mod transpose;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::doorbell::Doorbell;
use super::packet::{BadPacket, Burst, Packet, PacketFlags, PartialCsum, RawPacket, Status, move_burst};
use super::pool::{Pool, PoolGauges};
use super::region::{Dma, HeapDma, RawRegion, Region, Shared};
use super::ring::channel;
use super::seat::Seat;
use proptest::prelude::*;

fn raw(buffer: &mut [u8]) -> RawPacket {
    RawPacket {
        cookie: 7,
        base: buffer.as_mut_ptr(),
        iova: 0x1000,
        buf_len: buffer.len() as u32,
        data_off: 16,
        len: 60,
        flags: 0,
        csum_start: 0,
        csum_stuff: 0,
        mss: 0,
        segs: 0,
        status: 0,
        reserved: 99,
    }
}

fn take(raw: RawPacket) -> Result<Packet, BadPacket> {
    // SAFETY: every test keeps the buffer alive and untouched while it has the packet.
    unsafe { Packet::from_raw(raw) }
}

#[test]
fn bad_descriptions_are_refused() {
    let mut buffer = [0u8; 128];
    let good = raw(&mut buffer);
    assert!(take(good).is_ok());
    let null = BadPacket::Null;
    assert_eq!(take(RawPacket { cookie: 0, ..good }).err(), Some(null));
    assert_eq!(take(RawPacket { base: core::ptr::null_mut(), ..good }).err(), Some(null));
    for (data_off, len) in [(0, 129), (69, 60), (128, 1), (129, 0), (u32::MAX, u32::MAX), (u32::MAX, 1)] {
        let bad = RawPacket { data_off, len, ..good };
        assert_eq!(take(bad).err(), Some(BadPacket::Length), "{data_off} {len}");
    }
    let flags = PacketFlags::TX_CSUM_PARTIAL.bits();
    for (csum_start, csum_stuff) in [(0, 59), (40, 39), (60, 60), (0, u16::MAX), (u16::MAX, u16::MAX)] {
        let bad = RawPacket { flags, csum_start, csum_stuff, ..good };
        assert_eq!(take(bad).err(), Some(BadPacket::Checksum), "{csum_start} {csum_stuff}");
    }
    assert!(take(RawPacket { flags, csum_start: 34, csum_stuff: 58, ..good }).is_ok());
}

#[test]
fn a_packet_never_leaves_its_buffer() {
    let mut buffer = [0u8; 128];
    let mut packet = take(raw(&mut buffer)).unwrap();
    assert_eq!((packet.len(), packet.headroom(), packet.room()), (60, 16, 112));
    assert_eq!(packet.frame_iova(), Some(0x1010));
    assert!(!packet.set_len(113));
    assert!(!packet.set_len(usize::MAX));
    assert!(packet.set_len(112));
    assert!(!packet.write(&[1; 113]));
    assert!(packet.write(&[1; 100]));
    assert!(!packet.move_start(-17));
    assert!(!packet.move_start(101));
    assert!(!packet.move_start(i32::MIN));
    assert!(packet.move_start(-16));
    assert_eq!((packet.len(), packet.headroom()), (116, 0));
    assert!(packet.move_start(116));
    assert!(packet.is_empty());
    let back = packet.into_raw();
    assert_eq!((back.cookie, back.reserved), (7, 0), "the origin stays inside");
}

#[test]
fn checksum_metadata_follows_the_frame() {
    let mut buffer = [0u8; 128];
    let mut packet = take(raw(&mut buffer)).unwrap();
    let csum = PartialCsum { start: 34, stuff: 50 };
    assert!(packet.set_partial_csum(Some(csum)));
    assert!(packet.move_start(-4));
    assert_eq!(packet.partial_csum(), Some(PartialCsum { start: 38, stuff: 54 }));
    assert!(packet.move_start(4));
    assert!(!packet.move_start(35), "the sum would start in front of the frame");
    assert!(packet.set_len(51));
    assert_eq!(packet.partial_csum(), None, "a shorter frame has no room for it");
    assert!(!packet.set_partial_csum(Some(csum)));
    assert!(packet.set_partial_csum(None));
    assert!(!packet.flags().contains(PacketFlags::TX_CSUM_PARTIAL));
}

#[test]
fn a_refused_packet_has_no_buffer() {
    let mut packet = Packet::refused(5, Status::BadDescriptor);
    assert_eq!((packet.frame().len(), packet.room(), packet.status()), (0, 0, Status::BadDescriptor));
    assert!(!packet.set_len(1));
    assert!(!packet.move_start(-1));
    assert!(packet.frame_mut().is_empty());
    assert_eq!(packet.into_raw().cookie, 5);
}

#[test]
fn status_numbers_survive() {
    let mut packet = Packet::refused(1, Status::Ok);
    for status in [
        Status::Ok,
        Status::BadDescriptor,
        Status::NoMemory,
        Status::NoCarrier,
        Status::Disabled,
        Status::TooLong,
        Status::BadOffload,
    ] {
        packet.set_status(status);
        assert_eq!(packet.status(), status);
        assert_eq!(packet.status_code(), status.code());
    }
}

#[test]
fn move_burst_keeps_order_and_stops_at_room() {
    let mut from: Burst = (1..=10).map(|i| Packet::refused(i, Status::Ok)).collect();
    let mut to: heapless::Vec<Packet, 4> = heapless::Vec::new();
    assert_eq!(move_burst(&mut from, &mut to, 3), 3);
    assert_eq!(move_burst(&mut from, &mut to, 9), 1);
    assert_eq!(move_burst(&mut from, &mut to, 9), 0);
    assert!(to.iter().map(Packet::cookie).eq(1..=4));
    assert!(from.iter().map(Packet::cookie).eq(5..=10));
}

#[test]
fn ring_sizes() {
    assert!(channel::<u8>(0).is_none());
    assert!(channel::<u8>(3).is_none());
    assert!(channel::<u8>(1 << 21).is_none());
    let (mut producer, mut consumer) = channel::<u8>(1).unwrap();
    assert_eq!(producer.push(1), Ok(()));
    assert_eq!(producer.push(2), Err(2));
    assert_eq!(consumer.pop(), Some(1));
    assert_eq!(producer.push_slice(&[3, 4]), 1);
    assert_eq!((producer.len(), consumer.len(), producer.capacity()), (1, 1, 1));
}

proptest! {
    /// Any sequence of bursts does what a queue does, across many wraps.
    #[test]
    fn ring_is_a_queue(order in 0u32..6, steps in prop::collection::vec((any::<bool>(), 0usize..9), 1..200)) {
        let (mut producer, mut consumer) = channel::<Box<u64>>(1 << order).unwrap();
        let mut model = std::collections::VecDeque::new();
        let mut next = 0;
        for (push, n) in steps {
            if push {
                let mut burst: heapless::Vec<Box<u64>, 8> = (next..).take(n.min(8)).map(Box::new).collect();
                let offered = burst.len();
                let taken = producer.push_burst(&mut burst);
                prop_assert_eq!(taken, offered.min((1 << order) - model.len()));
                model.extend(next..next + taken as u64);
                next += taken as u64;
                prop_assert!(burst.iter().map(|item| **item).eq(next..next + (offered - taken) as u64));
            } else {
                let mut out: heapless::Vec<Box<u64>, 5> = heapless::Vec::new();
                let taken = consumer.pop_burst(&mut out, n);
                prop_assert_eq!(taken, n.min(5).min(model.len()));
                prop_assert!(out.iter().map(|item| **item).eq(model.drain(..taken)));
            }
            prop_assert_eq!(consumer.len(), model.len());
            prop_assert_eq!(consumer.is_empty(), model.is_empty());
            prop_assert_eq!(producer.space(), (1 << order) - model.len());
        }
    }
}

#[test]
fn ring_between_threads() {
    let (mut producer, mut consumer) = channel::<u64>(64).unwrap();
    const ITEMS: u64 = 200_000;
    let sender = std::thread::spawn(move || {
        let mut next = 0;
        while next < ITEMS {
            let chunk: Vec<u64> = (next..ITEMS.min(next + 32)).collect();
            let pushed = producer.push_slice(&chunk);
            next += pushed as u64;
            if pushed == 0 {
                std::thread::yield_now();
            }
        }
    });
    let mut expected = 0;
    while expected < ITEMS {
        let mut out: heapless::Vec<u64, 32> = heapless::Vec::new();
        if consumer.pop_burst(&mut out, 32) == 0 {
            std::thread::yield_now();
        }
        for item in out {
            assert_eq!(item, expected);
            expected += 1;
        }
    }
    sender.join().unwrap();
}

#[test]
fn seat_states() {
    let seat = Seat::new(1);
    assert!(seat.enter().is_none());
    *seat.claim().unwrap() += 1;
    seat.open();
    assert!(seat.claim().is_none());
    {
        let mut value = seat.enter().unwrap();
        assert!(seat.enter().is_none());
        *value += 1;
    }
    assert_eq!(*seat.enter().unwrap(), 3);
    seat.close();
    seat.close();
    assert!(seat.enter().is_none());
    assert_eq!(*seat.lock(), 3);
}

#[test]
fn doorbell_rings_only_when_armed() {
    let bell = Doorbell::new();
    assert!(!bell.ring());
    bell.arm();
    bell.disarm();
    assert!(!bell.ring());
    bell.arm();
    assert!(bell.ring());
    assert!(!bell.ring());
}

/// Counts what is allocated and freed, and can lie about it.
#[derive(Default)]
struct CountingDma {
    live: AtomicUsize,
    short: bool,
    askew: bool,
}

// SAFETY: forwards to HeapDma; the lies make regions smaller, never larger.
unsafe impl Dma for CountingDma {
    fn alloc(&self, len: u64, align: u64) -> Option<RawRegion> {
        let mut region = HeapDma.alloc(len + 64, align.max(64))?;
        self.live.fetch_add(1, Ordering::Relaxed);
        region.len = if self.short { len - 1 } else { len };
        if self.askew {
            region.base = region.base.wrapping_add(1);
        }
        Some(region)
    }

    fn free(&self, region: &RawRegion) {
        self.live.fetch_sub(1, Ordering::Relaxed);
        let base = if self.askew { region.base.wrapping_sub(1) } else { region.base };
        let len = if self.short { region.len + 1 } else { region.len };
        HeapDma.free(&RawRegion { base, len: len + 64, ..*region });
    }
}

#[test]
fn regions_are_checked_and_given_back() {
    for (short, askew) in [(true, false), (false, true)] {
        let dma = Arc::new(CountingDma { short, askew, ..CountingDma::default() });
        assert!(Region::alloc(dma.clone(), 4096, 4096).is_none(), "{short} {askew}");
        assert_eq!(dma.live.load(Ordering::Relaxed), 0);
    }
    let dma = Arc::new(CountingDma::default());
    assert!(Region::alloc(dma.clone(), 0, 8).is_none());
    assert!(Region::alloc(dma.clone(), 8, 3).is_none());
    let region = Region::alloc(dma.clone(), 4096, 4096).unwrap();
    assert_eq!((region.len(), dma.live.load(Ordering::Relaxed)), (4096, 1));
    assert_eq!(region.shared().load_u64(4088, Ordering::Relaxed), Some(0), "zeroed");
    drop(region);
    assert_eq!(dma.live.load(Ordering::Relaxed), 0);
}

#[test]
fn shared_memory_is_bounds_checked() {
    let region = Region::alloc(Arc::new(HeapDma), 64, 8).unwrap();
    let mem = region.shared();
    let relaxed = Ordering::Relaxed;
    assert!(mem.store_u32(60, 5, relaxed));
    assert_eq!(mem.swap_u32(60, 6, relaxed), Some(5));
    assert_eq!(mem.load_u32(60, relaxed), Some(6));
    for at in [61, 62, 64, usize::MAX, usize::MAX - 3] {
        assert_eq!(mem.load_u32(at, relaxed), None, "{at}");
        assert!(!mem.store_u32(at, 0, relaxed));
    }
    assert_eq!(mem.load_u16(63, relaxed), None);
    assert_eq!(mem.load_u64(60, relaxed), None, "not aligned");
    assert_eq!(mem.load_u8(63, relaxed), Some(0));
    assert!(mem.part(8, 57).is_none());
    assert!(mem.part(4, 8).is_none());
    assert!(mem.part(usize::MAX, 1).is_none());
    let part = mem.part(8, 40).unwrap();
    let data: Vec<u8> = (0..29).collect();
    assert!(part.write_bytes(8, &data));
    assert!(!part.write_bytes(16, &data));
    let mut back = [0u8; 29];
    assert!(mem.read_bytes(16, &mut back));
    assert_eq!(back.as_slice(), data);
    assert!(!mem.read_bytes(40, &mut back));
    // SAFETY: nothing is accessed.
    assert!(unsafe { Shared::new(core::ptr::null_mut(), 8) }.is_none());
}

#[test]
fn own_pool_accounts_for_every_buffer() {
    let region = Region::alloc(Arc::new(HeapDma), 8 * 256 + 100, 64).unwrap();
    let mut pool = Pool::for_own(region, 256, 32).unwrap();
    assert_eq!(pool.gauges(), PoolGauges { lent: 8, free: 8 });
    assert_eq!(pool.room(), 0);
    let mut burst = Burst::new();
    assert_eq!(pool.take_burst(&mut burst, 6), 6);
    let mut seen: Vec<usize> = burst.iter().map(|packet| packet.frame().as_ptr().addr()).collect();
    seen.sort_unstable();
    assert!(seen.windows(2).all(|pair| matches!(pair, [a, b] if b - a >= 256)), "buffers overlap");
    assert_eq!(pool.gauges(), PoolGauges { lent: 8, free: 2 });
    assert_eq!(pool.lend(&mut burst), 0, "its own buffers are not lent to it again");
    for mut packet in core::mem::take(&mut burst) {
        assert!(packet.write(&[1; 200]));
        assert!(packet.move_start(-32));
        pool.put(packet).unwrap();
    }
    assert_eq!(pool.gauges(), PoolGauges { lent: 8, free: 8 });
    while let Some(mut packet) = pool.take() {
        assert_eq!((packet.headroom(), packet.len()), (32, 0));
        assert!(packet.set_len(224) && packet.move_start(100));
        burst.push(packet).unwrap();
    }
    let foreign = Packet::refused(1, Status::Ok);
    assert!(pool.put(foreign).is_err());
    for packet in burst {
        pool.put(packet).unwrap();
    }
    assert_eq!(pool.take().unwrap().headroom(), 32);
}

#[test]
fn pool_of_lent_buffers_is_bounded() {
    let mut pool = Pool::for_lent(3);
    let mut burst: Burst = (1..=5).map(|i| Packet::refused(i, Status::Ok)).collect();
    assert_eq!(pool.lend(&mut burst), 3);
    assert!(burst.iter().map(Packet::cookie).eq(4..=5));
    assert_eq!(pool.room(), 0);
    let packet = pool.take().unwrap();
    let stranger = Packet::refused(9, Status::Ok);
    pool.put(packet).unwrap();
    assert!(pool.put(stranger).is_err(), "more came back than went out");
    let _delivered = pool.take().unwrap();
    pool.handed_back(1);
    assert_eq!(pool.gauges(), PoolGauges { lent: 2, free: 2 });
    pool.handed_back(9);
    assert_eq!(pool.gauges(), PoolGauges { lent: 2, free: 2 }, "never fewer lent than free");
    assert_eq!(pool.room(), 1);
}

#[test]
fn memory_outlives_a_pool_that_misses_packets() {
    let dma = Arc::new(CountingDma::default());
    let pool = || Pool::for_own(Region::alloc(dma.clone(), 512, 64).unwrap(), 256, 0).unwrap();
    drop(pool());
    assert_eq!(dma.live.load(Ordering::Relaxed), 0);
    let mut short = pool();
    let mut packet = short.take().unwrap();
    short.handed_back(1);
    drop(short);
    assert_eq!(dma.live.load(Ordering::Relaxed), 1);
    assert!(packet.write(&[7; 256]));
}

/// Numbers below what they are asked with, the same ones in every run.
fn numbers(mut seed: u64) -> impl FnMut(u32) -> u32 {
    move |end| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((seed >> 33) as u32) % end
    }
}

/// Whatever the instructions, the same words come out.
#[test]
fn four_words_are_portable() {
    use super::four::{Four, Portable};
    let mut random = numbers(1);
    let mut word = || {
        // Equal halves and zeroes must happen.
        let bits = random(1 << 31);
        if bits & 7 == 0 { 0 } else { bits & 0x0003_0003 | (bits & 8) << 28 }
    };
    for _ in 0..10_000 {
        let (a, b) = ([word(), word(), word(), word()], [word(), word(), word(), word()]);
        let pairs = b.map(|word| [word as u16, (word >> 16) as u16]);
        let halves = a.map(|word| word as u16);
        let (x, y) = (Four::new(&a), Portable::new(&a));
        let (p, q) = (Four::from_pairs(&pairs), Portable::from_pairs(&pairs));
        let (h, i) = (Four::from_halves(&halves), Portable::from_halves(&halves));
        let (s, t) = (Four::splat(b[0]), Portable::splat(b[0]));
        assert_eq!(x.and(p).zeroes(), y.and(q).zeroes());
        assert_eq!(x.xor(p).zeroes(), y.xor(q).zeroes());
        assert_eq!(x.or(h).zeroes(), y.or(i).zeroes());
        assert_eq!(x.above(p), y.above(q));
        assert_eq!(x.xor(s).zeroes(), y.xor(t).zeroes());
        assert_eq!(x.sub_halves(p).xor(h).zeroes(), y.sub_halves(q).xor(i).zeroes());
        assert_eq!(x.halves_above(p).zeroes(), y.halves_above(q).zeroes());
        let (rows, others) = ([a, b, a, b], [a, a, b, b]);
        let (x, y) =
            (Four::columns(rows.map(|row| Four::new(&row))), Portable::columns(rows.map(|row| Portable::new(&row))));
        for (x, y) in x.into_iter().zip(y) {
            let mut columns = [[0; 4]; 2];
            let [of_x, of_y] = &mut columns;
            x.store(of_x);
            y.store(of_y);
            assert_eq!(of_x, of_y);
        }
        let same = Four::same_rows(rows.map(|row| Four::new(&row)), others.map(|row| Four::new(&row)));
        assert_eq!(
            same,
            Portable::same_rows(rows.map(|row| Portable::new(&row)), others.map(|row| Portable::new(&row)))
        );
        assert_eq!(same, if a == b { 15 } else { 9 });
    }
}
