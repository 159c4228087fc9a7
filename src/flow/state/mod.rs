//! States: what pf remembers of a conversation, and what it lets pass because of that (pf.conf(5), "STATEFUL FILTERING").
//!
//! A state has two keys, one for each side of the NIC, alike unless addresses are translated: packets that come in are
//! looked up by what the wire shows, packets that go out by what the stack says. A key's source is the far end in both
//! directions, so that a packet and its answer have one key.
//!
//! What one side calls a conversation may be another conversation's name on the other side: a host translated to the
//! address of its neighbour beside that neighbour, translated to a third. So the stack's key of a translated state stands
//! in a zone of its own ([`inside`]).

mod hot;
mod tcp;
#[cfg(test)]
mod tests;

use bitflags::bitflags;

use super::FlowKey;
use super::scrub::TcpScrub;
use super::sources::NodeId;
use super::table::{BEFORE, BEHIND};
use crate::wire::icmp::{HEADER_LEN, IcmpHeader, NEIGHBOR_ADVERT, NEIGHBOR_SOLICIT};
use crate::wire::{Ends, Parsed, ParsedFlags, protocol};
pub use tcp::{End, Peer, Phase, Segment, Shift, Tracked};

/// Which way a packet goes, seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Way {
    /// From the wire to the stack.
    In = 1,
    /// From the stack to the wire.
    Out = 2,
}

/// How long a state that hears nothing stays: the numbers of pf's timeouts (pf.conf(5), `set timeout`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "pf.conf(5) says what each is")]
pub enum Lifetime {
    TcpFirst = 0,
    TcpOpening = 1,
    TcpEstablished = 2,
    TcpClosing = 3,
    TcpFinWait = 4,
    TcpClosed = 5,
    UdpFirst = 6,
    UdpSingle = 7,
    UdpMultiple = 8,
    IcmpFirst = 9,
    IcmpError = 10,
    OtherFirst = 11,
    OtherSingle = 12,
    OtherMultiple = 13,
}

bitflags! {
    /// Switches of a state.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct StateFlags: u16 {
        /// The two keys differ.
        const TRANSLATED = 1 << 0;
        /// `sloppy`: sequence numbers are not looked at.
        const SLOPPY = 1 << 1;
        /// `log (all)`, `dup-to`.
        const LOG_ALL = 1 << 2;
        /// It began with a SYN: nothing before that was ever sent.
        const FROM_SYN = 1 << 3;
        /// `allow-opts`.
        const ALLOW_OPTS = 1 << 4;
        /// `no-df`.
        const NO_DF = 1 << 5;
        /// `random-id`.
        const RANDOM_ID = 1 << 6;
        /// Something is normalised in every packet.
        const SCRUB = 1 << 7;
        /// `synproxy`: the handshake with the client goes on.
        const PROXY_CLIENT = 1 << 8;
        /// `synproxy`: the handshake with the server goes on.
        const PROXY_SERVER = 1 << 9;
        /// `reassemble tcp`: timestamps are looked at.
        const TIMESTAMPS = 1 << 10;
        /// Counted among the connections of its source.
        const CONNECTION = 1 << 11;
        /// Its packets are shown to those who watch for copies (`dup-to`).
        const COPY = 1 << 12;
        /// A packet that comes in may change more of the state than numbers.
        const OPEN_IN = 1 << 13;
        /// One that goes out may.
        const OPEN_OUT = 1 << 14;
    }
}

