//! Settings and commands, as a user client sees them.

mod common;

use common::frames::*;
use common::{Station, config, settle};
use weir_core::abi::sys;
use weir_core::abi::*;
use weir_core::filter::{Action, AddrKind, AddrMatch, Call, Direction, Rule, Ruleset, StateMode, StateOptions, Table};

fn text(bytes: &[std::ffi::c_char]) -> String {
    bytes.iter().take_while(|c| **c != 0).map(|c| char::from(c.cast_unsigned())).collect()
}

#[test]
fn info_tells_the_state() {
    let mut a = Station::new(&config(sys::WEIR_WIRE_REFLECT, "", A, 3));
    let info: sys::weir_info = a.ask(sys::WEIR_CMD_INFO, 0);
    assert_eq!((info.abi_version, info.queues, info.mode, info.mtu), (1, 3, sys::WEIR_MODE_FILTER, 1500));
    assert_eq!((info.ruleset_epoch, info.rules, info.enabled, info.promiscuous), (0, 0, 0, 0));
    assert_eq!((info.mac, info.multicast_count, text(&info.if_name)), (A, 0, String::new()));
    assert_eq!(text(&info.version), env!("CARGO_PKG_VERSION"));
    a.enable();
    let groups = [[1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]];
    // SAFETY: a live core and valid arguments.
    unsafe {
        let core = a.core.0;
        assert_eq!(weir_set_promiscuous(core, 1), 0);
        assert_eq!(weir_set_multicast(core, groups.as_ptr(), 2), 0);
        assert_eq!(weir_set_mtu(core, 9000), 0);
        assert_eq!(weir_set_mtu(core, 9001), sys::WEIR_E_INVAL);
        assert_eq!(weir_set_mac(core, B.as_ptr()), 0);
        assert_eq!(weir_set_mac(core, [1u8, 2, 3, 4, 5, 6].as_ptr()), sys::WEIR_E_INVAL);
        assert_eq!(weir_set_if_name(core, c"en12".as_ptr()), 0);
        assert_eq!(weir_set_if_name(core, c"a name of sixteen".as_ptr()), sys::WEIR_E_INVAL);
        assert_eq!(weir_set_if_name(core, c"en 0".as_ptr()), sys::WEIR_E_INVAL);
        assert_eq!(weir_set_offloads(core, sys::WEIR_OFFLOAD_TX_CSUM), 0);
        assert_eq!(weir_set_offloads(core, 1 << 31), sys::WEIR_E_UNSUPPORTED);
        let mut mac = [0; 6];
        assert_eq!((weir_get_mac(core, mac.as_mut_ptr()), mac), (0, B));
    }
    let info: sys::weir_info = a.ask(sys::WEIR_CMD_INFO, 0);
    assert_eq!((info.mtu, info.enabled, info.promiscuous, info.multicast_count), (9000, 1, 1, 2));
    assert_eq!((info.mac, text(&info.if_name), info.offloads), (B, "en12".into(), sys::WEIR_OFFLOAD_TX_CSUM));
    assert_eq!(info.link.up, 1);
    let many = vec![[1, 0, 0, 0, 0, 0]; 257];
    // SAFETY: a live core and valid arguments.
    assert_eq!(unsafe { weir_set_multicast(a.core.0, many.as_ptr(), 257) }, 0);
    assert_eq!(a.ask::<sys::weir_info>(sys::WEIR_CMD_INFO, 0).multicast_count, 0, "all of them instead");
    a.close();
}

#[test]
fn all_multicast_stays_as_long_as_anyone_wants_it() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "allmulti", A, 1));
    let mut b = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "allmulti", B, 1));
    let core = b.core.0;
    let mut arrives = |b: &mut Station| {
        a.send(0, &[udp(A, [1, 0, 0x5e, 1, 2, 3], ([10, 0, 0, 1], [224, 1, 2, 3]), (1, 2), 0)]);
        settle(&mut [&mut a, b]);
        b.received().len() == 1
    };
    let few = [[1, 0, 0x5e, 0, 0, 1]];
    let many = vec![[1, 0, 0, 0, 0, 0]; 257];
    // SAFETY: a live core and valid arguments.
    let (all, list) = (
        |on| unsafe { weir_set_all_multicast(core, on) },
        |list: &[[u8; 6]]| unsafe { weir_set_multicast(core, list.as_ptr(), list.len() as u32) },
    );
    assert!(!arrives(&mut b));
    assert_eq!(all(1), 0);
    assert_eq!(list(&few), 0);
    assert!(arrives(&mut b), "a list does not take back what was asked for");
    assert_eq!(list(&many), 0);
    assert_eq!(all(0), 0);
    assert!(arrives(&mut b), "the list is still too long");
    assert_eq!(list(&few), 0);
    assert!(!arrives(&mut b));
    a.close();
    b.close();
}

