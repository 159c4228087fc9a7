//! An AF_PACKET socket that carries `virtio_net_hdr` both ways: packet(7), `linux/if_packet.h`.
//!
//! Plain `recvmmsg` and `sendmmsg`, not the mapped rings: TPACKET_V3 refuses `PACKET_VNET_HDR`, and without it
//! super-frames and partial checksums, which is what interfaces of the same machine hand over, arrive unusable.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;

use crate::port::Offload;
use crate::stack::vnet::{self, Outgoing, VnetHeader};

/// Messages of one system call.
pub(super) const BATCH: usize = 32;
/// Longest frame: a super-frame of 64 KiB with its headers.
pub(super) const FRAME_MAX: usize = 65536 + 64;
/// Room in front of a received frame for the tag that the kernel took out.
const TAG: usize = 4;
/// `SO_RCVBUF`, in bytes, as far as the system lets one.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;
const ETH_P_8021Q: u16 = 0x8100;
const GSO_UDP_L4: u8 = 5;

pub(super) struct Socket {
    fd: OwnedFd,
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set<T>(fd: RawFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live reference to plain data.
    check(unsafe {
        libc::setsockopt(fd, level, option, std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t)
    })
    .map(drop)
}

impl Socket {
    /// A socket on interface `index` of the calling thread's network namespace, promiscuous.
    pub fn open(index: u32) -> io::Result<Self> {
        // Protocol 0: nothing arrives before all options are set.
        // SAFETY: no pointers are passed.
        let raw = check(unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
        })?;
        // SAFETY: `raw` was just opened and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        let one: libc::c_int = 1;
        set(raw, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &one)?;
        set(raw, libc::SOL_PACKET, libc::PACKET_AUXDATA, &one)?;
        // What this machine sends through the interface did not come from the cable (Linux 4.20).
        set(raw, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &one)?;
        if set(raw, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER).is_err() {
            set(raw, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER)?;
        }
        let membership = libc::packet_mreq {
            mr_ifindex: index as libc::c_int,
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(raw, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
        // SAFETY: sockaddr_ll is plain data for which all zeroes is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::c_ushort;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as libc::c_int;
        // SAFETY: the kernel reads one sockaddr_ll through the pointer.
        check(unsafe {
            libc::bind(raw, (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t)
        })?;
        Ok(Self { fd })
    }

    /// Frames that the kernel dropped because this process was too slow, since the last call.
    pub fn take_drops(&self) -> u64 {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes into `stats`.
        let result = unsafe {
            let option = libc::PACKET_STATISTICS;
            libc::getsockopt(self.fd.as_raw_fd(), libc::SOL_PACKET, option, (&raw mut stats).cast(), &raw mut len)
        };
        if result == 0 { u64::from(stats.tp_drops) } else { 0 }
    }

    /// Receives a batch without waiting; returns how many there are. `WouldBlock` where there are none.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.arm();
        // SAFETY: `arm` pointed every message at buffers that `batch` owns and that live for the call.
        let n = unsafe {
            libc::recvmmsg(
                self.fd.as_raw_fd(),
                batch.messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        check(n).map(|n| n as usize)
    }

    /// Sends frames; returns how many of them went before one was refused, and why.
    pub fn send(&self, batch: &mut SendBatch) -> (usize, Option<io::Error>) {
        batch.arm();
        let mut done = 0;
        while done < batch.len() {
            // SAFETY: `arm` pointed every message at buffers that `batch` owns and that live for the call; `done` is
            // below the number of messages.
            let n = unsafe {
                libc::sendmmsg(
                    self.fd.as_raw_fd(),
                    batch.messages.as_mut_ptr().add(done),
                    (batch.len() - done) as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            match check(n) {
                Ok(n) => done += n as usize,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return (done, Some(e)),
            }
        }
        (done, None)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Room for a control message with `tpacket_auxdata`, aligned as cmsghdr wants it.
type Control = [u64; 8];

/// Buffers for one `recvmmsg`.
pub(super) struct ReceiveBatch {
    headers: Vec<[u8; vnet::LEN]>,
    frames: Vec<Vec<u8>>,
    controls: Vec<Control>,
    parts: Vec<[libc::iovec; 2]>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in `parts` and `messages` point into vectors of the same struct, are set by `arm` right before
// the system call that uses them, and are never read otherwise.
unsafe impl Send for ReceiveBatch {}

impl ReceiveBatch {
    pub fn new() -> Self {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self {
            headers: vec![[0; vnet::LEN]; BATCH],
            frames: (0..BATCH).map(|_| vec![0; TAG + FRAME_MAX]).collect(),
            controls: vec![[0; 8]; BATCH],
            parts: vec![[empty; 2]; BATCH],
            // SAFETY: mmsghdr is plain data for which all zeroes is a value.
            messages: (0..BATCH).map(|_| unsafe { std::mem::zeroed() }).collect(),
        }
    }

    fn arm(&mut self) {
        let buffers = self.headers.iter_mut().zip(&mut self.frames).zip(&mut self.controls);
        for ((message, parts), ((header, frame), control)) in self.messages.iter_mut().zip(&mut self.parts).zip(buffers)
        {
            let (_, room) = frame.split_at_mut(TAG);
            parts[0] = libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: header.len() };
            parts[1] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            message.msg_hdr.msg_iov = parts.as_mut_ptr();
            message.msg_hdr.msg_iovlen = 2;
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = size_of::<Control>();
            message.msg_hdr.msg_flags = 0;
            message.msg_len = 0;
        }
    }

    /// Frame `i` of the last batch with its tag back in place; `None` if it does not fit or has metadata that the
    /// rings cannot carry (UDP segmentation).
    pub fn frame(&mut self, i: usize) -> Option<(&[u8], Offload)> {
        let message = self.messages.get(i)?;
        let len = (message.msg_len as usize).checked_sub(vnet::LEN)?;
        let truncated = message.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
        let mut header = VnetHeader::from_bytes(self.headers.get(i)?);
        if truncated || header.gso_type & 0x7f == GSO_UDP_L4 {
            return None;
        }
        let tag = auxiliary(&message.msg_hdr);
        let frame = self.frames.get_mut(i)?;
        let Some((tpid, tci)) = tag else {
            return Some((frame.get(TAG..TAG + len)?, header.offload()));
        };
        frame.copy_within(TAG..TAG + 12, 0);
        frame.get_mut(12..14)?.copy_from_slice(&tpid.to_be_bytes());
        frame.get_mut(14..16)?.copy_from_slice(&tci.to_be_bytes());
        header.csum_start = header.csum_start.saturating_add(TAG as u16);
        Some((frame.get(..TAG + len)?, header.offload()))
    }
}

/// The tag that the kernel took out of a frame: TPID and TCI.
fn auxiliary(message: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: the kernel filled the control buffer, which `ReceiveBatch` owns, and `msg_controllen`; CMSG_FIRSTHDR
    // returns null or a header inside it.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    let expected = size_of::<libc::cmsghdr>() + size_of::<libc::tpacket_auxdata>();
    let ours = header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == libc::PACKET_AUXDATA;
    if !ours || header.cmsg_len < expected {
        return None;
    }
    // SAFETY: the length was checked to cover a tpacket_auxdata; the read does not assume alignment.
    let data = unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
    let tpid = if data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { data.tp_vlan_tpid } else { ETH_P_8021Q };
    (data.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some((tpid, data.tp_vlan_tci))
}

/// Frames for one `sendmmsg`.
#[derive(Default)]
pub(super) struct SendBatch {
    headers: Vec<[u8; vnet::LEN]>,
    frames: Vec<Vec<u8>>,
    parts: Vec<[libc::iovec; 2]>,
    messages: Vec<libc::mmsghdr>,
    /// Buffers of frames that were sent, kept for the next.
    spare: Vec<Vec<u8>>,
}

// SAFETY: as for `ReceiveBatch`.
unsafe impl Send for SendBatch {}

impl SendBatch {
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Bytes of frame `i`.
    pub fn bytes(&self, i: usize) -> usize {
        self.frames.get(i).map_or(0, Vec::len)
    }

    /// Appends a frame.
    pub fn push(&mut self, frame: &[u8], offload: &Offload) {
        let Outgoing { header, seed } = VnetHeader::for_kernel(frame, offload);
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(frame);
        if let Some((at, sum)) = seed
            && let Some(field) = copy.get_mut(at..at + 2)
        {
            field.copy_from_slice(&sum);
        }
        self.headers.push(header.to_bytes());
        self.frames.push(copy);
    }

    /// Forgets the first `n` frames.
    pub fn done(&mut self, n: usize) {
        self.headers.drain(..n);
        self.spare.extend(self.frames.drain(..n));
    }

    fn arm(&mut self) {
        self.parts.clear();
        self.messages.clear();
        for (header, frame) in self.headers.iter_mut().zip(&mut self.frames) {
            self.parts.push([
                libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: header.len() },
                libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() },
            ]);
        }
        for parts in &mut self.parts {
            // SAFETY: mmsghdr is plain data for which all zeroes is a value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = parts.as_mut_ptr();
            message.msg_hdr.msg_iovlen = 2;
            self.messages.push(message);
        }
    }
}
