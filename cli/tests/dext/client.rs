//! The user client: permissions, sizes, the wire's memory, notifications, hostile callers.

use std::sync::{Arc, Mutex};

use weir_core::abi::sys;
use weir_host::port::Offload;
use weir_host::{Call, Completion, Host, IoReturn, Properties};

use crate::support::*;

fn status(client: &weir_host::UserClient, call: Call) -> IoReturn {
    client.call(call).map_or_else(|e| e, |reply| reply.status)
}

#[test]
fn anyone_reads_and_only_the_entitled_write() {
    let host = Host::new(strict(1));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let reader = nic.client(CONTROL_CLIENT, Properties::new()).unwrap();
    let (code, info) = command(&reader, command_bytes(sys::WEIR_CMD_INFO, 0, &[]), size_of::<sys::weir_info>());
    assert_eq!((code, info.len()), (0, size_of::<sys::weir_info>()));
    let name = String::from_utf8_lossy(&info);
    assert!(name.contains(&nic.port.info().bsd_name), "the core knows the interface's name");

    for number in [
        sys::WEIR_CMD_MODE,
        sys::WEIR_CMD_RULESET_LOAD,
        sys::WEIR_CMD_RULESET_CLEAR,
        sys::WEIR_CMD_EVENTS,
        0,
        12345,
        u32::MAX,
    ] {
        let reply = command_call(&reader, command_bytes(number, 0, &[]), 4096);
        assert_eq!(reply.status, IoReturn::NOT_PRIVILEGED, "command {number}");
    }
    let pull = Call { selector: SET_LINK, scalars: vec![0], ..Call::default() };
    assert_eq!(status(&reader, pull.clone()), IoReturn::NOT_PRIVILEGED);

    let refused = Properties::from([("dev.weir.control".to_owned(), false.into())]);
    let half = nic.client(CONTROL_CLIENT, refused).unwrap();
    assert_eq!(status(&half, pull.clone()), IoReturn::NOT_PRIVILEGED);
    let text = Properties::from([("dev.weir.control".to_owned(), "true".into())]);
    let odd = nic.client(CONTROL_CLIENT, text).unwrap();
    assert_eq!(status(&odd, pull.clone()), IoReturn::NOT_PRIVILEGED, "true is a boolean");

    let entitled = nic.client(CONTROL_CLIENT, writer()).unwrap();
    assert_eq!(status(&entitled, pull), IoReturn::SUCCESS);
    let (code, _) = command(&entitled, command_bytes(sys::WEIR_CMD_RULESET_CLEAR, 0, &[]), 256);
    assert_eq!(code, 0);
    // A refused ruleset: the call succeeds, the status and the reason come back.
    let bad = command_bytes(sys::WEIR_CMD_RULESET_LOAD, 0, &[0xee; 9000]);
    let (code, reply) = command(&entitled, bad, size_of::<sys::weir_load_result>());
    assert_eq!((code, reply.len()), (i64::from(sys::WEIR_E_IMAGE), size_of::<sys::weir_load_result>()));
    // Too little room: the size that is needed.
    let reply = command_call(&entitled, command_bytes(sys::WEIR_CMD_INFO, 0, &[]), 8);
    assert_eq!(reply.scalars, [i64::from(sys::WEIR_E_NOSPACE).cast_unsigned(), size_of::<sys::weir_info>() as u64]);
    for client in [reader, half, odd, entitled] {
        client.close();
    }
    nic.terminate();
    finish(host);
}

