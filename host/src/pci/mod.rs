//! PCI devices: what stands behind an `IOPCIDevice`.
//!
//! A [`PciDevice`] is a device model or a real device. [`Pci`] is the kernel's side of it: who has it open, which
//! interrupts it got, and whether it is still there. The device reaches memory through prepared `IODMACommand`s only.

pub mod arena;
#[cfg(target_os = "linux")]
pub mod qemu;
#[cfg(target_os = "linux")]
pub mod sim;
#[cfg(target_os = "linux")]
pub mod spec;
#[cfg(target_os = "linux")]
pub mod vfio;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::diag::{Site, violation};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::prop::{Prop, Properties};
use crate::rt::Runtime;
use crate::sched::lock;
use crate::service::Svc;

/// Bytes of configuration space (PCI Express 3.0 section 7.2).
const CONFIG_SIZE: u64 = 4096;
/// BARs of a function (PCI 3.0 section 6.2.5).
pub const BARS: u8 = 6;
/// `DK_PCI_CONFIG`.
const CONFIG: u32 = 0xff;
/// `kIOInterruptTypePCIMessaged` and `...MessagedX`.
const MESSAGED: u32 = 0x1_0000;
const MESSAGED_X: u32 = 0x2_0000;
/// Command register: offset, and the bits memory space and bus lead (PCI 3.0 section 6.2.2).
const COMMAND: u64 = 4;
const COMMAND_MEMORY_MASTER: u32 = 6;

/// A base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Bytes.
    pub size: u64,
    /// The low bits of the register (`kPCIBARType*`).
    pub kind: u8,
}

/// Called with a vector's number when it is signalled. Any thread.
pub type Raise = Arc<dyn Fn(u32) + Send + Sync>;

/// A device. Any thread may call.
pub trait PciDevice: Send + Sync {
    /// Reads `width` bytes of configuration space.
    fn config_read(&self, offset: u64, width: u32) -> u32;
    /// Writes them.
    fn config_write(&self, offset: u64, width: u32, value: u32);
    /// A base address register, by its number.
    fn bar(&self, bar: u8) -> Option<Bar>;
    /// Reads `width` bytes of a BAR; inside it and aligned.
    fn read(&self, bar: u8, offset: u64, width: u32) -> u64;
    /// Writes them.
    fn write(&self, bar: u8, offset: u64, width: u32, value: u64);
    /// Bus, device and function: `bus << 8 | device << 3 | function`.
    fn address(&self) -> u32;
    /// MSI-X vectors that it has.
    fn vectors(&self) -> u32;
    /// Sends the first `count` vectors to `raise` from now on.
    ///
    /// # Errors
    /// `NO_INTERRUPT`, or what setting it up met.
    fn start_interrupts(&self, count: u32, raise: Raise) -> IoResult<()>;
    /// Resets the function; configuration space is as it was afterwards.
    ///
    /// # Errors
    /// `UNSUPPORTED`.
    fn reset(&self) -> IoResult<()>;
    /// Lets it reach `length` bytes of `mem` from `offset` on at `iova`; `direction` has 1 (it writes) and 2 (it reads).
    ///
    /// # Errors
    /// `NO_RESOURCES`, or that the memory is none that it can reach.
    fn map(&self, iova: u64, mem: &Arc<Mem>, offset: u64, length: u64, direction: u64) -> IoResult<()>;
    /// Takes it back; on return it does not reach there any more.
    fn unmap(&self, iova: u64, length: u64);
    /// Memory that it can reach at all, where that is a matter of where it was allocated.
    fn arena(&self) -> Option<Arc<arena::Arena>> {
        None
    }
    /// The device is in use on this runtime from now on.
    fn attach(&self, rt: &Arc<Runtime>) {
        let _ = rt;
    }
    /// Accesses outside what was mapped since the last call, in words.
    fn faults(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What happened to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PciCounters {
    /// Reads of registers and configuration space.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Interrupts.
    pub interrupts: u64,
}

/// The kernel's side of a device.
pub struct Pci {
    device: Arc<dyn PciDevice>,
    service: Weak<Svc>,
    /// Memory BARs by memory index.
    memory: Vec<u8>,
    open: Mutex<Option<u64>>,
    gone: Arc<AtomicBool>,
    saved: Mutex<Option<Vec<u32>>>,
    reads: AtomicU64,
    writes: AtomicU64,
    interrupts: Arc<AtomicU64>,
}

impl Pci {
    pub(crate) fn new(device: Arc<dyn PciDevice>, service: &Arc<Svc>) -> Arc<Pci> {
        let memory = (0..BARS).filter(|bar| device.bar(*bar).is_some_and(|b| b.kind & 1 == 0)).collect();
        Arc::new(Pci {
            device,
            service: Arc::downgrade(service),
            memory,
            open: Mutex::new(None),
            gone: Arc::default(),
            saved: Mutex::new(None),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            interrupts: Arc::default(),
        })
    }

    /// The device.
    pub fn device(&self) -> &Arc<dyn PciDevice> {
        &self.device
    }

    /// Accesses and interrupts so far.
    pub fn counters(&self) -> PciCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PciCounters { reads: read(&self.reads), writes: read(&self.writes), interrupts: read(&self.interrupts) }
    }

    /// Pulls it out: reads give all ones from now on, writes do nothing, no interrupt comes.
    pub fn unplug(&self) {
        self.gone.store(true, Ordering::SeqCst);
        // What a device that is not there cannot do either.
        let command = self.device.config_read(COMMAND, 2);
        self.device.config_write(COMMAND, 2, command & !COMMAND_MEMORY_MASTER);
    }

    /// It was pulled out.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self, client: u64) -> IoResult<()> {
        if self.is_gone() {
            return Err(IoReturn::NO_DEVICE);
        }
        let mut open = lock(&self.open);
        match *open {
            Some(other) if other != client => Err(IoReturn::EXCLUSIVE_ACCESS),
            _ => {
                *open = Some(client);
                Ok(())
            }
        }
    }

