//! A NIC back end over a device model that the test plays, well or badly: buffers with an account of each, and the
//! fuzzer that drives both sides.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::collections::HashSet;

use crate::mem::pool::Pool;
use crate::mem::region::Region;
use crate::mem::tests::dma::TestDma;
use crate::mem::{Burst, Packet};
use crate::nic::usb::{Bus, Port};
use crate::nic::{Device, Events, Nic, NicEnv, NicError, NicQueue, Registers};

pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
pub(crate) const BUF_LEN: u32 = 16384 + 256;

pub(crate) struct Deaf;

impl Events for Deaf {
    fn wake(&self, _queue: u32) {}
    fn link_changed(&self) {}
    fn wire_notify(&self, _queue: u32) {}
}

/// xorshift64*: the same seed, the same device.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A device model that can misbehave.
pub(crate) trait Hostile {
    /// Writes something into memory that it shares with the driver.
    fn scribble(&self, dma: &TestDma, random: &mut Random);
    /// Turns nonsense in registers on or off.
    fn lie(&self, how: Lie);
}

/// What registers read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    Truth,
    /// Something else each time.
    Random(u64),
    /// The device is gone.
    Ones,
}

pub(crate) struct Rig {
    pub nic: Box<dyn Nic>,
    pub queues: Vec<Box<dyn NicQueue>>,
    pub pool: Pool,
    pub dma: Arc<TestDma>,
    out: HashSet<u64>,
    buffers: usize,
}

impl Rig {
    pub fn new(
        registers: Arc<dyn Registers>,
        buffers: usize,
        headroom: u32,
        open: impl FnOnce(NicEnv) -> Result<Device, NicError>,
    ) -> Rig {
        let dma = Arc::new(TestDma::default());
        let env = NicEnv { events: Arc::new(Deaf), dma: dma.clone(), registers: Some(registers), usb: None };
        Self::of(open(env).unwrap(), dma, buffers, headroom)
    }

    /// On a USB device; `None` if the back end would not have it. What completes transfers comes with it.
    pub fn usb(
        bus: Bus,
        buffers: usize,
        open: impl FnOnce(NicEnv) -> Result<Device, NicError>,
    ) -> Option<(Rig, Arc<Port>)> {
        let dma = Arc::new(TestDma::default());
        let env = NicEnv { events: Arc::new(Deaf), dma: dma.clone(), registers: None, usb: Some(bus) };
        let mut device = open(env).ok()?;
        let port = device.usb.take()?;
        Some((Self::of(device, dma, buffers, 0), port))
    }

    fn of(Device { nic, queues, .. }: Device, dma: Arc<TestDma>, buffers: usize, headroom: u32) -> Rig {
        let region = Region::alloc(dma.clone(), buffers * BUF_LEN as usize, 4096).unwrap();
        let pool = Pool::for_own(region, BUF_LEN, headroom).unwrap();
        Rig { nic, queues, pool, dma, out: HashSet::new(), buffers }
    }

    /// A packet to lend, noted.
    pub fn lend(&mut self) -> Option<Packet> {
        let packet = self.pool.take()?;
        assert!(self.out.insert(packet.cookie()), "a buffer twice");
        Some(packet)
    }

    /// A packet that came back: it was out, and is not any more.
    pub fn came_back(&mut self, packet: Packet) {
        assert!(self.out.remove(&packet.cookie()), "a buffer that was not out");
        assert!(self.pool.put(packet).is_ok());
    }

    pub fn post(&mut self) {
        let room = self.queues[0].rx_space().min(64);
        let mut burst = Burst::new();
        while burst.len() < room
            && let Some(packet) = self.lend()
        {
            let _ = burst.push(packet);
        }
        self.queues[0].rx_post(&mut burst);
        burst.into_iter().for_each(|packet| self.came_back(packet));
    }

