//! A NIC without hardware: its cable ends at another instance, at a station that answers, or at a client's rings.
//!
//! With a peer or a client nothing is lost for want of buffers: a frame waits with its sender until the receiver has
//! room, and the receiver wakes the sender then. Without a far end frames come back with
//! [`crate::mem::Status::NoCarrier`].

mod cable;
mod client;
mod config;
mod deliver;
mod pair;
mod port;
mod queue;
mod reflect;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use self::port::{ClientQueue, Port, SUPPORTED};
use self::queue::LoopbackQueue;
use super::{Device, Link, MTU_MIN, MulticastList, Nic, NicEnv, NicError, NicQueue, Offloads, WirePort};
use crate::mem::region::Shared;
use crate::mem::wire_ring::{Geometry, WireRing};
pub use config::{LoopbackConfig, Wire};

/// What a virtual cable says about its speed, in bits per second.
const SPEED_BPS: u64 = 10_000_000_000;

/// Makes a loopback NIC: disabled, cable plugged, all assists on.
///
/// # Errors
/// What is wrong with the configuration, or that both ends of the pair are taken.
/// Allocates; called at Start.
pub fn open(config: &LoopbackConfig, env: NicEnv) -> Result<Device, NicError> {
    config.check()?;
    let (port, own) = Port::new(config, env.events)?;
    let mut queues: Vec<Box<dyn NicQueue>> = Vec::with_capacity(config.queues);
    for (index, own) in own.into_iter().enumerate() {
        let queue = LoopbackQueue::new(port.clone(), index, config.wire, config.ring_size, own);
        queues.push(Box::new(queue));
    }
    match config.wire {
        Wire::Pair(name) => cable::join(name, &port)?,
        Wire::Reflect => port.joined.store(true, Ordering::Release),
        Wire::None | Wire::Client => {}
    }
    let nic = Loopback { port, config: *config, client: None };
    Ok(Device { nic: Box::new(nic), queues, usb: None })
}

/// The control side.
struct Loopback {
    port: Arc<Port>,
    config: LoopbackConfig,
    client: Option<Arc<WireRing<'static>>>,
}

impl Loopback {
    fn is_pair(&self) -> bool {
        matches!(self.config.wire, Wire::Pair(_))
    }

    /// The other end sees a difference.
    fn tell_peer(&self) {
        if self.is_pair() {
            cable::with_peer(&self.port, |peer| {
                if let Some(peer) = peer {
                    peer.events.link_changed();
                    peer.wake_all();
                }
            });
        }
    }

    fn tell_self(&self) {
        self.port.events.link_changed();
        self.port.wake_all();
    }

    fn geometry(&self) -> Geometry {
        Geometry::for_nic(self.config.queues as u32, self.config.ring_size as u32, self.config.buf_len)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        // All three leave what is lent where reclaim finds it.
        let _ = self.enable(false);
        let _ = self.detach();
        if self.is_pair() {
            cable::leave(&self.port);
        }
    }
}

impl Nic for Loopback {
    fn queues(&self) -> usize {
        self.port.queues.len()
    }

    fn enable(&mut self, on: bool) -> Result<(), NicError> {
        if on == self.port.is_enabled() {
            return Ok(());
        }
        if on {
            for queue in &self.port.queues {
                queue.inbox.open();
            }
            self.port.enabled.store(true, Ordering::Release);
        } else {
            self.port.enabled.store(false, Ordering::Release);
            for queue in &self.port.queues {
                queue.inbox.close();
            }
        }
        self.tell_peer();
        Ok(())
    }

    fn is_enabled(&self) -> bool {
        self.port.is_enabled()
    }

    fn mac(&self) -> [u8; 6] {
        self.port.filter.mac()
    }

    fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), NicError> {
        self.port.filter.set_mac(mac)
    }

    fn set_promiscuous(&mut self, on: bool) {
        self.port.filter.set_promiscuous(on);
    }

    fn promiscuous(&self) -> bool {
        self.port.filter.promiscuous()
    }

    fn set_all_multicast(&mut self, on: bool) {
        self.port.filter.set_all_multicast(on);
    }

    fn set_multicast(&mut self, list: &MulticastList) -> Result<(), NicError> {
        self.port.filter.set_multicast(list)
    }

    fn multicast_count(&self) -> usize {
        self.port.filter.multicast_count()
    }

    fn mtu(&self) -> u32 {
        self.port.filter.mtu()
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), NicError> {
        if !(MTU_MIN..=self.config.mtu_max).contains(&mtu) {
            return Err(NicError::Invalid("MTU must be 68 to its maximum"));
        }
        self.port.filter.set_mtu(mtu);
        Ok(())
    }

    fn offloads_supported(&self) -> Offloads {
        SUPPORTED
    }

    fn offloads(&self) -> Offloads {
        self.port.offloads()
    }

    fn set_offloads(&mut self, offloads: Offloads) -> Result<(), NicError> {
        if !SUPPORTED.contains(offloads) {
            return Err(NicError::Unsupported);
        }
        self.port.offloads.store(offloads.bits(), Ordering::Relaxed);
        Ok(())
    }

    fn link(&self) -> Link {
        let mut up = self.port.is_plugged() && self.port.joined.load(Ordering::Acquire);
        if self.is_pair() {
            up = up && cable::with_peer(&self.port, |peer| peer.is_some_and(Port::is_listening));
        }
        Link { up, full_duplex: true, speed_bps: SPEED_BPS }
    }

    fn set_link(&mut self, up: bool) -> Result<(), NicError> {
        if self.port.plugged.swap(up, Ordering::AcqRel) != up {
            self.tell_self();
            self.tell_peer();
        }
        Ok(())
    }

    fn wire(&mut self) -> Option<&mut dyn WirePort> {
        match self.config.wire {
            Wire::None | Wire::Client => Some(self),
            Wire::Pair(_) | Wire::Reflect => None,
        }
    }
}

impl WirePort for Loopback {
    fn size(&self) -> usize {
        self.geometry().total_len()
    }

    /// Allocates; called at Start.
    fn attach(&mut self, mem: Shared<'static>) -> Result<(), NicError> {
        if self.client.is_some() {
            return Err(NicError::Busy);
        }
        let geometry = self.geometry();
        let filter = &self.port.filter;
        let (ring, rings) = WireRing::attach(mem, &geometry, filter.mac(), filter.mtu()).ok_or(NicError::NoMemory)?;
        let ring = Arc::new(ring);
        for (queue, rings) in self.port.queues.iter().zip(rings) {
            let client = ClientQueue {
                rings,
                shared: ring.clone(),
                scratch: vec![0; geometry.slot_size as usize].into_boxed_slice(),
                cutting: None,
                cut: 0,
                faulted: false,
            };
            *queue.wire.lock() = Some(client);
            queue.wire.open();
        }
        self.client = Some(ring);
        self.port.joined.store(true, Ordering::Release);
        self.tell_self();
        Ok(())
    }

    fn detach(&mut self) -> Result<(), NicError> {
        let Some(ring) = self.client.take() else {
            return Err(NicError::State("no wire client is attached"));
        };
        for queue in &self.port.queues {
            // After this no burst touches the memory any more.
            queue.wire.close();
            *queue.wire.lock() = None;
        }
        ring.detach();
        self.port.joined.store(false, Ordering::Release);
        self.tell_self();
        Ok(())
    }

    fn kick(&self) {
        for queue in 0..self.port.queues.len() {
            self.port.wake(queue);
        }
    }
}

#[cfg(test)]
mod tests;
