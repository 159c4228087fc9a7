//! Callers that break the contract: refused, counted, harmless.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use common::frames::*;
use common::{Glue, Station, burst, config, empty, ops, settle};
use weir_core::abi::sys;
use weir_core::abi::*;
use weir_core::filter::{Action, Direction, image};

const INVAL: i32 = sys::WEIR_E_INVAL;

fn zeroed_pkts() -> [sys::weir_pkt; 4] {
    // SAFETY: weir_pkt is numbers and a pointer.
    unsafe { std::mem::zeroed() }
}

#[test]
fn null_is_refused_everywhere() {
    let mut pkts = zeroed_pkts();
    let mut lent = burst(&[]);
    let mut mac = [0u8; 6];
    let none = null_mut();
    // SAFETY: null is what this is about.
    unsafe {
        weir_destroy(none);
        assert_eq!(weir_rx_post(none, 0, pkts.map(|pkt| empty(&pkt)).as_ptr(), 4), 0);
        assert_eq!(weir_rx_space(none, 0), 0);
        assert_eq!(weir_rx_poll(none, 0, &mut lent, 4, null_mut()), 0);
        assert_eq!(weir_tx_space(none, 0), 0);
        assert_eq!(weir_tx_submit(none, 0, &mut lent, 4), 0);
        assert_eq!(weir_tx_reap(none, 0, pkts.as_mut_ptr(), 4), 0);
        assert_eq!(weir_arm(none, 0), 0);
        assert_eq!(weir_reclaim(none, 0, pkts.as_mut_ptr(), 4), 0);
        assert_eq!(weir_enable(none, 1), INVAL);
        assert_eq!(weir_set_promiscuous(none, 1), INVAL);
        assert_eq!(weir_set_all_multicast(none, 1), INVAL);
        assert_eq!(weir_set_multicast(none, null(), 0), INVAL);
        assert_eq!(weir_set_mac(none, mac.as_ptr()), INVAL);
        assert_eq!(weir_get_mac(none, mac.as_mut_ptr()), INVAL);
        assert_eq!(weir_set_mtu(none, 1500), INVAL);
        assert_eq!(weir_set_if_name(none, c"en0".as_ptr()), INVAL);
        assert_eq!(weir_get_offloads(none), 0);
        assert_eq!(weir_set_offloads(none, 0), INVAL);
        assert_eq!(weir_link_get(none, null_mut()), INVAL);
        assert_eq!(weir_link_set(none, 1), INVAL);
        assert_eq!(weir_wire_size(none), 0);
        assert_eq!(weir_wire_attach(none, null_mut(), 0), INVAL);
        assert_eq!(weir_wire_detach(none), INVAL);
        assert_eq!(weir_wire_kick(none), INVAL);
        assert_eq!(weir_control(none, null(), 0, null_mut(), 0, null_mut()), INVAL);
    }
    let station = Station::new(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let core = station.core.0;
    // SAFETY: a live core; null is what this is about.
    unsafe {
        assert_eq!(weir_rx_post(core, 0, null(), 4), 0);
        assert_eq!(weir_rx_poll(core, 0, null_mut(), 4, null_mut()), 0);
        assert_eq!(weir_tx_submit(core, 0, null_mut(), 4), 0);
        assert_eq!(weir_tx_reap(core, 0, null_mut(), 4), 0);
        assert_eq!(weir_reclaim(core, 0, null_mut(), 4), 0);
        assert_eq!(weir_set_multicast(core, null(), 1), INVAL);
        assert_eq!(weir_set_mac(core, null()), INVAL);
        assert_eq!(weir_get_mac(core, null_mut()), INVAL);
        assert_eq!(weir_set_if_name(core, null()), INVAL);
        assert_eq!(weir_link_get(core, null_mut()), INVAL);
        assert_eq!(weir_control(core, null(), 16, null_mut(), 0, null_mut()), INVAL);
    }
    assert_eq!(station.counters().misuse, 5);
    station.close();
}

#[test]
fn misaligned_pointers_are_refused() {
    let station = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let core = station.core.0;
    let mut bytes = [0u64; 64];
    let odd = bytes.as_mut_ptr().cast::<u8>().wrapping_add(1);
    // SAFETY: a live core; the pointers are not aligned, which is what this is about.
    unsafe {
        assert_eq!(weir_rx_post(core, 0, odd.cast(), 1), 0);
        assert_eq!(weir_rx_poll(core, 0, odd.cast(), 1, null_mut()), 0);
        assert_eq!(weir_tx_submit(core, 0, odd.cast(), 1), 0);
        assert_eq!(weir_link_get(core, odd.cast()), INVAL);
        assert_eq!(weir_create(odd.cast(), odd.cast(), &mut null_mut()), INVAL);
        assert_eq!(weir_enable(odd.cast(), 1), INVAL);
        assert_eq!(weir_control(core, odd.cast(), 16, null_mut(), 0, odd.cast()), INVAL);
    }
    assert_eq!(station.counters().misuse, 3);
    station.close();
}

#[test]
fn creation_checks_what_it_is_given() {
    let glue = Glue::default();
    let good = config(sys::WEIR_WIRE_PAIR, "create", A, 1);
    let status = |config: &sys::weir_config, ops: &sys::weir_ops| {
        let sentinel = std::ptr::dangling_mut::<sys::weir_core>();
        let mut out = sentinel;
        // SAFETY: valid structs.
        let status = unsafe { weir_create(config, ops, &mut out) };
        assert_eq!(status == sys::WEIR_OK, out != sentinel, "*out is untouched on failure");
        if status == sys::WEIR_OK {
            // SAFETY: just made.
            unsafe { weir_destroy(out) };
        }
        status
    };
    let with = |change: fn(&mut sys::weir_config)| {
        let mut config = good;
        change(&mut config);
        status(&config, &ops(&glue))
    };
    assert_eq!(with(|_| ()), sys::WEIR_OK);
    assert_eq!(with(|c| c.size += 1), sys::WEIR_E_VERSION);
    assert_eq!(with(|c| c.abi_version += 1), sys::WEIR_E_VERSION);
    assert_eq!(with(|c| c.nic = 99), sys::WEIR_E_UNSUPPORTED);
    assert_eq!(with(|c| c.wire = 99), INVAL);
    assert_eq!(with(|c| c.wire_name = [0; 32]), INVAL, "a pair without a name");
    assert_eq!(with(|c| c.wire_name = [b'x' as std::ffi::c_char; 32]), INVAL, "no NUL");
    assert_eq!(with(|c| c.if_name = [b'x' as std::ffi::c_char; 16]), INVAL, "no NUL");
    assert_eq!(with(|c| c.mac = [1, 0, 0, 0, 0, 0]), INVAL, "a group address");
    assert_eq!(with(|c| c.mac = [0; 6]), INVAL);
    assert_eq!(with(|c| c.queues = 0), INVAL);
    assert_eq!(with(|c| c.queues = 9), INVAL);
    assert_eq!(with(|c| c.ring_size = 100), INVAL);
    assert_eq!(with(|c| c.ring_size = 8192), INVAL);
    assert_eq!(with(|c| c.ring_size = 0), INVAL);
    assert_eq!(with(|c| c.mtu = 67), INVAL);
    assert_eq!(with(|c| c.mtu = 9001), INVAL);
    assert_eq!(with(|c| c.mtu_max = 16111), INVAL);
    let mut no_clock = ops(&glue);
    no_clock.clock.now_ns = None;
    assert_eq!(status(&good, &no_clock), INVAL);
    let mut wrong_size = ops(&glue);
    wrong_size.size -= 8;
    assert_eq!(status(&good, &wrong_size), sys::WEIR_E_VERSION);
    // SAFETY: null is what this is about.
    unsafe {
        assert_eq!(weir_create(null(), null(), null_mut()), INVAL);
        assert_eq!(weir_create(null(), &ops(&glue), &mut null_mut()), INVAL);
        assert_eq!(weir_create(&good, null(), &mut null_mut()), INVAL);
    }
    let (first, second) = (Station::new(&good), Station::new(&config(sys::WEIR_WIRE_PAIR, "create", B, 1)));
    assert_eq!(status(&good, &ops(&glue)), sys::WEIR_E_BUSY, "both ends of the pair are taken");
    first.close();
    second.close();
}

#[test]
fn queues_that_do_not_exist() {
    let mut station = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 2));
    let core = station.core.0;
    let pkt = station.queues[0].descriptor(&a_to_b(1, 2, 3));
    let mut out = burst(&[]);
    for queue in [2, 8, u32::MAX] {
        // SAFETY: a live core and descriptors.
        unsafe {
            assert_eq!(weir_rx_post(core, queue, &empty(&pkt), 1), 0);
            assert_eq!(weir_rx_space(core, queue), 0);
            assert_eq!(weir_rx_poll(core, queue, &mut out, 4, null_mut()), 0);
            assert_eq!(weir_tx_space(core, queue), 0);
            assert_eq!(weir_tx_submit(core, queue, &mut burst(&[pkt]), 1), 0);
            assert_eq!(weir_tx_reap(core, queue, out.pkts.as_mut_ptr(), 4), 0);
            assert_eq!(weir_arm(core, queue), 0);
        }
    }
    station.queues[0].keep(&pkt);
    assert_eq!(station.counters().misuse, 21);
    assert_eq!(station.control(sys::WEIR_CMD_COUNTERS, 2, &[]).0, INVAL);
    assert_eq!(station.control(sys::WEIR_CMD_COUNTERS, u64::MAX, &[]).0, INVAL);
    station.close();
}

