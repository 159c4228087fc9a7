//! A token bucket: so many per second, and so many at once after a pause.

/// See the module. Time is an argument, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Nanoseconds that one token is worth; 0 = no limit.
    cost: u64,
    /// What a full bucket is worth.
    full: u64,
    credit: u64,
    last: u64,
}

const SECOND: u64 = 1_000_000_000;

impl RateLimit {
    /// A full bucket of `burst` tokens (at least one) that gets `per_second` new ones a second; 0 = no limit.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let cost = SECOND.checked_div(u64::from(per_second)).unwrap_or(0);
        let full = cost.saturating_mul(u64::from(burst.max(1)));
        Self { cost, full, credit: full, last: 0 }
    }

    /// Takes a token at the time `now`; false if there is none. A clock that goes back gives nothing.
    pub fn take(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.last);
        self.last = self.last.max(now);
        self.credit = self.credit.saturating_add(elapsed).min(self.full);
        match self.credit.checked_sub(self.cost) {
            Some(rest) => {
                self.credit = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut limit = RateLimit::new(200, 10);
        let at_once = (0..100).filter(|_| limit.take(5 * SECOND)).count();
        assert_eq!(at_once, 10);
        assert!(!limit.take(5 * SECOND + 4_999_999));
        assert!(limit.take(5 * SECOND + 5_000_000));
        assert!(!limit.take(0), "time does not go back");
        assert!(!limit.take(5 * SECOND + 5_000_001));
        assert!((0..1000).all(|_| RateLimit::new(0, 0).take(0)));
    }

    proptest! {
        /// In no window do more pass than the burst and the rate over it allow.
        #[test]
        fn never_more(rate in 1u32..5000, burst in 1u32..50, steps in prop::collection::vec(0u64..20_000_000, 1..300)) {
            let mut limit = RateLimit::new(rate, burst);
            let (mut now, mut passed) = (0u64, 0u64);
            for step in steps {
                now += step;
                passed += u64::from(limit.take(now));
                let cost = SECOND / u64::from(rate);
                prop_assert!(passed <= u64::from(burst) + now / cost);
            }
        }
    }
}
