//! Places and answers.

use crate::mem::answers::{GROUP, NONE, answer, block, leading_to, next_block, take};

#[test]
fn the_better_answer_stays() {
    let (mut at, mut best) = ([leading_to(3); GROUP], [NONE; GROUP]);
    ([at[0], at[1], at[2], at[3]], [best[1], best[2], best[4]]) = ([7, 7, NONE, 0], [5, 9, 1]);
    assert_eq!(take(&at, 6, &mut best), 0b11_0000);
    assert_eq!(best[..6], [7, 5, 9, 0, 1, NONE]);
}

#[test]
fn a_place_is_an_answer_or_leads_on() {
    for number in [0, 1, 0xfffe, 0x1_0000, (NONE >> 1) - 1] {
        assert_eq!((answer(number), answer(leading_to(number))), (Some(number), None));
        assert_eq!(block(leading_to(number)), number);
        assert_eq!(block(next_block(leading_to(number))), number + 1);
    }
    assert_eq!(answer(NONE), Some(NONE));
}
