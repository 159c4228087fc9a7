//! TCP's sequence numbers and options.

use super::Edit;
use crate::wire::fixed::get;
use crate::wire::parsed::ParsedFlags;
use crate::wire::protocol;
use crate::wire::tcp::{self, HEADER_LEN, TcpOption, option};

/// The maximum segment size as an option holds it (RFC 9293 section 3.7.1).
const MSS_LEN: usize = 4;
/// Where the flags, the reserved bits and the urgent pointer stand (RFC 9293 section 3.1).
const OFFSET_AND_FLAGS: usize = 12;
const URGENT: usize = 18;

impl Edit<'_> {
    /// Where the TCP header starts, if `len` bytes of it are there.
    fn tcp_at(&self, len: usize) -> Option<usize> {
        let l4 = usize::from(self.parsed.l4);
        let tcp = self.parsed.protocol == protocol::TCP && self.parsed.flags.contains(ParsedFlags::PORTS);
        (tcp && l4 + len <= self.limit).then_some(l4)
    }

    /// Adds `delta` to the sequence number.
    pub fn shift_seq(&mut self, delta: u32) -> bool {
        self.shift_at(4, delta)
    }

    /// Adds `delta` to the acknowledgement number, where it counts, and to every edge in a SACK option (RFC 2018
    /// section 3), which number the same bytes.
    pub fn shift_ack(&mut self, delta: u32) -> bool {
        if self.parsed.tcp_flags & tcp::ACK == 0 || !self.shift_at(8, delta) {
            return false;
        }
        let Some(l4) = self.tcp_at(HEADER_LEN) else {
            return true;
        };
        // Options change in value only, never in place: each is found anew, so that nothing is borrowed meanwhile.
        let mut from = 0;
        while let Some(found) = self.option_from(l4, from) {
            from = found.at + found.len;
            if found.kind == option::SACK {
                for edge in 0..(found.len - 2) / 4 {
                    let at = l4 + HEADER_LEN + found.at + 2 + edge * 4;
                    let value = u32::from_be_bytes(get(self.frame, at)).wrapping_add(delta);
                    self.write_transport(at, value.to_be_bytes());
                }
            }
        }
        true
    }

    fn shift_at(&mut self, offset: usize, delta: u32) -> bool {
        let Some(l4) = self.tcp_at(offset + 4) else {
            return false;
        };
        let value = u32::from_be_bytes(get(self.frame, l4 + offset)).wrapping_add(delta);
        self.write_transport(l4 + offset, value.to_be_bytes());
        true
    }

    /// The first option that starts at `from` or behind it, in bytes from the end of the fixed header.
    fn option_from(&self, l4: usize, from: usize) -> Option<TcpOption> {
        let header = self.frame.get(l4..self.limit)?;
        let mut found = tcp::options_after(header, from).next()?;
        found.at += from;
        Some(found)
    }

    /// Lowers the maximum segment size that a SYN offers to `max`: pf's `max-mss`.
    pub fn clamp_mss(&mut self, max: u16) -> bool {
        let Some(l4) = self.tcp_at(HEADER_LEN) else {
            return false;
        };
        if self.parsed.tcp_flags & tcp::SYN == 0 {
            return false;
        }
        let (mut from, mut done) = (0, false);
        while let Some(found) = self.option_from(l4, from) {
            from = found.at + found.len;
            let at = l4 + HEADER_LEN + found.at + 2;
            if found.kind == option::MSS && found.len == MSS_LEN && u16::from_be_bytes(get(self.frame, at)) > max {
                self.write_transport(at, max.to_be_bytes());
                done = true;
            }
        }
        done
    }

    /// The values, and their echoes, of all timestamps options: how many, and the first.
    #[must_use]
    pub fn timestamps(&self) -> (usize, Option<(u32, u32)>) {
        let Some(header) = self.tcp_at(HEADER_LEN).and_then(|l4| self.frame.get(l4..self.limit)) else {
            return (0, None);
        };
        let mut all = tcp::options(header).filter(TcpOption::is_timestamps);
        let first = all.next().map(|found| {
            let value = found.value(header);
            (u32::from_be_bytes(get(value, 0)), u32::from_be_bytes(get(value, 4)))
        });
        (usize::from(first.is_some()) + all.count(), first)
    }

    /// Replaces the values of the timestamps option number `index` (RFC 7323 section 3.2).
    pub fn set_timestamps(&mut self, index: usize, value: u32, echo: u32) -> bool {
        let Some(l4) = self.tcp_at(HEADER_LEN) else {
            return false;
        };
        let Some(header) = self.frame.get(l4..self.limit) else {
            return false;
        };
        let Some(found) = tcp::options(header).filter(TcpOption::is_timestamps).nth(index) else {
            return false;
        };
        let at = l4 + HEADER_LEN + found.at + 2;
        self.write_transport(at, value.to_be_bytes());
        self.write_transport(at + 4, echo.to_be_bytes());
        true
    }

    /// Clears the reserved bits between data offset and flags.
    pub fn clear_reserved(&mut self) -> bool {
        let Some(l4) = self.tcp_at(HEADER_LEN) else {
            return false;
        };
        let [offset, flags] = get(self.frame, l4 + OFFSET_AND_FLAGS);
        if offset & 15 == 0 {
            return false;
        }
        self.write_transport(l4 + OFFSET_AND_FLAGS, [offset & 0xf0, flags]);
        true
    }

    /// Clears an urgent pointer that no URG flag announces.
    pub fn clear_idle_urgent(&mut self) -> bool {
        let Some(l4) = self.tcp_at(HEADER_LEN) else {
            return false;
        };
        if self.parsed.tcp_flags & tcp::URG != 0 || get(self.frame, l4 + URGENT) == [0, 0] {
            return false;
        }
        self.write_transport(l4 + URGENT, [0, 0]);
        true
    }
}
