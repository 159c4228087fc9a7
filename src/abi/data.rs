//! The data path of the C ABI: one caller per queue at a time.

use core::mem::MaybeUninit;

use super::{driver, sys};
use crate::driver::Driver;
use crate::mem::packet::{BURST_MAX, BadPacket, Burst, Packet, RawPacket, Status};

/// What a stack may ask for; all other bits are the NIC's to set.
const TX_FLAGS: u32 =
    sys::WEIR_PKT_TX_CSUM_IP4 | sys::WEIR_PKT_TX_CSUM_PARTIAL | sys::WEIR_PKT_TX_TSO4 | sys::WEIR_PKT_TX_TSO6;

/// The first `n` of the caller's packets, at most a burst; `None` for a pointer that cannot be read.
fn lent<'a>(pkts: *const sys::weir_pkt, n: u32) -> Option<&'a [RawPacket]> {
    let pkts = pkts.cast::<RawPacket>();
    if pkts.is_null() || !pkts.is_aligned() {
        return None;
    }
    // SAFETY: the caller passes `n` descriptors (header); weir_pkt and RawPacket have one layout (abi.rs).
    Some(unsafe { core::slice::from_raw_parts(pkts, (n as usize).min(BURST_MAX)) })
}

/// The caller's room for completed packets, at most a burst.
fn room<'a>(out: *mut sys::weir_pkt, n: u32) -> Option<&'a mut [MaybeUninit<RawPacket>]> {
    let out = out.cast::<MaybeUninit<RawPacket>>();
    if out.is_null() || !out.is_aligned() {
        return None;
    }
    // SAFETY: the caller passes room for `n` descriptors (header), which nobody else uses during the call.
    Some(unsafe { core::slice::from_raw_parts_mut(out, (n as usize).min(BURST_MAX)) })
}

/// Hands packets back; `packets` has at most as many as `out`.
fn give_back(packets: &mut Burst, out: &mut [MaybeUninit<RawPacket>]) -> u32 {
    let mut count = 0u32;
    for (packet, slot) in packets.drain(..).zip(out) {
        slot.write(packet.into_raw());
        count = count.saturating_add(1);
    }
    count
}

/// Runs `body` with the instance and the caller's room; 0 and a misuse count if an argument is no good.
fn with_room(
    core: *mut sys::weir_core,
    out: *mut sys::weir_pkt,
    n: u32,
    body: impl FnOnce(&Driver, usize, &mut Burst),
) -> u32 {
    let Some(driver) = driver(core) else { return 0 };
    if n == 0 {
        return 0;
    }
    let Some(out) = room(out, n) else {
        driver.count_misuse();
        return 0;
    };
    let mut packets = Burst::new();
    body(driver, out.len(), &mut packets);
    give_back(&mut packets, out)
}

/// The packets of `n` descriptors, as far as `packet` makes them. One that is no good ends the burst and is counted as misuse.
fn with_lent(
    core: *mut sys::weir_core,
    pkts: *const sys::weir_pkt,
    n: u32,
    packet: impl Fn(&RawPacket) -> Option<Packet>,
    body: impl FnOnce(&Driver, &mut Burst) -> u32,
) -> u32 {
    let Some(driver) = driver(core) else { return 0 };
    if n == 0 {
        return 0;
    }
    let Some(raws) = lent(pkts, n) else {
        driver.count_misuse();
        return 0;
    };
    let mut packets = Burst::new();
    for raw in raws {
        let Some(packet) = packet(raw) else {
            driver.count_misuse();
            break;
        };
        if packets.push(packet).is_err() {
            break;
        }
    }
    body(driver, &mut packets)
}

/// Lends `n` empty buffers for receive. Returns how many were taken, from the front. A descriptor that is no good
/// ends the burst and is counted as misuse.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_rx_post(
    core: *mut sys::weir_core,
    queue: u32,
    pkts: *const sys::weir_pkt,
    n: u32,
) -> u32 {
    let empty = |raw: &RawPacket| {
        let raw = RawPacket { len: 0, flags: 0, mss: 0, segs: 0, status: 0, reserved: 0, ..*raw };
        // SAFETY: the header's contract: the buffer is lent until the cookie is handed back.
        unsafe { Packet::from_raw(raw) }.ok()
    };
    with_lent(core, pkts, n, empty, |driver, packets| driver.rx_post(queue, packets))
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
    out: *mut sys::weir_pkt,
    budget: u32,
    flags: *mut u32,
) -> u32 {
    let mut more = false;
    let count = with_room(core, out, budget, |driver, budget, packets| {
        more = driver.rx_poll(queue, budget, packets);
    });
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
    pkts: *const sys::weir_pkt,
    n: u32,
) -> u32 {
    let clean = |raw: &RawPacket| {
        let clean = RawPacket { flags: raw.flags & TX_FLAGS, segs: 0, status: 0, reserved: 0, ..*raw };
        // SAFETY: the header's contract: the buffer is lent until the cookie is handed back.
        match unsafe { Packet::from_raw(clean) } {
            Ok(packet) => Some(packet),
            Err(BadPacket::Null) if raw.cookie == 0 => None,
            Err(_) => Some(Packet::refused(raw.cookie, Status::BadDescriptor)),
        }
    };
    with_lent(core, pkts, n, clean, |driver, packets| driver.tx_submit(queue, packets))
}

/// Progresses transmit and returns completed packets with their status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_tx_reap(core: *mut sys::weir_core, queue: u32, out: *mut sys::weir_pkt, max: u32) -> u32 {
    with_room(core, out, max, |driver, max, packets| driver.tx_reap(queue, max, packets))
}

/// Re-arms the wake-up of a queue. Returns 1 if work arrived in between: poll again, else sleep until wake.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_arm(core: *mut sys::weir_core, queue: u32) -> u32 {
    driver(core).map_or(0, |driver| u32::from(driver.arm(queue)))
}

/// After `weir_enable(core, 0)`: returns what is still lent, until 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_reclaim(core: *mut sys::weir_core, queue: u32, out: *mut sys::weir_pkt, max: u32) -> u32 {
    with_room(core, out, max, |driver, max, packets| driver.reclaim(queue, max, packets))
}
