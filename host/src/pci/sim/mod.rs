//! A model of Intel's I225, for want of an independent one: written from the I210 datasheet (revision 3.7), whose registers
//! the I225 has, from the device's side of each section. What a driver must not do ends the run.
//!
//! It runs on the runtime's clock: in a simulated host the same seed gives the same run.

mod bus;
mod receive;
mod registers;
mod transmit;
mod wire;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use super::{Bar, PciDevice, Raise};
use crate::diag::{Site, violation};
use crate::ioreturn::{IoResult, IoReturn};
use crate::mem::Mem;
use crate::rt::Runtime;
use crate::sched::{Expire, Item, Queue, lock};
use bus::{Bus, Messages};
use registers::Registers;
pub use wire::Wire;

/// Sections 9.2, 9.4.11: registers; and the MSI-X table.
const BAR_REGISTERS: u8 = 0;
const REGISTERS_SIZE: u64 = 1 << 20;
const BAR_TABLE: u8 = 3;
const TABLE_SIZE: u64 = 1 << 14;
/// Section 7.3.2: vectors.
const VECTORS: u32 = 5;
/// Queue pairs (section 7.1.2).
const QUEUES: usize = 4;
/// Frames that wait inside the device, each way.
const FIFO: usize = 256;
/// Frames that one turn moves, each way: others get their turn.
const TURN: usize = 64;
/// A wire that takes nothing is tried again after this.
const RETRY_NS: u64 = 50_000;

/// What a model did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Frames sent and received.
    pub sent: u64,
    /// See `sent`.
    pub received: u64,
    /// Frames that no filter let in.
    pub filtered: u64,
    /// Messages sent.
    pub interrupts: u64,
    /// Frames by receive queue.
    pub by_queue: [u64; QUEUES],
}

struct State {
    registers: Registers,
    bus: Bus,
    messages: Messages,
    wire: Wire,
    plugged: bool,
    /// Neither sends nor receives, but answers.
    stuck: bool,
    inbox: VecDeque<Vec<u8>>,
    /// What a super-frame's segments could not yet leave as.
    outbox: VecDeque<Vec<u8>>,
    seen: Seen,
    scheduled: bool,
}

/// See the module.
pub struct SimNic {
    me: Weak<SimNic>,
    state: Mutex<State>,
    raise: Mutex<Option<Raise>>,
    rt: Mutex<Option<(Arc<Runtime>, Arc<Queue>)>>,
}

/// A driver that breaks a rule of the datasheet.
fn misuse(text: String) {
    violation("device programming", text, Site::NONE, Vec::new());
}

impl SimNic {
    /// A device with its cable in `wire`.
    #[must_use]
    pub fn new(mac: [u8; 6], wire: Wire) -> Arc<SimNic> {
        let reader = wire.reader();
        let state = State {
            registers: Registers::new(mac),
            bus: Bus::default(),
            messages: Messages::default(),
            wire,
            plugged: true,
            stuck: false,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            seen: Seen::default(),
            scheduled: false,
        };
        let device = Arc::new_cyclic(|me| SimNic {
            me: me.clone(),
            state: Mutex::new(state),
            raise: Mutex::default(),
            rt: Mutex::default(),
        });
        if let Some(reader) = reader {
            let device = Arc::downgrade(&device);
            std::thread::spawn(move || {
                reader.run(|frame| device.upgrade().map(|device| device.offer(frame)));
            });
        }
        device
    }

