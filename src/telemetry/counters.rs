//! Counters of one shard, and their sum.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use super::{DROP_REASONS, DropReason, Histograms};

/// A number with one writer and any number of readers.
///
/// Every access is relaxed: a counter publishes nothing but itself.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds `n`. For the one writer only: two writers would lose counts (never more than that).
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away; for the one writer only.
    pub fn sub(&self, n: u64) {
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets a gauge; for the one writer only.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds 1 from any thread and returns the sum.
    pub fn bump_shared(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one shard. The shard is the only writer, except for `misuse`, which whoever was refused
        /// counts with [`Counter::bump_shared`].
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct ShardCounters {
            $($(#[$doc])* pub $name: Counter,)*
            /// Received frames dropped, by [`DropReason`].
            pub rx_dropped: DropCounters,
            /// Frames to transmit dropped, by [`DropReason`].
            pub tx_dropped: DropCounters,
            /// TX packets of other shards' queues that this one took over. What the sum of `steered` is ahead of this
            /// is on its way between shards.
            pub steered_in: Counter,
            /// Histograms of the same shard.
            pub histograms: Histograms,
        }

        /// The sum over shards; `weir_counters` of the C ABI has these fields in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
            /// Received frames dropped, by [`DropReason`].
            pub rx_dropped: [u64; DROP_REASONS],
            /// Frames to transmit dropped, by [`DropReason`].
            pub tx_dropped: [u64; DROP_REASONS],
        }

        impl Default for Counters {
            fn default() -> Self {
                Self { $($name: 0,)* rx_dropped: [0; DROP_REASONS], tx_dropped: [0; DROP_REASONS] }
            }
        }

        impl Counters {
            /// Names of the fields before the two drop tables, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Adds a shard's counters.
            pub fn add(&mut self, shard: &ShardCounters) {
                $(self.$name = self.$name.wrapping_add(shard.$name.get());)*
                shard.rx_dropped.add_to(&mut self.rx_dropped);
                shard.tx_dropped.add_to(&mut self.tx_dropped);
            }

            /// All numbers in the order of `weir_counters`.
            pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
                [$(self.$name),*].into_iter().chain(self.rx_dropped).chain(self.tx_dropped)
            }

            /// The inverse of [`Counters::numbers`]; `None` if there are too few.
            pub fn from_numbers(mut numbers: impl Iterator<Item = u64>) -> Option<Self> {
                let mut counters = Self::default();
                $(counters.$name = numbers.next()?;)*
                for to in counters.rx_dropped.iter_mut().chain(&mut counters.tx_dropped) {
                    *to = numbers.next()?;
                }
                Some(counters)
            }
        }
    };
}

counters! {
    /// Frames the NIC gave.
    rx_frames,
    /// Their bytes.
    rx_bytes,
    /// Frames given to the stack.
    rx_delivered,
    /// Frames a handler took.
    rx_consumed,
    /// Gauge: frames a shaper holds.
    rx_held,
    /// Frames with the group bit, of [`Counters::rx_frames`].
    rx_multicast,
    /// Frames taken from the stack.
    tx_dequeued,
    /// Their bytes.
    tx_bytes,
    /// Frames the NIC sent.
    tx_sent,
    /// Frames a handler took.
    tx_consumed,
    /// Gauge: frames a shaper holds.
    tx_held,
    /// Gauge: frames on their way to the NIC or in its ring.
    tx_in_flight,
    /// Frames the core made itself and delivered; not part of [`Counters::rx_frames`].
    rx_injected,
    /// Frames the core made itself and sent; not part of [`Counters::tx_dequeued`].
    tx_injected,
    /// Gauge: lent RX buffers that are neither posted nor held.
    pool_free,
    /// Gauge: lent RX buffers in the NIC's ring.
    pool_posted,
    /// Gauge: lent RX buffers with a held frame.
    pool_held,
    /// Gauge: RX buffers lent and not yet handed back.
    rx_lent,
    /// Receive bursts that were not empty.
    bursts_rx,
    /// Transmit bursts that were not empty.
    bursts_tx,
    /// Wake-ups asked for.
    wakes,
    /// Data path entered twice, bad cookies and the like.
    misuse,
    /// Events that the full ring lost.
    events_lost,
    /// TX packets moved to their flow's shard.
    steered,
}

