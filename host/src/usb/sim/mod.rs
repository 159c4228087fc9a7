//! Models of USB network devices, written from the class specifications: strict about what a host sends, seeded where
//! they are to be hostile.
//!
//! A model runs on the runtime's clock: in a simulated host its transfers take the time that a 480 Mb/s bus would, and
//! the same seed gives the same run.

mod descriptors;
mod kinds;
mod ncm;
mod rndis;
mod serve;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::{Done, PIPE_STALLED, Setup, Transfer, UsbDevice};
use crate::ioreturn::{IoResult, IoReturn};
use crate::rt::Runtime;
use crate::sched::{Expire, Item, Queue, lock};
use descriptors::{IN, NOTIFY, OUT};
pub use kinds::{Model, Quirk, Seen, Trap};
use serve::fill;

/// Time of one transfer's set-up, and of a byte at 480 Mb/s less protocol (USB 2.0 section 5.8.4: 53 MB/s), ns.
const TRANSFER_NS: u64 = 25_000;
const BYTE_NS: u64 = 19;

struct State {
    /// `None` until the driver selected the data interface's working setting, or always for RNDIS.
    flowing: bool,
    gone: bool,
    configuration: u8,
    into: VecDeque<Transfer>,
    out: VecDeque<Transfer>,
    notify: VecDeque<Transfer>,
    halted_in: bool,
    halted_out: bool,
    hang_out: bool,
    empty_in: bool,
    stall_in: bool,
    stall_out: bool,
    babble_in: bool,
    short_in: bool,
    short_out: bool,
    /// Every transfer of the pipe fails.
    dead_in: bool,
    dead_out: bool,
    /// No transfer can begin until the function is set up again.
    unset: bool,
    /// Calls so far, and which of them runs into what.
    calls: u64,
    trap: Option<(u64, Trap)>,
    notices: VecDeque<Vec<u8>>,
    to_host: VecDeque<Vec<u8>>,
    from_host: Vec<Vec<u8>>,
    respond: bool,
    /// Packet filter as programmed, in the class's own bits.
    filter: u32,
    multicast: Vec<[u8; 6]>,
    ncm: ncm::Ncm,
    rndis: rndis::Rndis,
    /// Rules of the class that the host broke.
    faults: Vec<String>,
    seen: Seen,
    random: u64,
    hostile: bool,
    scheduled: bool,
}

/// A model.
pub struct SimDevice {
    model: Model,
    /// What it says of itself, once and for all.
    configuration: Vec<u8>,
    me: Weak<SimDevice>,
    state: Mutex<State>,
    rt: Mutex<Option<(Arc<Runtime>, Arc<Queue>)>>,
}