    /// What it did.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.state).seen
    }

    /// Frames that left on a wire of the test's own, since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Vec<u8>> {
        lock(&self.state).wire.take()
    }

    /// Puts frames onto the wire.
    pub fn send(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
        lock(&self.state).inbox.extend(frames);
        self.kick();
    }

    /// As [`SimNic::send`], unless the device has enough: false then.
    fn offer(&self, frame: &[u8]) -> bool {
        if frame.is_empty() {
            return true;
        }
        let mut state = lock(&self.state);
        if state.inbox.len() >= FIFO {
            return false;
        }
        state.inbox.push_back(frame.to_vec());
        drop(state);
        self.kick();
        true
    }

    /// Whether the station at the far end answers ARP, echo requests and UDP echo.
    pub fn set_respond(&self, on: bool) {
        lock(&self.state).wire.set_respond(on);
    }

    /// Plugs or pulls the cable.
    pub fn set_cable(&self, plugged: bool) {
        let mut state = lock(&self.state);
        state.plugged = plugged;
        state.registers.set_cable(plugged);
        let vectors = self.due(&mut state);
        drop(state);
        self.signal(&vectors);
        self.kick();
    }

    /// The device stops moving frames, or goes on.
    pub fn set_stuck(&self, on: bool) {
        lock(&self.state).stuck = on;
        self.kick();
    }

    /// It loses everything that it was told, as by a moment without power.
    pub fn lose_power(&self) {
        let mut state = lock(&self.state);
        let plugged = state.plugged;
        state.registers.power_on(plugged);
        state.registers.lost = true;
        state.inbox.clear();
        state.outbox.clear();
    }

    fn now_ns(&self) -> u64 {
        lock(&self.rt).as_ref().map_or(0, |(rt, _)| rt.now_ns())
    }

    /// Has [`SimNic::service`] run soon.
    fn kick(&self) {
        let rt = lock(&self.rt).clone();
        let Some((_, queue)) = rt else { return };
        if !std::mem::replace(&mut lock(&self.state).scheduled, true) {
            // The queue is the device's own: what waits in it must not hold the device.
            let me = self.me.clone();
            queue.push(Item::Call(Box::new(move || me.upgrade().into_iter().for_each(|me| me.service()))));
        }
    }

    fn later(&self, ns: u64) {
        let rt = lock(&self.rt).clone();
        if let Some((rt, _)) = rt {
            // The runtime's clock must not hold what holds the runtime.
            rt.sched.arm(rt.now_ns() + ns, 0, Arc::new(Alarm(self.me.clone())), 0);
        }
    }

    /// Messages that may be sent now; arranges for those that moderation holds back.
    fn due(&self, state: &mut State) -> Vec<u32> {
        let now = self.now_ns();
        let (vectors, wait) = state.registers.messages(now);
        if let Some(ns) = wait {
            self.later(ns);
        }
        let vectors = state.messages.filter(vectors);
        state.seen.interrupts += vectors.len() as u64;
        vectors
    }

    fn signal(&self, vectors: &[u32]) {
        let raise = lock(&self.raise).clone();
        if let Some(raise) = raise {
            vectors.iter().for_each(|vector| raise(*vector));
        }
    }

    /// Some frames each way.
    fn service(&self) {
        let mut state = lock(&self.state);
        state.scheduled = false;
        let (mut more, mut blocked) = (false, false);
        if state.plugged && !state.stuck && state.bus.is_master() {
            let State { registers, bus, wire, inbox, outbox, seen, .. } = &mut *state;
            let mut left = TURN;
            'sending: loop {
                while let Some(frame) = outbox.front() {
                    if !wire.put(frame, inbox) {
                        blocked = true;
                        break 'sending;
                    }
                    outbox.pop_front();
                    seen.sent += 1;
                }
                if left == 0 {
                    more = true;
                    break;
                }
                left -= 1;
                if !registers.transmit(bus, outbox) {
                    break;
                }
            }
            // A frame that finds no buffers waits for the driver, and those behind it for their turn.
            let mut waits = false;
            for _ in 0..TURN {
                let Some(frame) = inbox.front() else { break };
                if !registers.receive(bus, frame, seen) {
                    waits = true;
                    break;
                }
                inbox.pop_front();
            }
            more |= !inbox.is_empty() && !waits;
        } else if !state.plugged {
            state.inbox.clear();
        }
        let vectors = self.due(&mut state);
        drop(state);
        self.signal(&vectors);
        if blocked {
            self.later(RETRY_NS);
        } else if more {
            self.kick();
        }
    }
}

struct Alarm(Weak<SimNic>);

impl Expire for Alarm {
    fn expired(self: Arc<Self>, _generation: u64, _now_ns: u64) {
        if let Some(device) = self.0.upgrade() {
            device.kick();
        }
    }
}

impl PciDevice for SimNic {
    fn attach(&self, rt: &Arc<Runtime>) {
        *lock(&self.rt) = Some((rt.clone(), Queue::new(rt, c"simulated PCI device")));
        self.kick();
    }

    fn config_read(&self, offset: u64, width: u32) -> u32 {
        lock(&self.state).bus.config_read(offset, width)
    }

    fn config_write(&self, offset: u64, width: u32, value: u32) {
        let mut state = lock(&self.state);
        state.bus.config_write(offset, width, value);
        let State { bus, messages, .. } = &mut *state;
        let vectors = messages.mask(bus.function_masked());
        drop(state);
        self.signal(&vectors);
        self.kick();
    }

    fn bar(&self, bar: u8) -> Option<Bar> {
        match bar {
            BAR_REGISTERS => Some(Bar { size: REGISTERS_SIZE, kind: 0 }),
            BAR_TABLE => Some(Bar { size: TABLE_SIZE, kind: 0 }),
            _ => None,
        }
    }

    fn read(&self, bar: u8, offset: u64, width: u32) -> u64 {
        let mut state = lock(&self.state);
        if bar != BAR_REGISTERS || !state.bus.has_memory() {
            return u64::MAX >> (64 - 8 * width);
        }
        if width != 4 {
            misuse(format!("a register is read by {width} bytes at {offset:#x} (section 8.1.1)"));
        }
        state.registers.read(offset).into()
    }

    fn write(&self, bar: u8, offset: u64, width: u32, value: u64) {
        let mut state = lock(&self.state);
        if bar != BAR_REGISTERS || !state.bus.has_memory() {
            return;
        }
        if width != 4 {
            misuse(format!("a register is written by {width} bytes at {offset:#x} (section 8.1.1)"));
        }
        let plugged = state.plugged;
        if state.registers.write(offset, value as u32, plugged) {
            state.inbox.clear();
            state.outbox.clear();
        }
        let vectors = self.due(&mut state);
        drop(state);
        self.signal(&vectors);
        self.kick();
    }

    fn address(&self) -> u32 {
        0x0100
    }

    fn vectors(&self) -> u32 {
        VECTORS
    }

    fn start_interrupts(&self, count: u32, raise: Raise) -> IoResult<()> {
        if count == 0 || count > VECTORS {
            return Err(IoReturn::NO_INTERRUPT);
        }
        *lock(&self.raise) = Some(raise);
        lock(&self.state).bus.enable_messages();
        Ok(())
    }

    fn reset(&self) -> IoResult<()> {
        self.lose_power();
        Ok(())
    }

    fn map(&self, iova: u64, mem: &Arc<Mem>, offset: u64, length: u64, direction: u64) -> IoResult<()> {
        lock(&self.state).bus.map(iova, mem, offset, length, direction);
        Ok(())
    }

    fn unmap(&self, iova: u64, _length: u64) {
        lock(&self.state).bus.unmap(iova);
    }
}

#[cfg(test)]
mod tests;
