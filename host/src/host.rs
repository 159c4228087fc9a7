//! The host: what the command line and tests drive.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::client::{CompletionSink, Policy, Server, UserClient};
use crate::diag::fault::{self, Fault, FaultPlan};
use crate::diag::ledger::{self, Leak};
use crate::diag::log::{Log, LogConfig, LogLine, LogStats};
use crate::diag::trace::Trace;
use crate::diag::{self, Collected, Site, Violation, violation};
use crate::ioreturn::IoResult;
use crate::net::iface::{Counters, Link};
use crate::pci::{Pci, PciDevice};
use crate::port::{Port, Stack, StackCounters};
use crate::prop::Properties;
use crate::rt::Runtime;
use crate::sched::{Item, Queue, Sched, lock};
use crate::service::{BootError, Report, Svc, class};

/// How queues and timers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostMode {
    /// Real dispatch queues on threads, real time.
    Threads,
    /// One thread, virtual time, a schedule chosen by `seed`: the same seed gives the same order of everything.
    Simulated {
        /// Chooses the schedule.
        seed: u64,
    },
}

/// What a host is made with.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Threads or simulated.
    pub mode: HostMode,
    /// Calls to fail, and whether to list them.
    pub faults: FaultPlan,
    /// Objects that are never freed are a violation, not a warning.
    pub strict_leaks: bool,
    /// Collect violations instead of aborting at the first one (tests).
    pub collect_violations: bool,
    /// What to do with the dext's log.
    pub log: LogConfig,
    /// Keep the trace's text (simulated mode).
    pub trace_text: bool,
    /// `IOParseBootArg*`: names and values.
    pub boot_args: Vec<(String, String)>,
}

impl HostConfig {
    /// Threads mode, nothing special.
    pub fn threads() -> Self {
        HostConfig {
            mode: HostMode::Threads,
            faults: FaultPlan::default(),
            strict_leaks: false,
            collect_violations: false,
            log: LogConfig::default(),
            trace_text: false,
            boot_args: Vec::new(),
        }
    }

    /// Simulated mode with `seed`.
    pub fn simulated(seed: u64) -> Self {
        HostConfig { mode: HostMode::Simulated { seed }, ..Self::threads() }
    }
}

/// How a host ended.
#[derive(Clone, Debug, Default)]
pub struct FinalReport {
    /// Objects that were never freed.
    pub leaks: Vec<Leak>,
    /// Violations that were collected.
    pub violations: Vec<Violation>,
}

struct Attachment {
    id: u64,
    service: Arc<Svc>,
    stack: Box<dyn Stack>,
    next_poll: Option<u64>,
}

type Attachments = Arc<Mutex<Vec<Attachment>>>;

static BUSY: Mutex<bool> = Mutex::new(false);
static FREE: Condvar = Condvar::new();

/// A process has one host at a time; the next one waits for the end of this one.
struct Only;

impl Only {
    fn take() -> Only {
        let mut busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        while *busy {
            busy = FREE.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        *busy = true;
        Only
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        *BUSY.lock().unwrap_or_else(PoisonError::into_inner) = false;
        FREE.notify_one();
    }
}

/// A running host. One at a time per process: [`Host::new`] waits for the end of another thread's.
pub struct Host {
    rt: Arc<Runtime>,
    strict_leaks: bool,
    collected: Option<Collected>,
    attachments: Attachments,
    events: Arc<Queue>,
    servers: Vec<Server>,
    next_attachment: u64,
    over: bool,
    _only: Only,
}

/// Objects a dext made are found by descriptor-hungry tests to need more than the usual 1024 files.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard);
    }
}

impl Host {
    /// Starts a host.
    pub fn new(config: HostConfig) -> Host {
        let only = Only::take();
        std::hint::black_box(crate::abi::linked());
        raise_file_limit();
        diag::forget_warnings();
        let collected = config.collect_violations.then(Collected::default);
        diag::collect_into(collected.clone());
        fault::install(config.faults);
        let (sched, traced) = match config.mode {
            HostMode::Threads => (Sched::threads(), false),
            HostMode::Simulated { seed } => (Sched::simulated(seed), true),
        };
        let trace = Trace::new(traced, traced && config.trace_text);
        let rt = Runtime::new(sched, trace, Log::new(config.log), &config.boot_args);
        Runtime::set_current(Some(rt.clone()));
        let events = Queue::new(&rt, c"host events");
        Host {
            rt,
            strict_leaks: config.strict_leaks,
            collected,
            attachments: Attachments::default(),
            events,
            servers: Vec::new(),
            next_attachment: 1,
            over: false,
            _only: only,
        }
    }

