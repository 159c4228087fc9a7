//! `weir status`, `weir doctor` and `weir install` where there is no Mac: recordings, the decision, and clear refusals.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

// The package's build script links the driver into every target; it needs the runtime and the core beside it.
use {weir_core as _, weir_host as _};

fn weir(args: &[&str]) -> Output {
    let program = std::env::var_os("WEIR_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_weir").into());
    Command::new(program).args(args).output().unwrap()
}

fn recorded(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("mac/tests/recorded").join(name).display().to_string()
}

fn json(args: &[&str]) -> Value {
    let output = weir(args);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

#[test]
fn status_of_recorded_macs() {
    let good = json(&["status", "--json", "--from-file", &recorded("mac-15.txt")]);
    assert_eq!(good["state"], "active");
    assert_eq!(good["nics"][0]["name"], "en7");
    assert_eq!(good["app"], env!("CARGO_PKG_VERSION"));
    let waiting = weir(&["status", "--from-file", &recorded("mac-11.txt")]);
    assert!(!waiting.status.success(), "the driver does not run there");
    let text = String::from_utf8(waiting.stdout).unwrap();
    assert!(text.contains("needs-approval") && text.contains("Security & Privacy"), "{text}");
}

#[test]
fn doctor_of_recorded_macs() {
    let good = weir(&["doctor", "--from-file", &recorded("mac-15.txt")]);
    assert!(good.status.success(), "{good:?}");
    let bad = json(&["doctor", "--json", "--from-file", &recorded("mac-11.txt")]);
    let verdict = |name: &str| {
        let all = bad.as_array().unwrap();
        all.iter().find(|check| check["name"] == name).map(|check| check["verdict"].clone())
    };
    assert_eq!(verdict("system"), Some("bad".into()));
    assert_eq!(verdict("signature"), Some("bad".into()));
    assert_eq!(verdict("sip"), Some("note".into()));
}

#[test]
fn the_decision() {
    let dext = json(&["doctor", "--decide", "--yes", "own-hardware,rewrite", "--json"]);
    assert_eq!(dext["choice"], "dext");
    assert_eq!(json(&["doctor", "--decide", "--yes", "-", "--json"])["choice"], "network-extension");
    let wrong = weir(&["doctor", "--decide", "--yes", "nonsense"]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("every-interface"));
}

#[test]
fn what_only_a_mac_can_do_says_so() {
    if cfg!(target_os = "macos") {
        return;
    }
    for command in ["install", "upgrade", "uninstall"] {
        let output = weir(&[command]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("only macOS has") && text.contains("weir run"), "{text}");
    }
    for command in ["status", "doctor"] {
        let text = String::from_utf8(weir(&[command]).stderr).unwrap();
        assert!(text.contains("--from-file"), "{text}");
    }
    let missing = weir(&["status", "--from-file", "/nonexistent"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nonexistent"));
    let nonsense = weir(&["status", "--from-file", "/dev/null"]);
    assert!(String::from_utf8_lossy(&nonsense.stderr).contains("no recording"));
}
