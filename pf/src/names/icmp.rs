//! ICMP and ICMPv6 types and codes by the names pf.conf(5) gives them.

/// ICMP types: name, type (pf.conf(5); numbers: IANA icmp-parameters).
#[rustfmt::skip]
pub const TYPES: &[(&str, u8)] = &[
    ("echoreq", 8), ("echorep", 0), ("unreach", 3), ("squench", 4), ("redir", 5), ("althost", 6), ("routeradv", 9),
    ("routersol", 10), ("timex", 11), ("paramprob", 12), ("timereq", 13), ("timerep", 14), ("inforeq", 15),
    ("inforep", 16), ("maskreq", 17), ("maskrep", 18), ("trace", 30), ("dataconv", 31), ("mobredir", 32),
    ("ipv6-where", 33), ("ipv6-here", 34), ("mobregreq", 35), ("mobregrep", 36), ("skip", 39), ("photuris", 40),
];

/// ICMPv6 types: name, type (pf.conf(5); numbers: IANA icmpv6-parameters). Of two names of a number, pfctl prints the
/// first.
#[rustfmt::skip]
pub const TYPES6: &[(&str, u8)] = &[
    ("unreach", 1), ("toobig", 2), ("timex", 3), ("paramprob", 4), ("echoreq", 128), ("echorep", 129),
    ("groupqry", 130), ("listqry", 130), ("grouprep", 131), ("listenrep", 131), ("groupterm", 132),
    ("listendone", 132), ("routersol", 133), ("routeradv", 134), ("neighbrsol", 135), ("neighbradv", 136),
    ("redir", 137), ("routrrenum", 138), ("wrureq", 139), ("wrurep", 140), ("fqdnreq", 139), ("fqdnrep", 140),
    ("niqry", 139), ("nirep", 140), ("mtraceresp", 200), ("mtrace", 201),
];

/// ICMP codes: name, type, code.
#[rustfmt::skip]
pub const CODES: &[(&str, u8, u8)] = &[
    ("net-unr", 3, 0), ("host-unr", 3, 1), ("proto-unr", 3, 2), ("port-unr", 3, 3), ("needfrag", 3, 4),
    ("srcfail", 3, 5), ("net-unk", 3, 6), ("host-unk", 3, 7), ("isolate", 3, 8), ("net-prohib", 3, 9),
    ("host-prohib", 3, 10), ("net-tos", 3, 11), ("host-tos", 3, 12), ("filter-prohib", 3, 13), ("host-preced", 3, 14),
    ("cutoff-preced", 3, 15), ("redir-net", 5, 0), ("redir-host", 5, 1), ("redir-tos-net", 5, 2),
    ("redir-tos-host", 5, 3), ("normal-adv", 9, 0), ("common-adv", 9, 16), ("transit", 11, 0), ("reassemb", 11, 1),
    ("badhead", 12, 0), ("optmiss", 12, 1), ("badlen", 12, 2), ("unknown-ind", 40, 1), ("auth-fail", 40, 2),
    ("decrypt-fail", 40, 3),
];

/// ICMPv6 codes: name, type, code.
#[rustfmt::skip]
pub const CODES6: &[(&str, u8, u8)] = &[
    ("admin-unr", 1, 1), ("noroute-unr", 1, 0), ("notnbr-unr", 1, 2), ("beyond-unr", 1, 2), ("addr-unr", 1, 3),
    ("port-unr", 1, 4), ("transit", 3, 0), ("reassemb", 3, 1), ("badhead", 4, 0), ("nxthdr", 4, 1),
    ("redironlink", 137, 0), ("redirrouter", 137, 1),
];

fn types(v6: bool) -> &'static [(&'static str, u8)] {
    if v6 { TYPES6 } else { TYPES }
}

fn codes(v6: bool) -> &'static [(&'static str, u8, u8)] {
    if v6 { CODES6 } else { CODES }
}

/// The number of a type's name.
#[must_use]
pub fn type_number(name: &str, v6: bool) -> Option<u8> {
    types(v6).iter().find(|t| t.0 == name).map(|t| t.1)
}

/// The name of a type, as pfctl prints it.
#[must_use]
pub fn type_name(number: u8, v6: bool) -> Option<&'static str> {
    types(v6).iter().find(|t| t.1 == number).map(|t| t.0)
}

/// All names of types.
pub fn type_names(v6: bool) -> impl Iterator<Item = &'static str> {
    types(v6).iter().map(|t| t.0)
}

/// The number of a code's name, under its type.
#[must_use]
pub fn code_number(kind: u8, name: &str, v6: bool) -> Option<u8> {
    codes(v6).iter().find(|c| c.1 == kind && c.0 == name).map(|c| c.2)
}

/// The name of a code, as pfctl prints it.
#[must_use]
pub fn code_name(kind: u8, code: u8, v6: bool) -> Option<&'static str> {
    codes(v6).iter().find(|c| c.1 == kind && c.2 == code).map(|c| c.0)
}

/// All names of a type's codes.
pub fn code_names(kind: u8, v6: bool) -> impl Iterator<Item = &'static str> {
    codes(v6).iter().filter(move |c| c.1 == kind).map(|c| c.0)
}
