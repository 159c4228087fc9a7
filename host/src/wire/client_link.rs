//! The wire through the dext's own user client (`dext/weir_client.h`), opened in this process.

use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Notify, WireLink};
use crate::client::{Call, CompletionSink, UserClient};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Map;
use crate::prop::{Prop, Properties};

/// `WEIR_CLIENT_WIRE`: what [`UserClient`] has to be opened as.
pub const WEIR_CLIENT_WIRE: u32 = 1;
/// `WEIR_CLIENT_ENTITLEMENT`.
const ENTITLEMENT: &str = "dev.weir.control";
const SELECTOR_OPEN_WIRE: u64 = 1;
const SELECTOR_KICK_WIRE: u64 = 2;
const SELECTOR_NOTIFY: u64 = 3;
/// `WEIR_CLIENT_MEMORY_WIRE`.
const MEMORY_WIRE: u64 = 0;
/// `WEIR_NOTIFY_WIRE`.
const NOTIFY_WIRE: u64 = 1;

type Slot = Arc<RwLock<Option<Notify>>>;

/// An opened wire.
pub struct ClientLink {
    notify: Slot,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    // Before the client: the driver takes its end of the memory back when the client closes.
    map: Map,
    client: UserClient,
}

fn failed(what: &str, code: IoReturn) -> io::Error {
    io::Error::other(format!("wire: {what}: {code}"))
}

impl ClientLink {
    /// Opens the wire. `open` is given what `IOServiceOpen` needs for a client of type [`WEIR_CLIENT_WIRE`]:
    /// entitlements and where completions go. `clock` is the runtime's, in nanoseconds.
    ///
    /// # Errors
    /// What the driver returned, and for which call.
    pub fn open(
        open: impl FnOnce(Properties, CompletionSink) -> IoResult<UserClient>,
        clock: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> io::Result<Arc<Self>> {
        let notify = Slot::default();
        let slot = Arc::clone(&notify);
        let sink: CompletionSink = Arc::new(move |completion| {
            if completion.status == IoReturn::SUCCESS
                && completion.values.first() == Some(&NOTIFY_WIRE)
                && let Some(notify) = &*slot.read().unwrap_or_else(PoisonError::into_inner)
            {
                notify();
            }
        });
        let entitlements = Properties::from([(ENTITLEMENT.to_owned(), Prop::Bool(true))]);
        let client = open(entitlements, sink).map_err(|e| failed("open the user client", e))?;
        let call = |what: &str, call: Call| {
            let reply = client.call(call).and_then(|reply| reply.status.ok());
            reply.map_err(|e| failed(what, e))
        };
        call("WEIR_SELECTOR_OPEN_WIRE", Call { selector: SELECTOR_OPEN_WIRE, scalars_out: 2, ..Call::default() })?;
        let map = client.map_memory(MEMORY_WIRE).map_err(|e| failed("map the rings", e))?;
        let register =
            Call { selector: SELECTOR_NOTIFY, scalars: vec![NOTIFY_WIRE], async_reference: 1, ..Call::default() };
        call("WEIR_SELECTOR_NOTIFY", register)?;
        Ok(Arc::new(Self { notify, clock, map, client }))
    }
}

// SAFETY: `map` keeps the memory mapped at its place until the link is dropped, and nobody else knows the mapping; the
// driver has one of its own, on which it works atomically.
unsafe impl WireLink for ClientLink {
    fn memory(&self) -> NonNull<[u8]> {
        let base = NonNull::new(self.map.address() as *mut u8).unwrap_or(NonNull::dangling());
        NonNull::slice_from_raw_parts(base, self.map.length() as usize)
    }

    fn kick(&self) {
        // Fails only when the driver is gone; its rings are dead then, which the pump sees.
        let _ = self.client.call(Call { selector: SELECTOR_KICK_WIRE, ..Call::default() });
    }

    fn set_notify(&self, notify: Option<Notify>) {
        *self.notify.write().unwrap_or_else(PoisonError::into_inner) = notify;
    }

    fn now_ns(&self) -> u64 {
        (self.clock)()
    }
}