    /// The engine behind it.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.rt
    }

    /// Loads a library; its classes register themselves. Returns the names of the classes that came with it.
    ///
    /// # Errors
    /// What the dynamic linker said.
    pub fn load_dext(&self, path: &Path) -> io::Result<Vec<String>> {
        use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
        let before = class::names();
        // SAFETY: runs the library's constructors; a dext is code that the user chose to run.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(io::Error::other)?;
        // Never unloaded: objects of a crashed dext and late calls may still refer to its code.
        std::mem::forget(library);
        Ok(class::names().into_iter().filter(|n| !before.contains(n)).collect())
    }

    /// Names of all classes that can be booted.
    pub fn classes(&self) -> Vec<String> {
        class::names()
    }

    /// Makes an object of `class` with `properties` (a personality) and starts it on a new provider
    /// (`IOProviderClass`, default `IOUserResources`).
    ///
    /// # Errors
    /// See [`BootError`]; nothing of the service is left then.
    pub fn boot(&self, class: &str, properties: Properties) -> Result<Service, BootError> {
        Svc::boot(&self.rt, class, properties).map(|svc| Service { svc })
    }

    /// As [`Host::boot`], on `device` as the provider (`IOPCIDevice`).
    ///
    /// # Errors
    /// See [`BootError`].
    pub fn boot_pci(
        &self,
        class: &str,
        mut properties: Properties,
        device: Arc<dyn PciDevice>,
    ) -> Result<Service, BootError> {
        properties.insert("IOProviderClass".into(), "IOPCIDevice".into());
        if let Some(arena) = device.arena() {
            // A second one would have memory that the first cannot reach; such a buffer is refused when it is mapped.
            let _ = self.rt.arena.set(arena);
        }
        device.attach(&self.rt);
        let ready = |provider: &Arc<Svc>| {
            self.rt.iommu.attach(provider.id(), device.clone());
            let _ = provider.pci.set(Pci::new(device.clone(), provider));
        };
        Svc::boot_on(&self.rt, class, properties, ready).map(|svc| Service { svc })
    }

    /// Attaches a stack to a service's interface; a number for [`Host::detach`].
    ///
    /// # Errors
    /// The service has no interface, or what the stack said.
    pub fn attach(&mut self, service: &Service, mut stack: Box<dyn Stack>) -> io::Result<u64> {
        let port = service.port().map_err(io::Error::from)?;
        stack.attach(port.clone())?;
        let id = self.next_attachment;
        self.next_attachment += 1;
        let a = Attachment { id, service: service.svc.clone(), stack, next_poll: Some(0) };
        lock(&self.attachments).push(a);
        let (list, events, me) = (Arc::downgrade(&self.attachments), self.events.clone(), service.svc.id());
        let tell = move |up: bool| {
            let list = list.clone();
            events.push(Item::Call(Box::new(move || {
                let Some(list) = list.upgrade() else { return };
                for a in lock(&list).iter_mut().filter(|a| a.service.id() == me) {
                    a.stack.link_changed(up);
                }
            })));
        };
        if let Ok(i) = service.svc.interface() {
            if port.running() {
                tell(true);
            }
            i.set_listener(Some(Arc::new(tell)));
        }
        Ok(id)
    }

    /// Detaches a stack; what it moved. `None` for an unknown number.
    pub fn detach(&mut self, id: u64) -> Option<StackCounters> {
        let mut a = {
            let mut list = lock(&self.attachments);
            let at = list.iter().position(|a| a.id == id)?;
            list.swap_remove(at)
        };
        a.stack.detach();
        Some(a.stack.counters())
    }

    /// What an attached stack moved so far.
    pub fn attachment_counters(&self, id: u64) -> Option<StackCounters> {
        lock(&self.attachments).iter().find(|a| a.id == id).map(|a| a.stack.counters())
    }

    /// All attached stacks have sent what they will ever send by themselves.
    pub fn attachments_finished(&self) -> bool {
        lock(&self.attachments).iter().all(|a| a.stack.finished())
    }

    /// Serves user clients on a Unix socket. `policy` gives the entitlements of a peer.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn listen(&mut self, path: &Path, policy: Policy) -> io::Result<()> {
        self.servers.push(Server::listen(&self.rt, path, policy)?);
        Ok(())
    }

    /// Runtime clock, ns.
    pub fn now_ns(&self) -> u64 {
        self.rt.now_ns()
    }

    /// Simulated: polls the stacks; when the first of them wants to be polled again.
    fn poll_stacks(&self) -> Option<u64> {
        let mut next = None;
        let now = self.rt.now_ns();
        for a in lock(&self.attachments).iter_mut() {
            a.next_poll = a.stack.poll(now);
            next = match (next, a.next_poll) {
                (None, n) => n,
                (n, None) => n,
                (Some(a), Some(b)) => Some(std::cmp::min::<u64>(a, b)),
            };
        }
        next
    }

    /// Simulated: runs everything that can run without time passing. Returns when something is due next.
    pub fn run_until_idle(&self) -> Option<u64> {
        loop {
            self.rt.sched.run_until_idle();
            let stacks = self.poll_stacks();
            if self.rt.sched.run_until_idle() {
                continue;
            }
            let now = self.rt.now_ns();
            let later = stacks.filter(|t| *t > now);
            return match (later, self.rt.sched.next_timer()) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }

    /// Simulated: lets time pass until `ns` of the runtime's clock, with everything that is due before.
    pub fn advance_to(&self, ns: u64) {
        loop {
            let next = self.run_until_idle();
            match next {
                Some(t) if t <= ns => self.rt.sched.jump(t),
                _ => break,
            }
        }
        self.rt.sched.jump(ns);
        self.run_until_idle();
    }

    /// Lets `by` pass: virtual time in simulated mode, real time in threads mode.
    pub fn advance(&self, by: Duration) {
        if self.rt.sched.is_simulated() {
            self.advance_to(self.now_ns() + u64::try_from(by.as_nanos()).unwrap_or(u64::MAX / 2));
        } else {
            std::thread::sleep(by);
        }
    }

    /// Hash of everything that happened so far, and the number of events (simulated mode; else constant).
    pub fn trace_hash(&self) -> (u64, u64) {
        self.rt.trace.hash()
    }

    /// The trace's lines, if they are kept.
    pub fn trace_text(&self) -> Option<Vec<String>> {
        self.rt.trace.text()
    }

    /// Violations collected so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.collected.as_ref().map(|c| lock(c).clone()).unwrap_or_default()
    }

    /// Every fallible call seen so far and how often (needs [`FaultPlan::record`] or injection).
    pub fn fault_points(&self) -> Vec<(String, u64)> {
        fault::points()
    }

    /// Injected failures that did happen.
    pub fn fault_hits(&self) -> Vec<Fault> {
        fault::hits()
    }

    /// The newest log lines.
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.rt.log.lines()
    }

    /// How much was logged.
    pub fn log_stats(&self) -> LogStats {
        self.rt.log.stats()
    }

    /// Ends the host: detaches stacks, drops what waits, looks for leaks.
    pub fn finish(mut self) -> FinalReport {
        self.end()
    }

    fn end(&mut self) -> FinalReport {
        if std::mem::replace(&mut self.over, true) {
            return FinalReport::default();
        }
        self.servers.clear();
        let list = std::mem::take(&mut *lock(&self.attachments));
        for mut a in list {
            a.stack.detach();
        }
        // Releases that are on their way come first.
        if self.rt.sched.is_simulated() {
            self.rt.sched.run_until_idle();
        } else {
            self.events.call(|| ());
        }
        self.rt.sched.shutdown();
        self.rt.iommu.release();
        let leaks = ledger::leaks(self.rt.generation);
        for leak in &leaks {
            if self.strict_leaks {
                violation("leak", leak.to_string(), Site::NONE, leak.history.clone());
            } else {
                eprintln!("dkhost: warning: never freed: {leak}");
            }
        }
        Runtime::set_current(None);
        fault::install(FaultPlan::default());
        let violations = self.violations();
        diag::collect_into(None);
        FinalReport { leaks, violations }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}

