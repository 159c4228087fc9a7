//! The right to one end of something, that the data path takes and gives back per burst without ever waiting, and
//! that control can take away for good.
//!
//! States and who moves between them:
//!
//! ```text
//!             open()                 enter()
//!   CLOSED ------------>  OPEN  ---------------->  BUSY
//!     |  ^ <------------        <----------------   |
//!     |  |    close()              guard dropped    | close()
//!     |  |                                          v
//!     |  +---------------------------------------- CLOSING
//!     |               guard dropped
//!     v  ^
//!   CLAIMED  claim() and its guard dropped
//! ```

use core::ops::{Deref, DerefMut};

use super::primitive::{AtomicU32, Ordering, UnsafeCell, relax};

const CLOSED: u32 = 0;
const OPEN: u32 = 1;
const BUSY: u32 = 2;
const CLOSING: u32 = 3;
const CLAIMED: u32 = 4;

/// A value that one user at a time may enter, while it is open.
pub struct Seat<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, and the state admits one guard at a time.
unsafe impl<T: Send> Sync for Seat<T> {}
// SAFETY: sending the seat sends the value.
unsafe impl<T: Send> Send for Seat<T> {}

impl<T> Seat<T> {
    /// A closed seat.
    #[cfg(not(all(loom, test)))]
    pub const fn new(value: T) -> Self {
        Self { state: AtomicU32::new(CLOSED), value: UnsafeCell::new(value) }
    }

    /// A closed seat.
    #[cfg(all(loom, test))]
    pub fn new(value: T) -> Self {
        Self { state: AtomicU32::new(CLOSED), value: UnsafeCell::new(value) }
    }

    fn step(&self, from: u32, to: u32) -> Result<u32, u32> {
        // Acquire: what the last holder did to the value is visible. Release: so is what this one did, to the next.
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Takes the seat for one burst. `None` while it is closed or someone else sits there. Never waits.
    pub fn enter(&self) -> Option<Guard<'_, T>> {
        self.step(OPEN, BUSY).ok()?;
        Some(Guard { seat: self })
    }

    /// Takes the value of a closed seat. `None` while it is open or someone else has it. Never waits.
    pub fn claim(&self) -> Option<Guard<'_, T>> {
        self.step(CLOSED, CLAIMED).ok()?;
        Some(Guard { seat: self })
    }

    /// Closes the seat and waits for whoever sits there to finish the burst. On return nobody can enter.
    /// Control only.
    pub fn close(&self) {
        let mut spins = 0;
        loop {
            match self.state.load(Ordering::Acquire) {
                CLOSED | CLAIMED => return,
                OPEN => {
                    if self.step(OPEN, CLOSED).is_ok() {
                        return;
                    }
                }
                BUSY => {
                    let _ = self.step(BUSY, CLOSING);
                }
                _ => {
                    spins += 1;
                    relax(spins);
                }
            }
        }
    }

    /// Opens a closed seat, after whoever claimed it has let go. Control only.
    pub fn open(&self) {
        let mut spins = 0;
        while let Err(state) = self.step(CLOSED, OPEN) {
            if state == OPEN || state == BUSY {
                return;
            }
            spins += 1;
            relax(spins);
        }
    }

    /// [`Seat::claim`], waiting for whoever has it. The seat must not be open. Control only.
    pub fn lock(&self) -> Guard<'_, T> {
        let mut spins = 0;
        loop {
            if let Some(guard) = self.claim() {
                return guard;
            }
            spins += 1;
            relax(spins);
        }
    }
}

/// The value of a [`Seat`] while someone sits there.
pub struct Guard<'a, T> {
    seat: &'a Seat<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the state says that only this guard's owner is here until it is dropped.
        self.seat.value.with_mut(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed exclusively.
        self.seat.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if self.seat.step(BUSY, OPEN).is_ok() {
            return;
        }
        // CLOSING or CLAIMED: only this guard leaves those states, so a store cannot lose a change.
        // Release: the value's changes are visible to the next holder.
        self.seat.state.store(CLOSED, Ordering::Release);
    }
}