/// One state. What every packet of it reads and writes comes first and ends, behind what a table has in front, with the
/// first cache line; what TCP needs besides comes last, in the line where a table has the rest of a long key.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct State {
    /// What it is.
    pub flags: StateFlags,
    /// The way of the packet that made it.
    pub way: Way,
    /// Which timeout applies.
    pub lifetime: Lifetime,
    /// Number of the rule that made it; `u32::MAX` = there is none any more.
    pub rule: u32,
    /// Ruleset that `rule` is a number in, see [`State::set_epoch`].
    epoch: u32,
    /// When the last packet came, the lower half of its ticks; see [`State::seen`].
    seen: u32,
    /// Bytes that came in, and that went out.
    bytes: [u64; 2],
    /// Packets that came in and that went out, the lower halves.
    packets: [u32; 2],
    /// What the wire shows.
    pub wire: FlowKey,
    /// What the stack says.
    pub stack: FlowKey,
    /// Upper halves of `packets`.
    more_packets: [u32; 2],
    /// How far the end that began is, and the other.
    pub phases: [Phase; 2],
    /// IP protocol.
    pub protocol: u8,
    /// `min-ttl`; 0 = none.
    pub min_ttl: u8,
    /// `set-tos`.
    pub set_tos: Option<u8>,
    /// `max-mss`; 0 = none.
    pub max_mss: u16,
    /// `reassemble tcp`: its timestamps.
    pub stamps: TcpScrub,
    /// Node of the source, if sources are tracked.
    pub source: Option<NodeId>,
    /// What the rule is called over reloads.
    pub rule_id: u32,
    /// The rule that translated; `u32::MAX` = none.
    pub translation: u32,
    /// `tag`; 0 = none.
    pub tag: u16,
    /// `synproxy`: what the client offered, for the handshake with the server.
    pub proxy_mss: u16,
    /// When it was made, ticks.
    pub made: u64,
    /// TCP: the end that began, and the other.
    pub peers: [Peer; 2],
}

const _: () = {
    use core::mem::offset_of;
    assert!(BEFORE + offset_of!(State, wire) == 64, "what is hot fills one line");
    let last = (BEFORE + offset_of!(State, peers)) / 64;
    assert!(
        (BEFORE + size_of::<State>() + BEHIND).div_ceil(64) == last + 1,
        "TCP's part has a line with the key's rest"
    );
    assert!(last == 4);
};

impl Default for State {
    /// Of no packet.
    fn default() -> Self {
        Self::new(Way::In, 0, FlowKey::EMPTY, FlowKey::EMPTY, 0)
    }
}

impl State {
    /// A new one, without a packet counted.
    #[must_use]
    pub fn new(way: Way, protocol: u8, wire: FlowKey, stack: FlowKey, now: u64) -> Self {
        let mut flags = StateFlags::OPEN_IN | StateFlags::OPEN_OUT;
        flags.set(StateFlags::TRANSLATED, wire != stack);
        Self {
            flags,
            way,
            lifetime: first_lifetime(protocol),
            rule: u32::MAX,
            epoch: 0,
            seen: now as u32,
            bytes: [0; 2],
            packets: [0; 2],
            wire,
            stack,
            more_packets: [0; 2],
            phases: [Phase::CLOSED; 2],
            protocol,
            min_ttl: 0,
            set_tos: None,
            max_mss: 0,
            stamps: TcpScrub::default(),
            source: None,
            rule_id: 0,
            translation: u32::MAX,
            tag: 0,
            proxy_mss: 0,
            made: now,
            peers: [Peer::default(); 2],
        }
    }

    /// True if `rule` is a number in the ruleset `epoch`. (Four billion loads between two packets would be mistaken.)
    #[must_use]
    #[inline(always)]
    pub const fn is_of_epoch(&self, epoch: u64) -> bool {
        self.epoch == epoch as u32
    }

