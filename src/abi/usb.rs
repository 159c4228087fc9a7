//! USB: the glue's device as the core's [`Bus`], and what the glue reports of it.

use alloc::sync::Arc;

use super::{driver, sys};
use crate::driver::Error;
use crate::mem::region::RawRegion;
use crate::mem::transfer::{Pipes, SLOTS_MAX, TransferError};
use crate::nic::usb::{Bus, Kind, Ops, Plan, Setup, probe};

/// What the glue promised in `weir_create`, all functions present.
struct Glue(sys::weir_usb_ops);

// SAFETY: the header says which functions may run at the same time as others, and on any thread; the context is only
// handed back.
unsafe impl Send for Glue {}
// SAFETY: as above.
unsafe impl Sync for Glue {}

/// The device, if the table is that of one.
pub(super) fn bus(ops: &sys::weir_usb_ops) -> Option<Bus> {
    let complete = ops.alloc_ring.is_some()
        && ops.free_ring.is_some()
        && ops.submit.is_some()
        && ops.abort.is_some()
        && ops.clear_stall.is_some()
        && ops.set_alternate.is_some()
        && ops.control.is_some()
        && ops.delay_ms.is_some();
    let glue = complete.then(|| Arc::new(Glue(*ops)))?;
    Some(Bus { pipes: glue.clone(), ops: glue })
}

fn error(status: sys::weir_status) -> TransferError {
    match status {
        sys::WEIR_E_STALL => TransferError::Stall,
        sys::WEIR_E_ABORTED => TransferError::Aborted,
        sys::WEIR_E_TIMEOUT => TransferError::Timeout,
        sys::WEIR_E_NODEV => TransferError::Gone,
        _ => TransferError::Failed,
    }
}

fn done(status: sys::weir_status) -> Result<(), TransferError> {
    if status == sys::WEIR_OK { Ok(()) } else { Err(error(status)) }
}

// SAFETY: the header demands of alloc_ring what the trait does: buffers of `len` bytes, aligned to 8, which belong to
// the core except while a transfer runs in them.
unsafe impl Pipes for Glue {
    fn alloc(&self, pipe: u32, len: u32, out: &mut [RawRegion]) -> bool {
        let (Some(alloc_ring), Ok(slots)) = (self.0.alloc_ring, u32::try_from(out.len())) else { return false };
        if out.len() > SLOTS_MAX {
            return false;
        }
        let mut regions = [sys::weir_region { base: core::ptr::null_mut(), iova: 0, len: 0, handle: 0 }; SLOTS_MAX];
        // SAFETY: the glue's function with its context; the array has room for `slots`.
        let status = unsafe { alloc_ring(self.0.ctx, pipe, slots, len, regions.as_mut_ptr()) };
        for (to, from) in out.iter_mut().zip(regions) {
            *to = RawRegion { base: from.base, iova: from.iova, len: from.len, handle: from.handle };
        }
        status == sys::WEIR_OK
    }

    fn free(&self, pipe: u32) {
        if let Some(free_ring) = self.0.free_ring {
            // SAFETY: as above.
            unsafe { free_ring(self.0.ctx, pipe) };
        }
    }

    fn submit(&self, pipe: u32, first: u32, lengths: &[u32]) -> (usize, Option<TransferError>) {
        let (Some(submit), Ok(count)) = (self.0.submit, u32::try_from(lengths.len())) else {
            return (0, Some(TransferError::Failed));
        };
        let mut accepted = 0;
        // SAFETY: as above; `lengths` has `count` elements.
        let status = unsafe { submit(self.0.ctx, pipe, first, lengths.as_ptr(), count, &raw mut accepted) };
        (accepted as usize, done(status).err())
    }
}

impl Ops for Glue {
    fn abort(&self, pipe: u32) -> Result<(), TransferError> {
        // SAFETY: the glue's function with its context, here and below; `bus` saw to it that all are there.
        self.0.abort.map_or(Ok(()), |f| done(unsafe { f(self.0.ctx, pipe) }))
    }

    fn clear_stall(&self, pipe: u32) -> Result<(), TransferError> {
        // SAFETY: as above.
        self.0.clear_stall.map_or(Ok(()), |f| done(unsafe { f(self.0.ctx, pipe) }))
    }

    fn set_alternate(&self, alternate: u8) -> Result<(), TransferError> {
        // SAFETY: as above.
        self.0.set_alternate.map_or(Ok(()), |f| done(unsafe { f(self.0.ctx, alternate.into()) }))
    }

    fn control(&self, setup: Setup, data: &mut [u8]) -> Result<usize, TransferError> {
        let (Some(control), Ok(len)) = (self.0.control, u16::try_from(data.len())) else {
            return Err(TransferError::Failed);
        };
        let Setup { kind, request, value, index } = setup;
        let mut transferred = 0;
        // SAFETY: as above; `data` has `len` bytes, to be read or written as the request's direction says.
        let status =
            unsafe { control(self.0.ctx, kind, request, value, index, data.as_mut_ptr(), len, &raw mut transferred) };
        done(status).map(|()| usize::from(transferred).min(data.len()))
    }

