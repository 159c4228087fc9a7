//! Boot, Start, Stop, termination, crash.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Phase, Svc, class};
use crate::diag::{Site, ledger, violation, warning};
use crate::ioreturn::{IoResult, IoReturn};
use crate::net::iface::Counters;
use crate::prop::{Prop, Properties};
use crate::rt::Runtime;
use crate::sched::{Item, Queue, lock};

/// How long Stop may take (real or virtual time).
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long the items that still run when a service ends may take.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// Why a service did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// No class of that name is linked or loaded.
    NoClass(String),
    /// The object could not be made.
    NoObject(String),
    /// `init` returned false.
    Init(String),
    /// Start returned an error.
    Start(String, IoReturn),
}

impl BootError {
    /// The `IOReturn` that fits.
    pub fn code(&self) -> IoReturn {
        match self {
            BootError::NoClass(_) => IoReturn::NOT_FOUND,
            BootError::NoObject(_) => IoReturn::NO_MEMORY,
            BootError::Init(_) => IoReturn::ERROR,
            BootError::Start(_, code) => *code,
        }
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::NoClass(c) => {
                write!(f, "no class {c} is linked or loaded (there are: {})", class::names().join(", "))
            }
            BootError::NoObject(c) => write!(f, "no {c} object could be made"),
            BootError::Init(c) => write!(f, "{c}::init returned false"),
            BootError::Start(c, e) => write!(f, "{c}::Start returned {e}"),
        }
    }
}

impl std::error::Error for BootError {}

/// How a service ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What Stop returned.
    pub stop: IoReturn,
    /// `super::Stop` was called in time.
    pub finished: bool,
    /// The object was freed: nobody held it any more.
    pub freed: bool,
    /// Packets that the driver never gave back.
    pub leaked_packets: usize,
    /// What crossed the interface, if there was one.
    pub counters: Counters,
}

/// Makes the provider that a personality asks for.
fn make_provider(props: &Properties) -> Option<Arc<Svc>> {
    let wanted = props.get("IOProviderClass").and_then(Prop::as_str).unwrap_or("IOUserResources");
    let class = class::find(wanted).or_else(|| class::find("IOService"))?;
    let object = class.make();
    let svc = class.service(object)?;
    svc.held.store(true, Ordering::Relaxed);
    if let Some(Prop::Dict(d)) = props.get("ProviderProperties") {
        svc.set_properties(d.clone());
    }
    Some(svc)
}

impl Svc {
    /// Makes an object of `class_name`, gives it `props`, and starts it on a new provider.
    pub(crate) fn boot(rt: &Arc<Runtime>, class_name: &str, props: Properties) -> Result<Arc<Svc>, BootError> {
        Self::boot_on(rt, class_name, props, |_| {})
    }

    /// As [`Svc::boot`]; `ready` sees the provider before Start does.
    pub(crate) fn boot_on(
        rt: &Arc<Runtime>,
        class_name: &str,
        props: Properties,
        ready: impl FnOnce(&Arc<Svc>),
    ) -> Result<Arc<Svc>, BootError> {
        let class = class::find(class_name).ok_or_else(|| BootError::NoClass(class_name.to_owned()))?;
        let provider = make_provider(&props);
        if let Some(provider) = &provider {
            ready(provider);
        }
        let object = class.make();
        let Some(svc) = class.service(object) else {
            if let Some(p) = provider {
                p.let_go();
            }
            return Err(BootError::NoObject(class_name.to_owned()));
        };
        svc.held.store(true, Ordering::Relaxed);
        svc.set_properties(props);
        let started = svc.init_and_start(provider.clone());
        if let Err(e) = started {
            svc.wind_up("the end of a failed Start");
            rt.wait_until(STOP_LIMIT, || svc.phase() == Phase::Freed);
            return Err(e);
        }
        Ok(svc)
    }

    /// init, then Start on the Default queue.
    pub(crate) fn init_and_start(self: &Arc<Self>, provider: Option<Arc<Svc>>) -> Result<(), BootError> {
        let name = self.class().to_string_lossy().into_owned();
        let ops = self.ops();
        self.set_provider(provider.clone());
        let gone = |e: IoReturn| BootError::Start(name.clone(), e);
        let init = self.call(move |_, object| ops.init.is_none_or(|f| f(object))).map_err(gone)?;
        if !init {
            return Err(BootError::Init(name));
        }
        self.set_phase(Phase::Starting);
        let up = provider.map_or(0, |p| p.object() as usize);
        let start = move |svc: &Arc<Svc>, object| {
            let r = ops.start.map_or(IoReturn::UNSUPPORTED.0, |f| f(object, up as *mut _));
            if r == 0 && svc.phase() <= Phase::SuperStarted {
                svc.set_phase(Phase::Started);
            }
            IoReturn(r)
        };
        match self.call(start).map_err(gone)?.ok() {
            Ok(()) => Ok(()),
            Err(e) => Err(BootError::Start(name, e)),
        }
    }