    pub(crate) fn close(&self, client: u64, crashed: bool) {
        let mut open = lock(&self.open);
        if *open != Some(client) {
            return;
        }
        *open = None;
        drop(open);
        if self.is_gone() {
            return;
        }
        let command = self.device.config_read(COMMAND, 2);
        self.device.config_write(COMMAND, 2, command & !COMMAND_MEMORY_MASTER);
        if crashed && self.device.reset().is_err() {
            crate::diag::warning("a device whose driver crashed could not be reset", Site::NONE);
        }
        self.check_faults();
    }

    /// Reports what the device did outside the memory that it was given.
    pub fn check_faults(&self) {
        for fault in self.device.faults() {
            violation("unmapped DMA access", fault, Site::NONE, Vec::new());
        }
    }

    /// The BAR of an access, or `None` after reporting what is wrong with it.
    fn check(&self, space: u32, offset: u64, width: u32, site: Site) -> Option<u8> {
        let (bar, size) = if space == CONFIG {
            (Some(0), CONFIG_SIZE)
        } else {
            let bar = self.memory.get(space as usize).copied();
            (bar, bar.and_then(|b| self.device.bar(b)).map_or(0, |b| b.size))
        };
        let what = if lock(&self.open).is_none() {
            "before Open or after Close"
        } else if bar.is_none() {
            "to a memory index that the device does not have"
        } else if offset.checked_add(width.into()).is_none_or(|end| end > size) {
            "behind the end"
        } else if !offset.is_multiple_of(width.into()) {
            "that is not aligned"
        } else {
            return bar;
        };
        let text = format!("an access of {width} bytes at 0x{offset:x} of memory index {space} {what}");
        violation("PCI access", text, site, Vec::new());
        None
    }

    pub(crate) fn read(&self, space: u32, offset: u64, width: u32, site: Site) -> u64 {
        let ones = u64::MAX >> (64 - 8 * width.clamp(1, 8));
        let Some(bar) = self.check(space, offset, width, site) else { return ones };
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.is_gone() {
            ones
        } else if space == CONFIG {
            self.device.config_read(offset, width).into()
        } else {
            self.device.read(bar, offset, width)
        }
    }

    pub(crate) fn write(&self, space: u32, offset: u64, width: u32, value: u64, site: Site) {
        let Some(bar) = self.check(space, offset, width, site) else { return };
        self.writes.fetch_add(1, Ordering::Relaxed);
        if self.is_gone() {
        } else if space == CONFIG {
            self.device.config_write(offset, width, value as u32);
        } else {
            self.device.write(bar, offset, width, value);
        }
    }

    /// Memory index, size and kind of a BAR.
    pub(crate) fn bar(&self, bar: u8) -> IoResult<(u8, Bar)> {
        let index = self.memory.iter().position(|b| *b == bar).ok_or(IoReturn::NOT_FOUND)?;
        let info = self.device.bar(bar).ok_or(IoReturn::NOT_FOUND)?;
        Ok((index as u8, info))
    }

    pub(crate) fn configure_interrupts(&self, kind: u32, required: u32, requested: u32) -> IoResult<()> {
        let have = match kind {
            MESSAGED_X => self.device.vectors(),
            MESSAGED => self.device.vectors().min(1),
            _ => return Err(IoReturn::UNSUPPORTED),
        };
        let count = requested.max(required).min(have);
        if count == 0 || count < required {
            return Err(IoReturn::NO_INTERRUPT);
        }
        let (service, gone, total) = (self.service.clone(), self.gone.clone(), self.interrupts.clone());
        let raise = move |vector: u32| {
            if let Some(service) = service.upgrade().filter(|_| !gone.load(Ordering::SeqCst)) {
                total.fetch_add(1, Ordering::Relaxed);
                // Nobody listens: as on a machine, the interrupt is lost.
                let _ = service.raise_interrupt(vector);
            }
        };
        self.device.start_interrupts(count, Arc::new(raise))?;
        if let Some(service) = self.service.upgrade() {
            let types = Prop::Array((0..count).map(|_| Prop::from(u64::from(kind))).collect());
            let count = Prop::from(u64::from(count));
            service.set_properties(Properties::from([
                ("IOInterruptCount".to_owned(), count),
                ("IOInterruptTypes".to_owned(), types),
            ]));
        }
        Ok(())
    }

    pub(crate) fn reset(&self) -> IoResult<()> {
        if self.is_gone() { Err(IoReturn::NO_DEVICE) } else { self.device.reset() }
    }

    /// Saves the header of configuration space, or puts it back.
    pub(crate) fn save(&self, restore: bool) -> IoResult<()> {
        let mut saved = lock(&self.saved);
        if !restore {
            *saved = Some((0..16).map(|i| self.device.config_read(4 * i, 4)).collect());
            return Ok(());
        }
        let words = saved.as_ref().ok_or(IoReturn::NOT_READY)?;
        // BARs first, the command register last.
        for i in (4..16).chain([3, 1]) {
            if let Some(word) = words.get(i as usize) {
                self.device.config_write(4 * i, 4, *word);
            }
        }
        Ok(())
    }
}
