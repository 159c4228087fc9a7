//! Settings of the NIC and its far end.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use super::{Driver, Error, IfName, Mac};
use crate::filter::Place;
use crate::mem::region::Shared as SharedMemory;
use crate::nic::{Hardware, Link, MULTICAST_MAX, MulticastList, Offloads, WirePort};

impl Driver {
    /// Takes frames for every station, or no more.
    ///
    /// # Errors
    /// [`Error::Busy`] only.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), Error> {
        self.claim()?.nic.set_promiscuous(on);
        Ok(())
    }

    /// Takes all multicast frames, or only those on the list.
    ///
    /// # Errors
    /// [`Error::Busy`] only.
    pub fn set_all_multicast(&self, on: bool) -> Result<(), Error> {
        let mut control = self.claim()?;
        control.all_multicast.0 = on;
        let overflow = control.all_multicast.1;
        control.nic.set_all_multicast(on || overflow);
        Ok(())
    }

    /// Replaces the multicast list. One that is too long is replaced by "all multicast frames".
    ///
    /// # Errors
    /// [`Error::Invalid`] if an address is none of a group.
    pub fn set_multicast(&self, addresses: &[[u8; 6]]) -> Result<(), Error> {
        let mut control = self.claim()?;
        let is_long = addresses.len() > MULTICAST_MAX;
        let list = MulticastList::from_slice(if is_long { &[] } else { addresses }).map_err(|_| Error::Invalid)?;
        control.nic.set_multicast(&list)?;
        control.all_multicast.1 = is_long;
        let requested = control.all_multicast.0;
        control.nic.set_all_multicast(requested || is_long);
        Ok(())
    }

    /// Sets the station address.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a group address or zero.
    pub fn set_mac(&self, mac: Mac) -> Result<(), Error> {
        Ok(self.claim()?.nic.set_mac(mac.0)?)
    }

    /// The station address.
    ///
    /// # Errors
    /// [`Error::Busy`] only.
    pub fn mac(&self) -> Result<Mac, Error> {
        Ok(Mac(self.claim()?.nic.mac()))
    }

    /// Sets the MTU, bytes without the Ethernet header.
    ///
    /// # Errors
    /// [`Error::Invalid`] outside 68 and the configured maximum.
    pub fn set_mtu(&self, mtu: u32) -> Result<(), Error> {
        self.claim()?.nic.set_mtu(mtu)?;
        self.common.pipeline.set_mtu(mtu);
        Ok(())
    }

    /// Tells the interface's name, which `on` in rules compares with.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; the old name stays then.
    pub fn set_if_name(&self, name: IfName) -> Result<(), Error> {
        let mut control = self.claim()?;
        let place = Place { if_name: name.as_str(), ..self.place(&control) };
        let renamed = control.publisher.current().moved(place).ok_or(Error::NoMemory)?;
        control.if_name = name;
        self.publish(&mut control, renamed);
        Ok(())
    }

    /// Every assist that the NIC has; empty if control is busy.
    #[must_use]
    pub fn offloads(&self) -> Offloads {
        self.claim().map_or(Offloads::empty(), |control| control.nic.offloads_supported())
    }

    /// Says which assists the stack will use (`WEIR_OFFLOAD_*`).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for one that the NIC does not have.
    pub fn set_offloads(&self, offloads: u32) -> Result<(), Error> {
        let offloads = Offloads::from_bits(offloads).ok_or(Error::Unsupported)?;
        Ok(self.claim()?.nic.set_offloads(offloads)?)
    }

    /// What the adapter is, its address, and its queue pairs.
    ///
    /// # Errors
    /// [`Error::Busy`] only.
    pub fn hardware(&self) -> Result<(Hardware, Mac, usize), Error> {
        let control = self.claim()?;
        Ok((control.nic.hardware(), Mac(control.nic.mac()), self.common.shards()))
    }

    /// Interrupt `vector` arrived; a mask of the queues to poll.
    pub fn interrupt(&self, vector: u32) -> u32 {
        self.count_interrupt();
        self.claim().map_or(0, |mut control| control.nic.interrupt(vector))
    }

    /// An interrupt was answered.
    pub fn count_interrupt(&self) {
        self.common.interrupts.fetch_add(1, Ordering::Relaxed);
    }

    /// The watchdog; true when the NIC must be disabled and enabled again.
    pub fn tick(&self) -> bool {
        let now_ns = self.common.host.now_ns();
        self.claim().is_ok_and(|mut control| control.nic.tick(now_ns))
    }

    /// Whether the NIC wakes the machine on a magic packet while it is disabled.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for one that cannot.
    pub fn set_wake(&self, on: bool) -> Result<(), Error> {
        Ok(self.claim()?.nic.set_wake(on)?)
    }

    /// State of the cable.
    ///
    /// # Errors
    /// [`Error::Busy`] only.
    pub fn link(&self) -> Result<Link, Error> {
        Ok(self.claim()?.nic.link())
    }

    /// Pulls or plugs the cable of a virtual NIC.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a real one.
    pub fn set_link(&self, up: bool) -> Result<(), Error> {
        Ok(self.claim()?.nic.set_link(up)?)
    }

    /// Bytes of memory that a wire client needs; 0 if there can be none.
    #[must_use]
    pub fn wire_size(&self) -> u64 {
        self.claim().ok().and_then(|mut control| control.nic.wire().map(|wire| wire.size() as u64)).unwrap_or(0)
    }

    fn with_wire<T>(&self, call: impl FnOnce(&mut dyn WirePort) -> Result<T, Error>) -> Result<T, Error> {
        let mut control = self.claim()?;
        call(control.nic.wire().ok_or(Error::Unsupported)?)
    }

    /// Connects a wire client.
    ///
    /// # Errors
    /// [`Error::NoMemory`] if it is too small, [`Error::Busy`] if there is one already, [`Error::Unsupported`].
    pub fn wire_attach(&self, mem: SharedMemory<'static>) -> Result<(), Error> {
        self.with_wire(|wire| Ok(wire.attach(mem)?))
    }

    /// Disconnects the wire client; on return its memory is not touched any more.
    ///
    /// # Errors
    /// [`Error::State`] if there is none, [`Error::Unsupported`].
    pub fn wire_detach(&self) -> Result<(), Error> {
        self.with_wire(|wire| Ok(wire.detach()?))
    }

    /// The wire client has made frames or room.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without such a wire.
    pub fn wire_kick(&self) -> Result<(), Error> {
        self.with_wire(|wire| {
            wire.kick();
            Ok(())
        })
    }
}
