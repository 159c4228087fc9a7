//! Segments of a connection, byte for byte.

use super::*;
use crate::wire::tcp::{ACK, FIN, PSH, RST, SYN, URG};
use crate::wire::{offload, parse};
use etherparse::{PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice};

const MILLI: u64 = 1_000_000;

fn segment(flags: u8, ttl: u8, stamps: Option<(u32, u32)>, payload: &[u8]) -> Vec<u8> {
    let mut options = Vec::new();
    if let Some((value, echo)) = stamps {
        options = [&[1, 1, 8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat();
    }
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], ttl).tcp(1, 2, 3, 4);
    builder.options_raw(&options).unwrap().write(&mut frame, payload).unwrap();
    frame[47] = flags;
    let parsed = parse(&frame);
    assert!(offload::fill_transport(&mut frame, &parsed));
    frame
}

/// Lets a segment through and returns its time to live and timestamps afterwards.
fn pass(
    scrub: &mut TcpScrub,
    opener: bool,
    frame: &mut [u8],
    moment: &Moment,
) -> Result<(u8, Option<(u32, u32)>), BadTimestamp> {
    let mut parsed = parse(frame);
    scrub.segment(&mut Edit::new(frame, &mut parsed, false).unwrap(), opener, moment)?;
    assert_eq!(offload::is_transport_valid(frame, &parsed), Some(true));
    assert_eq!(offload::is_ipv4_header_valid(frame, &parsed), Some(true));
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!() };
    let stamps = tcp.options_iterator().find_map(|element| match element {
        Ok(TcpOptionElement::Timestamp(value, echo)) => Some((value, echo)),
        _ => None,
    });
    Ok((parsed.ttl, stamps))
}

fn at(millis: u64, established: bool, modulation: u32) -> Moment {
    Moment { now: millis * MILLI, created: 0, established, leeway: 30, modulation }
}

/// A connection that is open: the opener's clock began at 1000, the other's at 9000, a tick a millisecond.
fn open() -> TcpScrub {
    let mut scrub = TcpScrub::default();
    let (a, b) = (0x0100_0000, 0xf000_0000);
    let seen = pass(&mut scrub, true, &mut segment(SYN, 60, Some((1000, 0)), b""), &at(0, false, a));
    assert_eq!(seen, Ok((60, Some((1000 + a, 0)))));
    let reply = &mut segment(SYN | ACK, 50, Some((9000, 1000 + a)), b"");
    let seen = pass(&mut scrub, false, reply, &at(1, false, b));
    assert_eq!(seen, Ok((50, Some((9000 + b, 1000)))), "the opener sees its own clock echoed");
    let seen = pass(&mut scrub, true, &mut segment(ACK, 60, Some((1002, 9000 + b)), b""), &at(2, true, 5));
    assert_eq!(seen, Ok((60, Some((1002 + a, 9000)))));
    scrub
}

const A: u32 = 0x0100_0000;
const B: u32 = 0xf000_0000;

#[test]
fn timestamps_are_moved_both_ways() {
    let mut scrub = open();
    let data = &mut segment(ACK | PSH, 60, Some((1010, 9000 + B)), b"hello");
    assert_eq!(pass(&mut scrub, true, data, &at(10, true, 0)), Ok((60, Some((1010 + A, 9000)))));
    let data = &mut segment(ACK | PSH, 50, Some((9011, 1010 + A)), b"hello");
    assert_eq!(pass(&mut scrub, false, data, &at(11, true, 0)), Ok((50, Some((9011 + B, 1010)))));
}

#[test]
fn the_time_to_live_never_sinks() {
    let mut scrub = open();
    for (ttl, seen) in [(64, 64), (3, 64), (255, 255), (254, 255)] {
        let frame = &mut segment(ACK, ttl, Some((1010, 9000 + B)), b"");
        assert_eq!(pass(&mut scrub, true, frame, &at(10, true, 0)).unwrap().0, seen);
    }
    let frame = &mut segment(ACK, 9, Some((9011, 1010 + A)), b"");
    assert_eq!(pass(&mut scrub, false, frame, &at(11, true, 0)).unwrap().0, 50, "the other side has its own");
}

#[test]
fn timestamps_that_cannot_be() {
    // From the opener, 10 ms after the start; leeway is 30 s, a clock makes 1100 ticks a second at most.
    for (value, echo, good) in [
        (1010, 9000 + B, true),
        // Retransmission of something old, but not older than what was echoed.
        (1000, 9000 + B, true),
        (999, 9000 + B, false),
        (1002 + 33_000, 9000 + B, true),
        (1002 + 34_000, 9000 + B, false),
        // Echoes of what the other side never sent: later than its last, before its first.
        (1010, 9001 + B, false),
        (1010, 8999 + B, false),
        (1010, 0, true),
    ] {
        let mut scrub = open();
        let seen = pass(&mut scrub, true, &mut segment(ACK, 60, Some((value, echo)), b"x"), &at(10, true, 0));
        assert_eq!(seen.is_ok(), good, "{value} {echo:x}");
    }
    let mut scrub = open();
    let late = &mut segment(ACK, 60, Some((999, 9000 + B)), b"x");
    assert!(pass(&mut scrub, true, late, &at(10, false, 0)).is_ok(), "not while opening");
}