/// A started service.
#[derive(Clone)]
pub struct Service {
    pub(crate) svc: Arc<Svc>,
}

impl Service {
    /// The engine's entry of it.
    pub fn entry(&self) -> &Arc<Svc> {
        &self.svc
    }

    /// The stack's way to its interface.
    ///
    /// # Errors
    /// `NOT_ATTACHED` if it registered none.
    pub fn port(&self) -> IoResult<Arc<dyn Port>> {
        let i: Arc<dyn Port> = self.svc.interface()?.clone();
        Ok(i)
    }

    /// Link as the driver reported it.
    ///
    /// # Errors
    /// `NOT_ATTACHED` without an interface.
    pub fn link(&self) -> IoResult<Link> {
        Ok(self.svc.interface()?.link())
    }

    /// What crossed the interface, as the kernel counts.
    ///
    /// # Errors
    /// `NOT_ATTACHED` without an interface.
    pub fn counters(&self) -> IoResult<Counters> {
        Ok(self.svc.interface()?.counters())
    }

    /// Media words that the driver offered.
    pub fn media(&self) -> Vec<u32> {
        lock(&self.svc.config).media.clone().unwrap_or_default()
    }

    /// `ifconfig up` and `down`.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn set_enabled(&self, enable: bool) -> IoResult<()> {
        self.svc.set_enabled(enable)
    }

    /// Sets the MTU in bytes without the Ethernet header.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` above the driver's maximum, what the driver returned.
    pub fn set_mtu(&self, mtu: u32) -> IoResult<()> {
        self.svc.set_mtu(mtu)
    }

    /// All frames, whoever they are for.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn set_promiscuous(&self, on: bool) -> IoResult<()> {
        self.svc.set_promiscuous(on)
    }

    /// All group addresses.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn set_all_multicast(&self, on: bool) -> IoResult<()> {
        self.svc.set_all_multicast(on)
    }

    /// Replaces the list of group addresses.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn set_multicast(&self, addresses: &[[u8; 6]]) -> IoResult<()> {
        self.svc.set_multicast(addresses.to_vec())
    }

    /// Sets the station's address.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for a group address, what the driver returned.
    pub fn set_mac(&self, mac: [u8; 6]) -> IoResult<()> {
        self.svc.set_mac(mac)
    }

    /// Chooses a media word.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn set_media(&self, media: u32) -> IoResult<()> {
        self.svc.set_media(media)
    }

    /// Turns offered hardware assists in `mask` on or off.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn set_assists(&self, assists: u32, mask: u32) -> IoResult<()> {
        self.svc.set_assists(assists, mask)
    }

    /// Wake on magic packet.
    ///
    /// # Errors
    /// `UNSUPPORTED` if the driver did not offer it, what the driver returned.
    pub fn set_wake_on_magic_packet(&self, on: bool) -> IoResult<()> {
        self.svc.set_wake_on_magic_packet(on)
    }

    /// `SIOCxDRVSPEC`.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn drvspec(&self, command: u64, data: Vec<u8>) -> IoResult<Vec<u8>> {
        self.svc.drvspec(command, data)
    }

    /// Power state flags: 0 off, 1 low, 2 on (`kIOServicePowerCapability*`).
    ///
    /// # Errors
    /// What the driver returned.
    pub fn set_power_state(&self, flags: u32) -> IoResult<()> {
        self.svc.set_power_state(flags)
    }

    /// Opens a user client of type `kind` for a process with these entitlements.
    ///
    /// # Errors
    /// What NewUserClient or the client's Start returned.
    pub fn open_user_client(
        &self,
        kind: u32,
        entitlements: Properties,
        completions: Option<CompletionSink>,
    ) -> IoResult<UserClient> {
        UserClient::open(&self.svc, kind, entitlements, completions)
    }

    /// Raises interrupt `index` of the provider.
    ///
    /// # Errors
    /// `NO_INTERRUPT`.
    pub fn raise_interrupt(&self, index: u32) -> IoResult<()> {
        let p = self.svc.provider().unwrap_or_else(|| self.svc.clone());
        p.raise_interrupt(index)
    }

    /// The PCI device that it drives.
    pub fn pci(&self) -> Option<Arc<Pci>> {
        self.svc.provider().and_then(|p| p.pci.get().cloned())
    }

    /// Stops the service and lets go of it.
    pub fn terminate(&self) -> Report {
        self.svc.terminate()
    }

    /// The dext's process dies: nothing of the service runs any more, what the kernel lent it is taken back.
    pub fn crash(&self) {
        self.svc.crash();
    }
}
