//! Normalisation of TCP: what pf's `scrub` does to every segment, and what `reassemble tcp` does along a connection.

use crate::wire::rewrite::Edit;
use crate::wire::{ParsedFlags, tcp};

const SECOND: u64 = 1_000_000_000;
/// How long a peer may be silent, and a connection live, until its timestamps say nothing any more: the fastest clock
/// (1 ms, RFC 7323 section 5.4) wraps in 24 days, and half of that can be told from going back (`TS_MAX_IDLE`,
/// `TS_MAX_CONN` in pf_norm.c).
const MAX_IDLE: u64 = 24 * 24 * 60 * 60 * SECOND;
const MAX_AGE: u64 = MAX_IDLE / 2;
/// Ticks a second of the fastest clock, and 10 per cent (`TS_MAXFREQ`).
const MAX_FREQUENCY: u64 = 1100;

/// Normalises one segment as `pf_normalize_tcp` does: clears reserved bits, and an urgent pointer without URG. False if
/// its flags contradict each other and it is to be dropped: reason `normalize`.
#[must_use]
pub fn normalize(edit: &mut Edit) -> bool {
    let flags = edit.parsed().tcp_flags;
    // A fragment shows no whole segment (pf.c: what is not reassembled goes to `pf_test_fragment`).
    if !edit.parsed().flags.contains(ParsedFlags::TCP) || edit.parsed().is_fragment() {
        return true;
    }
    let has = |any: u8| flags & any != 0;
    let sound = if has(tcp::SYN) { !has(tcp::RST | tcp::FIN) } else { has(tcp::ACK | tcp::RST) };
    // These mean something beside an acknowledgement only.
    if !sound || (!has(tcp::ACK) && has(tcp::FIN | tcp::PSH | tcp::URG)) {
        return false;
    }
    edit.clear_reserved();
    edit.clear_idle_urgent();
    true
}

/// A timestamp that cannot be: reason `bad-timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTimestamp;

/// What a segment's surroundings are.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now, in nanoseconds.
    pub now: u64,
    /// When the connection was first seen.
    pub created: u64,
    /// Both ends have sent their SYN and had it acknowledged, and may be closing by now.
    pub established: bool,
    /// `set timeout tcp.tsdiff`, in seconds.
    pub leeway: u32,
    /// What is added to the sender's timestamps, from its first segment on; of no matter after that one.
    pub modulation: u32,
}

/// What is remembered of the timestamps of one side: `pf_state_scrub`.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// When it last sent one.
    last: u64,
    value: u32,
    /// The lowest.
    first: u32,
    echo: u32,
    /// Added to those of its own.
    modulation: u32,
    /// The highest time to live that it used.
    ttl: u8,
    seen: bool,
    /// Its SYN had timestamps.
    stamps: bool,
    /// They are known well enough to check.
    checked: bool,
    idled: bool,
    /// Its first data had one; or had none.
    data_with: bool,
    data_without: bool,
}

/// `reassemble tcp` along one connection: hides how long the hosts are up by adding a number to their timestamps,
/// sends all segments of a side with the highest time to live that it has used, and drops segments whose timestamps do
/// not fit (RFC 7323 section 5, as pf reads it).
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpScrub {
    sides: [Side; 2],
}

fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl TcpScrub {
    /// A side has sent its first segment.
    #[must_use]
    pub const fn has_begun(&self, opener: bool) -> bool {
        let [first, second] = &self.sides;
        if opener { first.seen } else { second.seen }
    }

    /// Takes a segment from the side that opened the connection, or from the other.
    ///
    /// # Errors
    /// [`BadTimestamp`]: it is to be dropped.
    pub fn segment(&mut self, edit: &mut Edit, from_opener: bool, moment: &Moment) -> Result<(), BadTimestamp> {
        let [opener, other] = &mut self.sides;
        let (src, dst) = if from_opener { (opener, other) } else { (other, opener) };
        let (count, stamps) = edit.timestamps();
        let flags = edit.parsed().tcp_flags;
        // An echo counts beside an acknowledgement only (RFC 7323 section 3.2): a SYN from a port that was just used
        // may carry one of the connection before.
        let stamps = stamps.map(|(value, echo)| (value, if flags & tcp::ACK == 0 { 0 } else { echo }));
        src.begin(edit.parsed().ttl, flags, stamps, moment);
        src.ttl = src.ttl.max(edit.parsed().ttl);
        if src.ttl != edit.parsed().ttl {
            edit.set_ttl(src.ttl);
        }
        if count > 1 && (src.stamps || dst.stamps) {
            return Err(BadTimestamp);
        }
        // As the sender knows its own, and as the sender of the other's knows those.
        let stamps = stamps.map(|(value, echo)| src.modulate(dst, edit, value, echo));

        let age = moment.now.saturating_sub(moment.created);
        src.retire(moment.now, age > MAX_AGE);
        dst.retire(moment.now, false);
        let data = edit.parsed().payload_len > 0;
        if src.checked && dst.checked {
            match stamps {
                Some((value, echo)) if moment.established => src.check(dst, value, echo, moment)?,
                // Data went with timestamps before: nobody may sneak some in without.
                None if data && src.data_with && flags & tcp::RST == 0 => return Err(BadTimestamp),
                _ => {}
            }
        }
        if data && src.stamps && !src.data_with && !src.data_without {
            src.data_with = stamps.is_some();
            src.data_without = stamps.is_none();
        }
        if let Some((value, echo)) = stamps {
            src.note(value, echo, moment.now);
        }
        Ok(())
    }
}

impl Side {
    /// The first segment of a side decides whether it has timestamps.
    fn begin(&mut self, ttl: u8, flags: u8, stamps: Option<(u32, u32)>, moment: &Moment) {
        if self.seen {
            return;
        }
        self.seen = true;
        self.ttl = ttl;
        if let Some((value, echo)) = stamps
            && flags & tcp::SYN != 0
        {
            self.stamps = true;
            self.modulation = moment.modulation;
            (self.value, self.first, self.echo, self.last) = (value, value, echo, moment.now);
        }
    }

    /// Adds this side's number to its timestamp, takes the other's from the echo, and returns both as their owners know
    /// them. Zero is no timestamp.
    fn modulate(&self, dst: &Self, edit: &mut Edit, value: u32, echo: u32) -> (u32, u32) {
        let shown = if value != 0 && self.stamps { value.wrapping_add(self.modulation) } else { value };
        let original = if echo != 0 && dst.stamps { echo.wrapping_sub(dst.modulation) } else { echo };
        if (shown, original) != (value, echo) {
            edit.set_timestamps(0, shown, original);
        }
        (value, original)
    }

    /// Stops checking a side that was silent, or a connection that lives, for too long.
    fn retire(&mut self, now: u64, old: bool) {
        if self.checked && (old || now.saturating_sub(self.last) > MAX_IDLE) {
            self.checked = false;
            self.idled = true;
        }
    }

    fn check(&self, dst: &Self, value: u32, echo: u32, moment: &Moment) -> Result<(), BadTimestamp> {
        let elapsed = moment.now.saturating_sub(self.last);
        let seconds = elapsed / SECOND + u64::from(moment.leeway);
        let ticks = seconds * MAX_FREQUENCY + elapsed % SECOND / (SECOND / MAX_FREQUENCY);
        let newest = self.value.wrapping_add(ticks as u32);
        // Not older than what the other side has echoed, not newer than a clock could be; no echo of what was never sent.
        let own = before(value, dst.echo) || before(newest, value);
        let echoed = echo != 0 && (before(dst.value, echo) || before(echo, dst.first));
        if own || echoed { Err(BadTimestamp) } else { Ok(()) }
    }

    fn note(&mut self, value: u32, echo: u32, now: u64) {
        if !self.stamps || self.idled {
            return;
        }
        self.last = now;
        if !self.checked || !before(value, self.value) {
            self.value = value;
        }
        if echo == 0 {
            return;
        }
        if !self.checked || !before(echo, self.echo) {
            self.echo = echo;
        }
        if !self.checked {
            if before(value, self.first) || self.first == 0 {
                self.first = value;
            }
            self.checked = true;
        }
    }
}

#[cfg(test)]
mod tests;
