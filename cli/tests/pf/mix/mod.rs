//! A random mix of TCP connections between two kernels: short and long, half-closed, reset, refused, with small windows
//! and large ones, silent for a while, on ports that were just used, translated, modulated, proxied, over wires that
//! lose, double and reorder. Each must end as it would on a bare wire, and state tracking must not be what drops a
//! segment. `WEIR_TCP_MIX_SECONDS=3600` for the hour, `WEIR_SEED=S` for the same again, `WEIR_TCP_MIX_ROUND=N` for one
//! kind of wire only.

mod plan;
mod wire;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plan::Plan;
use wire::{Faults, Wire};

use crate::lab::{allowed, ip};
use crate::net::{Serving, World, listen, mac};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n
    }
}

/// Where a connection goes.
#[derive(Clone, Debug)]
pub struct Target {
    address: SocketAddr,
    refuses: bool,
    /// Connections may have a source port that others had.
    fixed_ports: bool,
}

impl Target {
    fn new(address: &str) -> Self {
        Self { address: address.parse().unwrap(), refuses: false, fixed_ports: false }
    }

    fn nobody() -> Self {
        Self::new("0.0.0.0:0")
    }
}

/// Ports: 7000 as it is, 7001 `nat`, 7002 `rdr`, 7003 blocked, 7004 `modulate state`, 7005 `synproxy state`, 7006 `sloppy`,
/// 7009 nobody.
const RULES: &str = "\
    nat inet proto tcp from 10.78.0.1 to any port 7001 -> 10.78.0.7\n\
    nat inet6 proto tcp from fd78::1 to any port 7001 -> fd78::7\n\
    rdr inet proto tcp from any to 10.78.0.9 port 80 -> 10.78.0.2 port 7002\n\
    pass all\n\
    block return-rst in proto tcp to port 7003\n\
    pass proto tcp to port 7004 modulate state\n\
    pass in proto tcp to port 7005 synproxy state\n\
    pass proto tcp to port 7006 keep state (sloppy)\n";

struct Round {
    name: &'static str,
    args: &'static [&'static str],
    /// In front of the rules.
    rules: &'static str,
    faults: Option<Faults>,
}

const ROUNDS: [Round; 4] = [
    Round { name: "offloads, one queue pair", args: &[], rules: "", faults: None },
    Round {
        name: "bad wire",
        args: &["--no-offloads"],
        rules: "",
        faults: Some(Faults { lost: 8, doubled: 8, late: 20 }),
    },
    Round { name: "offloads, four queue pairs", args: &["--queues", "4"], rules: "", faults: None },
    Round {
        name: "bad wire, reassemble tcp, max-mss",
        args: &["--no-offloads"],
        rules: "scrub all reassemble tcp max-mss 1200\n",
        faults: Some(Faults { lost: 4, doubled: 12, late: 40 }),
    },
];

fn targets(round: &Round) -> Vec<Target> {
    let mut all: Vec<Target> =
        ["10.78.0.2:7000", "10.78.0.2:7001", "10.78.0.2:7004", "10.78.0.2:7005", "10.78.0.2:7006"]
            .iter()
            .chain(&["[fd78::2]:7000", "[fd78::2]:7001", "[fd78::2]:7004", "[fd78::2]:7005"])
            .map(|text| Target::new(text))
            .collect();
    all[0].fixed_ports = true;
    all[5].fixed_ports = true;
    if !round.args.contains(&"--queues") {
        // What has no port to choose comes back to another queue pair (docs/decisions/states.md).
        all.push(Target::new("10.78.0.9:80"));
    }
    for text in ["10.78.0.2:7003", "[fd78::2]:7003", "10.78.0.2:7009"] {
        all.push(Target { refuses: true, ..Target::new(text) });
    }
    all
}

/// How many connections of a kind were tried at once.
const CLIENTS: usize = 16;

