//! Creation, destruction and control of the C ABI.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ffi::{c_char, c_void};

use super::ops::Glue;
use super::{driver, error_status, status, sys};
use crate::control;
use crate::driver::{Config, Driver, Error, IfName, Mac, NicKind, WireKind};

/// Reads a struct that starts with its own size and version.
///
/// # Safety
/// `from` is null or points at a struct whose first eight bytes are its size and ABI version, and which is as long
/// as its size says.
unsafe fn versioned<T: Copy>(from: *const T) -> Result<T, Error> {
    if from.is_null() || !from.is_aligned() {
        return Err(Error::Invalid);
    }
    let head = from.cast::<[u32; 2]>();
    // SAFETY: the caller's promise about the first eight bytes.
    let [size, version] = unsafe { head.read_unaligned() };
    if size as usize != size_of::<T>() || version != sys::WEIR_ABI_VERSION {
        return Err(Error::Version);
    }
    // SAFETY: it is as long as T.
    Ok(unsafe { from.read() })
}

/// The bytes before the first NUL, which must be there.
fn until_nul<const N: usize>(text: &[c_char; N]) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = text.iter().map(|c| c.cast_unsigned()).collect();
    let len = bytes.iter().position(|byte| *byte == 0)?;
    bytes.get(..len).map(<[u8]>::to_vec)
}

fn config(raw: &sys::weir_config, usb: &sys::weir_usb_ops) -> Result<Config, Error> {
    let wire_name = until_nul(&raw.wire_name).ok_or(Error::Invalid)?;
    let wire = match raw.wire {
        sys::WEIR_WIRE_NONE => WireKind::None,
        sys::WEIR_WIRE_PAIR if !wire_name.is_empty() => {
            WireKind::Pair(heapless::Vec::from_slice(&wire_name).map_err(|_| Error::Invalid)?)
        }
        sys::WEIR_WIRE_REFLECT => WireKind::Reflect,
        sys::WEIR_WIRE_CLIENT => WireKind::Client,
        _ => return Err(Error::Invalid),
    };
    let nic = match raw.nic {
        sys::WEIR_NIC_LOOPBACK => NicKind::Loopback(wire),
        sys::WEIR_NIC_VIRTIO => NicKind::Virtio,
        sys::WEIR_NIC_E1000E => NicKind::E1000e,
        sys::WEIR_NIC_IGC => NicKind::Igc,
        sys::WEIR_NIC_USB_NCM | sys::WEIR_NIC_USB_ECM | sys::WEIR_NIC_USB_RNDIS if usb.plan.nic == raw.nic => {
            NicKind::Usb(super::usb::plan(&usb.plan)?)
        }
        _ => return Err(Error::Unsupported),
    };
    let if_name = until_nul(&raw.if_name).ok_or(Error::Invalid)?;
    Ok(Config {
        nic,
        if_name: IfName::new(&if_name).ok_or(Error::Invalid)?,
        mac: Mac(raw.mac),
        queues: usize::from(raw.queues),
        ring_size: raw.ring_size as usize,
        mtu: raw.mtu,
        mtu_max: raw.mtu_max,
        buf_len: raw.buf_len,
        seed: raw.seed,
        vectors: raw.vectors,
    })
}

fn create(config_at: *const sys::weir_config, ops_at: *const sys::weir_ops) -> Result<Box<[Driver]>, Error> {
    // SAFETY: the header's contract: both point at their structs, which start with size and version.
    let (raw, ops) = unsafe { (versioned(config_at)?, versioned(ops_at)?) };
    let host = Arc::new(Glue::new(&ops).ok_or(Error::Invalid)?);
    let bus = host.bus();
    let driver = Driver::new(&config(&raw, &ops.usb)?, host, bus)?;
    // A Vec of one, because Box::new cannot report that there is no memory.
    let mut one = Vec::new();
    one.try_reserve_exact(1).map_err(|_| Error::NoMemory)?;
    one.push(driver);
    Ok(one.into_boxed_slice())
}

