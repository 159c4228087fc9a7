//! The glue's share, in C as the driver's is in C++ (`glue.c`), and two cores on one cable.

use std::ffi::c_void;

use anyhow::{Context, Result, ensure};
use weir_core::abi::{sys, weir_control, weir_create, weir_destroy, weir_enable, weir_reclaim};
use weir_core::driver::Driver;
use weir_core::mem::packet::RawPacket;
use weir_core::mem::{Burst, Packet as Handle};

/// Bytes of a buffer, and where a frame starts in it.
const BUFFER: usize = 2048;
const HEADROOM: u32 = 64;
/// Descriptors of each ring.
const RING: usize = 1024;

/// `struct packet` of `glue.c`.
#[repr(C)]
#[derive(Clone)]
struct Packet {
    base: *mut u8,
    size: u32,
    offset: u32,
    len: u32,
    flags: u32,
    csum_start: u16,
    csum_stuff: u16,
    mss: u16,
    segs: u16,
    status: i32,
}

unsafe extern "C" {
    fn weir_bench_glue_submit(core: *mut sys::weir_core, packets: *const *mut Packet, n: u32) -> u32;
    fn weir_bench_glue_refill(core: *mut sys::weir_core, packets: *const *mut Packet, n: u32) -> u32;
    fn weir_bench_glue_receive(core: *mut sys::weir_core, packets: *mut *mut Packet, n: u32) -> u32;
    fn weir_bench_glue_reap(core: *mut sys::weir_core, n: u32) -> u32;
}

unsafe extern "C" fn now_ns(ctx: *mut c_void) -> u64 {
    // SAFETY: the context is the cable's clock, which outlives its cores; everything runs on one thread.
    unsafe {
        let clock = ctx.cast::<u64>();
        *clock += 1000;
        *clock
    }
}

unsafe extern "C" fn write(_: *mut c_void, _: u32, _: *const std::ffi::c_char, _: usize) {}
unsafe extern "C" fn wake(_: *mut c_void, _: u32) {}
unsafe extern "C" fn link_changed(_: *mut c_void) {}

/// One end of a cable: a core, the memory that it was lent, and the packets that describe it.
struct End {
    core: *mut sys::weir_core,
    _memory: Vec<[u8; BUFFER]>,
    packets: Vec<Packet>,
}

impl End {
    fn new(clock: *mut u64, name: &str, last: u8, buffers: usize) -> Result<Self> {
        // SAFETY: both are plain data, for which zero is a value.
        let (mut config, mut ops): (sys::weir_config, sys::weir_ops) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        ops.size = size_of_val(&ops) as u32;
        ops.abi_version = sys::WEIR_ABI_VERSION;
        ops.clock = sys::weir_clock_ops { ctx: clock.cast(), now_ns: Some(now_ns) };
        ops.log.write = Some(write);
        ops.event.wake = Some(wake);
        ops.event.link_changed = Some(link_changed);
        ops.event.wire_notify = Some(wake);
        config.size = size_of_val(&config) as u32;
        config.abi_version = sys::WEIR_ABI_VERSION;
        config.nic = sys::WEIR_NIC_LOOPBACK;
        config.wire = sys::WEIR_WIRE_PAIR;
        for (to, from) in config.wire_name.iter_mut().zip(name.bytes()) {
            *to = from as std::ffi::c_char;
        }
        config.mac = [2, 0, 0, 0, 0, last];
        (config.queues, config.ring_size, config.mtu, config.mtu_max) = (1, RING as u32, 1500, 1500);
        (config.buf_len, config.seed) = (BUFFER as u32, 1);
        let mut core = std::ptr::null_mut();
        // SAFETY: the structs are whole and read during the call only; the clock outlives the core.
        let status = unsafe { weir_create(&raw const config, &raw const ops, &raw mut core) };
        ensure!(status == sys::WEIR_OK, "weir_create: {status}");
        let mut memory = vec![[0; BUFFER]; buffers];
        let packets = memory.iter_mut().map(|buffer| Packet {
            base: buffer.as_mut_ptr(),
            size: BUFFER as u32,
            offset: HEADROOM,
            len: 0,
            flags: 0,
            csum_start: 0,
            csum_stuff: 0,
            mss: 0,
            segs: 0,
            status: 0,
        });
        let packets = packets.collect();
        Ok(Self { core, _memory: memory, packets })
    }

    /// What C knows as a `weir_core`.
    fn driver(&self) -> &Driver {
        // SAFETY: `weir_create` made it, as a Driver, and it is there for as long as this is.
        unsafe { &*self.core.cast() }
    }

    fn load(&self, image: &[u8]) -> Result<()> {
        let mut request = [sys::WEIR_ABI_VERSION, sys::WEIR_CMD_RULESET_LOAD, 0, 0].map(u32::to_ne_bytes).concat();
        request.extend_from_slice(image);
        let (mut reply, mut len) = ([0u64; 64], 0);
        let room = size_of_val(&reply);
        // SAFETY: request and reply have as many bytes as is said.
        let status = unsafe {
            weir_control(
                self.core,
                request.as_ptr().cast(),
                request.len(),
                reply.as_mut_ptr().cast(),
                room,
                &raw mut len,
            )
        };
        ensure!(status == sys::WEIR_OK, "the ruleset is refused: {status}");
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: the core is ours; what it was lent is taken back before the memory goes.
        unsafe {
            weir_enable(self.core, 0);
            let mut out: [sys::weir_pkt; 64] = std::mem::zeroed();
            while weir_reclaim(self.core, 0, out.as_mut_ptr(), 64) > 0 {}
            weir_destroy(self.core);
        }
    }
}

