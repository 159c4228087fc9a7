//! What `(en0)` in rules stands for: the addresses that the stack's side of the interface has, told to the driver now and
//! whenever they change, as the system extension's helper does on a Mac.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::SockaddrStorage;
use weir_core::abi::sys;
use weir_host::stack::spec::StackSpec;

use crate::control::{Control, Transport};

/// How often the kernel is asked.
const PERIOD: Duration = Duration::from_millis(200);

/// One address as the driver takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    addr: IpAddr,
    len: u8,
    broadcast: Option<IpAddr>,
    peer: Option<IpAddr>,
}

fn octets(addr: IpAddr) -> [u8; 16] {
    let mut out = [0; 16];
    match addr {
        IpAddr::V4(a) => out[..4].copy_from_slice(&a.octets()),
        IpAddr::V6(a) => out = a.octets(),
    }
    out
}

/// `weir_address[]`.
fn encode(list: &[Address]) -> Vec<u8> {
    let one = |address: &Address| {
        let of = |other: Option<IpAddr>| other.map_or([0; 16], octets);
        let mut out = [octets(address.addr), of(address.broadcast), of(address.peer)].concat();
        let family = if address.addr.is_ipv4() { 4 } else { 6 };
        out.extend([family, address.len, u8::from(address.broadcast.is_some()), u8::from(address.peer.is_some())]);
        out
    };
    debug_assert_eq!(size_of::<sys::weir_address>(), 52);
    list.iter().flat_map(one).collect()
}

fn ip(addr: Option<&SockaddrStorage>) -> Option<IpAddr> {
    let addr = addr?;
    let v4 = addr.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
    v4.or_else(|| addr.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
}

/// The length of a netmask's prefix.
fn prefix(mask: Option<IpAddr>, addr: IpAddr) -> u8 {
    let whole = if addr.is_ipv4() { 32 } else { 128 };
    mask.map_or(whole, |mask| u128::from_be_bytes(octets(mask)).leading_ones() as u8).min(whole)
}

/// Addresses of an interface, in the namespace of this thread, in the kernel's order: first ones first.
fn of_interface(name: &str) -> Result<Vec<Address>> {
    let mut list = Vec::new();
    for one in getifaddrs().context("cannot list addresses")?.filter(|one| one.interface_name == name) {
        let Some(addr) = ip(one.address.as_ref()) else { continue };
        let broadcast = ip(one.broadcast.as_ref()).filter(|_| addr.is_ipv4());
        let peer = ip(one.destination.as_ref()).filter(|peer| *peer != addr);
        list.push(Address { addr, len: prefix(ip(one.netmask.as_ref()), addr), broadcast, peer });
    }
    Ok(list)
}

/// Whoever tells the driver, until it is dropped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn netns_path(netns: &str) -> PathBuf {
    if netns.starts_with('/') { PathBuf::from(netns) } else { Path::new("/run/netns").join(netns) }
}

/// Tells the driver the addresses of the stack's interface; if the kernel has it, as long as the value lives.
///
/// # Errors
/// The namespace cannot be entered, or the driver refused.
pub fn follow<T: Transport + Send + 'static>(spec: &StackSpec, mut control: Control<T>) -> Result<Option<Watch>> {
    let tap = match spec {
        StackSpec::Tap(tap) => tap.clone(),
        StackSpec::Smoltcp(stack) => {
            let list = stack.addresses.iter();
            let list: Vec<_> =
                list.map(|(addr, len)| Address { addr: *addr, len: *len, broadcast: None, peer: None }).collect();
            control.filter_command(sys::WEIR_CMD_ADDRESSES, 0, &encode(&list))?;
            return Ok(None);
        }
        _ => return Ok(None),
    };
    let netns = tap.netns.as_deref().map(netns_path);
    let netns = netns.map(|path| File::open(&path).with_context(|| format!("cannot open {}", path.display())));
    let netns = netns.transpose()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let work = move || {
        if let Some(netns) = &netns
            && let Err(error) = setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)
        {
            eprintln!("weir: addresses of {}: cannot enter the namespace: {error}", tap.name);
            return;
        }
        let (mut known, mut said) = (None, false);
        while !stopped.load(Ordering::Acquire) {
            // The interface may be gone for a moment, or for good; it has no addresses then.
            let result = of_interface(&tap.name).and_then(|now| {
                if known.as_ref() != Some(&now) {
                    control.filter_command(sys::WEIR_CMD_ADDRESSES, 0, &encode(&now))?;
                    known = Some(now);
                }
                Ok(())
            });
            if let Err(error) = &result
                && !said
            {
                eprintln!("weir: addresses of {}: {error:#}", tap.name);
            }
            said = result.is_err();
            std::thread::sleep(PERIOD);
        }
    };
    let thread = std::thread::Builder::new().name("addresses".into()).spawn(work)?;
    Ok(Some(Watch { stop, thread: Some(thread) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_headers_layout() {
        let v4 = Address {
            addr: IpAddr::from([192, 0, 2, 7]),
            len: 24,
            broadcast: Some(IpAddr::from([192, 0, 2, 255])),
            peer: None,
        };
        let v6 = Address { addr: "2001:db8::1".parse().unwrap(), len: 64, broadcast: None, peer: None };
        let bytes = encode(&[v4, v6]);
        assert_eq!(bytes.len(), 2 * size_of::<sys::weir_address>());
        assert_eq!(
            (&bytes[..4], &bytes[16..20], &bytes[48..52]),
            (&[192, 0, 2, 7][..], &[192, 0, 2, 255][..], &[4, 24, 1, 0][..])
        );
        assert_eq!((&bytes[52..56], &bytes[100..104]), (&[0x20, 1, 0xd, 0xb8][..], &[6, 64, 0, 0][..]));
    }

    #[test]
    fn loopback_has_its_addresses() {
        let list = of_interface("lo").unwrap();
        assert!(
            list.contains(&Address { addr: IpAddr::from([127, 0, 0, 1]), len: 8, broadcast: None, peer: None }),
            "{list:?}"
        );
    }
}
