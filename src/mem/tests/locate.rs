//! Vectors find what one header after the other finds.

use std::vec::Vec;

use super::numbers;
use crate::mem::answers::take;
use crate::mem::four::Four;
use crate::mem::locate::{CHUNK, GROUP, KINDS, Kinds, Locator, NODE, Ports, Services};
use crate::mem::simd::Avx2;
use crate::mem::transpose::Rows;

/// Source, destination, ports and class, column by column.
struct Columns<'a>([&'a [u32; GROUP]; 4]);

impl Rows for Columns<'_> {
    fn row(&self, number: usize) -> Four {
        Four::new(&self.0.map(|column| column[number]))
    }
}

#[test]
fn located_by_vectors_as_one_by_one() {
    let Some(avx2) = Avx2::detect() else {
        return;
    };
    let mut random = numbers(9);
    for nodes in [1, 5] {
        // Entries lead to nodes, to classes, and to what is not there.
        let mut table = |len: u32, node: u32, end: u32| -> Vec<u16> {
            (0..len + 1)
                .map(|_| if node > 0 && random(2) == 0 { NODE | random(node + 1) as u16 } else { random(end) as u16 })
                .collect()
        };
        let (src, dst, under) = (table(1 << 16, nodes, 90), table(1 << 16, nodes, 130), table(256 * nodes, nodes, 40));
        // Rows, chunks and services may be behind their tables.
        let (index, chunks) = (table(4 * 90 * 3, 0, 20), table(19 * CHUNK as u32, 0, 0x10000));
        let mut numbers = table(3000, 0, 3);
        numbers[0] = 0;
        // Kinds with services and without.
        let mut ports = || {
            [(); 2].map(|()| match random(3) {
                0 => Ports::default(),
                _ => Ports { at: random(2000), last: [1, 300, u16::MAX][random(3) as usize] },
            })
        };
        let mut kinds = Kinds::new(0, ports());
        for kind in 0..if nodes == 1 { 3 } else { KINDS as u32 + 1 } {
            kinds.push(30 * kind as u8, (kind + 1) * 90 * 3, ports());
        }
        let tables = Locator {
            roots: [src, dst],
            nodes: under,
            kinds,
            services: Services { numbers, len: 90 * 3 },
            index,
            index_columns: 3,
            chunks,
            is_wide: nodes == 5,
            base: 77,
            first: 40_000,
        };
        for _ in 0..200 {
            let mut words = || [(); GROUP].map(|()| random(u32::MAX));
            let (src, dst) = ([(); 4].map(|()| words()), [(); 4].map(|()| words()));
            let class = words().map(|word| if word & 1 == 0 { word } else { word % 8 * 30 });
            let ports = words().map(|word| if word & 1 == 0 { word } else { word & 0x01ff_01ff });
            let len = [1, 8, 13, 17, 25, GROUP][random(6) as usize];
            let (mut found, known) = ([0; GROUP], [40; GROUP]);
            let (mut best, mut one_by_one) = (known, known);
            let others = avx2.locate(&tables, [&src, &dst], [&ports, &class], len, &mut found, &mut best);
            for number in 0..len {
                let [src, dst] = [src, dst].map(|addr| addr.map(|word| word[number]));
                assert_eq!(
                    tables.find(&src, &dst, ports[number], class[number]),
                    found[number],
                    "{src:x?} {dst:x?} {class:x?}"
                );
            }
            let these = u32::MAX.unbounded_shr((GROUP - len) as u32);
            assert_eq!(take(&found, len, &mut one_by_one), others & these);
            assert_eq!(best[..len], one_by_one[..len]);
            let ([src, ..], [dst, ..]) = (src, dst);
            avx2.locate(&tables, [&[src], &[dst]], [&ports, &class], len, &mut found, &mut best);
            for number in 0..len {
                let (src, dst, class) = (src[number], dst[number], class[number]);
                assert_eq!(
                    tables.find(&[src], &[dst], ports[number], class),
                    found[number],
                    "{src:x} {dst:x} {class:x}"
                );
            }
            let (mut columns, mut by_rows, mut best_by_rows) = ([[0; GROUP]; 4], [0; GROUP], known);
            let (mut by_columns, mut best) = (by_rows, known);
            let rows = Columns([&src, &dst, &ports, &class]);
            assert_eq!(
                avx2.locate_rows(&tables, &rows, &mut columns, &mut by_rows, &mut best_by_rows),
                avx2.locate(&tables, [&[src], &[dst]], [&ports, &class], GROUP, &mut by_columns, &mut best),
            );
            assert_eq!((by_rows, best_by_rows), (by_columns, best));
            assert_eq!(columns.each_ref(), rows.0);
        }
    }
}
