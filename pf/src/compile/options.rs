//! `set ...`.

use weir_core::filter::{Timeout, Timeouts};

use super::Compiler;
use crate::ast::SetOption;
use crate::flat::{Flat, FlatLine};
use crate::names::timeouts::TIMEOUTS;

/// The timeouts that `set optimization` changes, in seconds: tcp.first, tcp.opening, tcp.established, tcp.closing,
/// tcp.finwait, tcp.closed, tcp.tsdiff (pf.conf(5), "set optimization"; values: pfctl's table of hints).
const OPTIMIZATIONS: &[(&str, [u32; 7])] = &[
    ("default", [120, 30, 86_400, 900, 45, 90, 30]),
    ("normal", [120, 30, 86_400, 900, 45, 90, 30]),
    ("satellite", [180, 35, 86_400, 905, 50, 95, 60]),
    ("high-latency", [180, 35, 86_400, 905, 50, 95, 60]),
    ("conservative", [3600, 900, 432_000, 3600, 600, 180, 60]),
    ("aggressive", [30, 5, 18_000, 60, 30, 30, 10]),
];

/// What [`OPTIMIZATIONS`] has numbers for.
const OPTIMIZED: [Timeout; 7] = [
    Timeout::TcpFirst,
    Timeout::TcpOpening,
    Timeout::TcpEstablished,
    Timeout::TcpClosing,
    Timeout::TcpFinWait,
    Timeout::TcpClosed,
    Timeout::TcpTsDiff,
];

/// The timeouts in the order of their names in [`TIMEOUTS`].
const ORDER: [Timeout; 20] = [
    Timeout::TcpFirst,
    Timeout::TcpOpening,
    Timeout::TcpEstablished,
    Timeout::TcpClosing,
    Timeout::TcpFinWait,
    Timeout::TcpClosed,
    Timeout::UdpFirst,
    Timeout::UdpSingle,
    Timeout::UdpMultiple,
    Timeout::IcmpFirst,
    Timeout::IcmpError,
    Timeout::OtherFirst,
    Timeout::OtherSingle,
    Timeout::OtherMultiple,
    Timeout::Fragment,
    Timeout::Interval,
    Timeout::AdaptiveStart,
    Timeout::AdaptiveEnd,
    Timeout::SrcTrack,
    Timeout::TcpTsDiff,
];

/// The timeout of a name; `None` for those of protocols that are not told apart here.
pub(super) fn timeout(name: &str) -> Option<Timeout> {
    TIMEOUTS.iter().position(|known| *known == name).and_then(|at| ORDER.get(at)).copied()
}

impl Compiler<'_> {
    pub(super) fn options(&mut self, flat: &Flat) {
        let settings = || {
            flat.lines.iter().filter_map(|line| match line {
                FlatLine::Set(option) => Some(option),
                _ => None,
            })
        };
        let options = &mut self.ruleset.options;
        for option in settings() {
            let SetOption::Optimization(name) = option else { continue };
            for (_, values) in OPTIMIZATIONS.iter().filter(|known| known.0 == name) {
                for (timeout, seconds) in OPTIMIZED.into_iter().zip(values) {
                    options.timeouts.set(timeout, *seconds);
                }
            }
        }
        let mut given = Timeouts::default();
        let mut adaptive = false;
        for option in settings() {
            match option {
                SetOption::Timeout(list) => {
                    for (name, value) in list {
                        let Some(timeout) = timeout(name) else { continue };
                        adaptive |= matches!(timeout, Timeout::AdaptiveStart | Timeout::AdaptiveEnd);
                        options.timeouts.set(timeout, *value);
                        given.set(timeout, *value);
                    }
                }
                SetOption::Limit(list) => {
                    for (name, count) in list {
                        let limits = &mut options.limits;
                        match name.as_str() {
                            "states" => limits.states = *count,
                            "src-nodes" => limits.src_nodes = *count,
                            "frags" => limits.frags = *count,
                            "tables" => limits.tables = *count,
                            "table-entries" => limits.table_entries = *count,
                            _ => {}
                        }
                    }
                }
                SetOption::Reassemble { on, no_df } => {
                    (options.reassemble, options.reassemble_no_df) = (*on, *no_df);
                }
                SetOption::KeepCounters => options.keep_counters = true,
                SetOption::HostId(id) => options.host_id = *id,
                SetOption::Skip(interfaces) => {
                    let names = interfaces.iter().map(|i| &i.name).filter(|name| *name != "none");
                    for name in names {
                        if !options.skip.contains(name) {
                            options.skip.push(name.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        // pf.conf(5), "adaptive.start": 60 and 120 per cent of the limit, unless they are given.
        if !adaptive {
            let states = u64::from(options.limits.states);
            options.timeouts.set(Timeout::AdaptiveStart, (states * 6 / 10) as u32);
            options.timeouts.set(Timeout::AdaptiveEnd, u32::try_from(states * 12 / 10).unwrap_or(u32::MAX));
        }
    }
}