#[test]
fn the_link_follows_the_cable_and_the_far_end() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "link", A, 1));
    let link = |station: &Station| {
        let mut link = sys::weir_link { up: 7, full_duplex: 7, speed_bps: 7 };
        // SAFETY: a live core.
        assert_eq!(unsafe { weir_link_get(station.core.0, &mut link) }, 0);
        link.up
    };
    assert_eq!(link(&a), 0);
    let mut b = Station::enabled(&config(sys::WEIR_WIRE_PAIR, "link", B, 1));
    assert_eq!((link(&a), link(&b)), (1, 1));
    let before = a.events().iter().filter(|event| event.kind == sys::WEIR_EVENT_LINK).count();
    assert!(before > 0);
    // SAFETY: a live core.
    assert_eq!(unsafe { weir_link_set(b.core.0, 0) }, 0);
    assert_eq!((link(&a), link(&b)), (0, 0));
    a.send(0, &[a_to_b(1, 2, 3)]);
    settle(&mut [&mut a, &mut b]);
    assert_eq!(a.completed(), [sys::WEIR_E_NODEV]);
    // SAFETY: a live core.
    assert_eq!(unsafe { weir_link_set(b.core.0, 1) }, 0);
    assert_eq!((link(&a), link(&b)), (1, 1));
    b.close();
    assert_eq!(link(&a), 0);
    a.close();
}

#[test]
fn rules_are_told_in_their_normal_form_page_by_page() {
    let a = Station::new(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let rules: Vec<_> = (0..3000)
        .map(|n| Rule { text: format!("pass in all label {n:064}"), ..rule(Action::Pass, Direction::In) })
        .collect();
    let expected: Vec<_> = rules.iter().map(|rule| rule.text.clone()).collect();
    a.load(&ruleset(rules));
    let mut lines: Vec<String> = Vec::new();
    let mut counters = 0;
    loop {
        let (status, reply) = a.control(sys::WEIR_CMD_RULESET_TEXT, lines.len() as u64, &[]);
        assert_eq!(status, sys::WEIR_OK);
        if reply.is_empty() {
            break;
        }
        assert_eq!(reply.last(), Some(&b'\n'));
        lines.extend(String::from_utf8(reply).unwrap().lines().map(String::from));
    }
    assert_eq!(lines, expected);
    loop {
        let (status, reply) = a.control(sys::WEIR_CMD_RULE_COUNTERS, counters, &[]);
        assert_eq!((status, reply.len() % 32), (sys::WEIR_OK, 0));
        if reply.is_empty() {
            break;
        }
        counters += reply.len() as u64 / 32;
    }
    assert_eq!(counters, 3000);
    assert_eq!(a.control(sys::WEIR_CMD_RULESET_TEXT, u64::MAX, &[]), (sys::WEIR_OK, vec![]));
    assert_eq!(a.control(sys::WEIR_CMD_RULESET_CLEAR, 0, &[]).0, sys::WEIR_OK);
    assert_eq!(a.control(sys::WEIR_CMD_RULESET_TEXT, 0, &[]), (sys::WEIR_OK, vec![]));
    let info: sys::weir_info = a.ask(sys::WEIR_CMD_INFO, 0);
    assert_eq!((info.ruleset_epoch, info.rules), (2, 0));
    let loads = a.events().iter().map(|event| (event.kind, event.rule, event.reason)).collect::<Vec<_>>();
    assert_eq!(loads, [(sys::WEIR_EVENT_RULESET, 3000, 1), (sys::WEIR_EVENT_RULESET, 0, 2)]);
    a.close();
}

#[test]
fn rules_for_an_interface_wait_for_its_name() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    a.load(&ruleset(vec![Rule { interface: "en".into(), ..rule(Action::Block, Direction::Out) }]));
    a.send(0, &[a_to_b(1, 2, 3)]);
    settle(&mut [&mut a]);
    // SAFETY: a live core.
    assert_eq!(unsafe { weir_set_if_name(a.core.0, c"en7".as_ptr()) }, 0);
    a.send(0, &[a_to_b(1, 2, 3)]);
    settle(&mut [&mut a]);
    assert_eq!(a.completed(), [0, sys::WEIR_E_DROPPED]);
    assert_eq!(a.rule_counters(), [(2, 1, 60)], "one set of counters before and after");
    a.close();
}

