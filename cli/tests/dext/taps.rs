//! Clients that watch: what they are shown, what a slow one loses, what a hostile one cannot do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weir_core::abi::sys;
use weir_core::mem::tap_ring::{RecordHead, TapMemory, TapVerdict};
use weir_host::mem::Map;
use weir_host::port::Offload;
use weir_host::{Call, Completion, Host, HostConfig, IoReturn, Properties, UserClient};
use weir_pf::{Options, Source};

use crate::support::*;

const FRAMES: u32 = sys::WEIR_TAP_IN | sys::WEIR_TAP_OUT;

fn open_call(request: Vec<u8>) -> Call {
    Call { selector: OPEN_TAP, input: Some(request), scalars_out: 2, ..Call::default() }
}

fn open(client: &UserClient, request: Vec<u8>) -> Result<Map, IoReturn> {
    let reply = client.call(open_call(request)).unwrap();
    reply.status.ok()?;
    let map = client.map_memory(1)?;
    assert!(map.length() >= reply.scalars[0]);
    Ok(map)
}

fn records(map: &Map) -> Vec<(RecordHead, u64, Vec<u8>)> {
    let mut all = Vec::new();
    for mut ring in TapMemory::open(map.shared().unwrap()).unwrap().rings {
        let mut bytes = Vec::new();
        while let Some((head, lost)) = ring.next(&mut bytes).unwrap() {
            all.push((head, lost, bytes.clone()));
        }
    }
    all
}

fn load(client: &UserClient, rules: &str) {
    let source = Source { name: "rules".to_owned(), text: rules.to_owned() };
    let loaded = weir_pf::load(&source, &Options::default()).unwrap();
    let image = weir_core::filter::image::encode(&loaded.ruleset);
    let (code, _) = command(client, command_bytes(sys::WEIR_CMD_RULESET_LOAD, 0, &image), 256);
    assert_eq!(code, 0);
}

#[test]
fn frames_are_shown_with_what_became_of_them() {
    let host = Host::new(strict(40));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let client = nic.client(CONTROL_CLIENT, writer()).unwrap();
    load(&client, "pass all no state\nblock out quick proto icmp\n");
    let watcher = nic.client(CONTROL_CLIENT, writer()).unwrap();
    let map = open(&watcher, tap_request(FRAMES, 1 << 16)).unwrap();
    let far = resolve(&host, &nic);
    let echo = ping(far, nic.mac(), 1, 56);
    assert!(nic.send(0, &echo, Offload::default()));
    host.run_until_idle();
    let seen = records(&map);
    let short: Vec<_> = seen.iter().map(|(h, _, _)| (h.direction, h.verdict, h.rule)).collect();
    assert_eq!(
        short,
        [(2, TapVerdict::Pass, u32::MAX), (1, TapVerdict::Pass, u32::MAX), (2, TapVerdict::Block, 1)],
        "request and reply of ARP, which no rule is about, and the ping"
    );
    assert_eq!(seen[2].2, echo);
    assert_eq!(seen[2].0.reason, sys::WEIR_DROP_MATCH as u8);
    assert!(seen[0].0.time_ns <= seen[2].0.time_ns);

    let (code, reply) = command(&client, command_bytes(sys::WEIR_CMD_TAPS, 0, &[]), 4096);
    assert_eq!((code, reply.len()), (0, 8 * size_of::<sys::weir_tap_info>()));
    let taps: Vec<u64> = reply.chunks_exact(8).map(|c| u64::from_ne_bytes(c.try_into().unwrap())).collect();
    let used: Vec<_> = taps.chunks_exact(4).filter(|tap| tap[0] != 0).collect();
    assert_eq!(used, [[u64::from(FRAMES), 3, 3, 0]]);
    watcher.close();
    assert!(nic.send(0, &echo, Offload::default()));
    host.run_until_idle();
    let (_, reply) = command(&client, command_bytes(sys::WEIR_CMD_TAPS, 0, &[]), 4096);
    assert!(reply.chunks_exact(32).all(|tap| tap[..4] == [0; 4]), "nobody watches any more");
    drop(map);
    client.close();
    nic.check();
    nic.terminate();
    finish(host);
}

