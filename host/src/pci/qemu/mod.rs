//! QEMU's device models without a guest: a machine whose processor halts, driven over qtest.
//!
//! The machine's RAM is an [`Arena`]; its IOMMU (`vtd`) lets the device reach prepared memory only; message interrupts
//! arrive as eventfds (`doorbell`).

mod doorbell;
mod qtest;
mod vtd;

use std::fmt;
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::libc;

use self::doorbell::Doorbell;
use self::qtest::Qtest;
use self::vtd::Vtd;
use super::arena::Arena;
use super::{BARS, Bar, PciDevice, Raise};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::sched::lock;

/// The machine's RAM, bytes; pages that nobody touches cost nothing. Below the PCI hole of a q35 machine.
const RAM: u64 = 0x7000_0000;
/// RAM that is given out begins above the first MiB, where a PC has holes.
const RAM_FIRST: u64 = 1 << 20;
/// RAM for the IOMMU's tables.
const TABLES: u64 = 4 << 20;
/// Where the functions are: `device << 3`.
const DOORBELL_DEVFN: u32 = 0x3 << 3;
const NIC_DEVFN: u32 = 0x4 << 3;
/// Where BARs are put: in the PCI hole.
const BAR_BASE: u64 = 0xe000_0000;
const DOORBELL_BASE: u64 = 0xdf00_0000;
/// IOVA of the doorbell's page, below every address that is given out for memory.
const DOORBELL_IOVA: u64 = 0x0800_0000;
/// Vectors that we listen to.
const VECTORS: u32 = 16;
/// A machine answers within this.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Which device model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// virtio-net-pci, modern only; `packed` offers packed virtqueues.
    VirtioNet {
        /// Packed virtqueues instead of split ones.
        packed: bool,
    },
    /// Intel 82574L.
    E1000e,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Model::VirtioNet { packed: false } => "virtio-net",
            Model::VirtioNet { packed: true } => "virtio-net,packed",
            Model::E1000e => "e1000e",
        })
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "virtio-net" => Ok(Model::VirtioNet { packed: false }),
            "virtio-net,packed" => Ok(Model::VirtioNet { packed: true }),
            "e1000e" => Ok(Model::E1000e),
            _ => Err(format!("{text}: QEMU models here are virtio-net, virtio-net,packed and e1000e")),
        }
    }
}

/// What the device's wire is connected to.
pub enum Netdev {
    /// A datagram socket, one frame a datagram; the other end of the pair is the peer's.
    Socket(UnixDatagram),
    /// Queues of a TAP interface, opened with a virtio-net header or without.
    Tap(Vec<OwnedFd>),
}

/// How a machine is made.
pub struct Config {
    /// The device model.
    pub model: Model,
    /// Its wire.
    pub netdev: Netdev,
    /// Station address.
    pub mac: [u8; 6],
    /// MTU that a virtio device announces.
    pub mtu: Option<u16>,
    /// More `key=value` properties of the device.
    pub properties: Vec<String>,
}

struct BarAt {
    bar: Bar,
    at: u64,
}

/// A machine with one NIC.
pub struct QemuDevice {
    child: Mutex<Child>,
    qtest: Arc<Qtest>,
    vtd: Vtd,
    doorbell: Doorbell,
    arena: Arc<Arena>,
    bars: Vec<Option<BarAt>>,
    /// BAR and offset of the MSI-X table, and its entries.
    msix: Option<(u8, u64, u32)>,
    msix_capability: u64,
    monitor: Mutex<Monitor>,
}

/// The machine's monitor: QEMU's machine protocol, one JSON object a line.
struct Monitor {
    stream: BufReader<UnixStream>,
    ready: bool,
}

impl Monitor {
    fn new(stream: UnixStream) -> Monitor {
        Monitor { stream: BufReader::new(stream), ready: false }
    }

    /// Runs a command; events are passed over.
    fn run(&mut self, command: &str) -> io::Result<()> {
        if !self.ready {
            self.stream.get_ref().set_read_timeout(Some(START_LIMIT))?;
            self.ready = true;
            self.run("{\"execute\":\"qmp_capabilities\"}")?;
        }
        self.stream.get_mut().write_all(command.as_bytes())?;
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::Error::other("QEMU ended"));
            }
            if line.starts_with("{\"return\"") {
                return Ok(());
            }
            if line.starts_with("{\"error\"") {
                return Err(io::Error::other(line));
            }
        }
    }
}

