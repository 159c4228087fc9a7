//! Drivers that are not ours on the providers that the runtime has: a USB device by single transfers, in the way of small
//! drivers, on a model that answers ARP and ping.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Recorder, SEED, fixture, try_send};
use weir_host::usb::sim::{Model, SimDevice};
use weir_host::{Host, HostConfig, Properties};

/// An ARP request for the model's far station (RFC 826).
fn who_has(from: [u8; 6]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(from);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(from);
    frame.extend([192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2]);
    frame
}

#[test]
fn a_usb_driver_with_single_transfers() {
    let host = Host::new(HostConfig { collect_violations: true, ..HostConfig::simulated(SEED) });
    host.load_dext(&fixture("ecm")).expect("the driver loads");
    let device = SimDevice::new(Model::Ecm, 0);
    let service = host.boot_usb("EcmNic", Properties::new(), device.clone(), Some(0)).expect("it boots");
    let port = service.port().expect("an interface is registered");
    let recorder = Arc::new(Recorder::default());
    port.set_sink(Some(recorder.clone()));
    service.set_enabled(true).expect("the interface comes up");
    host.advance(Duration::from_millis(10));
    assert_eq!(port.info().mac, device.mac(), "the address in the string descriptor");
    for round in 0..50 {
        assert!(try_send(&port, &who_has(device.mac())), "round {round}");
        host.advance(Duration::from_millis(5));
        let got = recorder.take();
        assert_eq!(got.len(), 1, "round {round}: an answer");
        assert_eq!(got[0].get(..6), Some(&device.mac()[..]));
    }
    service.set_enabled(false).expect("the interface goes down");
    port.set_sink(None);
    drop(port);
    let stopped = service.terminate();
    assert!(stopped.finished && stopped.leaked_packets == 0, "{stopped:?}");
    host.run_until_idle();
    drop(service);
    let report = host.finish();
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert!(report.leaks.is_empty(), "{:#?}", report.leaks);
}

#[test]
fn a_driver_on_the_wrong_provider_says_so_and_leaves_nothing() {
    let host = Host::new(HostConfig { collect_violations: true, ..HostConfig::simulated(SEED) });
    host.load_dext(&fixture("ecm")).expect("the driver loads");
    for (model, interface) in [(Model::Ecm, None), (Model::Ecm, Some(1)), (Model::Rndis, Some(0))] {
        let device = SimDevice::new(model, 0);
        assert!(host.boot_usb("EcmNic", Properties::new(), device, interface).is_err(), "{model} {interface:?}");
    }
    let report = host.finish();
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert!(report.leaks.is_empty(), "{:#?}", report.leaks);
}
