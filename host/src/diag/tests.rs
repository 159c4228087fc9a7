use std::ffi::c_void;

use super::ledger::{self, Birth, Entry};
use super::{Site, fault};
use crate::{Fault, FaultPlan, Host, HostConfig};

fn site() -> Site {
    Site(site as *const c_void)
}

fn enter(h: &Host, immortal: bool) -> &'static Entry {
    let birth = Birth { host: h.runtime().generation, owner: 0, queue: "none".to_owned() };
    // SAFETY: the entry stays valid while its object is alive and some frees longer.
    unsafe { &*ledger::enter(c"OSThing".as_ptr(), 8 as *mut c_void, site(), birth, immortal) }
}

fn host() -> Host {
    Host::new(HostConfig { collect_violations: true, strict_leaks: true, ..HostConfig::simulated(1) })
}

#[test]
fn references_are_counted_and_misuse_is_reported() {
    let h = host();
    let e = enter(&h, false);
    e.retain(site());
    assert_eq!((e.release(site()), e.release(site())), (1, 0));
    ledger::freed(e, site());
    e.retain(site());
    e.release(site());
    let v = h.violations();
    assert_eq!(v.len(), 2);
    assert_eq!(v[0].kind, "unbalanced retain");
    assert!(v[0].text.contains("OSThing") && v[0].history.iter().any(|l| l.starts_with("release to 0")), "{v:?}");
    let c = enter(&h, true);
    for _ in 0..3 {
        c.release(site());
    }
    c.set_internal();
    assert_eq!(h.violations().len(), 2);
}

#[test]
fn what_is_never_freed_is_a_leak_of_its_host_only() {
    let h = host();
    let e = enter(&h, false);
    e.retain(site());
    enter(&h, false).set_internal();
    enter(&h, true);
    let f = h.finish();
    assert_eq!((f.leaks.len(), f.leaks[0].references, f.leaks[0].class.as_str()), (1, 2, "OSThing"));
    assert_eq!(f.violations[0].kind, "leak");
    assert!(host().finish().leaks.is_empty());
    let h = host();
    enter(&h, false);
    ledger::abandon(h.runtime().generation, 0, std::ptr::null_mut());
    assert!(h.finish().leaks.is_empty());
}

#[test]
fn faults_are_parsed_counted_and_listed() {
    let f: Fault = "IOTimerDispatchSource::Create:2=0xe00002bd".parse().unwrap();
    assert_eq!((f.name.as_str(), f.count, f.code), ("IOTimerDispatchSource::Create", 2, Some(0xe00002bd_u32 as i32)));
    for bad in ["", "x", "x:", ":1", "x:0", "x:1=", "x:1=0", "x:1=zz", "a::b", "x::1"] {
        assert!(bad.parse::<Fault>().is_err(), "{bad:?}");
    }
    let plan = FaultPlan { inject: vec![f.clone(), "X:1".parse().unwrap()], record: true };
    let h = Host::new(HostConfig { faults: plan, ..HostConfig::simulated(1) });
    let name = "IOTimerDispatchSource::Create";
    assert_eq!([1, 2, 3].map(|_| fault::check(name, 7)), [0, f.code.unwrap(), 0]);
    assert_eq!(fault::check("X", 7), 7);
    assert_eq!(h.fault_points(), [(name.to_owned(), 3), ("X".to_owned(), 1)]);
    assert_eq!(h.fault_hits().len(), 2);
    drop(h);
    assert_eq!(fault::check("X", 7), 0);
}

#[test]
fn the_log_is_kept_and_its_rate_seen() {
    let h = host();
    for i in 0..5000 {
        h.runtime().log_line(0, "", &format!("line {i}"));
    }
    h.advance_to(h.now_ns() + 2_000_000_000);
    h.runtime().log_line(16, "net", "late");
    let (lines, stats) = (h.log_lines(), h.log_stats());
    assert_eq!((lines.len(), stats.lines, stats.peak_per_second), (4096, 5001, 5000));
    assert_eq!(super::log::format_line(lines.last().unwrap()), "[3.000000] error net late");
}

#[test]
fn places_have_names() {
    let text = Site(nix::libc::getpid as *const c_void).to_string();
    assert!(text.contains("getpid"), "{text}");
    assert_eq!(Site::NONE.to_string(), "(unknown place)");
}
