//! Whole generated files, compared with committed ones. `BLESS=1 cargo test -p weir-iig` writes them anew.

use std::path::{Path, PathBuf};
use weir_iig::{Generator, Output};

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn generator() -> Generator {
    Generator::new([Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host/include")])
}

fn compare(name: &str, output: &Output) {
    for (extension, text) in [("h", &output.header), ("iig.cpp", &output.source)] {
        let path = golden_dir().join(format!("{name}.{extension}"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, text).expect("write the golden file");
            continue;
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = expected.lines().zip(text.lines()).position(|(a, b)| a != b);
        let line = differs.unwrap_or_else(|| expected.lines().count().min(text.lines().count()));
        assert!(
            expected == *text,
            "{} differs in line {}:\n  have {:?}\n  want {:?}",
            path.display(),
            line + 1,
            text.lines().nth(line),
            expected.lines().nth(line)
        );
    }
}

#[test]
fn framework_class() {
    compare("Clock", &generator().framework(golden_dir().join("Clock.iig")).expect("generates"));
}

#[test]
fn user_class() {
    compare("Watch", &generator().user(golden_dir().join("Watch.iig")).expect("generates"));
}

#[test]
fn output_does_not_depend_on_where_the_sources_are() {
    let elsewhere = tempfile::tempdir().expect("temporary directory");
    for name in ["Clock.iig", "Watch.iig"] {
        std::fs::copy(golden_dir().join(name), elsewhere.path().join(name)).expect("copy");
    }
    let here = generator().user(golden_dir().join("Watch.iig")).expect("generates");
    let there = generator().user(elsewhere.path().join("Watch.iig")).expect("generates");
    assert_eq!((here.header, here.source), (there.header, there.source));
}

#[test]
fn dependencies_name_every_definition_that_was_read() {
    let output = generator().user(golden_dir().join("Watch.iig")).expect("generates");
    for name in ["Watch.iig", "Clock.iig", "DriverKit/IOService.iig", "DriverKit/OSObject.iig"] {
        assert!(output.dependencies.iter().any(|path| path.ends_with(name)), "{name} in {:?}", output.dependencies);
    }
}
