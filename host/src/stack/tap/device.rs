//! Opening a TAP interface: `Documentation/networking/tuntap.rst`, `linux/if_tun.h`.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc;
use nix::sys::uio::{readv, writev};

use super::super::vnet::{self, Outgoing, VnetHeader};
use crate::port::Offload;

mod ioctl {
    use nix::libc;
    nix::ioctl_write_ptr_bad!(tunsetiff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(tunsetpersist, libc::TUNSETPERSIST);
    nix::ioctl_write_int_bad!(tunsetoffload, libc::TUNSETOFFLOAD);
    nix::ioctl_write_ptr_bad!(tunsetcarrier, libc::TUNSETCARRIER, libc::c_int);
}

/// One queue of a TAP interface, non-blocking.
#[derive(Debug)]
pub struct Queue {
    file: File,
}

/// What [`Queue::read`] found.
pub enum Read {
    /// A frame of so many bytes.
    Frame(usize, Offload),
    /// A frame longer than the buffer; it is gone.
    TooLong,
    /// Nothing there.
    Empty,
}

/// Says what to do about the usual refusals.
fn explain(name: &str, step: &str, error: io::Error) -> io::Error {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "; creating or opening it takes root or CAP_NET_ADMIN, or a persistent interface of your own \
             (`ip tuntap add NAME mode tap user $USER multi_queue vnet_hdr`)"
        }
        Some(libc::EBUSY) => "; another process has it open, or every queue of it is taken",
        Some(libc::EINVAL) => "; an interface of that name exists and is no TAP, or has other queue flags: delete it",
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => "; load the kernel's tun module (`modprobe tun`)",
        _ => "",
    };
    io::Error::new(error.kind(), format!("tap {name}: {step}: {error}{hint}"))
}

impl Queue {
    /// Opens `count` queues of the interface `name` in the calling thread's network namespace, and makes the
    /// interface if there is none.
    ///
    /// # Errors
    /// What the kernel said, with the interface's name and what to do about it.
    pub fn open(name: &str, count: usize) -> io::Result<Vec<Self>> {
        let mut queues = Vec::with_capacity(count);
        for _ in 0..count {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open("/dev/net/tun")
                .map_err(|e| explain(name, "/dev/net/tun", e))?;
            let base = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
            match set_interface(&file, name, base | libc::IFF_MULTI_QUEUE) {
                // Somebody made it persistent without multi_queue: one queue is what it has.
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) && count == 1 => set_interface(&file, name, base),
                other => other,
            }
            .map_err(|e| explain(name, "TUNSETIFF", e))?;
            queues.push(Self { file });
        }
        Ok(queues)
    }

    /// Which frames the kernel may hand over unfinished: `TUN_F_*`.
    pub fn set_offload(&self, flags: u32) -> io::Result<()> {
        // SAFETY: TUNSETOFFLOAD takes its argument by value and touches no memory of ours; the descriptor is open.
        unsafe { ioctl::tunsetoffload(self.file.as_raw_fd(), flags as libc::c_int) }?;
        Ok(())
    }

    /// Whether the interface stays when the last queue is closed.
    pub fn set_persist(&self, persist: bool) -> io::Result<()> {
        // SAFETY: as for TUNSETOFFLOAD, the argument is a value.
        unsafe { ioctl::tunsetpersist(self.file.as_raw_fd(), libc::c_int::from(persist)) }?;
        Ok(())
    }

    /// Link up or down (Linux 5.0).
    pub fn set_carrier(&self, up: bool) -> io::Result<()> {
        let up = libc::c_int::from(up);
        // SAFETY: the kernel reads one int through the pointer, which lives until the call returns.
        unsafe { ioctl::tunsetcarrier(self.file.as_raw_fd(), &raw const up) }?;
        Ok(())
    }

    /// Reads one frame into `buffer`.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Read> {
        let (mut header, mut beyond) = ([0; vnet::LEN], [0; 1]);
        let room = vnet::LEN + buffer.len();
        let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(buffer), IoSliceMut::new(&mut beyond)];
        match readv(&self.file, &mut parts) {
            Ok(n) if n > room => Ok(Read::TooLong),
            Ok(n) if n <= vnet::LEN => Ok(Read::Empty),
            Ok(n) => Ok(Read::Frame(n - vnet::LEN, VnetHeader::from_bytes(&header).offload())),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(Read::Empty),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes one frame.
    pub fn write(&self, frame: &[u8], offload: &Offload) -> io::Result<()> {
        let Outgoing { header, seed } = VnetHeader::for_kernel(frame, offload);
        let header = header.to_bytes();
        let split = seed.and_then(|(at, sum)| {
            let (before, rest) = frame.split_at_checked(at)?;
            Some((before, sum, rest.get(2..)?))
        });
        let written = match &split {
            Some((before, sum, after)) => writev(
                &self.file,
                &[IoSlice::new(&header), IoSlice::new(before), IoSlice::new(sum), IoSlice::new(after)],
            ),
            None => writev(&self.file, &[IoSlice::new(&header), IoSlice::new(frame)]),
        }?;
        if written < vnet::LEN + frame.len() {
            return Err(io::Error::new(ErrorKind::WriteZero, "the kernel took part of a frame"));
        }
        Ok(())
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn set_interface(file: &File, name: &str, flags: libc::c_int) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: ifreq is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0; the spec's parser has bounded the name.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.as_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq through the pointer; `request` is one, alive and ours alone.
    unsafe { ioctl::tunsetiff(file.as_raw_fd(), &raw mut request) }?;
    Ok(())
}