    /// Says which ruleset `rule` is a number in.
    pub const fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch as u32;
    }

    /// Notes when the last packet came, ticks.
    #[inline(always)]
    pub const fn see(&mut self, now: u64) {
        self.seen = now as u32;
    }

    /// When the last packet came, ticks: the time not after `now` that has the half that is kept.
    #[must_use]
    pub const fn seen(&self, now: u64) -> u64 {
        now.saturating_sub((now as u32).wrapping_sub(self.seen) as u64)
    }

    /// The key that packets of this way are looked up by.
    #[must_use]
    pub const fn key(&self, way: Way) -> &FlowKey {
        match way {
            Way::In => &self.wire,
            Way::Out => &self.stack,
        }
    }

    /// The key that packets of this way leave with.
    #[must_use]
    pub const fn target(&self, way: Way) -> &FlowKey {
        match way {
            Way::In => &self.stack,
            Way::Out => &self.wire,
        }
    }

    /// True for packets of the end that began.
    #[must_use]
    #[inline(always)]
    pub fn is_forward(&self, way: Way) -> bool {
        self.way == way
    }

    /// Sender and receiver of packets of this way.
    #[inline(always)]
    pub const fn ends(&mut self, forward: bool) -> (End<'_>, End<'_>) {
        let ([first, second], [a, b]) = (&mut self.peers, &mut self.phases);
        let (first, second) = (End { peer: first, phase: a }, End { peer: second, phase: b });
        if forward { (first, second) } else { (second, first) }
    }

    /// Counts a packet.
    #[inline(always)]
    pub fn count(&mut self, way: Way, len: usize) {
        let index = usize::from(way == Way::Out);
        if let (Some(packets), Some(bytes)) = (self.packets.get_mut(index), self.bytes.get_mut(index)) {
            *bytes = bytes.wrapping_add(len as u64);
            *packets = packets.wrapping_add(1);
            if *packets == 0 {
                self.carry(index);
            }
        }
    }

    #[cold]
    fn carry(&mut self, index: usize) {
        if let Some(more) = self.more_packets.get_mut(index) {
            *more = more.wrapping_add(1);
        }
    }

    /// Of the end that began, and of the other, what came in and went out.
    const fn by_end(&self, [came_in, went_out]: [u64; 2]) -> [u64; 2] {
        if matches!(self.way, Way::In) { [came_in, went_out] } else { [went_out, came_in] }
    }

    /// Packets of the end that began, and of the other.
    #[must_use]
    pub fn packets(&self) -> [u64; 2] {
        let ([a, b], [more_a, more_b]) = (self.packets.map(u64::from), self.more_packets.map(u64::from));
        self.by_end([more_a << 32 | a, more_b << 32 | b])
    }

    /// Bytes, the same way.
    #[must_use]
    pub const fn bytes(&self) -> [u64; 2] {
        self.by_end(self.bytes)
    }

    /// Notes the packet, of anything but TCP, that made the state.
    pub fn open_datagram(&mut self) {
        let [first, _] = &mut self.phases;
        *first = Phase::SINGLE;
        self.lifetime = first_lifetime(self.protocol);
    }

    /// Follows a packet of anything but TCP (pf's `pf_test_state_udp`, `pf_test_state_icmp`, `pf_test_state_other`).
    pub fn track_datagram(&mut self, forward: bool) {
        let (sender, receiver) = self.ends(forward);
        *sender.phase = (*sender.phase).max(Phase::SINGLE);
        if *receiver.phase == Phase::SINGLE {
            *receiver.phase = Phase::MULTIPLE;
        }
        let both = self.phases == [Phase::MULTIPLE; 2];
        self.lifetime = match (self.protocol, both) {
            (protocol::UDP, true) => Lifetime::UdpMultiple,
            (protocol::UDP, false) => Lifetime::UdpSingle,
            (protocol::ICMP | protocol::ICMPV6, _) => Lifetime::IcmpError,
            (_, true) => Lifetime::OtherMultiple,
            (_, false) => Lifetime::OtherSingle,
        };
        let [first, second] = self.phases;
        let settled = |sender, receiver| sender >= Phase::SINGLE && receiver != Phase::SINGLE;
        self.settle(settled(first, second), settled(second, first));
    }

    /// Says of which end another packet as the last one would change nothing but numbers.
    fn settle(&mut self, first: bool, second: bool) {
        let (came_in, went_out) = if self.way == Way::In { (first, second) } else { (second, first) };
        self.flags.set(StateFlags::OPEN_IN, !came_in);
        self.flags.set(StateFlags::OPEN_OUT, !went_out);
    }
}

const fn first_lifetime(protocol: u8) -> Lifetime {
    match protocol {
        protocol::TCP => Lifetime::TcpFirst,
        protocol::UDP => Lifetime::UdpFirst,
        protocol::ICMP | protocol::ICMPV6 => Lifetime::IcmpFirst,
        _ => Lifetime::OtherFirst,
    }
}

