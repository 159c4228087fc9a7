use alloc::string::String;
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
