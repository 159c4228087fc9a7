//! What the cable ends in.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::far;

/// Longest frame on any wire here.
const FRAME_MAX: usize = 70_000;
/// How long a device that has enough is left alone.
const FULL: Duration = Duration::from_micros(200);
/// How often a reader looks whether its device is still there.
const LOOK_MS: u16 = 100;

/// See the module.
pub enum Wire {
    /// A station that answers ARP, echo requests and UDP echo, if it is told to; the test takes what it does not answer.
    Station {
        /// It answers.
        respond: bool,
        /// What it got.
        got: Vec<Vec<u8>>,
    },
    /// A datagram socket or a TAP interface: one frame a read or write, behind this many bytes of header.
    File(File, usize),
}

/// Reads frames from a file.
pub(super) struct Reader(File, usize);

impl Wire {
    /// A station that answers.
    #[must_use]
    pub fn station() -> Wire {
        Wire::Station { respond: true, got: Vec::new() }
    }

    /// A file that gives and takes one frame at a time behind `header` bytes.
    #[must_use]
    pub fn file(file: OwnedFd, header: usize) -> Wire {
        Wire::File(file.into(), header)
    }

    pub(super) fn reader(&self) -> Option<Reader> {
        let Wire::File(file, header) = self else { return None };
        let flags = OFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GETFL).ok()?);
        fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).ok()?;
        Some(Reader(file.try_clone().ok()?, *header))
    }

    pub(super) fn set_respond(&mut self, on: bool) {
        if let Wire::Station { respond, .. } = self {
            *respond = on;
        }
    }

    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        match self {
            Wire::Station { got, .. } => std::mem::take(got),
            Wire::File(..) => Vec::new(),
        }
    }

    /// Sends a frame; an answer goes to `inbox`. False: try again later.
    pub(super) fn put(&mut self, frame: &[u8], inbox: &mut VecDeque<Vec<u8>>) -> bool {
        match self {
            Wire::Station { respond, got } => {
                match respond.then(|| far::answer(frame)).flatten() {
                    Some(answer) => inbox.push_back(answer),
                    None => got.push(frame.to_vec()),
                }
                true
            }
            Wire::File(file, header) => {
                let mut out = vec![0; *header];
                out.extend_from_slice(frame);
                // Whoever is gone takes everything.
                !file.write(&out).is_err_and(|e| {
                    matches!(e.kind(), std::io::ErrorKind::WouldBlock) || e.raw_os_error() == Some(nix::libc::ENOBUFS)
                })
            }
        }
    }
}

impl Reader {
    /// Gives every frame to `offer` until that says `None`; a frame that it does not take is offered again.
    pub fn run(mut self, offer: impl Fn(&[u8]) -> Option<bool>) {
        let mut buffer = vec![0; FRAME_MAX];
        loop {
            let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&self.0), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::from(LOOK_MS)).unwrap_or(0) > 0;
            if !ready {
                // An empty frame asks whether the device is still there, and is none.
                if offer(&[]).is_none() {
                    return;
                }
                continue;
            }
            let Ok(n) = self.0.read(&mut buffer) else { continue };
            let Some(frame) = buffer.get(self.1..n).filter(|frame| !frame.is_empty()) else {
                std::thread::sleep(FULL);
                continue;
            };
            loop {
                match offer(frame) {
                    Some(true) => break,
                    Some(false) => std::thread::sleep(FULL),
                    None => return,
                }
            }
        }
    }
}
