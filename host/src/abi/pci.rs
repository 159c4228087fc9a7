//! PCI devices (`cpp/dk_pci.h`).

use std::ffi::c_void;
use std::sync::Arc;

use super::{borrow, put};
use crate::diag::Site;
use crate::ioreturn::{IoResult, IoReturn};
use crate::pci::Pci;
use crate::service::Svc;

pub(super) fn anchor() -> usize {
    dk_pci_open as *const () as usize
}

fn pci(s: *const Svc) -> IoResult<Arc<Pci>> {
    borrow(s).and_then(|s| s.pci.get().cloned()).ok_or(IoReturn::NO_DEVICE)
}

fn id(s: *const Svc) -> u64 {
    borrow(s).map_or(0, |s| s.id())
}

#[unsafe(no_mangle)]
extern "C" fn dk_pci_open(device: *const Svc, client: *const Svc) -> i32 {
    IoReturn::of(pci(device).and_then(|p| p.open(id(client))))
}

#[unsafe(no_mangle)]
extern "C" fn dk_pci_close(device: *const Svc, client: *const Svc, crashed: bool) {
    if let Ok(p) = pci(device) {
        p.close(id(client), crashed);
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_pci_read(device: *const Svc, space: u32, offset: u64, width: u32, site: *const c_void) -> u64 {
    pci(device).map_or(u64::MAX, |p| p.read(space, offset, width, Site(site)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_pci_write(device: *const Svc, space: u32, offset: u64, width: u32, value: u64, site: *const c_void) {
    if let Ok(p) = pci(device) {
        p.write(space, offset, width, value, Site(site));
    }
}

#[unsafe(no_mangle)]
extern "C" fn dk_pci_address(device: *const Svc, bdf: *mut u32) -> i32 {
    IoReturn::of(pci(device).map(|p| put(bdf, p.device().address())))
}

#[unsafe(no_mangle)]
extern "C" fn dk_pci_bar(device: *const Svc, bar: u8, index: *mut u8, size: *mut u64, kind: *mut u8) -> i32 {
    IoReturn::of(pci(device).and_then(|p| p.bar(bar)).map(|(i, b)| {
        put(index, i);
        put(size, b.size);
        put(kind, b.kind);
    }))
}

#[unsafe(no_mangle)]
extern "C" fn dk_pci_interrupts(device: *const Svc, kind: u32, required: u32, requested: u32) -> i32 {
    IoReturn::of(pci(device).and_then(|p| p.configure_interrupts(kind, required, requested)))
}

#[unsafe(no_mangle)]
extern "C" fn dk_pci_reset(device: *const Svc, _kind: u32) -> i32 {
    IoReturn::of(pci(device).and_then(|p| p.reset()))
}

#[unsafe(no_mangle)]
extern "C" fn dk_pci_save(device: *const Svc, restore: bool) -> i32 {
    IoReturn::of(pci(device).and_then(|p| p.save(restore)))
}
