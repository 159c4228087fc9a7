//! Two network namespaces joined only by `weir run`, as a user would set them up.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The command under test: the release build where `WEIR_BIN` names one.
pub fn weir() -> Command {
    Command::new(std::env::var_os("WEIR_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_weir").into()))
}

/// True for the slow runs of `cargo xtask test --all`.
pub fn soak() -> bool {
    std::env::var_os("WEIR_SOAK").is_some()
}

/// False, with the reason printed, where this machine does not allow namespaces.
pub fn allowed() -> bool {
    // The tests run side by side: one name each, or one would take another's probe for a refusal.
    let name = format!("weirt{}-probe{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let output = Command::new("ip").args(["netns", "add", &name]).output();
    let ok = output.as_ref().is_ok_and(|output| output.status.success());
    if ok {
        let _ = Command::new("ip").args(["netns", "del", &name]).status();
    } else {
        assert!(std::env::var_os("CI").is_none(), "network namespaces must be there in CI: {output:?}");
        eprintln!("skipped: network namespaces need root");
    }
    ok
}

/// A running driver.
pub struct Driver {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts `weir run ARGS` and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        let mut child = weir().arg("run").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut driver = Self { child, output };
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let n = driver.output.read_line(&mut line).unwrap();
            assert!(n > 0, "weir run {args:?} ended before it was ready:\n{seen}");
            seen.push_str(&line);
            if line.trim() == "ready" {
                return driver;
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ctrl-C; the final accounting must be in order. Returns what was printed.
    pub fn stop(mut self) -> String {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "weir run ended with {status}:\n{text}");
        assert_eq!(text.trim_end().lines().last(), Some("accounting: ok"), "{text}");
        text
    }

    /// The power cut.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two namespaces, A 10.78.0.1 and B 10.78.0.2 (fd78::1, fd78::2), each with a TAP interface `w0`.
pub struct Lab {
    pub a: String,
    pub b: String,
}

impl Lab {
    pub fn new() -> Self {
        let id = format!("weirt{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let lab = Self { a: format!("{id}a"), b: format!("{id}b") };
        for ns in [&lab.a, &lab.b] {
            ip(&format!("netns add {ns}"));
            ip(&format!("-n {ns} link set lo up"));
        }
        lab
    }

    /// Joins the namespaces by the driver and gives them addresses.
    pub fn join(&self, extra: &[&str]) -> Driver {
        let (a, b) = (format!("tap:w0,netns={}", self.a), format!("tap:w0,netns={}", self.b));
        let mut args = vec!["--nic", "pair", "--stack", &a, "--stack", &b];
        args.extend(extra);
        let driver = Driver::start(&args);
        self.addresses();
        driver
    }

    pub fn addresses(&self) {
        for (ns, last) in [(&self.a, 1), (&self.b, 2)] {
            ip(&format!("-n {ns} addr replace 10.78.0.{last}/24 dev w0"));
            ip(&format!("-n {ns} addr replace fd78::{last}/64 dev w0 nodad"));
            ip(&format!("-n {ns} link set w0 up"));
        }
    }

    /// The name of a third namespace, which goes with the others if somebody makes it.
    pub fn third(&self) -> String {
        format!("{}c", self.a.trim_end_matches('a'))
    }

    /// Runs `program args` in a namespace.
    pub fn exec(&self, ns: &str, command: &str) -> Command {
        let mut exec = Command::new("ip");
        exec.args(["netns", "exec", ns]).args(command.split_whitespace());
        exec
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for ns in [&self.a, &self.b] {
            let _ = Command::new("ip").args(["netns", "del", ns]).status();
        }
        let third = self.third();
        if std::path::Path::new("/run/netns").join(&third).exists() {
            let _ = Command::new("ip").args(["netns", "del", &third]).status();
        }
    }
}

pub fn ip(args: &str) {
    run(Command::new("ip").args(args.split_whitespace()));
}

/// Runs to the end; a failure shows both outputs.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}
