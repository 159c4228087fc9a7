//! A PCI device of this machine, through Linux's VFIO: registers by the device's file, memory by the IOMMU, interrupts by
//! eventfds.
//!
//! Structures and numbers are those of `linux/vfio.h`. A device that the kernel drives is taken away from its driver and
//! given back at the end. Without an IOMMU (VFIO's no-IOMMU mode) the device could write anywhere: that is refused.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{BARS, Bar, PciDevice, Raise};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::{Mem, PAGE};
use crate::sched::lock;

/// `_IO(';', 100 + n)`.
const fn request(n: u32) -> libc::c_ulong {
    (0x3b64 + n) as libc::c_ulong
}
const GET_API_VERSION: libc::c_ulong = request(0);
const CHECK_EXTENSION: libc::c_ulong = request(1);
const SET_IOMMU: libc::c_ulong = request(2);
const GROUP_GET_STATUS: libc::c_ulong = request(3);
const GROUP_SET_CONTAINER: libc::c_ulong = request(4);
const GROUP_GET_DEVICE_FD: libc::c_ulong = request(6);
const DEVICE_GET_REGION_INFO: libc::c_ulong = request(8);
const DEVICE_GET_IRQ_INFO: libc::c_ulong = request(9);
const DEVICE_SET_IRQS: libc::c_ulong = request(10);
const DEVICE_RESET: libc::c_ulong = request(11);
const IOMMU_MAP_DMA: libc::c_ulong = request(13);
const IOMMU_UNMAP_DMA: libc::c_ulong = request(14);
/// `VFIO_API_VERSION`, `VFIO_TYPE1v2_IOMMU`.
const API_VERSION: libc::c_int = 0;
const TYPE1V2: libc::c_ulong = 3;
/// `VFIO_PCI_CONFIG_REGION_INDEX`, `VFIO_PCI_MSI_IRQ_INDEX`, `VFIO_PCI_MSIX_IRQ_INDEX`.
const CONFIG_REGION: u32 = 7;
const MSI: u32 = 1;
const MSIX: u32 = 2;
/// `VFIO_GROUP_FLAGS_VIABLE`.
const VIABLE: u32 = 1;
/// `VFIO_IRQ_SET_DATA_EVENTFD | ..._ACTION_TRIGGER`, and with no data.
const BY_EVENTFD: u32 = 1 << 2 | 1 << 5;
const BY_NOTHING: u32 = 1 << 0 | 1 << 5;
/// `VFIO_DMA_MAP_FLAG_READ`, `..._WRITE`: what the device may do.
const MAP_READ: u32 = 1;
const MAP_WRITE: u32 = 2;
/// Most vectors that are used.
const VECTORS: u32 = 16;
/// A driver binds within this.
const BIND_LIMIT: Duration = Duration::from_secs(5);
/// How often the interrupt thread looks whether it is still wanted.
const LOOK_MS: u16 = 200;
const DRIVER: &str = "vfio-pci";

#[repr(C)]
#[derive(Default)]
struct GroupStatus {
    argsz: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct RegionInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    cap_offset: u32,
    size: u64,
    offset: u64,
}

#[repr(C)]
#[derive(Default)]
struct IrqInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    count: u32,
}

#[repr(C)]
struct IrqSet {
    argsz: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    fds: [i32; VECTORS as usize],
}

#[repr(C)]
struct DmaMap {
    argsz: u32,
    flags: u32,
    vaddr: u64,
    iova: u64,
    size: u64,
}

#[repr(C)]
struct DmaUnmap {
    argsz: u32,
    flags: u32,
    iova: u64,
    size: u64,
}

/// Runs a VFIO request whose argument is a structure, or a number passed as an address.
fn ioctl<T>(file: &File, request: libc::c_ulong, argument: *mut T) -> io::Result<libc::c_int> {
    // SAFETY: `argument` is null, a number where the request takes one, or a structure of the request's own type that
    // outlives the call; callers below are the only ones.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn number(file: &File, request: libc::c_ulong, argument: libc::c_ulong) -> io::Result<libc::c_int> {
    ioctl(file, request, argument as *mut u8)
}

/// `DOMAIN:BUS:DEVICE.FUNCTION`, the domain optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: expected a PCI address, for instance 0000:03:00.0");
        let full = if text.matches(':').count() == 1 { format!("0000:{text}") } else { text.to_owned() };
        let widths = [4, 2, 2, 1];
        let parts: Vec<&str> = full.split([':', '.']).collect();
        let is_hex = |part: &&str| part.bytes().all(|b| b.is_ascii_hexdigit());
        let fits =
            parts.len() == 4 && parts.iter().zip(widths).all(|(part, n)| part.len() == n) && parts.iter().all(is_hex);
        if fits && full.as_bytes().get(10) == Some(&b'.') { Ok(Address(full.to_lowercase())) } else { Err(wrong()) }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kernel's driver of a device, to be put back.
