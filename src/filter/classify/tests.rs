//! Everything against the linear scan.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::table::{self, Wanted};
use super::{Classifier, Key, NONE, PRIORITY_MAX, Refused, Rule};

fn linear<const W: usize>(rules: &[Rule<W>], key: &Key<W>) -> u32 {
    rules.iter().filter(|rule| rule.matches(key)).map(|rule| rule.priority).min().unwrap_or(NONE)
}

/// Words from a small pool, so that rules overlap and headers meet them.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => prop::sample::select(&[0u32, 1, 0x0a00_0001, 0x0a00_0002, 0x0a01_0203, 0xc0a8_0101, u32::MAX]),
        1 => any::<u32>(),
    ]
}

fn mask<const W: usize>() -> impl Strategy<Value = [u32; W]> {
    let lengths = 0..=32 * W as u32;
    let prefix = lengths.prop_map(|length| {
        let mut left = length;
        [(); W].map(|()| {
            let here = left.min(32);
            left -= here;
            u32::MAX.checked_shl(32 - here).unwrap_or(0)
        })
    });
    let any_mask = prop::array::uniform::<_, W>(any::<u32>());
    prop_oneof![8 => prefix, 1 => any_mask, 2 => Just([0; W]), 4 => Just([u32::MAX; W])]
}

fn range() -> impl Strategy<Value = (u16, u16)> {
    let port = prop::sample::select(&[0u16, 22, 53, 80, 443, 1024, 8080, 65535]);
    prop_oneof![
        2 => Just((0, 65535)),
        2 => port.clone().prop_map(|port| (port, port)),
        1 => (port.clone(), port).prop_map(|(a, b)| (a.min(b), a.max(b))),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| (a.min(b), a.max(b))),
    ]
}

fn rule<const W: usize>() -> impl Strategy<Value = Rule<W>> {
    let addr = || prop::array::uniform::<_, W>(word());
    // More protocols than a grid tells apart.
    let protocol = (0u16..10).prop_map(|protocol| (protocol, 0xff));
    let class = prop_oneof![
        6 => prop::sample::select(&[(6u16, 0xff), (17, 0xff), (0, 0), (6, 0x0f), (0x106, 0x1ff)]),
        1 => protocol,
    ];
    (addr(), mask(), addr(), mask(), range(), range(), class).prop_map(
        |(src, src_mask, dst, dst_mask, sport, dport, (class, class_mask))| Rule {
            src,
            src_mask,
            dst,
            dst_mask,
            low: [sport.0, dport.0],
            high: [sport.1, dport.1],
            class,
            class_mask,
            priority: 0,
        },
    )
}

fn rules<const W: usize>(count: core::ops::Range<usize>) -> impl Strategy<Value = Vec<Rule<W>>> {
    // Priorities that 16 bits tell apart, that they do not, and up to the worst.
    let step = prop::sample::select(&[1, 300, 70_001]);
    (prop::collection::vec(rule(), count), step, any::<bool>()).prop_map(|(mut rules, step, is_worst)| {
        let first = if is_worst { PRIORITY_MAX - step * rules.len() as u32 } else { 0 };
        for (number, rule) in (0..).zip(&mut rules) {
            rule.priority = first + number * step;
        }
        rules
    })
}

fn key<const W: usize>() -> impl Strategy<Value = Key<W>> {
    let port = || prop::sample::select(&[0u16, 22, 53, 80, 443, 1024, 8080, 65535, 40000]);
    let addr = || prop::array::uniform::<_, W>(word());
    (addr(), addr(), port(), port(), prop::sample::select(&[6u32, 6, 6, 17, 17, 1, 0x106, 0, 2, 3, 7]))
        .prop_map(|(src, dst, a, b, class)| Key { src, dst, ports: [a, b], class })
}

/// A grid for all rules that can be in one.
const GRID: Wanted = grid(2);

const fn grid(sides: usize) -> Wanted {
    Wanted::Grid { skip: 0, is_last: false, sides }
}

/// With tables only, of every kind, and with grids and bits whether they are worth it or not, for all rules and for some.
fn all<const W: usize>(rules: &[Rule<W>]) -> [Classifier<W>; 10] {
    let last = |skip| Wanted::Grid { skip, is_last: true, sides: 2 };
    let narrow = |all| Wanted::Narrow { all };
    let bits = |is_last| Wanted::Bits { is_last };
    [Wanted::Tables, narrow(false), narrow(true), grid(0), grid(1), GRID, last(0), last(2), bits(false), bits(true)]
        .map(|wanted| table::build(rules, wanted).unwrap())
}

