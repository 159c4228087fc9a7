use alloc::vec;

use crate::filter::*;

fn call(anchor: u32) -> Rule {
    Rule { action: Action::Anchor, call: Some(Call { anchor, children: false }), ..Rule::default() }
}

fn named(text: &str) -> Rule {
    Rule { text: text.into(), ..Rule::default() }
}

fn set(anchors: Vec<(&str, Vec<Rule>)>) -> Ruleset {
    let mut ruleset = Ruleset::default();
    for (path, filter) in anchors {
        let mut lists = [const { Vec::new() }; List::ALL.len()];
        lists[List::Filter as usize] = filter;
        ruleset.push_anchor(path.into(), lists);
    }
    ruleset
}

use alloc::vec::Vec;

fn texts(ruleset: &Ruleset, path: &str) -> Vec<alloc::string::String> {
    let at = ruleset.anchor(path).expect("an anchor");
    ruleset.list(at, List::Filter).iter().map(|rule| rule.text.clone()).collect()
}

#[test]
fn an_anchor_is_replaced_and_emptied_alone() {
    let main =
        set(vec![("", vec![named("first"), call(1), call(2)]), ("a", vec![named("old")]), ("b", vec![named("b")])]);
    let mut with = set(vec![("", vec![named("new"), call(1)]), ("in", vec![named("inner")])]);
    with.tables.push(Table { name: "t".into(), persist: true, ..Table::default() });
    with.tags.push("T".into());
    with.rules[0].src.addr = AddrMatch { kind: AddrKind::Table, ..AddrMatch::default() };
    with.rules[0].tag = 1;
    let merged = replace_anchor(&main, "a", Some(&with));
    let back = image::parse(&image::encode(&merged)).expect("what was merged is a ruleset");
    assert_eq!(back, merged);
    assert_eq!((texts(&merged, "a"), texts(&merged, "a/in")), (vec!["new".into(), "".into()], vec!["inner".into()]));
    assert_eq!(texts(&merged, "b"), ["b"]);
    assert_eq!(merged.tables[0].anchor, "a");
    let calls: Vec<_> = merged.rules.iter().filter_map(|rule| rule.call).map(|call| call.anchor as usize).collect();
    let to: Vec<_> = calls.iter().map(|at| merged.anchors[*at].path.as_str()).collect();
    assert_eq!(to, ["a", "b", "a/in"]);
    let emptied = replace_anchor(&merged, "a", None);
    assert!(image::parse(&image::encode(&emptied)).is_ok());
    assert_eq!((texts(&emptied, "a").len(), texts(&emptied, "b").len()), (0, 1));
    // A new one, deeper than anything there is.
    let deeper = replace_anchor(&main, "x/y", Some(&with));
    assert!(image::parse(&image::encode(&deeper)).is_ok());
    assert_eq!(texts(&deeper, "x/y"), ["new", ""]);
}
