//! A user client in the same process.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::{AsyncCall, Call, CompletionSink, INLINE_MAX, Peer, RawExtArgs, Reply, SCALARS_MAX, STRUCT_MAX};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::{Map, Mem};
use crate::prop::Properties;
use crate::sched::lock;
use crate::service::{Phase, Svc};

/// `kIOUserClientMemoryReadOnly`.
const MEMORY_READ_ONLY: u64 = 1;
/// `kIOMemoryMapReadOnly`.
const MAP_READ_ONLY: u64 = 0x1000;

/// A connection to a service. Dropping it closes it.
pub struct UserClient {
    client: Arc<Svc>,
    peer: Arc<Peer>,
    memory: Mutex<BTreeMap<u64, (Arc<Mem>, bool)>>,
    closed: bool,
}

impl UserClient {
    /// `IOServiceOpen`: asks `service` for a user client of type `kind`.
    ///
    /// # Errors
    /// What NewUserClient or the client's Start returned.
    pub(crate) fn open(
        service: &Arc<Svc>,
        kind: u32,
        entitlements: Properties,
        sink: Option<CompletionSink>,
    ) -> IoResult<UserClient> {
        if service.phase() < Phase::Started || service.phase() >= Phase::Stopping {
            return Err(IoReturn::NOT_READY);
        }
        let ops = service.ops();
        let class = service.class_ref().ok_or(IoReturn::UNSUPPORTED)?;
        let peer = Peer::new(entitlements, sink);
        let behind = peer.clone();
        let client = service.call(move |svc, object| {
            let new_user_client = ops.new_user_client.ok_or(IoReturn::UNSUPPORTED)?;
            *lock(&svc.peer) = Some(behind);
            let mut client: *mut c_void = std::ptr::null_mut();
            let r = new_user_client(object, kind, &mut client);
            *lock(&svc.peer) = None;
            IoReturn(r).ok()?;
            class.service(client).ok_or(IoReturn::NO_MEMORY)
        })??;
        // NewUserClient handed a reference over; the engine keeps one, and may have one already.
        if client.held.swap(true, Ordering::AcqRel) {
            client.release_later();
        }
        lock(&client.peer).get_or_insert_with(|| peer.clone());
        if client.provider().is_none() {
            client.set_provider(Some(service.clone()));
        }
        Ok(UserClient { client, peer, memory: Mutex::new(BTreeMap::new()), closed: false })
    }

    /// `IOConnectCallMethod` and its asynchronous form.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` or `MESSAGE_TOO_LARGE` for what exceeds the limits, `NOT_OPEN` after close. What the driver
    /// returned is in [`Reply::status`].
    pub fn call(&self, call: Call) -> IoResult<Reply> {
        if call.scalars.len() > SCALARS_MAX || call.scalars_out as usize > SCALARS_MAX {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        if call.input.as_ref().is_some_and(|i| i.len() > STRUCT_MAX) || call.output_max > STRUCT_MAX as u64 {
            return Err(IoReturn::MESSAGE_TOO_LARGE);
        }
        let method = self.client.ops().external_method.ok_or(IoReturn::UNSUPPORTED)?;
        let peer = self.peer.clone();
        let run = move |_: &Arc<Svc>, object: *mut c_void| external_method(method, object, &call, &peer);
        match self.client.call(run) {
            Ok(r) => r,
            Err(_) => Err(IoReturn::NOT_OPEN),
        }
    }

    /// `CopyClientMemoryForType`: the descriptor (the same one each time) and whether it is read-only.
    ///
    /// # Errors
    /// What the driver returned.
    pub(crate) fn memory(&self, kind: u64) -> IoResult<(Arc<Mem>, bool)> {
        if let Some(m) = lock(&self.memory).get(&kind) {
            return Ok(m.clone());
        }
        let copy = self.client.ops().copy_client_memory.ok_or(IoReturn::UNSUPPORTED)?;
        let mem = self.client.call(move |_, object| {
            let mut options = 0u64;
            let mut mem: *const Mem = std::ptr::null();
            IoReturn(copy(object, kind, &mut options, &mut mem)).ok()?;
            if mem.is_null() {
                return Err(IoReturn::NO_MEMORY);
            }
            // SAFETY: the up-call hands over one reference of a dk_mem (Arc::into_raw).
            Ok((unsafe { Arc::from_raw(mem) }, options & MEMORY_READ_ONLY != 0))
        })??;
        Ok(lock(&self.memory).entry(kind).or_insert(mem).clone())
    }

    /// `IOConnectMapMemory`: maps the driver's memory of type `kind`.
    ///
    /// # Errors
    /// What the driver or the mapping returned.
    pub fn map_memory(&self, kind: u64) -> IoResult<Map> {
        let (mem, read_only) = self.memory(kind)?;
        Map::new(&mem, if read_only { MAP_READ_ONLY } else { 0 }, 0, 0, 0, 0)
    }

    /// Offers memory to the driver; the address by which calls name it.
    ///
    /// # Errors
    /// `NO_RESOURCES` after too many.
    pub fn offer_memory(&self, mem: &Arc<Mem>) -> IoResult<u64> {
        self.peer.offer(mem.clone())
    }

    /// Closes the connection: the client service is stopped.
    pub fn close(mut self) {
        self.shut(false);
    }

    fn shut(&mut self, crashed: bool) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.peer.detach();
        if let Some(provider) = self.client.provider().filter(|_| crashed)
            && let Some(f) = provider.ops().client_crashed
        {
            let client = self.client.object() as usize;
            let _ = provider.call(move |_, object| f(object, client as *mut c_void, 0));
        }
        lock(&self.memory).clear();
        self.client.terminate();
    }

