//! What the caller of a load can choose: macros, leniency, and who answers questions about the machine.

use std::net::IpAddr;

use weir_pf::resolver::InterfaceAddress;
use weir_pf::{Errors, Isolated, Loaded, Options, Source, check, load};

fn source(text: &str) -> Source {
    Source { name: "pf.conf".to_owned(), text: text.to_owned() }
}

fn texts(loaded: &Loaded) -> Vec<&str> {
    loaded.ruleset.rules.iter().map(|r| r.text.as_str()).collect()
}

fn loaded(text: &str, options: &Options<'_>) -> Loaded {
    load(&source(text), options).unwrap_or_else(|errors: Errors| panic!("{}", errors.render()))
}

#[test]
fn a_macro_of_the_command_line_is_not_changed_by_the_file() {
    let resolver = Isolated::default();
    let options = Options {
        resolver: &resolver,
        defines: vec![("web".to_owned(), "8080".to_owned()), ("nets".to_owned(), "{ 10/8 ::1 }".to_owned())],
        ..Options::default()
    };
    let loaded = loaded("web = \"80\"\npass in proto tcp from $nets to any port $web no state\n", &options);
    assert_eq!(
        texts(&loaded),
        [
            "pass in inet proto tcp from 10.0.0.0/8 to any port = http-alt no state",
            "pass in inet6 proto tcp from ::1 to any port = http-alt no state",
        ]
    );
    assert!(loaded.text.starts_with("web = \"80\"\n"), "{}", loaded.text);
}

#[test]
fn leniency_leaves_conditions_out_with_their_rules_and_the_rest_alone() {
    let resolver = Isolated::default();
    let text = "altq on en0 priq bandwidth 1Mb queue { a }\n\
                pass out proto tcp user root no state\n\
                block in from no-route\n\
                pass in route-to (en1 10.0.0.1) from 10.0.0.2 no state\n\
                pass out no state queue a rtable 1\n";
    let strict = check(&source(text), &Options { resolver: &resolver, ..Options::default() });
    assert_eq!(strict.errors.len(), 6);
    assert!(strict.ruleset.is_none() && strict.text.is_some());
    let options = Options { resolver: &resolver, lenient: true, ..Options::default() };
    let loaded = loaded(text, &options);
    assert_eq!(
        texts(&loaded),
        [
            "pass in route-to (en1 10.0.0.1) inet from 10.0.0.2 to any no state",
            "pass out all no state queue a rtable 1",
        ]
    );
    assert!(loaded.warnings.len() >= 6);
}

#[test]
fn names_are_resolved_once_and_reported() {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let en0 = |addr: &str, len, broadcast: Option<&str>| InterfaceAddress {
        interface: "en0".to_owned(),
        addr: ip(addr),
        len,
        broadcast: broadcast.map(ip),
        peer: None,
        loopback: false,
    };
    let resolver = Isolated {
        interfaces: vec![
            en0("192.0.2.7", 24, Some("192.0.2.255")),
            en0("192.0.2.8", 24, Some("192.0.2.255")),
            en0("2001:db8::7", 64, None),
            en0("fe80::7", 64, None),
        ],
        hosts: vec![("server.example".to_owned(), vec![ip("198.51.100.1"), ip("2001:db8::1")])],
        ..Isolated::default()
    };
    let options = Options { resolver: &resolver, ..Options::default() };
    let text = "pass out to server.example no state\n\
                pass out inet to server.example/24 no state\n\
                pass in from en0:network no state\n\
                pass in to en0:0 no state\n\
                pass in to en:broadcast no state\n\
                pass in from en0 no state\n\
                antispoof for en0 inet\n";
    let loaded = loaded(text, &options);
    assert_eq!(
        texts(&loaded),
        [
            "pass out inet from any to 198.51.100.1 no state",
            "pass out inet6 from any to 2001:db8::1 no state",
            "pass out inet from any to 198.51.100.0/24 no state",
            "pass in inet from 192.0.2.0/24 to any no state",
            "pass in inet from 192.0.2.0/24 to any no state",
            "pass in inet6 from 2001:db8::/64 to any no state",
            "pass in inet from any to 192.0.2.7 no state",
            "pass in inet6 from any to 2001:db8::7 no state",
            "pass in inet from any to 192.0.2.255 no state",
            "pass in inet from any to 192.0.2.255 no state",
            "pass in inet from 192.0.2.7 to any no state",
            "pass in inet from 192.0.2.8 to any no state",
            "pass in inet6 from 2001:db8::7 to any no state",
            "pass in on en0 inet6 from fe80::7 to any no state",
            "block drop in on ! en0 inet from 192.0.2.0/24 to any",
            "block drop in on ! en0 inet from 192.0.2.0/24 to any",
            "block drop in inet from 192.0.2.7 to any",
            "block drop in inet from 192.0.2.8 to any",
        ]
    );
    assert_eq!(loaded.hosts, [("server.example".to_owned(), vec![ip("198.51.100.1"), ip("2001:db8::1")])]);
}

/// The machine itself answers too; what it says is not the same everywhere, so little is asked.
#[test]
fn the_machine_is_asked_by_default() {
    let loaded = loaded("pass in from 127.0.0.1 to lo0 no state\n", &Options::default());
    assert!(texts(&loaded).contains(&"pass in inet from 127.0.0.1 to 127.0.0.1 no state"), "{:?}", texts(&loaded));
}
