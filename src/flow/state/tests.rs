use super::*;
use crate::wire::Family;
use crate::wire::tcp::{ACK, FIN, RST, SYN};

fn state() -> State {
    let key = FlowKey::new((&[1; 16], 80), (&[2; 16], 4000), protocol::TCP, Family::V4, 0);
    State::new(Way::Out, protocol::TCP, key, key, 7)
}

fn segment(flags: u8, seq: u32, ack: u32, len: u32) -> Segment {
    Segment { seq, ack, window: 1000, flags, len, scale: None }
}

/// A connection after its handshake: the client at 101, the server at 501.
fn established() -> State {
    let mut state = state();
    state.as_mut().open(&segment(SYN, 100, 0, 0));
    assert_eq!(state.as_mut().track_tcp(true, &segment(SYN, 100, 0, 0), true), Tracked::Pass);
    assert_eq!(state.as_mut().track_tcp(false, &segment(SYN | ACK, 500, 101, 0), true), Tracked::Pass);
    assert_eq!(state.hot.lifetime, Lifetime::TcpOpening);
    assert_eq!(state.as_mut().track_tcp(true, &segment(ACK, 101, 501, 0), true), Tracked::Established);
    assert_eq!(state.hot.lifetime, Lifetime::TcpEstablished);
    state
}

#[test]
fn a_connection_opens_and_closes() {
    let mut state = established();
    assert_eq!(state.as_mut().track_tcp(true, &segment(ACK, 101, 501, 200), true), Tracked::Pass);
    assert_eq!(state.as_mut().track_tcp(false, &segment(ACK, 501, 301, 400), true), Tracked::Pass);
    assert_eq!(state.as_mut().track_tcp(true, &segment(FIN | ACK, 301, 901, 0), true), Tracked::Pass);
    assert_eq!(state.hot.lifetime, Lifetime::TcpClosing);
    assert_eq!(state.as_mut().track_tcp(false, &segment(FIN | ACK, 901, 302, 0), true), Tracked::Pass);
    assert_eq!(state.as_mut().track_tcp(true, &segment(ACK, 302, 902, 0), true), Tracked::Pass);
    assert_eq!(state.hot.lifetime, Lifetime::TcpClosed);
    // A new connection of the same ports.
    assert_eq!(state.as_mut().track_tcp(true, &segment(SYN, 9000, 0, 0), true), Tracked::Reused);
}

#[test]
fn what_is_outside_the_window_does_not_pass() {
    for (forward, forged) in [
        (true, segment(ACK, 101 + 5000, 501, 100)),
        (true, segment(ACK, 101u32.wrapping_sub(5000), 501, 100)),
        (true, segment(ACK, 101, 501 + 0x20000, 100)),
        (true, segment(RST, 400, 0, 0)),
        (false, segment(RST | ACK, 700, 101, 0)),
        (false, segment(SYN | ACK, 99999, 101, 0)),
    ] {
        let mut state = established();
        assert_eq!(state.as_mut().track_tcp(forward, &forged, true), Tracked::Mismatch, "{forged:?}");
        assert_eq!(state.hot.lifetime, Lifetime::TcpEstablished);
    }
    let mut state = established();
    assert_eq!(state.as_mut().track_tcp(false, &segment(RST | ACK, 501, 101, 0), true), Tracked::Pass);
    assert_eq!(state.hot.lifetime, Lifetime::TcpClosed);
}

#[test]
fn windows_scale_when_both_ends_do() {
    for (server, far_ahead) in [(Some(Shift::new(4)), Tracked::Pass), (None, Tracked::Mismatch)] {
        let mut state = state();
        let syn = Segment { scale: Some(Shift::new(4)), ..segment(SYN, 100, 0, 0) };
        state.as_mut().open(&syn);
        assert_eq!(state.as_mut().track_tcp(true, &syn, true), Tracked::Pass);
        let answer = Segment { scale: server, ..segment(SYN | ACK, 500, 101, 0) };
        assert_eq!(state.as_mut().track_tcp(false, &answer, true), Tracked::Pass);
        assert_eq!(state.as_mut().track_tcp(true, &segment(ACK, 101, 501, 0), true), Tracked::Established);
        assert_eq!(state.as_mut().track_tcp(false, &segment(ACK, 501, 101, 0), true), Tracked::Pass);
        // 15000 bytes fit into a window of 1000 << 4 only.
        assert_eq!(state.as_mut().track_tcp(true, &segment(ACK, 101, 501, 15000), true), far_ahead, "{server:?}");
    }
}

#[test]
fn an_answer_to_another_handshake_is_told_so() {
    let mut state = state();
    state.as_mut().open(&segment(SYN, 100, 0, 0));
    assert_eq!(state.as_mut().track_tcp(true, &segment(SYN, 100, 0, 0), true), Tracked::Pass);
    assert_eq!(state.as_mut().track_tcp(false, &segment(SYN | ACK, 500, 0x9000_0000, 0), true), Tracked::Reset);
    assert_eq!(state.as_mut().track_tcp(false, &segment(SYN | ACK, 800, 101, 0), true), Tracked::Pass);
}

