use crate::mock::{NIC, personality, register};
use crate::prop::Prop;
use crate::sched::Queue;
use crate::service::Phase;
use crate::{Host, HostConfig, IoReturn, Properties};

fn host() -> Host {
    register();
    Host::new(HostConfig { collect_violations: true, strict_leaks: true, ..HostConfig::simulated(5) })
}

#[test]
fn a_service_lives_from_boot_to_its_release() {
    let h = host();
    let s = h.boot(NIC, personality(&[])).unwrap();
    let svc = s.entry().clone();
    assert_eq!(svc.phase(), Phase::Started);
    assert_eq!(svc.super_start(), Err(IoReturn::NOT_PERMITTED));
    let mut m = Properties::new();
    m.insert("IOUserClass".to_owned(), "IOService".into());
    assert!(h.runtime().registry.find(|s| s.matches(&m)).is_some());
    m.insert("NoSuchKey".to_owned(), Prop::Bool(true));
    assert!(h.runtime().registry.find(|s| s.matches(&m)).is_none());
    let r = s.terminate();
    assert!(r.finished && r.freed && r.stop == IoReturn::SUCCESS);
    assert_eq!(svc.phase(), Phase::Freed);
    assert!(s.terminate().finished, "a second time nothing happens");
    assert_eq!(s.set_enabled(true), Err(IoReturn::OFFLINE));
    drop((s, svc));
    assert!(h.runtime().registry.all().is_empty());
    assert!(h.finish().violations.is_empty());
}

#[test]
fn a_network_service_keeps_its_default_queue() {
    let h = host();
    let s = h.boot(NIC, personality(&[])).unwrap();
    let q = Queue::new(h.runtime(), c"mine");
    let site = crate::diag::Site::NONE;
    assert_eq!(s.entry().set_queue("", &q, site), Err(IoReturn::BAD_ARGUMENT));
    s.entry().set_queue("Rx", &q, site).unwrap();
    assert_eq!(s.entry().named_queue("Rx").unwrap().id(), q.id());
    assert_eq!(s.entry().set_queue("Default", &q, site), Err(IoReturn::NOT_PERMITTED));
    assert_eq!(h.violations()[0].kind, "wrong queue");
    s.terminate();
}
