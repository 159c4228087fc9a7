//! Optimised rules mean what the others do: the driver's own evaluation of both, packet by packet.

use etherparse::PacketBuilder;
use proptest::prelude::*;
use proptest::sample::select;
use weir_core::filter::{Compiled, Ruleset, image};
use weir_core::pipeline::{Direction, Outcome, Recorder, Single, Sizes};
use weir_pf::{Isolated, Optimisation, Options, Source, check};

fn load(text: &str, optimisation: Optimisation) -> Option<(Ruleset, String)> {
    let resolver = Isolated::default();
    let options = Options { resolver: &resolver, optimisation: Some(optimisation), ..Options::default() };
    let checked = check(&Source { name: "pf.conf".to_owned(), text: text.to_owned() }, &options);
    Some((checked.ruleset?, checked.text?))
}

/// What the deciding rule does is told by what becomes of the packet, and by how it is changed and logged.
struct Nobody;

impl Recorder for Nobody {
    fn saw(&mut self, _: weir_core::filter::List, _: u32, _: Result<(), weir_core::filter::Mismatch>) {}
}

fn judge(ruleset: &Ruleset, packets: &[(bool, Vec<u8>)]) -> Vec<(Outcome, Vec<u8>, usize)> {
    let read = image::parse(&image::encode(ruleset)).expect("the core takes it");
    let compiled = Compiled::new(read).expect("memory");
    let mut single =
        Single::new(compiled, "en0", &[], Sizes { states: 256, sources: 16, fragments: 16, seed: 7 }).expect("memory");
    packets
        .iter()
        .map(|(out, packet)| {
            let direction = if *out { Direction::Out } else { Direction::In };
            let mut frame = packet.clone();
            let outcome = single.frame(direction, 1_000_000, &mut frame, false, &mut Nobody);
            let events = std::iter::from_fn(|| single.event()).count();
            (outcome, frame, events + 1000 * single.answers().count())
        })
        .collect()
}

/// Few different words, so that rules meet and repeat each other.
fn rule() -> impl Strategy<Value = String> {
    let address = || select(vec!["any", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.0/24", "! 10.0.0.1"]);
    let many = "{ 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8 }";
    let list = prop_oneof![3 => address(), 1 => Just(many)];
    (
        select(vec!["pass", "pass", "block", "block return", "match"]),
        select(vec!["", "", " in", " out"]),
        select(vec!["", "", "", " log", " quick"]),
        select(vec!["", "", " on en0", " on en1", " on ! en0"]),
        select(vec!["", " proto tcp", " proto udp", " proto { tcp udp }"]),
        (list, address(), select(vec!["", "", " port 80", " port 80:90", " port { 22 80 }"])),
        select(vec!["", "", " no state", " flags S/SA", " tag a", " tagged a", " label \"l\"", " tos 0x10", " once"]),
    )
        .prop_map(|(action, direction, word, on, proto, (from, to, port), option)| {
            let port = if proto.is_empty() { "" } else { port };
            format!("{action}{direction}{word}{on}{proto} from {from} to {to}{port}{option}\n")
        })
}

fn packets() -> Vec<(bool, Vec<u8>)> {
    let mut out = Vec::new();
    for way in [false, true] {
        for source in [1, 2, 5, 9] {
            for target in [1, 3, 77] {
                for port in [22, 80, 85, 443] {
                    let builder =
                        PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, source], [10, 0, 0, target], 64);
                    let mut frame = Vec::new();
                    match (port + u16::from(source)) % 3 {
                        0 => builder.udp(5000, port).write(&mut frame, &[0; 8]),
                        1 => builder.tcp(5000, port, 1, 1000).syn().write(&mut frame, &[]),
                        _ => builder.tcp(5000, port, 1, 1000).ack(1).write(&mut frame, &[]),
                    }
                    .expect("a frame");
                    out.push((way, frame));
                }
            }
        }
    }
    out
}

fn seed() -> u64 {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_081_017);
    eprintln!("WEIR_SEED={seed}");
    seed
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(seed()),
        ..ProptestConfig::default()
    })]

    #[test]
    fn optimised_rules_mean_the_same(
        rules in proptest::collection::vec(rule(), 1..12),
        inner in proptest::collection::vec(rule(), 0..6),
        call in select(vec!["anchor", "anchor in quick", "anchor on en0 proto tcp"]),
    ) {
        let mut text = rules.concat();
        if !inner.is_empty() {
            text.push_str(&format!("{call} {{\n{}}}\n{}", inner.concat(), rules.concat()));
        }
        let Some((plain, _)) = load(&text, Optimisation::None) else { return Ok(()) };
        let Some((small, printed)) = load(&text, Optimisation::Basic) else {
            return Err(TestCaseError::fail(format!("does not load optimised:\n{text}")));
        };
        prop_assert!(small.rules.len() <= plain.rules.len());
        let packets = packets();
        prop_assert_eq!(judge(&plain, &packets), judge(&small, &packets), "{}optimised\n{}", text, printed);
        let again = load(&printed, Optimisation::None);
        prop_assert_eq!(again.map(|(_, text)| text), Some(printed));
    }
}

#[test]
fn lists_become_tables_and_idle_rules_go() {
    let text = "pass in quick proto tcp from { 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 } to 10.1.0.1 port 80\n\
                pass in quick proto tcp from { 10.0.0.5 10.0.0.6 10.0.1.0/24 } to 10.1.0.1 port 80\n\
                pass in proto udp to port 53\n\
                pass in proto udp to port 54 label \"kept\"\n\
                pass in proto udp\n\
                pass in quick proto tcp from 10.0.0.5 to 10.1.0.1 port 80\n";
    let (_, printed) = load(text, Optimisation::Basic).expect("it loads");
    let lines: Vec<&str> = printed.lines().collect();
    let (table, rules) = lines.split_first().expect("lines");
    let (name, _) = table.strip_prefix("table <").and_then(|t| t.split_once('>')).expect("a table");
    assert!(name.starts_with("__automatic_"), "{table}");
    assert!(
        table.ends_with("> const { 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.1.0/24 }"),
        "{table}"
    );
    assert_eq!(
        rules,
        [
            format!("pass in quick inet proto tcp from <{name}> to 10.1.0.1 port = http flags S/SA keep state"),
            "pass in proto udp from any to any port = xns-ch keep state label \"kept\"".to_owned(),
            "pass in proto udp all keep state".to_owned(),
        ]
    );
    let text = format!("set ruleset-optimization basic\n{text}");
    let resolver = Isolated::default();
    let options = Options { resolver: &resolver, ..Options::default() };
    let checked = check(&Source { name: "pf.conf".to_owned(), text }, &options);
    assert_eq!(checked.ruleset.map(|ruleset| ruleset.rules.len()), Some(3), "the file can ask for it");
}
