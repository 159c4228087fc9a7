//! NICs under test: their buffers, what the stack does to them, and the accounts that must balance.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::mem::packet::{Burst, PacketFlags, PartialCsum, Status};
use crate::mem::pool::Pool;
use crate::mem::region::{HeapDma, Region};
use crate::nic::loopback::{LoopbackConfig, Wire, open};
use crate::nic::{Device, Events, Nic, NicEnv, NicError, NicQueue, QueueGauges, Refused};

/// Counts what a NIC calls.
#[derive(Default)]
pub struct Ear {
    pub wakes: [AtomicU32; 8],
    pub link_changes: AtomicU32,
    pub notifies: AtomicU32,
}

impl Ear {
    pub fn wakes(&self, queue: usize) -> u32 {
        self.wakes[queue].load(Ordering::SeqCst)
    }
}

impl Events for Ear {
    fn wake(&self, queue: u32) {
        self.wakes[queue as usize].fetch_add(1, Ordering::SeqCst);
    }

    fn link_changed(&self) {
        self.link_changes.fetch_add(1, Ordering::SeqCst);
    }

    fn wire_notify(&self, _queue: u32) {
        self.notifies.fetch_add(1, Ordering::SeqCst);
    }
}

/// One queue with the stack above it.
pub struct Lane {
    pub queue: Box<dyn NicQueue>,
    pub rx_pool: Pool,
    pub tx_pool: Pool,
    pub refused: Refused,
    pub received: Vec<Received>,
    /// Frames that the NIC took, and how they ended.
    pub taken: u64,
    pub ended: Vec<Status>,
}

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub frame: Vec<u8>,
    pub flags: PacketFlags,
    pub mss: u16,
    pub segs: u16,
}

/// What to send with a frame.
#[derive(Clone, Copy, Default)]
pub struct Ask {
    pub csum: Option<PartialCsum>,
    pub flags: PacketFlags,
    pub mss: u16,
}

/// A NIC under test.
pub struct Bench {
    pub nic: Box<dyn Nic>,
    pub lanes: Vec<Lane>,
    pub ear: Arc<Ear>,
    pub config: LoopbackConfig,
}

pub const BUFFERS: usize = 128;

pub fn config(wire: Wire, last: u8) -> LoopbackConfig {
    LoopbackConfig {
        wire,
        mac: [0x02, 0x57, 0, 0, 0, last],
        queues: 1,
        ring_size: 64,
        mtu: 1500,
        mtu_max: 9000,
        buf_len: 2048,
    }
}

/// A cable name that no other test uses.
pub fn cable(name: &str) -> Wire {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Wire::Pair(bytes)
}

fn pool(buf_len: u32) -> Pool {
    let region = Region::alloc(Arc::new(HeapDma), BUFFERS * buf_len as usize, 64).unwrap();
    Pool::for_own(region, buf_len, 32).unwrap()
}

impl Bench {
    pub fn try_new(config: LoopbackConfig) -> Result<Self, NicError> {
        let ear = Arc::new(Ear::default());
        let Device { nic, queues, .. } = open(&config, NicEnv::of(ear.clone()))?;
        let lanes = queues
            .into_iter()
            .map(|queue| Lane {
                queue,
                rx_pool: pool(config.buf_len),
                tx_pool: pool(70_000),
                refused: Refused::default(),
                received: Vec::new(),
                taken: 0,
                ended: Vec::new(),
            })
            .collect();
        Ok(Self { nic, lanes, ear, config })
    }

    pub fn new(config: LoopbackConfig) -> Self {
        Self::try_new(config).unwrap()
    }

    /// Enabled, with receive buffers posted.
    pub fn up(config: LoopbackConfig) -> Self {
        let mut bench = Self::new(config);
        bench.nic.enable(true).unwrap();
        bench.lanes.iter_mut().for_each(|lane| lane.post(usize::MAX));
        bench
    }

    /// Disables, takes everything back, and checks that nothing is missing.
    pub fn down(&mut self) {
        self.nic.enable(false).unwrap();
        for lane in &mut self.lanes {
            lane.reclaim();
            assert_eq!(lane.queue.gauges(), QueueGauges::default(), "after reclaim");
            assert_eq!(lane.rx_pool.gauges().free, BUFFERS, "receive buffers");
            assert_eq!(lane.tx_pool.gauges().free, BUFFERS, "transmit buffers");
            assert_eq!(lane.taken, lane.ended.len() as u64, "each frame ends once");
        }
    }

    /// Polls every lane until none has anything to do, as the glue does.
    pub fn settle(&mut self) {
        self.lanes.iter_mut().for_each(Lane::settle);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.down();
        }
    }
}