#[test]
fn a_wire_client_needs_memory_of_the_right_kind() {
    let a = Station::enabled(&config(sys::WEIR_WIRE_CLIENT, "", A, 1));
    let core = a.core.0;
    // SAFETY: a live core; the memory outlives the attachment.
    unsafe {
        let size = weir_wire_size(core);
        assert!(size > 0);
        let mut mem = vec![0u64; size as usize / 8 + 1];
        let at = mem.as_mut_ptr().cast::<u8>();
        assert_eq!(weir_wire_detach(core), sys::WEIR_E_STATE);
        assert_eq!(weir_wire_attach(core, std::ptr::null_mut(), size), sys::WEIR_E_INVAL);
        assert_eq!(weir_wire_attach(core, at.wrapping_add(4), size), sys::WEIR_E_INVAL);
        assert_eq!(weir_wire_attach(core, at, size - 1), sys::WEIR_E_NOMEM);
        assert_eq!(weir_wire_attach(core, at, size), 0);
        assert_eq!(weir_wire_attach(core, at, size), sys::WEIR_E_BUSY);
        assert_eq!(weir_wire_kick(core), 0);
        assert_eq!(weir_wire_detach(core), 0);
    }
    a.close();
    let reflecting = Station::new(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    // SAFETY: a live core.
    unsafe {
        assert_eq!(weir_wire_size(reflecting.core.0), 0);
        assert_eq!(weir_wire_kick(reflecting.core.0), sys::WEIR_E_UNSUPPORTED);
        assert_eq!(weir_wire_detach(reflecting.core.0), sys::WEIR_E_UNSUPPORTED);
    }
    reflecting.close();
}

/// A request with a path and what follows.
fn named(path: &str, rest: &[u8]) -> Vec<u8> {
    [&(path.len() as u32).to_ne_bytes(), path.as_bytes(), rest].concat()
}

/// One host as `weir_table_entry`.
fn entry(addr: [u8; 4]) -> Vec<u8> {
    [&addr[..], &[0; 12], &[4, 32, 0, 0]].concat()
}

#[test]
fn tables_change_while_traffic_runs() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let mut block = rule(Action::Block, Direction::Out);
    block.dst.addr = AddrMatch { kind: AddrKind::Table, ..AddrMatch::default() };
    let table = Table { name: "bad".into(), persist: true, ..Table::default() };
    a.load(&Ruleset::filter(vec![block], vec![table]));
    let sent = |a: &mut Station| {
        a.send(0, &[a_to_b(7, 8, 1)]);
        settle(&mut [a]);
        a.completed()
    };
    assert_eq!(sent(&mut a), [0]);
    let change = |a: &mut Station, how: u32, entries: &[u8]| {
        let (status, reply) = a.control(sys::WEIR_CMD_TABLE_CHANGE, u64::from(how), &named("bad", entries));
        (status, reply.chunks_exact(4).map(|n| u32::from_ne_bytes(n.try_into().unwrap())).collect::<Vec<_>>())
    };
    let both = [entry([10, 0, 0, 2]), entry([10, 0, 0, 9])].concat();
    assert_eq!(change(&mut a, sys::WEIR_TABLE_ADD, &both), (0, vec![2, 0, 0, 2]));
    assert_eq!(sent(&mut a), [sys::WEIR_E_DROPPED]);
    let (_, answers) = a.control(sys::WEIR_CMD_TABLE_TEST, 0, &named("bad", &both));
    assert_eq!(answers, [1, 1]);
    assert_eq!(change(&mut a, sys::WEIR_TABLE_DELETE, &entry([10, 0, 0, 2])), (0, vec![0, 1, 0, 1]));
    assert_eq!(sent(&mut a), [0]);
    let (_, list) = a.control(sys::WEIR_CMD_TABLES, 0, &[]);
    assert_eq!(list, b"bad 1 persist\n");
    let (_, shown) = a.control(sys::WEIR_CMD_TABLE_SHOW, 0, &named("bad", &[]));
    assert_eq!(shown, entry([10, 0, 0, 9]));
    assert_eq!(change(&mut a, sys::WEIR_TABLE_REPLACE, &[]), (0, vec![0, 1, 0, 0]));
    assert_eq!(a.control(sys::WEIR_CMD_TABLE_SHOW, 0, &named("good", &[])).0, sys::WEIR_E_INVAL);
    assert_eq!(a.control(sys::WEIR_CMD_TABLE_CHANGE, 0, &named("bad", &[1; 19])).0, sys::WEIR_E_INVAL);
    a.close();
}