#[test]
fn a_filter_program_and_a_length_say_how_much_is_kept() {
    let host = Host::new(strict(41));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let watcher = nic.client(CONTROL_CLIENT, writer()).unwrap();
    // As `tcpdump -dd arp` prints it.
    let program = [(0x28u16, 0u8, 0u8, 12u32), (0x15, 0, 1, 0x0806), (0x6, 0, 0, 262_144), (0x6, 0, 0, 0)];
    let mut request: Vec<u8> = [sys::WEIR_ABI_VERSION, FRAMES, 20, 4096, program.len() as u32, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    for (code, jt, jf, k) in program {
        request.extend(code.to_ne_bytes());
        request.extend([jt, jf]);
        request.extend(k.to_ne_bytes());
    }
    let map = open(&watcher, request.clone()).unwrap();
    let far = resolve(&host, &nic);
    assert!(nic.send(0, &ping(far, nic.mac(), 1, 56), Offload::default()));
    host.run_until_idle();
    let seen = records(&map);
    assert_eq!(seen.len(), 2, "the two of ARP");
    for (head, _, bytes) in &seen {
        assert!(bytes.len() == 20 && head.frame_len >= 42 && bytes[12..14] == [8, 6]);
    }
    // A program that jumps out of itself.
    request[24 + 8 + 3] = 9;
    let other = nic.client(CONTROL_CLIENT, writer()).unwrap();
    assert_eq!(open(&other, request).err(), Some(IoReturn::BAD_ARGUMENT));
    watcher.close();
    other.close();
    drop(map);
    nic.terminate();
    finish(host);
}

#[test]
fn who_does_not_read_loses_records_and_stalls_nobody() {
    let host = Host::new(strict(42));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let watcher = nic.client(CONTROL_CLIENT, writer()).unwrap();
    let map = open(&watcher, tap_request(FRAMES, 4096)).unwrap();
    let far = resolve(&host, &nic);
    for sequence in 0..100 {
        assert!(nic.send(0, &ping(far, nic.mac(), sequence, 56), Offload::default()));
        host.run_until_idle();
    }
    assert_eq!(nic.take().len(), 100, "every echo was answered");
    let mut ring = TapMemory::open(map.shared().unwrap()).unwrap().rings.remove(0);
    let lost = ring.lost();
    let mut bytes = Vec::new();
    let mut kept = 0;
    while ring.next(&mut bytes).unwrap().is_some() {
        kept += 1;
    }
    assert_eq!(kept + lost, 202, "{kept} kept");
    assert!(lost > 100);
    // Room again, and the next record says what is missing.
    assert!(nic.send(0, &ping(far, nic.mac(), 200, 56), Offload::default()));
    host.run_until_idle();
    let (_, gap) = ring.next(&mut bytes).unwrap().unwrap();
    assert_eq!(gap, lost);
    watcher.close();
    drop(map);
    nic.check();
    nic.terminate();
    finish(host);
}

#[test]
fn copies_are_what_a_rule_with_dup_to_matched() {
    let host = Host::new(strict(43));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let client = nic.client(CONTROL_CLIENT, writer()).unwrap();
    load(&client, "pass all no state\npass out dup-to (en9 192.0.2.50) proto icmp all keep state\n");
    let watcher = nic.client(CONTROL_CLIENT, writer()).unwrap();
    let map = open(&watcher, tap_request(FRAMES | sys::WEIR_TAP_COPIES, 1 << 16)).unwrap();
    let far = resolve(&host, &nic);
    for sequence in 1..=3 {
        assert!(nic.send(0, &ping(far, nic.mac(), sequence, 56), Offload::default()));
        host.run_until_idle();
    }
    let seen = records(&map);
    assert_eq!(seen.len(), 6, "requests and replies of the state, nothing of ARP");
    assert!(seen.iter().all(|(head, _, bytes)| head.flags == 1 && bytes[23] == 1));
    watcher.close();
    client.close();
    drop(map);
    nic.terminate();
    finish(host);
}

#[test]
fn anyone_may_watch_events_and_readers_leave_taps_for_the_entitled() {
    let host = Host::new(strict(44));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let reader = nic.client(CONTROL_CLIENT, Properties::new()).unwrap();
    assert_eq!(open(&reader, tap_request(FRAMES, 4096)).err(), Some(IoReturn::NOT_PRIVILEGED));
    let map = open(&reader, tap_request(sys::WEIR_TAP_EVENTS, 4096)).unwrap();
    let again = reader.call(open_call(tap_request(sys::WEIR_TAP_EVENTS, 4096))).unwrap();
    assert_ne!(again.status, IoReturn::SUCCESS, "one in a client's life");

    let mut others: Vec<_> = (0..3).map(|_| nic.client(CONTROL_CLIENT, Properties::new()).unwrap()).collect();
    for other in &others {
        open(other, tap_request(sys::WEIR_TAP_EVENTS, 4096)).unwrap();
    }
    let late = nic.client(CONTROL_CLIENT, Properties::new()).unwrap();
    assert_eq!(open(&late, tap_request(sys::WEIR_TAP_EVENTS, 4096)).err(), Some(IoReturn::NO_RESOURCES));
    let entitled: Vec<_> = (0..4).map(|_| nic.client(CONTROL_CLIENT, writer()).unwrap()).collect();
    for client in &entitled {
        open(client, tap_request(FRAMES, 4096)).unwrap();
    }
    let fifth = nic.client(CONTROL_CLIENT, writer()).unwrap();
    assert_eq!(open(&fifth, tap_request(FRAMES, 4096)).err(), Some(IoReturn::NO_RESOURCES));
    others.pop().unwrap().close();
    open(&fifth, tap_request(FRAMES, 4096)).unwrap();

    load(&fifth, "pass all no state\nblock out log quick proto icmp\n");
    let far = resolve(&host, &nic);
    assert!(nic.send(0, &ping(far, nic.mac(), 1, 56), Offload::default()));
    host.run_until_idle();
    let seen = records(&map);
    let kinds: Vec<_> = seen.iter().map(|(_, _, event)| u32::from_ne_bytes(event[8..12].try_into().unwrap())).collect();
    assert_eq!(kinds, [sys::WEIR_EVENT_LOG, sys::WEIR_EVENT_RULESET], "a shard's ring, then the one for the rest");
    assert!(seen.iter().all(|(_, _, event)| event.len() == size_of::<sys::weir_event>()));
    // Watching takes nothing from who polls.
    let (code, polled) = command(&fifth, command_bytes(sys::WEIR_CMD_EVENTS, 0, &[]), 4096);
    assert_eq!((code, polled.len()), (0, 2 * size_of::<sys::weir_event>()));
    drop(map);
    for client in others.into_iter().chain(entitled).chain([reader, late, fifth]) {
        client.close();
    }
    nic.terminate();
    finish(host);
}

#[test]
fn a_watcher_that_sleeps_is_told() {
    let host = Host::new(strict(45));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let seen: Arc<Mutex<Vec<Completion>>> = Arc::default();
    let to = seen.clone();
    let sink = Arc::new(move |c: Completion| to.lock().unwrap().push(c));
    let watcher = nic.service.open_user_client(CONTROL_CLIENT, writer(), Some(sink)).unwrap();
    let call = Call { selector: NOTIFY, scalars: vec![8], async_reference: 5, ..Call::default() };
    assert_eq!(watcher.call(call).unwrap().status, IoReturn::SUCCESS);
    let map = open(&watcher, tap_request(FRAMES, 1 << 16)).unwrap();
    let mut ring = TapMemory::open(map.shared().unwrap()).unwrap().rings.remove(0);
    let far = resolve(&host, &nic);
    assert!(seen.lock().unwrap().is_empty(), "it did not ask");
    let mut bytes = Vec::new();
    while ring.next(&mut bytes).unwrap().is_some() {}
    assert!(!ring.wait());
    for sequence in 0..3 {
        assert!(nic.send(0, &ping(far, nic.mac(), sequence, 56), Offload::default()));
        host.run_until_idle();
    }
    let told: Vec<_> = seen.lock().unwrap().iter().map(|c| (c.reference, c.values.clone())).collect();
    assert_eq!(told, [(5, vec![8, 0])], "once, until it asks again");
    assert!(ring.wait(), "there is something");
    watcher.close();
    drop(map);
    nic.terminate();
    finish(host);
}

/// Threads scribble over the rings while frames pass, clients come and die; `WEIR_HOSTILE_SECONDS` for longer.
#[test]
fn memory_that_changes_under_the_driver_costs_nobody_else_anything() {
    let seconds: u64 = std::env::var("WEIR_HOSTILE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    let host = Host::new(HostConfig { strict_leaks: true, ..HostConfig::threads() });
    let nic = Nic::up(&host, personality("client", &[("WeirQueues", 2u32.into())]));
    let stop = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(seconds);
    let scribbled = std::thread::scope(|scope| {
        let attackers: Vec<_> = (1..=2u64)
            .map(|seed| {
                let (nic, stop) = (&nic, &stop);
                scope.spawn(move || attack(nic, seed, stop))
            })
            .collect();
        let mut sent = 0u64;
        while Instant::now() < end {
            let _ = nic.send((sent % 2) as usize, &arp_request(nic.mac()), Offload::default());
            sent += 1;
            let _ = nic.take();
            if sent.is_multiple_of(64) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        stop.store(true, Ordering::Relaxed);
        attackers.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    });
    assert!(scribbled > 0);
    nic.check();
    nic.terminate();
    finish(host);
}

fn attack(nic: &Nic, seed: u64, stop: &AtomicBool) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut writes = 0;
    while !stop.load(Ordering::Relaxed) {
        let kind = (next() % 2) as u32;
        let Ok(client) = nic.client(kind, writer()) else { continue };
        let _ = client.call(open_call(tap_request(FRAMES, 1 << 12)));
        let _ = client.call(Call { selector: OPEN_WIRE, scalars_out: 2, ..Call::default() });
        let maps: Vec<_> = (0..2).filter_map(|kind| client.map_memory(kind).ok()).collect();
        for round in 0..next() % 20_000 {
            for map in &maps {
                let Some(memory) = map.shared() else { continue };
                // The headers and indices first of all, then anything.
                let at = next() as usize % if round % 2 == 0 { 2048.min(memory.len()) } else { memory.len() };
                let value = match next() % 3 {
                    0 => next() as u32,
                    1 => (next() % 64) as u32,
                    _ => memory.load_u32(at & !3, Ordering::Relaxed).unwrap_or(0).wrapping_add(1),
                };
                memory.store_u32(at & !3, value, Ordering::Relaxed);
                writes += 1;
            }
            if round % 1000 == 0 {
                let _ = client.call(Call { selector: KICK_WIRE, ..Call::default() });
            }
        }
        // It dies with its memory mapped, or goes in order.
        if next() % 2 == 0 { drop(client) } else { client.close() }
    }
    writes
}