    /// `IOService::Create` from a property: makes, initialises and starts what the dictionary describes. One reference
    /// for the caller.
    ///
    /// # Errors
    /// `NOT_FOUND` without such a property or class, `NO_MEMORY`, what Start returned.
    pub(crate) fn create_from_property(self: &Arc<Self>, name: &str) -> IoResult<*mut std::ffi::c_void> {
        let Some(Prop::Dict(props)) = self.property(name) else { return Err(IoReturn::NOT_FOUND) };
        let class = props.get("IOUserClass").or_else(|| props.get("IOClass")).and_then(Prop::as_str);
        let class = class.and_then(class::find).ok_or(IoReturn::NOT_FOUND)?;
        let svc = class.service(class.make()).ok_or(IoReturn::NO_MEMORY)?;
        svc.set_properties(props.clone());
        let peer = lock(&self.peer).clone();
        *lock(&svc.peer) = peer;
        match svc.init_and_start(Some(self.clone())) {
            Ok(()) => {
                // One reference is the caller's, one stays with the engine until the service is terminated.
                class.retain(svc.object());
                svc.held.store(true, Ordering::Release);
                Ok(svc.object())
            }
            Err(e) => {
                svc.set_provider(None);
                svc.release_later();
                svc.barrier();
                Err(e.code())
            }
        }
    }

    /// `IOService::Start` of the base class.
    ///
    /// # Errors
    /// `NOT_PERMITTED` if it is not inside Start.
    pub fn super_start(&self) -> IoResult<()> {
        match self.phase() {
            Phase::Starting => {
                self.set_phase(Phase::SuperStarted);
                Ok(())
            }
            _ => Err(IoReturn::NOT_PERMITTED),
        }
    }

    /// `IOService::Stop` of the base class: the driver has quiesced.
    pub fn super_stop(&self) {
        let class = self.class().to_string_lossy();
        match self.phase() {
            Phase::Stopped | Phase::Freed => {
                violation("use after Stop", format!("super::Stop of {class} called twice"), Site::NONE, Vec::new());
            }
            _ => {
                if let Some(i) = self.iface.get() {
                    i.close();
                }
                self.set_phase(Phase::Stopped);
            }
        }
    }

    /// `IOService::SetPowerState` of the base class.
    pub fn super_set_power_state(&self, flags: u32) {
        lock(&self.state).power = flags;
    }

    /// `RegisterService`.
    ///
    /// # Errors
    /// `NOT_READY` before `super::Start`.
    pub fn register(&self) -> IoResult<()> {
        let mut s = lock(&self.state);
        if s.phase < Phase::SuperStarted {
            return Err(IoReturn::NOT_READY);
        }
        s.registered = true;
        Ok(())
    }

    /// Clients of this service.
    pub(crate) fn clients(self: &Arc<Self>) -> Vec<Arc<Svc>> {
        let me = Arc::as_ptr(self);
        let mine = |s: &Arc<Svc>| s.provider().is_some_and(|p| std::ptr::eq(Arc::as_ptr(&p), me));
        self.rt().registry.all().into_iter().filter(mine).collect()
    }

    /// Calls Stop and waits for `super::Stop`.
    fn stop_and_wait(self: &Arc<Self>) -> (IoReturn, bool) {
        if self.phase() >= Phase::Stopping {
            return (IoReturn::SUCCESS, self.phase() >= Phase::Stopped);
        }
        self.set_phase(Phase::Stopping);
        let ops = self.ops();
        let up = self.provider().map_or(0, |p| p.object() as usize);
        let returned = Arc::new(Mutex::new(None));
        let (me, slot) = (self.clone(), returned.clone());
        self.queue().push(Item::Call(Box::new(move || {
            let object = me.object();
            let code = if object.is_null() { 0 } else { ops.stop.map_or(0, |f| f(object, up as *mut _)) };
            *lock(&slot) = Some(IoReturn(code));
        })));
        let done = || self.phase() >= Phase::Stopped && lock(&returned).is_some();
        let done = self.rt().wait_until(STOP_LIMIT, done);
        let code = *lock(&returned);
        if !done {
            let (class, limit) = (self.class().to_string_lossy(), STOP_LIMIT.as_secs());
            let text = match code {
                Some(c) => format!("Stop of {class} returned {c} but super::Stop was not called within {limit} s"),
                None => format!("Stop of {class} did not return within {limit} s"),
            };
            violation("Stop did not finish", text, Site::NONE, Vec::new());
        }
        (code.unwrap_or(IoReturn::TIMEOUT), done)
    }

