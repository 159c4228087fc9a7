//! Pipes for USB device models in tests: each slot's memory, and which transfers run.

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use std::sync::Mutex;

use crate::mem::region::RawRegion;
use crate::mem::transfer::{Pipes, SLOTS_MAX, TransferError};

/// A transfer that runs: slot and bytes.
pub type Running = (usize, usize);

struct Slot(UnsafeCell<Vec<u64>>);

// SAFETY: a slot's memory is touched by the ring while it is the ring's, and through `Pipe::running` while it is not;
// tests are single-threaded.
unsafe impl Send for Slot {}

#[derive(Default)]
struct Pipe {
    slots: Vec<Slot>,
    running: Vec<Running>,
}

/// See the module.
#[derive(Default)]
pub struct TestPipes {
    pipes: Mutex<[Pipe; 3]>,
    /// The next submit does this: takes so many, then says that.
    pub refuse: Mutex<Option<(usize, TransferError)>>,
}

// SAFETY: each slot is its own vector of words, alive until `free`, and written by `write` only while it is submitted.
unsafe impl Pipes for TestPipes {
    fn alloc(&self, pipe: u32, len: u32, out: &mut [RawRegion]) -> bool {
        let mut pipes = self.pipes.lock().unwrap();
        let Some(pipe) = pipes.get_mut(pipe as usize) else { return false };
        for region in out {
            let slot = Slot(UnsafeCell::new(vec![0; (len as usize).div_ceil(8)]));
            // SAFETY: nobody else has the slot yet.
            let base = unsafe { (*slot.0.get()).as_mut_ptr() }.cast();
            *region = RawRegion { base, iova: 0, len: len.into(), handle: 0 };
            pipe.slots.push(slot);
        }
        true
    }

    fn free(&self, pipe: u32) {
        if let Some(pipe) = self.pipes.lock().unwrap().get_mut(pipe as usize) {
            *pipe = Pipe::default();
        }
    }

    fn submit(&self, pipe: u32, first: u32, lengths: &[u32]) -> (usize, Option<TransferError>) {
        let mut pipes = self.pipes.lock().unwrap();
        let pipe = &mut pipes[pipe as usize];
        let refusal = self.refuse.lock().unwrap().take();
        let count = refusal.map_or(lengths.len(), |(count, _)| count.min(lengths.len()));
        assert!(lengths.len() <= SLOTS_MAX);
        for (ahead, length) in lengths[..count].iter().enumerate() {
            let slot = (first as usize + ahead) % pipe.slots.len();
            assert!(pipe.running.iter().all(|(busy, _)| *busy != slot), "slot {slot} runs already");
            pipe.running.push((slot, *length as usize));
        }
        (count, refusal.map(|(_, error)| error))
    }
}

impl TestPipes {
    /// Slots of a pipe.
    pub fn slots(&self, pipe: u32) -> usize {
        self.pipes.lock().unwrap()[pipe as usize].slots.len()
    }

    /// The transfers of a pipe that run, oldest first.
    pub fn running(&self, pipe: u32) -> Vec<Running> {
        self.pipes.lock().unwrap()[pipe as usize].running.clone()
    }

    /// A transfer does not run any more; its bytes as the ring filled them. False for one that does not run.
    pub fn end(&self, pipe: u32, slot: usize) -> bool {
        let running = &mut self.pipes.lock().unwrap()[pipe as usize].running;
        let before = running.len();
        running.retain(|(busy, _)| *busy != slot);
        running.len() < before
    }

    /// The device writes into a transfer that runs; what does not fit does not arrive.
    pub fn write(&self, pipe: u32, slot: usize, bytes: &[u8]) {
        let pipes = self.pipes.lock().unwrap();
        let Some((_, room)) = pipes[pipe as usize].running.iter().find(|(busy, _)| *busy == slot) else { return };
        let count = bytes.len().min(*room);
        // SAFETY: the slot is submitted, so that the ring does not look at it; `room` is within it.
        unsafe {
            let to = (*pipes[pipe as usize].slots[slot].0.get()).as_mut_ptr().cast::<u8>();
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, count);
        }
    }

    /// The device reads a transfer that runs.
    pub fn read(&self, pipe: u32, slot: usize) -> Vec<u8> {
        let pipes = self.pipes.lock().unwrap();
        let Some((_, len)) = pipes[pipe as usize].running.iter().find(|(busy, _)| *busy == slot) else {
            return Vec::new();
        };
        let mut out = vec![0; *len];
        // SAFETY: as above.
        unsafe {
            let from = (*pipes[pipe as usize].slots[slot].0.get()).as_ptr().cast::<u8>();
            core::ptr::copy_nonoverlapping(from, out.as_mut_ptr(), *len);
        }
        out
    }
}