fn agree<const W: usize>(classifier: &Classifier<W>, rules: &[Rule<W>], keys: &[Key<W>]) {
    let mut found = alloc::vec![0; keys.len()];
    // First without the vector instructions that not every processor has.
    let mut portable = classifier.clone();
    portable.vector = crate::mem::simd::Vector::none();
    portable.lookup_burst(keys, &mut found);
    for (key, found) in keys.iter().zip(&found) {
        assert_eq!(*found, linear(rules, key), "{key:?}");
    }
    classifier.lookup_burst(keys, &mut found);
    for (key, found) in keys.iter().zip(&found) {
        assert_eq!(*found, linear(rules, key), "{key:?}");
        assert_eq!(*found, classifier.lookup(key));
    }
    // Bursts of every length.
    for len in [3, 7, 11, 19, 29] {
        for (keys, found) in keys.chunks(len).zip(found.chunks_mut(len)) {
            let known: Vec<_> = found.to_vec();
            classifier.lookup_burst(keys, found);
            assert_eq!(found, known);
            portable.lookup_burst(keys, found);
            assert_eq!(found, known);
        }
    }
    // Runs of every length, in every place.
    let runs: Vec<_> =
        keys.iter().enumerate().flat_map(|(number, key)| core::iter::repeat_n(*key, 1 + number % 7)).collect();
    for keys in [&runs, runs.get(3..).unwrap_or(&[])] {
        for classifier in [&portable, classifier] {
            let mut found = alloc::vec![0; keys.len()];
            classifier.lookup_burst(keys, &mut found);
            for (key, found) in keys.iter().zip(&found) {
                assert_eq!(*found, linear(rules, key), "{key:?}");
            }
        }
    }
    // Headers that differ from the one before in nothing but one bit of a word.
    let almost: Vec<_> = keys
        .iter()
        .flat_map(|key| {
            let mut others = [*key; 5];
            let [_, a, b, c, d] = &mut others;
            if let (Some(src), Some(dst)) = (a.src.first_mut(), b.dst.first_mut()) {
                (*src, *dst) = (*src ^ 1 << 31, *dst ^ 1);
            }
            (c.ports, d.class) = ([key.ports[0] ^ 1, key.ports[1]], key.class ^ 1 << 9);
            others
        })
        .collect();
    let mut found_almost = alloc::vec![0; almost.len()];
    classifier.lookup_burst(&almost, &mut found_almost);
    for (key, found) in almost.iter().zip(&found_almost) {
        assert_eq!(*found, linear(rules, key), "{key:?}");
    }
    // Bursts of one header, and such as are interrupted.
    for keys in keys.chunks(2) {
        let mut run: Vec<_> = keys.iter().flat_map(|key| core::iter::repeat_n(*key, 40)).collect();
        run.extend(keys);
        let mut found = alloc::vec![0; run.len()];
        classifier.lookup_burst(&run, &mut found);
        for (key, found) in run.iter().zip(&found) {
            assert_eq!(*found, linear(rules, key), "{key:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn v4_agrees(rules in rules::<1>(0..200), keys in prop::collection::vec(key::<1>(), 1..100)) {
        for classifier in all(&rules) {
            agree(&classifier, &rules, &keys);
        }
    }

    #[test]
    fn v6_agrees(rules in rules::<4>(0..100), keys in prop::collection::vec(key::<4>(), 1..100)) {
        for classifier in all(&rules) {
            agree(&classifier, &rules, &keys);
        }
    }

    #[test]
    fn layer_2_agrees(rules in rules::<2>(0..100), keys in prop::collection::vec(key::<2>(), 1..100)) {
        for classifier in all(&rules) {
            agree(&classifier, &rules, &keys);
        }
    }

    #[test]
    fn updates_agree(
        rules in rules::<1>(1..120),
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
        keys in prop::collection::vec(key::<1>(), 32),
    ) {
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for (number, rule) in rules.iter().enumerate() {
            if number % 2 == 0 { inside.push(*rule) } else { outside.push(*rule) }
        }
        let mut classifiers = all(&inside);
        for (insert, pick) in steps {
            let (from, to) = if insert { (&mut outside, &mut inside) } else { (&mut inside, &mut outside) };
            if from.is_empty() {
                continue;
            }
            let rule = from.swap_remove(pick.index(from.len()));
            to.push(rule);
            for classifier in &mut classifiers {
                if insert {
                    prop_assert_eq!(classifier.insert(&rule), Ok(()));
                } else {
                    prop_assert!(classifier.remove(&rule));
                    prop_assert!(!classifier.remove(&rule));
                }
                prop_assert_eq!(classifier.len(), inside.len());
            }
        }
        for classifier in &classifiers {
            agree(classifier, &inside, &keys);
        }
    }
}

#[test]
fn bad_rules_are_refused() {
    let good = Rule::<1> {
        src: [0],
        src_mask: [0],
        dst: [0],
        dst_mask: [0],
        low: [0; 2],
        high: [u16::MAX; 2],
        class: 0,
        class_mask: 0,
        priority: PRIORITY_MAX,
    };
    let mut classifier = Classifier::new(&[good]).unwrap();
    assert_eq!(classifier.lookup(&Key { src: [7], dst: [7], ports: [7; 2], class: 7 }), PRIORITY_MAX);
    for bad in [Rule { priority: PRIORITY_MAX + 1, ..good }, Rule { low: [2, 0], high: [1, 0], ..good }] {
        assert_eq!(Classifier::new(&[bad]).err(), Some(Refused::Invalid));
        assert_eq!(classifier.insert(&bad), Err(Refused::Invalid));
    }
}

#[test]
fn room_is_bounded_and_said() {
    let rule = |priority: u32| Rule::<1> {
        src: [priority],
        src_mask: [u32::MAX],
        dst: [0],
        dst_mask: [0],
        low: [0; 2],
        high: [u16::MAX; 2],
        class: 0,
        class_mask: 0,
        priority,
    };
    let mut classifier = Classifier::new(&[]).unwrap();
    assert_eq!(classifier.lookup(&Key { src: [1], dst: [7], ports: [7; 2], class: 7 }), NONE);
    let before = classifier.memory_bytes();
    let taken = (0..10_000).take_while(|number| classifier.insert(&rule(*number)).is_ok()).count();
    assert!((64..10_000).contains(&taken), "{taken}");
    assert_eq!(classifier.memory_bytes(), before);
    for number in 0..taken as u32 {
        assert_eq!(classifier.lookup(&Key { src: [number], dst: [7], ports: [7; 2], class: 7 }), number);
        assert!(classifier.remove(&rule(number)));
    }
    assert!(classifier.is_empty());
}

/// Rules that no mask tells apart: one long leaf, and no more memory than others take.
#[test]
fn rules_that_hash_alike_are_still_right() {
    let rules: Vec<_> = (0..3000u16)
        .map(|number| Rule::<1> {
            src: [0x0a00_0000],
            src_mask: [0xff00_0000],
            dst: [0],
            dst_mask: [0],
            low: [number, 30_000 - number],
            high: [20_000 + number, 40_000 + number],
            class: 6,
            class_mask: 0xff,
            priority: u32::from(number),
        })
        .collect();
    let keys: Vec<_> = (0..200u16)
        .map(|number| Key { src: [0x0a01_0203], dst: [5], ports: [number * 150, 27_000 + number * 30], class: 6 })
        .collect();
    let tables = table::build(&rules, Wanted::Tables).unwrap();
    assert!(tables.memory_bytes() < 3000 * 128, "{}", tables.memory_bytes());
    agree(&tables, &rules, &keys);
    // Bits tell them apart.
    let classifier = Classifier::new(&rules).unwrap();
    assert_eq!(classifier.tables_asked(), 0);
    assert!(classifier.memory_bytes() < 3000 * 192, "{}", classifier.memory_bytes());
    agree(&classifier, &rules, &keys);
}

/// Prefixes within prefixes, of more rules than a line has bits and of more lengths than there are classes, while rules come
/// and go.
#[test]
fn bits_agree_while_rules_change() {
    let (line, at) = (u128::MAX / 3, |number: u32, of: u32| (number.wrapping_mul(0x9E37_79B1) >> 8) % of);
    let words = |wide: u128| [96, 64, 32, 0].map(|shift| (wide >> shift) as u32);
    let rule = |number: u32| {
        let (a, b) = (at(2 * number, 129), at(2 * number + 1, 129));
        let mask = |len: u32| u128::MAX.unbounded_shl(128 - len);
        let low = at(number + 7, 60_000) as u16;
        Rule::<4> {
            src: words(line & mask(a)),
            src_mask: words(mask(a)),
            dst: words(!line & mask(b)),
            dst_mask: words(mask(b)),
            low: [0, low],
            high: [u16::MAX, low + 3000],
            class: (number % 12) as u16,
            class_mask: if number.is_multiple_of(5) { 0 } else { 0xff },
            priority: number * 2,
        }
    };
    let mut rules: Vec<_> = (0..1500).map(rule).collect();
    let mut classifier = table::build(&rules, Wanted::Bits { is_last: false }).unwrap();
    assert_eq!(classifier.tables_asked(), 0);
    let keys: Vec<_> = (0..150)
        .map(|number| {
            let flip = |number: u32| 1u128.unbounded_shl(at(number, 140));
            let (src, dst) = (words(line ^ flip(3 * number)), words(!line ^ flip(5 * number + 1)));
            Key { src, dst, ports: [1, at(number, 65_536) as u16], class: number % 13 }
        })
        .collect();
    agree(&classifier, &rules, &keys);
    for number in 0..400 {
        let place = number * 7919 % rules.len();
        let old = rules.swap_remove(place);
        assert!(classifier.remove(&old));
        if number % 3 == 0 {
            rules.push(Rule { priority: old.priority + 1, ..old });
            assert_eq!(classifier.insert(&rules[rules.len() - 1]), Ok(()));
        }
        if number % 50 == 0 {
            agree(&classifier, &rules, &keys);
        }
    }
    agree(&classifier, &rules, &keys);
}

/// More lists of rules than 16 bits can number, and a grid behind tables, of which few headers are left or many.
#[test]
fn large_grids_agree() {
    let rule = |number: u32, src: u32, dst: u32, bits: [u32; 2], port: u16| Rule::<1> {
        src: [src],
        src_mask: [u32::MAX.unbounded_shl(32 - bits[0])],
        dst: [dst],
        dst_mask: [u32::MAX.unbounded_shl(32 - bits[1])],
        low: [0, port],
        high: [u16::MAX, port + (number % 3) as u16],
        class: if number.is_multiple_of(2) { 6 } else { 17 },
        class_mask: 0xff,
        priority: number,
    };
    let rules: Vec<_> = (0..1200)
        .map(|number| match number % 3 {
            0 => rule(number, number << 16, 0, [16, 0], (number % 700) as u16),
            1 => rule(number, 0, number << 16, [0, 16], (number % 500) as u16),
            _ => rule(number, number << 16, (number / 7) << 16 | number, [20, 32], (number % 900) as u16),
        })
        .collect();
    let keys: Vec<_> = (0..4000u32)
        .map(|number| {
            let word = number.wrapping_mul(0x9E37_79B1);
            Key {
                src: [(((word >> 9) % 1200) << 16) | (word & 0xfff)],
                dst: [(((word >> 20) % 1200) << 16) | (number % 1200)],
                ports: [7, (word >> 5) as u16 % 900],
                class: if number.is_multiple_of(2) { 6 } else { 17 },
            }
        })
        .collect();
    let known: Vec<_> = keys.iter().map(|key| linear(&rules, key)).collect();
    let mut wide = 0;
    for skip in 0..3 {
        for is_last in [false, true] {
            let mut classifier = table::build(&rules, Wanted::Grid { skip, is_last, sides: 2 }).unwrap();
            wide += usize::from(classifier.memory_bytes() > (96 << 16));
            for vector in [classifier.vector, crate::mem::simd::Vector::none()] {
                classifier.vector = vector;
                let mut found = alloc::vec![0; keys.len()];
                classifier.lookup_burst(&keys, &mut found);
                assert_eq!(found, known);
            }
        }
    }
    assert!(wide >= 2, "{wide}");
}

/// A priority that is used again by another rule, and more dead rules than a grid remembers.
#[test]
fn a_grid_forgets_what_is_removed() {
    let rule = |number: u32, port: u16| Rule::<1> {
        src: [0x0a00_0000 | number << 8],
        src_mask: [0xffff_ff00],
        dst: [0xc0a8_0000 | (number % 7)],
        dst_mask: [u32::MAX],
        low: [0, port],
        high: [u16::MAX, port],
        class: 6,
        class_mask: 0xff,
        priority: number,
    };
    let mut rules: Vec<_> = (0..600).map(|number| rule(number, 80)).collect();
    let keys: Vec<_> = (0..1200u32)
        .map(|number| Key {
            src: [0x0a00_0001 | (number / 2) << 8],
            dst: [0xc0a8_0000 | (number / 2 % 7)],
            ports: [7, if number & 1 == 0 { 80 } else { 81 }],
            class: 6,
        })
        .collect();
    let mut classifier = table::build(&rules, GRID).unwrap();
    assert_eq!(classifier.tables_asked(), 0);
    for number in 0..600 {
        let old = rules[number];
        assert!(classifier.remove(&old));
        rules[number] = rule(number as u32, 81);
        assert_eq!(classifier.insert(&rules[number]), Ok(()));
        if number % 100 == 9 {
            agree(&classifier, &rules, &keys);
            // There and back again.
            assert!(classifier.remove(&rules[number]));
            assert_eq!(classifier.insert(&old), Ok(()));
            rules[number] = old;
            agree(&classifier, &rules, &keys);
        }
    }
    agree(&classifier, &rules, &keys);
}

/// So many rules that leaves of one or two are in pairs; others come and go until the room that was left is used.
#[test]
fn many_rules_agree_while_they_change() {
    // Every address has one rule, or two or three, which differ in their ports.
    let rule = |number: u32| {
        let word = (number / 4 * 2 + number % 4 / 2).wrapping_mul(0x9E37_79B1);
        Rule::<1> {
            src: [word],
            src_mask: [0xffff_fff0],
            dst: [!word],
            dst_mask: [if number % 16 == 3 { 0 } else { 0xffff_0000 }],
            low: [0, (number % 2 * 1000) as u16],
            high: [u16::MAX, if number.is_multiple_of(3) { u16::MAX } else { 1500 }],
            class: 6,
            class_mask: 0xff,
            priority: number * 3,
        }
    };
    let mut rules: Vec<_> = (0..17_000).map(rule).collect();
    let keys: Vec<_> = (0..600u32)
        .map(|number| {
            let near = rule(number * 37);
            let port = [7, [0, 999, 1000, 1501, 40_000][number as usize % 5]];
            Key { src: [near.src[0] ^ (number % 16)], dst: [near.dst[0] ^ (number % 7)], ports: port, class: 6 }
        })
        .collect();
    let mut classifier = Classifier::new(&rules).unwrap();
    let before = classifier.memory_bytes();
    assert!(before < 17_000 * 120, "{before}");
    let check = |classifier: &Classifier<1>, rules: &[Rule<1>]| {
        let known: Vec<_> = keys.iter().map(|key| linear(rules, key)).collect();
        for vector in [classifier.vector, crate::mem::simd::Vector::none()] {
            let mut classifier = classifier.clone();
            classifier.vector = vector;
            let mut found = alloc::vec![0; keys.len()];
            classifier.lookup_burst(&keys, &mut found);
            assert_eq!(found, known);
        }
    };
    check(&classifier, &rules);
    for number in 0..4000 {
        assert!(classifier.remove(&rules.swap_remove(number * 7919 % rules.len())));
    }
    check(&classifier, &rules);
    // As many as there were, and a quarter.
    let (there, len): (alloc::collections::BTreeSet<_>, _) =
        (rules.iter().map(|rule| rule.priority).collect(), rules.len());
    let others = (0..).map(rule).filter(|rule| !there.contains(&rule.priority)).take(4000 + 17_000 / 4);
    for rule in others {
        assert_eq!(classifier.insert(&rule), Ok(()), "{}", rules.len() - len);
        rules.push(rule);
    }
    check(&classifier, &rules);
    assert_eq!((classifier.memory_bytes(), classifier.len()), (before, rules.len()));
}

/// Rules that come and go keep lookups from no table that they left out.
#[test]
fn no_table_is_woken_by_rules_that_come_back() {
    let rule = |number: u32| {
        let word = number.wrapping_mul(0x9E37_79B1);
        let last = number >= 19_800;
        let (src_len, dst_len) = match number % 8 {
            _ if last => (8, 0),
            3 => (24, 0),
            7 => (20 + word % 8, 0),
            _ => (0, 21 + word % 12),
        };
        let under = |len: u32| u32::MAX.checked_shl(32 - len).unwrap_or(0);
        let port = (number % 50_000) as u16;
        Rule::<1> {
            // Some networks have many rules, which differ in their ports.
            src: [if number % 8 == 3 && !last { (number % 23) << 24 } else { word }],
            src_mask: [under(src_len)],
            dst: [!word],
            dst_mask: [under(dst_len)],
            low: [0, port],
            high: [u16::MAX, if number.is_multiple_of(3) { port } else { u16::MAX }],
            class: 6,
            class_mask: if number.is_multiple_of(2) { 0xff } else { 0 },
            priority: number,
        }
    };
    let rules: Vec<_> = (0..20_000).map(rule).collect();
    let mut classifier = Classifier::new(&rules).unwrap();
    let asked = classifier.tables_asked();
    assert!(asked < classifier.tables(), "{asked} of {}", classifier.tables());
    for number in 0..60_000usize {
        let place = number * 7919 % rules.len();
        assert!(classifier.remove(&rules[place]));
        assert_eq!(classifier.insert(&rules[place]), Ok(()));
    }
    assert_eq!(classifier.tables_asked(), asked);
}