#[test]
fn sizes_are_checked_before_anything_else() {
    let host = Host::new(strict(2));
    let nic = Nic::up(&host, personality("client", &[]));
    let control = nic.client(CONTROL_CLIENT, writer()).unwrap();
    let wire = nic.client(WIRE_CLIENT, writer()).unwrap();
    let calls = [
        Call { selector: COMMAND, scalars_out: 2, output_max: 100, ..Call::default() },
        Call { selector: COMMAND, input: Some(vec![0; 15]), scalars_out: 2, ..Call::default() },
        Call { selector: COMMAND, input: Some(vec![0; 16]), scalars_out: 1, ..Call::default() },
        Call { selector: COMMAND, input: Some(vec![0; 16]), scalars_out: 2, scalars: vec![1], ..Call::default() },
        Call { selector: OPEN_WIRE, scalars_out: 0, ..Call::default() },
        Call { selector: OPEN_WIRE, scalars_out: 2, input: Some(vec![1]), ..Call::default() },
        Call { selector: KICK_WIRE, ..Call::default() },
        Call { selector: KICK_WIRE, scalars: vec![1], ..Call::default() },
        Call { selector: NOTIFY, ..Call::default() },
        Call { selector: NOTIFY, scalars: vec![1], ..Call::default() },
        Call { selector: NOTIFY, scalars: vec![16], async_reference: 1, ..Call::default() },
        Call { selector: NOTIFY, scalars: vec![0], async_reference: 1, ..Call::default() },
        Call { selector: SET_LINK, scalars: vec![2], ..Call::default() },
        Call { selector: SET_LINK, scalars: vec![], ..Call::default() },
        Call { selector: GLUE_COUNTERS, output_max: 1, ..Call::default() },
        Call { selector: OPEN_TAP, scalars_out: 2, ..Call::default() },
        Call { selector: OPEN_TAP, scalars_out: 2, input: Some(vec![0; 23]), ..Call::default() },
        Call { selector: OPEN_TAP, scalars_out: 1, input: Some(tap_request(8, 4096)), ..Call::default() },
        Call { selector: OPEN_TAP, scalars_out: 2, input: Some(vec![0; 40_000]), ..Call::default() },
        Call { selector: CLOSE_TAP, ..Call::default() },
        Call { selector: 8, ..Call::default() },
        Call { selector: u64::MAX, ..Call::default() },
    ];
    for call in calls {
        for client in [&control, &wire] {
            let code = status(client, call.clone());
            assert_ne!(code, IoReturn::SUCCESS, "{call:?}");
        }
    }
    assert!(control.map_memory(0).is_err(), "a control client has no wire");
    assert!(wire.map_memory(0).is_err(), "not opened yet");
    assert!(nic.client(2, writer()).is_err());
    control.close();
    wire.close();
    nic.terminate();
    finish(host);
}

#[test]
fn one_wire_client_at_a_time_and_death_frees_the_wire() {
    let host = Host::new(strict(3));
    let nic = Nic::up(&host, personality("client", &[("WeirQueues", 2u32.into())]));
    assert_eq!(nic.service.link().unwrap().status, 1, "no carrier without a client");
    let open = Call { selector: OPEN_WIRE, scalars_out: 2, ..Call::default() };
    let kick = Call { selector: KICK_WIRE, ..Call::default() };
    for _ in 0..10 {
        let first = nic.client(WIRE_CLIENT, writer()).unwrap();
        assert_eq!(status(&first, kick.clone()), IoReturn::NOT_OPEN);
        let reply = first.call(open.clone()).unwrap();
        assert_eq!(reply.status, IoReturn::SUCCESS);
        assert_eq!(reply.scalars[1], 2);
        assert_eq!(first.call(open.clone()).unwrap().scalars, reply.scalars, "again is no error");
        host.run_until_idle();
        assert_eq!(nic.service.link().unwrap().status, 3, "carrier");

        let second = nic.client(WIRE_CLIENT, writer()).unwrap();
        assert_eq!(status(&second, open.clone()), IoReturn::EXCLUSIVE_ACCESS);
        assert_eq!(status(&second, kick.clone()), IoReturn::NOT_OPEN);
        let poor = nic.client(WIRE_CLIENT, Properties::new()).unwrap();
        assert_eq!(status(&poor, open.clone()), IoReturn::NOT_PRIVILEGED);

        let map = first.map_memory(0).unwrap();
        assert!(map.length() >= reply.scalars[0]);
        let _ = nic.send(0, &arp_request(nic.mac()), Offload::default());
        host.run_until_idle();
        assert_eq!(status(&first, kick.clone()), IoReturn::SUCCESS);
        drop(map);
        // Frames in the rings, and the client dies.
        first.close();
        host.run_until_idle();
        assert_eq!(nic.service.link().unwrap().status, 1);
        assert_eq!(status(&second, open.clone()), IoReturn::SUCCESS);
        second.close();
        poor.close();
        host.run_until_idle();
    }
    nic.check();
    nic.terminate();
    finish(host);
}

#[test]
fn notifications_arrive_until_replaced() {
    let host = Host::new(strict(4));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let seen: Arc<Mutex<Vec<Completion>>> = Arc::default();
    let to = seen.clone();
    let sink = Arc::new(move |c: Completion| to.lock().unwrap().push(c));
    let client = nic.service.open_user_client(CONTROL_CLIENT, writer(), Some(sink)).unwrap();
    let watch = |mask: u64, reference: u64| {
        let call = Call { selector: NOTIFY, scalars: vec![mask], async_reference: reference, ..Call::default() };
        assert_eq!(status(&client, call), IoReturn::SUCCESS);
    };
    let plug = |up: u64| {
        let call = Call { selector: SET_LINK, scalars: vec![up], ..Call::default() };
        assert_eq!(status(&client, call), IoReturn::SUCCESS);
        host.run_until_idle();
    };
    let take = || -> Vec<(u64, Vec<u64>)> {
        std::mem::take(&mut *seen.lock().unwrap()).into_iter().map(|c| (c.reference, c.values)).collect()
    };
    plug(0);
    assert!(take().is_empty(), "nobody asked");
    watch(2, 0x11);
    plug(1);
    plug(0);
    assert_eq!(take(), [(0x11, vec![2, 1]), (0x11, vec![2, 0])]);
    watch(4, 0x22);
    plug(1);
    assert!(take().is_empty(), "replaced");
    let (code, _) = command(&client, command_bytes(sys::WEIR_CMD_MODE, 0, &[]), 0);
    assert_eq!(code, 0);
    host.run_until_idle();
    assert_eq!(take(), [(0x22, vec![4, 0])]);
    watch(0, 0);
    plug(0);
    assert!(take().is_empty());
    watch(15, 0x33);
    client.close();
    nic.terminate();
    assert!(take().is_empty());
    finish(host);
}

