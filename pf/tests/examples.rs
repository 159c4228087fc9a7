//! Every example of `examples/` and of `docs/rules.md` does what it says: it loads, or it is refused.

use std::path::{Path, PathBuf};

use weir_pf::{Isolated, Options, Source, check};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn problems(name: &str, text: &str) -> (String, String) {
    let resolver = Isolated {
        files: vec![
            ("/etc/weir/lan".to_owned(), "192.0.2.0/24\n!192.0.2.66 # the guest\n".to_owned()),
            ("/etc/weir/common.conf".to_owned(), "block in quick from 198.51.100.66\n".to_owned()),
        ],
        ..Isolated::default()
    };
    let options = Options { resolver: &resolver, ..Options::default() };
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    let checked = check(&source, &options);
    if let Some(ruleset) = &checked.ruleset {
        let image = weir_core::filter::image::encode(ruleset);
        let read = weir_core::filter::image::parse(&image).expect("the core takes what is compiled");
        assert_eq!(&read, ruleset, "{name}");
    }
    let render = |list: &[weir_pf::Problem]| list.iter().map(|p| p.render()).collect();
    (render(&checked.errors), render(&checked.warnings))
}

#[test]
fn examples_load_without_a_word() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("examples")).expect("examples/").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "conf") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("an example");
        let found = problems(&path.display().to_string(), &text);
        assert_eq!(found, (String::new(), String::new()));
        seen += 1;
    }
    assert!(seen >= 4, "{seen} examples");
}

/// Blocks marked `pf` load, blocks marked `pf refused` do not.
#[test]
fn the_manual_is_right() {
    let text = std::fs::read_to_string(root().join("docs/rules.md")).expect("docs/rules.md");
    let (mut good, mut bad) = (0, 0);
    for (number, block) in text.split("\n```").enumerate().filter(|(n, _)| n % 2 == 1) {
        let (kind, body) = block.split_once('\n').expect("a block");
        let name = format!("block {number} of rules.md");
        match kind {
            "pf" => {
                let (errors, _) = problems(&name, body);
                assert_eq!(errors, "", "{body}");
                good += 1;
            }
            "pf refused" => {
                // Each line on its own: every one is refused.
                for line in body.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
                    let (errors, _) = problems(&name, line);
                    assert_ne!(errors, "", "not refused: {line}");
                }
                bad += 1;
            }
            _ => {}
        }
    }
    assert!(good >= 7 && bad >= 2, "{good} and {bad} blocks");
}
