//! Anchors as the driver gets them: paths, what calls what, whose tables and rules are whose.

use weir_core::filter::{List, Ruleset, image};
use weir_pf::{Isolated, Options, Source, check};

fn problems(text: &str, files: &[(&str, &str)]) -> Result<(Ruleset, String), String> {
    let resolver = Isolated {
        files: files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect(),
        ..Isolated::default()
    };
    let options = Options { resolver: &resolver, ..Options::default() };
    let source = Source { name: "pf.conf".to_owned(), text: text.to_owned() };
    let checked = check(&source, &options);
    let errors: String = checked.errors.iter().map(|e| e.render()).collect();
    let warnings: String = checked.warnings.iter().map(|e| e.render()).collect();
    let ruleset = checked.ruleset.ok_or(errors)?;
    assert_eq!(image::parse(&image::encode(&ruleset)).as_ref(), Ok(&ruleset), "{text}");
    Ok((ruleset, warnings))
}

/// A line for each anchor, and its rules of one list with what they call.
fn tree(ruleset: &Ruleset, list: List) -> Vec<String> {
    let mut out = Vec::new();
    for (at, anchor) in ruleset.anchors.iter().enumerate() {
        out.push(format!("[{}]", anchor.path));
        for rule in ruleset.list(at, list) {
            let call = rule.call.map_or(String::new(), |call| {
                let all = if call.children { "/*" } else { "" };
                format!(" -> [{}]{all}", ruleset.anchors[call.anchor as usize].path)
            });
            out.push(format!("{}: {}{call}", rule.line, rule.text));
        }
    }
    out
}

fn compiled(text: &str, files: &[(&str, &str)]) -> Ruleset {
    problems(text, files).unwrap_or_else(|errors| panic!("{errors}")).0
}

#[test]
fn braces_make_an_anchor_with_a_name_or_without() {
    let ruleset = compiled(
        "block drop all\n\
         anchor \"web\" in quick on en0 inet proto tcp from 10.0.0.0/8 {\n\
         pass proto tcp from 10.1.0.0/16 to any port 80 no state\n\
         anchor {\n\
         pass quick from 10.0.0.0/7 flags S/SA no state\n\
         anchor \"/other\" out\n\
         }\n\
         }\n\
         anchor out {\n\
         pass no state\n\
         }\n",
        &[],
    );
    assert_eq!(
        tree(&ruleset, List::Filter),
        [
            "[]",
            "1: block drop all",
            "2: anchor \"web\" in quick on en0 inet proto tcp from 10.0.0.0/8 to any -> [web]",
            "9: anchor out all -> [_2]",
            "[_2]",
            "10: pass all no state",
            "[other]",
            "[web]",
            "3: pass inet proto tcp from 10.1.0.0/16 to any port = http no state",
            "4: anchor all -> [web/_1]",
            "[web/_1]",
            "5: pass quick inet from 10.0.0.0/7 to any flags S/SA no state",
            "6: anchor \"/other\" out all -> [other]",
        ]
    );
}

#[test]
fn loaded_anchors_have_tables_and_anchors_of_their_own() {
    let files = [
        ("b.conf", "pass in proto udp from <t> no state\n"),
        ("a.conf", "table <t> { 10.0.0.1 }\nblock in from <t>\nanchor \"deep\"\nload anchor deep from \"d.conf\"\n"),
        ("d.conf", "block quick inet6\nanchor \"../x\" in\npass in from <t> no state\n"),
    ];
    let ruleset = compiled(
        "table <t> persist\n\
         anchor \"x/*\"\n\
         anchor \"y\"\n\
         load anchor \"x/b\" from \"b.conf\"\n\
         load anchor \"x/a\" from \"a.conf\"\n",
        &files,
    );
    assert_eq!(
        tree(&ruleset, List::Filter),
        [
            "[]",
            "2: anchor \"x/*\" all -> [x]/*",
            "3: anchor \"y\" all -> [y]",
            "[x]",
            "[x/a]",
            "2: block drop in from <t> to any",
            "3: anchor \"deep\" all -> [x/a/deep]",
            "[x/a/deep]",
            "1: block drop quick inet6 all",
            "2: anchor \"../x\" in all -> [x/a/x]",
            "3: pass in from <t> to any no state",
            "[x/a/x]",
            "[x/b]",
            "1: pass in proto udp from <t> to any no state",
            "[y]",
        ]
    );
    let tables: Vec<(&str, &str)> = ruleset.tables.iter().map(|t| (t.anchor.as_str(), t.name.as_str())).collect();
    assert_eq!(tables, [("", "t"), ("x/a", "t")]);
    let table = |rule: &str| ruleset.rules.iter().find(|r| r.text.starts_with(rule)).map(|r| r.src.addr.table);
    assert_eq!(table("block drop in from <t>"), Some(1), "the anchor's own table");
    assert_eq!(table("pass in from <t>"), Some(1), "that of the anchor around it");
    assert_eq!(table("pass in proto udp"), Some(0), "the main one");
}

#[test]
fn circles_are_refused() {
    for text in [
        "anchor a {\nanchor \"/a\"\n}\n",
        "anchor \"*\" {\npass no state\n}\n",
        "anchor a {\nanchor b {\nanchor \"/*\"\n}\n}\n",
    ] {
        let errors = problems(text, &[]).expect_err(text);
        assert!(errors.contains("from inside itself") || errors.contains("rules of its own"), "{errors}");
    }
    let deep = format!("{}pass no state\n{}", "anchor {\n".repeat(20), "}\n".repeat(20));
    assert!(problems(&deep, &[]).is_ok());
}

/// The file that macOS ships, and the anchor that it loads, call anchors that are empty.
#[test]
fn the_file_macos_ships_loads() {
    let ruleset = compiled(
        "scrub-anchor \"com.apple/*\"\n\
         nat-anchor \"com.apple/*\"\n\
         rdr-anchor \"com.apple/*\"\n\
         dummynet-anchor \"com.apple/*\"\n\
         anchor \"com.apple/*\"\n\
         load anchor \"com.apple\" from \"/etc/pf.anchors/com.apple\"\n",
        &[("/etc/pf.anchors/com.apple", "anchor \"200.AirDrop/*\"\nanchor \"250.ApplicationFirewall/*\"\n")],
    );
    let root = ["[]", "5: anchor \"com.apple/*\" all -> [com.apple]/*", "[com.apple]"];
    assert_eq!(tree(&ruleset, List::Filter)[..3], root);
    assert_eq!(tree(&ruleset, List::Rdr)[1], "3: rdr-anchor \"com.apple/*\" all -> [com.apple]/*");
    assert_eq!(ruleset.anchors.len(), 4);
}
