//! Histograms with one bucket per power of two.
#![forbid(unsafe_code)]

use super::Counter;

/// Which histogram (`WEIR_HIST_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum HistogramKind {
    /// Time of one receive poll that found something, nanoseconds.
    RxBurstNs = 0,
    /// Time of one transmit submission, nanoseconds.
    TxBurstNs = 1,
    /// Frames in one receive burst.
    RxBurstLen = 2,
    /// Frames in one transmit burst.
    TxBurstLen = 3,
}

impl HistogramKind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::RxBurstNs),
            1 => Some(Self::TxBurstNs),
            2 => Some(Self::RxBurstLen),
            3 => Some(Self::TxBurstLen),
            _ => None,
        }
    }
}

/// One histogram of one shard: bucket `i` counts values `v` with `floor(log2(v)) == i`; 0 is in bucket 0.
#[derive(Debug)]
pub struct Histogram {
    bucket: [Counter; 64],
    sum: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bucket: [const { Counter::new() }; 64], sum: Counter::new() }
    }
}

impl Histogram {
    /// Counts one value. Only the shard that owns the histogram may call this.
    pub fn record(&self, value: u64) {
        let bucket = value.checked_ilog2().unwrap_or(0) as usize;
        if let Some(counter) = self.bucket.get(bucket) {
            counter.add(1);
        }
        self.sum.add(value);
    }

    /// Adds this histogram to `total`, whose last entry is the sum of the values.
    pub fn add_to(&self, total: &mut [u64; 65]) {
        for (to, from) in total.iter_mut().zip(self.bucket.iter().chain([&self.sum])) {
            *to = to.wrapping_add(from.get());
        }
    }
}

/// The four histograms of one shard.
#[derive(Debug, Default)]
pub struct Histograms {
    /// [`HistogramKind::RxBurstNs`].
    pub rx_burst_ns: Histogram,
    /// [`HistogramKind::TxBurstNs`].
    pub tx_burst_ns: Histogram,
    /// [`HistogramKind::RxBurstLen`].
    pub rx_burst_len: Histogram,
    /// [`HistogramKind::TxBurstLen`].
    pub tx_burst_len: Histogram,
}

impl Histograms {
    /// The histogram of this kind.
    #[must_use]
    pub const fn of(&self, kind: HistogramKind) -> &Histogram {
        match kind {
            HistogramKind::RxBurstNs => &self.rx_burst_ns,
            HistogramKind::TxBurstNs => &self.tx_burst_ns,
            HistogramKind::RxBurstLen => &self.rx_burst_len,
            HistogramKind::TxBurstLen => &self.tx_burst_len,
        }
    }
}