#[test]
fn datagrams_age_by_who_has_spoken() {
    let key = FlowKey::new((&[1; 16], 53), (&[2; 16], 4000), protocol::UDP, Family::V4, 0);
    let mut state = State::new(Way::Out, protocol::UDP, key, key, 7);
    assert_eq!(state.hot.lifetime, Lifetime::UdpFirst);
    state.as_mut().track_datagram(true);
    assert_eq!(state.hot.lifetime, Lifetime::UdpSingle);
    state.as_mut().track_datagram(false);
    state.as_mut().track_datagram(true);
    assert_eq!(state.hot.lifetime, Lifetime::UdpMultiple);
}

#[test]
fn a_reset_before_a_gap_fits_if_it_acknowledges_exactly() {
    for (reset, tracked) in [
        (segment(RST | ACK, 301, 501, 0), Tracked::Pass),
        // Behind the gap, with the number that is expected.
        (segment(RST, 601, 0, 0), Tracked::Pass),
        (segment(RST | ACK, 301, 0, 0), Tracked::Mismatch),
        (segment(RST | ACK, 301, 400, 0), Tracked::Mismatch),
        (segment(RST, 301, 0, 0), Tracked::Mismatch),
        (segment(RST | ACK, 700, 501, 0), Tracked::Mismatch),
        (segment(RST | ACK, 601u32.wrapping_sub(2000), 501, 0), Tracked::Mismatch),
    ] {
        let mut state = established();
        assert_eq!(state.as_mut().track_tcp(true, &segment(ACK, 101, 501, 200), true), Tracked::Pass);
        assert_eq!(state.as_mut().track_tcp(true, &segment(ACK, 401, 501, 200), true), Tracked::Pass);
        assert_eq!(state.as_mut().track_tcp(true, &reset, true), tracked, "{reset:?}");
    }
}

#[test]
fn what_is_left_of_the_last_connection_does_not_answer_the_next() {
    // Its last number was 100 - 65537: TIME-WAIT has the next one begin that far ahead (RFC 6191).
    let last = 100u32.wrapping_sub(65537);
    for stale in [segment(ACK, 7_000_000, last, 300), segment(FIN | ACK, 7_000_000, last, 0)] {
        let mut state = state();
        state.as_mut().open(&segment(SYN, 100, 0, 0));
        assert_eq!(state.as_mut().track_tcp(true, &segment(SYN, 100, 0, 0), true), Tracked::Pass);
        assert_eq!(state.as_mut().track_tcp(false, &stale, true), Tracked::Reset, "{stale:?}");
        assert_eq!(state.as_mut().track_tcp(false, &segment(SYN | ACK, 500, 101, 0), true), Tracked::Pass);
        assert_eq!(state.as_mut().track_tcp(true, &segment(ACK, 101, 501, 0), true), Tracked::Established);
    }
    // Of one that was met on its way, nobody knows where it began.
    let mut state = state();
    state.as_mut().open(&segment(ACK, 100, 7_000_000, 0));
    assert_eq!(state.as_mut().track_tcp(false, &segment(ACK, 7_000_000, last, 300), true), Tracked::Pass);
}

#[test]
fn after_the_end_a_reset_need_not_be_exact() {
    let mut state = established();
    assert_eq!(state.as_mut().track_tcp(true, &segment(ACK, 101, 501, 200), true), Tracked::Pass);
    assert_eq!(state.as_mut().track_tcp(true, &segment(RST, 301, 0, 0), true), Tracked::Pass);
    // It was lost, and the 200 bytes with it: what the other end goes on sending is answered with a number that it expects.
    assert_eq!(state.as_mut().track_tcp(false, &segment(ACK, 501, 101, 100), true), Tracked::Pass);
    assert_eq!(state.as_mut().track_tcp(true, &segment(RST, 101, 0, 0), true), Tracked::Pass);
    assert_eq!(state.as_mut().track_tcp(true, &segment(RST, 40_000, 0, 0), true), Tracked::Mismatch);
}

#[test]
fn counts_go_on_past_32_bits() {
    for way in [Way::In, Way::Out] {
        let mut state = state();
        assert_eq!(state.hot.way, Way::Out);
        state.hot.packets = [u32::MAX; 2];
        state.as_mut().count(way, u32::MAX as usize);
        state.as_mut().count(way, 60);
        let (before, after) = ((u64::from(u32::MAX), 0), ((1 << 32) + 1, (1 << 32) + 59));
        let (first, second) = if way == Way::Out { (after, before) } else { (before, after) };
        assert_eq!((state.as_ref().packets(), state.hot.bytes()), ([first.0, second.0], [first.1, second.1]));
    }
}
