//! `weir show`, `weir load` and `weir mode` against a driver that `weir run --control` runs: no privileges needed.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

// The package's build script links the driver into every target; it needs the runtime and the core beside it.
use {weir_core as _, weir_host as _};

fn weir() -> Command {
    Command::new(std::env::var_os("WEIR_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_weir").into()))
}

/// A driver with an in-process stack, and the socket that it listens on.
struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    dir: PathBuf,
}

impl Running {
    fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("weir-control-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut child = weir()
            .args(["run", "--nic", "reflect", "--stack", "smoltcp:192.0.2.1/24", "--control"])
            .arg(dir.join("sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = String::new();
        while !seen.ends_with("ready\n") {
            assert!(output.read_line(&mut seen).unwrap() > 0, "weir run ended before it was ready:\n{seen}");
        }
        Self { child, output, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    fn weir(&self, args: &[&str]) -> Output {
        weir().args(args).arg("--control").arg(self.socket()).output().unwrap()
    }

    fn json(&self, what: &str) -> Value {
        let output = self.weir(&["show", what, "--json"]);
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{what} is no JSON value: {error}"))
    }

    fn rules(&self, text: &str) -> PathBuf {
        let path = self.dir.join("rules.conf");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, text: &str) -> Output {
        let path = self.rules(text);
        self.weir(&["load", "-f", path.to_str().unwrap()])
    }

    /// Ctrl-C; the last line must be the accounting.
    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        assert_eq!(rest.lines().last(), Some("accounting: ok"), "{rest}");
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only after a failed assertion: it would keep the test's output open.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn everything_can_be_looked_at_in_words_and_in_json() {
    let driver = Running::start("show");
    for what in ["info", "counters", "accounting", "rules", "events", "histograms"] {
        let words = driver.weir(&["show", what]);
        assert!(words.status.success(), "{what}: {}", text(&words.stderr));
        driver.json(what);
    }
    let info = driver.json("info");
    assert_eq!((&info["mode"], &info["enabled"], &info["link"]), (&"filter".into(), &true.into(), &true.into()));
    assert_eq!(driver.json("accounting")["accounting"], "ok");
    assert_eq!(driver.json("histograms").as_array().map(Vec::len), Some(4));
    driver.stop();
}

#[test]
fn a_load_replaces_the_rules_and_a_refused_one_leaves_them() {
    let driver = Running::start("load");
    let output = driver.load("block in log quick proto tcp to port 23\npass all no state\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let before = driver.json("info");
    let rules = driver.json("rules");
    assert_eq!(rules.as_array().map(Vec::len), Some(2), "{rules}");
    assert!(rules[0]["text"].as_str().unwrap().starts_with("block drop in log quick proto tcp"), "{rules}");

    let refused = driver.load("pass all no state\nblock in prot tcp\n");
    assert!(!refused.status.success());
    let message = text(&refused.stderr);
    assert!(message.contains("rules.conf:2:10"), "the place is named: {message}");
    assert_eq!(driver.json("info"), before, "what ran goes on running");
    assert_eq!(driver.json("rules").as_array().map(Vec::len), Some(2));

    let output = driver.weir(&["load", "--clear"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(driver.json("info")["rules"], 0);
    assert_ne!(driver.json("info")["epoch"], before["epoch"]);
    driver.stop();
}

#[test]
fn the_way_out_in_a_hurry_works_both_ways() {
    let driver = Running::start("mode");
    for mode in ["bypass", "block", "filter"] {
        let output = driver.weir(&["mode", mode]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(driver.json("info")["mode"], mode);
    }
    driver.stop();
}

#[test]
fn who_is_not_there_is_named() {
    let nowhere = Path::new("/nonexistent/weir.sock");
    let output = weir().args(["show", "info", "--control"]).arg(nowhere).output().unwrap();
    assert!(!output.status.success());
    let message = text(&output.stderr);
    assert!(message.contains("/nonexistent/weir.sock") && message.contains("weir run --control"), "{message}");

    let driver = Running::start("service");
    let output = driver.weir(&["show", "info", "--service", "en99"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("en99"), "{}", text(&output.stderr));
    driver.stop();
}

#[test]
fn a_reader_that_went_away_does_not_keep_the_driver_from_stopping_in_order() {
    let mut child = weir()
        .args(["run", "--nic", "reflect", "--stack", "smoltcp:192.0.2.1/24"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.ends_with("ready\n") {
        assert!(output.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    drop(output);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn tables_and_anchors_change_while_the_driver_runs() {
    let driver = Running::start("tables");
    let rules =
        driver.rules("table <bad> persist { 10.0.0.0/8 !10.1.0.0/16 }\nblock in from <bad>\nanchor \"extra\"\npass\n");
    let text = |args: &[&str]| {
        let output = driver.weir(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    text(&["load", "-f", rules.to_str().unwrap()]);
    assert!(text(&["table", "list"]).contains("bad"));
    assert_eq!(
        text(&["table", "add", "bad", "192.0.2.9", "2001:db8::/32"]).trim_end(),
        "2 added, 0 deleted, 0 changed: 4 in <bad>"
    );
    assert_eq!(text(&["table", "delete", "bad", "192.0.2.9"]).trim_end(), "0 added, 1 deleted, 0 changed: 3 in <bad>");
    let shown = text(&["table", "show", "bad"]);
    for entry in ["   10.0.0.0/8\n", "   !10.1.0.0/16\n", "   2001:db8::/32\n"] {
        assert!(shown.contains(entry), "{shown}");
    }
    assert_eq!(text(&["table", "test", "bad", "10.2.0.1"]), "10.2.0.1 is in <bad>\n");
    assert_eq!(driver.weir(&["table", "test", "bad", "10.1.0.1"]).status.code(), Some(1));
    assert!(!driver.weir(&["table", "show", "nobody"]).status.success());
    text(&["table", "flush", "bad"]);
    assert_eq!(text(&["table", "show", "bad", "--json"]), "[]\n");
    std::fs::write(&rules, "block in proto udp to port 9\n").unwrap();
    text(&["anchor", "extra", "-f", rules.to_str().unwrap()]);
    let has = |wanted: &str| driver.json("rules").to_string().contains(wanted);
    assert!(has("port = discard"));
    text(&["anchor", "extra", "--flush"]);
    assert!(!has("port = discard"));
    assert!(text(&["states", "--json"]).starts_with('['));
    text(&["kill", "--all"]);
    assert!(!driver.weir(&["kill"]).status.success());
}
