//! The receive filter of a NIC that has none in hardware: which frames are for this station, and which are too long.
//!
//! Control writes it, every queue reads it; all of it is atomics, so neither waits for the other. While an update is
//! under way a queue may see some of the old and some of the new list, as with a real adapter.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::{NicError, Refused};

/// Most addresses in a multicast list (`WEIR_MULTICAST_MAX`).
pub const MULTICAST_MAX: usize = 256;

/// Addresses for [`super::Nic::set_multicast`].
pub type MulticastList = heapless::Vec<[u8; 6], MULTICAST_MAX>;

/// Ethernet header (IEEE 802.3 clause 3) plus two VLAN tags (IEEE 802.1Q clause 9), in bytes.
const OVERHEAD: u32 = 14;
const VLAN_TAG: u32 = 4;
const VLAN_TAGS_MAX: u32 = 2;
const BROADCAST: u64 = 0xffff_ffff_ffff;
/// The individual/group bit, first byte's lowest, in an address as [`pack`] makes it.
const GROUP: u64 = 1 << 40;

fn pack(mac: &[u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = *mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn unpack(mac: u64) -> [u8; 6] {
    let [_, _, a, b, c, d, e, f] = mac.to_be_bytes();
    [a, b, c, d, e, f]
}

/// Two lists, one in use: a reader scans one that is not being written, unless two updates overtake it.
struct Lists {
    current: AtomicUsize,
    /// Sorted.
    lists: [(AtomicUsize, [AtomicU64; MULTICAST_MAX]); 2],
}

/// See the module.
pub(crate) struct RxFilter {
    mac: AtomicU64,
    promiscuous: AtomicBool,
    all_multicast: AtomicBool,
    mtu: AtomicU32,
    multicast: Box<Lists>,
}

/// See [`RxFilter::glance`].
#[derive(Clone, Copy)]
pub(crate) struct Glance<'a> {
    filter: &'a RxFilter,
    /// As the first eight bytes of a frame have it, shifted so that nothing else is left of them.
    mac: u64,
    longest: u32,
}

impl Glance<'_> {
    /// The station's address: the upper six bytes of a word, little-endian, as a frame has them, and nothing below.
    #[inline(always)]
    pub fn mac(&self) -> u64 {
        self.mac
    }

    /// Whether a frame that begins so is for this station alone.
    #[inline(always)]
    pub fn is_own(&self, front: &[u8; 8]) -> bool {
        u64::from_le_bytes(*front) << 16 == self.mac
    }

    /// Bytes of a frame that is not long: one of these for this station alone is taken.
    #[inline(always)]
    pub fn longest(&self) -> u32 {
        self.longest
    }

    /// Whether [`RxFilter::check`] would take the frame, which is no super-frame.
    #[inline(always)]
    pub fn takes(&self, frame: &[u8]) -> bool {
        let Some(first) = frame.first_chunk::<14>().and_then(|header| header.first_chunk::<8>()) else { return false };
        if frame.len() > self.longest as usize || u64::from_le_bytes(*first) << 16 != self.mac {
            return takes_special(self.filter, frame);
        }
        true
    }
}

/// A frame for others than this station alone, or a long one.
#[cold]
fn takes_special(filter: &RxFilter, frame: &[u8]) -> bool {
    filter.check(frame, false).is_ok()
}

/// Why a frame is not for the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Runt,
    Giant,
    MacFilter,
}

impl Refused {
    pub(crate) fn count(&mut self, refusal: Refusal, len: usize) {
        match refusal {
            Refusal::Runt => self.runt += 1,
            Refusal::Giant => self.giant += 1,
            Refusal::MacFilter => self.mac_filter += 1,
        }
        self.bytes += len as u64;
    }
}

impl RxFilter {
    /// Allocates; called at Start.
    pub fn new(mac: [u8; 6], mtu: u32) -> Result<Self, NicError> {
        let list = || (AtomicUsize::new(0), [const { AtomicU64::new(0) }; MULTICAST_MAX]);
        let filter = Self {
            mac: AtomicU64::new(0),
            promiscuous: AtomicBool::new(false),
            all_multicast: AtomicBool::new(false),
            mtu: AtomicU32::new(mtu),
            multicast: Box::new(Lists { current: AtomicUsize::new(0), lists: [list(), list()] }),
        };
        filter.set_mac(mac)?;
        Ok(filter)
    }