/// Makes one NIC instance. `*out` is untouched on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_create(
    config: *const sys::weir_config,
    ops: *const sys::weir_ops,
    out: *mut *mut sys::weir_core,
) -> sys::weir_status {
    if out.is_null() || !out.is_aligned() {
        return sys::WEIR_E_INVAL;
    }
    match create(config, ops) {
        Ok(one) => {
            // SAFETY: `out` is the caller's place for the pointer.
            unsafe { out.write(Box::into_raw(one).cast::<sys::weir_core>()) };
            sys::WEIR_OK
        }
        Err(error) => error_status(error),
    }
}

/// Ends an instance. Everything lent must have been reclaimed; what was not is counted as lost and logged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_destroy(core: *mut sys::weir_core) {
    if core.is_null() || !core.cast::<Driver>().is_aligned() {
        return;
    }
    let one = core::ptr::slice_from_raw_parts_mut(core.cast::<Driver>(), 1);
    // SAFETY: the header's contract: `core` came from weir_create, which made it from a boxed slice of one Driver,
    // and no other call runs or follows.
    drop(unsafe { Box::from_raw(one) });
}

fn control_call(core: *mut sys::weir_core, call: impl FnOnce(&Driver) -> Result<(), Error>) -> sys::weir_status {
    driver(core).map_or(sys::WEIR_E_INVAL, |driver| status(call(driver)))
}

/// Starts or stops traffic.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_enable(core: *mut sys::weir_core, enable: u32) -> sys::weir_status {
    control_call(core, |driver| driver.enable(enable != 0))
}

/// Takes frames for every station, or no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_set_promiscuous(core: *mut sys::weir_core, enable: u32) -> sys::weir_status {
    control_call(core, |driver| driver.set_promiscuous(enable != 0))
}

/// Takes all multicast frames, or only those on the list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_set_all_multicast(core: *mut sys::weir_core, enable: u32) -> sys::weir_status {
    control_call(core, |driver| driver.set_all_multicast(enable != 0))
}

/// What the adapter turned out to be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_get_hardware(
    core: *mut sys::weir_core,
    out: *mut sys::weir_hardware,
) -> sys::weir_status {
    if out.is_null() || !out.is_aligned() {
        return sys::WEIR_E_INVAL;
    }
    control_call(core, |driver| {
        let (hardware, mac, queues) = driver.hardware()?;
        let raw = sys::weir_hardware {
            mac: mac.0,
            queues: u16::try_from(queues).unwrap_or(0),
            mtu_max: hardware.mtu_max,
            vectors: hardware.vectors,
            tick_ms: hardware.tick_ms,
            wake: u32::from(hardware.wake),
            reserved: 0,
        };
        // SAFETY: the caller's place for the answer, checked above.
        unsafe { out.write(raw) };
        Ok(())
    })
}

/// Interrupt `vector` arrived; a mask of the queues to poll.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_interrupt(core: *mut sys::weir_core, vector: u32) -> u32 {
    driver(core).map_or(0, |driver| driver.interrupt(vector))
}

/// An interrupt was answered by polling.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_interrupt_polled(core: *mut sys::weir_core) {
    if let Some(driver) = driver(core) {
        driver.count_interrupt();
    }
}

/// The watchdog; 1 when the NIC must be disabled and enabled again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_tick(core: *mut sys::weir_core) -> u32 {
    driver(core).map_or(0, |driver| u32::from(driver.tick()))
}

/// Whether the device wakes the machine on a magic packet while disabled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_set_wake(core: *mut sys::weir_core, enable: u32) -> sys::weir_status {
    control_call(core, |driver| driver.set_wake(enable != 0))
}

/// Replaces the multicast list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_set_multicast(
    core: *mut sys::weir_core,
    addresses: *const [u8; 6],
    count: u32,
) -> sys::weir_status {
    let list: &[[u8; 6]] = if count == 0 {
        &[]
    } else if addresses.is_null() {
        return sys::WEIR_E_INVAL;
    } else {
        // What is beyond the limit is not read: its number alone says "take all multicast frames".
        let readable = count.min(sys::WEIR_MULTICAST_MAX.saturating_add(1)) as usize;
        // SAFETY: the caller passes `count` addresses; six bytes have no alignment.
        unsafe { core::slice::from_raw_parts(addresses, readable) }
    };
    control_call(core, |driver| driver.set_multicast(list))
}

