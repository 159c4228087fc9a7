use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

use super::arbitrary::{empty_rule, ruleset, v4};
use super::oracle;
use super::packet::{Packet, Part, Transport, packet};
use crate::filter::*;
use crate::telemetry::DropReason;
use crate::wire;

const SYN: u8 = 2;

pub fn tcp(dport: u16, flags: u8) -> Packet {
    Packet {
        other: None,
        vlans: 0,
        family: Family::V4,
        src: v4([10, 0, 0, 1]),
        dst: v4([10, 0, 0, 2]),
        transport: Transport::Tcp { sport: 1234, dport, flags },
        part: Part::Whole,
        options: false,
        hop_by_hop: false,
    }
}

fn install(rules: Vec<Rule>) -> Installed {
    super::install(Ruleset::filter(rules, Vec::new()), "en0", 1)
}

fn judge_bytes(installed: &Installed, frame: &[u8]) -> Verdict {
    super::judge(installed, 0, Direction::In, frame)
}

fn judge(installed: &Installed, packet: &Packet) -> Verdict {
    judge_bytes(installed, &packet.bytes())
}

#[test]
fn without_a_ruleset_everything_passes() {
    let mut broken = tcp(80, SYN).bytes();
    broken[14] = 0x41;
    assert_eq!(judge_bytes(&Installed::none(0), &broken), Verdict::PASS);
}

#[test]
fn malformed_ip_is_dropped_with_the_reason_of_pf() {
    let installed = install(vec![Rule { flags: RuleFlags::QUICK, ..empty_rule(Action::Pass, Direction::Any) }]);
    let whole = tcp(80, SYN).bytes();
    let mut bad_header_len = whole.clone();
    bad_header_len[14] = 0x41;
    let mut tiny_overwrite = whole.clone();
    tiny_overwrite[21] = 1;
    for (frame, reason) in [
        (&whole[..30], DropReason::Short),
        (&bad_header_len[..], DropReason::BadOffset),
        (&tiny_overwrite[..], DropReason::Fragment),
        (&whole[..13], DropReason::Runt),
    ] {
        let verdict = judge_bytes(&installed, frame);
        assert_eq!((verdict.block, verdict.rule, verdict.log), (Some(reason), Verdict::NO_RULE, true));
    }
    let mut arp = vec![0xff; 14];
    arp[12..].copy_from_slice(&[8, 6]);
    assert_eq!(judge_bytes(&installed, &arp), Verdict::PASS);
    assert_eq!(installed.counters().unwrap().sum(0), Some([0, 0, 0, 0]));
}

#[test]
fn the_last_match_decides_unless_one_is_quick() {
    let pass = empty_rule(Action::Pass, Direction::In);
    let block = empty_rule(Action::Block, Direction::In);
    let quick = Rule { flags: RuleFlags::QUICK, ..block.clone() };
    let last = install(vec![pass.clone(), block.clone(), pass.clone()]);
    assert_eq!(judge(&last, &tcp(80, SYN)), Verdict { rule: 2, ..Verdict::PASS });
    let quick = install(vec![pass.clone(), quick, pass]);
    let verdict = judge(&quick, &tcp(80, SYN));
    assert_eq!((verdict.block, verdict.rule), (Some(DropReason::Match), 1));
    assert_eq!(quick.counters().unwrap().sum(2), Some([0, 0, 0, 0]));
    assert_eq!(quick.counters().unwrap().sum(1), Some([1, 1, 58, 0]));
}

#[test]
fn fragments_match_only_rules_without_ports_and_flags() {
    let mut with_port = empty_rule(Action::Pass, Direction::In);
    with_port.protocol = Some(6);
    with_port.dst.port = PortMatch { op: PortOp::Eq, a: 80, b: 0 };
    let mut with_flags = with_port.clone();
    with_flags.dst.port = PortMatch::default();
    with_flags.tcp_flags = TcpFlagsMatch { set: SYN, out_of: SYN | 0x10 };
    let block = empty_rule(Action::Block, Direction::In);
    let installed = install(vec![block.clone(), with_port, with_flags]);
    assert_eq!(judge(&installed, &tcp(80, SYN)).rule, 2);
    for part in [Part::First, Part::Later] {
        assert_eq!(judge(&installed, &Packet { part, ..tcp(80, SYN) }).rule, 0);
    }
    let only = Rule { flags: RuleFlags::FRAGMENT, ..block };
    let installed = install(vec![only]);
    assert_eq!(judge(&installed, &tcp(80, SYN)), Verdict::PASS);
    assert_eq!(judge(&installed, &Packet { part: Part::First, ..tcp(80, SYN) }).rule, 0);
}

#[test]
fn options_need_allow_opts() {
    let pass = empty_rule(Action::Pass, Direction::In);
    let packet = Packet { options: true, ..tcp(80, SYN) };
    let verdict = judge(&install(vec![pass.clone()]), &packet);
    assert_eq!((verdict.block, verdict.rule, verdict.log), (Some(DropReason::IpOption), 0, true));
    let verdict = judge(&install(Vec::new()), &packet);
    assert_eq!((verdict.block, verdict.rule), (Some(DropReason::IpOption), Verdict::NO_RULE));
    let allowed = install(vec![Rule { flags: RuleFlags::ALLOW_OPTS, ..pass }]);
    assert_eq!(judge(&allowed, &packet).block, None);
}

#[test]
fn a_new_name_moves_rules_on_and_off() {
    let on = Rule { interface: "en7".into(), ..empty_rule(Action::Block, Direction::In) };
    let installed = install(vec![on]);
    assert_eq!(judge(&installed, &tcp(80, SYN)).block, None);
    let renamed = installed.moved(Place { if_name: "en7", addresses: &[], shards: 1 }).unwrap();
    assert_eq!(judge(&renamed, &tcp(80, SYN)).block, Some(DropReason::Match));
    // One set of counters before and after.
    assert_eq!(installed.counters().unwrap().sum(0), Some([2, 1, 58, 0]));
    assert_eq!(renamed.epoch, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn agrees_with_the_oracle(
        ruleset in ruleset(0..12),
        packets in prop::collection::vec((packet(), any::<bool>()), 1..16),
        if_name in prop_oneof![Just("en0"), Just("en1"), Just("")],
    ) {
        let installed = super::install(ruleset.clone(), if_name, 2);
        let mut hits = vec![(0, 0); ruleset.rules.len()];
        for (number, (packet, inbound)) in packets.iter().enumerate() {
            let direction = if *inbound { Direction::In } else { Direction::Out };
            let expected = oracle::evaluate(&ruleset, if_name, direction, packet, &mut hits);
            let frame = packet.bytes();
            let parsed = wire::parse(&frame);
            if packet.other.is_none() {
                prop_assert_eq!(parsed.error, None, "the test's own frame is malformed");
            }
            let verdict = super::judge(&installed, number % 2, direction, &frame);
            let rule = (verdict.rule != Verdict::NO_RULE).then_some(verdict.rule);
            prop_assert_eq!((verdict.block, rule, verdict.log), expected, "{:?}", packet);
        }
        for (rule, (evaluations, packets)) in hits.into_iter().enumerate() {
            let counted = installed.counters().unwrap().sum(rule).unwrap();
            prop_assert_eq!((counted[0], counted[1]), (evaluations, packets), "rule {}", rule);
        }
    }
}