    /// After Stop: waits for what is queued, lets go of the object and of the provider.
    fn wind_up(self: &Arc<Self>, when: &str) -> usize {
        if let Some(i) = self.iface.get() {
            i.close();
        }
        self.barrier();
        let leaked = self.iface.get().map_or(0, |i| i.report_leaks(when));
        let provider = self.provider();
        self.let_go();
        self.barrier();
        // A provider that the engine made has no life of its own.
        if let Some(p) = provider.filter(|p| p.phase() == Phase::New) {
            p.let_go();
            // Now, or the end of the host could come first.
            p.barrier();
        }
        leaked
    }

    /// Stops the service's clients, then the service, and lets go of it.
    pub(crate) fn terminate(self: &Arc<Self>) -> Report {
        if self.ending.swap(true, Ordering::AcqRel) {
            let finished = self.rt().wait_until(STOP_LIMIT, || self.phase() >= Phase::Stopped);
            let freed = self.phase() == Phase::Freed;
            let counters = self.iface.get().map(|i| i.counters()).unwrap_or_default();
            return Report { stop: IoReturn::SUCCESS, finished, freed, leaked_packets: 0, counters };
        }
        if let Some(i) = self.iface.get() {
            i.begin_disable();
        }
        for c in self.clients() {
            c.terminate();
        }
        let (stop, finished) = self.stop_and_wait();
        if !finished {
            // The driver still runs, so that nothing of it can be freed: its process is killed.
            self.kill();
            let counters = self.iface.get().map(|i| i.counters()).unwrap_or_default();
            return Report { stop, finished, freed: false, leaked_packets: 0, counters };
        }
        let leaked_packets = self.wind_up("the end of Stop");
        let freed = self.rt().wait_until(Duration::from_millis(500), || self.phase() == Phase::Freed);
        let counters = self.iface.get().map(|i| i.counters()).unwrap_or_default();
        if let Some(i) = self.iface.get() {
            i.set_listener(None);
        }
        if !freed {
            let class = self.class().to_string_lossy().into_owned();
            warning(&format!("{class} is still held after Stop"), Site::NONE);
        }
        Report { stop, finished, freed, leaked_packets, counters }
    }

    /// `Terminate` called by the driver: the same, later.
    pub(crate) fn terminate_later(self: &Arc<Self>) {
        let me = self.clone();
        let later = Queue::new(self.rt(), c"terminate");
        later.push(Item::Call(Box::new(move || {
            me.terminate();
        })));
    }

    /// The dext is gone without a word: nothing of it runs any more, its packets and memory are taken back.
    pub(crate) fn crash(self: &Arc<Self>) {
        if self.ending.swap(true, Ordering::AcqRel) {
            return;
        }
        self.kill();
    }

    /// Waits until everything that is on the service's queues now has run.
    pub(crate) fn barrier(self: &Arc<Self>) {
        self.settle(&self.all_queues());
    }

    /// Every queue that may run something of the service, each once.
    fn all_queues(&self) -> Vec<Arc<Queue>> {
        let mut all = self.rt().sched.queues_of(self.id());
        all.extend(lock(&self.queues).values().cloned());
        all.extend(self.iface.get().iter().flat_map(|i| i.dispatch_queues()).cloned());
        all.sort_by_key(|q| q.id());
        all.dedup_by_key(|q| q.id());
        all
    }

    fn settle(&self, queues: &[Arc<Queue>]) {
        let left = Arc::new(AtomicUsize::new(queues.len()));
        for q in queues {
            let (left, rt) = (left.clone(), self.rt().clone());
            q.push(Item::Call(Box::new(move || {
                left.fetch_sub(1, Ordering::AcqRel);
                rt.registry.touch();
            })));
        }
        // A service that waits from one of its own queues would wait for itself.
        let mine = queues.iter().filter(|q| q.on_queue()).count();
        if !self.rt().wait_until(SETTLE_LIMIT, || left.load(Ordering::Acquire) <= mine) {
            let class = self.class().to_string_lossy().into_owned();
            warning(&format!("a dispatch queue of {class} hangs or is suspended and is left behind"), Site::NONE);
        }
    }

    fn kill(self: &Arc<Self>) {
        for c in self.clients() {
            c.crash();
        }
        let queues = self.all_queues();
        if let Some(i) = self.iface.get() {
            i.close();
        }
        // Queues that it only shares (a client's with its provider) go on for the others.
        for q in self.rt().sched.queues_of(self.id()) {
            q.cancel(None);
        }
        // The running items end before anything is taken away.
        self.settle(&queues);
        if let Some(i) = self.iface.get() {
            i.reclaim();
            i.set_listener(None);
        }
        ledger::abandon(self.rt().generation, self.id(), self.object());
        self.set_phase(Phase::Stopped);
        lock(&self.rt().registry.services).remove(&self.id());
        // The nub outlives the dext's process and goes with nobody left on it.
        if let Some(p) = self.provider().filter(|p| p.phase() == Phase::New) {
            p.let_go();
        }
    }
}
