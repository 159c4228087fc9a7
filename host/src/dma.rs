//! `IODMACommand` and the table of addresses a device may use (what an IOMMU holds on a Mac).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::diag::{Site, violation};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::{Mem, PAGE};
use crate::pci::PciDevice;
use crate::rt::Runtime;
use crate::sched::lock;

/// First address given out: far from 0 and from CPU addresses, so that mixing them up is caught.
const FIRST_IOVA: u64 = 0x1_0000_0000;
/// First address for devices with less than 33 address bits.
const FIRST_IOVA_32: u64 = 0x1000_0000;

/// Direction bits of `kIOMemoryDirection*`: In = the device writes, Out = the device reads.
const DEVICE_WRITES: u64 = 1;
const DEVICE_READS: u64 = 2;

struct Entry {
    /// Bytes from the IOVA on.
    length: u64,
    /// What is there: the engine's addresses, in order.
    segments: Vec<(usize, u64)>,
    direction: u64,
    /// The descriptor, kept alive.
    _mem: Arc<Mem>,
}

/// IOVA tables of all devices, by the service's entry id.
#[derive(Default)]
pub struct Iommu {
    devices: Mutex<BTreeMap<u64, BTreeMap<u64, Entry>>>,
    /// Devices that keep a table of their own.
    hardware: Mutex<BTreeMap<u64, Arc<dyn PciDevice>>>,
    next: AtomicU64,
    next_32: AtomicU64,
}

impl Iommu {
    /// Enters a range; its IOVA, with the byte offset in the page of the first segment kept.
    fn map(&self, device: u64, mem: &Arc<Mem>, offset: u64, length: u64, direction: u64, bits: u64) -> IoResult<u64> {
        let segments: Vec<(usize, u64)> =
            mem.segments(offset, length)?.into_iter().map(|(p, n)| (p as usize, n)).collect();
        let lead = segments.first().map_or(0, |(p, _)| *p as u64 % PAGE);
        // One page between ranges is never mapped.
        let span = (lead + length).div_ceil(PAGE) * PAGE + PAGE;
        let (next, first, limit) = if bits <= 32 {
            (&self.next_32, FIRST_IOVA_32, 1u64 << bits)
        } else {
            (&self.next, FIRST_IOVA, 1u64.checked_shl(bits as u32).unwrap_or(u64::MAX))
        };
        let at = first + next.fetch_add(span, Ordering::Relaxed);
        if at.checked_add(span).is_none_or(|end| end > limit) {
            return Err(IoReturn::NO_RESOURCES);
        }
        let iova = at + lead;
        let hardware = lock(&self.hardware).get(&device).cloned();
        if let Some(hardware) = hardware {
            hardware.map(iova, mem, offset, length, direction)?;
        }
        let entry = Entry { length, segments, direction, _mem: mem.clone() };
        lock(&self.devices).entry(device).or_default().insert(iova, entry);
        Ok(iova)
    }

    fn unmap(&self, device: u64, iova: u64) {
        let gone = lock(&self.devices).get_mut(&device).and_then(|t| t.remove(&iova));
        let hardware = lock(&self.hardware).get(&device).cloned();
        if let (Some(hardware), Some(entry)) = (hardware, &gone) {
            hardware.unmap(iova, entry.length);
        }
        drop(gone);
    }

    /// Mappings for the service with that entry id are the device's as well.
    pub(crate) fn attach(&self, device: u64, hardware: Arc<dyn PciDevice>) {
        lock(&self.hardware).insert(device, hardware);
    }

    /// Lets go of all devices: one that is a model holds the runtime, which holds this.
    pub(crate) fn release(&self) {
        let devices = std::mem::take(&mut *lock(&self.hardware));
        drop(devices);
    }

    /// Where `length` bytes at `iova` are, if the device may access all of them and they are in one piece.
    pub fn translate(&self, device: u64, iova: u64, length: u64, write: bool) -> Option<*mut u8> {
        let devices = lock(&self.devices);
        let (base, e) = devices.get(&device)?.range(..=iova).next_back()?;
        let mut at = iova - base;
        if at.checked_add(length)? > e.length {
            return None;
        }
        let needed = if write { DEVICE_WRITES } else { DEVICE_READS };
        if e.direction & needed == 0 {
            return None;
        }
        for (p, n) in &e.segments {
            if at < *n {
                return (at + length <= *n).then(|| (*p + at as usize) as *mut u8);
            }
            at -= n;
        }
        None
    }

