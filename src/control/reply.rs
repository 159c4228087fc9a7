//! Replies: the structs of `dext/weir_core.h`, written field by field.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use crate::filter::image::ImageError;
use crate::telemetry::{Counters, Event};

/// Bytes of `weir_info`.
pub const INFO_LEN: usize = 112;
/// Bytes of `weir_counters`.
pub const COUNTERS_LEN: usize = 704;
/// Bytes of `weir_load_result`.
pub const LOAD_RESULT_LEN: usize = 136;
/// Bytes of `weir_rule_counters`.
pub const RULE_COUNTERS_LEN: usize = 32;
/// Bytes of `weir_histogram`.
pub const HISTOGRAM_LEN: usize = 520;
/// Bytes of `weir_event`.
pub const EVENT_LEN: usize = Event::LEN;

/// Bytes of `weir_tap_info`.
pub const TAP_INFO_LEN: usize = 32;
/// Bytes of `weir_table_entry`.
pub const TABLE_ENTRY_LEN: usize = 20;
/// Bytes of `weir_table_result`.
pub const TABLE_RESULT_LEN: usize = 16;
/// Bytes of `weir_state`.
pub const STATE_LEN: usize = 144;
/// Bytes of `weir_source`.
pub const SOURCE_LEN: usize = 64;
/// Bytes of `weir_filter_status`.
pub const STATUS_LEN: usize = 112;

/// Characters of `weir_load_result.text`, its NUL included.
const LOAD_TEXT_LEN: usize = 112;

/// A reply under construction, at most as long as the caller has room for.
///
/// Two kinds of content: a struct is written as a whole or not at all, and the reply then only says how long it would
/// have been; a list ends with the last entry that fits.
#[derive(Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    room: usize,
    needed: usize,
}

/// `weir_info`.
#[derive(Clone, Copy, Debug)]
pub struct Info<'a> {
    /// Queue pairs.
    pub queues: u32,
    /// `WEIR_MODE_*`.
    pub mode: u32,
    /// Bytes without the Ethernet header.
    pub mtu: u32,
    /// Counts loads and clears.
    pub ruleset_epoch: u64,
    /// Rules of the running ruleset.
    pub rules: u32,
    /// `WEIR_OFFLOAD_*` in use.
    pub offloads: u32,
    /// Station address.
    pub mac: [u8; 6],
    /// Between enable and disable.
    pub enabled: bool,
    /// Takes frames for every station.
    pub promiscuous: bool,
    /// Length of the multicast list.
    pub multicast_count: u32,
    /// BSD name; at most 15 bytes are used.
    pub if_name: &'a str,
    /// Carrier.
    pub link_up: bool,
    /// Both directions at once.
    pub full_duplex: bool,
    /// Bits per second.
    pub speed_bps: u64,
    /// The crate's version; at most 31 bytes are used.
    pub version: &'a str,
}

/// `weir_load_result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadResult {
    /// Epoch of the ruleset that now runs.
    pub epoch: u64,
    /// Its rules.
    pub rules: u32,
    /// Why the image was refused.
    pub error: Option<ImageError>,
}

/// `weir_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// What kill can name.
    pub id: u64,
    /// Packets of the end that began and of the other.
    pub packets: [u64; 2],
    /// Bytes, the same way.
    pub bytes: [u64; 2],
    /// Milliseconds since it was made, and until it is over.
    pub times: [u64; 2],
    /// Number of the rule; `u32::MAX` = gone.
    pub rule: u32,
    /// Far and near address, as the wire shows them and as the stack has them.
    pub addrs: [[u8; 16]; 4],
    /// Their ports.
    pub ports: [u16; 4],
    /// Direction, family, protocol, phases of both ends.
    pub small: [u8; 5],
}

impl Reply {
    /// An empty reply to a caller with `room` bytes.
    #[must_use]
    pub const fn new(room: usize) -> Self {
        Self { bytes: Vec::new(), room, needed: 0 }
    }

