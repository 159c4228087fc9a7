//! Messages between a client process and the host, over a Unix stream socket.
//!
//! A message is a 16-byte header of little-endian words {magic, version << 16 | kind, body length, number} and the body.
//! Memory travels as file descriptors (SCM_RIGHTS) beside the header.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use super::{Call, Completion, Reply, SCALARS_MAX, STRUCT_MAX};
use crate::ioreturn::IoReturn;

const MAGIC: u32 = 0x434b_4457;
const VERSION: u32 = 1;
const HEADER: usize = 16;
/// Longest body: a structure and what surrounds it.
const BODY_MAX: usize = STRUCT_MAX + 4096;
/// File descriptors per message.
const FDS_MAX: usize = 4;
/// Longest service name.
const NAME_MAX: usize = 128;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Client: connect me to a user client of `kind` of the service called `service` ("" = the first one).
    Open { service: String, kind: u32 },
    /// Host: the answer to Open, Close and Offer (with the address in `value`).
    Done { status: IoReturn, value: u64 },
    /// Client: call a method.
    Call(Call),
    /// Host: what it returned.
    Reply(Reply),
    /// Client: give me the driver's memory of that type.
    Memory { kind: u64 },
    /// Host: here it is, one file descriptor, from `offset` on.
    MemoryIs { status: IoReturn, offset: u64, length: u64, read_only: bool },
    /// Client: here is memory of mine, one file descriptor.
    Offer { length: u64 },
    /// Host: a completion.
    Completion(Completion),
    /// Client: the end.
    Close,
}

/// A message with its number and file descriptors.
#[derive(Debug)]
pub(super) struct Envelope {
    pub number: u32,
    pub message: Message,
    pub fds: Vec<OwnedFd>,
}

struct Writer(Vec<u8>);

