//! Files that are made to be large in use are refused or read in reasonable time.

use weir_pf::{Checked, Isolated, Options, Source, check};

fn checked(text: String, files: Vec<(String, String)>) -> Checked {
    let resolver = Isolated { files, ..Isolated::default() };
    let options = Options { resolver: &resolver, ..Options::default() };
    check(&Source { name: "pf.conf".to_owned(), text }, &options)
}

fn first_error(found: &Checked) -> &str {
    &found.errors.first().expect("an error").reason
}

#[test]
fn lists_that_multiply_are_refused() {
    let list: String = (1..=400).map(|n| format!("{n} ")).collect();
    let text = format!("pass proto tcp from any port {{ {list} }} to any port {{ {list} }} no state\n");
    let found = checked(text, Vec::new());
    assert_eq!(first_error(&found), "this rule expands to 160000 rules, more than 100000");
}

#[test]
fn macros_that_double_are_refused() {
    let mut text = "m0 = \"10.0.0.1 10.0.0.2\"\n".to_owned();
    for n in 1..64 {
        text.push_str(&format!("m{n} = $m{} $m{}\n", n - 1, n - 1));
    }
    let found = checked(text, Vec::new());
    assert!(first_error(&found).contains("longer than 65536 bytes"), "{}", first_error(&found));
    assert_eq!(found.errors.len(), 1, "uses of the refused macro are quiet");
}

#[test]
fn includes_that_multiply_are_refused() {
    let twice = |n: u32| format!("include \"f{n}\"\ninclude \"f{n}\"\n");
    let files = (0..16).map(|n| (format!("f{n}"), twice(n + 1))).collect();
    let found = checked(twice(0), files);
    assert!(!found.errors.is_empty());
}

#[test]
fn braces_can_be_nested_but_not_for_ever() {
    let found = checked(format!("pass from {}", "{ ".repeat(100_000)), Vec::new());
    assert_eq!(first_error(&found), "braces are nested too deeply");
    let found = checked("anchor {\n".repeat(10_000), Vec::new());
    assert!(!found.errors.is_empty());
}

#[test]
fn a_large_file_is_read() {
    let mut text = String::new();
    for n in 0..20_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        text.push_str(&format!("pass in quick proto tcp from 10.{a}.{b}.{c} to any port {} no state\n", n % 1000 + 1));
    }
    let addresses: String = (0..100_000u32).map(|n| format!("{}\n", std::net::Ipv4Addr::from(n << 8))).collect();
    text.insert_str(0, "table <t> file \"addresses\"\nblock in from <t>\n");
    let found = checked(text, vec![("addresses".to_owned(), addresses)]);
    let ruleset = found.ruleset.expect("no errors");
    assert_eq!(ruleset.rules.len(), 20_001);
    assert_eq!(ruleset.tables[0].entries.len(), 100_000);
    assert!(found.text.expect("the normal form").lines().count() >= 20_002);
}

#[test]
fn a_file_of_errors_is_answered() {
    let found = checked("pass form any\n".repeat(20_000), Vec::new());
    assert_eq!(found.errors.len(), 10_000);
}
