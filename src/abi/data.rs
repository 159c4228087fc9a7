//! The data path of the C ABI: one caller per queue at a time.

use core::mem::MaybeUninit;

use super::{driver, sys};
use crate::driver::Driver;
use crate::mem::handover::{Empties, LentFrames, Places, RawEmpty, Room};
use crate::mem::packet::{BURST_MAX, BadPacket, Burst, Packet, RawPacket, Status};

/// What a stack may ask for; all other bits are the NIC's to set.
const TX_FLAGS: u32 =
    sys::WEIR_PKT_TX_CSUM_IP4 | sys::WEIR_PKT_TX_CSUM_PARTIAL | sys::WEIR_PKT_TX_TSO4 | sys::WEIR_PKT_TX_TSO6;

/// The instance and the first `n` of the caller's buffers, at most a burst; `None`, and a misuse count, if an argument is no good.
fn lent<'a>(
    core: *mut sys::weir_core,
    empties: *const sys::weir_empty,
    n: u32,
) -> Option<(&'a Driver, &'a [RawEmpty])> {
    let driver = driver(core)?;
    if n == 0 {
        return None;
    }
    let empties = empties.cast::<RawEmpty>();
    if empties.is_null() || !empties.is_aligned() {
        driver.count_misuse();
        return None;
    }
    // SAFETY: the caller passes `n` of them (header); weir_empty and RawEmpty have one layout (abi.rs).
    Some((driver, unsafe { core::slice::from_raw_parts(empties, (n as usize).min(BURST_MAX)) }))
}

/// The instance and the caller's room for packets, at most a burst; `None`, and a misuse count, if an argument is no good.
fn room<'a>(core: *mut sys::weir_core, out: *mut sys::weir_pkt, n: u32) -> Option<(&'a Driver, Room<'a>)> {
    let driver = driver(core)?;
    if n == 0 {
        return None;
    }
    let out = out.cast::<MaybeUninit<RawPacket>>();
    if out.is_null() || !out.is_aligned() {
        driver.count_misuse();
        return None;
    }
    // SAFETY: the caller passes room for `n` descriptors (header), which nobody else uses during the call.
    let places = unsafe { core::slice::from_raw_parts_mut(out, (n as usize).min(BURST_MAX)) };
    Some((driver, Room::new(places)))
}

/// The instance, the caller's memory for a burst, and `n` or as many as that holds; `None`, and a misuse count, if an argument is
/// no good.
fn burst<'a>(
    core: *mut sys::weir_core,
    memory: *mut sys::weir_burst,
    n: u32,
) -> Option<(&'a Driver, &'a mut Places, usize)> {
    let driver = driver(core)?;
    if n == 0 {
        return None;
    }
    let memory = memory.cast::<Places>();
    if memory.is_null() || !memory.is_aligned() {
        driver.count_misuse();
        return None;
    }
    // SAFETY: the caller passes memory for a burst (header), which nobody else uses during the call; weir_burst and Places have
    // one layout (abi.rs).
    Some((driver, unsafe { &mut *memory }, (n as usize).min(BURST_MAX)))
}

/// Lends `n` empty buffers for receive. Returns how many were taken, from the front. A descriptor that is no good
/// ends the burst and is counted as misuse.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_rx_post(
    core: *mut sys::weir_core,
    queue: u32,
    empties: *const sys::weir_empty,
    n: u32,
) -> u32 {
    let Some((driver, raws)) = lent(core, empties, n) else { return 0 };
    // SAFETY: the header's contract: the buffers are lent until their cookies are handed back.
    let mut empties = unsafe { Empties::new(raws) };
    let taken = driver.rx_post(queue, &mut empties);
    if empties.any_bad() {
        driver.count_misuse();
    }
    taken
}

/// How many empty buffers [`weir_rx_post`] would take now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_rx_space(core: *mut sys::weir_core, queue: u32) -> u32 {
    driver(core).map_or(0, |driver| driver.rx_space(queue))
}

/// Runs receive: takes finished frames from the NIC, judges them, returns those to deliver.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_rx_poll(
    core: *mut sys::weir_core,
    queue: u32,
    out: *mut sys::weir_burst,
    budget: u32,
    flags: *mut u32,
) -> u32 {
    let (mut more, mut count) = (false, 0);
    if let Some((driver, places, budget)) = burst(core, out, budget) {
        let packets = places.burst();
        more = driver.rx_poll(queue, budget, packets);
        // They are the caller's again, where they are. Receive buffers have no marks.
        count = packets.len() as u32;
    }
    if !flags.is_null() && flags.is_aligned() {
        // SAFETY: the caller passes null or a place for the flags.
        unsafe { flags.write(if more { sys::WEIR_POLL_MORE } else { 0 }) };
    }
    count
}

/// How many packets [`weir_tx_submit`] would take now; dequeue no more than this from the stack.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_tx_space(core: *mut sys::weir_core, queue: u32) -> u32 {
    driver(core).map_or(0, |driver| driver.tx_space(queue))
}

/// Lends `n` frames for transmit. Returns how many were taken, from the front. One whose offsets lie outside its
/// buffer is taken, counted as dropped, and comes back with `WEIR_E_INVAL`; one without a cookie ends the burst.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_tx_submit(
    core: *mut sys::weir_core,
    queue: u32,
    frames: *mut sys::weir_burst,
    n: u32,
) -> u32 {
    let Some((driver, places, n)) = burst(core, frames, n) else { return 0 };
    // SAFETY: the header's contract: `n` are there, and the buffers are lent until their cookies are handed back.
    let frames = unsafe { LentFrames::new(places, n, |found| found.said() || found.flags() & !TX_FLAGS != 0) };
    if let Some(mut frames) = frames {
        return driver.tx_submit(queue, &mut frames);
    }
    let mut packets = Burst::new();
    // SAFETY: as above.
    for raw in unsafe { places.raws(n) } {
        let clean = RawPacket { flags: raw.flags & TX_FLAGS, segs: 0, status: 0, reserved: 0, ..*raw };
        // SAFETY: as above.
        let packet = match unsafe { Packet::from_raw(clean) } {
            Ok(packet) => packet,
            Err(BadPacket::Null) if raw.cookie == 0 => {
                driver.count_misuse();
                break;
            }
            Err(_) => Packet::refused(raw.cookie, Status::BadDescriptor),
        };
        // There are no more than a burst.
        let _ = packets.push(packet);
    }
    driver.tx_submit(queue, &mut packets)
}

/// Progresses transmit and returns completed packets with their status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_tx_reap(core: *mut sys::weir_core, queue: u32, out: *mut sys::weir_pkt, max: u32) -> u32 {
    let Some((driver, mut room)) = room(core, out, max) else { return 0 };
    driver.tx_reap(queue, room.left(), &mut room);
    // The first shard's mark is none.
    if queue != 0 {
        room.forget();
    }
    room.filled() as u32
}

/// Re-arms the wake-up of a queue. Returns 1 if work arrived in between: poll again, else sleep until wake.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_arm(core: *mut sys::weir_core, queue: u32) -> u32 {
    driver(core).map_or(0, |driver| u32::from(driver.arm(queue)))
}

/// After `weir_enable(core, 0)`: returns what is still lent, until 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_reclaim(core: *mut sys::weir_core, queue: u32, out: *mut sys::weir_pkt, max: u32) -> u32 {
    let Some((driver, mut room)) = room(core, out, max) else { return 0 };
    let mut packets = Burst::new();
    driver.reclaim(queue, room.left(), &mut packets);
    room.give(&mut packets);
    room.forget();
    room.filled() as u32
}
