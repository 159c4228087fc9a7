//! The host's end of the socket: one thread per connection.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};

use super::conn::UserClient;
use super::wire::{Envelope, Message, receive, send};
use super::{Completion, CompletionSink};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::prop::Properties;
use crate::rt::Runtime;
use crate::sched::lock;
use crate::service::Svc;

/// Connections at once.
const CONNECTIONS_MAX: usize = 1024;
/// A peer that does not take a reply within this time is dropped.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// How soon the listener notices its end.
const POLL_MS: u16 = 100;

/// Decides what a peer may do, by its user id: its entitlements, or `None` to refuse it.
pub type Policy = Arc<dyn Fn(u32) -> Option<Properties> + Send + Sync>;

struct Shared {
    rt: Weak<Runtime>,
    policy: Policy,
    stop: AtomicBool,
    connections: AtomicUsize,
    threads: Mutex<Vec<JoinHandle<()>>>,
    streams: Mutex<Vec<Weak<UnixStream>>>,
}

/// A listening socket. Dropping it closes all connections.
pub struct Server {
    path: PathBuf,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `path`; an old socket there is replaced.
    ///
    /// # Errors
    /// What the operating system said.
    pub(crate) fn listen(rt: &Arc<Runtime>, path: &Path, policy: Policy) -> io::Result<Server> {
        if std::fs::symlink_metadata(path).is_ok_and(|m| std::os::unix::fs::FileTypeExt::is_socket(&m.file_type())) {
            std::fs::remove_file(path)?;
        }
        let socket = UnixListener::bind(path)?;
        let shared = Arc::new(Shared {
            rt: Arc::downgrade(rt),
            policy,
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            threads: Mutex::new(Vec::new()),
            streams: Mutex::new(Vec::new()),
        });
        let accept = shared.clone();
        let listener =
            std::thread::Builder::new().name("dk-clients".to_owned()).spawn(move || accept.accept(&socket))?;
        Ok(Server { path: path.to_owned(), shared, listener: Some(listener) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(l) = self.listener.take() {
            let _ = l.join();
        }
        for s in lock(&self.shared.streams).drain(..).filter_map(|s| s.upgrade()) {
            let _ = s.shutdown(std::net::Shutdown::Both);
        }
        let threads = std::mem::take(&mut *lock(&self.shared.threads));
        for t in threads {
            let _ = t.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, socket: &UnixListener) {
        while !self.stop.load(Ordering::Acquire) {
            let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            if !matches!(poll(&mut fds, PollTimeout::from(POLL_MS)), Ok(n) if n > 0) {
                continue;
            }
            let Ok((stream, _)) = socket.accept() else { continue };
            if self.connections.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
                let refused = Message::Done { status: IoReturn::NO_RESOURCES, value: 0 };
                let _ = send(&stream, 0, &refused, &[]);
                continue;
            }
            let Some(entitlements) = peer_uid(stream.as_fd()).and_then(|uid| (self.policy)(uid)) else {
                let refused = Message::Done { status: IoReturn::NOT_PRIVILEGED, value: 0 };
                let _ = send(&stream, 0, &refused, &[]);
                continue;
            };
            if stream.set_write_timeout(Some(SEND_LIMIT)).is_err() {
                continue;
            }
            self.connections.fetch_add(1, Ordering::Relaxed);
            let me = self.clone();
            let stream = Arc::new(stream);
            {
                let mut streams = lock(&self.streams);
                streams.retain(|s| s.strong_count() > 0);
                streams.push(Arc::downgrade(&stream));
            }
            let serve = move || {
                me.serve(&stream, entitlements);
                me.connections.fetch_sub(1, Ordering::Relaxed);
            };
            match std::thread::Builder::new().name("dk-client".to_owned()).spawn(serve) {
                Ok(t) => {
                    let mut threads = lock(&self.threads);
                    threads.retain(|t| !t.is_finished());
                    threads.push(t);
                }
                Err(_) => {
                    self.connections.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn find(&self, name: &str) -> IoResult<Arc<Svc>> {
        let rt = self.rt.upgrade().ok_or(IoReturn::OFFLINE)?;
        let fits = |s: &Svc| {
            name.is_empty() && s.ops().new_user_client.is_some() && s.provider().is_some()
                || s.name() == name
                || s.class().to_string_lossy() == name
                || s.bsd_name().to_string_lossy() == name && !name.is_empty()
        };
        rt.registry.find(fits).ok_or(IoReturn::NOT_FOUND)
    }

    fn serve(&self, stream: &Arc<UnixStream>, entitlements: Properties) {
        let out = Arc::new(Mutex::new(()));
        let mut client: Option<UserClient> = None;
        let mut orderly = false;
        while let Ok(Some(envelope)) = receive(stream) {
            let number = envelope.number;
            if envelope.message == Message::Close {
                orderly = true;
                if let Some(c) = client.take() {
                    c.close();
                }
                let _sending = lock(&out);
                let _ = send(stream, number, &Message::Done { status: IoReturn::SUCCESS, value: 0 }, &[]);
                break;
            }
            let sink = || completion_sink(stream, &out);
            let Some(answer) = self.answer(envelope, &mut client, &entitlements, sink) else { break };
            let fds: Vec<RawFd> = answer.1.iter().map(AsRawFd::as_raw_fd).collect();
            let sent = {
                let _sending = lock(&out);
                send(stream, number, &answer.0, &fds)
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
        if let Some(c) = client {
            if orderly { c.close() } else { c.crashed() }
        }
    }

    /// The answer to a message and descriptors to send along; `None`: the peer does not follow the protocol.
    fn answer(
        &self,
        envelope: Envelope,
        client: &mut Option<UserClient>,
        entitlements: &Properties,
        sink: impl FnOnce() -> CompletionSink,
    ) -> Option<(Message, Vec<std::os::fd::OwnedFd>)> {
        let done = |r: IoResult<u64>| match r {
            Ok(value) => Message::Done { status: IoReturn::SUCCESS, value },
            Err(status) => Message::Done { status, value: 0 },
        };
        let message = match (envelope.message, client.as_ref()) {
            (Message::Open { service, kind }, None) => {
                let opened =
                    self.find(&service).and_then(|s| UserClient::open(&s, kind, entitlements.clone(), Some(sink())));
                done(opened.map(|c| {
                    *client = Some(c);
                    0
                }))
            }
            (Message::Call(call), Some(c)) => match c.call(call) {
                Ok(reply) => Message::Reply(reply),
                Err(status) => Message::Reply(super::Reply { status, scalars: Vec::new(), output: Vec::new() }),
            },
            (Message::Memory { kind }, Some(c)) => match memory(c, kind) {
                Ok(answer) => return Some(answer),
                Err(status) => Message::MemoryIs { status, offset: 0, length: 0, read_only: true },
            },
            (Message::Offer { length }, Some(c)) => {
                let fd = envelope.fds.into_iter().next()?;
                done(Mem::foreign(fd, 0, length).and_then(|m| c.offer_memory(&m)))
            }
            _ => return None,
        };
        Some((message, Vec::new()))
    }
}

/// The driver's memory as a file. Only whole, single pieces can be shared with a process.
fn memory(c: &UserClient, kind: u64) -> IoResult<(Message, Vec<std::os::fd::OwnedFd>)> {
    let (mem, read_only) = c.memory(kind)?;
    let pieces = mem.pieces()?;
    let [piece] = pieces.as_slice() else { return Err(IoReturn::UNSUPPORTED) };
    let fd = if read_only { read_only_copy(piece.fd) } else { piece.fd.try_clone_to_owned().ok() };
    let fd = fd.ok_or(IoReturn::NO_RESOURCES)?;
    let (offset, length) = (piece.offset, piece.length);
    Ok((Message::MemoryIs { status: IoReturn::SUCCESS, offset, length, read_only }, vec![fd]))
}

/// The same file, opened for reading only, so that the peer cannot map it writable.
fn read_only_copy(fd: BorrowedFd<'_>) -> Option<std::os::fd::OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::File::open(path).ok().map(Into::into)
}

fn peer_uid(fd: BorrowedFd<'_>) -> Option<u32> {
    getsockopt(&fd, sockopt::PeerCredentials).ok().map(|c| c.uid())
}

/// Sends completions down the connection while it lives.
fn completion_sink(stream: &Arc<UnixStream>, out: &Arc<Mutex<()>>) -> CompletionSink {
    let stream = Arc::downgrade(stream);
    let out = out.clone();
    Arc::new(move |c: Completion| {
        if let Some(stream) = stream.upgrade() {
            let _sending = lock(&out);
            if send(&stream, 0, &Message::Completion(c), &[]).is_err() {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    })
}
