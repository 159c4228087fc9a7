//! Conversations: what is remembered of them, and for how long.

use super::model::*;
use super::packet::*;
use std::net::IpAddr;

/// One end of a conversation: address, and port or ICMP identifier.
pub type End = (IpAddr, u16);

/// How far one end of a TCP connection is, or whether an end of another conversation was heard (pf(4) shows these).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Closed,
    SynSent,
    Established,
    Closing,
    FinWait2,
    TimeWait,
}

/// A conversation that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub proto: u8,
    pub dir: Dir,
    /// The first packet's ends, as it came and as it left.
    pub came: (End, End),
    pub left: (End, End),
    /// Something came back.
    pub answered: bool,
    /// It began in the middle: pf guesses at the other end's window, and may let that end do anything.
    pub began_late: bool,
    /// Of the traffic, whose numbers it knows ([`super::traffic::Place`]).
    pub connection: u16,
    pub rule: Option<usize>,
    pub scrub: Scrub,
    pub sloppy: bool,
    /// Of [`TIMEOUTS`], with the rule's own number of seconds.
    pub timeout: Option<(usize, u32)>,
    /// The source that it counts for, and whether among those of all rules.
    pub source: Option<(IpAddr, bool)>,
    /// Its handshake was seen, and counted.
    pub connected: bool,
    pub phases: [Phase; 2],
    /// The second end of a datagram's conversation was heard, then the first again.
    heard: [bool; 2],
    pub last: u64,
    lifetime: usize,
}

/// Numbers of [`TIMEOUTS`].
const TCP: usize = 0;
const UDP: usize = 6;
const ICMP: usize = 9;
const OTHER: usize = 11;

impl State {
    pub fn new(packet: &Packet, came: (End, End), left: (End, End), now: u64) -> Self {
        let proto = packet.proto();
        let lifetime = match proto {
            6 => TCP,
            17 => UDP,
            1 | 58 => ICMP,
            _ => OTHER,
        };
        let flags = if let Body::Tcp { flags, .. } = packet.body { flags } else { 0 };
        let first = if flags & FIN != 0 { Phase::Closing } else { Phase::SynSent };
        Self {
            proto,
            dir: packet.dir,
            came,
            left,
            answered: false,
            began_late: proto == 6 && flags & (SYN | ACK) != SYN,
            connection: 0,
            rule: None,
            scrub: Scrub::default(),
            sloppy: false,
            timeout: None,
            source: None,
            connected: false,
            phases: [first, Phase::Closed],
            heard: [true, false],
            last: now,
            lifetime,
        }
    }

    /// Whether another conversation of these ends could not be told from this one.
    pub fn clashes(&self, packet: &Packet, came: (End, End), left: (End, End)) -> bool {
        let (first, second) = if packet.dir == self.dir { (came, left) } else { ((left.1, left.0), (came.1, came.0)) };
        self.proto == packet.proto() && (self.came == first || self.left == second)
    }

    /// When it is over if nothing more comes, nanoseconds.
    pub fn end(&self, set: &[(usize, u32)]) -> u64 {
        let of = |list: Option<&(usize, u32)>| list.map(|(_, seconds)| *seconds);
        let own = of(self.timeout.as_ref().filter(|(which, _)| *which == self.lifetime));
        let seconds = own
            .or_else(|| of(set.iter().rev().find(|(which, _)| *which == self.lifetime)))
            .unwrap_or(TIMEOUTS[self.lifetime].1);
        self.last + u64::from(seconds) * 1_000_000_000
    }

    /// A packet of it passes (`pf_tcp_track_full`, `pf_test_state_udp` and the others). True: this was the end of a
    /// handshake.
    pub fn follow(&mut self, packet: &Packet, now: u64) -> bool {
        let from = usize::from(packet.dir != self.dir);
        let to = 1 - from;
        self.last = now;
        self.answered |= from == 1;
        let Body::Tcp { flags, .. } = packet.body else {
            // pf gives an end a second step when the other one speaks.
            let [first, second] = self.heard;
            let multiple = self.phases == [Phase::Established; 2];
            if from == 1 {
                self.phases[0] = Phase::Established;
            } else if second {
                self.phases[1] = Phase::Established;
            }
            self.heard = [first, second || from == 1];
            let multiple = multiple || self.phases == [Phase::Established; 2];
            self.lifetime = match (self.proto, multiple) {
                (17, false) => UDP + 1,
                (17, true) => UDP + 2,
                (1 | 58, _) => ICMP + 1,
                (_, false) => OTHER + 1,
                (_, true) => OTHER + 2,
            };
            return false;
        };
        let mut connected = false;
        let phases = &mut self.phases;
        if flags & SYN != 0 || !self.sloppy {
            phases[from] = phases[from].max(Phase::SynSent);
        }
        if self.sloppy && flags & ACK != 0 && phases[to] == Phase::Closed {
            phases[to] = Phase::SynSent;
            phases[from] = phases[from].max(Phase::SynSent);
        }
        if flags & FIN != 0 {
            phases[from] = phases[from].max(Phase::Closing);
        }
        if flags & ACK != 0 {
            if phases[to] == Phase::SynSent {
                phases[to] = Phase::Established;
                connected = phases[from] == Phase::Established;
            } else if phases[to] == Phase::Closing {
                phases[to] = Phase::FinWait2;
            }
        }
        if flags & RST != 0 {
            *phases = [Phase::TimeWait; 2];
        }
        let (slower, faster) = (phases[0].min(phases[1]), phases[0].max(phases[1]));
        self.lifetime = TCP
            + match () {
                () if slower >= Phase::FinWait2 => 5,
                () if slower >= Phase::Closing => 4,
                () if slower < Phase::Established => 1,
                () if faster >= Phase::Closing => 3,
                () => 2,
            };
        connected
    }
}