#[test]
fn descriptors_without_a_cookie_or_a_buffer() {
    let mut station = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let core = station.core.0;
    let good = station.queues[0].descriptor(&a_to_b(1, 2, 3));
    let no_cookie = sys::weir_pkt { cookie: 0, ..good };
    let no_buffer = sys::weir_pkt { base: null_mut(), ..good };
    // SAFETY: a live core and descriptors.
    unsafe {
        assert_eq!(weir_tx_submit(core, 0, &mut burst(&[no_cookie, good]), 2), 0, "it ends the burst");
        assert_eq!(weir_rx_post(core, 0, [empty(&no_buffer), empty(&good)].as_ptr(), 2), 0);
        assert_eq!(weir_rx_post(core, 0, &sys::weir_empty { data_off: 4000, ..empty(&good) }, 1), 0);
    }
    assert_eq!(station.counters().misuse, 3);
    // A frame has a cookie to be completed under, so it is taken.
    assert_eq!(station.queues[0].submit_raw(&[no_buffer]), 1);
    settle(&mut [&mut station]);
    assert_eq!(station.completed(), [INVAL]);
    station.close();
}

#[test]
fn a_receive_buffer_that_is_no_good_ends_the_burst() {
    let mut station = Station::new(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let core = station.core.0;
    let no_buffer = sys::weir_pkt { base: null_mut(), ..station.queues[0].descriptor(&[]) };
    let empties: Vec<_> = (0..3).map(|_| station.queues[0].descriptor(&[])).collect();
    // SAFETY: a live core; the buffers stay where they are.
    unsafe {
        let pkts = [empties[0], empties[1], no_buffer, empties[2]].map(|pkt| empty(&pkt));
        assert_eq!(weir_rx_post(core, 0, pkts.as_ptr(), 4), 2, "those before it are taken");
    }
    [no_buffer, empties[2]].iter().for_each(|pkt| station.queues[0].keep(pkt));
    assert_eq!(station.counters().misuse, 1);
    station.enable();
    settle(&mut [&mut station]);
    station.close();
}

#[test]
fn frames_beyond_the_room_stay_as_they_are() {
    let mut station = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let frames: Vec<_> = (0..50).map(|n| a_to_b(1, 2, n)).collect();
    let queue = &mut station.queues[0];
    let mut cut = false;
    while queue.tx_space() > 0 {
        let space = queue.tx_space();
        assert_eq!(queue.submit(&frames), space.min(50));
        cut |= space < 50;
    }
    assert!(cut, "the last burst was cut");
    settle(&mut [&mut station]);
    station.close();
}

#[test]
fn numbers_beyond_a_burst_are_cut() {
    let mut station = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let pkts: Vec<_> = (0..100).map(|n| station.queues[0].descriptor(&a_to_b(1, 2, n))).collect();
    assert_eq!(station.queues[0].submit_raw(&pkts), 64);
    settle(&mut [&mut station]);
    station.close();
}

static NOSY_CORE: AtomicPtr<sys::weir_core> = AtomicPtr::new(null_mut());
static NOSY_ANSWERS: AtomicU64 = AtomicU64::new(0);

/// A clock that calls back into the queue that is just being served.
unsafe extern "C" fn nosy_clock(_ctx: *mut c_void) -> u64 {
    let core = NOSY_CORE.load(Ordering::SeqCst);
    if !core.is_null() {
        let mut out = burst(&[]);
        // SAFETY: a live core.
        let answers = unsafe {
            weir_tx_space(core, 0)
                + weir_rx_space(core, 0)
                + weir_rx_poll(core, 0, &mut out, 4, null_mut())
                + weir_tx_reap(core, 0, out.pkts.as_mut_ptr(), 4)
                + weir_arm(core, 0)
        };
        NOSY_ANSWERS.fetch_add(u64::from(answers), Ordering::SeqCst);
    }
    0
}

#[test]
fn entering_a_queue_twice_is_refused() {
    let glue = Glue::default();
    let mut ops = ops(&glue);
    ops.clock.now_ns = Some(nosy_clock);
    let mut core = null_mut();
    let config = config(sys::WEIR_WIRE_REFLECT, "", A, 1);
    // SAFETY: valid structs.
    unsafe {
        assert_eq!(weir_create(&config, &ops, &mut core), 0);
        assert_eq!(weir_enable(core, 1), 0);
    }
    let mut buffer = vec![0u8; 2048];
    let frame = a_to_b(1, 2, 3);
    buffer[..frame.len()].copy_from_slice(&frame);
    let mut pkt = zeroed_pkts()[0];
    (pkt.cookie, pkt.base, pkt.buf_len, pkt.len) = (1, buffer.as_mut_ptr(), 2048, frame.len() as u32);
    NOSY_CORE.store(core, Ordering::SeqCst);
    let mut out = zeroed_pkts();
    // SAFETY: a live core; the buffer lives until its cookie is back.
    unsafe {
        assert_eq!(weir_tx_submit(core, 0, &mut burst(&[pkt]), 1), 1);
        NOSY_CORE.store(null_mut(), Ordering::SeqCst);
        assert_eq!(NOSY_ANSWERS.load(Ordering::SeqCst), 0);
        assert_eq!(weir_tx_reap(core, 0, out.as_mut_ptr(), 4), 1);
        assert_eq!(out[0].cookie, 1);
    }
    let mut request = [1u32, sys::WEIR_CMD_COUNTERS, sys::WEIR_ALL_QUEUES, 0].map(u32::to_ne_bytes).concat();
    let mut counters = std::mem::MaybeUninit::<sys::weir_counters>::uninit();
    let mut len = 0;
    // SAFETY: a live core; the reply is a whole weir_counters when its length says so.
    unsafe {
        let resp = counters.as_mut_ptr().cast();
        let status =
            weir_control(core, request.as_mut_ptr().cast(), 16, resp, size_of::<sys::weir_counters>(), &mut len);
        assert_eq!((status, len), (0, size_of::<sys::weir_counters>()));
        // Ten refusals: five calls at each of the two readings of the clock.
        assert_eq!(counters.assume_init().misuse, 10);
        weir_destroy(core);
    }
}

#[test]
fn two_threads_on_one_queue_share_it_without_harm() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let core = a.core;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let core = &core;
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: a live core.
                let _ = unsafe { weir_arm(core.0, 0) + weir_tx_space(core.0, 0) + weir_rx_space(core.0, 0) };
            }
        });
        for n in 0..5000 {
            a.queues[0].submit(&[a_to_b(1, 2, n)]);
            a.queues[0].turn();
        }
        stop.store(true, Ordering::Relaxed);
    });
    settle(&mut [&mut a]);
    a.close();
}