/// splitmix64.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = *state;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl SimDevice {
    /// A device; a seed other than 0 makes it hostile: what it sends is damaged now and then.
    #[must_use]
    pub fn new(model: Model, seed: u64) -> Arc<Self> {
        Self::with(model, seed, descriptors::configuration(model))
    }

    /// A hostile device that lies about what it is, too.
    #[must_use]
    pub fn impostor(model: Model, seed: u64) -> Arc<Self> {
        let mut random = seed;
        let mut configuration = descriptors::configuration(model);
        for _ in 0..=next_random(&mut random) % 4 {
            let at = (next_random(&mut random) as usize) % configuration.len();
            configuration[at] = next_random(&mut random) as u8;
        }
        if next_random(&mut random).is_multiple_of(8) {
            configuration.truncate((next_random(&mut random) as usize) % configuration.len());
        }
        Self::with(model, seed, configuration)
    }

    fn with(model: Model, seed: u64, configuration: Vec<u8>) -> Arc<Self> {
        let state = State {
            flowing: false,
            gone: false,
            configuration: 1,
            into: VecDeque::new(),
            out: VecDeque::new(),
            notify: VecDeque::new(),
            halted_in: false,
            halted_out: false,
            hang_out: false,
            empty_in: false,
            stall_in: false,
            stall_out: false,
            babble_in: false,
            short_in: false,
            short_out: false,
            dead_in: false,
            dead_out: false,
            unset: false,
            calls: 0,
            trap: None,
            notices: VecDeque::new(),
            to_host: VecDeque::new(),
            from_host: Vec::new(),
            respond: true,
            filter: 0,
            multicast: Vec::new(),
            ncm: ncm::Ncm::new(model == Model::Ncm32),
            rndis: rndis::Rndis::default(),
            faults: Vec::new(),
            seen: Seen::default(),
            random: seed,
            hostile: seed != 0,
            scheduled: false,
        };
        let state = Mutex::new(state);
        Arc::new_cyclic(|me| Self { model, configuration, me: me.clone(), state, rt: Mutex::default() })
    }

    /// Its station address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        descriptors::MAC
    }

    /// Whether the far end answers ARP and echo requests by itself.
    pub fn set_respond(&self, on: bool) {
        lock(&self.state).respond = on;
    }

    /// Sends frames to the host.
    pub fn send(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
        lock(&self.state).to_host.extend(frames);
        self.kick(0);
    }

    /// What the host sent since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut lock(&self.state).from_host)
    }

    /// Rules that the host broke since the last call.
    #[must_use]
    pub fn take_faults(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).faults)
    }

    /// What it saw.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.state).seen
    }

    /// The packet filter as the host programmed it, and the multicast list.
    #[must_use]
    pub fn filter(&self) -> (u32, Vec<[u8; 6]>) {
        let state = lock(&self.state);
        (state.filter, state.multicast.clone())
    }

    /// Plugs or pulls the network cable.
    pub fn set_cable(&self, plugged: bool) {
        let mut state = lock(&self.state);
        match self.model {
            Model::Rndis => {
                state.rndis.indicate(plugged);
                state.notices.push_back(rndis::NOTICE.to_vec());
            }
            _ => state.notices.push_back(descriptors::connection(plugged)),
        }
        drop(state);
        self.kick(0);
    }

    /// Misbehaves.
    pub fn misbehave(&self, quirk: Quirk) {
        let mut state = lock(&self.state);
        match quirk {
            Quirk::StallIn => state.stall_in = true,
            Quirk::StallOut => state.stall_out = true,
            Quirk::HangOut => state.hang_out = true,
            Quirk::EmptyIn => state.empty_in = true,
            Quirk::BabbleIn => state.babble_in = true,
            Quirk::ShortIn => state.short_in = true,
            Quirk::ShortOut => state.short_out = true,
            Quirk::DeadIn => state.dead_in = true,
            Quirk::DeadOut => state.dead_out = true,
        }
        drop(state);
        self.kick(0);
    }

    /// Takes up again what [`SimDevice::misbehave`] stopped.
    pub fn go_on(&self) {
        let mut state = lock(&self.state);
        (state.hang_out, state.empty_in, state.dead_in, state.dead_out) = (false, false, false, false);
        drop(state);
        self.kick(0);
    }

    /// The host's `nth` call from now on runs into `trap`.
    pub fn set_trap(&self, nth: u64, trap: Trap) {
        let mut state = lock(&self.state);
        state.trap = Some((state.calls + nth, trap));
    }

    /// Calls of the host so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        lock(&self.state).calls
    }

    /// Its power fails for a moment, as it may while the host sleeps: it forgets what it was told.
    pub fn lose_power(&self) {
        let mut state = lock(&self.state);
        (state.flowing, state.filter) = (false, 0);
        state.multicast.clear();
        state.ncm.restart();
        state.rndis.lose_power();
        state.notices.clear();
        state.to_host.clear();
    }

    /// The bus resets it and nobody tells the host's driver, as Linux does with a device that lost its power in sleep: what
    /// is under way fails, and so does every transfer until the function is set up again.
    pub fn lose_setting(&self) {
        self.lose_power();
        let mut all: Vec<Done> = Vec::new();
        {
            let state = &mut *lock(&self.state);
            state.unset = true;
            for list in [&mut state.into, &mut state.out, &mut state.notify] {
                all.extend(std::mem::take(list).into_iter().map(|transfer| transfer.done));
            }
        }
        for done in all {
            done(Err(IoReturn::NOT_RESPONDING));
        }
    }

    fn enter(&self) -> IoResult<()> {
        let trap = {
            let mut state = lock(&self.state);
            state.calls += 1;
            let now = state.calls;
            if state.gone {
                return Err(IoReturn::NO_DEVICE);
            }
            state.trap.take_if(|(at, _)| *at == now).map(|(_, trap)| trap)
        };
        match trap {
            None => Ok(()),
            Some(Trap::Fails(error)) => Err(error),
            Some(Trap::Unplugged) => {
                self.unplug();
                Err(IoReturn::NO_DEVICE)
            }
        }
    }

    /// Asks the host whether it lives (RNDIS).
    pub fn ask_keepalive(&self) {
        let mut state = lock(&self.state);
        state.rndis.ask();
        state.notices.push_back(rndis::NOTICE.to_vec());
        drop(state);
        self.kick(0);
    }

    /// Keepalives that the host answered, and those it sent.
    #[must_use]
    pub fn keepalives(&self) -> (u64, u64) {
        lock(&self.state).rndis.keepalives()
    }

    /// Pulls the plug of the device itself.
    pub fn unplug(&self) {
        let mut all: Vec<Done> = Vec::new();
        {
            let state = &mut *lock(&self.state);
            state.gone = true;
            for list in [&mut state.into, &mut state.out, &mut state.notify] {
                all.extend(std::mem::take(list).into_iter().map(|transfer| transfer.done));
            }
        }
        for done in all {
            done(Err(IoReturn::NO_DEVICE));
        }
    }

    /// Has [`SimDevice::service`] run after `delay_ns`.
    fn kick(&self, delay_ns: u64) {
        let rt = lock(&self.rt).clone();
        let (Some((rt, _)), Some(me)) = (rt, self.me.upgrade()) else { return };
        if std::mem::replace(&mut lock(&self.state).scheduled, true) {
            return;
        }
        rt.sched.arm(rt.now_ns() + delay_ns.max(TRANSFER_NS), 0, me, 0);
    }

    /// One transfer each way.
    fn service(&self) {
        let mut told: Vec<(Done, IoResult<u32>)> = Vec::new();
        let mut state = lock(&self.state);
        state.scheduled = false;
        if state.gone {
            return;
        }
        let mut spent = 0;
        if let Some((done, result)) = state.serve_out(self.model) {
            spent += u64::from(*result.as_ref().unwrap_or(&0)) * BYTE_NS;
            told.push((done, result));
        }
        if let Some((done, result)) = state.serve_in(self.model) {
            spent += u64::from(*result.as_ref().unwrap_or(&0)) * BYTE_NS;
            told.push((done, result));
        }
        if let (Some(notice), Some(_)) = (state.notices.front(), state.notify.front()) {
            let (notice, len) = (notice.clone(), notice.len());
            state.notices.pop_front();
            if let Some(transfer) = state.notify.pop_front() {
                let result = fill(&transfer.memory, transfer.length, &notice);
                debug_assert!(result.is_err() || result == Ok(len as u32));
                told.push((transfer.done, result));
            }
        }
        let more = state.has_work(self.model);
        drop(state);
        for (done, result) in told {
            done(result);
        }
        if more {
            self.kick(spent + TRANSFER_NS);
        }
    }
}