impl Writer {
    fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    fn bytes(&mut self, v: &[u8]) {
        self.u64(v.len() as u64);
        self.0.extend_from_slice(v);
    }
    fn words(&mut self, v: &[u64]) {
        self.u32(v.len() as u32);
        v.iter().for_each(|w| self.u64(*w));
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
    fn status(&mut self) -> Option<IoReturn> {
        self.u32().map(|v| IoReturn(v.cast_signed()))
    }
    fn bytes(&mut self, max: usize) -> Option<Vec<u8>> {
        let n = usize::try_from(self.u64()?).ok().filter(|n| *n <= max)?;
        self.take(n).map(<[u8]>::to_vec)
    }
    fn words(&mut self) -> Option<Vec<u64>> {
        let n = self.u32()? as usize;
        if n > SCALARS_MAX {
            return None;
        }
        (0..n).map(|_| self.u64()).collect()
    }
}

/// Kind and body of a message.
pub(super) fn encode(message: &Message) -> (u16, Vec<u8>) {
    let mut w = Writer(Vec::new());
    let kind = match message {
        Message::Open { service, kind } => {
            w.bytes(service.as_bytes());
            w.u32(*kind);
            1
        }
        Message::Done { status, value } => {
            w.u32(status.0.cast_unsigned());
            w.u64(*value);
            2
        }
        Message::Call(c) => {
            w.u64(c.selector);
            w.words(&c.scalars);
            w.u32(u32::from(c.input.is_some()));
            w.bytes(c.input.as_deref().unwrap_or_default());
            w.u32(c.scalars_out);
            w.u64(c.output_max);
            w.u64(c.async_reference);
            3
        }
        Message::Reply(r) => {
            w.u32(r.status.0.cast_unsigned());
            w.words(&r.scalars);
            w.bytes(&r.output);
            4
        }
        Message::Memory { kind } => {
            w.u64(*kind);
            5
        }
        Message::MemoryIs { status, offset, length, read_only } => {
            w.u32(status.0.cast_unsigned());
            w.u64(*offset);
            w.u64(*length);
            w.u32(u32::from(*read_only));
            6
        }
        Message::Offer { length } => {
            w.u64(*length);
            7
        }
        Message::Completion(c) => {
            w.u64(c.reference);
            w.u32(c.status.0.cast_unsigned());
            w.words(&c.values);
            8
        }
        Message::Close => 9,
    };
    (kind, w.0)
}

/// The message of that kind with that body; `None` if it is malformed.
pub(super) fn decode(kind: u16, body: &[u8]) -> Option<Message> {
    let mut r = Reader(body);
    let message = match kind {
        1 => Message::Open { service: String::from_utf8(r.bytes(NAME_MAX)?).ok()?, kind: r.u32()? },
        2 => Message::Done { status: r.status()?, value: r.u64()? },
        3 => {
            let selector = r.u64()?;
            let scalars = r.words()?;
            let has_input = r.u32()? != 0;
            let input = r.bytes(STRUCT_MAX)?;
            let (scalars_out, output_max, async_reference) = (r.u32()?, r.u64()?, r.u64()?);
            let input = if has_input { Some(input) } else { None };
            Message::Call(Call { selector, scalars, input, scalars_out, output_max, async_reference })
        }
        4 => Message::Reply(Reply { status: r.status()?, scalars: r.words()?, output: r.bytes(STRUCT_MAX)? }),
        5 => Message::Memory { kind: r.u64()? },
        6 => Message::MemoryIs { status: r.status()?, offset: r.u64()?, length: r.u64()?, read_only: r.u32()? != 0 },
        7 => Message::Offer { length: r.u64()? },
        8 => Message::Completion(Completion { reference: r.u64()?, status: r.status()?, values: r.words()? }),
        9 => Message::Close,
        _ => return None,
    };
    r.0.is_empty().then_some(message)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Sends one message with file descriptors.
pub(super) fn send(stream: &UnixStream, number: u32, message: &Message, fds: &[RawFd]) -> io::Result<()> {
    let (kind, body) = encode(message);
    let mut head = [0u8; HEADER];
    let words = [MAGIC, VERSION << 16 | u32::from(kind), body.len() as u32, number];
    for (slot, w) in head.chunks_exact_mut(4).zip(words) {
        slot.copy_from_slice(&w.to_le_bytes());
    }
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    // A header is small enough to be sent whole: the socket buffer holds far more.
    let sent = loop {
        match sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&head)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => break other?,
        }
    };
    let mut stream = stream;
    stream.write_all(head.get(sent..).unwrap_or_default())?;
    stream.write_all(&body)
}

/// Receives one message; `None` at the end of the stream.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Option<Envelope>> {
    let mut head = [0u8; HEADER];
    let mut control = nix::cmsg_space!([RawFd; FDS_MAX]);
    let mut fds = Vec::new();
    let got = loop {
        let mut iov = [IoSliceMut::new(&mut head)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let m = match recvmsg::<()>(stream.as_raw_fd(), &mut iov, Some(&mut control), flags) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        for c in m.cmsgs()? {
            if let ControlMessageOwned::ScmRights(list) = c {
                // SAFETY: the kernel just made these descriptors for us; nobody else owns them.
                fds.extend(list.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        break m.bytes;
    };
    if got == 0 {
        return Ok(None);
    }
    let mut stream = stream;
    stream.read_exact(head.get_mut(got..).unwrap_or_default())?;
    let mut words = head.chunks_exact(4).map(|c| c.try_into().map_or(0, u32::from_le_bytes));
    let mut next = || words.next().unwrap_or(0);
    let (magic, what, len, number) = (next(), next(), next() as usize, next());
    if magic != MAGIC || what >> 16 != VERSION {
        return Err(malformed("not this protocol, or another version of it"));
    }
    if len > BODY_MAX {
        return Err(malformed("message too long"));
    }
    let mut body = Vec::new();
    // Grows with what really arrives: a peer cannot make us allocate by announcing much.
    stream.take(len as u64).read_to_end(&mut body)?;
    if body.len() != len {
        return Err(malformed("message cut short"));
    }
    let message = decode(what as u16, &body).ok_or_else(|| malformed("malformed message"))?;
    Ok(Some(Envelope { number, message, fds }))
}