#[test]
fn reclaiming_before_stopping_is_refused() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let mut out = zeroed_pkts();
    // SAFETY: a live core.
    assert_eq!(unsafe { weir_reclaim(a.core.0, 0, out.as_mut_ptr(), 4) }, 0);
    assert_eq!(a.counters().misuse, 1);
    // Stopping twice and starting twice is fine.
    a.disable();
    a.disable();
    a.enable();
    a.enable();
    a.close();
}

#[test]
fn destroying_with_packets_lent_is_logged() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    a.turn();
    // SAFETY: nobody else has the handle; the buffers outlive the core.
    unsafe { weir_destroy(a.core.0) };
    let log = a.glue.log.lock().unwrap();
    assert_eq!(log.last().map(String::as_str), Some("0 destroyed with 64 receive buffers and 0 frames not reclaimed"));
}

#[test]
fn commands_are_hostile() {
    let a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    assert_eq!(a.control(0, 0, &[]).0, sys::WEIR_E_UNSUPPORTED);
    assert_eq!(a.control(99, 0, &[]).0, sys::WEIR_E_UNSUPPORTED);
    assert_eq!(a.control(sys::WEIR_CMD_INFO, 0, &[0]).0, INVAL, "bytes behind the command");
    assert_eq!(a.control(sys::WEIR_CMD_HISTOGRAM, 4, &[]).0, INVAL);
    assert_eq!(a.control(sys::WEIR_CMD_MODE, u64::MAX, &[]).0, INVAL);
    let mut len = 7;
    // SAFETY: a live core and readable bytes.
    unsafe {
        let req = [1u32, sys::WEIR_CMD_INFO, 0, 0];
        assert_eq!(weir_control(a.core.0, req.as_ptr().cast(), 15, null_mut(), 0, &mut len), INVAL);
        let version = [2u32, sys::WEIR_CMD_INFO, 0, 0];
        assert_eq!(weir_control(a.core.0, version.as_ptr().cast(), 16, null_mut(), 0, &mut len), sys::WEIR_E_VERSION);
        assert_eq!(weir_control(a.core.0, req.as_ptr().cast(), usize::MAX, null_mut(), 0, &mut len), INVAL);
        assert_eq!(weir_control(a.core.0, req.as_ptr().cast(), 16, null_mut(), 8, &mut len), INVAL, "null with room");
        assert_eq!(weir_control(a.core.0, req.as_ptr().cast(), 16, null_mut(), 0, &mut len), sys::WEIR_E_NOSPACE);
    }
    assert_eq!(len, size_of::<sys::weir_info>(), "the needed size is told");
    a.close();
}