#[test]
fn states_are_listed_and_killed() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let block = rule(Action::Block, Direction::Any);
    let state = StateOptions { mode: StateMode::Keep, ..StateOptions::default() };
    let pass = Rule { state, labels: vec!["out".into()], ..rule(Action::Pass, Direction::Out) };
    a.load(&Ruleset::filter(vec![block, pass], vec![]));
    // No rule of these sees ARP.
    a.send(0, &[arp_request()]);
    settle(&mut [&mut a]);
    let far = a.received()[0][6..12].try_into().unwrap();
    let ping = |port| udp(A, far, ([10, 0, 0, 1], [10, 0, 0, 2]), (port, 7), 1);
    a.send(0, &[ping(7), ping(9)]);
    settle(&mut [&mut a]);
    assert_eq!(a.received().len(), 2, "the echo of both comes back through their states");
    let list = |a: &mut Station| {
        assert_eq!(a.control(sys::WEIR_CMD_STATES_LIST, 0, &[]).0, 0);
        settle(&mut [a]);
        a.control(sys::WEIR_CMD_STATES, 0, &[]).1
    };
    let states = list(&mut a);
    assert_eq!(states.len(), 2 * size_of::<sys::weir_state>());
    // SAFETY: the reply is as long as the structs, which are plain numbers.
    let first = unsafe { states.as_ptr().cast::<sys::weir_state>().read_unaligned() };
    assert_eq!((first.packets, first.rule, first.direction, first.protocol), ([1, 1], 1, 2, 17));
    let status: sys::weir_filter_status = a.ask(sys::WEIR_CMD_STATUS, 0);
    assert_eq!((status.states, status.timeouts[2]), (2, 86400));
    let mut filter = [0u8; 112];
    filter[..8].copy_from_slice(&first.id.to_ne_bytes());
    assert_eq!(a.control(sys::WEIR_CMD_STATES_KILL, 0, &filter).0, 0);
    settle(&mut [&mut a]);
    assert_eq!(list(&mut a).len(), size_of::<sys::weir_state>());
    filter[..8].fill(0);
    filter[48..51].copy_from_slice(b"out");
    assert_eq!(a.control(sys::WEIR_CMD_STATES_KILL, 0, &filter).0, 0);
    settle(&mut [&mut a]);
    assert_eq!(list(&mut a).len(), 0);
    a.close();
}

#[test]
fn an_anchor_is_loaded_and_emptied() {
    let mut a = Station::enabled(&config(sys::WEIR_WIRE_REFLECT, "", A, 1));
    let mut main = Ruleset::default();
    let call = Rule { call: Some(Call { anchor: 1, children: false }), ..rule(Action::Anchor, Direction::Any) };
    let lists = |filter: Vec<Rule>| -> [Vec<Rule>; 7] {
        let mut filter = Some(filter);
        core::array::from_fn(|list| if list == 6 { filter.take().unwrap() } else { vec![] })
    };
    main.push_anchor(String::new(), lists(vec![call]));
    main.push_anchor("mine".into(), lists(vec![]));
    a.load(&main);
    let sent = |a: &mut Station| {
        a.send(0, &[a_to_b(7, 8, 1)]);
        settle(&mut [a]);
        a.completed()
    };
    assert_eq!(sent(&mut a), [0]);
    let image = weir_core::filter::image::encode(&Ruleset::filter(vec![rule(Action::Block, Direction::Any)], vec![]));
    assert_eq!(a.control(sys::WEIR_CMD_ANCHOR_LOAD, 0, &named("mine", &image)).0, 0);
    assert_eq!(sent(&mut a), [sys::WEIR_E_DROPPED]);
    assert_eq!(a.control(sys::WEIR_CMD_ANCHOR_LOAD, 0, &named("mine", b"no image")).0, sys::WEIR_E_IMAGE);
    assert_eq!(a.control(sys::WEIR_CMD_ANCHOR_FLUSH, 0, &named("mine", &[])).0, 0);
    assert_eq!(sent(&mut a), [0]);
    a.close();
}
