//! Names of timeouts and limits, in the order pfctl prints them.

/// Timeouts (pf.conf(5), `set timeout`), in the order of the kernel's table, which is the order of printing.
#[rustfmt::skip]
pub const TIMEOUTS: &[&str] = &[
    "tcp.first", "tcp.opening", "tcp.established", "tcp.closing", "tcp.finwait", "tcp.closed", "udp.first",
    "udp.single", "udp.multiple", "icmp.first", "icmp.error", "other.first", "other.single", "other.multiple", "frag",
    "interval", "adaptive.start", "adaptive.end", "src.track", "tcp.tsdiff",
];

/// FreeBSD's timers for SCTP, and macOS' that FreeBSD lacks (xnu `pfvar.h`, `PFTM_GREV1_FIRST_PACKET` and on).
#[rustfmt::skip]
pub const TIMEOUTS_MORE: &[&str] = &[
    "sctp.first", "sctp.opening", "sctp.established", "sctp.closing", "sctp.closed", "grev1.first", "grev1.initiating",
    "grev1.estblished", "esp.first", "esp.initiating", "esp.estblished",
];

/// Limits (pf.conf(5), `set limit`).
pub const LIMITS: &[&str] = &["states", "app-states", "src-nodes", "frags", "tables", "table-entries"];

/// `set optimization` names.
pub const OPTIMIZATIONS: &[&str] = &["default", "normal", "high-latency", "satellite", "aggressive", "conservative"];

/// `set debug` names.
#[rustfmt::skip]
pub const DEBUG_LEVELS: &[&str] = &[
    "none", "urgent", "misc", "loud", "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// The timeout of a name.
#[must_use]
pub fn timeout(name: &str) -> Option<&'static str> {
    TIMEOUTS.iter().chain(TIMEOUTS_MORE).copied().find(|t| *t == name)
}
