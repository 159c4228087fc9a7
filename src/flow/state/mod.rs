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
use super::table::{BEFORE, BEFORE_SECOND, FlowId, FlowTable, Full};
use crate::wire::icmp::{HEADER_LEN, IcmpHeader, NEIGHBOR_ADVERT, NEIGHBOR_SOLICIT};
use crate::wire::{Ends, Parsed, ParsedFlags, protocol};
pub use hot::Hot;
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

/// The numbers of TCP: of the end that began, and of the other.
pub type Peers = [Peer; 2];

/// What few packets need.
#[derive(Clone, Debug)]
pub struct More {
    /// What the wire shows.
    pub wire: FlowKey,
    /// What the stack says.
    pub stack: FlowKey,
    /// Upper halves of [`Hot`]'s packets.
    packets: [u32; 2],
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
}

/// Flows that are states, each in its three parts.
pub type StateTable = FlowTable<Hot, Peers, More>;

const _: () = {
    assert!(BEFORE + size_of::<Hot>() == 64, "what is hot fills one line");
    assert!(BEFORE_SECOND + size_of::<Peers>() <= 64, "TCP's numbers are in the line with the key's rest");
};

/// One state.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What every packet needs.
    pub hot: Hot,
    /// What TCP needs besides.
    pub peers: Peers,
    /// The rest.
    pub more: More,
}

/// A state in its table, to be looked at.
#[derive(Clone, Copy, Debug)]
pub struct StateRef<'a> {
    /// What every packet needs.
    pub hot: &'a Hot,
    /// The rest, but for TCP's numbers.
    pub more: &'a More,
}

/// A state, wherever it is, to be changed.
#[derive(Debug)]
pub struct StateMut<'a> {
    /// What every packet needs.
    pub hot: &'a mut Hot,
    /// What TCP needs besides.
    pub peers: &'a mut Peers,
    /// The rest.
    pub more: &'a mut More,
}

impl StateTable {
    /// A state, while it is there.
    #[must_use]
    #[inline]
    pub fn state(&self, id: FlowId) -> Option<StateRef<'_>> {
        self.parts(id).map(|(hot, _, more)| StateRef { hot, more })
    }

    /// A state, while it is there.
    #[must_use]
    #[inline]
    pub fn state_mut(&mut self, id: FlowId) -> Option<StateMut<'_>> {
        self.parts_mut(id).map(|(hot, peers, more)| StateMut { hot, peers, more })
    }

    /// Adds a state by the key that the wire shows, whose hash this is.
    ///
    /// # Errors
    /// [`Full`].
    pub fn add(&mut self, hash: u64, state: State) -> Result<FlowId, Full> {
        let State { hot, peers, more } = state;
        self.insert_parts(hash, more.wire, (hot, peers, more))
    }

    /// Takes a state out.
    pub fn take(&mut self, id: FlowId) -> Option<State> {
        self.remove_parts(id).map(|(hot, peers, more)| State { hot, peers, more })
    }
}

impl Default for More {
    /// Of no packet.
    fn default() -> Self {
        Self::new(0, FlowKey::EMPTY, FlowKey::EMPTY, 0)
    }
}

impl More {
    fn new(protocol: u8, wire: FlowKey, stack: FlowKey, now: u64) -> Self {
        Self {
            wire,
            stack,
            packets: [0; 2],
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
        }
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
}

impl State {
    /// A new one, without a packet counted.
    #[must_use]
    pub fn new(way: Way, protocol: u8, wire: FlowKey, stack: FlowKey, now: u64) -> Self {
        let mut hot = Hot::new(way, protocol, now);
        hot.flags.set(StateFlags::TRANSLATED, wire != stack);
        Self { hot, peers: [Peer::default(); 2], more: More::new(protocol, wire, stack, now) }
    }

    /// To be looked at.
    #[must_use]
    pub const fn as_ref(&self) -> StateRef<'_> {
        StateRef { hot: &self.hot, more: &self.more }
    }

    /// To be changed.
    pub const fn as_mut(&mut self) -> StateMut<'_> {
        let Self { hot, peers, more } = self;
        StateMut { hot, peers, more }
    }
}

impl StateRef<'_> {
    /// Packets of the end that began, and of the other.
    #[must_use]
    pub fn packets(&self) -> [u64; 2] {
        let ([a, b], [more_a, more_b]) = (self.hot.packets.map(u64::from), self.more.packets.map(u64::from));
        self.hot.by_end([more_a << 32 | a, more_b << 32 | b])
    }
}

impl StateMut<'_> {
    /// To be looked at.
    #[must_use]
    pub const fn as_ref(&self) -> StateRef<'_> {
        StateRef { hot: self.hot, more: self.more }
    }

    /// Sender and receiver of packets of this way.
    #[inline(always)]
    pub const fn ends(&mut self, forward: bool) -> (End<'_>, End<'_>) {
        let ([first, second], [a, b]) = (&mut *self.peers, &mut self.more.phases);
        let (first, second) = (End { peer: first, phase: a }, End { peer: second, phase: b });
        if forward { (first, second) } else { (second, first) }
    }

    /// Counts a packet.
    pub fn count(&mut self, way: Way, len: usize) {
        if self.hot.carries(way)
            && let Some(more) = self.more.packets.get_mut(usize::from(way == Way::Out))
        {
            *more = more.wrapping_add(1);
        }
        self.hot.count(way, len);
    }

    /// Notes the packet, of anything but TCP, that made the state.
    pub fn open_datagram(&mut self) {
        let [first, _] = &mut self.more.phases;
        *first = Phase::SINGLE;
        self.hot.lifetime = first_lifetime(self.more.protocol);
    }

    /// Follows a packet of anything but TCP (pf's `pf_test_state_udp`, `pf_test_state_icmp`, `pf_test_state_other`).
    pub fn track_datagram(&mut self, forward: bool) {
        let (sender, receiver) = self.ends(forward);
        *sender.phase = (*sender.phase).max(Phase::SINGLE);
        if *receiver.phase == Phase::SINGLE {
            *receiver.phase = Phase::MULTIPLE;
        }
        let both = self.more.phases == [Phase::MULTIPLE; 2];
        self.hot.lifetime = match (self.more.protocol, both) {
            (protocol::UDP, true) => Lifetime::UdpMultiple,
            (protocol::UDP, false) => Lifetime::UdpSingle,
            (protocol::ICMP | protocol::ICMPV6, _) => Lifetime::IcmpError,
            (_, true) => Lifetime::OtherMultiple,
            (_, false) => Lifetime::OtherSingle,
        };
        let [first, second] = self.more.phases;
        let settled = |sender, receiver| sender >= Phase::SINGLE && receiver != Phase::SINGLE;
        self.hot.settle(settled(first, second), settled(second, first));
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
