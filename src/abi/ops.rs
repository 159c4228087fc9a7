//! The glue's operation tables as the core's [`Host`].

use core::ffi::c_void;

use super::sys;
use crate::driver::{Host, LogLevel};

/// What the glue promised in `weir_create`: functions and contexts that stay valid until `weir_destroy` returns.
pub struct Glue {
    now_ns: unsafe extern "C" fn(*mut c_void) -> u64,
    clock: Context,
    log: sys::weir_log_ops,
    event: sys::weir_event_ops,
}

struct Context(*mut c_void);

// SAFETY: the header says that these functions may be called from any thread; the contexts are only handed back.
unsafe impl Send for Glue {}
// SAFETY: as above.
unsafe impl Sync for Glue {}

impl Glue {
    /// `None` if the table lacks the clock, the one function that nothing works without.
    pub fn new(ops: &sys::weir_ops) -> Option<Self> {
        Some(Self { now_ns: ops.clock.now_ns?, clock: Context(ops.clock.ctx), log: ops.log, event: ops.event })
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
}
