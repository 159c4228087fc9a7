//! The PCI transport (virtio 1.2 section 4.1): structures behind capabilities, status, features, queue set-up.

use alloc::sync::Arc;

use super::ring::Memory;
use super::spec::{NETWORK_DEVICE, VENDOR, capability, common, status};
use crate::nic::{NicError, Registers};

/// PCI 3.0 section 6.7: the list of capabilities.
const CAPABILITIES: u64 = 0x34;
const VENDOR_SPECIFIC: u32 = 0x09;
/// More than fit into 192 bytes: the list is a circle.
const CAPABILITIES_MAX: usize = 48;
/// Looks at a register until a reset must be over (section 4.1.4.3.2: it reads 0 then).
const RESET_LOOKS: usize = 100_000;

/// A structure in a BAR.
#[derive(Clone, Copy, Debug)]
struct Window {
    bar: u32,
    offset: u64,
    len: u64,
}

/// The device as its capabilities describe it.
pub(super) struct Transport {
    regs: Arc<dyn Registers>,
    common: Window,
    notify: Window,
    notify_multiplier: u64,
    device: Option<Window>,
}

/// Where a queue's doorbell is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doorbell {
    pub bar: u32,
    pub offset: u64,
}

/// Section 4.1.2.1: a modern network card.
pub(in crate::nic) fn is_network_card(identity: u32) -> bool {
    identity & 0xffff == VENDOR && identity >> 16 == NETWORK_DEVICE
}

impl Transport {
    /// Finds the structures. Allocates nothing.
    pub fn find(regs: Arc<dyn Registers>) -> Result<Self, NicError> {
        let identity = regs.config_read32(0);
        if identity == u32::MAX {
            return Err(NicError::State("the device is gone"));
        }
        if !is_network_card(identity) {
            return Err(NicError::Invalid("the device is not a modern virtio network card"));
        }
        let (mut common, mut notify, mut device) = (None, None, None);
        let mut notify_multiplier = 0;
        let mut at = u64::from(regs.config_read32(CAPABILITIES) & 0xfc);
        for _ in 0..CAPABILITIES_MAX {
            if at < 0x40 {
                break;
            }
            let head = regs.config_read32(at);
            if head & 0xff == VENDOR_SPECIFIC {
                let bar = regs.config_read32(at + 4) & 0xff;
                let offset = u64::from(regs.config_read32(at + 8));
                let len = u64::from(regs.config_read32(at + 12));
                // Section 4.1.4.1: reserved BAR numbers are ignored, and the first of a kind is taken.
                if bar <= 5 {
                    let window = Window { bar, offset, len };
                    match head >> 24 {
                        capability::COMMON if common.is_none() => common = Some(window),
                        capability::NOTIFY if notify.is_none() => {
                            notify = Some(window);
                            notify_multiplier = u64::from(regs.config_read32(at + 16));
                        }
                        capability::DEVICE if device.is_none() => device = Some(window),
                        _ => {}
                    }
                }
            }
            at = u64::from(head >> 8 & 0xfc);
        }
        let missing = NicError::State("the device lacks a virtio structure");
        let common = common.filter(|window| window.len >= common::LEN).ok_or(missing)?;
        Ok(Self { regs, common, notify: notify.ok_or(missing)?, notify_multiplier, device })
    }

    fn at(&self, field: u64) -> (u32, u64) {
        (self.common.bar, self.common.offset + field)
    }

    fn read8(&self, field: u64) -> u8 {
        let (bar, offset) = self.at(field);
        self.regs.read8(bar, offset)
    }

    fn read16(&self, field: u64) -> u16 {
        let (bar, offset) = self.at(field);
        self.regs.read16(bar, offset)
    }

    fn write16(&self, field: u64, value: u16) {
        let (bar, offset) = self.at(field);
        self.regs.write16(bar, offset, value);
    }

    fn write32(&self, field: u64, value: u32) {
        let (bar, offset) = self.at(field);
        self.regs.write32(bar, offset, value);
    }

    /// Section 4.1.3.1: 64-bit fields are two 32-bit accesses.
    fn write64(&self, field: u64, value: u64) {
        self.write32(field, value as u32);
        self.write32(field + 4, (value >> 32) as u32);
    }

    pub fn status(&self) -> u8 {
        self.read8(common::DEVICE_STATUS)
    }

    fn set_status(&self, value: u8) {
        let (bar, offset) = self.at(common::DEVICE_STATUS);
        self.regs.write8(bar, offset, value);
    }

