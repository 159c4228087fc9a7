//! The state of one host: everything that the C interface finds through the current-runtime pointer.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use crate::diag::log::{Log, LogLine};
use crate::diag::trace::Trace;
use crate::dma::Iommu;
use crate::pci::arena::Arena;
use crate::sched::{Queue, Sched, lock};
use crate::service::Registry;

/// One running host.
pub struct Runtime {
    /// Number of this host in the process.
    pub generation: u64,
    /// Queues and time.
    pub sched: Sched,
    /// Simulated mode's record.
    pub trace: Trace,
    /// `os_log`.
    pub log: Log,
    /// Services.
    pub registry: Registry,
    /// Addresses devices may use.
    pub iommu: Iommu,
    /// Where buffers come from while a device model in another process needs to see them.
    pub arena: OnceLock<Arc<Arena>>,
    boot_args: BTreeMap<String, CString>,
    /// Interrupt, packet, ... numbers that must be the same in every run.
    serial: AtomicU64,
    /// Units of network interfaces given away, by prefix.
    units: Mutex<BTreeMap<String, u32>>,
}

/// 2026-01-01 00:00 UTC: the wall clock of simulated runs begins here.
const SIMULATED_EPOCH_S: u64 = 1_767_225_600;

static CURRENT: RwLock<Option<Arc<Runtime>>> = RwLock::new(None);
static GENERATION: AtomicU64 = AtomicU64::new(0);

impl Runtime {
    pub(crate) fn new(sched: Sched, trace: Trace, log: Log, boot_args: &[(String, String)]) -> Arc<Runtime> {
        let args = boot_args.iter().filter_map(|(k, v)| CString::new(v.as_str()).ok().map(|v| (k.clone(), v)));
        Arc::new(Runtime {
            generation: GENERATION.fetch_add(1, Ordering::Relaxed) + 1,
            sched,
            trace,
            log,
            registry: Registry::default(),
            iommu: Iommu::default(),
            arena: OnceLock::new(),
            boot_args: args.collect(),
            serial: AtomicU64::new(0),
            units: Mutex::new(BTreeMap::new()),
        })
    }

    /// The host of this process, if one runs.
    pub fn current() -> Option<Arc<Runtime>> {
        CURRENT.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_current(rt: Option<Arc<Runtime>>) {
        let old = std::mem::replace(&mut *CURRENT.write().unwrap_or_else(PoisonError::into_inner), rt);
        drop(old);
    }

    /// Runtime clock, ns.
    pub fn now_ns(&self) -> u64 {
        self.sched.now_ns()
    }

    /// The clock as the trace wants it; not read where nothing is traced.
    pub(crate) fn trace_now(&self) -> u64 {
        if self.sched.is_simulated() { self.sched.now_ns() } else { 0 }
    }

    /// Wall clock, ns since 1970.
    pub fn wall_ns(&self) -> u64 {
        if self.sched.is_simulated() {
            return SIMULATED_EPOCH_S * 1_000_000_000 + self.now_ns();
        }
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| d.as_nanos().try_into().unwrap_or(u64::MAX))
    }

    /// Value of a boot argument.
    pub fn boot_arg(&self, name: &str) -> Option<&CStr> {
        self.boot_args.get(name).map(CString::as_c_str)
    }

    /// The next number, from 1.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A free interface unit for `prefix`; `wanted` if it is not negative and free.
    pub(crate) fn take_unit(&self, prefix: &str, wanted: i32) -> u32 {
        let mut units = lock(&self.units);
        let next = units.entry(prefix.to_owned()).or_insert(0);
        let unit = match u32::try_from(wanted) {
            Ok(w) if w >= *next => w,
            _ => *next,
        };
        *next = unit + 1;
        unit
    }

    /// Writes a line to the log.
    pub(crate) fn log_line(&self, level: u32, subsystem: &str, text: &str) {
        let line = LogLine { time_ns: self.now_ns(), level, subsystem: subsystem.to_owned(), text: text.to_owned() };
        self.trace.event(self.trace_now(), "log", level.into(), 0);
        self.log.write(line);
    }

    /// Name of the queue the caller runs on.
    pub(crate) fn queue_text() -> String {
        Queue::with_current(|q| q.map_or_else(|| "none".to_owned(), |q| q.name().to_string_lossy().into_owned()))
    }
}