fn play(round: &Round, seconds: u64, seed: u64) -> (u64, Vec<String>) {
    let world = World::with(&format!("{}{RULES}", round.rules), round.args);
    let (a, b) = (&world.lab.a, &world.lab.b);
    let (mut wire, mut server) = (None, b.clone());
    let far = world.lab.third();
    if let Some(faults) = round.faults {
        // The server is behind the wire, with the address that the driver's own interface has.
        server = far.clone();
        let address = mac(b);
        ip(&format!("netns add {far}"));
        ip(&format!("-n {b} addr flush dev w0"));
        ip(&format!("-n {b} link add m0 type veth peer name w0 netns {far}"));
        for link in ["w0", "m0"] {
            ip(&format!("-n {b} link set {link} up addrgenmode none"));
        }
        ip(&format!("-n {far} link set w0 address {address} gso_max_segs 1 up"));
        ip(&format!("-n {far} addr add 10.78.0.2/24 dev w0"));
        ip(&format!("-n {far} addr add fd78::2/64 dev w0 nodad"));
        wire = Some(Wire::start(b, "w0", "m0", faults, seed));
    }
    // Nobody answers for the addresses that only translation knows.
    // The driver's own interface does not listen to the groups of an address behind it.
    let known = [(a, "10.78.0.9", b), (a, "fd78::2", b), (&server, "10.78.0.7", a), (&server, "fd78::7", a)];
    for (of, addr, at) in known {
        world.neighbour(of, addr, at);
    }
    let problems = Arc::new(Mutex::new(Vec::new()));
    let note = |problem: String| problems.lock().unwrap().push(problem);
    let servers: Vec<Serving> = [7000, 7001, 7002, 7004, 7005, 7006]
        .map(|port| {
            let problems = Arc::clone(&problems);
            Serving::start(listen(&server, "::", port), move |stream| {
                if let Err(problem) = plan::serve(stream) {
                    problems.lock().unwrap().push(format!("port {port}: {problem}"));
                }
            })
        })
        .into();
    let (targets, done) = (targets(round), AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(seconds);
    let ports = Mutex::new(BTreeMap::<u16, ()>::new());
    std::thread::scope(|scope| {
        for client in 0..CLIENTS as u64 {
            let (targets, done, note, ports) = (&targets, &done, &note, &ports);
            scope.spawn(move || {
                let mut dice = Dice(seed ^ client << 40);
                while Instant::now() < end {
                    let plan = Plan::random(&mut dice, targets);
                    // A port is one client's at a time.
                    if plan.port != 0 && ports.lock().unwrap().insert(plan.port, ()).is_some() {
                        continue;
                    }
                    if let Err(problem) = plan.run(a) {
                        note(format!("{problem}\n    {plan:?}"));
                    }
                    ports.lock().unwrap().remove(&plan.port);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    drop(servers);
    // What resets ended is still on the way.
    std::thread::sleep(Duration::from_millis(300));
    // How many state tracking may drop, at most: segments that no receiver would take either. Where nothing is lost or late
    // these are one or two: what was on its way when its connection was reset and the port used again, and, of an interface
    // with several queues, an acknowledgement behind one that is more than a window newer (RFC 5961 section 5.2).
    let mut stale = 1 + done.load(Ordering::Relaxed) / 1000;
    if let Some(wire) = &wire {
        let [lost, doubled, late] = [0, 1, 2].map(|n| wire.counts[n].load(Ordering::Relaxed));
        println!("    {lost} segments lost, {doubled} doubled, {late} late");
        // A segment that comes again, or later than what was sent a window after it, or with a timestamp older than what
        // was echoed since, says nothing any more (RFC 9293 section 3.10.7.4, RFC 7323 section 5.3).
        stale += doubled + late;
    }
    drop(wire);
    let text = world.stop();
    let tracking = ["state-mismatch", "bad-timestamp", "state-insert"];
    let mut dropped = 0;
    for line in text.lines().filter(|line| line.contains("dropped ") && !line.contains("mac-filter")) {
        println!("    {line}");
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        dropped += if tracking.iter().any(|reason| line.contains(reason)) { count } else { 0 };
    }
    if dropped > stale {
        note(format!("state tracking dropped {dropped} segments, {stale} at most were stale:\n{text}"));
    }
    let problems = std::mem::take(&mut *problems.lock().unwrap());
    (done.into_inner(), problems)
}

/// Past the harness, which keeps what a test prints to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[test]
fn pf_tcp_mix_ends_as_on_a_bare_wire() {
    if !allowed() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let total = number("WEIR_TCP_MIX_SECONDS").unwrap_or(16);
    let seed = number("WEIR_SEED").unwrap_or(20_261_127);
    say(&format!("WEIR_SEED={seed} WEIR_TCP_MIX_SECONDS={total}"));
    let each = (total / ROUNDS.len() as u64).clamp(2, 60);
    let (start, mut connections, mut problems) = (Instant::now(), 0, Vec::new());
    let only = number("WEIR_TCP_MIX_ROUND");
    for (number, round) in (0u64..).zip(ROUNDS.iter().cycle()) {
        if only.is_some_and(|only| number % ROUNDS.len() as u64 != only) {
            continue;
        }
        if start.elapsed().as_secs() >= total && number >= ROUNDS.len() as u64 {
            break;
        }
        println!("round {number}: {}", round.name);
        let (done, found) = play(round, each, seed.wrapping_add(number << 50));
        println!("    {done} connections, {} problems", found.len());
        for problem in found.iter().take(20) {
            println!("  {problem}");
        }
        connections += done;
        problems.extend(found);
    }
    say(&format!("{connections} connections, {} problems", problems.len()));
    assert!(problems.is_empty(), "seed {seed}: {}", problems.iter().take(50).cloned().collect::<Vec<_>>().join("\n"));
    assert!(connections > total);
}