    /// Adds status bits (section 2.1.1: none is ever cleared but by a reset).
    pub fn add_status(&self, bits: u8) {
        self.set_status(self.status() | bits);
    }

    /// Resets the device and waits for it (section 4.1.4.3.2). False if it does not answer: it is gone, or as good.
    pub fn reset(&self) -> bool {
        self.set_status(0);
        for _ in 0..RESET_LOOKS {
            match self.status() {
                0 => return true,
                u8::MAX => return false,
                _ => {}
            }
        }
        false
    }

    /// What the device offers (section 2.2).
    pub fn features(&self) -> u64 {
        let (bar, offset) = self.at(common::DEVICE_FEATURE);
        let word = |select| {
            self.write32(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.regs.read32(bar, offset))
        };
        word(0) | word(1) << 32
    }

    /// Section 3.1.1 steps 4 to 6: accepts `features`; false if the device does not take them.
    pub fn accept(&self, features: u64) -> bool {
        for (select, word) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.write32(common::DRIVER_FEATURE_SELECT, select);
            self.write32(common::DRIVER_FEATURE, word);
        }
        self.add_status(status::FEATURES_OK);
        self.status() & status::FEATURES_OK != 0
    }

    /// The largest size of a queue; 0 if there is no such queue (section 4.1.5.1.3).
    pub fn queue_size_max(&self, queue: u16) -> u16 {
        self.write16(common::QUEUE_SELECT, queue);
        self.read16(common::QUEUE_SIZE)
    }

    /// Sends configuration changes to `vector`; false if the device cannot (section 4.1.5.1.2).
    pub fn set_config_vector(&self, vector: u16) -> bool {
        self.write16(common::CONFIG_MSIX_VECTOR, vector);
        self.read16(common::CONFIG_MSIX_VECTOR) == vector
    }

    /// Sets a queue up and enables it (section 4.1.5.1.3). `None` if the device refuses the vector or contradicts
    /// itself about the doorbell.
    pub fn enable_queue(&self, queue: u16, memory: &Memory, vector: u16) -> Option<Doorbell> {
        self.write16(common::QUEUE_SELECT, queue);
        self.write16(common::QUEUE_SIZE, memory.size);
        self.write16(common::QUEUE_MSIX_VECTOR, vector);
        if self.read16(common::QUEUE_MSIX_VECTOR) != vector {
            return None;
        }
        self.write64(common::QUEUE_DESC, memory.iova());
        self.write64(common::QUEUE_DRIVER, memory.iova() + memory.layout.driver as u64);
        self.write64(common::QUEUE_DEVICE, memory.iova() + memory.layout.device as u64);
        // Section 4.1.4.4: cap.offset + queue_notify_off * notify_off_multiplier, inside the structure.
        let offset = u64::from(self.read16(common::QUEUE_NOTIFY_OFF)) * self.notify_multiplier;
        if offset + 2 > self.notify.len {
            return None;
        }
        self.write16(common::QUEUE_ENABLE, 1);
        Some(Doorbell { bar: self.notify.bar, offset: self.notify.offset + offset })
    }

    fn device_field(&self, field: u64, len: u64) -> Option<(u32, u64)> {
        let window = self.device?;
        (field + len <= window.len).then_some((window.bar, window.offset + field))
    }

    /// Device configuration; all ones where there is none.
    pub fn config8(&self, field: u64) -> u8 {
        self.device_field(field, 1).map_or(u8::MAX, |(bar, at)| self.regs.read8(bar, at))
    }

    pub fn config16(&self, field: u64) -> u16 {
        self.device_field(field, 2).map_or(u16::MAX, |(bar, at)| self.regs.read16(bar, at))
    }

    pub fn config32(&self, field: u64) -> u32 {
        self.device_field(field, 4).map_or(u32::MAX, |(bar, at)| self.regs.read32(bar, at))
    }

    /// Reads fields that belong together (section 2.5.1: the generation is the same before and after).
    pub fn config_stable<T>(&self, read: impl Fn(&Self) -> T) -> T {
        let mut before = self.read8(common::CONFIG_GENERATION);
        let mut value = read(self);
        // A device whose configuration never rests is believed in the end.
        for _ in 0..16 {
            let after = self.read8(common::CONFIG_GENERATION);
            if after == before {
                break;
            }
            before = after;
            value = read(self);
        }
        value
    }
}
