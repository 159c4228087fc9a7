//! Anchors, unfolded: what the driver evaluates for them.

use weir_pf::{Isolated, Options, Source, check};

fn compiled(text: &str, files: &[(&str, &str)]) -> Vec<String> {
    let resolver = Isolated {
        files: files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect(),
        ..Isolated::default()
    };
    let options = Options { resolver: &resolver, ..Options::default() };
    let source = Source { name: "pf.conf".to_owned(), text: text.to_owned() };
    let checked = check(&source, &options);
    let errors: String = checked.errors.iter().map(|e| e.render()).collect();
    let ruleset = checked.ruleset.unwrap_or_else(|| panic!("{errors}"));
    ruleset.rules.into_iter().map(|r| format!("{}: {}", r.line, r.text)).collect()
}

#[test]
fn a_call_narrows_the_rules_of_its_anchor() {
    let rules = compiled(
        "block drop all\n\
         anchor \"web\" in on en0 inet proto tcp from 10.0.0.0/8 {\n\
         pass proto tcp from 10.1.0.0/16 to any port 80 no state\n\
         pass from 192.0.2.0/24 no state\n\
         pass out no state\n\
         pass proto udp no state\n\
         pass inet6 no state\n\
         block on en0 proto tcp to any port 25\n\
         anchor {\n\
         pass quick from 10.0.0.0/7 flags S/SA no state\n\
         }\n\
         }\n\
         pass out no state\n",
        &[],
    );
    assert_eq!(
        rules,
        [
            "1: block drop all",
            "3: pass in on en0 inet proto tcp from 10.1.0.0/16 to any port = http no state",
            "8: block drop in on en0 inet proto tcp from 10.0.0.0/8 to any port = smtp",
            "10: pass in quick on en0 inet proto tcp from 10.0.0.0/8 to any flags S/SA no state",
            "13: pass out all no state",
        ]
    );
}

#[test]
fn loaded_anchors_are_called_by_name_and_by_wildcard() {
    let files = [
        ("b.conf", "pass in proto udp no state\n"),
        ("a.conf", "table <t> { 10.0.0.1 }\nblock in from <t>\nanchor \"deep\"\nload anchor deep from \"d.conf\"\n"),
        ("d.conf", "block quick inet6\n"),
    ];
    let rules = compiled(
        "anchor \"x/*\"\n\
         anchor \"x/b\" on en1\n\
         anchor \"y\"\n\
         load anchor \"x/b\" from \"b.conf\"\n\
         load anchor \"x/a\" from \"a.conf\"\n",
        &files,
    );
    assert_eq!(
        rules,
        [
            "2: block drop in from <t> to any",
            "1: block drop quick inet6 all",
            "1: pass in proto udp all no state",
            "1: pass in on en1 proto udp all no state",
        ]
    );
}

/// The file that macOS ships, and the anchor that it loads, call anchors that are empty.
#[test]
fn the_file_macos_ships_loads() {
    let rules = compiled(
        "scrub-anchor \"com.apple/*\"\n\
         nat-anchor \"com.apple/*\"\n\
         rdr-anchor \"com.apple/*\"\n\
         dummynet-anchor \"com.apple/*\"\n\
         anchor \"com.apple/*\"\n\
         load anchor \"com.apple\" from \"/etc/pf.anchors/com.apple\"\n",
        &[("/etc/pf.anchors/com.apple", "anchor \"200.AirDrop/*\"\nanchor \"250.ApplicationFirewall/*\"\n")],
    );
    assert!(rules.is_empty(), "{rules:?}");
}
