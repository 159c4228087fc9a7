//! Clients that run on the stack: ping, a TCP transfer, a UDP exchange.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use ::smoltcp::iface::{Interface, SocketHandle, SocketSet};
use ::smoltcp::phy::ChecksumCapabilities;
use ::smoltcp::socket::{icmp, tcp, udp};
use ::smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress};
use sha2::{Digest, Sha256};

use super::Shared;
use super::services::{self, ECHO_PORT, Received};

/// Payload of an echo request, in bytes, as ping(8) has it.
const PING_PAYLOAD: usize = 56;
/// How long after the last request or byte a client still waits.
const PATIENCE_NS: u64 = 5_000_000_000;
/// Ephemeral ports (RFC 6335).
const FIRST_PORT: u16 = 49152;

/// What a stack offers to a task.
pub(super) struct Context<'a> {
    pub now_ns: u64,
    pub interface: &'a mut Interface,
    pub sockets: &'a mut SocketSet<'static>,
}

/// What a task says after a step.
pub(super) struct Step {
    pub done: bool,
    pub progress: bool,
    pub due_ns: Option<u64>,
}

impl Step {
    const DONE: Self = Self { done: true, progress: true, due_ns: None };
}

/// Something that goes on over many polls.
pub(super) trait Task: Send {
    fn step(&mut self, cx: &mut Context<'_>) -> Step;
}

struct Cell<T> {
    result: Mutex<Option<io::Result<T>>>,
    set: Condvar,
}

/// A running client; its result can be waited for.
pub struct Op<T>(Arc<Cell<T>>);

impl<T> Op<T> {
    /// The result if the client has ended; once.
    pub fn take(&self) -> Option<io::Result<T>> {
        self.0.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// True when the client has ended and [`Op::take`] gives its result.
    pub fn done(&self) -> bool {
        self.0.result.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits for the end (threads mode; in simulated mode nobody would drive the stack meanwhile).
    ///
    /// # Errors
    /// The client's, or `TimedOut`.
    pub fn wait(self, timeout: Duration) -> io::Result<T> {
        let result = self.0.result.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut result, _) =
            self.0.set.wait_timeout_while(result, timeout, |r| r.is_none()).unwrap_or_else(PoisonError::into_inner);
        result.take().unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::TimedOut, "the client has not ended")))
    }
}

/// The writing end of an [`Op`]: says "detached" if it is dropped without a result.
struct Promise<T>(Arc<Cell<T>>);

impl<T> Promise<T> {
    fn pair() -> (Self, Op<T>) {
        let cell = Arc::new(Cell { result: Mutex::new(None), set: Condvar::new() });
        (Self(Arc::clone(&cell)), Op(cell))
    }

    fn set(&self, result: io::Result<T>) {
        self.0.result.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(result);
        self.0.set.notify_all();
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        // After a result was set and taken nobody looks any more.
        self.set(Err(io::Error::new(io::ErrorKind::NotConnected, "the stack was detached")));
    }
}

/// Result of a ping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PingReport {
    /// Requests sent.
    pub sent: u32,
    /// Replies received.
    pub received: u32,
    /// Round-trip times in nanoseconds, in the order of the replies.
    pub rtt_ns: Vec<u64>,
}

/// Result of a TCP transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpReport {
    /// Bytes sent and acknowledged.
    pub bytes: u64,
    /// SHA-256 of what was sent.
    pub sha256: [u8; 32],
    /// SHA-256 of what came back; equals `sha256` on the echo service, and is the hash of nothing on discard.
    pub echoed_sha256: [u8; 32],
    /// Bytes that came back.
    pub echoed: u64,
    /// From connect to close, in nanoseconds.
    pub elapsed_ns: u64,
}

/// Result of a UDP exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpReport {
    /// Datagrams sent.
    pub sent: u32,
    /// Datagrams that came back unchanged.
    pub received: u32,
    /// Datagrams that came back changed.
    pub corrupt: u32,
}

