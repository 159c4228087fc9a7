//! Overlaps.

use super::*;
use crate::flow::frag::Fault;
use proptest::prelude::*;

/// pf's policy for IPv4, byte by byte: of the bytes that a new fragment brings, those stay as they are that belong to a
/// fragment which starts at or before the new one; the others are the new one's. (`pf_fillup_fragment`, by its effect.)
#[derive(Default)]
struct Model {
    /// Whose each byte is, and its value.
    bytes: Vec<Option<(usize, u8)>>,
    total: Option<usize>,
}

impl Model {
    fn starts(&self, owner: usize) -> usize {
        self.bytes.iter().position(|byte| byte.is_some_and(|(of, _)| of == owner)).unwrap()
    }

    /// Whether the fragment is taken.
    fn put(&mut self, owner: usize, start: usize, data: &[u8], more: bool) -> bool {
        let end = start + data.len();
        let seen = self.bytes.len();
        let contradicts = match self.total {
            Some(total) => end > total || (end == total && more),
            None => end == seen && !more,
        };
        if contradicts || (end < seen && !more) {
            return false;
        }
        let keep: Vec<bool> = (start..end)
            .map(|at| self.bytes.get(at).copied().flatten().is_some_and(|(of, _)| self.starts(of) <= start))
            .collect();
        if keep.iter().all(|keep| *keep) {
            return false;
        }
        self.bytes.resize(seen.max(end), None);
        for ((at, keep), byte) in (start..end).zip(keep).zip(data) {
            if !keep {
                self.bytes[at] = Some((owner, *byte));
            }
        }
        if !more {
            self.total = Some(end);
        }
        true
    }

    fn whole(&self) -> Option<Vec<u8>> {
        let bytes: Option<Vec<u8>> = self.bytes.iter().map(|byte| byte.map(|(_, value)| value)).collect();
        bytes.filter(|bytes| Some(bytes.len()) == self.total)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn ipv4_is_pfs_policy(parts in prop::collection::vec((0usize..12, 1usize..7, any::<bool>(), 0usize..8), 1..20)) {
        let whole = datagram(false, &[0; 200]);
        let mut pool = pool(64);
        let mut model = Model::default();
        for (number, (start, units, more, short)) in parts.into_iter().enumerate() {
            let start = start * 8;
            if start == 0 && !more {
                // That would be a datagram, not a fragment.
                continue;
            }
            let len = if more { units * 8 } else { (units * 8 - short).max(1) };
            let mut data = vec![number as u8 + 1; len];
            if start == 0 {
                // UDP's length must not be longer than what there is.
                data[4..8.min(len)].copy_from_slice(&[0, 8, 0, 0][..8.min(len) - 4]);
            }
            let taken = put(&mut pool, number, &raw(&whole, &data, start, more, 1), 0);
            let expected = model.put(number, start, &data, more);
            match (taken, model.whole()) {
                (Taken::Refused(frame, Fault::Bad), _) => {
                    prop_assert!(!expected, "refused {}", number);
                    prop_assert_eq!(frame.number, number);
                }
                (Taken::Held, None) => prop_assert!(expected),
                (Taken::Complete(id), Some(bytes)) => {
                    prop_assert!(expected);
                    let mut shown = pool.whole(id).unwrap();
                    prop_assert_eq!(&shown.head().0[34..], &bytes[..]);
                    shown.finish("pass", true);
                    let judged: Vec<Vec<u8>> = popped(&mut pool).into_iter()
                        .filter(|(_, outcome)| *outcome == Outcome::Judged("pass"))
                        .map(|(frame, _)| frame.bytes).collect();
                    prop_assert_eq!(&join(&judged)[34..], &bytes[..]);
                    prop_assert_eq!(pool.held(), 0);
                    return Ok(());
                }
                (taken, whole) => panic!("{taken:?}, the model says {whole:?}"),
            }
        }
    }

    /// RFC 5722: whatever overlaps, nothing of the datagram ever leaves.
    #[test]
    fn ipv6_overlaps_doom_the_datagram(cut in 1usize..20, over in 1usize..20, at in 0usize..20, late in any::<bool>()) {
        let whole = datagram(true, &[5; 1000]);
        let len = whole.len() - 54;
        let mut frames: Vec<Vec<u8>> = (0..len).step_by(cut * 8)
            .map(|start| fragment(&whole, start, len.min(start + cut * 8), start + cut * 8 < len, 1)).collect();
        prop_assume!(frames.len() > 2 && frames.len() < 127);
        let extra = fragment(&whole, at * 8, (at + over) * 8, true, 1);
        let place = if late { frames.len() - 1 } else { 1 };
        frames.insert(place, extra);
        let mut pool = pool(200);
        let mut refused = 0;
        for (number, frame) in frames.iter().enumerate() {
            match put(&mut pool, number, frame, 0) {
                Taken::Complete(_) => panic!("complete"),
                Taken::Refused(_, Fault::Bad) => refused += 1,
                _ => {}
            }
        }
        let lost = popped(&mut pool);
        prop_assert!(lost.iter().all(|(_, outcome)| *outcome == Outcome::Lost(Fault::Bad)));
        prop_assert_eq!(refused + lost.len(), frames.len());
        prop_assert_eq!(pool.held(), 0);
    }
}

/// The same identification elsewhere is another datagram.
#[test]
fn datagrams_are_told_apart() {
    let whole = datagram(false, &[5; 100]);
    let frame = fragment(&whole, 0, 56, true, 1);
    let end = fragment(&whole, 56, 108, false, 1);
    let mut pool = pool(64);
    assert!(matches!(put(&mut pool, 0, &frame, 0), Taken::Held));
    let mut others = Vec::new();
    // Another source, destination, protocol, identification.
    for (at, byte) in [(26, 11), (30, 11), (23, 200), (19, 2)] {
        let mut other = end.clone();
        other[at] = byte;
        let parsed = parse(&other);
        let _ = offload::fill_ipv4_header(&mut other, &parsed);
        others.push(other);
    }
    for other in &others {
        assert!(matches!(put(&mut pool, 1, other, 0), Taken::Held));
    }
    let zone = Arrival { zone: 1, ..at(0) };
    assert!(matches!(pool.insert(buffer(2, end.clone()), &parse(&end), &zone), Taken::Held));
    assert!(matches!(put(&mut pool, 3, &end, 0), Taken::Complete(_)));
}
