//! Sockets in the namespaces of a lab, and a look at its drivers while they run.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, bind, socket};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::{Driver, Lab, run, weir};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Calls `work` in a network namespace. A socket that it opens stays there.
pub fn within<T: Send>(ns: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = std::fs::File::open(format!("/run/netns/{ns}")).unwrap();
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A file of this process's own, gone with it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(kind: &str) -> Self {
        let name = format!("weir-pf-{}-{}.{kind}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    pub fn with(kind: &str, text: &str) -> Self {
        let file = Self::new(kind);
        std::fs::write(&file.0, text).unwrap();
        file
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A lab whose two drivers have the same rules and can be spoken to: A's is `en0`, B's `en1`.
pub struct World {
    pub lab: Lab,
    driver: Driver,
    socket: Scratch,
    rules: Scratch,
}

/// Which driver.
pub const A: &str = "en0";
pub const B: &str = "en1";

impl World {
    pub fn new(rules: &str) -> Self {
        Self::with(rules, &[])
    }

    pub fn with(rules: &str, extra: &[&str]) -> Self {
        let lab = Lab::new();
        let (socket, rules) = (Scratch::new("sock"), Scratch::with("conf", rules));
        let mut args = vec!["-f", rules.path(), "--control", socket.path()];
        args.extend(extra);
        let driver = lab.join(&args);
        Self { lab, driver, socket, rules }
    }

    /// `weir ARGS`, told to one of the drivers; what it printed.
    pub fn weir(&self, service: &str, args: &[&str]) -> String {
        run(weir().args(args).args(["--control", self.socket.path(), "--service", service]))
    }

    /// Loads rules into both drivers.
    pub fn load(&self, text: &str) {
        std::fs::write(&self.rules.0, text).unwrap();
        for service in [A, B] {
            self.weir(service, &["load", "-f", self.rules.path()]);
        }
    }

    /// How often a driver dropped for a reason, both directions.
    pub fn dropped(&self, service: &str, reason: &str) -> u64 {
        let text = self.weir(service, &["show", "counters"]);
        let count = |line: &str| {
            let mut words = line.split_whitespace();
            let is_it = words.next().is_some_and(|word| word.ends_with("_dropped")) && words.next() == Some(reason);
            if is_it { words.next().and_then(|n| n.parse::<u64>().ok()) } else { None }
        };
        text.lines().filter_map(count).sum::<u64>()
    }

    /// What `weir states` says.
    pub fn states(&self, service: &str) -> String {
        self.weir(service, &["states"])
    }

    /// Who knows the address of an interface that only translation uses.
    pub fn neighbour(&self, of: &str, addr: &str, at: &str) {
        crate::ip(&format!("-n {of} neigh replace {addr} lladdr {} dev w0", mac(at)));
    }

    pub fn stop(self) -> String {
        self.driver.stop()
    }
}

/// The address of `w0`.
pub fn mac(ns: &str) -> String {
    run(std::process::Command::new("ip").args(["netns", "exec", ns, "cat", "/sys/class/net/w0/address"]))
        .trim()
        .to_owned()
}

pub fn mac_bytes(ns: &str) -> [u8; 6] {
    let text = mac(ns);
    let bytes: Vec<u8> = text.split(':').map(|part| u8::from_str_radix(part, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// A packet socket on an interface of a namespace.
pub fn packet_socket(ns: &str, interface: &str) -> Socket {
    within(ns, || {
        let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), SockProtocol::EthAll).unwrap();
        let all = nix::ifaddrs::getifaddrs().unwrap();
        let link = all
            .filter(|one| one.interface_name == interface)
            .find_map(|one| one.address.and_then(|address| address.as_link_addr().copied()))
            .unwrap_or_else(|| panic!("no interface {interface} in {ns}"));
        bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &link).unwrap();
        Socket::from(fd)
    })
}

/// The next frame that `wanted` has a use for, within two seconds.
pub fn sniff<T>(socket: &Socket, mut wanted: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
    let end = std::time::Instant::now() + Duration::from_secs(2);
    let mut bytes = vec![0; 1 << 16];
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return None;
        }
        socket.set_read_timeout(Some(left)).unwrap();
        let Ok(len) = (&*socket).read(&mut bytes) else { continue };
        if let Some(found) = wanted(&bytes[..len]) {
            return Some(found);
        }
    }
}