#[test]
fn a_refused_ruleset_leaves_the_running_one() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let blocks = ruleset(vec![rule(Action::Block, Direction::Out)]);
    assert_eq!(a.load(&blocks).epoch, 1);
    a.send(0, &[a_to_b(1, 2, 3)]);
    let mut broken = image::encode(&ruleset(vec![rule(Action::Pass, Direction::Out); 3]));
    broken[40] ^= 1;
    let (status, reply) = a.control(sys::WEIR_CMD_RULESET_LOAD, 0, &broken);
    assert_eq!((status, reply.len()), (sys::WEIR_E_IMAGE, size_of::<sys::weir_load_result>()));
    let number = |at: usize| u32::from_ne_bytes(reply[at..at + 4].try_into().unwrap());
    assert_eq!((number(0), number(8)), (1, 1), "epoch and rules of what runs");
    assert_eq!((number(12), number(16)), (image::ImageErrorKind::Checksum as u32, 16));
    assert!(reply[24..].starts_with(b"checksum does not fit\0"));
    assert_eq!(a.rule_counters(), [(1, 1, 60)], "still counting");
    // A load whose outcome could not be told does not happen.
    let mut request = [1u32, sys::WEIR_CMD_RULESET_LOAD, 0, 0].map(u32::to_ne_bytes).concat();
    request.extend_from_slice(&image::encode(&blocks));
    let mut len = 0;
    // SAFETY: a live core and readable bytes.
    let status = unsafe { weir_control(a.core.0, request.as_ptr().cast(), request.len(), null_mut(), 0, &mut len) };
    assert_eq!((status, len), (sys::WEIR_E_NOSPACE, size_of::<sys::weir_load_result>()));
    assert_eq!(a.ask::<sys::weir_info>(sys::WEIR_CMD_INFO, 0).ruleset_epoch, 1);
    settle(&mut [&mut a]);
    a.close();
}