/// Starts clients on a stack, from any thread.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    next_port: Arc<AtomicU16>,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, next_port: Arc::new(AtomicU16::new(0)) }
    }

    fn port(&self) -> u16 {
        FIRST_PORT + self.next_port.fetch_add(1, Ordering::Relaxed) % (u16::MAX - FIRST_PORT)
    }

    fn start(&self, task: impl Task + 'static) {
        self.shared.inbox().tasks.push(Box::new(task));
        self.shared.arrived.notify_all();
    }

    /// Sends `count` echo requests to `to`, one every `interval`, and gathers the replies.
    pub fn ping(&self, to: IpAddr, count: u32, interval: Duration) -> Op<PingReport> {
        let (promise, op) = Promise::pair();
        self.start(Ping {
            promise,
            to,
            ident: self.port(),
            count,
            interval_ns: interval.as_nanos() as u64,
            socket: None,
            next_ns: None,
            pending: BTreeMap::new(),
            report: PingReport::default(),
        });
        op
    }

    /// Connects to `to`, sends `bytes` pseudo-random bytes made from `seed`, reads until the peer closes, and closes.
    pub fn tcp_transfer(&self, to: SocketAddr, bytes: u64, seed: u64) -> Op<TcpReport> {
        let (promise, op) = Promise::pair();
        self.start(Transfer {
            promise,
            to,
            local_port: self.port(),
            source: Pattern::new(seed),
            left: bytes,
            socket: None,
            start_ns: 0,
            deadline_ns: 0,
            sent: (0, Sha256::new()),
            echoed: (0, Sha256::new()),
            aborted: false,
        });
        op
    }

    /// Sends `count` datagrams of `size` bytes to `to`, one after the answer to the other or after 200 ms without.
    pub fn udp_exchange(&self, to: SocketAddr, count: u32, size: usize, seed: u64) -> Op<UdpReport> {
        let (promise, op) = Promise::pair();
        self.start(Exchange {
            promise,
            to,
            local_port: self.port(),
            source: Pattern::new(seed),
            size: size.max(4),
            count,
            socket: None,
            expected: Vec::new(),
            deadline_ns: 0,
            report: UdpReport::default(),
        });
        op
    }

    /// Takes the list of ended connections to this stack's discard service.
    pub fn received(&self) -> Vec<Received> {
        let net = self.shared.net();
        let Some(net) = net.as_ref() else {
            return Vec::new();
        };
        std::mem::take(&mut *net.services.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Pseudo-random bytes (SplitMix64) that both ends can make from a seed.
struct Pattern(u64);

impl Pattern {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}

fn refused(what: &str) -> io::Error {
    io::Error::other(format!("smoltcp refused: {what}"))
}

struct Ping {
    promise: Promise<PingReport>,
    to: IpAddr,
    ident: u16,
    count: u32,
    interval_ns: u64,
    socket: Option<SocketHandle>,
    next_ns: Option<u64>,
    /// Sequence number to the time the request was sent.
    pending: BTreeMap<u16, u64>,
    report: PingReport,
}

impl Ping {
    fn send(&mut self, cx: &mut Context<'_>, handle: SocketHandle, sequence: u16) -> bool {
        let checksums = ChecksumCapabilities::default();
        let to: IpAddress = self.to.into();
        let payload = [0x77; PING_PAYLOAD];
        let source = match self.to {
            IpAddr::V6(v6) => cx.interface.get_source_address_ipv6(&v6),
            IpAddr::V4(_) => std::net::Ipv6Addr::UNSPECIFIED,
        };
        let socket = cx.sockets.get_mut::<icmp::Socket<'_>>(handle);
        match self.to {
            IpAddr::V4(_) => {
                let repr = Icmpv4Repr::EchoRequest { ident: self.ident, seq_no: sequence, data: &payload };
                socket.send(repr.buffer_len(), to).map(|buffer| {
                    repr.emit(&mut Icmpv4Packet::new_unchecked(buffer), &checksums);
                })
            }
            IpAddr::V6(v6) => {
                let repr = Icmpv6Repr::EchoRequest { ident: self.ident, seq_no: sequence, data: &payload };
                socket.send(repr.buffer_len(), to).map(|buffer| {
                    repr.emit(&source, &v6, &mut Icmpv6Packet::new_unchecked(buffer), &checksums);
                })
            }
        }
        .is_ok()
    }

    fn reply(&self, data: &[u8]) -> Option<u16> {
        // The socket is bound to the identifier; the checksum was looked at on the way in.
        let sequence = || Some(u16::from_be_bytes([*data.get(6)?, *data.get(7)?]));
        match (self.to, data.first()?) {
            (IpAddr::V4(_), 0) | (IpAddr::V6(_), 129) => sequence(),
            _ => None,
        }
    }
}

impl Task for Ping {
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        let handle = match self.socket {
            Some(handle) => handle,
            None => {
                let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 64], vec![0; 16384]);
                let mut socket = icmp::Socket::new(buffer(), buffer());
                if socket.bind(icmp::Endpoint::Ident(self.ident)).is_err() {
                    self.promise.set(Err(refused("ICMP socket")));
                    return Step::DONE;
                }
                *self.socket.insert(cx.sockets.add(socket))
            }
        };
        let mut progress = false;
        while let Ok((data, from)) = cx.sockets.get_mut::<icmp::Socket<'_>>(handle).recv() {
            progress = true;
            if IpAddr::from(from) == self.to
                && let Some(at) = self.reply(data).and_then(|sequence| self.pending.remove(&sequence))
            {
                self.report.received += 1;
                self.report.rtt_ns.push(cx.now_ns.saturating_sub(at));
            }
        }
        let next = *self.next_ns.get_or_insert(cx.now_ns);
        if self.report.sent < self.count && cx.now_ns >= next {
            let sequence = self.report.sent as u16;
            if self.send(cx, handle, sequence) {
                progress = true;
                self.pending.insert(sequence, cx.now_ns);
                self.report.sent += 1;
            }
            self.next_ns = Some(cx.now_ns + self.interval_ns.max(1));
        }
        let all_sent = self.report.sent >= self.count;
        let end = self.next_ns.unwrap_or(cx.now_ns).saturating_add(PATIENCE_NS);
        if all_sent && (self.pending.is_empty() || cx.now_ns >= end) {
            cx.sockets.remove(handle);
            self.promise.set(Ok(std::mem::take(&mut self.report)));
            return Step::DONE;
        }
        Step { done: false, progress, due_ns: if all_sent { Some(end) } else { self.next_ns } }
    }
}