#[test]
fn a_thousand_connections() {
    let host = Host::new(strict(5));
    let nic = Nic::up(&host, personality("reflect", &[]));
    let clients: Vec<_> = (0..1000).map(|_| nic.client(CONTROL_CLIENT, writer()).unwrap()).collect();
    for client in &clients {
        let call = Call { selector: NOTIFY, scalars: vec![7], async_reference: 1, ..Call::default() };
        assert_eq!(status(client, call), IoReturn::SUCCESS);
    }
    let call = Call { selector: SET_LINK, scalars: vec![0], ..Call::default() };
    assert_eq!(status(&clients[0], call), IoReturn::SUCCESS);
    host.run_until_idle();
    // The first half goes by itself, the NIC takes the rest down.
    for client in clients.into_iter().take(500) {
        client.close();
    }
    nic.check();
    nic.terminate();
    finish(host);
}

#[test]
fn no_call_of_a_hostile_client_brings_the_driver_down() {
    // xorshift64*: a fixed stream per seed.
    fn next(state: &mut u64) -> u64 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    let seconds = std::env::var("WEIR_HOSTILE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    for seed in (1..).take_while(|seed| *seed <= 8u64 || std::time::Instant::now() < end) {
        let host = Host::new(strict(seed));
        let nic = Nic::up(&host, personality("client", &[("WeirQueues", 2u32.into())]));
        let mut state = seed;
        for round in 0..60 {
            let kind = (next(&mut state) % 2) as u32;
            let rights = if next(&mut state).is_multiple_of(4) { Properties::new() } else { writer() };
            let client = nic.client(kind, rights).unwrap();
            for _ in 0..20 {
                let r = next(&mut state);
                let len = (next(&mut state) % 10_000) as usize;
                let mut input: Vec<u8> = (0..len).map(|_| next(&mut state) as u8).collect();
                if r & 0x100 != 0 && len >= 16 {
                    let number = (next(&mut state) % 44) as u32;
                    let head = command_bytes(number, next(&mut state) % 40, &[]);
                    input[..16].copy_from_slice(&head);
                }
                if r & 0x1000 != 0 {
                    // A tap that could be, with a program that could not.
                    let kinds = next(&mut state) as u32 & 0xf;
                    let mut request = tap_request(kinds, 1 << (next(&mut state) % 16));
                    let instructions = (next(&mut state) % 5) as u32;
                    request[16..20].copy_from_slice(&instructions.to_ne_bytes());
                    request.extend((0..instructions * 8).map(|_| next(&mut state) as u8));
                    input = request;
                }
                let call = Call {
                    selector: if r & 0xf0 == 0 { next(&mut state) } else { r % 8 },
                    scalars: (0..(r >> 16) % 3).map(|_| next(&mut state) % 9).collect(),
                    input: (r & 0x200 != 0).then_some(input),
                    scalars_out: if r & 0x400 != 0 { 2 } else { (r >> 20) as u32 % 3 },
                    output_max: if r & 0x800 != 0 { 112 } else { next(&mut state) % 70_000 },
                    async_reference: (r >> 24) % 2,
                };
                let _ = client.call(call);
                for map in (0..2).filter_map(|kind| client.map_memory(kind).ok()) {
                    // The rings are the client's to ruin.
                    let noise: Vec<u8> = (0..256).map(|_| next(&mut state) as u8).collect();
                    let at = next(&mut state) % map.length().saturating_sub(256).max(1);
                    scribble(&map, at, &noise);
                }
                let _ = nic.send((r % 2) as usize, &arp_request(nic.mac()), Offload::default());
                host.run_until_idle();
            }
            if round % 3 == 0 { drop(client) } else { client.close() }
        }
        let glue = nic.glue_counters();
        assert_eq!(glue.in_flight(), nic.glue_counters().in_flight(), "seed {seed}");
        nic.terminate();
        finish(host);
    }
}

/// Writes into shared memory behind the driver's back, as a client's process would.
fn scribble(map: &weir_host::mem::Map, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let memory = std::fs::OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
    memory.write_all_at(bytes, map.address() + at).unwrap();
}
