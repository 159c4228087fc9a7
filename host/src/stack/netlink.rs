//! The little of rtnetlink(7) that attachments need, and network namespaces: change a link, watch it change.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_GSO_MAX_SIZE: u16 = 41;
const IFF_UP: u32 = 1;
/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`: joins of multicast groups have no event before
/// Linux 6.14, but the solicited-node group is joined with an address.
const GROUPS: u32 = 1 | 0x10 | 0x100;
const NLMSG_HDR: usize = 16;
const IFINFOMSG: usize = 16;

/// Runs `f` in the network namespace that `ip netns` calls `name`, or that is at the absolute path `name`; file descriptors it opens stay there.
///
/// # Errors
/// The namespace does not exist or may not be entered, or what `f` returned.
pub(crate) fn in_netns<T: Send>(name: Option<&str>, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let Some(name) = name else { return f() };
    let path = if name.starts_with('/') { name.to_owned() } else { format!("/var/run/netns/{name}") };
    let file = std::fs::File::open(&path).map_err(|e| {
        let hint = if e.kind() == ErrorKind::NotFound { "; make it with `ip netns add`" } else { "" };
        io::Error::new(e.kind(), format!("network namespace {name}: {path}: {e}{hint}"))
    })?;
    // A namespace belongs to a thread: a thread of its own leaves everybody else's alone.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(&file, CloneFlags::CLONE_NEWNET).map_err(|e| {
                io::Error::new(
                    io::Error::from(e).kind(),
                    format!("network namespace {name}: {e}; entering it takes root (CAP_SYS_ADMIN)"),
                )
            })?;
            f()
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("thread in the network namespace panicked")))
    })
}

/// What the kernel says of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub up: bool,
    pub mtu: u32,
    pub mac: [u8; 6],
    pub promiscuous: bool,
}

/// Something that happened to links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// The link with this index is now so.
    State(u32, LinkState),
    /// The link with this index is gone.
    Gone(u32),
    /// Addresses changed somewhere.
    Address,
}

/// A change to a link.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkChange {
    Up(bool),
    Mtu(u32),
    Mac([u8; 6]),
    /// Largest super-frame in bytes that the kernel may make.
    GsoMaxSize(u32),
}

/// An rtnetlink socket in the namespace of the thread that opened it.
pub(crate) struct Netlink {
    fd: OwnedFd,
}

impl Netlink {
    /// A socket for requests; with `watch` one for [`Netlink::events`].
    pub fn open(watch: bool) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | if watch { SockFlag::SOCK_NONBLOCK } else { SockFlag::empty() };
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, if watch { GROUPS } else { 0 }))?;
        Ok(Self { fd })
    }

    /// Applies `change` to the link `index` and waits for the kernel's answer.
    pub fn change(&self, index: u32, change: LinkChange) -> io::Result<()> {
        let (mut flags, mut mask, mut attribute) = (0u32, 0u32, Vec::new());
        match change {
            LinkChange::Up(up) => {
                flags = if up { IFF_UP } else { 0 };
                mask = IFF_UP;
            }
            LinkChange::Mtu(mtu) => push_attribute(&mut attribute, IFLA_MTU, &mtu.to_ne_bytes()),
            LinkChange::Mac(mac) => push_attribute(&mut attribute, IFLA_ADDRESS, &mac),
            LinkChange::GsoMaxSize(size) => push_attribute(&mut attribute, IFLA_GSO_MAX_SIZE, &size.to_ne_bytes()),
        }
        self.request(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, index, flags, mask, &attribute)?;
        let mut buffer = vec![0u8; 65536];
        let n = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let reply = buffer.get(..n).unwrap_or_default();
        match (u16_at(reply, 4), u32_at(reply, NLMSG_HDR)) {
            (Some(NLMSG_ERROR), Some(0)) => Ok(()),
            (Some(NLMSG_ERROR), Some(errno)) => Err(io::Error::from_raw_os_error((errno as i32).wrapping_neg())),
            _ => Err(io::Error::new(ErrorKind::InvalidData, "unexpected rtnetlink answer")),
        }
    }

    /// What the kernel says of link `index` now.
    pub fn state(&self, index: u32) -> io::Result<LinkState> {
        self.request(RTM_GETLINK, NLM_F_REQUEST, index, 0, 0, &[])?;
        let mut buffer = vec![0u8; 65536];
        let n = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut state = None;
        parse_events(buffer.get(..n).unwrap_or_default(), &mut |event| {
            if let LinkEvent::State(i, s) = event {
                state = (i == index).then_some(s);
            }
        });
        state.ok_or_else(|| io::Error::new(ErrorKind::NotFound, "the interface is gone"))
    }

    /// Reads what is there (the socket was opened with `watch`) and tells `f`. Returns false if events were lost.
    pub fn events(&self, f: &mut dyn FnMut(LinkEvent)) -> io::Result<bool> {
        let mut buffer = vec![0u8; 65536];
        loop {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(n) => parse_events(buffer.get(..n).unwrap_or_default(), f),
                Err(nix::Error::EAGAIN) => return Ok(true),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::ENOBUFS) => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn request(&self, kind: u16, flags: u16, index: u32, up: u32, mask: u32, attributes: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(64);
        message.extend(((NLMSG_HDR + IFINFOMSG + attributes.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]); // sequence number, port id
        message.extend([0; 4]); // family, padding, ARPHRD type
        message.extend(index.to_ne_bytes());
        message.extend(up.to_ne_bytes());
        message.extend(mask.to_ne_bytes());
        message.extend(attributes);
        send(self.fd.as_raw_fd(), &message, MsgFlags::empty())?;
        Ok(())
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn push_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend((4 + value.len() as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes)
}

fn parse_events(mut bytes: &[u8], f: &mut dyn FnMut(LinkEvent)) {
    while let (Some(len), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let len = len as usize;
        let Some(message) = bytes.get(NLMSG_HDR..len) else {
            return;
        };
        match (kind, u32_at(message, 4)) {
            (RTM_DELLINK, Some(index)) => f(LinkEvent::Gone(index)),
            (RTM_NEWLINK, Some(index)) => {
                let up = u32_at(message, 8).unwrap_or(0) & IFF_UP != 0;
                let mut state = LinkState { up, mtu: 0, mac: [0; 6], promiscuous: false };
                attributes(message.get(IFINFOMSG..).unwrap_or_default(), |kind, value| match kind {
                    IFLA_ADDRESS => state.mac = value.try_into().unwrap_or_default(),
                    IFLA_MTU => state.mtu = u32_at(value, 0).unwrap_or(0),
                    IFLA_PROMISCUITY => state.promiscuous = u32_at(value, 0).unwrap_or(0) != 0,
                    _ => {}
                });
                f(LinkEvent::State(index, state));
            }
            (NLMSG_ERROR, _) => {}
            _ => f(LinkEvent::Address),
        }
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn attributes(mut bytes: &[u8], mut f: impl FnMut(u16, &[u8])) {
    while let (Some(len), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let Some(value) = bytes.get(4..usize::from(len)) else {
            return;
        };
        f(kind & 0x3fff, value);
        bytes = bytes.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
    }
}