struct Borrowed {
    path: PathBuf,
    driver: Option<String>,
}

impl Borrowed {
    /// Gives the device to `vfio-pci`, if it is not there already.
    fn take(address: &Address) -> io::Result<Option<Borrowed>> {
        let path = Path::new("/sys/bus/pci/devices").join(&address.0);
        if !path.exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no PCI device {address}")));
        }
        let driver = Self::driver(&path);
        if driver.as_deref() == Some(DRIVER) {
            return Ok(None);
        }
        let borrowed = Borrowed { path, driver };
        fs::write(borrowed.path.join("driver_override"), DRIVER)?;
        if borrowed.driver.is_some() {
            fs::write(borrowed.path.join("driver/unbind"), &address.0)?;
        }
        fs::write("/sys/bus/pci/drivers_probe", &address.0)?;
        let end = Instant::now() + BIND_LIMIT;
        while Self::driver(&borrowed.path).as_deref() != Some(DRIVER) {
            if Instant::now() > end {
                // Dropped on the way out: the kernel's driver comes back.
                return Err(io::Error::other(format!("{DRIVER} does not take {address}: is its module loaded?")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(borrowed))
    }

    fn driver(path: &Path) -> Option<String> {
        let target = fs::read_link(path.join("driver")).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let address = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let _ = fs::write(self.path.join("driver_override"), "\n");
        if Self::driver(&self.path).as_deref() == Some(DRIVER) {
            let _ = fs::write(self.path.join("driver/unbind"), &address);
        }
        if self.driver.is_some() {
            let _ = fs::write("/sys/bus/pci/drivers_probe", &address);
        }
    }
}

/// See the module.
pub struct VfioDevice {
    /// Where configuration space is in the device's file; BARs, by number.
    config: (u64, u64),
    bars: Vec<Option<(u64, Bar)>>,
    address: u32,
    interrupts: Option<(u32, u32)>,
    /// What was mapped, by IOVA: page and bytes of each piece.
    maps: Mutex<std::collections::BTreeMap<u64, Vec<(u64, u64)>>>,
    listening: Mutex<Option<(Arc<AtomicBool>, std::thread::JoinHandle<()>)>>,
    // In this order: the device before its group, that before the container, the kernel's driver last.
    device: File,
    _group: File,
    container: File,
    _borrowed: Option<Borrowed>,
}

impl VfioDevice {
    /// Takes the device.
    ///
    /// # Errors
    /// It is not there, has no IOMMU, shares one with a device that somebody else drives, or VFIO is missing.
    pub fn open(address: &Address) -> io::Result<Arc<VfioDevice>> {
        let borrowed = Borrowed::take(address)?;
        let (container, group) = Self::open_group(address)?;
        let name = CString::new(address.0.as_str()).map_err(io::Error::other)?;
        let fd = ioctl(&group, GROUP_GET_DEVICE_FD, name.as_ptr().cast_mut())?;
        // SAFETY: a new descriptor that nobody else has.
        let device = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        let config = Self::region(&device, CONFIG_REGION)?.ok_or_else(|| io::Error::other("no configuration space"))?;
        let mut bars = Vec::new();
        for bar in 0..BARS {
            let mut low = [0; 4];
            device.read_exact_at(&mut low, config.0 + 0x10 + 4 * u64::from(bar))?;
            let region = Self::region(&device, bar.into())?;
            bars.push(region.map(|(at, size)| (at, Bar { size, kind: low[0] & 0xf })));
        }
        let mut interrupts = None;
        for kind in [MSIX, MSI] {
            let mut info = IrqInfo { argsz: size_of::<IrqInfo>() as u32, index: kind, ..IrqInfo::default() };
            if interrupts.is_none() && ioctl(&device, DEVICE_GET_IRQ_INFO, &raw mut info).is_ok() && info.count > 0 {
                interrupts = Some((kind, info.count.min(VECTORS)));
            }
        }
        let _ = number(&device, DEVICE_RESET, 0);
        let hex = |range: std::ops::Range<usize>| u32::from_str_radix(&address.0[range], 16).unwrap_or(0);
        let place = hex(5..7) << 8 | hex(8..10) << 3 | hex(11..12);
        Ok(Arc::new(VfioDevice {
            config,
            bars,
            address: place,
            interrupts,
            maps: Mutex::default(),
            listening: Mutex::default(),
            device,
            _group: group,
            container,
            _borrowed: borrowed,
        }))
    }

    fn open_group(address: &Address) -> io::Result<(File, File)> {
        let open = |path: &Path| {
            let file = OpenOptions::new().read(true).write(true).open(path);
            file.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
        };
        let link = Path::new("/sys/bus/pci/devices").join(&address.0).join("iommu_group");
        let Ok(target) = fs::read_link(&link) else {
            let text = format!("{address} is behind no IOMMU, or that is switched off (intel_iommu=on, amd_iommu=on)");
            return Err(io::Error::other(text));
        };
        let group = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if Path::new("/dev/vfio").join(format!("noiommu-{group}")).exists() {
            let text = format!("{address} is in VFIO's no-IOMMU mode, where a device may write anywhere: not used");
            return Err(io::Error::other(text));
        }
        let container = open(Path::new("/dev/vfio/vfio"))?;
        if number(&container, GET_API_VERSION, 0)? != API_VERSION || number(&container, CHECK_EXTENSION, TYPE1V2)? != 1
        {
            return Err(io::Error::other("this kernel's VFIO has no type 1 IOMMU: is vfio_iommu_type1 loaded?"));
        }
        let file = open(&Path::new("/dev/vfio").join(&group))?;
        let mut status = GroupStatus { argsz: size_of::<GroupStatus>() as u32, flags: 0 };
        ioctl(&file, GROUP_GET_STATUS, &raw mut status)?;
        if status.flags & VIABLE == 0 {
            let text = format!("IOMMU group {group} of {address} has other devices that the kernel drives");
            return Err(io::Error::other(text));
        }
        let mut fd = container.as_raw_fd();
        ioctl(&file, GROUP_SET_CONTAINER, &raw mut fd)?;
        number(&container, SET_IOMMU, TYPE1V2)?;
        Ok((container, file))
    }

    /// Where a region is in the device's file, and its bytes.
    fn region(device: &File, index: u32) -> io::Result<Option<(u64, u64)>> {
        let mut info = RegionInfo { argsz: size_of::<RegionInfo>() as u32, index, ..RegionInfo::default() };
        ioctl(device, DEVICE_GET_REGION_INFO, &raw mut info)?;
        Ok((info.size > 0).then_some((info.offset, info.size)))
    }

    fn load(&self, at: u64, width: u32) -> u64 {
        let mut bytes = [0xff; 8];
        let Some(part) = bytes.get_mut(..width as usize) else { return u64::MAX };
        if self.device.read_exact_at(part, at).is_err() {
            part.fill(0xff);
        }
        u64::from_le_bytes(bytes) & u64::MAX >> (64 - 8 * width.clamp(1, 8))
    }

    fn store(&self, at: u64, width: u32, value: u64) {
        if let Some(part) = value.to_le_bytes().get(..width as usize) {
            // A device that is gone takes nothing, as on a bus.
            let _ = self.device.write_all_at(part, at);
        }
    }

    fn set_interrupts(&self, kind: u32, flags: u32, fds: &[i32]) -> IoResult<()> {
        let mut set = IrqSet {
            argsz: (size_of::<IrqSet>() - size_of::<i32>() * (VECTORS as usize - fds.len())) as u32,
            flags,
            index: kind,
            start: 0,
            count: fds.len() as u32,
            fds: [-1; VECTORS as usize],
        };
        set.fds[..fds.len()].copy_from_slice(fds);
        ioctl(&self.device, DEVICE_SET_IRQS, &raw mut set).map(drop).map_err(|_| IoReturn::NO_INTERRUPT)
    }

    fn stop_interrupts(&self) {
        let listening = lock(&self.listening).take();
        if let Some((stop, thread)) = listening {
            stop.store(true, Ordering::Relaxed);
            let _ = thread.join();
            if let Some((kind, _)) = self.interrupts {
                let _ = self.set_interrupts(kind, BY_NOTHING, &[]);
            }
        }
    }
}

/// Waits for vectors and passes them on.
fn listen(events: &[EventFd], raise: &Raise, stop: &AtomicBool) {
    use std::os::fd::AsFd;
    while !stop.load(Ordering::Relaxed) {
        let mut fds: Vec<PollFd<'_>> = events.iter().map(|e| PollFd::new(e.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut fds, PollTimeout::from(LOOK_MS)).unwrap_or(0) <= 0 {
            continue;
        }
        for (vector, event) in events.iter().enumerate() {
            if event.read().is_ok_and(|n| n > 0) {
                raise(vector as u32);
            }
        }
    }
}

impl PciDevice for VfioDevice {
    fn config_read(&self, offset: u64, width: u32) -> u32 {
        if offset + u64::from(width) > self.config.1 {
            return u32::MAX;
        }
        self.load(self.config.0 + offset, width) as u32
    }

