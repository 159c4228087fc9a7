use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

use super::arbitrary::{addr, entries, family, v4};
use super::oracle::in_table;
use crate::filter::*;

fn table(entries: &[([u8; 4], u8, bool)]) -> LookupTable {
    let entries = entries
        .iter()
        .map(|&(addr, len, negate)| TableEntry { family: Family::V4, addr: v4(addr), len, negate })
        .collect();
    LookupTable::new(&Table { name: String::from("t"), entries, ..Table::default() }).unwrap()
}

#[test]
fn the_longest_prefix_decides() {
    let table = table(&[([10, 0, 0, 0], 8, false), ([10, 1, 0, 0], 16, true), ([10, 1, 2, 0], 24, false)]);
    for (addr, inside) in [
        ([9, 255, 255, 255], false),
        ([10, 0, 0, 0], true),
        ([10, 0, 255, 255], true),
        ([10, 1, 0, 0], false),
        ([10, 1, 1, 255], false),
        ([10, 1, 2, 0], true),
        ([10, 1, 2, 255], true),
        ([10, 1, 3, 0], false),
        ([10, 2, 0, 0], true),
        ([10, 255, 255, 255], true),
        ([11, 0, 0, 0], false),
    ] {
        assert_eq!(table.contains(Family::V4, &v4(addr)), inside, "{addr:?}");
    }
}

#[test]
fn prefixes_at_both_ends_of_the_address_space() {
    let table = table(&[([0, 0, 0, 0], 0, false), ([0, 0, 0, 0], 32, true), ([255, 255, 255, 255], 32, true)]);
    assert!(!table.contains(Family::V4, &v4([0, 0, 0, 0])));
    assert!(table.contains(Family::V4, &v4([0, 0, 0, 1])));
    assert!(table.contains(Family::V4, &v4([255, 255, 255, 254])));
    assert!(!table.contains(Family::V4, &v4([255, 255, 255, 255])));
    assert!(!table.contains(Family::V6, &[0; 16]));
    assert!(!table.contains(Family::Any, &[0; 16]));
}

#[test]
fn as_many_nested_prefixes_as_there_can_be() {
    let entries =
        (0..=128).map(|len| TableEntry { family: Family::V6, addr: [0; 16], len, negate: len % 2 == 1 }).collect();
    let table = Table { name: String::from("t"), entries, ..Table::default() };
    let lookup = LookupTable::new(&table).unwrap();
    for bit in 0..128 {
        let addr = (1u128 << bit).to_be_bytes();
        assert_eq!(lookup.contains(Family::V6, &addr), in_table(&table, Family::V6, &addr), "bit {bit}");
    }
    assert!(lookup.contains(Family::V6, &[0; 16]));
}

proptest! {
    #[test]
    fn agrees_with_looking_at_every_entry(
        entries in entries(),
        family in family(),
        near in prop::collection::vec(addr(Family::V6), 8),
        far in any::<[u8; 16]>(),
    ) {
        let table = Table { name: String::from("t"), entries, ..Table::default() };
        let lookup = LookupTable::new(&table).unwrap();
        let near = near.iter().map(|addr| match family {
            Family::V4 => v4([10, addr[13], addr[14], addr[15]]),
            _ => *addr,
        });
        let edges = table.entries.iter().filter(|entry| entry.family == family).flat_map(|entry| {
            let first = u128::from_be_bytes(entry.addr);
            let last = first | u128::MAX.checked_shr(u32::from(entry.len)).unwrap_or(0);
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(u128::to_be_bytes)
        });
        let far = if family == Family::V4 { v4([far[0], far[1], far[2], far[3]]) } else { far };
        for mut addr in near.chain(edges).chain([far]) {
            if family == Family::V4 {
                addr[4..].fill(0);
            }
            prop_assert_eq!(lookup.contains(family, &addr), in_table(&table, family, &addr), "{:?}", addr);
        }
    }
}

/// Changes entries one at a time: where one is, it turns round or goes away, else it comes.
fn change(entries: &mut Vec<TableEntry>, wanted: TableEntry, turns: bool) {
    let key = |entry: &TableEntry| (entry.family as u8, entry.addr, entry.len);
    match entries.binary_search_by_key(&key(&wanted), key) {
        Ok(at) if turns => entries[at].negate ^= true,
        Ok(at) => {
            entries.remove(at);
        }
        Err(at) => entries.insert(at, wanted),
    }
}

proptest! {
    #[test]
    fn a_table_that_is_changed_is_one_that_is_made_anew(
        before in entries(),
        changes in prop::collection::vec((entries(), any::<bool>()), 1..12),
        probes in prop::collection::vec((family(), addr(Family::V6)), 8),
    ) {
        let mut table = Table { name: String::from("t"), entries: before, ..Table::default() };
        let mut lookup = LookupTable::new(&table).unwrap();
        for (wanted, turns) in changes {
            for entry in wanted {
                change(&mut table.entries, entry, turns);
                lookup.update(&table.entries, &entry).unwrap();
                prop_assert_eq!(lookup.intervals(), LookupTable::new(&table).unwrap().intervals());
            }
            let edges = table.entries.iter().flat_map(|entry| {
                let first = u128::from_be_bytes(entry.addr);
                let last = first | u128::MAX.checked_shr(u32::from(entry.len)).unwrap_or(0);
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(|addr| (entry.family, addr.to_be_bytes()))
            });
            let near = probes.iter().map(|(family, addr)| match family {
                Family::V4 => (*family, v4([10, addr[13], addr[14], addr[15]])),
                _ => (*family, *addr),
            });
            for (family, mut addr) in edges.chain(near) {
                if family == Family::V4 {
                    addr[4..].fill(0);
                }
                prop_assert_eq!(lookup.contains(family, &addr), in_table(&table, family, &addr), "{:?}", addr);
            }
        }
    }
}

#[test]
fn a_table_grows_and_shrinks_one_prefix_at_a_time() {
    let mut random = 1u32;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random
    };
    let mut all = vec![];
    let mut table = Table { name: String::from("t"), ..Table::default() };
    let mut lookup = LookupTable::default();
    for round in 0..3000 {
        let entry = if round < 2000 {
            let len = 8 + (next() % 25) as u8;
            // Half of them crowd into one network.
            let crowd = if next() % 2 == 0 { 0x0a00_0000 | next() >> 12 } else { next() };
            let addr = v4((crowd & u32::MAX << (32 - len)).to_be_bytes());
            TableEntry { family: Family::V4, addr, len, negate: next() % 4 == 0 }
        } else {
            all.swap_remove(next() as usize % all.len())
        };
        if round < 2000 {
            all.push(entry);
        }
        change(&mut table.entries, entry, false);
        lookup.update(&table.entries, &entry).unwrap();
        if round % 50 == 0 {
            let (addrs, mut inside): (Vec<u32>, Vec<bool>) = (0..64).map(|_| (next(), false)).unzip();
            let addrs: Vec<u32> =
                addrs.iter().map(|addr| if addr % 2 == 0 { 0x0a00_0000 | addr >> 12 } else { *addr }).collect();
            lookup.contains_burst4(&addrs, &mut inside);
            for (addr, inside) in addrs.iter().zip(inside) {
                assert_eq!(inside, in_table(&table, Family::V4, &v4(addr.to_be_bytes())), "{addr:x} in round {round}");
            }
        }
    }
}
