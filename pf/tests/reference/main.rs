//! The engine against a reference: an interpreter that walks the rules one after the other and keeps states in a list,
//! written from pf.conf(5) and sharing nothing with the engine, on random rules and random traffic.
//!
//! Rules go through all of it: text, compiler, image, engine. `WEIR_CASES=N` runs more cases than the few that are
//! bounded for everyday use, and `WEIR_SEED=S` begins with another one; a disagreement prints its seed, the rules and
//! the packets so far.

mod eval;
mod generate;
mod model;
mod packet;

use eval::{Fate, Pf};
use generate::{Random, Traffic};
use model::{Dir, INTERFACE};
use packet::Packet;
use weir_core::filter::{Compiled, image};
use weir_core::pipeline::{Direction, Outcome, Single, Sizes};
use weir_pf::{Isolated, Options, Source};

const HOUR: u64 = 3_600_000_000_000;
const SIZES: Sizes = Sizes { states: 512, sources: 16, fragments: 16, seed: 1 };

fn engine(text: &str) -> Result<Single, String> {
    let nobody = Isolated::default();
    let options = Options { resolver: &nobody, ..Options::default() };
    let source = Source { name: "random.conf".into(), text: text.into() };
    let loaded = weir_pf::load(&source, &options).map_err(|errors| format!("{errors:?}"))?;
    let ruleset = image::parse(&image::encode(&loaded.ruleset)).map_err(|error| format!("{error:?}"))?;
    let compiled = Compiled::new(ruleset).ok_or("no memory")?;
    Single::new(compiled, INTERFACE, &[], SIZES).ok_or_else(|| "no memory".into())
}

/// What a case came to: packets that were compared, and how many of them passed.
#[derive(Default)]
struct Tally {
    packets: u64,
    passed: u64,
    states: u64,
    unclear: u64,
}

fn run(seed: u64, tally: &mut Tally) -> Result<(), String> {
    let mut r = Random(seed);
    let rules = generate::rules(&mut r);
    let text = rules.to_string();
    let mut engine = engine(&text).map_err(|error| format!("{text}\n{error}"))?;
    let mut traffic = Traffic::new();
    let mut reference = Pf::new(rules);
    let mut now = 10 * HOUR;
    let mut log: Vec<String> = Vec::new();
    for _ in 0..40 {
        now += 1_000_000;
        if r.one_in(60) {
            // Longer than any timeout.
            now += 30 * HOUR;
            reference.forget_all();
            traffic.forget_all();
        }
        let (packet, plausible) = traffic.packet(&mut r);
        let expected = reference.packet(&packet, plausible);
        let mut frame = packet.frame();
        let direction = if packet.dir == Dir::In { Direction::In } else { Direction::Out };
        let outcome = engine.frame(direction, now, &mut frame, false, &mut ());
        log.push(format!("{packet:?} -> {outcome:?}"));
        let same = match (&expected, outcome) {
            (Fate::Unclear, _) => {
                tally.unclear += 1;
                return Ok(());
            }
            (Fate::Block, Outcome::Drop(_)) => true,
            (Fate::Pass(left), Outcome::Pass) => left.frame() == frame,
            _ => false,
        };
        tally.packets += 1;
        match &expected {
            Fate::Pass(left) => {
                tally.passed += 1;
                traffic.has_passed(left);
            }
            _ => traffic.was_dropped(),
        }
        if !same {
            let packets = log.join("\n");
            return Err(format!(
                "{text}\n{packets}\nthe reference says {expected:?}\nframe {frame:02x?}\nwanted {:02x?}",
                match &expected {
                    Fate::Pass(left) => left.frame(),
                    _ => Vec::new(),
                }
            ));
        }
    }
    tally.states += reference.states() as u64;
    Ok(())
}

#[test]
fn engine_and_reference_agree() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = number("WEIR_CASES").unwrap_or(3000);
    let first = number("WEIR_SEED").unwrap_or(1);
    let mut tally = Tally::default();
    for seed in first..first + cases {
        if let Err(what) = run(seed, &mut tally) {
            panic!("WEIR_SEED={seed} WEIR_CASES=1 disagrees:\n{what}");
        }
    }
    let Tally { packets, passed, states, unclear } = tally;
    println!("{cases} cases from seed {first}: {packets} packets, {passed} passed, {states} states, {unclear} unclear");
    // It would prove nothing if next to nothing happened.
    assert!(packets > cases * 10 && passed > packets / 10 && passed < packets && unclear < cases / 2);
    assert!(states > cases);
}

/// The reference itself, on the examples of pf.conf(5) that tell its semantics.
#[test]
fn the_reference_reads_the_manual_alike() {
    use model::{Action, Address, Flags, Item, Rule, Rules, Tests};
    let tests = Tests {
        dir: Some(Dir::In),
        on: None,
        v6: None,
        proto: None,
        src: Address::ANY,
        src_port: None,
        dst: Address::ANY,
        dst_port: None,
        flags: Flags::Default,
        icmp_type: None,
        tos: None,
        tagged: None,
    };
    let rule = |action, quick| Item::Rule(Rule { action, quick, tests: tests.clone(), tag: None, state: false });
    let packet = Packet {
        dir: Dir::In,
        src: "192.0.2.1".parse().unwrap(),
        dst: "10.0.0.1".parse().unwrap(),
        tos: 0,
        body: packet::Body::Udp { sport: 1, dport: 53, data: 4 },
    };
    for (filter, passes) in [
        (vec![], true),
        (vec![rule(Action::Block, false), rule(Action::Pass, false)], true),
        (vec![rule(Action::Block, true), rule(Action::Pass, false)], false),
        (vec![rule(Action::Pass, false), rule(Action::Match, false)], true),
    ] {
        let mut pf = Pf::new(Rules { filter, ..Rules::default() });
        assert_eq!(matches!(pf.packet(&packet, true), Fate::Pass(_)), passes);
    }
}
