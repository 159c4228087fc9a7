use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::telemetry::{Counters, EventKind, HistogramKind};

const SYS: &str = include_str!("sys.rs");

/// Names behind `keyword ` in the generated file.
fn names(keyword: &str) -> Vec<String> {
    let lines = SYS.lines().filter_map(|line| line.trim().strip_prefix(keyword));
    lines.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn every_declared_function_is_exported() {
    let mut declared: Vec<_> = names("pub fn ").into_iter().filter(|name| !name.starts_with("weir_hook_")).collect();
    let mut exported = EXPORTED.to_vec();
    declared.sort_unstable();
    exported.sort_unstable();
    assert_eq!(declared, exported);
}

#[test]
fn the_counters_have_the_fields_of_the_header_in_its_order() {
    let body = SYS.split_once("pub struct weir_counters {").unwrap().1.split_once('}').unwrap().0;
    let fields: Vec<_> = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let ours: Vec<_> = Counters::NAMES.iter().copied().chain(["rx_dropped", "tx_dropped"]).collect();
    assert_eq!(fields, ours);
}

#[test]
fn drop_reasons_have_the_names_and_numbers_of_the_header() {
    let declared: Vec<_> = names("pub const WEIR_DROP_").into_iter().filter(|name| name != "REASONS").collect();
    let ours: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name().replace('-', "_").to_uppercase()).collect();
    assert_eq!(declared, ours);
    for (number, reason) in DropReason::ALL.iter().enumerate() {
        assert_eq!(reason.index(), number);
        assert_eq!(DropReason::from_number(number as u8), Some(*reason));
    }
    assert_eq!(DropReason::from_number(DropReason::ALL.len() as u8), None);
}

#[test]
fn numbers_that_have_a_twin_agree() {
    assert_eq!(EventKind::Log as u32, sys::WEIR_EVENT_LOG);
    assert_eq!(EventKind::Link as u32, sys::WEIR_EVENT_LINK);
    assert_eq!(EventKind::Ruleset as u32, sys::WEIR_EVENT_RULESET);
    assert_eq!(EventKind::Misuse as u32, sys::WEIR_EVENT_MISUSE);
    assert_eq!(HistogramKind::RxBurstNs as u32, sys::WEIR_HIST_RX_BURST_NS);
    assert_eq!(HistogramKind::TxBurstNs as u32, sys::WEIR_HIST_TX_BURST_NS);
    assert_eq!(HistogramKind::RxBurstLen as u32, sys::WEIR_HIST_RX_BURST_LEN);
    assert_eq!(HistogramKind::TxBurstLen as u32, sys::WEIR_HIST_TX_BURST_LEN);
    assert_eq!(HistogramKind::from_number(sys::WEIR_HIST_COUNT), None);
    use crate::pipeline::Mode;
    assert_eq!(Mode::Filter as u32, sys::WEIR_MODE_FILTER);
    assert_eq!(Mode::Bypass as u32, sys::WEIR_MODE_BYPASS);
    assert_eq!(Mode::Block as u32, sys::WEIR_MODE_BLOCK);
    use crate::control::Command;
    let commands = [
        (sys::WEIR_CMD_INFO, Command::Info),
        (sys::WEIR_CMD_COUNTERS, Command::Counters { queue: Some(0) }),
        (sys::WEIR_CMD_RULESET_LOAD, Command::RulesetLoad { image: &[] }),
        (sys::WEIR_CMD_RULESET_CLEAR, Command::RulesetClear),
        (sys::WEIR_CMD_RULE_COUNTERS, Command::RuleCounters { first: 0 }),
        (sys::WEIR_CMD_MODE, Command::Mode { mode: 0 }),
        (sys::WEIR_CMD_HISTOGRAM, Command::Histogram { kind: HistogramKind::RxBurstNs }),
        (sys::WEIR_CMD_EVENTS, Command::Events),
        (sys::WEIR_CMD_RULESET_TEXT, Command::RulesetText { first: 0 }),
        (sys::WEIR_CMD_TABLES, Command::Tables { first: 0 }),
        (sys::WEIR_CMD_STATES_LIST, Command::StatesList),
        (sys::WEIR_CMD_STATES, Command::States),
        (sys::WEIR_CMD_STATUS, Command::Status),
        (sys::WEIR_CMD_NIC_STATS, Command::NicStats),
        (sys::WEIR_CMD_TAPS, Command::Taps),
        (sys::WEIR_CMD_CLOCK, Command::Clock),
        (sys::WEIR_CMD_SOURCES, Command::Sources { first: 0 }),
        (sys::WEIR_CMD_SOURCES_KILL, Command::SourcesKill { filter: &[] }),
    ];
    // The rest take a request, and come below.
    let with_request = with_requests();
    assert_eq!(commands.len() + with_request.len(), names("pub const WEIR_CMD_").len());
    for (number, arg, body, command) in with_request {
        let mut request = [sys::WEIR_ABI_VERSION, number, arg, 0].map(u32::to_ne_bytes).concat();
        request.extend_from_slice(body);
        assert_eq!(Command::parse(&request), Ok(command));
    }
    for (number, command) in commands {
        let request = [sys::WEIR_ABI_VERSION, number, 0, 0].map(u32::to_ne_bytes).concat();
        assert_eq!(Command::parse(&request), Ok(command));
    }
}