    fn delay_ms(&self, ms: u32) {
        if let Some(delay_ms) = self.0.delay_ms {
            // SAFETY: as above.
            unsafe { delay_ms(self.0.ctx, ms) };
        }
    }
}

/// The glue's plan; it came from [`weir_usb_probe`], perhaps with wishes added.
pub(super) fn plan(raw: &sys::weir_usb_plan) -> Result<Plan, Error> {
    Ok(Plan {
        kind: match raw.nic {
            sys::WEIR_NIC_USB_NCM => Kind::Ncm,
            sys::WEIR_NIC_USB_ECM => Kind::Ecm,
            sys::WEIR_NIC_USB_RNDIS => Kind::Rndis,
            _ => return Err(Error::Invalid),
        },
        configuration: raw.configuration,
        control_interface: raw.control_interface,
        data_interface: raw.data_interface,
        data_alternate: raw.data_alternate,
        idle_alternate: raw.idle_alternate,
        endpoint_in: raw.endpoint_in,
        endpoint_out: raw.endpoint_out,
        endpoint_notify: raw.endpoint_notify,
        mac_string: raw.mac_string,
        ncm_capabilities: raw.ncm_capabilities,
        packet_in: raw.packet_in,
        packet_out: raw.packet_out,
        packet_notify: raw.packet_notify,
        max_segment: raw.max_segment,
        multicast_filters: raw.multicast_filters,
        crc: raw.flags & sys::WEIR_USB_CRC != 0,
        ntb16: raw.flags & sys::WEIR_USB_NTB16 != 0,
    })
}

fn raw_plan(plan: &Plan) -> sys::weir_usb_plan {
    sys::weir_usb_plan {
        nic: match plan.kind {
            Kind::Ncm => sys::WEIR_NIC_USB_NCM,
            Kind::Ecm => sys::WEIR_NIC_USB_ECM,
            Kind::Rndis => sys::WEIR_NIC_USB_RNDIS,
        },
        configuration: plan.configuration,
        control_interface: plan.control_interface,
        data_interface: plan.data_interface,
        data_alternate: plan.data_alternate,
        idle_alternate: plan.idle_alternate,
        endpoint_in: plan.endpoint_in,
        endpoint_out: plan.endpoint_out,
        endpoint_notify: plan.endpoint_notify,
        mac_string: plan.mac_string,
        ncm_capabilities: plan.ncm_capabilities,
        packet_in: plan.packet_in,
        packet_out: plan.packet_out,
        packet_notify: plan.packet_notify,
        max_segment: plan.max_segment,
        multicast_filters: plan.multicast_filters,
        flags: 0,
    }
}

/// Finds a network function in a configuration descriptor and all that follows it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_usb_probe(
    descriptor: *const u8,
    len: usize,
    interface: u32,
    out: *mut sys::weir_usb_plan,
) -> sys::weir_status {
    const ANY: u32 = 255;
    let Ok(number) = u8::try_from(interface) else {
        return sys::WEIR_E_INVAL;
    };
    if descriptor.is_null() || len > usize::from(u16::MAX) || out.is_null() || !out.is_aligned() {
        return sys::WEIR_E_INVAL;
    }
    // SAFETY: the caller passes `len` readable bytes.
    let bytes = unsafe { core::slice::from_raw_parts(descriptor, len) };
    match probe(bytes, (interface != ANY).then_some(number)) {
        Some(plan) => {
            // SAFETY: `out` is the caller's place for it.
            unsafe { out.write(raw_plan(&plan)) };
            sys::WEIR_OK
        }
        None => sys::WEIR_E_UNSUPPORTED,
    }
}

/// Transfers of a pipe ended, in the slots from `first` on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_usb_complete(
    core: *mut sys::weir_core,
    pipe: u32,
    first: u32,
    actual: *const u32,
    status: *const sys::weir_status,
    count: u32,
) {
    let Some(driver) = driver(core) else { return };
    let arrays = !actual.is_null() && actual.is_aligned() && !status.is_null() && status.is_aligned();
    if !arrays || count as usize > SLOTS_MAX || first as usize >= SLOTS_MAX {
        return driver.count_misuse();
    }
    // SAFETY: the caller passes `count` elements in each.
    let (actual, status) = unsafe {
        (core::slice::from_raw_parts(actual, count as usize), core::slice::from_raw_parts(status, count as usize))
    };
    let results = actual.iter().zip(status).map(|(bytes, status)| done(*status).map(|()| *bytes));
    driver.usb_complete(pipe, first as usize, results);
}
