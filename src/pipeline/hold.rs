//! Fragments that wait, and what becomes of the datagrams that they make ([`crate::flow::frag`]).
#![forbid(unsafe_code)]

use super::judge::{Help, Judge};
use super::{Direction, Outcome, Pipeline};
use crate::filter::{Options, Timeout};
use crate::flow::Secret;
use crate::flow::frag::{self, Arrival, Fault, Reassembly, Taken};
use crate::flow::state::Way;
use crate::mem::{Packet, PacketFlags};
use crate::telemetry::{DropReason, ShardCounters};

/// Datagrams given up in one burst because their time is up.
const EXPIRE_BUDGET: usize = 16;

/// A packet as reassembly sees it, and the shard that handed it over.
pub struct Fragment(Packet, Option<u8>);

impl frag::Frame for Fragment {
    fn bytes(&self) -> &[u8] {
        self.0.frame()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.frame_mut()
    }

    fn set_len(&mut self, len: usize) -> bool {
        let longer = len > self.0.len();
        let fits = self.0.set_len(len);
        if fits && longer {
            // What the NIC vouched for was one fragment.
            self.0.set_flags(self.0.flags() - PacketFlags::RX_DATA_VALID);
        }
        fits
    }
}

/// How a fragment that waited leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// On to the stack, or to the NIC.
    Pass,
    /// What it carried left in another frame.
    Consumed,
    /// Dropped.
    Drop(DropReason),
    /// Its datagram is of a state of another shard.
    Elsewhere(u8),
}

/// The fragments of both directions.
pub struct Waiting {
    inbound: Reassembly<Fragment, Outcome>,
    outbound: Reassembly<Fragment, Outcome>,
    capacity: u32,
}

pub(super) const fn reason(fault: Fault) -> DropReason {
    match fault {
        Fault::Bad | Fault::Timeout => DropReason::Fragment,
        Fault::Full => DropReason::Memory,
        Fault::Stopped => DropReason::Disabled,
    }
}

impl Waiting {
    /// Room for `capacity` fragments in each direction. `None` without memory.
    pub fn new(capacity: usize, seed: u64) -> Option<Self> {
        let one = |seed| Reassembly::new(capacity, Secret::from_seed(seed));
        let capacity = u32::try_from(capacity).ok()?;
        let (inbound, outbound) = (one(seed.rotate_left(7))?, one(seed.rotate_left(23))?);
        Some(Self { inbound, outbound, capacity })
    }

    /// Takes over `set limit frags`, `set timeout frag`, and the longest frame of the link.
    pub fn configure(&mut self, options: &Options, frame_max: usize) {
        let limit = options.limits.frags.min(self.capacity) as usize;
        let timeout = u64::from(options.timeouts.get(Timeout::Fragment)).saturating_mul(1_000_000_000);
        for one in [&mut self.inbound, &mut self.outbound] {
            one.configure(limit, timeout, frame_max);
        }
    }

    fn of(&mut self, direction: Direction) -> &mut Reassembly<Fragment, Outcome> {
        match direction {
            Direction::In => &mut self.inbound,
            Direction::Out => &mut self.outbound,
        }
    }

    /// Gives up datagrams whose time is up.
    pub fn expire(&mut self, direction: Direction, now_ns: u64) {
        let one = self.of(direction);
        if one.held() > 0 {
            one.expire(now_ns, EXPIRE_BUDGET);
        }
    }
}

impl Pipeline {
    /// Takes frame number `index` of the burst that was judged last, whose outcome is [`Outcome::Hold`]; `from`: the
    /// shard that handed it over. A frame that comes back is to be dropped.
    pub fn hold(
        &mut self,
        direction: Direction,
        now_ns: u64,
        (index, packet): (usize, Packet),
        (no_df, from): (bool, Option<u8>),
        counters: &ShardCounters,
    ) -> Option<(Packet, DropReason)> {
        let Some(parsed) = self.parsed.get(index) else { return Some((packet, DropReason::Fragment)) };
        let rules = self.rules.current();
        let Some(bound) = rules.bound() else { return Some((packet, DropReason::Fragment)) };
        let way = match direction {
            Direction::In => Way::In,
            Direction::Out => Way::Out,
        };
        // Fragments of different VLANs have nothing to do with each other.
        let zone = parsed.vlans.first().map_or(0, |tci| tci & 0x0fff);
        // Whoever transmits may leave the sum to the NIC; whoever received may have looked.
        let check_header = direction == Direction::In && !packet.flags().contains(PacketFlags::RX_IP_VALID);
        let arrival = Arrival { now: now_ns, zone, no_df, check_header };
        let waiting = self.waiting.of(direction);
        let id = match waiting.insert(Fragment(packet, from), parsed, &arrival) {
            Taken::Held => return None,
            Taken::Refused(Fragment(packet, _), fault) => return Some((packet, reason(fault))),
            Taken::Complete(id) => id,
        };
        let mut whole = waiting.whole(id)?;
        let (frame, parsed) = whole.head();
        let help = Help {
            bound,
            shard: self.shard,
            shards: self.shards,
            handed: from.is_some(),
            way,
            tracker: &mut self.tracker,
            random: &mut self.random,
            added: &mut self.added,
            recorder: &mut (),
            query: None,
            translated_by: u32::MAX,
        };
        let mut judge = Judge::new(help, now_ns, &self.shared, counters, &mut self.answers);
        let outcome = judge.alone(frame, parsed, false);
        // What goes to another shard goes as it would leave: no byte twice, in one frame if it fits.
        whole.finish(outcome, matches!(outcome, Outcome::Pass | Outcome::Elsewhere(_)));
        None
    }

    /// The next fragment that need not wait any more, and the shard that handed it over.
    pub fn release(&mut self, direction: Direction) -> Option<(Packet, Option<u8>, Released)> {
        let (Fragment(packet, from), outcome) = self.waiting.of(direction).pop()?;
        let released = match outcome {
            frag::Outcome::Judged(Outcome::Pass) => Released::Pass,
            frag::Outcome::Judged(Outcome::Drop(reason)) => Released::Drop(reason),
            frag::Outcome::Judged(Outcome::Elsewhere(shard)) => Released::Elsewhere(shard),
            // A whole datagram is no fragment.
            frag::Outcome::Judged(Outcome::Hold { .. }) => Released::Drop(DropReason::Fragment),
            frag::Outcome::Merged => Released::Consumed,
            frag::Outcome::Lost(fault) => Released::Drop(reason(fault)),
        };
        Some((packet, from, released))
    }

    /// Gives up everything that waits: the interface went down.
    pub fn release_all(&mut self) {
        self.waiting.inbound.flush();
        self.waiting.outbound.flush();
    }

    /// Fragments that wait or are ready, and those that are ready.
    pub fn held(&mut self, direction: Direction) -> (usize, usize) {
        let one = self.waiting.of(direction);
        (one.held(), one.ready())
    }
}
