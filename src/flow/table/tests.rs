use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::wire::Family;

fn secret() -> Secret {
    Secret::from_seed(0x5eed)
}

/// IPv4, or IPv6, where many keys have the same head.
fn key(n: u32) -> FlowKey {
    let mut src = [0; 16];
    src[..4].copy_from_slice(&n.to_be_bytes());
    if n.is_multiple_of(3) {
        return FlowKey::new((&[7; 16], 80), (&src, 443), 6, Family::V6, 0);
    }
    let dst = [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    FlowKey::new((&src, (n >> 3) as u16), (&dst, 443), 6, Family::V4, 0)
}

fn insert(table: &mut FlowTable<u32>, n: u32) -> Result<FlowId, Full> {
    table.insert(table.hash(&key(n)), key(n), n)
}

fn find(table: &FlowTable<u32>, n: u32) -> Option<FlowId> {
    table.find(table.hash(&key(n)), &key(n))
}

#[test]
fn a_key_keeps_what_it_was_made_of() {
    let (src, dst) = ([1; 16], [2; 16]);
    let key = FlowKey::new((&src, 1), (&dst, 2), 17, Family::V6, 0xbeef);
    assert_eq!((key.src(), key.src_port(), key.dst(), key.dst_port()), (src, 1, dst, 2));
    assert_eq!((key.protocol(), key.family(), key.zone()), (17, Family::V6, 0xbeef));
    assert!(key.is_long());
    let (src, dst) = ([3; 4], [4; 4]);
    let [src, dst] = [src, dst].map(|addr| core::array::from_fn(|at| addr.get(at).copied().unwrap_or(0)));
    let key = FlowKey::new((&src, 0xfffe), (&dst, 0xfffd), 6, Family::V4, 0xffff);
    assert_eq!((key.src(), key.src_port(), key.dst(), key.dst_port()), (src, 0xfffe, dst, 0xfffd));
    assert_eq!((key.protocol(), key.family(), key.zone()), (6, Family::V4, 0xffff));
    assert_eq!((key.is_long(), *key.tail()), (false, [0; 3]));
    assert_eq!(size_of::<FlowKey>(), 40);
}

#[test]
fn full_means_as_many_flows_as_it_was_made_for() {
    for capacity in [0, 1, 5, 6, 7, 12, 13, 1000] {
        let mut table = FlowTable::new(capacity, 0, secret()).unwrap();
        for n in 0..capacity as u32 {
            insert(&mut table, n).unwrap();
        }
        assert_eq!(insert(&mut table, u32::MAX), Err(Full));
        assert_eq!(table.len(), capacity);
        // Room for one is room for one.
        if capacity > 0 {
            let id = find(&table, 0).unwrap();
            assert_eq!(table.remove(id), Some(0));
            insert(&mut table, u32::MAX).unwrap();
            assert_eq!(insert(&mut table, 0), Err(Full));
        }
    }
}

#[test]
fn a_place_is_taken_or_free_also_when_its_generations_begin_again() {
    let mut slot = Slot { head: key(1).head(), generation: NonZeroU32::MAX, next: NONE, value: () };
    for used in [true, false, true, false] {
        assert_eq!(slot.is_used(), used);
        let id = FlowId { index: 0, generation: slot.generation };
        assert_eq!(slot.has(id), used);
        slot.turn();
        assert!(!slot.has(id));
    }
}

#[test]
fn what_is_gone_is_no_candidate() {
    let mut table = FlowTable::new(4, 0, secret()).unwrap();
    let id = insert(&mut table, 1).unwrap();
    let candidate = table.candidate(table.hash(&key(1)), true);
    assert_eq!(table.lines().at(candidate, &key(1)).map(|(value, _)| *value), Some(1));
    assert_eq!(table.remove(id), Some(1));
    assert!(table.lines().at(candidate, &key(1)).is_none());
    // Nor is an id that nobody got.
    let (index, generation) = (id.index() as u32, id.generation().saturating_add(1));
    assert_eq!(table.get(FlowId::from_parts(index, generation)), None);
}

#[test]
fn an_id_dies_with_its_flow() {
    let mut table = FlowTable::new(1, 0, secret()).unwrap();
    let old = insert(&mut table, 1).unwrap();
    assert_eq!(table.remove(old), Some(1));
    assert_eq!((table.get(old).copied(), table.remove(old), table.key(old)), (None, None, None));
    let new = insert(&mut table, 2).unwrap();
    assert_eq!(new.index(), old.index());
    assert_ne!(new, old);
    assert_eq!((table.get(old).copied(), table.get_mut(old).copied(), table.remove(old)), (None, None, None));
    assert_eq!(table.get(new), Some(&2));
}

#[test]
fn a_further_key_finds_the_flow_and_goes_with_it() {
    let mut table = FlowTable::new(4, 2, secret()).unwrap();
    let id = insert(&mut table, 1).unwrap();
    for n in [100, 101] {
        assert_eq!(table.add_key(id, table.hash(&key(n)), key(n)), Ok(true));
        assert_eq!(table.find_further(table.hash(&key(n)), &key(n)), Some(id));
        assert!(table.may_find_further(table.hash(&key(n))));
        assert_eq!(find(&table, n), None);
    }
    assert_eq!(find(&table, 1), Some(id));
    assert_eq!(table.add_key(id, table.hash(&key(102)), key(102)), Err(Full));
    assert_eq!(table.further_keys(id).copied().collect::<Vec<_>>(), [key(101), key(100)]);
    table.remove(id);
    assert_eq!(find(&table, 1), None);
    assert_eq!([100, 101].map(|n| table.find_further(table.hash(&key(n)), &key(n))), [None; 2]);
    assert_eq!(table.further_len(), 0);
    assert_eq!(table.add_key(id, table.hash(&key(100)), key(100)), Ok(false));
    assert_eq!(table.further_keys(id).count(), 0);
    let id = insert(&mut table, 2).unwrap();
    assert_eq!(table.add_key(id, table.hash(&key(100)), key(100)), Ok(true));
    assert_eq!(table.find_further(table.hash(&key(100)), &key(100)), Some(id));
}

/// All hashes alike: the worst that an attacker could do who knew the secret. Slow, but right.
#[test]
fn one_bucket_for_all_still_finds_everything() {
    let mut table = FlowTable::new(500, 0, secret()).unwrap();
    let hash = u64::MAX;
    let ids: Vec<_> = (0..500).map(|n| table.insert(hash, key(n), n).unwrap()).collect();
    for (n, id) in (0..).zip(&ids) {
        assert_eq!(table.find(hash, &key(n)), Some(*id));
    }
    assert_eq!(table.find(hash, &key(500)), None);
    // `remove` looks where the key's own hash says, so take them out by hand.
    for (n, id) in (0..).zip(&ids).step_by(2) {
        table.firsts.unlink(hash, id.index);
        assert_eq!(table.find(hash, &key(n)), None);
    }
    for (n, id) in (0..).zip(&ids).skip(1).step_by(2) {
        assert_eq!(table.find(hash, &key(n)), Some(*id));
    }
    for id in ids.iter().skip(1).step_by(2) {
        table.firsts.unlink(hash, id.index);
    }
    assert!(table.firsts.fill().all(|fill| fill == (0, true)));
}

/// Structured keys, as in a scan: buckets fill as if the keys were random.
#[test]
fn structured_keys_spread_evenly() {
    const COUNT: u32 = 60_000;
    for (name, of) in [
        ("sequential addresses", (|n| (n, 80)) as fn(u32) -> (u32, u16)),
        ("sequential ports", |n| (n >> 16, n as u16)),
        ("high bits only", |n| (n << 12, (n >> 20) as u16)),
    ] {
        let mut table = FlowTable::new(COUNT as usize, 0, secret()).unwrap();
        for n in 0..COUNT {
            let (addr, port) = of(n);
            let mut src = [0; 16];
            src[..4].copy_from_slice(&addr.to_be_bytes());
            let key = FlowKey::new((&src, port), (&[9; 16], 443), 6, Family::V4, 0);
            table.insert(table.hash(&key), key, n).unwrap();
        }
        // Poisson with a mean of 6: P(more than 12) = 0.9 %, and what passes on makes little more of it.
        let passed: Vec<_> = table.firsts.fill().map(|(passed, _)| passed).collect();
        let buckets = passed.iter().filter(|passed| **passed > 0).count();
        assert!(buckets * 50 < passed.len(), "{name}: {buckets} of {}", passed.len());
        let longest = passed.into_iter().max().unwrap();
        assert!(longest < 20, "{name}: {longest}");
    }
}

#[test]
fn another_secret_is_another_hash() {
    let other = Secret::from_seed(1);
    let same = (0..1000).filter(|n| secret().hash(&key(*n)) >> 48 == other.hash(&key(*n)) >> 48).count();
    assert!(same < 5);
    assert_eq!(format!("{other:?}"), "Secret");
}

/// One bit of difference in a key changes each bit of the hash about as often as not.
#[test]
fn every_bit_of_a_key_counts() {
    let of_family = [(Family::V6, 0..128), (Family::V4, 0..32)];
    for (family, bit) in of_family.into_iter().flat_map(|(family, bits)| bits.map(move |bit| (family, bit))) {
        let base = FlowKey::new((&[0; 16], 0), (&[0; 16], 0), 0, family, 0);
        let mut addr = [0; 16];
        addr[bit / 8] = 1 << (bit % 8);
        let mut differing = 0;
        for seed in 0..64 {
            let secret = Secret::from_seed(seed);
            for other in [
                FlowKey::new((&addr, 0), (&[0; 16], 0), 0, family, 0),
                FlowKey::new((&[0; 16], 0), (&addr, 0), 0, family, 0),
            ] {
                differing += (secret.hash(&base) ^ secret.hash(&other)).count_ones();
            }
        }
        assert!((3600..4600).contains(&differing), "{family:?}, bit {bit}: {differing} of 8192");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    AddKey(u32, u32),
    Remove(u32),
    Find(Vec<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..60u32;
    prop_oneof![
        4 => n.clone().prop_map(Step::Insert),
        2 => (n.clone(), n.clone()).prop_map(|(flow, key)| Step::AddKey(flow, key)),
        3 => n.clone().prop_map(Step::Remove),
        2 => prop::collection::vec(n, 1..64).prop_map(Step::Find),
    ]
}

/// What a flow's three parts are.
fn parts_of(serial: u32) -> (u32, u64, [u8; 3]) {
    (serial, u64::from(serial) << 32, [serial as u8; 3])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The oracle is the standard library's map, with one entry per key.
    #[test]
    fn behaves_like_a_hash_map(capacity in 0..50usize, further in 0..10usize, seed: u64,
                               steps in prop::collection::vec(step(), 1..200)) {
        let mut table = FlowTable::with_parts(capacity, further, Secret::from_seed(seed)).unwrap();
        // From key to flow, and from flow to its keys, the first one first.
        let mut by_key: HashMap<u32, u32> = HashMap::new();
        let mut flows: HashMap<u32, (FlowId, Vec<u32>)> = HashMap::new();
        let mut serial = 0;
        for step in steps {
            match step {
                Step::Insert(n) => {
                    if by_key.contains_key(&n) {
                        continue;
                    }
                    serial += 1;
                    match table.insert_parts(table.hash(&key(n)), key(n), parts_of(serial)) {
                        Ok(id) => {
                            by_key.insert(n, serial);
                            flows.insert(serial, (id, vec![n]));
                        }
                        Err(Full) => prop_assert_eq!(flows.len(), capacity),
                    }
                }
                Step::AddKey(flow, n) => {
                    let Some(flow) = by_key.get(&flow).copied().filter(|_| !by_key.contains_key(&n)) else { continue };
                    let (id, keys) = flows.get_mut(&flow).unwrap();
                    match table.add_key(*id, table.hash(&key(n)), key(n)) {
                        Ok(added) => {
                            prop_assert!(added);
                            keys.push(n);
                            by_key.insert(n, flow);
                        }
                        Err(Full) => prop_assert_eq!(table.further_len(), further),
                    }
                }
                Step::Remove(n) => {
                    let Some(flow) = by_key.get(&n).copied() else {
                        prop_assert_eq!(table.find(table.hash(&key(n)), &key(n)), None);
                        continue;
                    };
                    let (id, keys) = flows.remove(&flow).unwrap();
                    prop_assert_eq!(table.remove_parts(id), Some(parts_of(flow)));
                    for key in keys {
                        by_key.remove(&key);
                    }
                }
                Step::Find(wanted) => {
                    let keys: Vec<_> = wanted.iter().map(|n| key(*n)).collect();
                    let (mut looks, mut found) = (vec![Look::NONE; keys.len()], vec![None; keys.len()]);
                    table.look(&keys, &mut looks);
                    table.find_burst(&keys, &looks, &mut found);
                    for (n, found) in wanted.iter().zip(found) {
                        let flow = by_key.get(n);
                        let is_first = |flow: &&u32| flows[flow].1[0] == *n;
                        let id = |flow: &u32| flows[flow].0;
                        let hash = table.hash(&key(*n));
                        prop_assert_eq!(found, flow.filter(is_first).map(id));
                        prop_assert_eq!(table.find(hash, &key(*n)), found);
                        let further = flow.filter(|flow| !is_first(flow)).map(id);
                        prop_assert_eq!(table.find_further(hash, &key(*n)), further);
                        prop_assert!(further.is_none() || table.may_find_further(hash));
                        let parts = found.or(further).and_then(|id| table.parts(id));
                        let copied = parts.map(|(first, second, third)| (*first, *second, *third));
                        prop_assert_eq!(copied, flow.map(|flow| parts_of(*flow)));
                    }
                }
            }
            prop_assert_eq!(table.len(), flows.len());
            prop_assert_eq!(table.further_len(), by_key.len() - flows.len());
        }
        let mut met: Vec<_> = (0..table.reach()).filter_map(|index| table.id_at(index)).collect();
        met.sort_by_key(|id| id.index());
        let mut expected: Vec<_> = flows.values().map(|(id, _)| *id).collect();
        expected.sort_by_key(|id| id.index());
        prop_assert_eq!(met, expected);
        for (id, keys) in flows.values() {
            prop_assert_eq!(table.key(*id), Some(key(keys[0])));
            let further: Vec<_> = table.further_keys(*id).copied().collect();
            prop_assert_eq!(further, keys[1..].iter().rev().map(|n| key(*n)).collect::<Vec<_>>());
            table.remove_parts(*id);
        }
        prop_assert!(table.firsts.fill().all(|fill| fill == (0, true)));
    }
}
