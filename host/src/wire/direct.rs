//! The far end of a loopback NIC in the caller's hands: one frame in, one frame out.

use std::io;
use std::sync::Arc;

use weir_core::mem::wire_ring::WireFeatures;

use super::WireLink;
use super::far::{Counters, Far, Sent};
use crate::port::{Offload, StackCounters};

/// An opened wire without a pump.
pub struct Direct {
    far: Far,
    counters: Arc<Counters>,
    buffer: Vec<u8>,
}

impl Direct {
    /// Serves the far end of `link`. `offloads`: frames may come with partial checksums and as super-frames.
    ///
    /// # Errors
    /// The rings' memory is not what it should be.
    pub fn open(link: &Arc<dyn WireLink>, offloads: bool) -> io::Result<Self> {
        let counters = Arc::<Counters>::default();
        let accepts = if offloads { WireFeatures::all() } else { WireFeatures::empty() };
        let far = Far::open(link, &counters, accepts)?;
        Ok(Self { far, counters, buffer: vec![0; 1 << 17] })
    }

    /// Bytes of the longest frame that [`Direct::send`] takes.
    pub fn frame_max(&self) -> usize {
        self.far.to_nic.frame_max()
    }

    /// Puts a frame on the wire towards the NIC. False: it is longer than the NIC can take, or the ring is full.
    pub fn send(&mut self, frame: &[u8], offload: &Offload) -> bool {
        let sent = self.far.to_nic.send(frame, offload) == Sent::Yes;
        self.far.to_nic.flush();
        sent
    }

    /// Takes every frame that the NIC put on the wire.
    pub fn receive(&mut self, mut f: impl FnMut(&[u8], &Offload)) {
        loop {
            if self.far.from_nic.receive(&mut self.buffer, |frame, offload| f(frame, offload)) == 0
                && !self.far.from_nic.wait()
            {
                break;
            }
        }
    }

    /// What moved so far, `sent` towards the NIC.
    pub fn counters(&self) -> StackCounters {
        self.counters.read()
    }
}
