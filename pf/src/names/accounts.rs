//! Users and groups of a BSD base system, by name, for the `user` and `group` tests pfctl prints as numbers.

/// Users of FreeBSD's base system, and some of macOS'.
#[rustfmt::skip]
const USERS: &[(&str, u32)] = &[
    ("root", 0), ("toor", 0), ("daemon", 1), ("operator", 2), ("bin", 3), ("tty", 4), ("kmem", 5), ("games", 7),
    ("news", 8), ("man", 9), ("sshd", 22), ("smmsp", 25), ("mailnull", 26), ("bind", 53), ("unbound", 59),
    ("proxy", 62), ("_pflogd", 64), ("_dhcp", 65), ("uucp", 66), ("pop", 68), ("auditdistd", 78), ("www", 80),
    ("ntpd", 123), ("_ypldap", 160), ("hast", 845), ("nobody", 65534),
    // Those that OpenBSD's own pf.conf and ports name.
    ("_pbuild", 55), ("_pfetch", 56), ("_pkgfetch", 57),
    // macOS names its own with `_`.
    ("_networkd", 24), ("_lp", 26), ("_postfix", 27), ("_mdnsresponder", 65), ("_www", 70), ("_sshd", 75),
];

/// Groups of FreeBSD's base system.
#[rustfmt::skip]
const GROUPS: &[(&str, u32)] = &[
    ("wheel", 0), ("daemon", 1), ("kmem", 2), ("sys", 3), ("tty", 4), ("operator", 5), ("mail", 6), ("bin", 7),
    ("news", 8), ("man", 9), ("games", 13), ("ftp", 14), ("staff", 20), ("sshd", 22), ("smmsp", 25), ("mailnull", 26),
    ("guest", 31), ("video", 44), ("bind", 53), ("unbound", 59), ("proxy", 62), ("authpf", 63), ("_pflogd", 64),
    ("_dhcp", 65), ("uucp", 66), ("dialer", 68), ("network", 69), ("audit", 77), ("www", 80), ("ntpd", 123),
    ("_ypldap", 160), ("hast", 845), ("nogroup", 65533), ("nobody", 65534),
];

/// The id of a user's name.
#[must_use]
pub fn user(name: &str) -> Option<u32> {
    USERS.iter().find(|u| u.0 == name).map(|u| u.1)
}

/// The id of a group's name.
#[must_use]
pub fn group(name: &str) -> Option<u32> {
    GROUPS.iter().find(|g| g.0 == name).map(|g| g.1)
}