/// Sets the hardware address; it must be a station's (no group bit, not zero).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_set_mac(core: *mut sys::weir_core, mac: *const u8) -> sys::weir_status {
    if mac.is_null() {
        return sys::WEIR_E_INVAL;
    }
    // SAFETY: the caller passes six bytes.
    let mac = Mac(unsafe { mac.cast::<[u8; 6]>().read() });
    control_call(core, |driver| driver.set_mac(mac))
}

/// Reads the hardware address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_get_mac(core: *mut sys::weir_core, mac: *mut u8) -> sys::weir_status {
    if mac.is_null() {
        return sys::WEIR_E_INVAL;
    }
    control_call(core, |driver| {
        let address = driver.mac()?.0;
        // SAFETY: the caller passes room for six bytes.
        unsafe { mac.cast::<[u8; 6]>().write(address) };
        Ok(())
    })
}

/// Sets the MTU, bytes without the Ethernet header: 68 to the configuration's `mtu_max`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_set_mtu(core: *mut sys::weir_core, mtu: u32) -> sys::weir_status {
    control_call(core, |driver| driver.set_mtu(mtu))
}

/// Tells the BSD name, NUL-terminated, at most 15 bytes: what `on IFNAME` in rules compares with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_set_if_name(core: *mut sys::weir_core, name: *const c_char) -> sys::weir_status {
    if name.is_null() {
        return sys::WEIR_E_INVAL;
    }
    let mut bytes = heapless::Vec::<u8, { IfName::MAX_LEN }>::new();
    let mut at = name;
    loop {
        // SAFETY: the text is NUL-terminated, and no NUL was before `at`.
        let byte = unsafe { at.read() }.cast_unsigned();
        if byte == 0 {
            break;
        }
        if bytes.push(byte).is_err() {
            return sys::WEIR_E_INVAL;
        }
        at = at.wrapping_add(1);
    }
    control_call(core, |driver| driver.set_if_name(IfName::new(&bytes).ok_or(Error::Invalid)?))
}

/// Offloads that the stack may ask for (`WEIR_OFFLOAD_*`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_get_offloads(core: *mut sys::weir_core) -> u32 {
    driver(core).map_or(0, |driver| driver.offloads().bits())
}

/// Says which of them the stack will use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_set_offloads(core: *mut sys::weir_core, offloads: u32) -> sys::weir_status {
    control_call(core, |driver| driver.set_offloads(offloads))
}

/// Reads the link.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_link_get(core: *mut sys::weir_core, out: *mut sys::weir_link) -> sys::weir_status {
    if out.is_null() || !out.is_aligned() {
        return sys::WEIR_E_INVAL;
    }
    control_call(core, |driver| {
        let link = driver.link()?;
        let raw = sys::weir_link {
            up: u32::from(link.up),
            full_duplex: u32::from(link.full_duplex),
            speed_bps: link.speed_bps,
        };
        // SAFETY: `out` is the caller's place for it.
        unsafe { out.write(raw) };
        Ok(())
    })
}

/// Pulls or plugs the cable of a virtual NIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_link_set(core: *mut sys::weir_core, up: u32) -> sys::weir_status {
    control_call(core, |driver| driver.set_link(up != 0))
}

/// Bytes of shared memory that a wire client needs; 0 for a NIC without one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_wire_size(core: *mut sys::weir_core) -> u64 {
    driver(core).map_or(0, Driver::wire_size)
}

/// Plugs a wire client in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_wire_attach(core: *mut sys::weir_core, mem: *mut u8, len: u64) -> sys::weir_status {
    if mem.is_null() {
        return sys::WEIR_E_INVAL;
    }
    let Ok(len) = usize::try_from(len) else {
        return sys::WEIR_E_INVAL;
    };
    control_call(core, |driver| {
        // SAFETY: the header's contract: `mem` is `len` bytes that stay mapped until weir_wire_detach has returned.
        let window = unsafe { crate::mem::region::Shared::new(mem, len) }.ok_or(Error::Invalid)?;
        driver.wire_attach(window)
    })
}

/// Pulls the wire client out. On return its memory is not touched any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_wire_detach(core: *mut sys::weir_core) -> sys::weir_status {
    control_call(core, Driver::wire_detach)
}

