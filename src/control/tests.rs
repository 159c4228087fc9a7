use alloc::string::String;
use alloc::vec::Vec;
use proptest::prelude::*;

use super::*;
use crate::telemetry::Counters;

#[test]
fn a_struct_is_written_whole_or_not_at_all() {
    let mut reply = Reply::new(COUNTERS_LEN - 1);
    assert!(!reply.counters(&Counters::default()));
    assert!(reply.bytes().is_empty() && reply.is_short());
    assert_eq!(reply.needed(), COUNTERS_LEN);
    let mut reply = Reply::new(COUNTERS_LEN);
    assert!(reply.counters(&Counters::default()));
    assert_eq!((reply.bytes().len(), reply.is_short()), (COUNTERS_LEN, false));
}

#[test]
fn names_are_cut_at_a_character() {
    let mut info = Reply::new(INFO_LEN);
    let version: String = "ä".repeat(20);
    let plain = Info {
        queues: 0,
        mode: 0,
        mtu: 0,
        ruleset_epoch: 0,
        rules: 0,
        offloads: 0,
        mac: [0; 6],
        enabled: false,
        promiscuous: false,
        multicast_count: 0,
        if_name: "",
        link_up: false,
        full_duplex: false,
        speed_bps: 0,
        version: &version,
    };
    assert!(info.info(&plain));
    let field = &info.bytes()[80..];
    assert_eq!(field[30..], [0, 0]);
    assert_eq!(core::str::from_utf8(&field[..30]).unwrap(), "ä".repeat(15));
}

proptest! {
    #[test]
    fn any_bytes_are_a_command_or_an_error(request in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Command::parse(&request);
    }

    #[test]
    fn near_commands(version in 0u32..3, command in 0u32..24, arg in any::<u64>(), behind in 0usize..3) {
        let mut request: Vec<u8> = [version, command].map(u32::to_ne_bytes).concat();
        request.extend_from_slice(&arg.to_ne_bytes());
        request.resize(COMMAND_LEN + behind, 0);
        let parsed = Command::parse(&request);
        match version {
            ABI_VERSION => match command {
                1..=22 => {}
                _ => prop_assert_eq!(parsed, Err(CommandError::Unknown)),
            },
            _ => prop_assert_eq!(parsed, Err(CommandError::Version)),
        }
    }
}
