use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

use super::arbitrary::{empty_rule, ruleset, v4};
use crate::filter::image::{ImageErrorKind, encode, parse};
use crate::filter::*;

fn sample() -> Ruleset {
    let mut rule = empty_rule(Action::Block, Direction::In);
    rule.flags = RuleFlags::QUICK | RuleFlags::LOG;
    rule.interface = "en0".into();
    rule.family = Family::V4;
    rule.protocol = Some(6);
    rule.src.addr = AddrMatch { kind: AddrKind::Table, table: 0, negate: true, ..AddrMatch::default() };
    rule.dst.addr =
        AddrMatch { kind: AddrKind::Mask4, addr: v4([10, 0, 0, 0]), end: v4([255, 0, 0, 0]), ..AddrMatch::default() };
    rule.dst.port = PortMatch { op: PortOp::Range, a: 20, b: 23 };
    rule.tcp_flags = TcpFlagsMatch { set: 2, out_of: 18 };
    rule.labels = vec!["Schlüssel".into()];
    rule.text = "block drop in log quick on en0".into();
    rule.line = 7;
    let entries = vec![
        TableEntry { family: Family::V4, addr: v4([10, 1, 0, 0]), len: 16, negate: false },
        TableEntry { family: Family::V4, addr: v4([10, 1, 2, 0]), len: 24, negate: true },
    ];
    Ruleset::filter(
        vec![rule, empty_rule(Action::Pass, Direction::Any)],
        vec![Table { name: "bad guys".into(), defined: true, entries, ..Table::default() }],
    )
}

/// The reason why a ruleset's image is refused.
fn refused(change: impl FnOnce(&mut Ruleset)) -> ImageErrorKind {
    let mut ruleset = sample();
    change(&mut ruleset);
    parse(&encode(&ruleset)).expect_err("accepted").kind
}

/// Makes an image's checksum right again.
fn seal(image: &mut [u8]) {
    image[16..20].fill(0);
    let crc = crc32(image);
    image[16..20].copy_from_slice(&crc.to_le_bytes());
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn comes_back_as_it_was() {
    assert_eq!(parse(&encode(&sample())), Ok(sample()));
    assert_eq!(parse(&encode(&Ruleset::default())), Ok(Ruleset::default()));
}

#[test]
fn the_checksum_is_the_one_of_ieee_802_3() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    let image = encode(&sample());
    let mut sealed = image.clone();
    seal(&mut sealed);
    assert_eq!(image, sealed);
}