impl Expire for SimDevice {
    fn expired(self: Arc<Self>, _generation: u64, _now_ns: u64) {
        let rt = lock(&self.rt).clone();
        if let Some((_, queue)) = rt {
            queue.push(Item::Call(Box::new(move || self.service())));
        }
    }
}

impl UsbDevice for SimDevice {
    fn attach(&self, rt: &Arc<Runtime>) {
        *lock(&self.rt) = Some((rt.clone(), Queue::new(rt, c"simulated USB device")));
    }

    fn descriptor(&self) -> Vec<u8> {
        descriptors::device()
    }

    fn configurations(&self) -> Vec<Vec<u8>> {
        vec![self.configuration.clone()]
    }

    fn configuration(&self) -> u8 {
        lock(&self.state).configuration
    }

    fn set_configuration(&self, value: u8) -> IoResult<()> {
        lock(&self.state).configuration = value;
        Ok(())
    }

    fn claim(&self, _interface: u8) -> IoResult<()> {
        self.enter()
    }

    fn release(&self, _interface: u8) {}

    fn set_alternate(&self, interface: u8, alternate: u8) -> IoResult<()> {
        self.enter()?;
        let mut state = lock(&self.state);
        // Where there is only one setting it may be selected, as Linux's gadgets let it be (USB 2.0 section 9.4.10 permits
        // a stall).
        if alternate == 0 && (interface == descriptors::CONTROL || self.model == Model::Rndis) {
            return if interface <= descriptors::DATA { Ok(()) } else { Err(PIPE_STALLED) };
        }
        if interface != descriptors::DATA || self.model == Model::Rndis || alternate > 1 {
            return Err(PIPE_STALLED);
        }
        state.flowing = alternate == 1;
        state.unset = false;
        state.ncm.restart();
        state.notices.clear();
        if state.flowing {
            // ECM 1.2 section 6.2.1, NCM 1.0 section 7.1: the speed comes before the connection.
            state.notices.push_back(descriptors::speed(480_000_000));
            state.notices.push_back(descriptors::connection(true));
        } else {
            state.to_host.clear();
        }
        drop(state);
        self.kick(0);
        Ok(())
    }