struct Transfer {
    promise: Promise<TcpReport>,
    to: SocketAddr,
    local_port: u16,
    source: Pattern,
    left: u64,
    socket: Option<SocketHandle>,
    start_ns: u64,
    deadline_ns: u64,
    sent: (u64, Sha256),
    echoed: (u64, Sha256),
    /// All was acknowledged, but the end of the connection was lost.
    aborted: bool,
}

impl Transfer {
    fn end(&mut self, cx: &mut Context<'_>, handle: SocketHandle, failure: Option<io::Error>) -> Step {
        cx.sockets.remove(handle);
        self.promise.set(match failure {
            Some(error) => Err(error),
            None => Ok(TcpReport {
                bytes: self.sent.0,
                sha256: std::mem::take(&mut self.sent.1).finalize().into(),
                echoed_sha256: std::mem::take(&mut self.echoed.1).finalize().into(),
                echoed: self.echoed.0,
                elapsed_ns: cx.now_ns.saturating_sub(self.start_ns),
            }),
        });
        Step::DONE
    }
}

impl Task for Transfer {
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        let handle = match self.socket {
            Some(handle) => handle,
            None => {
                (self.start_ns, self.deadline_ns) = (cx.now_ns, cx.now_ns + PATIENCE_NS);
                let mut socket = services::tcp_socket();
                if let Err(e) = socket.connect(cx.interface.context(), self.to, self.local_port) {
                    self.promise.set(Err(refused(&format!("connect to {}: {e}", self.to))));
                    return Step::DONE;
                }
                *self.socket.insert(cx.sockets.add(socket))
            }
        };
        let socket = cx.sockets.get_mut::<tcp::Socket<'_>>(handle);
        let mut progress = false;
        while socket.can_send() && self.left > 0 {
            let (source, hash, left) = (&mut self.source, &mut self.sent.1, self.left);
            let written = socket.send(|room| {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(room.len());
                let part = room.get_mut(..n).unwrap_or_default();
                source.fill(part);
                hash.update(&*part);
                (n, n)
            });
            let n = written.unwrap_or(0) as u64;
            self.left -= n;
            self.sent.0 += n;
            progress = true;
        }
        while socket.can_recv() {
            let hash = &mut self.echoed.1;
            let read = socket.recv(|data| {
                hash.update(&*data);
                (data.len(), data.len())
            });
            self.echoed.0 += read.unwrap_or(0) as u64;
            progress = true;
        }
        if progress {
            self.deadline_ns = cx.now_ns + PATIENCE_NS;
        }
        if self.left == 0 && socket.state() == tcp::State::Established {
            socket.close();
            progress = true;
        }
        let (state, unsent) = (socket.state(), socket.send_queue());
        let complete = self.left == 0 && (unsent == 0 || self.aborted);
        if matches!(state, tcp::State::TimeWait | tcp::State::Closed) {
            let reset = || io::Error::new(io::ErrorKind::ConnectionReset, format!("{}: reset or refused", self.to));
            let failure = (!complete).then(reset);
            return self.end(cx, handle, failure);
        }
        if cx.now_ns >= self.deadline_ns && complete {
            // Every byte was acknowledged, but smoltcp does not repeat a lost FIN: reset instead. The reset goes out
            // before the next step, which finds the socket closed.
            socket.abort();
            self.aborted = true;
            return Step { done: false, progress: true, due_ns: None };
        }
        if cx.now_ns >= self.deadline_ns {
            let text = format!("{}: no progress for 5 s, {} bytes left, state {state}", self.to, self.left);
            return self.end(cx, handle, Some(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        Step { done: false, progress, due_ns: Some(self.deadline_ns) }
    }
}

struct Exchange {
    promise: Promise<UdpReport>,
    to: SocketAddr,
    local_port: u16,
    source: Pattern,
    size: usize,
    count: u32,
    socket: Option<SocketHandle>,
    /// The datagram that is out; empty = none.
    expected: Vec<u8>,
    deadline_ns: u64,
    report: UdpReport,
}

impl Task for Exchange {
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        const ANSWER_NS: u64 = 200_000_000;
        let handle = match self.socket {
            Some(handle) => handle,
            None => {
                let mut socket = services::udp_socket();
                if socket.bind(self.local_port).is_err() {
                    self.promise.set(Err(refused("UDP socket")));
                    return Step::DONE;
                }
                *self.socket.insert(cx.sockets.add(socket))
            }
        };
        let socket = cx.sockets.get_mut::<udp::Socket<'_>>(handle);
        let mut progress = false;
        while let Ok((data, meta)) = socket.recv() {
            progress = true;
            let from = SocketAddr::new(meta.endpoint.addr.into(), meta.endpoint.port);
            if from != self.to || self.expected.is_empty() {
                continue;
            }
            if data == self.expected {
                self.report.received += 1;
            } else {
                self.report.corrupt += 1;
            }
            self.expected.clear();
        }
        if !self.expected.is_empty() && cx.now_ns >= self.deadline_ns {
            self.expected.clear();
        }
        if self.expected.is_empty() {
            if self.report.sent >= self.count {
                cx.sockets.remove(handle);
                self.promise.set(Ok(std::mem::take(&mut self.report)));
                return Step::DONE;
            }
            let mut datagram = vec![0; self.size];
            self.source.fill(&mut datagram);
            if socket.send_slice(&datagram, self.to).is_err() {
                cx.sockets.remove(handle);
                self.promise.set(Err(refused(&format!("datagram of {} bytes to {}", self.size, self.to))));
                return Step::DONE;
            }
            self.expected = datagram;
            self.report.sent += 1;
            self.deadline_ns = cx.now_ns + ANSWER_NS;
            progress = true;
        }
        Step { done: false, progress, due_ns: Some(self.deadline_ns) }
    }
}

/// The echo service's address on `host`, for [`Client::tcp_transfer`] and [`Client::udp_exchange`].
pub fn echo(host: IpAddr) -> SocketAddr {
    SocketAddr::new(host, ECHO_PORT)
}
