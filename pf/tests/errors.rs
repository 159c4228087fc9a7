//! What users read when a file is wrong: `errors.txt` has inputs and, word for word, what is said about them.
//!
//! `UPDATE_ERRORS=1 cargo test -p weir-pf --test errors` writes the answers anew; read the difference.

use weir_pf::{Isolated, Options, Source, check};

fn answer(name: &str, input: &str) -> String {
    let resolver = Isolated {
        files: vec![
            ("bad-rules".to_owned(), "pass in\npas out\n".to_owned()),
            ("bad-table".to_owned(), "10.0.0.1 # one\n10.0.0.300\n".to_owned()),
            ("itself".to_owned(), "include \"itself\"\n".to_owned()),
        ],
        ..Isolated::default()
    };
    let options = Options { resolver: &resolver, ..Options::default() };
    let source = Source { name: "pf.conf".to_owned(), text: input.to_owned() };
    let checked = check(&source, &options);
    let problems = checked.errors.iter().chain(&checked.warnings);
    let rendered: Vec<String> = problems.map(|p| p.render()).collect();
    assert!(!rendered.is_empty(), "{name}: nothing is said about\n{input}");
    rendered.concat()
}

#[test]
fn every_wrong_input_is_explained() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/errors.txt");
    let text = std::fs::read_to_string(path).expect("errors.txt");
    let mut fresh = String::new();
    let mut wrong = Vec::new();
    let mut cases = 0;
    for case in text.split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a case has a name");
        let (input, wanted) = rest.split_once("---\n").expect("a case has an answer");
        let found = answer(name, input);
        if found.trim_end() != wanted.trim_end() {
            wrong.push(format!("{name}\n--- wanted\n{wanted}--- said\n{found}"));
        }
        fresh.push_str(&format!("=== {name}\n{input}---\n{}\n\n", found.trim_end()));
        cases += 1;
    }
    assert!(cases >= 40, "only {cases} cases");
    if std::env::var_os("UPDATE_ERRORS").is_some() {
        std::fs::write(path, fresh).expect("errors.txt");
        return;
    }
    assert!(wrong.is_empty(), "{} of {cases} differ\n{}", wrong.len(), wrong.join("\n"));
}
