//! `IOUserNetworkEthernet`.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::{array, array_mut, borrow, bytes};
use crate::diag::Site;
use crate::ioreturn::{IoResult, IoReturn};
use crate::net::iface::{NetConfig, Registration};
use crate::net::netq::NetQ;
use crate::net::packet::Packet;
use crate::net::pool::Pool;
use crate::sched::lock;
use crate::service::Svc;

/// `dk_net_register`.
#[repr(C)]
struct RawRegister {
    lower: bool,
    has_mac: bool,
    mac: [u8; 6],
    tx_pool: *const Pool,
    rx_pool: *const Pool,
    queues: *const *const NetQ,
    count: u32,
}

/// Most queues of one interface.
const QUEUES_MAX: u32 = 64;
/// Most media words.
const MEDIA_MAX: u32 = 256;

pub(super) fn anchor() -> usize {
    dk_net_register_interface as *const () as usize
}

fn svc(s: *const Svc) -> IoResult<std::mem::ManuallyDrop<Arc<Svc>>> {
    borrow(s).ok_or(IoReturn::BAD_ARGUMENT)
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_register_interface(s: *const Svc, args: *const RawRegister, site: Site) -> i32 {
    let register = || {
        let s = svc(s)?;
        // SAFETY: a valid structure during the call (dk_runtime.h), or null.
        let a = unsafe { args.as_ref() }.ok_or(IoReturn::BAD_ARGUMENT)?;
        if a.count > QUEUES_MAX {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        let queue = |q: &*const NetQ| borrow(*q).map(|q| Arc::clone(&q)).ok_or(IoReturn::BAD_ARGUMENT);
        let pool = |p: *const Pool| borrow(p).map(|p| Arc::clone(&p)).ok_or(IoReturn::BAD_ARGUMENT);
        let r = Registration {
            lower: a.lower,
            mac: a.has_mac.then_some(a.mac),
            tx_pool: pool(a.tx_pool)?,
            rx_pool: pool(a.rx_pool)?,
            queues: array(a.queues, a.count).iter().map(queue).collect::<IoResult<Vec<_>>>()?,
        };
        s.register_interface(r, site)
    };
    IoReturn::of(register())
}

/// Changes what may only be set before registration.
fn before(s: *const Svc, f: impl FnOnce(&mut NetConfig)) -> i32 {
    let set = || {
        let s = svc(s)?;
        if s.iface.get().is_some() {
            return Err(IoReturn::NOT_PERMITTED);
        }
        f(&mut lock(&s.config));
        Ok(())
    };
    IoReturn::of(set())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_set_tx_headroom(s: *const Svc, n: u32) -> i32 {
    before(s, |c| c.tx_headroom = n)
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_set_tx_tailroom(s: *const Svc, n: u32) -> i32 {
    before(s, |c| c.tx_tailroom = n)
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_set_wake_on_magic_packet_support(s: *const Svc, on: bool) -> i32 {
    before(s, |c| c.wake_on_magic_packet = on)
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_set_software_vlan_support(s: *const Svc, on: bool) -> i32 {
    before(s, |c| c.software_vlan = on)
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_report_media(s: *const Svc, media: *const u32, n: u32) -> i32 {
    let report = || {
        let s = svc(s)?;
        if n == 0 || n > MEDIA_MAX || media.is_null() {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        if !s.check_network("ReportAvailableMediaTypes", false, Site::NONE) {
            return Err(IoReturn::OFFLINE);
        }
        lock(&s.config).media = Some(array(media, n).to_vec());
        Ok(())
    };
    IoReturn::of(report())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_report_link(s: *const Svc, status: u32, media: u32, site: Site) -> i32 {
    let report = || {
        let s = svc(s)?;
        if !s.check_network("reportLinkStatus", false, site) {
            return Err(IoReturn::OFFLINE);
        }
        match s.iface.get() {
            Some(i) => i.report_link(status, media),
            None => return Err(IoReturn::NOT_READY),
        }
        Ok(())
    };
    IoReturn::of(report())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_report_quality(s: *const Svc, quality: i32) -> i32 {
    let report = || {
        svc(s)?.iface.get().ok_or(IoReturn::NOT_READY)?.update_link(|l| l.quality = quality);
        Ok(())
    };
    IoReturn::of(report())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_report_bandwidths(s: *const Svc, max_in: u64, max_out: u64, eff_in: u64, eff_out: u64) -> i32 {
    let or = |eff: u64, max: u64| if eff == 0 { max } else { eff };
    let report = || {
        let values = [max_in, max_out, or(eff_in, max_in), or(eff_out, max_out)];
        svc(s)?.iface.get().ok_or(IoReturn::NOT_READY)?.update_link(|l| l.bandwidth = values);
        Ok(())
    };
    IoReturn::of(report())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_report_nic_proxy_limits(s: *const Svc, limits: *const c_void, len: usize) -> i32 {
    let report = || {
        lock(&svc(s)?.config).nic_proxy_limits = bytes(limits, len.min(4096)).to_vec();
        Ok(())
    };
    IoReturn::of(report())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_bpf_attach(s: *const Svc, dlt: u32, header_len: u32) -> i32 {
    let attach = || {
        lock(&svc(s)?.config).dlts.push((dlt, header_len));
        Ok(())
    };
    IoReturn::of(attach())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_bpf_tap(
    s: *const Svc,
    input: bool,
    dlt: u32,
    _packet: *const Packet,
    _header: *const c_void,
    _header_len: usize,
) {
    if let Ok(s) = svc(s)
        && let Some(i) = s.iface.get()
    {
        i.count_tap(input, dlt);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_bsd_name(s: *const Svc) -> *const c_char {
    borrow(s).map_or(c"".as_ptr(), |s| s.bsd_name().as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_registered(s: *const Svc) -> bool {
    borrow(s).is_some_and(|s| s.iface.get().is_some())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_add_hardware_counts(s: *const Svc, counts: *const u64) -> i32 {
    let add = || {
        let s = svc(s)?;
        let mut all = [0u64; 11];
        for (to, from) in all.iter_mut().zip(array(counts, 11)) {
            *to = *from;
        }
        s.iface.get().ok_or(IoReturn::NOT_READY)?.add_counts(&all);
        Ok(())
    };
    IoReturn::of(add())
}

#[unsafe(no_mangle)]
extern "C" fn dk_net_statistics(s: *const Svc, counts: *mut u64) {
    let mut all = [0u64; 11];
    if let Some(s) = borrow(s)
        && let Some(i) = s.iface.get()
    {
        i.raw_counters(&mut all);
    }
    for (to, from) in array_mut(counts, 11).iter_mut().zip(all) {
        *to = from;
    }
}