    /// What goes to the caller.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the whole reply. More than [`Reply::bytes`] has if the room was too small for a struct.
    #[must_use]
    pub const fn needed(&self) -> usize {
        self.needed
    }

    /// True if a struct did not fit.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.needed > self.bytes.len()
    }

    /// Room for another entry of a list.
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        self.bytes.len().saturating_add(len) <= self.room
    }

    /// Adds a struct or an entry; false, and only counted, if there is no room or memory.
    fn put(&mut self, parts: &[&[u8]]) -> bool {
        let len = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        self.needed = self.needed.saturating_add(len);
        if !self.has_room(len) || self.bytes.try_reserve(len).is_err() {
            return false;
        }
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        true
    }

    /// Adds `weir_info`.
    pub fn info(&mut self, info: &Info<'_>) -> bool {
        self.put(&[
            &super::ABI_VERSION.to_ne_bytes(),
            &info.queues.to_ne_bytes(),
            &info.mode.to_ne_bytes(),
            &info.mtu.to_ne_bytes(),
            &info.ruleset_epoch.to_ne_bytes(),
            &info.rules.to_ne_bytes(),
            &info.offloads.to_ne_bytes(),
            &info.mac,
            &[u8::from(info.enabled), u8::from(info.promiscuous)],
            &info.multicast_count.to_ne_bytes(),
            &text::<16>(info.if_name),
            // The compiler's padding in front of weir_link, which is aligned to 8.
            &[0; 4],
            &u32::from(info.link_up).to_ne_bytes(),
            &u32::from(info.full_duplex).to_ne_bytes(),
            &info.speed_bps.to_ne_bytes(),
            &text::<32>(info.version),
        ])
    }

    /// Adds `weir_counters`.
    pub fn counters(&mut self, counters: &Counters) -> bool {
        let mut bytes = heapless::Vec::<u8, COUNTERS_LEN>::new();
        for number in counters.numbers() {
            // As many numbers as the struct has fields (asserted below).
            let _ = bytes.extend_from_slice(&number.to_ne_bytes());
        }
        self.put(&[&bytes])
    }

    /// Adds a struct of numbers, as `weir_nic_stats` is.
    pub fn numbers(&mut self, numbers: &[u64]) -> bool {
        if !self.has_room(8 * numbers.len()) {
            self.needed = self.needed.saturating_add(8 * numbers.len());
            return false;
        }
        numbers.iter().all(|number| self.put(&[&number.to_ne_bytes()]))
    }

    /// Adds `weir_load_result`.
    pub fn load_result(&mut self, result: &LoadResult) -> bool {
        let (error, at) = result.error.map_or((0, 0), |error| (error.kind as u32, error.offset as u64));
        self.put(&[
            &result.epoch.to_ne_bytes(),
            &result.rules.to_ne_bytes(),
            &error.to_ne_bytes(),
            &at.to_ne_bytes(),
            &text::<LOAD_TEXT_LEN>(result.error.map_or("", |error| error.kind.text())),
        ])
    }

    /// Adds one `weir_rule_counters`: evaluations, packets, bytes, states.
    pub fn rule_counters(&mut self, numbers: [u64; 4]) -> bool {
        let [a, b, c, d] = numbers.map(u64::to_ne_bytes);
        self.put(&[&a, &b, &c, &d])
    }

    /// Adds `weir_histogram`: 64 buckets and the sum.
    pub fn histogram(&mut self, numbers: &[u64; 65]) -> bool {
        let mut bytes = heapless::Vec::<u8, HISTOGRAM_LEN>::new();
        for number in numbers {
            let _ = bytes.extend_from_slice(&number.to_ne_bytes());
        }
        self.put(&[&bytes])
    }

    /// Adds one `weir_event`.
    pub fn event(&mut self, event: &Event) -> bool {
        self.put(&[&event.bytes()])
    }

    /// Adds one `weir_tap_info`.
    pub fn tap(&mut self, kinds: u32, snaplen: u32, numbers: [u64; 3]) -> bool {
        let [seen, kept, lost] = numbers.map(u64::to_ne_bytes);
        self.put(&[&kinds.to_ne_bytes(), &snaplen.to_ne_bytes(), &seen, &kept, &lost])
    }

    /// Adds a time in nanoseconds.
    pub fn time(&mut self, ns: u64) -> bool {
        self.put(&[&ns.to_ne_bytes()])
    }

    /// Adds one `weir_table_entry`: address, family, prefix length, `!`.
    pub fn table_entry(&mut self, addr: &[u8; 16], family: u8, len: u8, negate: bool) -> bool {
        self.put(&[addr, &[family, len, u8::from(negate), 0]])
    }

    /// Adds `weir_table_result`: added, deleted, changed, entries.
    pub fn table_result(&mut self, numbers: [u32; 4]) -> bool {
        let [a, b, c, d] = numbers.map(u32::to_ne_bytes);
        self.put(&[&a, &b, &c, &d])
    }

    /// Adds the answer to one question.
    pub fn answer(&mut self, yes: bool) -> bool {
        self.put(&[&[u8::from(yes)]])
    }

    /// Adds one `weir_state`.
    pub fn state(&mut self, state: &StateEntry) -> bool {
        let [p0, p1] = state.packets.map(u64::to_ne_bytes);
        let [b0, b1] = state.bytes.map(u64::to_ne_bytes);
        let [age, expires] = state.times.map(u64::to_ne_bytes);
        let [a0, a1, a2, a3] = &state.addrs;
        let [q0, q1, q2, q3] = state.ports.map(u16::to_ne_bytes);
        self.put(&[
            &state.id.to_ne_bytes(),
            &p0,
            &p1,
            &b0,
            &b1,
            &age,
            &expires,
            a0,
            a1,
            a2,
            a3,
            &q0,
            &q1,
            &q2,
            &q3,
            &state.rule.to_ne_bytes(),
            &state.small,
            &[0; 7],
        ])
    }

    /// Adds one `weir_source`: address, family, rule, states, connections, thousandths of its rate, age and rest of its
    /// life in milliseconds, and where the next one is.
    pub fn source(&mut self, addr: &[u8; 16], family: u8, numbers: [u32; 4], long: [u64; 3]) -> bool {
        let [rule, states, connections, rate] = numbers.map(u32::to_ne_bytes);
        let [age, expires, next] = long.map(u64::to_ne_bytes);
        self.put(&[addr, &rule, &states, &connections, &rate, &age, &expires, &next, &[family, 0, 0, 0, 0, 0, 0, 0]])
    }

    /// Adds `weir_filter_status`: states, then timeouts and limits of the ruleset.
    pub fn status(&mut self, states: u64, timeouts: &[u32; 20], limits: &[u32; 5]) -> bool {
        let mut bytes = heapless::Vec::<u8, STATUS_LEN>::new();
        let _ = bytes.extend_from_slice(&states.to_ne_bytes());
        for number in timeouts.iter().chain(limits) {
            let _ = bytes.extend_from_slice(&number.to_ne_bytes());
        }
        let _ = bytes.extend_from_slice(&[0; 4]);
        self.put(&[&bytes])
    }

    /// Adds a line of text and its newline.
    pub fn line(&mut self, text: &str) -> bool {
        self.put(&[text.as_bytes(), b"\n"])
    }
}

const _: () = assert!((Counters::NAMES.len() + 2 * crate::telemetry::DROP_REASONS) * 8 == COUNTERS_LEN);

/// NUL-terminated, cut off at a character if it is too long.
fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let mut len = text.len().min(N.saturating_sub(1));
    while !text.is_char_boundary(len) {
        len = len.saturating_sub(1);
    }
    for (to, from) in bytes.iter_mut().zip(text.as_bytes().iter().take(len)) {
        *to = *from;
    }
    bytes
}