#[test]
fn every_single_bit_counts() {
    let image = encode(&sample());
    for bit in 0..image.len() * 8 {
        let mut flipped = image.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn every_truncation_and_every_appended_byte_is_refused() {
    let image = encode(&sample());
    for len in 0..image.len() {
        let mut cut = image[..len].to_vec();
        assert!(parse(&cut).is_err(), "{len} bytes");
        // With a length and a checksum that fit, what is missing is still noticed.
        if len >= 32 {
            cut[12..16].copy_from_slice(&(len as u32).to_le_bytes());
            seal(&mut cut);
            assert!(parse(&cut).is_err(), "{len} bytes, sealed");
        }
    }
    let mut longer = image;
    longer.push(0);
    assert_eq!(parse(&longer).expect_err("accepted").kind, ImageErrorKind::Length);
}

#[test]
fn what_contradicts_itself_is_refused_with_its_reason() {
    use ImageErrorKind::*;
    type Case = (ImageErrorKind, fn(&mut Ruleset));
    let cases: [Case; 22] = [
        (TableIndex, |r| r.rules[0].src.addr.table = 1),
        (StringLength, |r| r.rules[0].interface = "interfacenumber0".into()),
        (StringLength, |r| r.rules[0].labels[0] = "x".repeat(64)),
        (StringLength, |r| r.rules[0].text = "x".repeat(4097)),
        (StringLength, |r| r.tables[0].name = "x".repeat(32)),
        (StringLength, |r| r.tables[0].name = String::new()),
        (StringContent, |r| r.rules[0].interface = "en 0".into()),
        (StringContent, |r| r.rules[0].text = "one\ntwo".into()),
        (HostBits, |r| r.rules[0].dst.addr.addr = v4([10, 0, 0, 1])),
        (HostBits, |r| r.rules[0].dst.addr.end = v4([255, 0, 255, 0])),
        (HostBits, |r| r.tables[0].entries[0].addr = v4([10, 1, 1, 0])),
        (PrefixLength, |r| r.tables[0].entries[0].len = 33),
        (PrefixOrder, |r| {
            let again = r.tables[0].entries[0];
            r.tables[0].entries.push(again);
        }),
        (NotZero, |r| r.rules[0].dst.addr.end[15] = 1),
        (NotZero, |r| r.rules[0].src.addr.addr[0] = 1),
        (NotZero, |r| r.rules[1].src.port.b = 1),
        (DuplicateTable, |r| r.tables.push(Table { name: "bad guys".into(), ..Table::default() })),
        (Range, |r| {
            r.rules[0].dst.addr.kind = AddrKind::Range4;
            r.rules[0].dst.addr.end = v4([9, 0, 0, 0]);
        }),
        (Contradiction, |r| r.rules[0].protocol = Some(1)),
        (Contradiction, |r| r.rules[0].family = Family::V6),
        (Contradiction, |r| r.rules[1].flags |= RuleFlags::NOT_INTERFACE),
        (Contradiction, |r| r.rules[0].ether = Some(EtherMatch::default())),
    ];
    for (number, (kind, change)) in cases.into_iter().enumerate() {
        assert_eq!(refused(change), kind, "case {number}");
    }
    assert_eq!(refused(|r| r.rules[1].icmp = Some(IcmpMatch { kind: 8, code: None })), Contradiction);
    assert_eq!(refused(|r| r.rules[0].tcp_flags.set = 1), Contradiction);
    assert_eq!(refused(|r| r.tables[0].entries[0].family = Family::Any), Enum);
}

/// Builds an image from sections: kind, version, flags, records, bytes.
fn assemble(sections: &[(u32, u16, u16, u32, &[u8])]) -> Vec<u8> {
    let mut image = b"WEIRRULE".to_vec();
    image.extend_from_slice(&2u32.to_le_bytes());
    image.extend_from_slice(&[0; 8]);
    image.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    image.extend_from_slice(&[0; 8]);
    let mut body: Vec<u8> = Vec::new();
    let start = 32 + 24 * sections.len();
    for (kind, version, flags, records, bytes) in sections {
        body.resize(body.len().next_multiple_of(8), 0);
        image.extend_from_slice(&kind.to_le_bytes());
        image.extend_from_slice(&version.to_le_bytes());
        image.extend_from_slice(&flags.to_le_bytes());
        image.extend_from_slice(&((start + body.len()) as u32).to_le_bytes());
        image.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        image.extend_from_slice(&records.to_le_bytes());
        image.extend_from_slice(&[0; 4]);
        body.extend_from_slice(bytes);
    }
    image.extend_from_slice(&body);
    let len = image.len() as u32;
    image[12..16].copy_from_slice(&len.to_le_bytes());
    seal(&mut image);
    image
}

#[test]
fn sections_that_are_not_known() {
    let kind = |image: Vec<u8>| parse(&image).map_err(|error| error.kind);
    assert_eq!(kind(assemble(&[(99, 3, 0, 7, b"later")])), Ok(Ruleset::default()));
    assert_eq!(kind(assemble(&[(99, 3, 1, 7, b"later")])), Err(ImageErrorKind::UnknownSection));
    assert_eq!(kind(assemble(&[(1, 2, 1, 0, b"")])), Err(ImageErrorKind::SectionVersion));
    assert_eq!(kind(assemble(&[(99, 1, 2, 0, b"")])), Err(ImageErrorKind::NotZero));
    assert_eq!(kind(assemble(&[(99, 1, 0, 0, b""), (99, 1, 0, 0, b"")])), Err(ImageErrorKind::DuplicateSection));
    assert_eq!(kind(assemble(&[(1, 1, 1, 1, b"short")])), Err(ImageErrorKind::Truncated));
    assert_eq!(kind(assemble(&[(2, 1, 1, 1, b"\x01\0\0\0\xff")])), Err(ImageErrorKind::StringContent));
    assert_eq!(kind(assemble(&[(2, 1, 1, 1, b"\x01\0\0\0tt")])), Err(ImageErrorKind::SectionLength));
    assert_eq!(kind(assemble(&[(2, 1, 1, 60_000, b"")])), Err(ImageErrorKind::Limit));
    let many = vec![(99u32, 1u16, 0u16, 0u32, &b""[..]); 65];
    assert_eq!(kind(assemble(&many)), Err(ImageErrorKind::Limit));
}

#[test]
fn anchors_that_are_no_tree_are_refused() {
    use ImageErrorKind::*;
    let call =
        |anchor, children| Rule { action: Action::Anchor, call: Some(Call { anchor, children }), ..Rule::default() };
    let with = |anchors: Vec<(&str, Vec<Rule>)>| {
        let mut ruleset = Ruleset::default();
        for (path, filter) in anchors {
            let mut lists = [const { Vec::new() }; List::ALL.len()];
            lists[List::Filter as usize] = filter;
            ruleset.push_anchor(path.into(), lists);
        }
        parse(&encode(&ruleset)).map(|back| assert_eq!(back, ruleset)).map_err(|error| error.kind)
    };
    assert_eq!(with(vec![("", vec![call(1, false), call(1, true)]), ("a", vec![]), ("a/b", vec![])]), Ok(()));
    assert_eq!(with(vec![("", vec![]), ("a", vec![]), ("a/b", vec![]), ("a-b", vec![])]), Ok(()));
    for (paths, kind) in [
        (vec!["a"], AnchorPath),
        (vec!["", "a//b"], AnchorPath),
        (vec!["", "a", "a/*"], AnchorPath),
        (vec!["", "b", "a"], AnchorOrder),
        (vec!["", "a", "a"], AnchorOrder),
        (vec!["", "a/b"], AnchorOrder),
    ] {
        assert_eq!(with(paths.iter().map(|path| (*path, vec![])).collect()), Err(kind), "{paths:?}");
    }
    assert_eq!(with(vec![("", vec![call(1, false)])]), Err(AnchorIndex));
    assert_eq!(with(vec![("", vec![call(0, false)])]), Err(AnchorCycle));
    assert_eq!(with(vec![("", vec![]), ("a", vec![call(0, true)])]), Err(AnchorCycle));
    assert_eq!(with(vec![("", vec![]), ("a", vec![call(2, false)]), ("b", vec![call(1, false)])]), Err(AnchorCycle));
    let chain = |length: u32| -> Vec<(String, Vec<Rule>)> {
        let name = |n| if n == 0 { String::new() } else { alloc::format!("{n:03}") };
        (0..=length).map(|n| (name(n), if n < length { vec![call(n + 1, false)] } else { vec![] })).collect()
    };
    let as_str = |chain: &[(String, Vec<Rule>)]| {
        with(chain.iter().map(|(path, rules)| (path.as_str(), rules.clone())).collect())
    };
    assert_eq!(as_str(&chain(64)), Ok(()));
    assert_eq!(as_str(&chain(65)), Err(AnchorDepth));
    // Two calls of the next, thirty times over.
    let doubling: Vec<_> = chain(30).into_iter().map(|(path, rules)| (path, [rules.clone(), rules].concat())).collect();
    assert_eq!(as_str(&doubling), Err(Limit));
    let mut ruleset = sample();
    ruleset.anchors[0].lists[6] += 1;
    assert_eq!(parse(&encode(&ruleset)).unwrap_err().kind, AnchorRules);
    ruleset.anchors[0].lists[6] -= 2;
    assert_eq!(parse(&encode(&ruleset)).unwrap_err().kind, AnchorRules);
}

#[test]
fn sections_may_not_overlap() {
    let mut image = assemble(&[(98, 1, 0, 8, b"one text"), (99, 1, 0, 0, b"another!")]);
    let first = image[32 + 8..32 + 12].to_vec();
    image[56 + 8..56 + 12].copy_from_slice(&first);
    seal(&mut image);
    assert_eq!(parse(&image).expect_err("accepted").kind, ImageErrorKind::SectionPlace);
}

proptest! {
    #[test]
    fn any_ruleset_comes_back(ruleset in ruleset(0..20)) {
        let image = encode(&ruleset);
        prop_assert_eq!(parse(&image), Ok(ruleset.clone()));
        prop_assert!(Compiled::new(ruleset).is_some());
    }

    #[test]
    fn any_bytes_load_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
    }

    /// The checksum is made right after the damage, so that every check behind it is reached. What loads is written
    /// again as the very same bytes: nothing in an image goes unread.
    #[test]
    fn damaged_images_load_or_are_refused(
        ruleset in ruleset(1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut image = encode(&ruleset);
        for (at, byte) in damage {
            let at = at.index(image.len());
            image[at] = byte;
        }
        seal(&mut image);
        if let Ok(loaded) = parse(&image) {
            prop_assert!(Compiled::new(loaded.clone()).is_some());
            prop_assert_eq!(parse(&encode(&loaded)), Ok(loaded));
        }
    }

    #[test]
    fn any_section_contents_load_or_are_refused(
        rules in prop::collection::vec(0u8..8, 0..136),
        tables in prop::collection::vec(0u8..3, 0..60),
        anchors in prop::collection::vec(0u8..2, 0..64),
    ) {
        let sections = [(3, 1, 1, 1, &tables[..]), (5, 1, 1, 1, &anchors), (6, 1, 1, 1, &rules)];
        if let Ok(loaded) = parse(&assemble(&sections)) {
            prop_assert!(Compiled::new(loaded).is_some());
        }
    }
}
