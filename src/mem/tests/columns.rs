//! Columns, asked in every way, and what is loaded into them.

use std::vec::Vec;

use proptest::prelude::*;

use crate::mem::columns::{BITS, Column, Compare, Frames, LANES, Plain, Portable, Task, padded};
use crate::mem::simd::Vector;

/// Words that are often equal, and numbers at the ends.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..4, any::<u32>(), Just(u32::MAX), Just(1 << 31), Just((1 << 31) - 1)]
}

/// Asks everything.
struct Questions<'a> {
    column: &'a Column,
    mask: u32,
    keys: [u32; 4],
    frames: u32,
    answers: &'a mut Vec<u32>,
}

impl Task for Questions<'_> {
    #[inline(always)]
    fn run(self, compare: impl Compare) {
        let mut put = *self.column;
        compare.put(self.keys[1], self.frames, &mut put);
        self.answers.extend([
            compare.equal(self.column, self.mask, self.keys[0]),
            compare.any(self.column, self.mask, &self.keys),
            compare.above(self.column, self.keys[0]),
        ]);
        self.answers.extend(put.0);
    }
}

proptest! {
    #[test]
    fn columns_answer_the_same_however_they_are_asked(
        words in prop::collection::vec(word(), LANES), mask in word(), keys in prop::array::uniform4(word()), frames: u32,
    ) {
        let column = Column(words.try_into().unwrap());
        let bits = |is: &dyn Fn(u32) -> bool| {
            column.0.iter().zip(BITS).filter(|(word, _)| is(**word)).map(|(_, bit)| bit).sum::<u32>()
        };
        let mut right = vec![
            bits(&|word| word & mask == keys[0]), bits(&|word| keys.contains(&(word & mask))), bits(&|word| word > keys[0]),
        ];
        right.extend(column.0.iter().zip(BITS).map(|(word, bit)| if frames & bit == 0 { *word } else { keys[1] }));
        let ask = |run: &dyn Fn(Questions)| {
            let mut answers = vec![];
            run(Questions { column: &column, mask, keys, frames, answers: &mut answers });
            answers
        };
        prop_assert_eq!(&ask(&|questions| Vector::detect().compare(questions)), &right);
        prop_assert_eq!(&ask(&|questions| Vector::none().compare(questions)), &right);
        prop_assert_eq!(&ask(&|questions| questions.run(Plain)), &right);
        prop_assert_eq!(&ask(&|questions| questions.run(Portable)), &right);
    }

    #[test]
    fn words_are_loaded_from_all_frames(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40), offset in 0usize..44,
        least in prop_oneof![Just(0), 0usize..50],
    ) {
        let mut frames = frames;
        frames.iter_mut().for_each(|frame| frame.resize(frame.len().max(least), 7));
        let all: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let frames = Frames::new(&all);
        prop_assert_eq!(frames.all().len(), all.len().min(LANES));
        let shortest = frames.all().iter().map(|frame| frame.len() as u32).min();
        prop_assert_eq!(frames.shortest(), shortest.unwrap_or(u32::MAX));
        let [mut any, mut whole] = [Column([0; LANES]); 2];
        frames.load(offset, false, &mut any);
        frames.load(offset, true, &mut whole);
        for (lane, frame) in frames.all().iter().enumerate() {
            prop_assert_eq!(frames.lengths().0[lane] as usize, frame.len());
            let bytes = [0, 1, 2, 3].map(|place| frame.get(offset + place).copied().unwrap_or(0));
            prop_assert_eq!(any.0[lane], u32::from_le_bytes(bytes));
            prop_assert_eq!(padded(frame, offset), u32::from_le_bytes(bytes));
            if offset + 4 <= frame.len() {
                prop_assert_eq!(whole.0[lane], u32::from_le_bytes(bytes));
            }
        }
    }

    #[test]
    fn nothing_is_behind_the_greatest_offsets(frame in prop::collection::vec(any::<u8>(), 0..20), back in 0usize..8) {
        prop_assert_eq!(padded(&frame, usize::MAX - back), 0);
    }
}
