//! Division of 128-bit numbers, such as IPv6 addresses, without the compiler's routine for it: a driver extension has
//! none. It is for control and for new translations, not for every packet.
#![forbid(unsafe_code)]

/// Quotient and remainder; `None` for a division by 0.
#[must_use]
pub fn div_rem(value: u128, by: u128) -> Option<(u128, u128)> {
    if by == 0 {
        return None;
    }
    if let (Ok(value), Ok(by)) = (u64::try_from(value), u64::try_from(by)) {
        return Some((value.checked_div(by)?.into(), value.checked_rem(by)?.into()));
    }
    // Long division in base 2: no shift loses a bit, because it stops at the length of `value`.
    let longest = by.leading_zeros().saturating_sub(value.leading_zeros());
    let (mut quotient, mut rest) = (0u128, value);
    for shift in (0..=longest).rev() {
        let part = by.checked_shl(shift)?;
        quotient = quotient.checked_shl(1)?;
        if let Some(less) = rest.checked_sub(part) {
            rest = less;
            quotient |= 1;
        }
    }
    Some((quotient, rest))
}

#[cfg(test)]
mod tests {
    use super::div_rem;

    proptest::proptest! {
        #[test]
        fn as_the_compiler_divides(value: u128, by: u128, less in 0u32..128, small in 0u32..128) {
            let (value, by) = (value >> less, by >> small);
            let expected = value.checked_div(by).zip(value.checked_rem(by));
            proptest::prop_assert_eq!(div_rem(value, by), expected);
        }
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(div_rem(u128::MAX, 1), Some((u128::MAX, 0)));
        assert_eq!(div_rem(u128::MAX, u128::MAX), Some((1, 0)));
        assert_eq!(div_rem(1, u128::MAX), Some((0, 1)));
        assert_eq!(div_rem(7, 0), None);
    }
}
