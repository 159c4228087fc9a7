//! Vectors put rows side by side as it is done four by four.

use super::numbers;
use crate::mem::four::Four;
use crate::mem::simd::Avx2;
use crate::mem::transpose::{ROWS, columns};

#[test]
fn rows_stand_side_by_side() {
    let mut random = numbers(5);
    for _ in 0..500 {
        // Rows that differ in one word, and such as do not.
        let mut rows = [[7u32; 4]; ROWS + 1];
        for row in 1..=ROWS {
            rows[row] = rows[row - 1];
            if random(2) == 0 {
                rows[row][random(4) as usize] ^= 1 << random(32);
            }
        }
        let [before, rows @ ..] = rows;
        let mut found = [[0; ROWS]; 4];
        let fours = rows.map(|row| Four::new(&row));
        let same = columns(fours, Four::new(&before), found.each_mut());
        for (number, row) in rows.iter().enumerate() {
            let previous = if number == 0 { before } else { rows[number - 1] };
            assert_eq!(same >> number & 1 != 0, *row == previous);
            assert_eq!(found.map(|column| column[number]), *row);
        }
        if let Some(avx2) = Avx2::detect() {
            let mut by_vectors = [[0; ROWS]; 4];
            assert_eq!(avx2.columns(fours, Four::new(&before), by_vectors.each_mut()), same);
            assert_eq!(by_vectors, found);
        }
    }
}
