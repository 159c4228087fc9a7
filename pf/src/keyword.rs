//! The words that pfctl's grammar reserves: unquoted, they are never names.
//!
//! FreeBSD's set (pfctl, `lookup()`), plus `nat-to`, `rdr-to`, `binat-to`, `af-to`, `divert-packet` and `received-on`
//! of OpenBSD, plus macOS' `scrub-anchor`, `dummynet` and
//! `dummynet-anchor`.

/// Sorted, for a binary search.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "af-to", "all", "allow-opts", "altq", "anchor", "antispoof", "any", "bandwidth", "binat", "binat-anchor",
    "binat-to", "bitmask", "block", "block-policy", "bridge-to", "buckets", "cbq", "code", "codelq", "debug",
    "divert-packet", "divert-reply", "divert-to", "dnpipe", "dnqueue", "drop", "dummynet", "dummynet-anchor", "dup-to",
    "endpoint-independent", "ether", "fail-policy", "fairq", "fastroute", "file", "fingerprints", "flags", "floating",
    "flush", "for", "fragment", "from", "global", "group", "hfsc", "hogs", "hostid", "icmp-type", "icmp6-type",
    "if-bound", "in", "include", "inet", "inet6", "interval", "keep", "keepcounters", "l3", "label", "limit",
    "linkshare", "load", "log", "loginterface", "map-e-portset", "match", "max", "max-mss", "max-pkt-rate",
    "max-pkt-size", "max-src-conn", "max-src-conn-rate", "max-src-nodes", "max-src-states", "min-ttl", "modulate",
    "nat", "nat-anchor", "nat-to", "no", "no-df", "no-route", "no-sync", "on", "optimization", "os", "out", "overload",
    "pass", "port", "prefer-ipv6-nexthop", "prio", "priority", "priq", "probability", "proto", "qlimit", "queue",
    "quick", "random", "random-id", "rdr", "rdr-anchor", "rdr-to", "realtime", "reassemble", "received-on", "reply-to",
    "require-order", "return", "return-icmp", "return-icmp6", "return-rst", "ridentifier", "round-robin", "route",
    "route-to", "rtable", "rule", "ruleset-optimization", "scrub", "scrub-anchor", "set", "set-tos", "skip", "sloppy",
    "source-hash", "source-track", "state", "state-defaults", "state-policy", "static-port", "sticky-address",
    "syncookies", "synproxy", "table", "tag", "tagged", "target", "tbrsize", "timeout", "to", "tos", "ttl",
    "upperlimit", "urpf-failed", "user",
];

/// Whether a word is reserved.
#[must_use]
pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.binary_search(&word).is_ok()
}

/// Words a statement may begin with.
#[rustfmt::skip]
pub const STATEMENTS: &[&str] = &[
    "pass", "block", "match", "set", "table", "anchor", "antispoof", "scrub", "nat", "rdr", "binat", "no", "load",
    "include", "nat-anchor", "rdr-anchor", "binat-anchor", "scrub-anchor", "dummynet", "dummynet-anchor", "ether",
    "altq", "queue",
];

#[cfg(test)]
mod tests {
    #[test]
    fn keywords_are_sorted() {
        assert!(super::KEYWORDS.is_sorted());
    }
}