impl Lane {
    /// Posts up to `count` buffers.
    pub fn post(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let mut burst = Burst::new();
            let room = self.queue.rx_space().min(left);
            if self.rx_pool.take_burst(&mut burst, room) == 0 {
                break;
            }
            let offered = burst.len();
            let posted = self.queue.rx_post(&mut burst);
            left -= posted;
            burst.into_iter().for_each(|packet| self.rx_pool.put(packet).unwrap());
            if posted < offered {
                break;
            }
        }
        self.check();
    }

    /// Offers frames; returns how many the NIC took.
    pub fn send_with(&mut self, frames: &[(&[u8], Ask)]) -> usize {
        let mut burst = Burst::new();
        for (frame, ask) in frames {
            let Some(mut packet) = self.tx_pool.take() else { break };
            assert!(packet.write(frame));
            packet.set_flags(ask.flags);
            packet.set_segments(ask.mss, 0);
            assert!(packet.set_partial_csum(ask.csum));
            assert!(burst.push(packet).is_ok());
        }
        let taken = self.queue.tx_burst(&mut burst);
        self.taken += taken as u64;
        burst.into_iter().for_each(|packet| self.tx_pool.put(packet).unwrap());
        self.reap();
        taken
    }

    pub fn send(&mut self, frames: &[&[u8]]) -> usize {
        let frames: Vec<_> = frames.iter().map(|frame| (*frame, Ask::default())).collect();
        self.send_with(&frames)
    }

    pub fn reap(&mut self) {
        let mut burst = Burst::new();
        while self.queue.tx_reap(&mut burst) > 0 {
            for packet in core::mem::take(&mut burst) {
                self.ended.push(packet.status());
                self.tx_pool.put(packet).unwrap();
            }
        }
        self.check();
    }

    /// Receives up to `budget` frames, delivering them to the stack, which gives the buffers back at once.
    pub fn receive(&mut self, budget: usize) -> usize {
        let mut burst = Burst::new();
        let count = self.queue.rx_burst(&mut burst, budget);
        assert_eq!(count, burst.len());
        for packet in burst {
            self.received.push(Received {
                frame: packet.frame().to_vec(),
                flags: packet.flags(),
                mss: packet.mss(),
                segs: packet.segs(),
            });
            self.rx_pool.put(packet).unwrap();
        }
        let new = self.queue.take_refused();
        self.refused.runt += new.runt;
        self.refused.giant += new.giant;
        self.refused.mac_filter += new.mac_filter;
        self.refused.no_buffer += new.no_buffer;
        self.refused.device += new.device;
        self.refused.disabled += new.disabled;
        self.refused.bytes += new.bytes;
        self.check();
        count
    }

    pub fn settle(&mut self) {
        loop {
            self.reap();
            while self.queue.rx_pending() {
                self.receive(16);
                self.post(usize::MAX);
            }
            self.post(usize::MAX);
            if !self.queue.arm() {
                return;
            }
        }
    }

    pub fn reclaim(&mut self) {
        loop {
            let mut burst = Burst::new();
            let reclaimed = self.queue.reclaim(&mut burst);
            assert_eq!(reclaimed.rx + reclaimed.tx, burst.len());
            if burst.is_empty() {
                break;
            }
            for (i, packet) in burst.into_iter().enumerate() {
                if i < reclaimed.rx {
                    assert!(packet.is_empty());
                    self.rx_pool.put(packet).unwrap();
                } else {
                    self.ended.push(packet.status());
                    self.tx_pool.put(packet).unwrap();
                }
            }
        }
        self.refused.disabled += self.queue.take_refused().disabled;
    }

    /// pool = free + posted, and tx taken = ended + in flight.
    pub fn check(&mut self) {
        let gauges = self.queue.gauges();
        assert_eq!(self.rx_pool.gauges().free + gauges.rx_posted, BUFFERS, "receive buffers");
        assert_eq!(self.taken, self.ended.len() as u64 + gauges.tx_in_flight as u64, "frames");
        assert_eq!(self.tx_pool.gauges().free + gauges.tx_in_flight, BUFFERS, "transmit buffers");
    }

    /// Frames that ended with `status`.
    pub fn ended(&self, status: Status) -> usize {
        self.ended.iter().filter(|ended| **ended == status).count()
    }
}

/// An Ethernet frame of `len` bytes with a type nobody knows, numbered.
pub fn plain(dst: [u8; 6], src: [u8; 6], number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![0x5a; len.max(18)];
    frame[..6].copy_from_slice(&dst);
    frame[6..12].copy_from_slice(&src);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame.truncate(len);
    frame
}

/// The number of a [`plain`] frame.
pub fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[14..18].try_into().unwrap())
}
