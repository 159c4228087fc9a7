//! Fragments that pass as they come.

use super::*;
use crate::flow::frag::{Fault, TrackPolicy, Tracked};
use proptest::prelude::*;

fn track(pool: &mut Pool, frame: &mut Vec<u8>, policy: TrackPolicy) -> Tracked {
    let parsed = parse(frame);
    let tracked = pool.track(frame, &parsed, &at(0), policy);
    if let Tracked::Pass(len) = tracked {
        frame.truncate(len);
    }
    tracked
}

proptest! {
    /// Cropped: no byte of a datagram passes twice, and what passes is what came.
    #[test]
    fn crop_lets_each_byte_pass_once(parts in prop::collection::vec((0usize..40, 1usize..20, any::<bool>()), 1..40)) {
        let whole = datagram(false, &(0..600).map(|byte| byte as u8).collect::<Vec<_>>());
        let mut pool = pool(64);
        let mut passed = vec![false; 608];
        for (start, units, more) in parts {
            let (start, end) = (start * 8, ((start + units) * 8).min(600));
            // A datagram that has passed whole is forgotten.
            if start >= end || pool.counts().reassembled > 0 {
                continue;
            }
            let mut frame = fragment(&whole, start, end, more, 1);
            if let Tracked::Pass(_) = track(&mut pool, &mut frame, TrackPolicy::Crop) {
                let parsed = parse(&frame);
                prop_assert_eq!(offload::is_ipv4_header_valid(&frame, &parsed), Some(true));
                prop_assert_ne!(parsed.error, Some(crate::wire::ParseError::Fragment));
                let from = usize::from(parsed.fragment.offset);
                let data = &frame[34..];
                prop_assert_eq!(data, &whole[34 + from..34 + from + data.len()]);
                for seen in &mut passed[from..from + data.len()] {
                    prop_assert!(!*seen);
                    *seen = true;
                }
            }
        }
        prop_assert_eq!(pool.held(), 0);
    }

    /// In order and without overlaps everything passes as it is, under both policies.
    #[test]
    fn what_does_not_overlap_passes(v6 in any::<bool>(), crop in any::<bool>(), cut in 2usize..30, reverse in any::<bool>()) {
        let whole = datagram(v6, &[9; 700]);
        let len = whole.len() - if v6 { 54 } else { 34 };
        let mut starts: Vec<usize> = (0..len).step_by(cut * 8).collect();
        if reverse {
            starts.reverse();
        }
        let policy = if crop { TrackPolicy::Crop } else { TrackPolicy::DropOverlap };
        let mut pool = pool(64);
        for start in starts {
            let mut frame = fragment(&whole, start, len.min(start + cut * 8), start + cut * 8 < len, 1);
            let before = frame.clone();
            prop_assert_eq!(track(&mut pool, &mut frame, policy), Tracked::Pass(before.len()));
            prop_assert_eq!(frame, before);
        }
        prop_assert_eq!(pool.counts().reassembled, 1);
        prop_assert_eq!(pool.datagrams.len(), 0);
    }
}

#[test]
fn drop_ovl_drops_the_rest_too() {
    for (v6, policy) in [(false, TrackPolicy::DropOverlap), (true, TrackPolicy::DropOverlap), (true, TrackPolicy::Crop)]
    {
        let whole = datagram(v6, &[9; 400]);
        let mut pool = pool(64);
        let mut first = fragment(&whole, 0, 80, true, 1);
        assert!(matches!(track(&mut pool, &mut first, policy), Tracked::Pass(_)));
        let mut over = fragment(&whole, 72, 160, true, 1);
        assert_eq!(track(&mut pool, &mut over, policy), Tracked::Drop(Fault::Bad));
        let mut after = fragment(&whole, 160, 240, true, 1);
        assert_eq!(track(&mut pool, &mut after, policy), Tracked::Drop(Fault::Bad), "v6 {v6}");
        let mut other = fragment(&whole, 160, 240, true, 2);
        assert!(matches!(track(&mut pool, &mut other, policy), Tracked::Pass(_)));
    }
}
