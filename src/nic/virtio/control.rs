//! The control virtqueue: one command at a time, waited for (virtio 1.2 section 5.1.6.5).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::queue::Virtqueue;
use super::ring::{AnyRing as _, Part, Ring};
use super::spec::control::{
    MAC, MAC_ADDR_SET, MAC_TABLE_SET, MQ, MQ_RSS_CONFIG, MQ_VQ_PAIRS_SET, OK, RX, RX_ALLMULTI, RX_PROMISC,
};
use crate::mem::region::Region;
use crate::nic::MulticastList;
use crate::nic::hw::Port;

/// Class, command, and the longest data: two address tables (section 5.1.6.5.2), 256 multicast addresses in one.
const REQUEST_LEN: usize = 2 + 4 + 4 + 6 * 256;
/// The answer's place, behind the request.
const ANSWER: usize = REQUEST_LEN.next_multiple_of(64);
/// Bytes of the region.
pub(super) const REGION_LEN: usize = ANSWER + 64;
/// Entries of the RSS table, and bytes of the key: what every device has at least (section 5.1.4.1).
pub(super) const RSS_TABLE: u16 = 128;
pub(super) const RSS_KEY: usize = 40;
/// What the answer holds until the device writes it: no value of the specification.
const UNANSWERED: u8 = 0xaa;
/// Looks at the ring until a command counts as lost; each costs a register read, so that this is time.
const LOOKS: usize = 20_000;

/// See the module.
pub(super) struct Control {
    port: Arc<Port>,
    queue: Arc<Virtqueue>,
    ring: Ring,
    region: Region,
    /// The device has a command that it did not answer: its memory is not touched until the next reset.
    lost: bool,
}

impl Control {
    /// Allocates; called at Start.
    pub fn new(port: Arc<Port>, queue: Arc<Virtqueue>, region: Region, event_idx: bool) -> Self {
        let ring = Ring::new(&queue.memory, event_idx);
        Self { port, queue, ring, region, lost: false }
    }

    pub fn reset(&mut self) {
        self.ring.reset(&self.queue.memory);
        self.lost = false;
    }

    /// Runs a command; false if the device refused it or does not answer. `look` reads a register.
    fn command(&mut self, class: u8, command: u8, data: &[&[u8]], look: &dyn Fn()) -> bool {
        if self.lost {
            return false;
        }
        let mut request = heapless::Vec::<u8, REQUEST_LEN>::new();
        let head = [class, command];
        let parts = [&head[..]].into_iter().chain(data.iter().copied());
        for part in parts {
            if request.extend_from_slice(part).is_err() {
                return false;
            }
        }
        let (queue, memory) = (self.queue.clone(), self.region.shared());
        let mem = &queue.memory;
        if !memory.write_bytes(0, &request) || !memory.store_u8(ANSWER, UNANSWERED, Ordering::Relaxed) {
            return false;
        }
        let first = Part { addr: self.region.iova(), len: request.len() as u64, write: false };
        let answer = Part { addr: self.region.iova() + ANSWER as u64, len: 1, write: true };
        let Some(id) = self.ring.add(mem, &first, Some(&answer)) else {
            return false;
        };
        self.ring.buffers_mut().bare = 1;
        if self.ring.publish(mem) {
            queue.bell.ring(&self.port, queue.number);
        }
        for _ in 0..LOOKS {
            match self.ring.pending(mem) {
                Ok(false) => look(),
                Ok(true) => {
                    let used = self.ring.pop(mem);
                    if used.is_ok_and(|used| used.is_some_and(|used| used.id == id)) {
                        self.ring.recycle(id);
                        self.ring.buffers_mut().bare = 0;
                        return memory.load_u8(ANSWER, Ordering::Acquire) == Some(OK);
                    }
                    self.port.violation();
                    break;
                }
                Err(_) => {
                    self.port.violation();
                    break;
                }
            }
            if self.port.is_gone() {
                break;
            }
        }
        self.lost = true;
        false
    }

    /// Section 5.1.6.5.1.
    pub fn set_receive_mode(&mut self, promiscuous: bool, all_multicast: bool, look: &dyn Fn()) -> bool {
        self.command(RX, RX_PROMISC, &[&[u8::from(promiscuous)]], look)
            && self.command(RX, RX_ALLMULTI, &[&[u8::from(all_multicast)]], look)
    }

    /// Section 5.1.6.5.2: no unicast addresses but the station's, which is not in the table, and these groups.
    pub fn set_table(&mut self, list: &MulticastList, look: &dyn Fn()) -> bool {
        let count = (list.len() as u32).to_le_bytes();
        self.command(MAC, MAC_TABLE_SET, &[&[0; 4], &count, list.as_flattened()], look)
    }

    /// Section 5.1.6.5.2.
    pub fn set_mac(&mut self, mac: &[u8; 6], look: &dyn Fn()) -> bool {
        self.command(MAC, MAC_ADDR_SET, &[mac], look)
    }

    /// Section 5.1.6.5.7.1: the queues of `pairs` by a hash of `types`; 128 entries, which every device takes. A key whose halves
    /// are alike: both directions of a flow meet in one queue.
    pub fn set_rss(&mut self, pairs: u16, types: u32, look: &dyn Fn()) -> bool {
        let mut table = [0u8; 2 * RSS_TABLE as usize];
        for (entry, queue) in table.chunks_exact_mut(2).zip((0..pairs.max(1)).cycle()) {
            // The number of a receive queue among receive queues.
            entry.copy_from_slice(&queue.to_le_bytes());
        }
        let mut key = [0u8; 1 + RSS_KEY];
        if let Some((len, key)) = key.split_first_mut() {
            *len = RSS_KEY as u8;
            key.chunks_exact_mut(2).for_each(|half| half.copy_from_slice(&[0x6d, 0x5a]));
        }
        let mask = (RSS_TABLE - 1).to_le_bytes();
        let (types, unclassified) = (types.to_le_bytes(), 0u16.to_le_bytes());
        self.command(MQ, MQ_RSS_CONFIG, &[&types, &mask, &unclassified, &table, &pairs.to_le_bytes(), &key], look)
    }

    /// Section 5.1.6.5.5: the device sends a flow to the pair that the flow's frames come from.
    pub fn set_pairs(&mut self, pairs: u16, look: &dyn Fn()) -> bool {
        self.command(MQ, MQ_VQ_PAIRS_SET, &[&pairs.to_le_bytes()], look)
    }
}
