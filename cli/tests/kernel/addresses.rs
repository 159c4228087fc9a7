//! `(en0)` in rules means what the kernel's interface has at the moment; the sources that such a rule counts.

use std::process::Command;
use std::time::Duration;

use crate::lab::{Lab, allowed, ip, run, weir};

const RULES: &str = "block in inet proto icmp all icmp-type echoreq\n\
                     pass in on en0 inet proto icmp to (en0) icmp-type echoreq keep state \
                     (source-track rule, max-src-states 50)\n";

/// B's pings come through to an address of A, before long.
fn reaches(lab: &Lab, addr: &str) -> bool {
    (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        lab.exec(&lab.b, &format!("ping -q -n -c 1 -W 1 {addr}")).output().unwrap().status.success()
    })
}

#[test]
fn kernel_rules_follow_the_addresses_of_the_interface() {
    if !allowed() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("weir-addresses-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    std::fs::write(file("rules.conf"), RULES).unwrap();
    let lab = Lab::new();
    let driver = lab.join(&["--control", &file("weir.sock"), "-f", &file("rules.conf")]);
    let command = |args: &[&str]| -> Command {
        let mut command = weir();
        command.args(args).args(["--control", &file("weir.sock")]);
        command
    };
    assert!(reaches(&lab, "10.78.0.1"));
    let sources = || run(&mut command(&["show", "sources"]));
    assert!(sources().starts_with("10.78.0.2 ( states 1, connections 0, rate 0.0 )\n"), "{}", sources());
    run(&mut command(&["kill", "--source", "10.79.0.0/16"]));
    assert_ne!(sources(), "");
    run(&mut command(&["kill", "--source", "10.78.0.0/24"]));
    assert_eq!(sources(), "");
    assert!(!command(&["kill", "--source", "!10.78.0.0/24"]).output().unwrap().status.success());
    // Another address in the place of the one that the rules were loaded with.
    ip(&format!("-n {} addr add 10.78.0.9/24 dev w0", lab.a));
    assert!(reaches(&lab, "10.78.0.9"));
    ip(&format!("-n {} addr del 10.78.0.9/24 dev w0", lab.a));
    driver.stop();
    std::fs::remove_dir_all(dir).unwrap();
}