/// The wire client put frames into its ring or freed slots.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_wire_kick(core: *mut sys::weir_core) -> sys::weir_status {
    control_call(core, Driver::wire_kick)
}

/// A request of `len` bytes; `None` for one that cannot be.
///
/// # Safety
/// `at` is null or points at `len` readable bytes that nobody writes to during `'a`.
unsafe fn tap_request<'a>(at: *const c_void, len: usize) -> Option<&'a [u8]> {
    if at.is_null() || len > control::REQUEST_MAX {
        return None;
    }
    // SAFETY: the caller's promise; bytes have no alignment.
    Some(unsafe { core::slice::from_raw_parts(at.cast::<u8>(), len) })
}

/// Bytes of shared memory that a tap needs; 0 for a request that is wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_tap_size(
    core: *mut sys::weir_core,
    req: *const c_void,
    req_len: usize,
    rings: *mut u32,
) -> u64 {
    // SAFETY: the header's contract about the request.
    let (Some(driver), Some(request)) = (driver(core), unsafe { tap_request(req, req_len) }) else {
        return 0;
    };
    let Ok((size, count)) = driver.tap_size(request) else {
        return 0;
    };
    if !rings.is_null() && rings.is_aligned() {
        // SAFETY: the caller's place for the answer.
        unsafe { rings.write(count) };
    }
    size as u64
}

/// Lets a program watch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_tap_attach(
    core: *mut sys::weir_core,
    tap: u32,
    req: *const c_void,
    req_len: usize,
    mem: *mut u8,
    len: u64,
) -> sys::weir_status {
    // SAFETY: the header's contract about the request.
    let (Some(request), false, Ok(len)) = (unsafe { tap_request(req, req_len) }, mem.is_null(), usize::try_from(len))
    else {
        return sys::WEIR_E_INVAL;
    };
    control_call(core, |driver| {
        // SAFETY: the header's contract: `mem` is `len` bytes that stay mapped until weir_tap_detach has returned.
        let window = unsafe { crate::mem::region::Shared::new(mem, len) }.ok_or(Error::Invalid)?;
        driver.tap_attach(tap, request, window)
    })
}

/// Lets a program go. On return its memory is not touched any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_tap_detach(core: *mut sys::weir_core, tap: u32) -> sys::weir_status {
    control_call(core, |driver| driver.tap_detach(tap))
}

/// Runs one command (see [`crate::control`]).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_control(
    core: *mut sys::weir_core,
    req: *const c_void,
    req_len: usize,
    resp: *mut c_void,
    resp_cap: usize,
    resp_len: *mut usize,
) -> sys::weir_status {
    let Some(driver) = driver(core) else {
        return sys::WEIR_E_INVAL;
    };
    if req.is_null() || (resp.is_null() && resp_cap != 0) || (!resp_len.is_null() && !resp_len.is_aligned()) {
        return sys::WEIR_E_INVAL;
    }
    if req_len > control::REQUEST_MAX {
        return sys::WEIR_E_INVAL;
    }
    // A copy, because the request may lie in memory that an untrusted client can still write: what was checked must
    // be what is used.
    let mut request = Vec::new();
    if request.try_reserve_exact(req_len).is_err() {
        return sys::WEIR_E_NOMEM;
    }
    // SAFETY: the caller passes `req_len` readable bytes; the vector has that much room and it becomes its length.
    unsafe {
        core::ptr::copy_nonoverlapping(req.cast::<u8>(), request.as_mut_ptr(), req_len);
        request.set_len(req_len);
    }
    let (result, reply) = driver.control(&request, resp_cap);
    if !resp_len.is_null() {
        // SAFETY: the caller passes null or a place for the length.
        unsafe { resp_len.write(reply.needed()) };
    }
    if reply.bytes().len() <= resp_cap && !reply.bytes().is_empty() {
        // SAFETY: the caller passes `resp_cap` writable bytes; the reply is not in the caller's memory.
        unsafe { core::ptr::copy_nonoverlapping(reply.bytes().as_ptr(), resp.cast::<u8>(), reply.bytes().len()) };
    }
    status(result)
}
