//! The kernel on both ends of a device model's cable.

use std::io::Write as _;
use std::process::Stdio;

use crate::lab::{Driver, Lab, allowed, run};

const MODELS: [&str; 3] = ["e1000e", "virtio-net", "virtio-net,packed"];

/// The far end of the cable in A, the driver's interface in B.
fn join(lab: &Lab, model: &str, extra: &[&str]) -> Driver {
    let (nic, peer) = (format!("qemu:{model}"), format!("tap:w0,netns={}", lab.a));
    let stack = format!("tap:w0,netns={}", lab.b);
    let mut args = vec!["--nic", &nic, "--peer", &peer, "--stack", &stack];
    args.extend(extra);
    let driver = Driver::start(&args);
    lab.addresses();
    driver
}

/// Address resolution, 10,000 echoes without a loss, IPv6, and TCP in bulk with every offload.
#[test]
fn pings_and_bulk_tcp_over_every_model() {
    if !allowed() {
        return;
    }
    for model in MODELS {
        let lab = Lab::new();
        let driver = join(&lab, model, &[]);
        let text = run(&mut lab.exec(&lab.b, "ping -q -c 10000 -i 0.0005 -W 10 10.78.0.1"));
        assert!(text.contains("10000 received"), "{model}: {text}");
        let text = run(&mut lab.exec(&lab.b, "ping -q -6 -c 100 -i 0.002 -W 10 fd78::1"));
        assert!(text.contains("100 received"), "{model}: {text}");
        let mut server = lab.exec(&lab.a, "iperf3 -s -1").stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        for direction in ["", "-R"] {
            if direction == "-R" {
                server.wait().unwrap();
                server = lab.exec(&lab.a, "iperf3 -s -1").stdout(Stdio::null()).spawn().unwrap();
                std::thread::sleep(std::time::Duration::from_millis(500));
            }
            let text = run(&mut lab.exec(&lab.b, &format!("iperf3 -c 10.78.0.1 -n 64M {direction}")));
            assert!(text.contains("receiver"), "{model}: {text}");
        }
        server.wait().unwrap();
        driver.stop();
    }
}

/// One ruleset, the same verdicts on every adapter.
#[test]
fn rules_decide_alike_on_every_model() {
    if !allowed() {
        return;
    }
    let path = std::env::temp_dir().join(format!("weir-adapters-{}.conf", std::process::id()));
    let mut rules = std::fs::File::create(&path).unwrap();
    writeln!(rules, "block quick inet proto icmp all\npass all").unwrap();
    for model in MODELS {
        let lab = Lab::new();
        let driver = join(&lab, model, &["-f", path.to_str().unwrap()]);
        let blocked = lab.exec(&lab.b, "ping -q -c 5 -i 0.01 -W 1 10.78.0.1").output().unwrap();
        assert!(String::from_utf8_lossy(&blocked.stdout).contains(" 0 received"), "{model}: {blocked:?}");
        let text = run(&mut lab.exec(&lab.b, "ping -q -6 -c 5 -i 0.01 -W 10 fd78::1"));
        assert!(text.contains("5 received"), "{model}: {text}");
        driver.stop();
    }
    std::fs::remove_file(&path).unwrap();
}
