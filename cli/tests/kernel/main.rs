//! Traffic of the real kernel through the real driver, in network namespaces. Needs root; `WEIR_BIN` names the binary.

mod adapters;
mod addresses;
mod capture;
mod lab;
mod raw;

// The package's build script links the driver into every target; it needs the runtime and the core beside it.
use {weir_core as _, weir_host as _};

use std::process::{Command, Stdio};
use std::time::Duration;

use lab::{Driver, Lab, allowed, ip, run, soak};

/// ping(8) waits for the last answer as long as two round trips took or one interval is: on a busy machine 10 ms are not enough.
fn ping(lab: &Lab, args: &str) -> String {
    run(&mut lab.exec(&lab.a, &format!("ping -q -n {args}")))
}

fn none_lost(text: &str, count: u32) {
    assert!(text.contains(&format!("{count} packets transmitted, {count} received")), "{text}");
}

#[test]
fn kernel_ping_10000_none_lost() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let driver = lab.join(&[]);
    none_lost(&ping(&lab, "-f -c 10000 -W 2 10.78.0.2"), 10_000);
    none_lost(&ping(&lab, "-c 100 -i 0.05 -W 2 fd78::2"), 100);
    driver.stop();
}

#[test]
fn kernel_mtu_9000() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let driver = lab.join(&["--mtu", "9000"]);
    none_lost(&ping(&lab, "-c 20 -i 0.05 -W 2 -M do -s 8972 10.78.0.2"), 20);
    none_lost(&ping(&lab, "-c 20 -i 0.05 -W 2 -M do -s 8952 fd78::2"), 20);
    // Fragments of the kernel, both families.
    none_lost(&ping(&lab, "-c 20 -i 0.05 -W 2 -M dont -s 30000 10.78.0.2"), 20);
    none_lost(&ping(&lab, "-c 20 -i 0.05 -W 2 -M dont -s 30000 fd78::2"), 20);
    driver.stop();
}

#[test]
fn kernel_four_queues() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let driver = lab.join(&["--queues", "4"]);
    none_lost(&ping(&lab, "-f -c 2000 -W 2 10.78.0.2"), 2000);
    transfer(&lab, 200 << 20, "10.78.0.2");
    driver.stop();
}

#[test]
fn kernel_vlan_frames_pass_unchanged() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let driver = lab.join(&[]);
    raw::tagged_frames(&lab.a, &lab.b, "w0");
    driver.stop();
}

/// Sends `bytes` random bytes by TCP from A to B and compares SHA-256 sums that `sha256sum` made on both sides.
fn transfer(lab: &Lab, bytes: u64, to: &str) {
    let family = if to.contains(':') { "TCP6" } else { "TCP4" };
    let script = |ns: &str, text: &str| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", ns, "python3", "-c", text]).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    };
    let receive = format!(
        "import socket,hashlib\n\
         s=socket.socket(socket.AF_INET6 if '{family}'=='TCP6' else socket.AF_INET)\n\
         s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
         s.bind(('{to}',5001));s.listen(1);c,_=s.accept();h=hashlib.sha256();n=0\n\
         while True:\n d=c.recv(1<<18)\n if not d: break\n h.update(d);n+=len(d)\n\
         print(n,h.hexdigest())"
    );
    let send = format!(
        "import socket,hashlib,os,time\n\
         for i in range(100):\n\
         \x20try:\n  s=socket.create_connection(('{to}',5001),5);break\n\
         \x20except OSError: time.sleep(0.05)\n\
         h=hashlib.sha256();n=0;block=os.urandom(1<<20)\n\
         while n<{bytes}:\n d=block[n%4096:n%4096+min(1<<18,{bytes}-n)];s.sendall(d);h.update(d);n+=len(d)\n\
         s.close();print(n,h.hexdigest())"
    );
    let receiver = script(&lab.b, &receive).spawn().unwrap();
    let sender = script(&lab.a, &send).output().unwrap();
    let received = receiver.wait_with_output().unwrap();
    let (sent, received) = (String::from_utf8_lossy(&sender.stdout), String::from_utf8_lossy(&received.stdout));
    assert!(sent.starts_with(&bytes.to_string()), "sender: {sent}");
    assert_eq!(sent, received);
}

