//! The object layer from a driver's side: the fixture `lab` checks containers, queues, sources, actions and memory from
//! inside; here its results, and what the runtime says to misuse.

mod common;

use std::sync::Mutex;
use std::time::Duration;

use common::{SEED, fixture};
use weir_host::{FinalReport, Host, HostConfig, Prop, Properties};

/// Boots the lab for one case, lets two seconds pass, stops it; the log and how it ended.
fn run(case: &str) -> (Vec<String>, FinalReport) {
    // One host at a time anyway; this keeps the waiting out of the hosts.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let host = Host::new(HostConfig { collect_violations: true, ..HostConfig::simulated(SEED) });
    host.load_dext(&fixture("lab")).expect("the lab loads");
    let properties = Properties::from([("case".to_owned(), Prop::String(case.to_owned()))]);
    let service = host
        .boot("Lab", properties)
        .unwrap_or_else(|error| panic!("{case}: {error}: {:#?}", host.log_lines().last().map(|line| &line.text)));
    host.advance(Duration::from_secs(2));
    service.terminate();
    host.run_until_idle();
    drop(service);
    let lines = host.log_lines().into_iter().map(|line| line.text).collect();
    (lines, host.finish())
}

fn clean(case: &str) -> Vec<String> {
    let (lines, report) = run(case);
    assert!(report.violations.is_empty() && report.leaks.is_empty(), "{case}: {report:#?}");
    lines
}

fn violates(case: &str, kind: &str) {
    let (_, report) = run(case);
    let kinds: Vec<_> = report.violations.iter().map(|violation| violation.kind.as_str()).collect();
    assert_eq!(kinds, [kind], "{case}");
}

#[test]
fn containers_hold_what_they_are_given() {
    clean("containers");
}

#[test]
fn serialized_containers_read_back_and_damage_is_refused() {
    clean("serialization");
}

#[test]
fn properties_cross_the_registry_unchanged() {
    clean("properties");
}

#[test]
fn queues_are_serial_and_known_by_name() {
    assert_eq!(clean("queues"), ["order 12"]);
}

#[test]
fn handlers_run_on_the_queue_their_method_names() {
    assert_eq!(clean("sources"), ["data hello on side 1", "timer in time"]);
}

#[test]
fn only_actions_of_the_generated_kind_arrive() {
    assert_eq!(clean("actions"), ["cancelled"]);
}

#[test]
fn memory_is_mapped_shared_and_prepared() {
    clean("memory");
}

#[test]
fn services_are_announced() {
    assert_eq!(clean("notifications"), ["notification 1 of itself 1"]);
}

#[test]
fn misuse_is_named() {
    violates("release twice", "unbalanced release");
    violates("bad cast", "bad cast");
    violates("wrong size", "bad IOFree");
    let (_, report) = run("leak");
    let leaks: Vec<_> = report.leaks.iter().map(|leak| (leak.class.as_str(), leak.references)).collect();
    assert_eq!(leaks, [("OSString", 1)]);
}
