//! Vectors find what one header after the other finds.

use std::vec::Vec;

use super::numbers;
use crate::mem::answers::leading_to;
use crate::mem::ranges::{Block, Classes, GROUP, Search};
use crate::mem::simd::Avx2;

#[test]
fn blocks_are_compared_by_vectors_as_one_by_one() {
    let Some(avx2) = Avx2::detect() else {
        return;
    };
    let mut random = numbers(5);
    // Edges of ranges must be met.
    let ports = [0, 1, 79, 80, 81, 0x7fff, 0x8000, 0xfffe, 0xffff];
    let mut found_any = 0;
    for _ in 0..300 {
        let mut port = || ports[random(9) as usize] as u16;
        let mut blocks = [Block::EMPTY; 20];
        for block in &mut blocks {
            let ranges = block.low.as_flattened_mut().iter_mut().zip(block.span.as_flattened_mut());
            for (low, span) in ranges.flat_map(|(low, span)| low.iter_mut().zip(span)) {
                let (a, b) = (port(), port());
                (*low, *span) = (a.min(b), a.abs_diff(b));
            }
        }
        let mut classes = [Classes::NONE; 20];
        for (block, classes) in blocks.iter_mut().zip(&mut classes) {
            for lane in 0..random(9) as usize {
                (classes.class[lane / 4][lane % 4], classes.mask[lane / 4][lane % 4]) =
                    [(6, 0xff), (0, 0), (0x106, 0x1ff)][random(3) as usize];
                block.set_priority(lane, random(1 << 31));
            }
            if random(2) == 0 {
                block.set_goes_on();
            }
        }
        // The last ones are behind the blocks.
        let at = [(); GROUP].map(|()| leading_to(random(23)));
        let headers = random(u32::MAX);
        let [a, b, class] = [9, 9, 3].map(|end| [(); GROUP].map(|()| random(end)));
        let ports: [u32; GROUP] =
            core::array::from_fn(|number| ports[a[number] as usize] | ports[b[number] as usize] << 16);
        let class = class.map(|class| [6, 17, 0x106][class as usize]);
        let classes = if random(4) == 0 { &classes[..0] } else { &classes[..] };
        let outcomes: Vec<_> = [true, false]
            .map(|by_vectors| {
                let (mut at, mut found) = (at, [1 << 30; GROUP]);
                let mut search = Search { blocks: &blocks, classes, at: &mut at, ports: &ports, class: &class };
                let left = if by_vectors {
                    avx2.step(&mut search, headers, &mut found)
                } else {
                    search.step(headers, &mut found)
                };
                (at, found, left)
            })
            .to_vec();
        assert_eq!(outcomes[0], outcomes[1]);
        found_any += outcomes[0].1.iter().filter(|found| **found < 1 << 30).count();
    }
    assert!(found_any > 100, "{found_any}");
}
