//! Services: the registry, their queues and properties, and where they are in their life.

pub mod class;
mod life;
mod net;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

pub use life::{BootError, Report};

use crate::client::Peer;
use crate::diag::{Site, violation};
use crate::ioreturn::{IoResult, IoReturn};
use crate::net::iface::{Iface, NetConfig};
use crate::net::ops::{NetOps, ServiceOps};
use crate::pci::Pci;
use crate::prop::{Prop, Properties};
use crate::rt::Runtime;
use crate::sched::{Item, Queue, lock};
use crate::source::Source;
use class::ClassRef;

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Made.
    New,
    /// Inside Start, before `super::Start`.
    Starting,
    /// `super::Start` was called.
    SuperStarted,
    /// Start returned success.
    Started,
    /// Told to stop.
    Stopping,
    /// `super::Stop` was called.
    Stopped,
    /// The object is gone.
    Freed,
}

struct State {
    phase: Phase,
    registered: bool,
    provider: Option<Arc<Svc>>,
    power: u32,
    name: String,
}

/// A service.
pub struct Svc {
    rt: Arc<Runtime>,
    id: u64,
    class: CString,
    class_ref: Option<ClassRef>,
    object: AtomicPtr<c_void>,
    queue: Arc<Queue>,
    queues: Mutex<BTreeMap<String, Arc<Queue>>>,
    props: Mutex<Properties>,
    state: Mutex<State>,
    interrupts: Mutex<Vec<(u32, Weak<Source>)>>,
    pub(crate) config: Mutex<NetConfig>,
    pub(crate) iface: OnceLock<Arc<Iface>>,
    /// The device behind an `IOPCIDevice`.
    pub(crate) pci: OnceLock<Arc<Pci>>,
    /// The device or interface behind an `IOUSBHostDevice` or `IOUSBHostInterface`.
    pub(crate) usb: OnceLock<Arc<crate::usb::Node>>,
    bsd_name: OnceLock<CString>,
    /// Who is behind a user client; for its provider, while NewUserClient runs, who will be.
    pub(crate) peer: Mutex<Option<Arc<Peer>>>,
    /// The engine holds a reference to the object, to be released at the end.
    pub(crate) held: AtomicBool,
    /// Somebody terminates it, or did.
    ending: AtomicBool,
}

