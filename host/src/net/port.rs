//! [`Port`] over a registered interface: the stack's way to the driver.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::assist;
use super::iface::Iface;
use super::netq::BURST;
use super::packet::{Move, flag, state};
use super::pool::Pool;
use crate::ioreturn::IoReturn;
use crate::port::{Offload, Port, PortInfo, PortRequest, Sink, TxFrame};

const NONE: u32 = u32::MAX;

/// A packet while the stack fills it.
pub(super) struct PortFrame {
    pool: Arc<Pool>,
    index: u32,
    headroom: u32,
    room: u32,
    assists: u32,
    /// `finish` accepted the metadata.
    fit: bool,
}

impl PortFrame {
    fn packet(&self) -> *mut super::packet::Packet {
        self.pool.packet(self.index)
    }

    /// Takes the packet out; the box can be used again.
    fn take(&mut self) -> u32 {
        std::mem::replace(&mut self.index, NONE)
    }
}

impl Drop for PortFrame {
    fn drop(&mut self) {
        if self.index != NONE {
            self.pool.note(self.index, Move::StackDrop, 0);
            self.pool.give(&[self.index]);
        }
    }
}

/// RFC 1071 over `data`, not complemented.
fn ones_complement_sum(data: &[u8]) -> u16 {
    let mut sum: u64 = 0;
    let mut chunks = data.chunks_exact(2);
    for c in &mut chunks {
        sum += u64::from(u16::from_be_bytes([c[0], c[1]]));
    }
    if let [last] = chunks.remainder() {
        sum += u64::from(*last) << 8;
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Does what a partial checksum asks for; false if it lies outside the frame.
fn fill_checksum(frame: &mut [u8], start: usize, stuff: usize) -> bool {
    let Some(part) = frame.get(start..) else { return false };
    let sum = !ones_complement_sum(part);
    // UDP's zero means "no checksum" (RFC 768); all ones is the same value.
    let sum = if sum == 0 && stuff.checked_sub(start) == Some(6) { 0xffff } else { sum };
    match frame.get_mut(stuff..stuff + 2) {
        Some(at) if stuff >= start => {
            at.copy_from_slice(&sum.to_be_bytes());
            true
        }
        _ => false,
    }
}

impl TxFrame for PortFrame {
    fn buffer(&mut self) -> &mut [u8] {
        let p = self.packet();
        // SAFETY: state STACK: the packet is ours; headroom + room is at most the buffer (tx_alloc).
        unsafe { std::slice::from_raw_parts_mut((*p).cpu.add(self.headroom as usize), self.room as usize) }
    }

    fn reserve(&mut self, more: usize) {
        let more = u32::try_from(more).unwrap_or(u32::MAX).min(self.room);
        self.headroom += more;
        self.room -= more;
    }

    fn finish(&mut self, len: usize, offload: Offload) {
        let len = len.min(self.room as usize);
        let mut partial = offload.partial_csum;
        self.fit = true;
        if let Some((start, stuff)) = partial {
            let offered = match stuff.checked_sub(start) {
                Some(16) => self.assists & assist::TX_CHECKSUM_TCP != 0,
                Some(6) => self.assists & assist::TX_CHECKSUM_UDP != 0,
                _ => false,
            };
            let inside = usize::from(stuff) + 2 <= len && stuff >= start;
            self.fit = inside;
            if inside && !offered && offload.mss == 0 {
                let frame = self.buffer().get_mut(..len).unwrap_or_default();
                self.fit = fill_checksum(frame, start.into(), stuff.into());
                partial = None;
            }
        }
        let tso = if offload.v6 { (assist::TSO6, flag::TSO_IPV6) } else { (assist::TSO4, flag::TSO_IPV4) };
        if offload.mss != 0 && self.assists & tso.0 == 0 {
            self.fit = false;
        }
        let p = self.packet();
        // SAFETY: state STACK: the packet is ours.
        unsafe {
            (*p).data_off = self.headroom;
            (*p).data_len = len as u32;
            (*p).headroom = self.headroom.min(255) as u8;
            (*p).link_header_len = 14;
            let (start, stuff) = partial.unwrap_or_default();
            (*p).tx_csum_flags = if partial.is_some() { flag::TX_PARTIAL } else { 0 };
            (*p).tx_csum_start = start;
            (*p).tx_csum_stuff = stuff;
            (*p).tso_flags = if offload.mss != 0 { tso.1 } else { 0 };
            (*p).tso_segsz = offload.mss.into();
            (*p).completion_status = 0;
            let first = if len > 0 { *(*p).cpu.add(self.headroom as usize) } else { 0 };
            (*p).flags = match first {
                0xff => flag::LINK_BROADCAST,
                b if b & 1 != 0 => flag::LINK_MULTICAST,
                _ => 0,
            };
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Iface {
    /// Longest frame `f` may have: MTU, or what the driver said about TSO.
    fn frame_fits(&self, f: &PortFrame) -> bool {
        let p = f.packet();
        // SAFETY: state STACK: the packet is ours.
        let (len, tso) = unsafe { ((*p).data_len, (*p).tso_flags) };
        let most = match tso {
            0 => self.max_frame() as u32,
            flag::TSO_IPV4 => self.tso.tso_mtu4,
            _ => self.tso.tso_mtu6,
        };
        f.fit && len >= 14 && len <= most
    }
}

impl Port for Iface {
    fn info(&self) -> PortInfo {
        let assists = self.assists.load(Ordering::Relaxed);
        let tso = |bit: u32, mtu: u32| if assists & bit != 0 { mtu } else { 0 };
        PortInfo {
            bsd_name: self.name().to_owned(),
            mac: *crate::sched::lock(&self.mac),
            mtu: self.mtu.load(Ordering::Relaxed),
            mtu_max: self.mtu_max,
            hw_assists: assists,
            tso_max: [tso(assist::TSO4, self.tso.tso_mtu4), tso(assist::TSO6, self.tso.tso_mtu6)],
            tx_queues: self.tx.len(),
            buffer_size: self.tx_pool.options().buffer_size as usize,
            tx_headroom: self.tx_headroom as usize,
        }
    }

    fn tx_alloc(&self) -> Option<Box<dyn TxFrame>> {
        if !self.enabled.load(Ordering::Acquire) {
            return None;
        }
        let mut index = NONE;
        self.tx_pool.take(1, state::STACK, Move::StackAlloc, 0, |i| index = i);
        if index == NONE {
            return None;
        }
        let size = self.tx_pool.options().buffer_size;
        let headroom = self.tx_headroom.min(size);
        let room = (size - headroom).saturating_sub(self.tx_tailroom);
        let assists = self.assists.load(Ordering::Relaxed);
        let again = crate::sched::lock(&self.boxes).pop();
        let frame = match again {
            Some(mut b) => {
                (b.index, b.headroom, b.room, b.assists, b.fit) = (index, headroom, room, assists, false);
                b
            }
            None => Box::new(PortFrame { pool: self.tx_pool.clone(), index, headroom, room, assists, fit: false }),
        };
        Some(frame)
    }

    fn tx_submit(&self, queue: usize, frames: &mut Vec<Box<dyn TxFrame>>) {
        self.rt.sched.enter(|| self.submit_frames(queue, frames));
    }

    fn tx_wait(&self, queue: usize, timeout_ms: u64) -> bool {
        let Some(q) = self.tx.get(queue % self.tx.len().max(1)) else { return false };
        if !self.rt.sched.is_simulated() {
            let wait = || {
                self.tx_pool.wait(Duration::from_millis(timeout_ms), |free| {
                    self.is_gone() || free > 0 && q.room() > 0 && self.enabled.load(Ordering::Acquire)
                })
            };
            self.rt.sched.blocking(wait);
        }
        !self.is_gone()
    }

    fn set_sink(&self, sink: Option<Arc<dyn Sink>>) {
        self.replace_sink(sink);
    }

    fn request(&self, request: PortRequest) -> io::Result<()> {
        let service = self.service.upgrade().ok_or(IoReturn::OFFLINE)?;
        service.port_request(request).map_err(io::Error::from)
    }

    fn now_ns(&self) -> u64 {
        self.rt.now_ns()
    }

    fn running(&self) -> bool {
        Iface::running(self)
    }
}

impl Iface {
    fn submit_frames(&self, queue: usize, frames: &mut Vec<Box<dyn TxFrame>>) {
        let Some(q) = self.tx.get(queue % self.tx.len().max(1)) else { return };
        while !frames.is_empty() {
            let room = (q.room() as usize).min(BURST).min(frames.len());
            if !q.enabled() || !self.enabled.load(Ordering::Acquire) {
                // As a kernel drops what is sent through an interface that just went down.
                self.count_tx_dropped(frames.len());
                frames.clear();
                return;
            }
            if room == 0 {
                return;
            }
            let mut batch = [NONE; BURST];
            let (mut n, mut bytes, mut multicasts) = (0, 0u64, 0u64);
            for frame in frames.drain(..room) {
                let Ok(mut f) = frame.into_any().downcast::<PortFrame>() else {
                    self.count_tx_dropped(1);
                    continue;
                };
                if !Arc::ptr_eq(&f.pool, &self.tx_pool) || f.index == NONE || !self.frame_fits(&f) {
                    self.count_tx_dropped(1);
                    continue;
                }
                let p = f.packet();
                // SAFETY: state STACK: the packet is ours.
                let (len, flags, data) = unsafe {
                    (*p).service_class = q.service_class();
                    let data = std::slice::from_raw_parts((*p).cpu.add(f.headroom as usize), (*p).data_len as usize);
                    ((*p).data_len, (*p).flags, data)
                };
                if self.rt.sched.is_simulated() {
                    self.rt.trace.bytes(self.rt.now_ns(), "frame out", q.id().into(), data);
                }
                bytes += u64::from(len);
                multicasts += u64::from(flags & (flag::LINK_MULTICAST | flag::LINK_BROADCAST) != 0);
                if let Some(slot) = batch.get_mut(n) {
                    *slot = f.take();
                    n += 1;
                }
                crate::sched::lock(&self.boxes).push(f);
            }
            let batch = batch.get(..n).unwrap_or_default();
            let taken = q.submit(batch);
            self.count_tx(taken, bytes, multicasts);
            // Only another submitter on the same queue can have taken the room that was there.
            let lost = batch.get(taken..).unwrap_or_default();
            self.count_tx_dropped(lost.len());
            self.tx_pool.give(lost);
        }
    }
}
