//! Whatever comes, it is judged: no frame and no sequence of frames stops the engine.

use alloc::vec;
use proptest::prelude::*;

use super::frames::{Frame, udp};
use super::*;

/// Every list, every mode of states.
pub fn everything() -> Ruleset {
    let to = |last| Pool {
        kind: PoolKind::RoundRobin,
        hosts: vec![AddrMatch {
            kind: AddrKind::Mask4,
            addr: [192, 0, 2, last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            end: [255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ..AddrMatch::default()
        }],
        ..Pool::default()
    };
    let scrub = Scrub { reassemble_tcp: true, min_ttl: 9, max_mss: 1400, random_id: true, no_df: true, ..Scrub::NONE };
    let port = |port| Endpoint { port: PortMatch { op: PortOp::Eq, a: port, b: 0 }, ..Endpoint::default() };
    let mode = |mode, dport| Rule {
        protocol: Some(6),
        dst: port(dport),
        state: StateOptions { mode, source_track: SourceTrack::Rule, max_src_states: 9, ..StateOptions::default() },
        ..Rule::default()
    };
    lists(vec![
        (List::Scrub, vec![Rule { action: Action::Scrub, scrub, ..Rule::default() }]),
        (List::Nat, vec![Rule { action: Action::Nat, nat: Some(to(1)), protocol: Some(17), ..Rule::default() }]),
        (List::Rdr, vec![Rule { action: Action::Rdr, rdr: Some(to(2)), protocol: Some(1), ..Rule::default() }]),
        (
            List::Filter,
            vec![
                Rule { action: Action::Block, answer: Answer::Return, probability: 1 << 31, ..Rule::default() },
                Rule { protocol: Some(17), state: keep(), ..Rule::default() },
                Rule { protocol: Some(1), state: keep(), ..Rule::default() },
                mode(StateMode::Keep, 1),
                mode(StateMode::Modulate, 2),
                mode(StateMode::Synproxy, 3),
                Rule { state: StateOptions { sloppy: true, ..keep() }, ..mode(StateMode::Keep, 4) },
            ],
        ),
    ])
}

pub fn frame() -> impl Strategy<Value = Frame> {
    let addr = (0u8..3).prop_map(|last| [10, 0, 0, last]);
    let numbers = (prop_oneof![Just(0u32), Just(1), Just(1000), any::<u32>()], any::<u32>(), any::<u16>());
    let heads = (prop_oneof![Just(6u8), Just(17), Just(1)], addr.clone(), addr, 0u16..6, 0u16..6, any::<u8>());
    (heads, numbers, (any::<u8>(), 0u8..4), 0usize..30).prop_map(|(heads, (seq, ack, window), icmp, len)| {
        let (protocol, src, dst, sport, dport, flags) = heads;
        let payload = vec![3; len];
        Frame { protocol, flags, seq, ack, window, icmp, payload, ..udp((src, sport), (dst, dport)) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_frames_are_judged(
        frames in prop::collection::vec(
            (frame(), any::<bool>(), 0u64..90, prop::option::of((any::<prop::sample::Index>(), any::<u8>()))), 1..80,
        ),
    ) {
        let mut world = World::new(everything());
        for (frame, inbound, seconds, damage) in frames {
            world.now += seconds * super::frames::SECOND;
            let mut bytes = frame.bytes();
            if let Some((at, byte)) = damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let direction = if inbound { Direction::In } else { Direction::Out };
            let whole = damage.is_none();
            let outcome = world.single.frame(direction, world.now, &mut bytes, false, &mut ());
            if whole && outcome == Outcome::Pass && frame.protocol != 1 {
                // What was right is still right.
                let _ = Frame::read(&bytes);
            }
            let _ = world.single.answers().count();
        }
        let states = world.single.states();
        let counted = world.single.state_count();
        prop_assert_eq!(states.len() as u64, counted);
        world.now += 100_000 * super::frames::SECOND;
        let mut last = udp(([10, 9, 9, 9], 1), ([10, 9, 9, 8], 2)).bytes();
        for _ in 0..3 {
            world.now += super::frames::SECOND;
            let _ = world.single.frame(Direction::In, world.now, &mut last, false, &mut ());
        }
        prop_assert!(world.single.states().len() <= 1, "everything else has expired");
    }
}