/// 64 KiB whose last 16 bytes, where an x86 starts, stop it: cli, hlt, and back to hlt.
fn firmware() -> io::Result<OwnedFd> {
    let mut image = vec![0u8; 65536];
    if let Some(start) = image.get_mut(65536 - 16..65536 - 12) {
        start.copy_from_slice(&[0xfa, 0xf4, 0xeb, 0xfd]);
    }
    // SAFETY: a literal name; checked and owned below.
    let fd = unsafe { libc::memfd_create(c"dk-firmware".as_ptr(), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut file = std::fs::File::from(fd);
    io::Write::write_all(&mut file, &image)?;
    Ok(file.into())
}

/// Lets a child process have the descriptor.
fn inherit(fd: RawFd) -> io::Result<()> {
    // SAFETY: plain fcntl.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn io_error(what: &str) -> impl FnOnce(IoReturn) -> io::Error {
    let what = what.to_owned();
    move |e| io::Error::other(format!("{what}: {e}"))
}

impl Config {
    /// A device on one end of a pair of sockets, and the other end: one frame a datagram.
    ///
    /// # Errors
    /// The system's.
    pub fn on_socket(model: Model, mac: [u8; 6]) -> io::Result<(Config, UnixDatagram)> {
        let (ours, theirs) = UnixDatagram::pair()?;
        for socket in [&ours, &theirs] {
            // Room for a burst of the largest frames.
            let size = &(4usize << 20);
            nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::SndBuf, size)?;
        }
        Ok((Config { model, netdev: Netdev::Socket(theirs), mac, mtu: None, properties: Vec::new() }, ours))
    }

    fn device_argument(&self, queues: usize) -> String {
        let [a, b, c, d, e, f] = self.mac;
        let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        let mut text = match self.model {
            Model::E1000e => format!("e1000e,netdev=net0,mac={mac},addr=0x4"),
            Model::VirtioNet { packed } => {
                let packed = if packed { "on" } else { "off" };
                let multi =
                    if queues > 1 { format!(",mq=on,rss=on,vectors={}", 2 * queues + 2) } else { String::new() };
                format!(
                    "virtio-net-pci,netdev=net0,mac={mac},addr=0x4,disable-legacy=on,iommu_platform=on,packed={packed}{multi}"
                )
            }
        };
        if let (Model::VirtioNet { .. }, Some(mtu)) = (self.model, self.mtu) {
            text.push_str(&format!(",host_mtu={mtu}"));
        }
        for property in &self.properties {
            text.push(',');
            text.push_str(property);
        }
        text
    }
}

impl QemuDevice {
    /// Starts a machine.
    ///
    /// # Errors
    /// QEMU is not there, or what it or the system said.
    pub fn start(config: &Config) -> io::Result<Arc<QemuDevice>> {
        let arena = Arc::new(Arena::new(RAM, RAM_FIRST).map_err(io_error("RAM"))?);
        let firmware = firmware()?;
        let directory = std::env::temp_dir();
        let path = directory.join(format!("weir-doorbell-{}-{:p}", std::process::id(), Arc::as_ptr(&arena)));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        let ram = arena.fd().as_raw_fd();
        inherit(firmware.as_raw_fd())?;
        let (netdev, queues) = match &config.netdev {
            Netdev::Socket(socket) => {
                inherit(socket.as_raw_fd())?;
                (format!("dgram,id=net0,local.type=fd,local.str={}", socket.as_raw_fd()), 1)
            }
            Netdev::Tap(fds) => {
                let mut numbers = Vec::new();
                for fd in fds {
                    inherit(fd.as_raw_fd())?;
                    numbers.push(fd.as_raw_fd().to_string());
                }
                let key = if numbers.len() > 1 { "fds" } else { "fd" };
                (format!("tap,id=net0,{key}={},vhost=off", numbers.join(":")), numbers.len())
            }
        };
        let (monitor, theirs) = UnixStream::pair()?;
        inherit(theirs.as_raw_fd())?;
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-smp", "1"])
            .args(["-machine", "q35,memory-backend=ram", "-m", &format!("{}M", RAM >> 20)])
            .args(["-object", &format!("memory-backend-file,id=ram,mem-path=/proc/self/fd/{ram},size={RAM},share=on")])
            .args(["-bios", &format!("/proc/self/fd/{}", firmware.as_raw_fd())])
            .args(["-qtest", "stdio", "-qtest-log", "none"])
            .args(["-device", "intel-iommu"])
            .args(["-chardev", &format!("socket,id=bell,path={}", path.display())])
            .args(["-device", &format!("ivshmem-doorbell,chardev=bell,vectors={VECTORS},addr=0x3")])
            .args(["-chardev", &format!("socket,id=qmp,fd={}", theirs.as_raw_fd()), "-mon", "chardev=qmp,mode=control"])
            .args(["-netdev", &netdev])
            .args(["-device", &config.device_argument(queues)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // SAFETY: prctl is async-signal-safe; without us the machine has no purpose.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => io::Error::new(e.kind(), "qemu-system-x86_64 is not installed"),
            _ => e,
        })?;
        drop(theirs);
        let started = Self::connect(&mut child, &listener, arena, monitor);
        let _ = std::fs::remove_file(&path);
        match started {
            Ok(made) => Ok(Arc::new(made(child))),
            Err(e) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(e)
            }
        }
    }

    fn connect(
        child: &mut Child,
        listener: &UnixListener,
        arena: Arc<Arena>,
        monitor: UnixStream,
    ) -> io::Result<impl FnOnce(Child) -> QemuDevice + use<>> {
        let gone = || io::Error::other("QEMU ended");
        let (to, from) = (child.stdin.take().ok_or_else(gone)?, child.stdout.take().ok_or_else(gone)?);
        listener.set_nonblocking(true)?;
        let limit = Instant::now() + START_LIMIT;
        let socket = loop {
            match listener.accept() {
                Ok((socket, _)) => break socket,
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                Err(_) if Instant::now() > limit => return Err(io::Error::other("QEMU does not connect")),
                Err(_) => {}
            }
            if let Some(status) = child.try_wait()? {
                return Err(io::Error::other(format!("QEMU ended: {status}")));
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        socket.set_nonblocking(false)?;
        let doorbell = Doorbell::new(socket, VECTORS).map_err(io_error("doorbell"))?;
        let qtest = Arc::new(Qtest::new(to, from));
        let tables = Mem::buffer_in(Some(&arena), 3, TABLES, 0).map_err(io_error("tables"))?;
        let at = tables.arena_segments(&arena, 0, TABLES).map_err(io_error("tables"))?;
        let at = at.first().map_or(0, |(at, _)| *at);
        // The doorbell's registers, then the NIC's.
        qtest.config_write(DOORBELL_DEVFN, 0x10, 4, DOORBELL_BASE as u32);
        qtest.config_write(DOORBELL_DEVFN, 4, 2, 2);
        Self::wait_for_doorbell(&qtest, &doorbell, limit)?;
        let vtd = Vtd::new(qtest.clone(), tables, at).map_err(io_error("IOMMU"))?;
        vtd.map(DOORBELL_IOVA, &[(DOORBELL_BASE, 4096)], 1).map_err(io_error("IOMMU"))?;
        let bars = assign_bars(&qtest);
        let (msix_capability, msix) = find_msix(&qtest);
        if qtest.is_dead() {
            return Err(gone());
        }
        Ok(move |child| QemuDevice {
            child: Mutex::new(child),
            qtest,
            vtd,
            doorbell,
            arena,
            bars,
            msix,
            msix_capability,
            monitor: Mutex::new(Monitor::new(monitor)),
        })
    }

    /// The machine learns about our eventfds in its own time.
    fn wait_for_doorbell(qtest: &Qtest, doorbell: &Doorbell, limit: Instant) -> io::Result<()> {
        for vector in 0..VECTORS {
            loop {
                qtest.write(DOORBELL_BASE + doorbell::REGISTER, 4, Doorbell::data(vector).into());
                if doorbell.take(vector) {
                    break;
                }
                if qtest.is_dead() || Instant::now() > limit {
                    return Err(io::Error::other("QEMU's doorbell does not ring"));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Plugs or pulls the cable.
    ///
    /// # Errors
    /// The machine's monitor does not answer as it should.
    pub fn set_cable(&self, plugged: bool) -> io::Result<()> {
        lock(&self.monitor)
            .run(&format!("{{\"execute\":\"set_link\",\"arguments\":{{\"name\":\"net0\",\"up\":{plugged}}}}}"))
    }

    /// Process id of the machine.
    pub fn pid(&self) -> u32 {
        lock(&self.child).id()
    }

    fn address_of(&self, bar: u8, offset: u64) -> Option<u64> {
        self.bars.get(bar as usize)?.as_ref().map(|b| b.at + offset)
    }
}

/// Sizes the BARs (PCI 3.0 section 6.2.5.1) and puts them into the PCI hole.
fn assign_bars(qtest: &Qtest) -> Vec<Option<BarAt>> {
    let mut bars: Vec<Option<BarAt>> = (0..BARS).map(|_| None).collect();
    let mut next = BAR_BASE;
    let mut number = 0;
    while number < BARS {
        let register = 0x10 + 4 * u64::from(number);
        qtest.config_write(NIC_DEVFN, register, 4, u32::MAX);
        let mask = qtest.config_read(NIC_DEVFN, register, 4);
        let kind = (mask & 0xf) as u8;
        let wide = kind & 7 == 4;
        let low = if kind & 1 != 0 { mask & !3 } else { mask & !0xf };
        if low != 0 {
            let size = u64::from(low & low.wrapping_neg());
            if kind & 1 == 0 {
                next = next.next_multiple_of(size.max(4096));
                qtest.config_write(NIC_DEVFN, register, 4, next as u32);
                if wide {
                    qtest.config_write(NIC_DEVFN, register + 4, 4, 0);
                }
            } else {
                qtest.config_write(NIC_DEVFN, register, 4, 0);
            }
            if let Some(slot) = bars.get_mut(number as usize) {
                *slot = Some(BarAt { bar: Bar { size, kind }, at: next });
            }
            if kind & 1 == 0 {
                next += size;
            }
        }
        number += if wide { 2 } else { 1 };
    }
    bars
}

/// The MSI-X capability (PCI 3.0 section 6.8.2): its place, and the table's BAR, offset and entries.
fn find_msix(qtest: &Qtest) -> (u64, Option<(u8, u64, u32)>) {
    let mut at = u64::from(qtest.config_read(NIC_DEVFN, 0x34, 1));
    for _ in 0..48 {
        if at < 0x40 {
            break;
        }
        if qtest.config_read(NIC_DEVFN, at, 1) == 0x11 {
            let entries = (qtest.config_read(NIC_DEVFN, at + 2, 2) & 0x7ff) + 1;
            let table = qtest.config_read(NIC_DEVFN, at + 4, 4);
            return (at, Some(((table & 7) as u8, u64::from(table & !7), entries)));
        }
        at = u64::from(qtest.config_read(NIC_DEVFN, at + 1, 1));
    }
    (0, None)
}

impl PciDevice for QemuDevice {
    fn config_read(&self, offset: u64, width: u32) -> u32 {
        // The ports reach the first 256 bytes.
        if offset < 256 { self.qtest.config_read(NIC_DEVFN, offset, width) } else { 0 }
    }

    fn config_write(&self, offset: u64, width: u32, value: u32) {
        if offset < 256 {
            self.qtest.config_write(NIC_DEVFN, offset, width, value);
        }
    }

    fn bar(&self, bar: u8) -> Option<Bar> {
        self.bars.get(bar as usize)?.as_ref().map(|b| b.bar)
    }

    fn read(&self, bar: u8, offset: u64, width: u32) -> u64 {
        self.address_of(bar, offset).map_or(u64::MAX, |at| self.qtest.read(at, width))
    }

    fn write(&self, bar: u8, offset: u64, width: u32, value: u64) {
        if let Some(at) = self.address_of(bar, offset) {
            self.qtest.write(at, width, value);
        }
    }

    fn address(&self) -> u32 {
        NIC_DEVFN
    }

    fn vectors(&self) -> u32 {
        self.msix.map_or(0, |(_, _, entries)| entries.min(VECTORS))
    }

    fn start_interrupts(&self, count: u32, raise: Raise) -> IoResult<()> {
        let (bar, table, _) = self.msix.ok_or(IoReturn::NO_INTERRUPT)?;
        self.doorbell.start(raise)?;
        // The table is behind memory space, which the driver turns on for itself later.
        let command = self.config_read(4, 2);
        self.config_write(4, 2, command | 2);
        for vector in 0..count {
            let entry = table + 16 * u64::from(vector);
            let address = DOORBELL_IOVA + doorbell::REGISTER;
            self.write(bar, entry, 4, address & 0xffff_ffff);
            self.write(bar, entry + 4, 4, address >> 32);
            self.write(bar, entry + 8, 4, Doorbell::data(vector).into());
            self.write(bar, entry + 12, 4, 0);
        }
        self.config_write(4, 2, command);
        let control = self.config_read(self.msix_capability + 2, 2);
        self.config_write(self.msix_capability + 2, 2, control | 0x8000);
        Ok(())
    }

    fn reset(&self) -> IoResult<()> {
        // Function level reset is not modelled; drivers reset through their own registers.
        Err(IoReturn::UNSUPPORTED)
    }

    fn map(&self, iova: u64, mem: &Arc<Mem>, offset: u64, length: u64, direction: u64) -> IoResult<()> {
        let pieces = mem.arena_segments(&self.arena, offset, length)?;
        self.vtd.map(iova, &pieces, direction)
    }

    fn unmap(&self, iova: u64, length: u64) {
        self.vtd.unmap(iova, length);
    }

    fn arena(&self) -> Option<Arc<Arena>> {
        Some(self.arena.clone())
    }

    fn faults(&self) -> Vec<String> {
        self.vtd.faults()
    }
}

impl Drop for QemuDevice {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests;
