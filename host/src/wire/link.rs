//! A [`WireLink`] over the driver's user client (`dext/weir_client.h`), as a client program on a Mac would have it.

use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Notify, WireLink};
use crate::client::{Call, Completion, UserClient};
use crate::host::Service;
use crate::ioreturn::IoResult;
use crate::mem::Map;
use crate::prop::Properties;
use crate::rt::Runtime;

/// `WEIR_CLIENT_WIRE`.
const CLIENT_WIRE: u32 = 1;
/// `WEIR_SELECTOR_OPEN_WIRE`.
const OPEN_WIRE: u64 = 1;
/// `WEIR_SELECTOR_KICK_WIRE`.
const KICK_WIRE: u64 = 2;
/// `WEIR_SELECTOR_NOTIFY`.
const NOTIFY: u64 = 3;
/// `WEIR_NOTIFY_WIRE`.
const NOTIFY_WIRE: u64 = 1;
/// `WEIR_CLIENT_MEMORY_WIRE`.
const MEMORY_WIRE: u64 = 0;

type Listener = Arc<RwLock<Option<Notify>>>;

/// The opened wire of one NIC.
pub struct ClientLink {
    // The mapping goes before the client that it came through.
    map: Map,
    client: UserClient,
    listener: Listener,
    runtime: Arc<Runtime>,
}

impl ClientLink {
    /// Opens the wire of `service`, maps its rings and asks for notifications.
    ///
    /// # Errors
    /// Another client holds the wire, the NIC's far end is not a client, or the entitlement is missing.
    pub fn open(service: &Service, entitlements: Properties) -> io::Result<Arc<Self>> {
        let listener = Listener::default();
        let told = Arc::clone(&listener);
        let sink = move |completion: Completion| {
            if completion.values.first() == Some(&NOTIFY_WIRE)
                && let Some(notify) = &*told.read().unwrap_or_else(PoisonError::into_inner)
            {
                notify();
            }
        };
        let client = service.open_user_client(CLIENT_WIRE, entitlements, Some(Arc::new(sink)))?;
        call(&client, Call { selector: OPEN_WIRE, scalars_out: 2, ..Call::default() })?;
        let map = client.map_memory(MEMORY_WIRE)?;
        call(&client, Call { selector: NOTIFY, scalars: vec![NOTIFY_WIRE], async_reference: 1, ..Call::default() })?;
        let runtime = Runtime::current().ok_or_else(|| io::Error::other("no host is running"))?;
        Ok(Arc::new(Self { map, client, listener, runtime }))
    }
}

fn call(client: &UserClient, call: Call) -> IoResult<Vec<u64>> {
    let reply = client.call(call)?;
    reply.status.ok()?;
    Ok(reply.scalars)
}

// SAFETY: the map is owned by the link and never moves or shrinks while it lives; the dext and the pumps touch the
// rings through `weir_core::mem::wire_ring`, which accesses shared memory atomically only.
unsafe impl WireLink for ClientLink {
    fn memory(&self) -> NonNull<[u8]> {
        let base = self.map.address() as usize as *mut u8;
        let length = usize::try_from(self.map.length()).unwrap_or(0);
        NonNull::slice_from_raw_parts(NonNull::new(base).unwrap_or(NonNull::dangling()), length)
    }

    fn kick(&self) {
        // A NIC that is going away takes no kicks; nobody waits for one then.
        let _ = self.client.call(Call { selector: KICK_WIRE, ..Call::default() });
    }

    fn set_notify(&self, notify: Option<Notify>) {
        *self.listener.write().unwrap_or_else(PoisonError::into_inner) = notify;
    }

    fn now_ns(&self) -> u64 {
        self.runtime.now_ns()
    }
}