    /// As [`Iommu::translate`]; what is not mapped is a violation.
    pub fn access(&self, device: u64, iova: u64, length: u64, write: bool) -> Option<*mut u8> {
        let found = self.translate(device, iova, length, write);
        if found.is_none() {
            let how = if write { "writes" } else { "reads" };
            let text = format!("the device {how} {length} bytes at IOVA 0x{iova:x}, which is not mapped for that");
            let map = lock(&self.devices)
                .get(&device)
                .map(|t| t.iter().map(|(i, e)| format!("mapped: 0x{i:x}, {} bytes", e.length)).collect())
                .unwrap_or_default();
            violation("unmapped DMA access", text, Site::NONE, map);
        }
        found
    }
}

struct Prepared {
    mem: Arc<Mem>,
    offset: u64,
    length: u64,
    iova: u64,
}

/// An `IODMACommand`.
pub struct Dma {
    rt: Arc<Runtime>,
    device: u64,
    bits: u64,
    prepared: Mutex<Option<Prepared>>,
}

impl Dma {
    /// A command for the device with that entry id.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for fewer than 12 or more than 64 address bits.
    pub fn new(rt: &Arc<Runtime>, device: u64, max_address_bits: u64) -> IoResult<Dma> {
        let bits = if max_address_bits == 0 { 64 } else { max_address_bits };
        if !(12..=64).contains(&bits) {
            return Err(IoReturn::BAD_ARGUMENT);
        }
        Ok(Dma { rt: rt.clone(), device, bits, prepared: Mutex::new(None) })
    }

    /// Makes a range (length 0 = the rest) accessible; its IOVA and length, always one segment.
    ///
    /// # Errors
    /// `BUSY` if it is prepared, `NO_SPACE` outside the descriptor, `NO_RESOURCES` without an address.
    pub fn prepare(&self, mem: &Arc<Mem>, offset: u64, length: u64) -> IoResult<(u64, u64)> {
        let mut p = lock(&self.prepared);
        if p.is_some() {
            return Err(IoReturn::BUSY);
        }
        let rest = mem.length().checked_sub(offset).ok_or(IoReturn::NO_SPACE)?;
        let length = if length == 0 { rest } else { length };
        if length == 0 || length > rest {
            return Err(IoReturn::NO_SPACE);
        }
        let direction = if mem.direction() == 0 { DEVICE_WRITES | DEVICE_READS } else { mem.direction() };
        let iova = self.rt.iommu.map(self.device, mem, offset, length, direction, self.bits)?;
        *p = Some(Prepared { mem: mem.clone(), offset, length, iova });
        Ok((iova, length))
    }

    /// Takes the range back; the device must not use it any more.
    ///
    /// # Errors
    /// `NOT_READY` if it is not prepared.
    pub fn complete(&self) -> IoResult<()> {
        let p = lock(&self.prepared).take().ok_or(IoReturn::NOT_READY)?;
        self.rt.iommu.unmap(self.device, p.iova);
        Ok(())
    }

    /// The prepared range.
    pub fn preparation(&self) -> Option<(u64, u64, Arc<Mem>)> {
        lock(&self.prepared).as_ref().map(|p| (p.offset, p.length, p.mem.clone()))
    }

    /// Copies between the prepared range and `data`, or clears it: options read 1 (range to data), write 2, zero 4.
    ///
    /// # Errors
    /// `NOT_READY`, `BAD_ARGUMENT`, `NO_SPACE`.
    pub fn perform(&self, options: u64, at: u64, length: u64, data_at: u64, data: Option<&Arc<Mem>>) -> IoResult<()> {
        let (offset, span, mem) = self.preparation().ok_or(IoReturn::NOT_READY)?;
        if at.checked_add(length).is_none_or(|end| end > span) {
            return Err(IoReturn::NO_SPACE);
        }
        let mut bytes = vec![0u8; usize::try_from(length).map_err(|_| IoReturn::NO_SPACE)?];
        match (options, data) {
            (1, Some(d)) => {
                mem.read(offset + at, &mut bytes)?;
                d.write(data_at, &bytes)
            }
            (2, Some(d)) => {
                d.read(data_at, &mut bytes)?;
                mem.write(offset + at, &bytes)
            }
            (4, _) => mem.write(offset + at, &bytes),
            _ => Err(IoReturn::BAD_ARGUMENT),
        }
    }
}

impl Drop for Dma {
    fn drop(&mut self) {
        if self.complete().is_ok() {
            crate::diag::warning("an IODMACommand was released while prepared: CompleteDMA comes first", Site::NONE);
        }
    }
}