    fn control(&self, setup: Setup, data: &mut [u8], _timeout: Duration) -> IoResult<usize> {
        self.enter()?;
        let mut state = lock(&self.state);
        if let (0x80, 6, 3) = (setup.kind, setup.request, setup.value >> 8) {
            let string = descriptors::string(setup.value as u8).ok_or(PIPE_STALLED)?;
            let len = string.len().min(data.len());
            data[..len].copy_from_slice(&string[..len]);
            return Ok(len);
        }
        if setup.kind & 0x7f != 0x21 || setup.index != u16::from(descriptors::CONTROL) {
            return Err(PIPE_STALLED);
        }
        let answered = match self.model {
            Model::Rndis => {
                let State { rndis, filter, multicast, notices, unset, .. } = &mut *state;
                *unset &= !rndis::is_initialize(data);
                rndis.control(setup, data, filter, multicast, notices)
            }
            _ => {
                let flowing = state.flowing;
                let State { ncm, filter, multicast, .. } = &mut *state;
                let has_ncm = self.model != Model::Ecm;
                ncm::control(has_ncm.then_some(ncm), flowing, setup, data, filter, multicast)
            }
        };
        let result = match answered {
            Ok(len) if state.hostile => state.lie(len, data),
            Ok(len) => Ok(len),
            Err(what) => {
                state.fault(what);
                Err(PIPE_STALLED)
            }
        };
        drop(state);
        self.kick(0);
        result
    }

    fn submit(&self, endpoint: u8, transfer: Transfer) -> IoResult<()> {
        self.enter()?;
        let mut state = lock(&self.state);
        if state.unset {
            return Err(IoReturn::NOT_RESPONDING);
        }
        let halted = (endpoint == IN && state.halted_in) || (endpoint == OUT && state.halted_out);
        if halted {
            return Err(PIPE_STALLED);
        }
        match endpoint {
            IN => state.into.push_back(transfer),
            OUT => state.out.push_back(transfer),
            NOTIFY => state.notify.push_back(transfer),
            _ => return Err(IoReturn::BAD_ARGUMENT),
        }
        let more = state.has_work(self.model);
        drop(state);
        if more {
            self.kick(0);
        }
        Ok(())
    }

    fn abort(&self, endpoint: u8) {
        let mut state = lock(&self.state);
        let list = match endpoint {
            IN => std::mem::take(&mut state.into),
            OUT => {
                state.ncm.lost = true;
                std::mem::take(&mut state.out)
            }
            _ => std::mem::take(&mut state.notify),
        };
        drop(state);
        for transfer in list {
            (transfer.done)(Err(IoReturn::ABORTED));
        }
    }

    fn clear_halt(&self, endpoint: u8) -> IoResult<()> {
        self.enter()?;
        let mut state = lock(&self.state);
        match endpoint {
            IN => state.halted_in = false,
            OUT => state.halted_out = false,
            _ => {}
        }
        drop(state);
        self.kick(0);
        Ok(())
    }

    fn reset(&self) -> IoResult<()> {
        Ok(())
    }

    fn speed(&self) -> u8 {
        3
    }

    fn address(&self) -> u8 {
        1
    }
}