/// A listening socket that can be opened again at once.
pub fn listen(ns: &str, address: &str, port: u16) -> TcpListener {
    let address = SocketAddr::new(address.parse().unwrap(), port);
    within(ns, || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(1024).unwrap();
        socket.into()
    })
}

/// A server in the background: one thread for each connection.
pub struct Serving {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub fn start(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, serve) = (Arc::clone(&stop), Arc::new(serve));
        socket2::SockRef::from(&listener).set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    // It has the listener's.
                    let _ = stream.set_read_timeout(None);
                    let serve = Arc::clone(&serve);
                    std::thread::spawn(move || serve(stream));
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A server that tells each client the address that it sees.
pub fn greeter(ns: &str, address: &str, port: u16) -> Serving {
    Serving::start(listen(ns, address, port), |mut stream| {
        let who = stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
        let _ = stream.write_all(who.as_bytes());
    })
}

/// A server that sends back what it gets.
pub fn echo(ns: &str, address: &str, port: u16) -> Serving {
    Serving::start(listen(ns, address, port), |mut stream| {
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut bytes) {
            if stream.write_all(&bytes[..len]).is_err() {
                return;
            }
        }
    })
}

/// How an attempt ended: what pf's users see.
fn name(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", nix::errno::Errno::from_raw(number)),
        None => format!("{:?}", error.kind()),
    }
}

pub fn open(ns: &str, address: &str, port: u16) -> std::io::Result<TcpStream> {
    open_for(ns, address, port, Duration::from_millis(1500))
}

/// As [`open`], with the patience of a client whose SYNs may be lost.
pub fn open_for(ns: &str, address: &str, port: u16, limit: Duration) -> std::io::Result<TcpStream> {
    let address = SocketAddr::new(address.parse().unwrap(), port);
    let stream = within(ns, || dial(&address, limit))?;
    stream.set_read_timeout(Some(limit))?;
    Ok(stream)
}

/// Connects, and waits within the call, which tells every error: who waits in `poll` and asks afterwards may find that the
/// socket is closed and nothing said why.
fn dial(address: &SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_write_timeout(Some(limit))?;
    socket.connect(&(*address).into()).map_err(|error| {
        let is_late = error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32);
        if is_late { ErrorKind::TimedOut.into() } else { error }
    })?;
    socket.set_write_timeout(None)?;
    Ok(socket.into())
}

/// What a TCP client is told, or the error that it gets.
pub fn connect(ns: &str, address: &str, port: u16) -> String {
    connect_for(ns, address, port, Duration::from_millis(1500))
}

/// As [`connect`], with the patience of a client that sends its SYN again.
pub fn connect_for(ns: &str, address: &str, port: u16, limit: Duration) -> String {
    let talk = || -> std::io::Result<String> {
        let mut text = String::new();
        open_for(ns, address, port, limit)?.read_to_string(&mut text)?;
        Ok(text)
    };
    talk().unwrap_or_else(|error| match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "timeout".into(),
        _ => name(&error),
    })
}

/// Only the address of who the server saw.
pub fn seen_as(ns: &str, address: &str, port: u16) -> String {
    let text = connect(ns, address, port);
    text.parse::<SocketAddr>().map_or(text, |peer| peer.ip().to_string())
}

/// A UDP socket bound in a namespace.
pub fn udp(ns: &str, address: &str, port: u16) -> UdpSocket {
    let address: IpAddr = address.parse().unwrap();
    let socket = within(ns, || UdpSocket::bind((address, port)).unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    socket
}

/// What a datagram is answered with, or the error that its connected socket gets.
pub fn ask(ns: &str, address: &str, port: u16) -> String {
    let any = if address.contains(':') { "::" } else { "0.0.0.0" };
    let socket = udp(ns, any, 0);
    let target = SocketAddr::new(address.parse().unwrap(), port);
    let mut bytes = [0; 2048];
    let mut talk = || -> std::io::Result<String> {
        socket.connect(target)?;
        socket.send(b"question")?;
        let len = socket.recv(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
    };
    talk().unwrap_or_else(|error| match error.kind() {
        ErrorKind::WouldBlock => "timeout".into(),
        _ => name(&error),
    })
}

/// True if the stream still carries bytes there and back.
pub fn alive(stream: &TcpStream) -> bool {
    let (mut stream, mut bytes) = (stream, [0; 5]);
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut bytes).is_ok() && &bytes == b"hello"
}