/// The request that an ICMP or ICMPv6 message is or answers, if it is part of a query (RFC 792, RFC 950, RFC 4443).
#[must_use]
pub const fn icmp_request(protocol: u8, kind: u8) -> Option<u8> {
    match (protocol, kind) {
        (protocol::ICMP, 0 | 8) => Some(8),
        (protocol::ICMP, 13 | 14) => Some(13),
        (protocol::ICMP, 15 | 16) => Some(15),
        (protocol::ICMP, 17 | 18) => Some(17),
        (protocol::ICMPV6, 128 | 129) => Some(128),
        (protocol::ICMPV6, NEIGHBOR_SOLICIT | NEIGHBOR_ADVERT) => Some(NEIGHBOR_SOLICIT),
        _ => None,
    }
}

/// True for the messages that begin a query.
#[must_use]
pub const fn is_icmp_request(protocol: u8, kind: u8) -> bool {
    matches!((protocol, kind), (protocol::ICMP, 8 | 13 | 15 | 17) | (protocol::ICMPV6, 128 | NEIGHBOR_SOLICIT))
}

/// Ports of the far and the near end as a key has them: of an ICMP query, its identifier and the request's type.
/// `None`: no state can be about such a packet.
#[must_use]
pub fn ports(frame: &[u8], parsed: &Parsed, way: Way) -> Option<(u16, u16)> {
    if parsed.flags.contains(ParsedFlags::ICMP) {
        let request = icmp_request(parsed.protocol, parsed.icmp_type)?;
        let header = IcmpHeader::new(frame.get(usize::from(parsed.l4)..)?)?;
        return Some(((header.rest() >> 16) as u16, u16::from(request)));
    }
    Some(match way {
        Way::In => (parsed.src_port, parsed.dst_port),
        Way::Out => (parsed.dst_port, parsed.src_port),
    })
}

/// What a translated state is found by from the stack's side, where the key of any other state is what the wire shows.
#[must_use]
#[inline(always)]
pub const fn inside(key: &FlowKey) -> FlowKey {
    key.in_zone(1)
}

/// The key of a packet on its way. `None`: no state can be about it.
#[must_use]
#[inline]
pub fn key(frame: &[u8], parsed: &Parsed, way: Way) -> Option<FlowKey> {
    if parsed.protocol == protocol::ICMPV6 && matches!(parsed.icmp_type, NEIGHBOR_SOLICIT | NEIGHBOR_ADVERT) {
        return neighbor_key(frame, parsed, way);
    }
    let (far_port, near_port) = ports(frame, parsed, way)?;
    let (far, near) = match way {
        Way::In => (&parsed.src, &parsed.dst),
        Way::Out => (&parsed.dst, &parsed.src),
    };
    Some(FlowKey::new((far, far_port), (near, near_port), parsed.protocol, parsed.family, 0))
}

/// [`key`] of a packet between these ends.
#[must_use]
#[inline(always)]
pub fn key_of(ends: &Ends, way: Way) -> FlowKey {
    FlowKey::of(ends, way == Way::Out)
}

/// [`key`] of a packet with ports.
#[must_use]
#[inline(always)]
pub fn key_of_ports(parsed: &Parsed, way: Way) -> FlowKey {
    let (src, dst) = ((&parsed.src, parsed.src_port), (&parsed.dst, parsed.dst_port));
    let (far, near) = if way == Way::In { (src, dst) } else { (dst, src) };
    FlowKey::new(far, near, parsed.protocol, parsed.family, 0)
}

/// A solicitation goes to a group; who answers is the target it names (RFC 4861 sections 4.3 and 4.4).
fn neighbor_key(frame: &[u8], parsed: &Parsed, way: Way) -> Option<FlowKey> {
    let is_query = parsed.icmp_type == NEIGHBOR_SOLICIT;
    let body = frame.get(usize::from(parsed.l4)..)?.get(HEADER_LEN..)?;
    let target: &[u8; 16] = body.first_chunk()?;
    let (src, dst) = if is_query { (&parsed.src, target) } else { (target, &parsed.dst) };
    let (far, near) = if way == Way::In { (src, dst) } else { (dst, src) };
    let port = u16::from(NEIGHBOR_SOLICIT);
    Some(FlowKey::new((far, 0), (near, port), parsed.protocol, parsed.family, 0))
}
