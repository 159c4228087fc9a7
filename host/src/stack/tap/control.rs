//! Telling the driver what the kernel's side of the interface is told.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::netlink::{LinkChange, LinkEvent, LinkState, Netlink};
use super::Shared;
use crate::port::{Port, PortRequest};

/// How often the multicast list is looked at: joins have no event before Linux 6.14.
const MULTICAST_MS: u16 = 250;

/// The kernel's word on one interface, from the namespace of the thread that opened this.
pub struct Watch {
    index: u32,
    events: Netlink,
    /// `/proc/net/dev_mcast`; the namespace is fixed when it is opened.
    groups: File,
}

impl Watch {
    pub fn open(index: u32) -> io::Result<Self> {
        Ok(Self { index, events: Netlink::open(true)?, groups: File::open("/proc/thread-self/net/dev_mcast")? })
    }

    pub fn index(&self) -> u32 {
        self.index
    }

    /// Follows the interface until the attachment stops.
    pub fn run(&self, shared: &Shared, port: &dyn Port, requests: &Netlink) {
        let info = port.info();
        let mut known = LinkState { up: true, mtu: info.mtu, mac: info.mac, promiscuous: false };
        let mut groups = Vec::new();
        // What came before the sockets were there.
        if let Ok(state) = requests.state(self.index) {
            self.apply(shared, port, requests, &mut known, state);
        }
        while !shared.stopping() {
            let _ = shared.nudge.read();
            // A kernel joins groups on an interface that is up; a driver may not expect it earlier.
            if port.running() {
                self.follow_groups(shared, port, &mut groups);
            } else {
                groups.clear();
            }
            let sources = [shared.stop.as_fd(), shared.nudge.as_fd(), self.events.as_fd()];
            let mut fds = sources.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let _ = poll(&mut fds, PollTimeout::from(MULTICAST_MS));
            let (mut latest, mut gone) = (None, false);
            let complete = self.events.events(&mut |event| match event {
                LinkEvent::State(index, state) if index == self.index => latest = Some(state),
                LinkEvent::Gone(index) if index == self.index => gone = true,
                _ => {}
            });
            if gone {
                return shared.lost(&io::Error::other("it was deleted"));
            }
            if !complete.unwrap_or(false) {
                latest = requests.state(self.index).ok();
            }
            if let Some(state) = latest {
                self.apply(shared, port, requests, &mut known, state);
            }
        }
    }

    fn apply(&self, shared: &Shared, port: &dyn Port, requests: &Netlink, known: &mut LinkState, now: LinkState) {
        let ask = |what: &str, request: PortRequest| match port.request(request) {
            Ok(()) => true,
            Err(e) => {
                shared.log(format_args!("the driver refused {what}: {e}"));
                false
            }
        };
        // What was refused is taken back, so that both sides agree.
        if now.mtu != known.mtu && !ask("the new MTU", PortRequest::Mtu(now.mtu)) {
            let _ = requests.change(self.index, LinkChange::Mtu(known.mtu));
        } else {
            known.mtu = now.mtu;
        }
        if now.mac != known.mac && !ask("the new hardware address", PortRequest::HardwareAddress(now.mac)) {
            let _ = requests.change(self.index, LinkChange::Mac(known.mac));
        } else {
            known.mac = now.mac;
        }
        if now.promiscuous != known.promiscuous {
            ask("promiscuous mode", PortRequest::Promiscuous(now.promiscuous));
            known.promiscuous = now.promiscuous;
        }
        if now.up != known.up {
            ask("to change up or down", PortRequest::Enable(now.up));
            known.up = now.up;
        }
    }

    fn follow_groups(&self, shared: &Shared, port: &dyn Port, known: &mut Vec<[u8; 6]>) {
        let mut text = Vec::new();
        let mut part = [0; 4096];
        while let Ok(n @ 1..) = self.groups.read_at(&mut part, text.len() as u64) {
            text.extend_from_slice(part.get(..n).unwrap_or_default());
        }
        let now = parse_groups(&String::from_utf8_lossy(&text), self.index);
        if now == *known {
            return;
        }
        if let Err(e) = port.request(PortRequest::Multicast(now.clone())) {
            shared.log(format_args!("the driver refused the multicast list: {e}"));
        }
        *known = now;
    }
}

/// Lines of `/proc/net/dev_mcast`: index, name, users, global users, address in hexadecimal digits.
pub(super) fn parse_groups(text: &str, index: u32) -> Vec<[u8; 6]> {
    let mut groups: Vec<[u8; 6]> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let mine = words.next()?.parse() == Ok(index);
            let digits = words.nth(3)?;
            let mut mac = [0; 6];
            for (i, byte) in mac.iter_mut().enumerate() {
                *byte = u8::from_str_radix(digits.get(i * 2..i * 2 + 2)?, 16).ok()?;
            }
            (mine && digits.len() == 12).then_some(mac)
        })
        .collect();
    groups.sort_unstable();
    groups
}