/// Number, argument, what follows, command.
fn with_requests() -> [(u32, u32, &'static [u8], crate::control::Command<'static>); 7] {
    use crate::control::{Command, TableChange};
    let (path, entries) = ("t", &b"12345678901234567890"[..]);
    let named: &[u8] = if cfg!(target_endian = "little") { b"\x01\0\0\0t" } else { b"\0\0\0\x01t" };
    let change: &[u8] = if cfg!(target_endian = "little") {
        b"\x01\0\0\0t12345678901234567890"
    } else {
        b"\0\0\0\x01t12345678901234567890"
    };
    [
        (sys::WEIR_CMD_ADDRESSES, 0, entries, Command::Addresses { list: entries }),
        (sys::WEIR_CMD_TABLE_SHOW, 7, named, Command::TableShow { first: 7, path }),
        (
            sys::WEIR_CMD_TABLE_CHANGE,
            sys::WEIR_TABLE_DELETE,
            change,
            Command::TableChange { change: TableChange::Delete, path, entries },
        ),
        (sys::WEIR_CMD_TABLE_TEST, 0, change, Command::TableTest { path, entries }),
        (sys::WEIR_CMD_STATES_KILL, 0, entries, Command::StatesKill { filter: entries }),
        (sys::WEIR_CMD_ANCHOR_LOAD, 0, change, Command::AnchorLoad { path, image: entries }),
        (sys::WEIR_CMD_ANCHOR_FLUSH, 0, named, Command::AnchorFlush { path }),
    ]
}

#[test]
fn replies_about_states_are_the_structs_of_the_header() {
    use crate::control::{Reply, StateEntry};

    let mut reply = Reply::new(4096);
    assert!(reply.state(&StateEntry {
        id: 1,
        packets: [2, 3],
        bytes: [4, 5],
        times: [6, 7],
        rule: 8,
        addrs: [[9; 16], [10; 16], [11; 16], [12; 16]],
        ports: [13, 14, 15, 16],
        small: [17, 18, 19, 20, 21],
    }));
    // SAFETY: the reply is as long as the struct, which is plain numbers.
    let state = unsafe { reply.bytes().as_ptr().cast::<sys::weir_state>().read_unaligned() };
    assert_eq!((state.id, state.packets, state.bytes, state.age_ms, state.expires_ms), (1, [2, 3], [4, 5], 6, 7));
    assert_eq!((state.wire_far[0], state.wire_near[0], state.stack_far[0], state.stack_near[0]), (9, 10, 11, 12));
    assert_eq!((state.wire_ports, state.stack_ports, state.rule), ([13, 14], [15, 16], 8));
    assert_eq!((state.direction, state.family, state.protocol, state.phase), (17, 18, 19, [20, 21]));

    let mut reply = Reply::new(4096);
    assert!(reply.status(1, &core::array::from_fn(|n| n as u32), &[5; 5]));
    // SAFETY: as above.
    let status = unsafe { reply.bytes().as_ptr().cast::<sys::weir_filter_status>().read_unaligned() };
    assert_eq!((status.states, status.timeouts[19], status.limits, status.reserved), (1, 19, [5; 5], 0));

    let mut reply = Reply::new(4096);
    assert!(reply.table_result([1, 2, 3, 4]) && reply.table_entry(&[5; 16], 6, 7, true));
    // SAFETY: as above.
    let result = unsafe { reply.bytes().as_ptr().cast::<sys::weir_table_result>().read_unaligned() };
    assert_eq!((result.added, result.deleted, result.changed, result.entries), (1, 2, 3, 4));
    assert_eq!(reply.bytes()[16..], [&[5; 16][..], &[6, 7, 1, 0]].concat());
}