    pub fn mac(&self) -> [u8; 6] {
        unpack(self.mac.load(Ordering::Relaxed))
    }

    pub fn set_mac(&self, mac: [u8; 6]) -> Result<(), NicError> {
        let packed = pack(&mac);
        if packed == 0 || packed & GROUP != 0 {
            return Err(NicError::Invalid("a station address is neither zero nor a multicast address"));
        }
        self.mac.store(packed, Ordering::Relaxed);
        Ok(())
    }

    pub fn promiscuous(&self) -> bool {
        self.promiscuous.load(Ordering::Relaxed)
    }

    pub fn set_promiscuous(&self, on: bool) {
        self.promiscuous.store(on, Ordering::Relaxed);
    }

    pub fn set_all_multicast(&self, on: bool) {
        self.all_multicast.store(on, Ordering::Relaxed);
    }

    pub fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }

    pub fn set_mtu(&self, mtu: u32) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    pub fn set_multicast(&self, list: &MulticastList) -> Result<(), NicError> {
        if list.iter().any(|mac| pack(mac) & GROUP == 0) {
            return Err(NicError::Invalid("not a multicast address"));
        }
        let mut sorted: heapless::Vec<u64, MULTICAST_MAX> = list.iter().map(pack).collect();
        sorted.sort_unstable();
        let next = self.multicast.current.load(Ordering::Relaxed) ^ 1;
        if let Some((count, slots)) = self.multicast.lists.get(next) {
            // Only control writes the current index, so `next` stays the list that is not in use.
            for (slot, mac) in slots.iter().zip(&sorted) {
                slot.store(*mac, Ordering::Relaxed);
            }
            count.store(sorted.len(), Ordering::Relaxed);
        }
        // Release: whoever sees the new index sees the list.
        self.multicast.current.store(next, Ordering::Release);
        Ok(())
    }

    fn list(&self) -> &[AtomicU64] {
        let current = self.multicast.current.load(Ordering::Acquire);
        self.multicast
            .lists
            .get(current)
            .and_then(|(count, slots)| slots.get(..count.load(Ordering::Relaxed)))
            .unwrap_or(&[])
    }

    pub fn multicast_count(&self) -> usize {
        self.list().len()
    }

    #[cold]
    fn wants(&self, destination: u64) -> bool {
        if destination == BROADCAST || self.promiscuous() {
            return true;
        }
        destination & GROUP != 0
            && (self.all_multicast.load(Ordering::Relaxed)
                || self.list().binary_search_by(|slot| slot.load(Ordering::Relaxed).cmp(&destination)).is_ok())
    }

    /// What most frames are judged by, looked up once for a burst.
    pub fn glance(&self) -> Glance<'_> {
        Glance { filter: self, mac: self.mac.load(Ordering::Relaxed).swap_bytes(), longest: self.mtu() + OVERHEAD }
    }

    /// Judges a received frame. A super-frame may be longer than the MTU.
    #[inline]
    pub fn check(&self, frame: &[u8], super_frame: bool) -> Result<(), Refusal> {
        let Some(destination) = frame.first_chunk::<14>().and_then(|header| header.first_chunk::<6>()) else {
            return Err(Refusal::Runt);
        };
        let destination = pack(destination);
        if destination != self.mac.load(Ordering::Relaxed) && !self.wants(destination) {
            return Err(Refusal::MacFilter);
        }
        if frame.len() > (self.mtu() + OVERHEAD) as usize && !super_frame && !self.is_tagged(frame) {
            return Err(Refusal::Giant);
        }
        Ok(())
    }

    /// Whether a frame longer than the MTU is no longer than its tags make it.
    #[cold]
    fn is_tagged(&self, frame: &[u8]) -> bool {
        let mut limit = self.mtu() + OVERHEAD;
        let Some((_, mut rest)) = frame.split_at_checked(12) else { return false };
        for _ in 0..VLAN_TAGS_MAX {
            let Some(([0x81, 0x00, _, _] | [0x88, 0xa8, _, _], inner)) = rest.split_first_chunk::<4>() else { break };
            rest = inner;
            limit += VLAN_TAG;
        }
        frame.len() <= limit as usize
    }
}