    fn config_write(&self, offset: u64, width: u32, value: u32) {
        if offset + u64::from(width) <= self.config.1 {
            self.store(self.config.0 + offset, width, value.into());
        }
    }

    fn bar(&self, bar: u8) -> Option<Bar> {
        self.bars.get(usize::from(bar))?.map(|(_, bar)| bar)
    }

    fn read(&self, bar: u8, offset: u64, width: u32) -> u64 {
        match self.bars.get(usize::from(bar)) {
            Some(Some((at, _))) => self.load(at + offset, width),
            _ => u64::MAX,
        }
    }

    fn write(&self, bar: u8, offset: u64, width: u32, value: u64) {
        if let Some(Some((at, _))) = self.bars.get(usize::from(bar)) {
            self.store(at + offset, width, value);
        }
    }

    fn address(&self) -> u32 {
        self.address
    }

    fn vectors(&self) -> u32 {
        self.interrupts.map_or(0, |(_, count)| count)
    }

    fn start_interrupts(&self, count: u32, raise: Raise) -> IoResult<()> {
        let (kind, most) = self.interrupts.ok_or(IoReturn::NO_INTERRUPT)?;
        if count == 0 || count > most {
            return Err(IoReturn::NO_INTERRUPT);
        }
        self.stop_interrupts();
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let events: Result<Vec<EventFd>, _> = (0..count).map(|_| EventFd::from_value_and_flags(0, flags)).collect();
        let events = events.map_err(|_| IoReturn::NO_RESOURCES)?;
        let fds: Vec<i32> = events.iter().map(|e| std::os::fd::AsFd::as_fd(e).as_raw_fd()).collect();
        self.set_interrupts(kind, BY_EVENTFD, &fds)?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || listen(&events, &raise, &seen));
        *lock(&self.listening) = Some((stop, thread));
        Ok(())
    }