#[test]
fn replies_are_the_structs_of_the_header() {
    use crate::control::{Info, LoadResult, Reply};
    use crate::filter::image::{ImageError, ImageErrorKind};
    use crate::telemetry::Event;

    let mut reply = Reply::new(4096);
    assert!(reply.info(&Info {
        queues: 2,
        mode: 3,
        mtu: 4,
        ruleset_epoch: 5,
        rules: 6,
        offloads: 7,
        mac: [8; 6],
        enabled: true,
        promiscuous: false,
        multicast_count: 9,
        if_name: "en0",
        link_up: true,
        full_duplex: false,
        speed_bps: 10,
        version: "a version that is much longer than the field",
    }));
    // SAFETY: the reply is as long as the struct, which is plain numbers.
    let info = unsafe { reply.bytes().as_ptr().cast::<sys::weir_info>().read_unaligned() };
    assert_eq!((info.abi_version, info.queues, info.mode, info.mtu), (1, 2, 3, 4));
    assert_eq!((info.ruleset_epoch, info.rules, info.offloads, info.mac), (5, 6, 7, [8; 6]));
    assert_eq!((info.enabled, info.promiscuous, info.multicast_count), (1, 0, 9));
    assert_eq!(info.if_name.map(|c| c as u8)[..4], *b"en0\0");
    assert_eq!((info.link.up, info.link.full_duplex, info.link.speed_bps), (1, 0, 10));
    assert_eq!(info.version.map(|c| c as u8), *b"a version that is much longer t\0");

    let mut reply = Reply::new(4096);
    let error = Some(ImageError { kind: ImageErrorKind::Magic, offset: 3 });
    assert!(reply.load_result(&LoadResult { epoch: 1, rules: 2, error }));
    // SAFETY: as above.
    let result = unsafe { reply.bytes().as_ptr().cast::<sys::weir_load_result>().read_unaligned() };
    assert_eq!((result.epoch, result.rules, result.error, result.error_at), (1, 2, ImageErrorKind::Magic as u32, 3));
    assert_eq!(result.text.map(|c| c as u8)[..20], *b"not a ruleset image\0");

    let mut reply = Reply::new(4096);
    assert!(reply.rule_counters([1, 2, 3, 4]));
    // SAFETY: as above.
    let counters = unsafe { reply.bytes().as_ptr().cast::<sys::weir_rule_counters>().read_unaligned() };
    assert_eq!((counters.evaluations, counters.packets, counters.bytes, counters.states), (1, 2, 3, 4));

    let mut reply = Reply::new(4096);
    assert!(reply.event(&Event {
        time_ns: 1,
        kind: EventKind::Log,
        rule: 2,
        direction: 3,
        action: 4,
        reason: 5,
        protocol: 6,
        ethertype: 7,
        vlan: 8,
        sport: 9,
        dport: 10,
        len: 11,
        family: 12,
        src: [13; 16],
        dst: [14; 16],
    }));
    // SAFETY: as above.
    let event = unsafe { reply.bytes().as_ptr().cast::<sys::weir_event>().read_unaligned() };
    assert_eq!((event.time_ns, event.kind, event.rule, event.direction, event.action), (1, 1, 2, 3, 4));
    assert_eq!((event.reason, event.protocol, event.ethertype, event.vlan), (5, 6, 7, 8));
    assert_eq!((event.sport, event.dport, event.len, event.family), (9, 10, 11, 12));
    assert_eq!((event.reserved, event.src, event.dst), (0, [13; 16], [14; 16]));
}