    /// The process behind the client is gone.
    pub(crate) fn crashed(mut self) {
        self.shut(true);
    }
}

impl Drop for UserClient {
    fn drop(&mut self) {
        self.shut(false);
    }
}

type Method = extern "C" fn(*mut c_void, *mut RawExtArgs) -> i32;

fn external_method(method: Method, object: *mut c_void, call: &Call, peer: &Arc<Peer>) -> IoResult<Reply> {
    let mut scalars = [0u64; SCALARS_MAX];
    let mut output = Vec::new();
    let big_in = match &call.input {
        Some(i) if i.len() > INLINE_MAX => {
            let m = Mem::buffer(1, i.len() as u64, 0)?;
            m.write(0, i)?;
            Some(m)
        }
        _ => None,
    };
    let big_out = match call.output_max {
        n if n > INLINE_MAX as u64 => Some(Mem::buffer(2, n, 0)?),
        _ => None,
    };
    let completion = (call.async_reference != 0)
        .then(|| Arc::new(AsyncCall { peer: peer.clone(), reference: call.async_reference }));
    let inline = call.input.as_ref().filter(|_| big_in.is_none());
    let mut args = RawExtArgs {
        selector: call.selector,
        scalar_in: call.scalars.as_ptr(),
        scalar_in_count: call.scalars.len() as u32,
        scalar_out_count: call.scalars_out,
        scalar_out: scalars.as_mut_ptr(),
        struct_in: inline.map_or(std::ptr::null(), |i| i.as_ptr().cast()),
        struct_in_len: call.input.as_ref().map_or(0, |i| i.len() as u64),
        struct_in_mem: big_in.as_ref().map_or(std::ptr::null(), Arc::as_ptr),
        struct_out_mem: big_out.as_ref().map_or(std::ptr::null(), Arc::as_ptr),
        struct_out_max: call.output_max,
        has_struct_in: call.input.is_some(),
        reserved: [0; 7],
        async_call: completion.as_ref().map_or(std::ptr::null(), Arc::as_ptr),
        reply: &mut output,
    };
    let status = IoReturn(method(object, &mut args));
    let count = args.scalar_out_count.min(call.scalars_out) as usize;
    if let (Some(m), IoReturn::SUCCESS) = (&big_out, status)
        && output.is_empty()
    {
        // The driver wrote into the descriptor; its length says how much.
        output.resize(usize::try_from(m.length().min(call.output_max)).unwrap_or(0), 0);
        m.read(0, &mut output)?;
    }
    Ok(Reply { status, scalars: scalars.get(..count).unwrap_or_default().to_vec(), output })
}
