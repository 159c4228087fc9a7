//! What control keeps the same way for every adapter: addresses, modes, MTU, offloads. An [`Adapter`] says what it does about
//! them; that makes it a [`Nic`].

use alloc::boxed::Box;

use super::rx_filter::RxFilter;
use super::{Hardware, Link, MTU_MIN, MulticastList, Nic, NicError, NicStats, Offloads};

/// See the module. What frames are compared with is in [`RxFilter`]; this is what the device is told.
pub(crate) struct Settings {
    pub multicast: Box<MulticastList>,
    pub all_multicast: bool,
    /// The largest MTU that the device takes.
    pub mtu_max: u32,
    /// Every assist that the device has.
    pub supported: Offloads,
}

impl Settings {
    /// Allocates; called at Start.
    pub fn new(mtu_max: u32, supported: Offloads) -> Self {
        Self { multicast: Box::default(), all_multicast: false, mtu_max, supported }
    }
}

/// The control side of a NIC with hardware behind it. The `..._changed` follow the change.
pub(crate) trait Adapter: Send {
    fn settings(&self) -> &Settings;
    fn settings_mut(&mut self) -> &mut Settings;
    fn filter(&self) -> &RxFilter;
    fn station_changed(&mut self);
    fn groups_changed(&mut self);
    /// Promiscuous, or all multicast frames.
    fn mode_changed(&mut self);
    /// The assists that are switched on.
    fn offloads(&self) -> Offloads;
    fn offloads_changed(&mut self, offloads: Offloads);
    fn queues(&self) -> usize;
    fn is_enabled(&self) -> bool;
    /// [`Nic::enable`], called for changes only.
    fn turn(&mut self, on: bool) -> Result<(), NicError>;
    fn link(&self) -> Link;
    fn hardware(&self) -> Hardware;
    fn interrupt(&mut self, vector: u32) -> u32;
    fn tick(&mut self, now_ns: u64) -> bool;
    fn set_wake(&mut self, on: bool) -> Result<(), NicError> {
        if on { Err(NicError::Unsupported) } else { Ok(()) }
    }
    fn stats(&self) -> NicStats;
}

impl<A: Adapter> Nic for A {
    fn queues(&self) -> usize {
        Adapter::queues(self)
    }

    fn enable(&mut self, on: bool) -> Result<(), NicError> {
        if on == Adapter::is_enabled(self) { Ok(()) } else { self.turn(on) }
    }

    fn is_enabled(&self) -> bool {
        Adapter::is_enabled(self)
    }

    fn mac(&self) -> [u8; 6] {
        self.filter().mac()
    }

    fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), NicError> {
        self.filter().set_mac(mac)?;
        self.station_changed();
        Ok(())
    }

    fn set_promiscuous(&mut self, on: bool) {
        self.filter().set_promiscuous(on);
        self.mode_changed();
    }

    fn promiscuous(&self) -> bool {
        self.filter().promiscuous()
    }

    fn set_all_multicast(&mut self, on: bool) {
        self.filter().set_all_multicast(on);
        self.settings_mut().all_multicast = on;
        self.mode_changed();
    }

    fn set_multicast(&mut self, list: &MulticastList) -> Result<(), NicError> {
        self.filter().set_multicast(list)?;
        self.settings_mut().multicast.as_mut().clone_from(list);
        self.groups_changed();
        Ok(())
    }

    fn multicast_count(&self) -> usize {
        self.filter().multicast_count()
    }

    fn mtu(&self) -> u32 {
        self.filter().mtu()
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), NicError> {
        if !(MTU_MIN..=self.settings().mtu_max).contains(&mtu) {
            return Err(NicError::Invalid("MTU must be 68 to its maximum"));
        }
        self.filter().set_mtu(mtu);
        Ok(())
    }

    fn offloads_supported(&self) -> Offloads {
        self.settings().supported
    }

    fn offloads(&self) -> Offloads {
        Adapter::offloads(self)
    }

    fn set_offloads(&mut self, offloads: Offloads) -> Result<(), NicError> {
        if !self.settings().supported.contains(offloads) {
            return Err(NicError::Unsupported);
        }
        self.offloads_changed(offloads);
        Ok(())
    }

    fn link(&self) -> Link {
        Adapter::link(self)
    }

    fn hardware(&self) -> Hardware {
        Adapter::hardware(self)
    }

    fn interrupt(&mut self, vector: u32) -> u32 {
        Adapter::interrupt(self, vector)
    }

    fn tick(&mut self, now_ns: u64) -> bool {
        Adapter::tick(self, now_ns)
    }

    fn set_wake(&mut self, on: bool) -> Result<(), NicError> {
        Adapter::set_wake(self, on)
    }

    fn stats(&self) -> NicStats {
        Adapter::stats(self)
    }
}
