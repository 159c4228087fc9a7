//! The client's end of the socket, for the command line and tests.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::wire::{Envelope, Message, receive, send};
use super::{Call, Completion, Reply};
use crate::ioreturn::IoReturn;
use crate::mem::{Map, Mem};

/// Why a request over the socket failed.
#[derive(Debug)]
pub enum ConnectError {
    /// The socket, or the host behind it, failed.
    Io(io::Error),
    /// The host or the driver refused.
    Refused(IoReturn),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Io(e) => write!(f, "{e}"),
            ConnectError::Refused(e) => write!(f, "refused: {e}"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(e: io::Error) -> Self {
        ConnectError::Io(e)
    }
}

impl From<IoReturn> for ConnectError {
    fn from(e: IoReturn) -> Self {
        ConnectError::Refused(e)
    }
}

/// A user client of a host in another process.
pub struct RemoteClient {
    stream: UnixStream,
    next: u32,
    completions: VecDeque<Completion>,
}

fn unexpected() -> ConnectError {
    ConnectError::Io(io::Error::new(io::ErrorKind::InvalidData, "the host sent an answer that does not fit"))
}

impl RemoteClient {
    /// Connects to the host at `path` and opens a user client of type `kind` of `service` ("" = the first service).
    ///
    /// # Errors
    /// No host there, or it refused.
    pub fn open(path: &Path, service: &str, kind: u32) -> Result<RemoteClient, ConnectError> {
        let stream = UnixStream::connect(path)?;
        let mut c = RemoteClient { stream, next: 0, completions: VecDeque::new() };
        let open = Message::Open { service: service.to_owned(), kind };
        c.done(&open, &[])?;
        Ok(c)
    }

    fn ask(&mut self, message: &Message, fds: &[RawFd]) -> Result<Envelope, ConnectError> {
        self.next = self.next.wrapping_add(1).max(1);
        send(&self.stream, self.next, message, fds)?;
        loop {
            let e = receive(&self.stream)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            match e.message {
                Message::Completion(c) => self.completions.push_back(c),
                Message::Done { status, .. } if e.number == 0 => return Err(status.into()),
                _ if e.number == self.next => return Ok(e),
                _ => return Err(unexpected()),
            }
        }
    }

    fn done(&mut self, message: &Message, fds: &[RawFd]) -> Result<u64, ConnectError> {
        match self.ask(message, fds)?.message {
            Message::Done { status: IoReturn::SUCCESS, value } => Ok(value),
            Message::Done { status, .. } => Err(status.into()),
            _ => Err(unexpected()),
        }
    }

    /// Calls a method. What the driver returned is in [`Reply::status`].
    ///
    /// # Errors
    /// The connection failed.
    pub fn call(&mut self, call: Call) -> Result<Reply, ConnectError> {
        match self.ask(&Message::Call(call), &[])?.message {
            Message::Reply(r) => Ok(r),
            _ => Err(unexpected()),
        }
    }

    /// Maps the driver's memory of type `kind`.
    ///
    /// # Errors
    /// The driver refused, or the connection failed.
    pub fn map_memory(&mut self, kind: u64) -> Result<Map, ConnectError> {
        let e = self.ask(&Message::Memory { kind }, &[])?;
        let Message::MemoryIs { status, offset, length, read_only } = e.message else { return Err(unexpected()) };
        status.ok()?;
        let fd: OwnedFd = e.fds.into_iter().next().ok_or_else(unexpected)?;
        let end = offset.checked_add(length).ok_or_else(unexpected)?;
        Ok(Map::of_file(fd, offset, end - offset, read_only)?)
    }

    /// Offers memory to the driver; the address by which calls name it.
    ///
    /// # Errors
    /// The host refused, or the connection failed.
    pub fn offer_memory(&mut self, mem: &Arc<Mem>) -> Result<u64, ConnectError> {
        let pieces = mem.pieces()?;
        let [piece] = pieces.as_slice() else { return Err(IoReturn::UNSUPPORTED.into()) };
        if piece.offset != 0 {
            return Err(IoReturn::NOT_ALIGNED.into());
        }
        self.done(&Message::Offer { length: piece.length }, &[piece.fd.as_raw_fd()])
    }

    /// The next completion; waits at most `timeout`.
    ///
    /// # Errors
    /// The connection failed.
    pub fn completion(&mut self, timeout: Duration) -> Result<Option<Completion>, ConnectError> {
        if let Some(c) = self.completions.pop_front() {
            return Ok(Some(c));
        }
        // Waiting and reading apart: a time-out in the middle of a message would lose the rest of it.
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        let most = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, most) {
            Ok(0) | Err(Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(io::Error::from(e).into()),
        }
        match receive(&self.stream) {
            Ok(Some(Envelope { message: Message::Completion(c), .. })) => Ok(Some(c)),
            Ok(Some(_)) => Err(unexpected()),
            Ok(None) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Err(e) => Err(e.into()),
        }
    }

    /// Closes the connection in order.
    ///
    /// # Errors
    /// The connection failed before the host answered.
    pub fn close(mut self) -> Result<(), ConnectError> {
        self.done(&Message::Close, &[]).map(|_| ())
    }
}
