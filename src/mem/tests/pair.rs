//! Vectors compare two rows as it is done one by one.

use super::numbers;
use crate::mem::four::Four;
use crate::mem::pair::{UPPER, matches};
use crate::mem::simd::Avx2;

#[test]
fn two_rows_are_compared_as_one_is() {
    let Some(avx2) = Avx2::detect() else { return };
    let mut random = numbers(9);
    let mut seen = [false; 4];
    for _ in 0..4000 {
        // Masks and spans that let most pass, or nothing but the same.
        let mut rows = [[0u32; 8]; 2];
        let row: [u32; 4] = core::array::from_fn(|word| random(u32::MAX) >> if word == 3 { 16 } else { 0 });
        for rule in &mut rows {
            let number = random(1 << 30);
            let masks: [u32; 4] = core::array::from_fn(|_| [0, u32::MAX, u32::MAX << 8][random(3) as usize]);
            for word in 0..4 {
                let wrong = if random(12) == 0 { 1 << random(16) } else { 0 };
                (rule[word], rule[word + 4]) = (row[word] & masks[word] ^ wrong & masks[word], masks[word]);
            }
            let [low, span] = [random(u32::MAX), random(u32::MAX)];
            (rule[2], rule[6]) = if random(2) == 0 { (low, span) } else { (row[2], random(4)) };
            rule[3] = rule[3] & 0xffff | number << 16;
            // What stands above the number is not part of it.
            rule[7] = rule[7] & 0xffff | number & UPPER | random(4) << 30;
        }
        let halves = rows.map(|rule| (Four::new(rule.first_chunk().unwrap()), Four::new(rule.last_chunk().unwrap())));
        let (want, mask, row) = (halves.map(|(want, _)| want), halves.map(|(_, mask)| mask), Four::new(&row));
        let matching = halves.map(|(want, mask)| matches(want, mask, row));
        seen[usize::from(matching[0]) | usize::from(matching[1]) << 1] = true;
        let numbers = rows.iter().zip(matching).filter(|(_, matches)| *matches);
        let best = numbers.map(|(rule, _)| rule[3] >> 16 | rule[7] & UPPER).min().unwrap_or(u32::MAX);
        assert_eq!(avx2.best_of_two(want, mask, row), best);
    }
    assert_eq!(seen, [true; 4]);
}