    pub fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut burst = Burst::new();
        self.queues[0].rx_burst(&mut burst, 64);
        let frames = burst.iter().map(|packet| packet.frame().to_vec()).collect();
        burst.into_iter().for_each(|packet| self.came_back(packet));
        frames
    }

    pub fn reap(&mut self) -> usize {
        let mut burst = Burst::new();
        self.queues[0].tx_reap(&mut burst);
        let count = burst.len();
        burst.into_iter().for_each(|packet| self.came_back(packet));
        count
    }

    pub fn send(&mut self, frames: usize, make: impl Fn(&mut Packet)) {
        let room = self.queues[0].tx_space().min(frames);
        let mut burst = Burst::new();
        while burst.len() < room
            && let Some(mut packet) = self.lend()
        {
            make(&mut packet);
            let _ = burst.push(packet);
        }
        self.queues[0].tx_burst(&mut burst);
        burst.into_iter().for_each(|packet| self.came_back(packet));
    }

    /// Starts the NIC; false if its device is gone.
    pub fn start(&mut self) -> bool {
        match self.nic.enable(true) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error, NicError::State("the device is gone"));
                false
            }
        }
    }

    /// Stops the NIC; every buffer is back then.
    pub fn stop(&mut self) {
        self.nic.enable(false).unwrap();
        for _ in 0..1000 {
            let mut burst = Burst::new();
            self.queues[0].reclaim(&mut burst);
            if burst.is_empty() {
                break;
            }
            burst.into_iter().for_each(|packet| self.came_back(packet));
        }
        assert!(self.out.is_empty(), "{} buffers are missing", self.out.len());
        assert_eq!(self.pool.gauges().free, self.buffers);
        let gauges = self.queues[0].gauges();
        assert_eq!((gauges.rx_posted, gauges.tx_in_flight), (0, 0));
    }
}

/// Plays a device that obeys no rule for `steps` steps: nothing panics, no buffer is lost or given out twice. True if the
/// driver is enabled again at the end, with an honest device; false if it was told that the device is gone.
fn fuzz(rig: &mut Rig, device: &dyn Hostile, seed: u64, steps: usize) -> bool {
    let mut random = Random(seed | 1);
    let dma = rig.dma.clone();
    for step in 0..steps {
        match random.below(12) {
            0 | 1 => rig.post(),
            2 | 3 => {
                for frame in rig.receive() {
                    assert!(frame.len() <= BUF_LEN as usize);
                }
            }
            4 => rig.send(random.below(65) as usize, |packet| {
                assert!(packet.write(&[0x5a; 60]));
            }),
            5 => {
                rig.reap();
            }
            6 => {
                rig.queues[0].arm();
            }
            7 => {
                rig.nic.interrupt(if random.one_in(9) { u32::MAX } else { random.below(3) as u32 });
                rig.queues[0].take_refused();
            }
            8 if random.one_in(20) => device.lie(match random.below(24) {
                0 => Lie::Ones,
                1..12 => Lie::Random(random.next()),
                _ => Lie::Truth,
            }),
            9 if random.one_in(4) => {
                if rig.nic.tick(step as u64 * 250_000_000) {
                    device.lie(Lie::Truth);
                    rig.stop();
                    if !rig.start() {
                        return false;
                    }
                }
            }
            _ => device.scribble(&dma, &mut random),
        }
    }
    device.lie(Lie::Truth);
    rig.stop();
    rig.start()
}

/// Plays `rounds` lives of a device that obeys no rule, with `pass` by an honest one after each, until the driver takes it for gone.
pub(crate) fn lives(rig: &mut Rig, device: &dyn Hostile, seed: u64, rounds: usize, mut pass: impl FnMut(&mut Rig)) {
    assert!(rig.start());
    for round in 0..rounds as u64 {
        if !fuzz(rig, device, (seed ^ round << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15), 400) {
            break;
        }
        pass(rig);
    }
    rig.stop();
}

/// Plays seeds from 1 on: `least` of them, and as many as go into `WEIR_FUZZ_SECONDS` of the process's own time; or only
/// `WEIR_FUZZ_SEED`. `play` also hears how often it shall use what it sets up: in a long run most of the time is to be the
/// driver's. The seed that fails is the last one named.
pub(crate) fn seeds(least: u64, mut play: impl FnMut(u64, usize)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("WEIR_FUZZ_SECONDS").unwrap_or(0);
    let only = number("WEIR_FUZZ_SEED");
    let rounds = if seconds > 0 || only.is_some() { 16 } else { 1 };
    for seed in only.unwrap_or(1).. {
        let enough = seed > least && cpu_seconds() >= seconds;
        if only.map_or(enough, |only| seed != only) {
            break;
        }
        // Before, and not after: a sanitizer ends the process.
        println!("seed {seed}, {rounds} rounds");
        play(seed, rounds);
    }
}

/// How long the processor was this process's.
pub(crate) fn cpu_seconds() -> u64 {
    nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID.now().unwrap().tv_sec() as u64
}
