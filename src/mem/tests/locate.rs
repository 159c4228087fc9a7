//! Vectors find what one header after the other finds.

use std::vec::Vec;

use super::numbers;
use crate::mem::locate::{CHUNK, GROUP, KINDS, Kinds, Locator, NODE};
use crate::mem::simd::Avx2;

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
        // Rows and chunks may be behind their tables.
        let (index, chunks) = (table(4 * 90 * 3, 0, 20), table(19 * CHUNK as u32, 0, 60_000));
        let mut kinds = Kinds::default();
        for kind in 0..[3, KINDS as u32 + 1][random(2) as usize] {
            kinds.push(30 * kind as u8, (kind + 1) * 90 * 3);
        }
        let tables = Locator {
            roots: [&src, &dst],
            nodes: &under,
            kinds: &kinds,
            index: &index,
            index_columns: 3,
            chunks: &chunks,
            is_wide: nodes == 5,
        };
        for _ in 0..200 {
            let mut words = || [(); GROUP].map(|()| random(u32::MAX));
            let (src, dst) = ([(); 4].map(|()| words()), [(); 4].map(|()| words()));
            let class = words().map(|word| if word & 1 == 0 { word } else { word % 8 * 30 });
            let len = [1, 8, 13, 17, 25, GROUP][random(6) as usize];
            let mut found = [0; GROUP];
            avx2.locate(&tables, [&src, &dst], &class, len, &mut found);
            for number in 0..len {
                let [src, dst] = [src, dst].map(|addr| addr.map(|word| word[number]));
                assert_eq!(tables.find(&src, &dst, class[number]), found[number], "{src:x?} {dst:x?} {class:x?}");
            }
            let ([src, ..], [dst, ..]) = (src, dst);
            avx2.locate(&tables, [&[src], &[dst]], &class, len, &mut found);
            for (((src, dst), class), found) in src.into_iter().zip(dst).zip(class).zip(found).take(len) {
                assert_eq!(tables.find(&[src], &[dst], class), found, "{src:x} {dst:x} {class:x}");
            }
        }
    }
}
