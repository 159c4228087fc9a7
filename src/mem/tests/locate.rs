//! Vectors find what one header after the other finds.

use std::vec::Vec;

use crate::mem::locate::{CHUNK, GROUP, KINDS, Locator, NODE};
use crate::mem::simd::Avx2;

#[test]
fn located_by_vectors_as_one_by_one() {
    let Some(avx2) = Avx2::detect() else {
        return;
    };
    let mut seed = 9u64;
    let mut random = |end: u32| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((seed >> 33) as u32) % end
    };
    for nodes in [1, 5] {
        // Entries lead to nodes, to classes, and to what is not there.
        let mut table = |len: u32, node: u32, end: u32| -> Vec<u16> {
            (0..len + 1)
                .map(|_| if node > 0 && random(2) == 0 { NODE | random(node + 1) as u16 } else { random(end) as u16 })
                .collect()
        };
        let (src, dst, under) = (table(1 << 16, nodes, 90), table(1 << 16, nodes, 130), table(256 * nodes, nodes, 40));
        let (index, chunks) = (table(90 * 3, 0, 20), table(19 * CHUNK as u32, 0, 70));
        let (kinds, leaves) = (table(256, 0, KINDS as u32), table(60 * KINDS as u32, 0, 60_000));
        let tables = Locator {
            roots: [&src, &dst],
            nodes: &under,
            index: &index,
            index_columns: 3,
            chunks: &chunks,
            kinds: &kinds,
            leaves: &leaves,
        };
        for _ in 0..200 {
            let mut words = || [(); GROUP].map(|()| random(u32::MAX));
            let [src, dst, class] = [words(), words(), words()];
            let len = [1, 8, 13, 17, 25, GROUP][random(6) as usize];
            let mut found = [0; GROUP];
            avx2.locate(&tables, &src, &dst, &class, len, &mut found);
            for (((src, dst), class), found) in src.into_iter().zip(dst).zip(class).zip(found).take(len) {
                assert_eq!(tables.find(src, dst, class), found, "{src:x} {dst:x} {class:x}");
            }
        }
    }
}