/// One counter per [`DropReason`].
#[derive(Debug)]
pub struct DropCounters([Counter; DROP_REASONS]);

impl Default for DropCounters {
    fn default() -> Self {
        Self([const { Counter::new() }; DROP_REASONS])
    }
}

impl DropCounters {
    /// Counts `n` drops; for the shard only.
    pub fn add(&self, reason: DropReason, n: u64) {
        if let Some(counter) = self.0.get(reason.index()) {
            counter.add(n);
        }
    }

    /// Drops for this reason.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason.index()).map_or(0, Counter::get)
    }

    fn add_to(&self, total: &mut [u64; DROP_REASONS]) {
        for (to, from) in total.iter_mut().zip(&self.0) {
            *to = to.wrapping_add(from.get());
        }
    }
}

/// An accounting identity that does not hold: both sides of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// `rx frames = delivered + consumed + dropped + held`.
    Rx {
        /// Frames the NIC gave.
        frames: u64,
        /// The sum of the outcomes.
        outcomes: u64,
    },
    /// `tx dequeued = sent + consumed + dropped + held + in flight`.
    Tx {
        /// Frames taken from the stack.
        frames: u64,
        /// The sum of the outcomes.
        outcomes: u64,
    },
    /// `lent = free + posted + held`.
    Pool {
        /// Buffers lent for receive.
        lent: u64,
        /// Where they are, added up.
        found: u64,
    },
}

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Rx { frames, outcomes } => {
                write!(f, "rx frames {frames} != delivered + consumed + dropped + held {outcomes}")
            }
            Self::Tx { frames, outcomes } => {
                write!(f, "tx dequeued {frames} != sent + consumed + dropped + held + in flight {outcomes}")
            }
            Self::Pool { lent, found } => {
                write!(f, "rx buffers lent {lent} != free + posted + held {found}")
            }
        }
    }
}

impl Counters {
    /// The sum of all shards, with the frames on their way between shards in flight.
    #[must_use]
    pub fn sum<'a>(shards: impl Iterator<Item = &'a ShardCounters>) -> Self {
        let mut total = Self::default();
        let mut taken_over = 0u64;
        for shard in shards {
            total.add(shard);
            taken_over = taken_over.wrapping_add(shard.steered_in.get());
        }
        // Read while traffic runs, the second number may be ahead of the first.
        let between = total.steered.saturating_sub(taken_over);
        total.tx_in_flight = total.tx_in_flight.wrapping_add(between);
        total
    }

    /// All received frames that were dropped.
    #[must_use]
    pub fn rx_dropped_total(&self) -> u64 {
        self.rx_dropped.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// All frames to transmit that were dropped.
    #[must_use]
    pub fn tx_dropped_total(&self) -> u64 {
        self.tx_dropped.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// Checks the identities that hold whenever no call is running. Sums over all shards: a packet that was steered
    /// is taken on one shard and sent on another.
    ///
    /// # Errors
    /// The first identity that does not hold.
    pub fn check(&self) -> Result<(), Broken> {
        let sum = |parts: &[u64]| parts.iter().fold(0u64, |sum, n| sum.wrapping_add(*n));
        let outcomes = sum(&[self.rx_delivered, self.rx_consumed, self.rx_held, self.rx_dropped_total()]);
        if self.rx_frames != outcomes {
            return Err(Broken::Rx { frames: self.rx_frames, outcomes });
        }
        let outcomes = sum(&[self.tx_sent, self.tx_consumed, self.tx_held, self.tx_in_flight, self.tx_dropped_total()]);
        if self.tx_dequeued != outcomes {
            return Err(Broken::Tx { frames: self.tx_dequeued, outcomes });
        }
        let found = sum(&[self.pool_free, self.pool_posted, self.pool_held]);
        if self.rx_lent != found {
            return Err(Broken::Pool { lent: self.rx_lent, found });
        }
        Ok(())
    }
}