/// Two cores, from one to the other.
pub struct Cable {
    // Before the clock, which they read until they end.
    from: End,
    to: End,
    _clock: Box<u64>,
}

impl Cable {
    /// Up, with room for `frames` to be sent, and with a ruleset at both ends.
    ///
    /// # Errors
    /// What the core refuses.
    pub fn new(name: &str, frames: usize, image: Option<&[u8]>) -> Result<Self> {
        let mut clock = Box::new(1_000_000_000u64);
        let from = End::new(&raw mut *clock, name, 2, frames + RING)?;
        let to = End::new(&raw mut *clock, name, 1, frames + RING)?;
        for end in [&from, &to] {
            if let Some(image) = image {
                end.load(image)?;
            }
            // SAFETY: the core is there.
            ensure!(unsafe { weir_enable(end.core, 1) } == sys::WEIR_OK, "weir_enable");
        }
        let mut cable = Self { from, to, _clock: clock };
        for end in [&mut cable.from, &mut cable.to] {
            // Half of them are for receiving.
            let empties: Vec<*mut Packet> = end.packets.iter_mut().skip(frames).map(std::ptr::from_mut).collect();
            for burst in empties.chunks(64) {
                // SAFETY: the packets and their memory stay where they are for as long as the core.
                unsafe { weir_bench_glue_refill(end.core, burst.as_ptr(), burst.len() as u32) };
            }
        }
        Ok(cable)
    }

    /// Puts frames into the buffers that are sent from; `back`: at the other end.
    pub fn fill<'a>(&mut self, frames: impl Iterator<Item = &'a [u8]>, back: bool) {
        let end = if back { &mut self.to } else { &mut self.from };
        for (packet, frame) in end.packets.iter_mut().zip(frames) {
            (packet.offset, packet.len, packet.flags) = (HEADROOM, frame.len() as u32, 0);
            // SAFETY: the buffer is ours while nothing is sent, and longer than any frame here.
            unsafe {
                std::ptr::copy_nonoverlapping(frame.as_ptr(), packet.base.add(HEADROOM as usize), frame.len());
            }
        }
    }

    /// Sends `count` frames that were filled in, in bursts; how many came out at the other end.
    pub fn cross(&mut self, count: usize, batch: usize, back: bool) -> usize {
        let (from, to) = if back { (&mut self.to, &self.from) } else { (&mut self.from, &self.to) };
        let mut delivered = 0;
        let mut sent: heapless::Vec<*mut Packet, 64> = heapless::Vec::new();
        let mut received = [std::ptr::null_mut(); 64];
        for burst in from.packets.get_mut(..count).unwrap_or_default().chunks_mut(batch) {
            sent.clear();
            sent.extend(burst.iter_mut().map(std::ptr::from_mut));
            // SAFETY: packets and memory outlive the cores, and are described to one of them at a time: what was
            // received is lent again, what was sent is reaped before the next burst.
            unsafe {
                weir_bench_glue_submit(from.core, sent.as_ptr(), sent.len() as u32);
                let count = weir_bench_glue_receive(to.core, received.as_mut_ptr(), batch as u32);
                delivered += count as usize;
                for packet in received.iter().take(count as usize) {
                    (**packet).offset = HEADROOM;
                }
                weir_bench_glue_refill(to.core, received.as_ptr(), count);
                weir_bench_glue_reap(from.core, batch as u32);
            }
        }
        delivered
    }

    /// The first `count` frames that were filled in, in the form that a core has them in. None crosses by [`Cable::cross`]
    /// while they are there.
    ///
    /// # Errors
    /// A packet that cannot be lent.
    pub fn lend(&self, count: usize, batch: usize) -> Result<Vec<Burst>> {
        let mut bursts = vec![];
        for packets in self.from.packets.get(..count).unwrap_or_default().chunks(batch) {
            let mut burst = Burst::new();
            for packet in packets {
                let raw = RawPacket {
                    cookie: std::ptr::from_ref(packet).expose_provenance() as u64,
                    base: packet.base,
                    iova: 0,
                    buf_len: packet.size,
                    data_off: packet.offset,
                    len: packet.len,
                    flags: packet.flags,
                    csum_start: packet.csum_start,
                    csum_stuff: packet.csum_stuff,
                    mss: packet.mss,
                    segs: 0,
                    status: sys::WEIR_OK,
                    reserved: 0,
                };
                // SAFETY: the memory outlives the cores, and nobody else touches it meanwhile.
                let handle = unsafe { Handle::from_raw(raw) }.ok().context("a packet")?;
                ensure!(burst.push(handle).is_ok(), "a burst is too long");
            }
            bursts.push(burst);
        }
        Ok(bursts)
    }

    /// As [`Cable::cross`], by the core's own functions: the same cores and the same memory.
    pub fn cross_without_c(&mut self, lent: &mut [Burst]) -> usize {
        let (from, to) = (self.from.driver(), self.to.driver());
        let mut delivered = 0;
        for burst in lent {
            let batch = burst.len();
            // Whoever has a queue of packets asks first how many are taken.
            if from.tx_space(0) as usize >= batch {
                from.tx_submit(0, burst);
            }
            let mut received = Burst::new();
            to.rx_poll(0, batch, &mut received);
            delivered += received.len();
            if to.rx_space(0) as usize >= received.len() {
                received.iter_mut().for_each(Handle::reset);
                to.rx_post(0, &mut received);
            }
            from.tx_reap(0, batch, burst);
        }
        delivered
    }
}
