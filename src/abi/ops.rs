//! The glue's operation tables as the core's [`Host`].

use alloc::sync::Arc;
use core::ffi::c_void;

use super::sys;
use crate::driver::{Bus, Host, LogLevel};
use crate::mem::region::{Dma, RawRegion};
use crate::nic::Registers;

/// What the glue promised in `weir_create`: functions and contexts that stay valid until `weir_destroy` returns.
pub struct Glue {
    now_ns: unsafe extern "C" fn(*mut c_void) -> u64,
    clock: Context,
    log: sys::weir_log_ops,
    event: sys::weir_event_ops,
    dma: sys::weir_dma_ops,
    reg: Option<Registry>,
    usb: sys::weir_usb_ops,
}

/// `weir_reg_ops`, complete.
struct Registry {
    ctx: *mut c_void,
    read8: unsafe extern "C" fn(*mut c_void, u32, u64) -> u8,
    read16: unsafe extern "C" fn(*mut c_void, u32, u64) -> u16,
    read32: unsafe extern "C" fn(*mut c_void, u32, u64) -> u32,
    write8: unsafe extern "C" fn(*mut c_void, u32, u64, u8),
    write16: unsafe extern "C" fn(*mut c_void, u32, u64, u16),
    write32: unsafe extern "C" fn(*mut c_void, u32, u64, u32),
    config_read32: unsafe extern "C" fn(*mut c_void, u64) -> u32,
    config_write32: unsafe extern "C" fn(*mut c_void, u64, u32),
}

impl Registry {
    /// `None` unless the table has all functions.
    fn new(ops: &sys::weir_reg_ops) -> Option<Self> {
        Some(Self {
            ctx: ops.ctx,
            read8: ops.read8?,
            read16: ops.read16?,
            read32: ops.read32?,
            write8: ops.write8?,
            write16: ops.write16?,
            write32: ops.write32?,
            config_read32: ops.config_read32?,
            config_write32: ops.config_write32?,
        })
    }
}

struct Context(*mut c_void);

// SAFETY: the header says that these functions may be called from any thread; the contexts are only handed back.
unsafe impl Send for Glue {}
// SAFETY: as above.
unsafe impl Sync for Glue {}

impl Glue {
    /// `None` if the table lacks the clock, the one function that nothing works without.
    pub fn new(ops: &sys::weir_ops) -> Option<Self> {
        Some(Self {
            now_ns: ops.clock.now_ns?,
            clock: Context(ops.clock.ctx),
            log: ops.log,
            event: ops.event,
            dma: ops.dma,
            reg: Registry::new(&ops.reg),
            usb: ops.usb,
        })
    }

    /// What the glue has for a device.
    pub fn bus(self: &Arc<Self>) -> Bus {
        let plain = Bus::default();
        let has_dma = self.dma.alloc.is_some() && self.dma.free.is_some();
        Bus {
            dma: if has_dma { self.clone() } else { plain.dma },
            registers: self.reg.is_some().then(|| self.clone() as Arc<dyn Registers>),
            usb: super::usb::bus(&self.usb),
        }
    }
}

impl Host for Glue {
    fn now_ns(&self) -> u64 {
        // SAFETY: the glue's function with the glue's context (see the type).
        unsafe { (self.now_ns)(self.clock.0) }
    }

    fn log(&self, level: LogLevel, text: &str) {
        if let Some(write) = self.log.write {
            // SAFETY: as above; `text` is valid for its length during the call.
            unsafe { write(self.log.ctx, level as u32, text.as_ptr().cast(), text.len()) };
        }
    }

    fn wake(&self, queue: u32) {
        if let Some(wake) = self.event.wake {
            // SAFETY: as above.
            unsafe { wake(self.event.ctx, queue) };
        }
    }

    fn link_changed(&self) {
        if let Some(link_changed) = self.event.link_changed {
            // SAFETY: as above.
            unsafe { link_changed(self.event.ctx) };
        }
    }

    fn wire_notify(&self, queue: u32) {
        if let Some(wire_notify) = self.event.wire_notify {
            // SAFETY: as above.
            unsafe { wire_notify(self.event.ctx, queue) };
        }
    }

    fn tap_notify(&self, taps: u32) {
        if let Some(tap_notify) = self.event.tap_notify {
            // SAFETY: as above.
            unsafe { tap_notify(self.event.ctx, taps) };
        }
    }

    fn attention(&self) {
        if let Some(attention) = self.event.attention {
            // SAFETY: as above.
            unsafe { attention(self.event.ctx) };
        }
    }
}

// SAFETY: the header's contract: `alloc` returns zeroed memory of its own, of that length and alignment; `free` ends it.
unsafe impl Dma for Glue {
    fn alloc(&self, len: u64, align: u64) -> Option<RawRegion> {
        let mut region = sys::weir_region { base: core::ptr::null_mut(), iova: 0, len: 0, handle: 0 };
        // SAFETY: the glue's function with the glue's context (see the type); `region` is a place for the result.
        let status = unsafe { (self.dma.alloc?)(self.dma.ctx, len, align, &raw mut region) };
        let sys::weir_region { base, iova, len, handle } = region;
        (status == sys::WEIR_OK).then_some(RawRegion { base, iova, len, handle })
    }

    fn free(&self, region: &RawRegion) {
        let RawRegion { base, iova, len, handle } = *region;
        if let Some(free) = self.dma.free {
            // SAFETY: as above; the region came from `alloc`.
            unsafe { free(self.dma.ctx, &sys::weir_region { base, iova, len, handle }) };
        }
    }
}

macro_rules! register {
    ($($name:ident($($arg:ident: $kind:ty),*) $(-> $value:ty, $gone:expr)?;)*) => {
        impl Registers for Glue {
            $(fn $name(&self, $($arg: $kind),*) $(-> $value)? {
                match &self.reg {
                    // SAFETY: the glue's function with the glue's context (see the type).
                    Some(reg) => unsafe { (reg.$name)(reg.ctx, $($arg),*) },
                    None => { $($gone)? }
                }
            })*
        }
    };
}

register! {
    read8(bar: u32, offset: u64) -> u8, u8::MAX;
    read16(bar: u32, offset: u64) -> u16, u16::MAX;
    read32(bar: u32, offset: u64) -> u32, u32::MAX;
    write8(bar: u32, offset: u64, value: u8);
    write16(bar: u32, offset: u64, value: u16);
    write32(bar: u32, offset: u64, value: u32);
    config_read32(offset: u64) -> u32, u32::MAX;
    config_write32(offset: u64, value: u32);
}