/// All services of a host.
#[derive(Default)]
pub struct Registry {
    services: Mutex<BTreeMap<u64, Weak<Svc>>>,
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Registry {
    /// Services that are alive, oldest first.
    pub fn all(&self) -> Vec<Arc<Svc>> {
        lock(&self.services).values().filter_map(Weak::upgrade).collect()
    }

    /// The first registered service for which `f` holds.
    pub fn find(&self, f: impl Fn(&Svc) -> bool) -> Option<Arc<Svc>> {
        self.all().into_iter().find(|s| lock(&s.state).registered && f(s))
    }

    fn touch(&self) {
        *lock(&self.changes) += 1;
        self.changed.notify_all();
    }
}

impl Runtime {
    /// Waits until `done` holds, at most `limit`; simulated time passes as far as needed. Looked at after each change
    /// of a service.
    pub(crate) fn wait_until(&self, limit: Duration, done: impl Fn() -> bool) -> bool {
        let ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        if self.sched.is_simulated() {
            let end = self.now_ns().saturating_add(ns);
            loop {
                if done() {
                    return true;
                }
                if self.sched.run_until_idle() {
                    continue;
                }
                match self.sched.next_timer() {
                    Some(t) if t <= end => self.sched.jump(t),
                    _ => return done(),
                }
            }
        }
        let end = Instant::now() + limit;
        let wait = || {
            let mut changes = lock(&self.registry.changes);
            loop {
                drop(changes);
                if done() {
                    return true;
                }
                changes = lock(&self.registry.changes);
                let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
                // A change between the look and the lock is seen at the latest after this.
                let left = left.min(Duration::from_millis(20));
                changes = self.registry.changed.wait_timeout(changes, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        self.sched.blocking(wait)
    }
}

impl Svc {
    /// The registry entry of a new object.
    pub fn new(rt: &Arc<Runtime>, object: *mut c_void, class: &CStr) -> Arc<Svc> {
        let id = rt.next_serial();
        let mut queue_name = class.to_bytes().to_vec();
        queue_name.extend_from_slice(b".Default");
        let queue = Queue::new(rt, &CString::new(queue_name).unwrap_or_default());
        queue.set_owner(id);
        let svc = Arc::new(Svc {
            rt: rt.clone(),
            id,
            class: class.to_owned(),
            class_ref: class::find(&class.to_string_lossy()),
            object: AtomicPtr::new(object),
            queue,
            queues: Mutex::new(BTreeMap::new()),
            props: Mutex::new(Properties::new()),
            state: Mutex::new(State {
                phase: Phase::New,
                registered: false,
                provider: None,
                power: 0,
                name: class.to_string_lossy().into_owned(),
            }),
            interrupts: Mutex::new(Vec::new()),
            config: Mutex::new(NetConfig::default()),
            iface: OnceLock::new(),
            pci: OnceLock::new(),
            usb: OnceLock::new(),
            bsd_name: OnceLock::new(),
            peer: Mutex::new(None),
            held: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        lock(&rt.registry.services).insert(id, Arc::downgrade(&svc));
        svc
    }

    /// Its host.
    pub fn rt(&self) -> &Arc<Runtime> {
        &self.rt
    }

    /// Registry entry id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Class name.
    pub fn class(&self) -> &CStr {
        &self.class
    }

    /// The C++ object; null once freed.
    pub fn object(&self) -> *mut c_void {
        self.object.load(Ordering::Acquire)
    }

    pub(crate) fn class_ref(&self) -> Option<ClassRef> {
        self.class_ref
    }

    pub(crate) fn ops(&self) -> ServiceOps {
        self.class_ref.map(|c| c.service_ops()).unwrap_or_default()
    }

    pub(crate) fn net_ops(&self) -> Option<NetOps> {
        self.class_ref.and_then(|c| c.net_ops())
    }

    /// The Default queue.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Where it is in its life.
    pub fn phase(&self) -> Phase {
        lock(&self.state).phase
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        lock(&self.state).phase = phase;
        self.rt.trace.event(self.rt.trace_now(), "phase", self.id, phase as u64);
        self.rt.registry.touch();
    }

    /// The provider.
    pub fn provider(&self) -> Option<Arc<Svc>> {
        lock(&self.state).provider.clone()
    }

    pub(crate) fn set_provider(&self, p: Option<Arc<Svc>>) {
        let old = std::mem::replace(&mut lock(&self.state).provider, p);
        drop(old);
    }

    /// Power state flags that the driver acknowledged last.
    pub fn power(&self) -> u32 {
        lock(&self.state).power
    }

    pub(crate) fn set_name(&self, name: &str) {
        lock(&self.state).name = name.to_owned();
    }

    /// `SetName`'s, or the class name.
    pub fn name(&self) -> String {
        lock(&self.state).name.clone()
    }

    /// A copy of the properties.
    pub fn properties(&self) -> Properties {
        lock(&self.props).clone()
    }

    /// One property.
    pub fn property(&self, key: &str) -> Option<Prop> {
        lock(&self.props).get(key).cloned()
    }

    /// Replaces or adds properties.
    pub fn set_properties(&self, with: Properties) {
        lock(&self.props).extend(with);
    }

    /// The queue called `name`; "Default" always exists.
    pub fn named_queue(&self, name: &str) -> Option<Arc<Queue>> {
        if name == "Default" {
            return Some(self.queue.clone());
        }
        lock(&self.queues).get(name).cloned()
    }

    /// `SetDispatchQueue`.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for an empty name; "Default" on a network interface is a violation and `NOT_PERMITTED`.
    pub fn set_queue(&self, name: &str, queue: &Arc<Queue>, site: Site) -> IoResult<()> {
        if name.is_empty() {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        if name == "Default" {
            let class = self.class.to_string_lossy();
            let text =
                format!("SetDispatchQueue(\"Default\") on {class}: Stop of an IOUserNetworkEthernet would crash");
            violation("wrong queue", text, site, Vec::new());
            return Err(IoReturn::NOT_PERMITTED);
        }
        let old = lock(&self.queues).insert(name.to_owned(), queue.clone());
        drop(old);
        if queue.owner() == 0 {
            queue.set_owner(self.id);
        }
        Ok(())
    }

    /// How many interrupts a provider has: property `IOInterruptCount`, else 1.
    pub fn interrupt_count(&self) -> u32 {
        let n = self.property("IOInterruptCount").and_then(|p| p.as_u64()).unwrap_or(1);
        n.min(2048) as u32
    }

    /// `kIOInterruptType*` bits of an interrupt: property `IOInterruptTypes`, else edge (0).
    ///
    /// # Errors
    /// `NO_INTERRUPT`.
    pub fn interrupt_type(&self, index: u32) -> IoResult<u64> {
        if index >= self.interrupt_count() {
            return Err(IoReturn::NO_INTERRUPT);
        }
        let kind = match self.property("IOInterruptTypes") {
            Some(Prop::Array(a)) => a.get(index as usize).and_then(Prop::as_u64),
            _ => None,
        };
        Ok(kind.unwrap_or(0))
    }

    pub(crate) fn add_interrupt(&self, index: u32, source: &Arc<Source>) {
        lock(&self.interrupts).push((index, Arc::downgrade(source)));
    }

    pub(crate) fn remove_interrupt(&self, index: u32, source: &Arc<Source>) {
        let gone = Arc::as_ptr(source);
        lock(&self.interrupts).retain(|(i, s)| !(*i == index && std::ptr::eq(s.as_ptr(), gone)));
    }

    /// Raises interrupt `index`.
    ///
    /// # Errors
    /// `NO_INTERRUPT`.
    pub fn raise_interrupt(&self, index: u32) -> IoResult<()> {
        if index >= self.interrupt_count() {
            return Err(IoReturn::NO_INTERRUPT);
        }
        let sources: Vec<Arc<Source>> =
            lock(&self.interrupts).iter().filter(|(i, _)| *i == index).filter_map(|(_, s)| s.upgrade()).collect();
        for s in sources {
            s.raise();
        }
        Ok(())
    }

    /// Runs `f` with the object on the Default queue and waits.
    ///
    /// # Errors
    /// `OFFLINE` if the object is gone, `ABORTED` if the queue did not run it.
    pub(crate) fn call<R: Send + 'static>(
        self: &Arc<Self>,
        f: impl FnOnce(&Arc<Svc>, *mut c_void) -> R + Send + 'static,
    ) -> IoResult<R> {
        let me = self.clone();
        let run = move || {
            let object = me.object();
            if object.is_null() { None } else { Some(f(&me, object)) }
        };
        self.queue.call(run).ok_or(IoReturn::ABORTED)?.ok_or(IoReturn::OFFLINE)
    }

    /// A method that is only right between registration and Stop was called; false (reported) otherwise.
    pub(crate) fn check_network(&self, what: &str, registered: bool, site: Site) -> bool {
        let class = self.class.to_string_lossy();
        if self.phase() >= Phase::Stopped {
            violation("use after Stop", format!("{what} of {class} after super::Stop"), site, Vec::new());
            return false;
        }
        if registered && self.iface.get().is_none() {
            let text = format!("{what} of {class} before its interface is registered");
            violation("method before registration", text, site, Vec::new());
            return false;
        }
        true
    }

    pub(crate) fn bsd_name(&self) -> &CStr {
        self.bsd_name.get().map_or(c"", CString::as_c_str)
    }

    /// The object's destructor ran.
    pub(crate) fn freed(&self) {
        self.object.store(std::ptr::null_mut(), Ordering::Release);
        lock(&self.rt.registry.services).remove(&self.id);
        let (queues, provider) = {
            let mut s = lock(&self.state);
            s.phase = Phase::Freed;
            (std::mem::take(&mut *lock(&self.queues)), s.provider.take())
        };
        drop(queues);
        drop(provider);
        self.rt.registry.touch();
    }

    /// True if every entry of `matching` fits: `IOUserClass` and `IOClass` name the class or a superclass, `IOPropertyMatch`
    /// and other keys are compared with the properties.
    pub(crate) fn matches(&self, matching: &Properties) -> bool {
        let props = self.properties();
        matching.iter().all(|(key, want)| match (key.as_str(), want) {
            ("IOUserClass" | "IOClass" | "IOProviderClass", Prop::String(name)) => self.is_a(name),
            ("IOPropertyMatch", Prop::Dict(d)) => d.iter().all(|(k, v)| props.get(k) == Some(v)),
            (_, v) => props.get(key) == Some(v),
        })
    }

    /// The class is `name` or derives from it.
    fn is_a(&self, name: &str) -> bool {
        let mut class = self.class.to_string_lossy().into_owned();
        // Chains are short; a circle in a broken library's tables must not hang us.
        for _ in 0..32 {
            if class == name {
                return true;
            }
            match class::find(&class) {
                Some(c) => class = c.super_name(),
                None => return false,
            }
        }
        false
    }

    /// Posts the release of the engine's reference, if it has one, behind everything that is queued now.
    pub(crate) fn let_go(self: &Arc<Self>) {
        if self.held.swap(false, Ordering::AcqRel) {
            self.release_later();
        }
    }

    /// Posts the release of one reference behind everything that is queued now.
    pub(crate) fn release_later(self: &Arc<Self>) {
        let me = self.clone();
        self.queue.push(Item::Call(Box::new(move || {
            if let (Some(class), object) = (me.class_ref, me.object())
                && !object.is_null()
            {
                class.release(object);
            }
        })));
    }
}