    fn reset(&self) -> IoResult<()> {
        number(&self.device, DEVICE_RESET, 0).map(drop).map_err(|_| IoReturn::UNSUPPORTED)
    }

    fn map(&self, iova: u64, mem: &Arc<Mem>, offset: u64, length: u64, direction: u64) -> IoResult<()> {
        let flags = if direction & 1 != 0 { MAP_WRITE } else { 0 } | if direction & 2 != 0 { MAP_READ } else { 0 };
        let mut done = Vec::new();
        let mut at = iova;
        for (address, bytes) in mem.segments(offset, length)? {
            let address = address as u64;
            // Pages are what an IOMMU maps.
            let lead = at % PAGE;
            let size = (lead + bytes).div_ceil(PAGE) * PAGE;
            let argsz = size_of::<DmaMap>() as u32;
            let mut map = DmaMap { argsz, flags, vaddr: address - address % PAGE, iova: at - lead, size };
            if address % PAGE != lead || ioctl(&self.container, IOMMU_MAP_DMA, &raw mut map).is_err() {
                lock(&self.maps).insert(iova, done);
                self.unmap(iova, length);
                return Err(IoReturn::DMA_ERROR);
            }
            done.push((at - lead, size));
            at += bytes;
        }
        lock(&self.maps).insert(iova, done);
        Ok(())
    }

    fn unmap(&self, iova: u64, _length: u64) {
        for (iova, size) in lock(&self.maps).remove(&iova).unwrap_or_default() {
            let mut unmap = DmaUnmap { argsz: size_of::<DmaUnmap>() as u32, flags: 0, iova, size };
            let _ = ioctl(&self.container, IOMMU_UNMAP_DMA, &raw mut unmap);
        }
    }
}

impl Drop for VfioDevice {
    fn drop(&mut self) {
        self.stop_interrupts();
        let _ = number(&self.device, DEVICE_RESET, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        assert_eq!("03:00.1".parse::<Address>().map(|a| a.to_string()), Ok("0000:03:00.1".into()));
        assert_eq!("0001:0A:1f.7".parse::<Address>().map(|a| a.to_string()), Ok("0001:0a:1f.7".into()));
        for wrong in ["", "3:0.0", "0000:03:00", "0000:03:00:0", "0000:03:0g.0", "00000:03:00.0"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_refused() {
        let address = "ffff:ff:1f.7".parse().unwrap();
        let error = VfioDevice::open(&address).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
