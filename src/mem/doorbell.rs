//! "Wake me, I am going to sleep": the lost wake-up race between a producer and a consumer, solved once.
//!
//! The sleeper arms, then looks for work once more; the other side makes work, then rings. Both put a sequentially
//! consistent fence in between (Dekker), so that at least one of them sees the other.

use super::primitive::{AtomicBool, Ordering, fence};

/// One sleeper's doorbell. Rings once per arming, which is what coalesces wake-ups.
pub struct Doorbell {
    armed: AtomicBool,
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

impl Doorbell {
    /// A doorbell that is not armed.
    #[must_use]
    pub fn new() -> Self {
        Self { armed: AtomicBool::new(false) }
    }

    /// Asks to be woken. The caller must look for work after this, and [`Doorbell::disarm`] if it finds some.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
        // SeqCst: the store above comes before the caller's next look at the rings, in the one order that the
        // fence in `ring` takes part in too.
        fence(Ordering::SeqCst);
    }

    /// No wake-up is wanted any more; one may still be under way.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Call after making work. True: the sleeper is to be woken, by the caller.
    #[must_use]
    pub fn ring(&self) -> bool {
        // SeqCst: the work made before comes before the load below.
        fence(Ordering::SeqCst);
        self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::Relaxed)
    }
}
