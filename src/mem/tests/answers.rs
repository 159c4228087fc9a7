//! Vectors take what one header after the other takes.

use std::vec::Vec;

use super::numbers;
use crate::mem::answers::{Answers, GROUP, NONE};
use crate::mem::simd::Avx2;

#[test]
fn answers_are_taken_by_vectors_as_one_by_one() {
    let Some(avx2) = Avx2::detect() else {
        return;
    };
    let mut random = numbers(3);
    for _ in 0..500 {
        let mut answers: Vec<u32> = (0..random(9)).map(|_| random(50)).collect();
        answers.push(NONE);
        // Numbers below the first answer and behind the last.
        let first = [0, 1, 7, 1 << 20][random(4) as usize];
        let at: [u32; GROUP] = core::array::from_fn(|_| match random(8) {
            0 => random(u32::MAX),
            1 => random(first + 1),
            _ => first + random(10),
        });
        let known: [u32; GROUP] = core::array::from_fn(|_| if random(2) == 0 { NONE } else { random(50) });
        let len = random(GROUP as u32 + 1) as usize;
        let answers = Answers { first, answers: &answers };
        let (mut by_vectors, mut one_by_one) = (known, known);
        let these = u32::MAX.unbounded_shr((GROUP - len) as u32);
        let others = avx2.answer(answers, &at, len, &mut by_vectors) & these;
        assert_eq!(others, answers.take(&at, len, &mut one_by_one));
        assert_eq!(by_vectors[..len], one_by_one[..len]);
        for (number, at) in at.iter().enumerate().take(len) {
            let has_answer = (first..first + answers.answers.len() as u32 - 1).contains(at);
            assert_eq!(others >> number & 1 == 0, has_answer);
        }
    }
}