#[test]
fn kernel_transfer_equal_sha256() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let driver = lab.join(&[]);
    let bytes = if soak() { 10_000_000_000 } else { 300_000_000 };
    transfer(&lab, bytes, "10.78.0.2");
    transfer(&lab, 100_000_000, "fd78::2");
    driver.stop();
}

#[test]
fn kernel_blocked_traffic_is_blocked() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let rules = std::env::temp_dir().join(format!("weir-{}.conf", std::process::id()));
    std::fs::write(&rules, "block in quick inet proto icmp all icmp-type echoreq\npass all\n").unwrap();
    let driver = lab.join(&["-f", rules.to_str().unwrap()]);
    let output = lab.exec(&lab.a, "ping -q -n -c 3 -i 0.1 -W 1 10.78.0.2").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 packets transmitted, 0 received"));
    none_lost(&ping(&lab, "-c 3 -i 0.1 -W 2 fd78::2"), 3);
    let text = driver.stop();
    assert!(text.contains("block drop in quick inet proto icmp"), "{text}");
    std::fs::remove_file(rules).unwrap();
}

#[test]
fn kernel_reflect_answers() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let stack = format!("tap:w0,netns={}", lab.a);
    let driver = Driver::start(&["--nic", "reflect", "--stack", &stack]);
    ip(&format!("-n {} addr add 10.78.0.1/24 dev w0", lab.a));
    ip(&format!("-n {} addr add fd78::1/64 dev w0 nodad", lab.a));
    ip(&format!("-n {} link set w0 up", lab.a));
    none_lost(&ping(&lab, "-c 50 -i 0.05 -W 2 10.78.0.77"), 50);
    none_lost(&ping(&lab, "-c 50 -i 0.05 -W 2 fd78::77"), 50);
    driver.stop();
}

/// Traffic that goes on while something is done to the driver.
struct Background(std::process::Child);

impl Background {
    fn start(lab: &Lab) -> Self {
        let child = lab
            .exec(&lab.a, "ping -q -f -n -s 1000 10.78.0.2")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn kernel_link_flaps_under_traffic() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let driver = lab.join(&[]);
    let traffic = Background::start(&lab);
    for flap in 0..if soak() { 1000 } else { 50 } {
        let ns = if flap % 2 == 0 { &lab.a } else { &lab.b };
        ip(&format!("-n {ns} link set w0 down"));
        ip(&format!("-n {ns} link set w0 up"));
    }
    drop(traffic);
    lab.addresses();
    std::thread::sleep(Duration::from_millis(200));
    none_lost(&ping(&lab, "-c 100 -i 0.05 -W 2 10.78.0.2"), 100);
    driver.stop();
}

#[test]
fn kernel_stop_and_start_under_traffic() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    for cycle in 0..if soak() { 100 } else { 6 } {
        let driver = lab.join(&[]);
        let traffic = Background::start(&lab);
        std::thread::sleep(Duration::from_millis(60));
        if cycle % 5 == 4 {
            // A crash: the next Start finds no trace of this one.
            driver.kill();
        } else {
            driver.stop();
        }
        drop(traffic);
    }
    let driver = lab.join(&[]);
    none_lost(&ping(&lab, "-c 100 -i 0.05 -W 2 10.78.0.2"), 100);
    driver.stop();
}

#[test]
fn kernel_driver_holds_its_memory() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let driver = lab.join(&[]);
    let resident = || {
        let text = std::fs::read_to_string(format!("/proc/{}/status", driver.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with("RssAnon:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    transfer(&lab, 50_000_000, "10.78.0.2");
    let before = resident();
    for _ in 0..10 {
        transfer(&lab, 50_000_000, "10.78.0.2");
    }
    // Everything is sized at Start: ten times the traffic may not need more than noise. The packet pool is shared
    // memory, whose pages the kernel provides when they are first touched; it is not counted here.
    let after = resident();
    assert!(after < before + 4096, "resident memory grew from {before} to {after} KiB");
    driver.stop();
}