#[test]
fn data_without_a_timestamp_after_data_with_one() {
    let mut scrub = open();
    assert!(pass(&mut scrub, true, &mut segment(ACK, 60, Some((1010, 9000 + B)), b"x"), &at(10, true, 0)).is_ok());
    assert!(pass(&mut scrub, true, &mut segment(ACK, 60, None, b"x"), &at(11, true, 0)).is_err());
    assert!(pass(&mut scrub, true, &mut segment(ACK, 60, None, b""), &at(11, true, 0)).is_ok(), "nothing in it");
    assert!(pass(&mut scrub, true, &mut segment(RST, 60, None, b"x"), &at(11, true, 0)).is_ok());
    // Whose first data had none may go on so.
    let mut scrub = open();
    assert!(pass(&mut scrub, true, &mut segment(ACK, 60, None, b"x"), &at(10, true, 0)).is_ok());
    assert!(pass(&mut scrub, true, &mut segment(ACK, 60, None, b"x"), &at(11, true, 0)).is_ok());
}

#[test]
fn old_connections_are_left_alone() {
    let day = 24 * 60 * 60 * 1000;
    let mut scrub = open();
    let wrong = |scrub: &mut TcpScrub, now| {
        pass(scrub, true, &mut segment(ACK, 60, Some((1, 9000 + B)), b"x"), &at(now, true, 0)).is_err()
    };
    assert!(wrong(&mut scrub, 11 * day));
    assert!(!wrong(&mut scrub, 13 * day));
}

#[test]
fn without_timestamps_in_the_syn_nothing_is_moved() {
    let mut scrub = TcpScrub::default();
    assert!(pass(&mut scrub, true, &mut segment(SYN, 60, None, b""), &at(0, false, 7)).is_ok());
    let frame = &mut segment(ACK, 60, Some((5, 6)), b"");
    assert_eq!(pass(&mut scrub, true, frame, &at(1, false, 7)), Ok((60, Some((5, 6)))));
}

#[test]
fn flags_that_contradict_each_other() {
    for (flags, good) in [
        (SYN, true),
        (SYN | ACK, true),
        (SYN | RST, false),
        (SYN | FIN, false),
        (SYN | ACK | FIN, false),
        (SYN | PSH, false),
        (SYN | URG, false),
        (0, false),
        (FIN, false),
        (PSH, false),
        (URG, false),
        (RST, true),
        (RST | FIN, false),
        (RST | ACK, true),
        (ACK, true),
        (ACK | FIN, true),
        (ACK | PSH | URG, true),
        (tcp::ECE | tcp::CWR | SYN, true),
        (0xff, false),
        (FIN | PSH | URG, false),
    ] {
        let mut frame = segment(flags, 60, None, b"");
        frame[46] |= 0x06;
        frame[53] = 1;
        let mut parsed = parse(&frame);
        assert!(offload::fill_transport(&mut frame, &parsed));
        assert_eq!(normalize(&mut Edit::new(&mut frame, &mut parsed, false).unwrap()), good, "{flags:02x}");
        if good {
            assert_eq!(frame[46], 0x50);
            assert_eq!(frame[53], u8::from(flags & URG != 0));
            assert_eq!(offload::is_transport_valid(&frame, &parsed), Some(true));
        }
    }
}

#[test]
fn an_echo_in_a_syn_is_of_the_last_connection() {
    let mut scrub = TcpScrub::default();
    let stale = 9000u32.wrapping_add(B).wrapping_add(0x4000_0000);
    let syn = &mut segment(SYN, 60, Some((1000, stale)), b"");
    assert_eq!(pass(&mut scrub, true, syn, &at(0, false, A)), Ok((60, Some((1000 + A, 0)))));
    let reply = &mut segment(SYN | ACK, 50, Some((9000, 1000 + A)), b"");
    assert!(pass(&mut scrub, false, reply, &at(1, false, B)).is_ok());
    let ack = &mut segment(ACK, 60, Some((1002, 9000 + B)), b"");
    assert!(pass(&mut scrub, true, ack, &at(2, true, A)).is_ok());
    let data = &mut segment(ACK | PSH, 50, Some((9003, 1002 + A)), b"hello");
    assert_eq!(pass(&mut scrub, false, data, &at(3, true, B)), Ok((50, Some((9003 + B, 1002)))));
}
