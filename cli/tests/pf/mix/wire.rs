//! A wire that loses, doubles and reorders: it carries frames between an interface of the driver and the server.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::Dice;
use crate::net::packet_socket;

/// What happens to a TCP segment, in a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub lost: usize,
    pub doubled: usize,
    pub late: usize,
}

pub struct Wire {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Segments lost, doubled, late.
    pub counts: Arc<[AtomicU64; 3]>,
}

impl Wire {
    /// Between two interfaces of a namespace.
    pub fn start(ns: &str, near: &str, far: &str, faults: Faults, seed: u64) -> Self {
        let (near, far) = (Arc::new(packet_socket(ns, near)), Arc::new(packet_socket(ns, far)));
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new([const { AtomicU64::new(0) }; 3]));
        let threads = [(&near, &far, 1), (&far, &near, 2)].map(|(from, to, side)| {
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            std::thread::spawn(move || carry(&from, &to, faults, Dice(seed ^ side), &stop, &counts))
        });
        Self { stop, threads: threads.into(), counts }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn carry(from: &Socket, to: &Socket, faults: Faults, mut dice: Dice, stop: &AtomicBool, counts: &[AtomicU64; 3]) {
    let mut late: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut bytes = vec![0; 1 << 16];
    let send = |frame: &[u8]| {
        // A full queue loses a frame, as wires do.
        let _ = (&mut &*to).write_all(frame);
    };
    from.set_read_timeout(Some(Duration::from_millis(2))).expect("a socket takes a timeout");
    while !stop.load(Ordering::Relaxed) {
        let len = (&mut &*from).read(&mut bytes).unwrap_or(0);
        while late.front().is_some_and(|(when, _)| *when <= Instant::now()) {
            let _ = late.pop_front().map(|(_, frame)| send(&frame));
        }
        if len == 0 {
            continue;
        }
        let frame = &mut bytes[..len];
        if !sum(frame) {
            send(frame);
            continue;
        }
        let fate = dice.below(1000);
        let Faults { lost, doubled, late: behind } = faults;
        if fate < lost {
            counts[0].fetch_add(1, Ordering::Relaxed);
        } else if fate < lost + doubled {
            counts[1].fetch_add(1, Ordering::Relaxed);
            send(frame);
            send(frame);
        } else if fate < lost + doubled + behind {
            counts[2].fetch_add(1, Ordering::Relaxed);
            let when = Instant::now() + Duration::from_millis(1 + dice.below(15) as u64);
            let at = late.iter().position(|(other, _)| *other > when).unwrap_or(late.len());
            late.insert(at, (when, frame.to_vec()));
        } else {
            send(frame);
        }
    }
}

/// Gives a TCP segment its checksum, which a veth interface leaves to hardware that is not there. False: it is none.
fn sum(frame: &mut [u8]) -> bool {
    let Some((at, sum)) = checksum(frame) else { return false };
    frame[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
    true
}

/// Where the TCP header is, and its checksum.
fn checksum(frame: &[u8]) -> Option<(usize, u16)> {
    let packet = etherparse::SlicedPacket::from_ethernet(frame).ok()?;
    let (Some(net), Some(etherparse::TransportSlice::Tcp(tcp))) = (&packet.net, &packet.transport) else {
        return None;
    };
    let at = tcp.slice().as_ptr().addr() - frame.as_ptr().addr();
    let header = tcp.to_header();
    let sum = match net {
        etherparse::NetSlice::Ipv4(ip) => header.calc_checksum_ipv4(&ip.header().to_header(), tcp.payload()),
        etherparse::NetSlice::Ipv6(ip) => header.calc_checksum_ipv6(&ip.header().to_header(), tcp.payload()),
        etherparse::NetSlice::Arp(_) => return None,
    };
    Some((at, sum.ok()?))
}
