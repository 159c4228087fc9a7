// Generated from dext/weir_core.h by `cargo xtask bindings`. Do not edit.

pub const WEIR_ABI_VERSION: u32 = 1;
pub const WEIR_BURST_MAX: u32 = 64;
pub const WEIR_QUEUES_MAX: u32 = 8;
pub const WEIR_MULTICAST_MAX: u32 = 256;
pub const WEIR_FRAME_MIN: u32 = 14;
pub const WEIR_MTU_MAX: u32 = 16110;
pub const WEIR_USB_SLOTS_MAX: u32 = 16;
pub const WEIR_ALL_QUEUES: u32 = 4294967295;
pub const WEIR_TAPS_MAX: u32 = 8;
pub const WEIR_TAP_COPY: u32 = 1;
/// ---- status -------------------------------------------------------------------------------------------
pub type weir_status = i32;
pub const WEIR_OK: _bindgen_ty_1 = 0;
/// an argument is outside its documented range
pub const WEIR_E_INVAL: _bindgen_ty_1 = -1;
/// the allocator or the DMA table returned nothing
pub const WEIR_E_NOMEM: _bindgen_ty_1 = -2;
/// data path entered twice for one queue, or peer already joined
pub const WEIR_E_BUSY: _bindgen_ty_1 = -3;
/// no far end, or the device is gone
pub const WEIR_E_NODEV: _bindgen_ty_1 = -4;
/// abi_version or a struct's size does not match
pub const WEIR_E_VERSION: _bindgen_ty_1 = -5;
/// not allowed in this state (for example enable before create finished)
pub const WEIR_E_STATE: _bindgen_ty_1 = -6;
/// the caller's buffer is too small; the needed size is reported where there is one
pub const WEIR_E_NOSPACE: _bindgen_ty_1 = -7;
/// unknown command, or a feature this NIC does not have
pub const WEIR_E_UNSUPPORTED: _bindgen_ty_1 = -8;
/// a ruleset image was refused; the running ruleset is untouched
pub const WEIR_E_IMAGE: _bindgen_ty_1 = -9;
/// weir_pkt.status: the ruleset, the mode or a full ring in the core dropped it
pub const WEIR_E_DROPPED: _bindgen_ty_1 = -10;
/// a USB endpoint is halted until its stall is cleared
pub const WEIR_E_STALL: _bindgen_ty_1 = -11;
/// a USB transfer was aborted
pub const WEIR_E_ABORTED: _bindgen_ty_1 = -12;
/// a USB transfer took too long
pub const WEIR_E_TIMEOUT: _bindgen_ty_1 = -13;
/// any other failure of a USB transfer
pub const WEIR_E_IO: _bindgen_ty_1 = -14;
pub type _bindgen_ty_1 = ::core::ffi::c_int;
/// TX: compute the IPv4 header checksum.
pub const WEIR_PKT_TX_CSUM_IP4: _bindgen_ty_2 = 1;
/** TX: a ones' complement sum from csum_start to the end of the frame is stored at csum_stuff; the pseudo
 header's sum is already there (virtio 1.2 section 5.1.6.2, RFC 1071).*/
pub const WEIR_PKT_TX_CSUM_PARTIAL: _bindgen_ty_2 = 2;
/// TX: super-frame; cut into segments of mss payload bytes.
pub const WEIR_PKT_TX_TSO4: _bindgen_ty_2 = 4;
/// TX: super-frame; cut into segments of mss payload bytes.
pub const WEIR_PKT_TX_TSO6: _bindgen_ty_2 = 8;
/// RX: the IPv4 header checksum was looked at / was right.
pub const WEIR_PKT_RX_IP_CHECKED: _bindgen_ty_2 = 256;
/// RX: the IPv4 header checksum was looked at / was right.
pub const WEIR_PKT_RX_IP_VALID: _bindgen_ty_2 = 512;
/// RX: the TCP or UDP checksum is right, or the frame never left this machine.
pub const WEIR_PKT_RX_DATA_VALID: _bindgen_ty_2 = 1024;
/// RX: several TCP segments in one frame; segs says how many, mss their payload size.
pub const WEIR_PKT_RX_LRO4: _bindgen_ty_2 = 2048;
/// RX: several TCP segments in one frame; segs says how many, mss their payload size.
pub const WEIR_PKT_RX_LRO6: _bindgen_ty_2 = 4096;
/// weir_pkt.flags. TX: what the stack asks for. RX: what the NIC vouches for.
pub type _bindgen_ty_2 = ::core::ffi::c_uint;
/// One packet buffer. The frame is at base + data_off for the CPU and at iova + data_off for a device.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_pkt {
    /// the glue's; never 0; returned untouched
    pub cookie: u64,
    /// buffer base in this process
    pub base: *mut u8,
    /// buffer base for the device; 0 where there is none
    pub iova: u64,
    /// bytes at base
    pub buf_len: u32,
    /// where the frame starts
    pub data_off: u32,
    /// frame length in bytes without FCS; 0 for an RX buffer that is reclaimed
    pub len: u32,
    /// WEIR_PKT_*
    pub flags: u32,
    /// from the start of the frame, bytes
    pub csum_start: u16,
    /// from the start of the frame, bytes
    pub csum_stuff: u16,
    /// TCP payload bytes per segment; 0 = not a super-frame
    pub mss: u16,
    /// RX: segments in an LRO frame; 0 or 1 = ordinary
    pub segs: u16,
    /// completions: weir_status; WEIR_OK = sent, else why not
    pub status: i32,
    /// 0
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_pkt"][::core::mem::size_of::<weir_pkt>() - 56usize];
    ["Alignment of weir_pkt"][::core::mem::align_of::<weir_pkt>() - 8usize];
    [
        "Offset of field: weir_pkt::cookie",
    ][::core::mem::offset_of!(weir_pkt, cookie) - 0usize];
    [
        "Offset of field: weir_pkt::base",
    ][::core::mem::offset_of!(weir_pkt, base) - 8usize];
    [
        "Offset of field: weir_pkt::iova",
    ][::core::mem::offset_of!(weir_pkt, iova) - 16usize];
    [
        "Offset of field: weir_pkt::buf_len",
    ][::core::mem::offset_of!(weir_pkt, buf_len) - 24usize];
    [
        "Offset of field: weir_pkt::data_off",
    ][::core::mem::offset_of!(weir_pkt, data_off) - 28usize];
    ["Offset of field: weir_pkt::len"][::core::mem::offset_of!(weir_pkt, len) - 32usize];
    [
        "Offset of field: weir_pkt::flags",
    ][::core::mem::offset_of!(weir_pkt, flags) - 36usize];
    [
        "Offset of field: weir_pkt::csum_start",
    ][::core::mem::offset_of!(weir_pkt, csum_start) - 40usize];
    [
        "Offset of field: weir_pkt::csum_stuff",
    ][::core::mem::offset_of!(weir_pkt, csum_stuff) - 42usize];
    ["Offset of field: weir_pkt::mss"][::core::mem::offset_of!(weir_pkt, mss) - 44usize];
    [
        "Offset of field: weir_pkt::segs",
    ][::core::mem::offset_of!(weir_pkt, segs) - 46usize];
    [
        "Offset of field: weir_pkt::status",
    ][::core::mem::offset_of!(weir_pkt, status) - 48usize];
    [
        "Offset of field: weir_pkt::reserved",
    ][::core::mem::offset_of!(weir_pkt, reserved) - 52usize];
};
/// One empty buffer to receive into; its fields are a weir_pkt's first ones.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_empty {
    pub cookie: u64,
    pub base: *mut u8,
    pub iova: u64,
    pub buf_len: u32,
    /// the headroom to leave
    pub data_off: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_empty"][::core::mem::size_of::<weir_empty>() - 32usize];
    ["Alignment of weir_empty"][::core::mem::align_of::<weir_empty>() - 8usize];
    [
        "Offset of field: weir_empty::cookie",
    ][::core::mem::offset_of!(weir_empty, cookie) - 0usize];
    [
        "Offset of field: weir_empty::base",
    ][::core::mem::offset_of!(weir_empty, base) - 8usize];
    [
        "Offset of field: weir_empty::iova",
    ][::core::mem::offset_of!(weir_empty, iova) - 16usize];
    [
        "Offset of field: weir_empty::buf_len",
    ][::core::mem::offset_of!(weir_empty, buf_len) - 24usize];
    [
        "Offset of field: weir_empty::data_off",
    ][::core::mem::offset_of!(weir_empty, data_off) - 28usize];
};
/// The packets of one call, on which the core works as they stand. `reserved` is the core's and need not be set.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_burst {
    pub reserved: u64,
    pub pkts: [weir_pkt; 64usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_burst"][::core::mem::size_of::<weir_burst>() - 3592usize];
    ["Alignment of weir_burst"][::core::mem::align_of::<weir_burst>() - 8usize];
    [
        "Offset of field: weir_burst::reserved",
    ][::core::mem::offset_of!(weir_burst, reserved) - 0usize];
    [
        "Offset of field: weir_burst::pkts",
    ][::core::mem::offset_of!(weir_burst, pkts) - 8usize];
};
/// ---- operation tables: what the core needs from the glue ------------------------------------------------
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_clock_ops {
    pub ctx: *mut ::core::ffi::c_void,
    /// Monotonic nanoseconds. Called at most twice per data-path call: when a burst is there and at its end.
    pub now_ns: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void) -> u64,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_clock_ops"][::core::mem::size_of::<weir_clock_ops>() - 16usize];
    ["Alignment of weir_clock_ops"][::core::mem::align_of::<weir_clock_ops>() - 8usize];
    [
        "Offset of field: weir_clock_ops::ctx",
    ][::core::mem::offset_of!(weir_clock_ops, ctx) - 0usize];
    [
        "Offset of field: weir_clock_ops::now_ns",
    ][::core::mem::offset_of!(weir_clock_ops, now_ns) - 8usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_log_ops {
    pub ctx: *mut ::core::ffi::c_void,
    /// level: 0 error, 1 warning, 2 info. text is UTF-8, not terminated. Never called per packet.
    pub write: ::core::option::Option<
        unsafe extern "C" fn(
            ctx: *mut ::core::ffi::c_void,
            level: u32,
            text: *const ::core::ffi::c_char,
            len: usize,
        ),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_log_ops"][::core::mem::size_of::<weir_log_ops>() - 16usize];
    ["Alignment of weir_log_ops"][::core::mem::align_of::<weir_log_ops>() - 8usize];
    [
        "Offset of field: weir_log_ops::ctx",
    ][::core::mem::offset_of!(weir_log_ops, ctx) - 0usize];
    [
        "Offset of field: weir_log_ops::write",
    ][::core::mem::offset_of!(weir_log_ops, write) - 8usize];
};
/// Device registers; offset and width as the datasheet has them. All ones = the device is gone.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_reg_ops {
    pub ctx: *mut ::core::ffi::c_void,
    pub read32: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, bar: u32, offset: u64) -> u32,
    >,
    pub write32: ::core::option::Option<
        unsafe extern "C" fn(
            ctx: *mut ::core::ffi::c_void,
            bar: u32,
            offset: u64,
            value: u32,
        ),
    >,
    pub read16: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, bar: u32, offset: u64) -> u16,
    >,
    pub write16: ::core::option::Option<
        unsafe extern "C" fn(
            ctx: *mut ::core::ffi::c_void,
            bar: u32,
            offset: u64,
            value: u16,
        ),
    >,
    pub read8: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, bar: u32, offset: u64) -> u8,
    >,
    pub write8: ::core::option::Option<
        unsafe extern "C" fn(
            ctx: *mut ::core::ffi::c_void,
            bar: u32,
            offset: u64,
            value: u8,
        ),
    >,
    pub config_read32: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, offset: u64) -> u32,
    >,
    pub config_write32: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, offset: u64, value: u32),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_reg_ops"][::core::mem::size_of::<weir_reg_ops>() - 72usize];
    ["Alignment of weir_reg_ops"][::core::mem::align_of::<weir_reg_ops>() - 8usize];
    [
        "Offset of field: weir_reg_ops::ctx",
    ][::core::mem::offset_of!(weir_reg_ops, ctx) - 0usize];
    [
        "Offset of field: weir_reg_ops::read32",
    ][::core::mem::offset_of!(weir_reg_ops, read32) - 8usize];
    [
        "Offset of field: weir_reg_ops::write32",
    ][::core::mem::offset_of!(weir_reg_ops, write32) - 16usize];
    [
        "Offset of field: weir_reg_ops::read16",
    ][::core::mem::offset_of!(weir_reg_ops, read16) - 24usize];
    [
        "Offset of field: weir_reg_ops::write16",
    ][::core::mem::offset_of!(weir_reg_ops, write16) - 32usize];
    [
        "Offset of field: weir_reg_ops::read8",
    ][::core::mem::offset_of!(weir_reg_ops, read8) - 40usize];
    [
        "Offset of field: weir_reg_ops::write8",
    ][::core::mem::offset_of!(weir_reg_ops, write8) - 48usize];
    [
        "Offset of field: weir_reg_ops::config_read32",
    ][::core::mem::offset_of!(weir_reg_ops, config_read32) - 56usize];
    [
        "Offset of field: weir_reg_ops::config_write32",
    ][::core::mem::offset_of!(weir_reg_ops, config_write32) - 64usize];
};
/// One piece of memory that CPU and device share.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_region {
    pub base: *mut u8,
    /// 0 where no device looks at it
    pub iova: u64,
    pub len: u64,
    /// the glue's
    pub handle: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_region"][::core::mem::size_of::<weir_region>() - 32usize];
    ["Alignment of weir_region"][::core::mem::align_of::<weir_region>() - 8usize];
    [
        "Offset of field: weir_region::base",
    ][::core::mem::offset_of!(weir_region, base) - 0usize];
    [
        "Offset of field: weir_region::iova",
    ][::core::mem::offset_of!(weir_region, iova) - 8usize];
    [
        "Offset of field: weir_region::len",
    ][::core::mem::offset_of!(weir_region, len) - 16usize];
    [
        "Offset of field: weir_region::handle",
    ][::core::mem::offset_of!(weir_region, handle) - 24usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_dma_ops {
    pub ctx: *mut ::core::ffi::c_void,
    /// Zeroed memory, aligned to `align` (a power of two), contiguous for the device.
    pub alloc: ::core::option::Option<
        unsafe extern "C" fn(
            ctx: *mut ::core::ffi::c_void,
            len: u64,
            align: u64,
            out: *mut weir_region,
        ) -> weir_status,
    >,
    pub free: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, region: *const weir_region),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_dma_ops"][::core::mem::size_of::<weir_dma_ops>() - 24usize];
    ["Alignment of weir_dma_ops"][::core::mem::align_of::<weir_dma_ops>() - 8usize];
    [
        "Offset of field: weir_dma_ops::ctx",
    ][::core::mem::offset_of!(weir_dma_ops, ctx) - 0usize];
    [
        "Offset of field: weir_dma_ops::alloc",
    ][::core::mem::offset_of!(weir_dma_ops, alloc) - 8usize];
    [
        "Offset of field: weir_dma_ops::free",
    ][::core::mem::offset_of!(weir_dma_ops, free) - 16usize];
};
/// Where a USB network function is, read out of its configuration descriptor by weir_usb_probe.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_usb_plan {
    /// WEIR_NIC_USB_*
    pub nic: u32,
    /// bConfigurationValue
    pub configuration: u8,
    /// bInterfaceNumber of the communication interface
    pub control_interface: u8,
    pub data_interface: u8,
    /// bAlternateSetting that has the bulk endpoints
    pub data_alternate: u8,
    /// bAlternateSetting at rest; = data_alternate if there is no other
    pub idle_alternate: u8,
    /// bEndpointAddress of the bulk endpoints
    pub endpoint_in: u8,
    pub endpoint_out: u8,
    /// interrupt endpoint of the communication interface; 0 = none
    pub endpoint_notify: u8,
    /// iMACAddress; 0 = none
    pub mac_string: u8,
    /// bmNetworkCapabilities (NCM 1.0 table 5-2)
    pub ncm_capabilities: u8,
    /// wMaxPacketSize, bytes
    pub packet_in: u16,
    pub packet_out: u16,
    pub packet_notify: u16,
    /// wMaxSegmentSize, bytes with the Ethernet header; 0 = not said
    pub max_segment: u16,
    /// wNumberMCFilters, bits 14..0
    pub multicast_filters: u16,
    /// WEIR_USB_*
    pub flags: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_usb_plan"][::core::mem::size_of::<weir_usb_plan>() - 28usize];
    ["Alignment of weir_usb_plan"][::core::mem::align_of::<weir_usb_plan>() - 4usize];
    [
        "Offset of field: weir_usb_plan::nic",
    ][::core::mem::offset_of!(weir_usb_plan, nic) - 0usize];
    [
        "Offset of field: weir_usb_plan::configuration",
    ][::core::mem::offset_of!(weir_usb_plan, configuration) - 4usize];
    [
        "Offset of field: weir_usb_plan::control_interface",
    ][::core::mem::offset_of!(weir_usb_plan, control_interface) - 5usize];
    [
        "Offset of field: weir_usb_plan::data_interface",
    ][::core::mem::offset_of!(weir_usb_plan, data_interface) - 6usize];
    [
        "Offset of field: weir_usb_plan::data_alternate",
    ][::core::mem::offset_of!(weir_usb_plan, data_alternate) - 7usize];
    [
        "Offset of field: weir_usb_plan::idle_alternate",
    ][::core::mem::offset_of!(weir_usb_plan, idle_alternate) - 8usize];
    [
        "Offset of field: weir_usb_plan::endpoint_in",
    ][::core::mem::offset_of!(weir_usb_plan, endpoint_in) - 9usize];
    [
        "Offset of field: weir_usb_plan::endpoint_out",
    ][::core::mem::offset_of!(weir_usb_plan, endpoint_out) - 10usize];
    [
        "Offset of field: weir_usb_plan::endpoint_notify",
    ][::core::mem::offset_of!(weir_usb_plan, endpoint_notify) - 11usize];
    [
        "Offset of field: weir_usb_plan::mac_string",
    ][::core::mem::offset_of!(weir_usb_plan, mac_string) - 12usize];
    [
        "Offset of field: weir_usb_plan::ncm_capabilities",
    ][::core::mem::offset_of!(weir_usb_plan, ncm_capabilities) - 13usize];
    [
        "Offset of field: weir_usb_plan::packet_in",
    ][::core::mem::offset_of!(weir_usb_plan, packet_in) - 14usize];
    [
        "Offset of field: weir_usb_plan::packet_out",
    ][::core::mem::offset_of!(weir_usb_plan, packet_out) - 16usize];
    [
        "Offset of field: weir_usb_plan::packet_notify",
    ][::core::mem::offset_of!(weir_usb_plan, packet_notify) - 18usize];
    [
        "Offset of field: weir_usb_plan::max_segment",
    ][::core::mem::offset_of!(weir_usb_plan, max_segment) - 20usize];
    [
        "Offset of field: weir_usb_plan::multicast_filters",
    ][::core::mem::offset_of!(weir_usb_plan, multicast_filters) - 22usize];
    [
        "Offset of field: weir_usb_plan::flags",
    ][::core::mem::offset_of!(weir_usb_plan, flags) - 24usize];
};
/// NCM: ask for datagrams with their CRC-32 (SET_CRC_MODE)
pub const WEIR_USB_CRC: _bindgen_ty_3 = 1;
/// NCM: stay with 16-bit blocks also where the device has 32-bit ones
pub const WEIR_USB_NTB16: _bindgen_ty_3 = 2;
/// weir_usb_plan.flags; the glue's wishes.
pub type _bindgen_ty_3 = ::core::ffi::c_uint;
pub const WEIR_USB_PIPE_IN: _bindgen_ty_4 = 0;
pub const WEIR_USB_PIPE_OUT: _bindgen_ty_4 = 1;
pub const WEIR_USB_PIPE_NOTIFY: _bindgen_ty_4 = 2;
pub const WEIR_USB_PIPES: _bindgen_ty_4 = 3;
/// weir_usb_ops: numbers of the pipes.
pub type _bindgen_ty_4 = ::core::ffi::c_uint;
/** A USB device. Each pipe has a ring of slots, each with a buffer of its own; a slot that was submitted is the
 device's until weir_usb_complete names it. `submit` belongs to the data path and does not wait; all others are
 called from control functions, wait for the device (bounded), and may not be called back from.*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_usb_ops {
    pub ctx: *mut ::core::ffi::c_void,
    /// Buffers of `len` bytes for `slots` slots of a pipe, aligned to 8; regions[slots] gets them. Once per pipe.
    pub alloc_ring: ::core::option::Option<
        unsafe extern "C" fn(
            ctx: *mut ::core::ffi::c_void,
            pipe: u32,
            slots: u32,
            len: u32,
            regions: *mut weir_region,
        ) -> weir_status,
    >,
    pub free_ring: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, pipe: u32),
    >,
    /** Starts transfers of lengths[i] bytes in slot (first + i) % slots, at most WEIR_USB_SLOTS_MAX. *accepted gets
 how many were started, from the front; with an error the rest was not.*/
    pub submit: ::core::option::Option<
        unsafe extern "C" fn(
            ctx: *mut ::core::ffi::c_void,
            pipe: u32,
            first: u32,
            lengths: *const u32,
            count: u32,
            accepted: *mut u32,
        ) -> weir_status,
    >,
    /// Ends all transfers of a pipe; each is completed all the same, with WEIR_E_ABORTED unless it was finished.
    pub abort: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, pipe: u32) -> weir_status,
    >,
    pub clear_stall: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, pipe: u32) -> weir_status,
    >,
    /// Selects an alternate setting of the data interface; opens or closes its pipes.
    pub set_alternate: ::core::option::Option<
        unsafe extern "C" fn(
            ctx: *mut ::core::ffi::c_void,
            alternate: u32,
        ) -> weir_status,
    >,
    /// One control request. *transferred gets the bytes of its data stage.
    pub control: ::core::option::Option<
        unsafe extern "C" fn(
            ctx: *mut ::core::ffi::c_void,
            request_type: u8,
            request: u8,
            value: u16,
            index: u16,
            data: *mut u8,
            len: u16,
            transferred: *mut u16,
        ) -> weir_status,
    >,
    /// Waits; between two attempts of a control request.
    pub delay_ms: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, ms: u32),
    >,
    pub plan: weir_usb_plan,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_usb_ops"][::core::mem::size_of::<weir_usb_ops>() - 104usize];
    ["Alignment of weir_usb_ops"][::core::mem::align_of::<weir_usb_ops>() - 8usize];
    [
        "Offset of field: weir_usb_ops::ctx",
    ][::core::mem::offset_of!(weir_usb_ops, ctx) - 0usize];
    [
        "Offset of field: weir_usb_ops::alloc_ring",
    ][::core::mem::offset_of!(weir_usb_ops, alloc_ring) - 8usize];
    [
        "Offset of field: weir_usb_ops::free_ring",
    ][::core::mem::offset_of!(weir_usb_ops, free_ring) - 16usize];
    [
        "Offset of field: weir_usb_ops::submit",
    ][::core::mem::offset_of!(weir_usb_ops, submit) - 24usize];
    [
        "Offset of field: weir_usb_ops::abort",
    ][::core::mem::offset_of!(weir_usb_ops, abort) - 32usize];
    [
        "Offset of field: weir_usb_ops::clear_stall",
    ][::core::mem::offset_of!(weir_usb_ops, clear_stall) - 40usize];
    [
        "Offset of field: weir_usb_ops::set_alternate",
    ][::core::mem::offset_of!(weir_usb_ops, set_alternate) - 48usize];
    [
        "Offset of field: weir_usb_ops::control",
    ][::core::mem::offset_of!(weir_usb_ops, control) - 56usize];
    [
        "Offset of field: weir_usb_ops::delay_ms",
    ][::core::mem::offset_of!(weir_usb_ops, delay_ms) - 64usize];
    [
        "Offset of field: weir_usb_ops::plan",
    ][::core::mem::offset_of!(weir_usb_ops, plan) - 72usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_event_ops {
    pub ctx: *mut ::core::ffi::c_void,
    /// Please run the poll sequence for `queue` soon, on its serial queue. Any thread; must not call back.
    pub wake: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, queue: u32),
    >,
    /// The far end came or went: read weir_link_get and report it. Any thread; must not call back.
    pub link_changed: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void),
    >,
    /// The wire client's to-client ring went from empty to not empty.
    pub wire_notify: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, queue: u32),
    >,
    /// Please call weir_tick soon, before its time. Any thread; must not call back.
    pub attention: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void),
    >,
    /// The programs behind these taps (a bit each) sleep and have something to see. Any thread; must not call back.
    pub tap_notify: ::core::option::Option<
        unsafe extern "C" fn(ctx: *mut ::core::ffi::c_void, taps: u32),
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_event_ops"][::core::mem::size_of::<weir_event_ops>() - 48usize];
    ["Alignment of weir_event_ops"][::core::mem::align_of::<weir_event_ops>() - 8usize];
    [
        "Offset of field: weir_event_ops::ctx",
    ][::core::mem::offset_of!(weir_event_ops, ctx) - 0usize];
    [
        "Offset of field: weir_event_ops::wake",
    ][::core::mem::offset_of!(weir_event_ops, wake) - 8usize];
    [
        "Offset of field: weir_event_ops::link_changed",
    ][::core::mem::offset_of!(weir_event_ops, link_changed) - 16usize];
    [
        "Offset of field: weir_event_ops::wire_notify",
    ][::core::mem::offset_of!(weir_event_ops, wire_notify) - 24usize];
    [
        "Offset of field: weir_event_ops::attention",
    ][::core::mem::offset_of!(weir_event_ops, attention) - 32usize];
    [
        "Offset of field: weir_event_ops::tap_notify",
    ][::core::mem::offset_of!(weir_event_ops, tap_notify) - 40usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_ops {
    /// sizeof(weir_ops)
    pub size: u32,
    /// WEIR_ABI_VERSION
    pub abi_version: u32,
    pub clock: weir_clock_ops,
    pub log: weir_log_ops,
    pub event: weir_event_ops,
    pub dma: weir_dma_ops,
    /// all null for a NIC without registers
    pub reg: weir_reg_ops,
    /// all null for a NIC that is not USB
    pub usb: weir_usb_ops,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_ops"][::core::mem::size_of::<weir_ops>() - 288usize];
    ["Alignment of weir_ops"][::core::mem::align_of::<weir_ops>() - 8usize];
    [
        "Offset of field: weir_ops::size",
    ][::core::mem::offset_of!(weir_ops, size) - 0usize];
    [
        "Offset of field: weir_ops::abi_version",
    ][::core::mem::offset_of!(weir_ops, abi_version) - 4usize];
    [
        "Offset of field: weir_ops::clock",
    ][::core::mem::offset_of!(weir_ops, clock) - 8usize];
    ["Offset of field: weir_ops::log"][::core::mem::offset_of!(weir_ops, log) - 24usize];
    [
        "Offset of field: weir_ops::event",
    ][::core::mem::offset_of!(weir_ops, event) - 40usize];
    ["Offset of field: weir_ops::dma"][::core::mem::offset_of!(weir_ops, dma) - 88usize];
    [
        "Offset of field: weir_ops::reg",
    ][::core::mem::offset_of!(weir_ops, reg) - 112usize];
    [
        "Offset of field: weir_ops::usb",
    ][::core::mem::offset_of!(weir_ops, usb) - 184usize];
};
/// ---- creation -------------------------------------------------------------------------------------------
#[repr(C)]
#[derive(Debug)]
pub struct weir_core {
    _unused: [u8; 0],
}
pub const WEIR_NIC_LOOPBACK: _bindgen_ty_5 = 1;
/// virtio-net over PCI, modern transport
pub const WEIR_NIC_VIRTIO: _bindgen_ty_5 = 2;
/// Intel 82574L and kin
pub const WEIR_NIC_E1000E: _bindgen_ty_5 = 3;
/// Intel I225, I226 and kin
pub const WEIR_NIC_IGC: _bindgen_ty_5 = 4;
pub const WEIR_NIC_USB_NCM: _bindgen_ty_5 = 8;
pub const WEIR_NIC_USB_ECM: _bindgen_ty_5 = 9;
pub const WEIR_NIC_USB_RNDIS: _bindgen_ty_5 = 10;
pub type _bindgen_ty_5 = ::core::ffi::c_uint;
/// no carrier until a wire client attaches
pub const WEIR_WIRE_NONE: _bindgen_ty_6 = 0;
/// the other instance that names the same wire_name
pub const WEIR_WIRE_PAIR: _bindgen_ty_6 = 1;
/// answers ARP, ND, ICMP and ICMPv6 echo, UDP echo itself
pub const WEIR_WIRE_REFLECT: _bindgen_ty_6 = 2;
/// shared-memory rings, served by a user client (weir_wire_attach)
pub const WEIR_WIRE_CLIENT: _bindgen_ty_6 = 3;
/// weir_config.wire: what a loopback NIC finds at the other end of its cable.
pub type _bindgen_ty_6 = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_config {
    /// sizeof(weir_config)
    pub size: u32,
    /// WEIR_ABI_VERSION
    pub abi_version: u32,
    /// WEIR_NIC_*
    pub nic: u32,
    /// WEIR_WIRE_*
    pub wire: u32,
    /// NUL-terminated; names a pair
    pub wire_name: [::core::ffi::c_char; 32usize],
    /// what `on IFNAME` in rules compares with; may be set later by weir_set_if_name
    pub if_name: [::core::ffi::c_char; 16usize],
    /// all zero: the adapter's own
    pub mac: [u8; 6usize],
    /// 1..WEIR_QUEUES_MAX
    pub queues: u16,
    /// descriptors per ring, a power of two, 64..4096
    pub ring_size: u32,
    /// 68..mtu_max
    pub mtu: u32,
    /// ..WEIR_MTU_MAX
    pub mtu_max: u32,
    /// bytes of each packet buffer the glue will lend
    pub buf_len: u32,
    /// keys the flow hash and everything random
    pub seed: u64,
    /// interrupt vectors that the glue has for the device; 0 for a NIC without interrupts
    pub vectors: u32,
    /// 0
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_config"][::core::mem::size_of::<weir_config>() - 104usize];
    ["Alignment of weir_config"][::core::mem::align_of::<weir_config>() - 8usize];
    [
        "Offset of field: weir_config::size",
    ][::core::mem::offset_of!(weir_config, size) - 0usize];
    [
        "Offset of field: weir_config::abi_version",
    ][::core::mem::offset_of!(weir_config, abi_version) - 4usize];
    [
        "Offset of field: weir_config::nic",
    ][::core::mem::offset_of!(weir_config, nic) - 8usize];
    [
        "Offset of field: weir_config::wire",
    ][::core::mem::offset_of!(weir_config, wire) - 12usize];
    [
        "Offset of field: weir_config::wire_name",
    ][::core::mem::offset_of!(weir_config, wire_name) - 16usize];
    [
        "Offset of field: weir_config::if_name",
    ][::core::mem::offset_of!(weir_config, if_name) - 48usize];
    [
        "Offset of field: weir_config::mac",
    ][::core::mem::offset_of!(weir_config, mac) - 64usize];
    [
        "Offset of field: weir_config::queues",
    ][::core::mem::offset_of!(weir_config, queues) - 70usize];
    [
        "Offset of field: weir_config::ring_size",
    ][::core::mem::offset_of!(weir_config, ring_size) - 72usize];
    [
        "Offset of field: weir_config::mtu",
    ][::core::mem::offset_of!(weir_config, mtu) - 76usize];
    [
        "Offset of field: weir_config::mtu_max",
    ][::core::mem::offset_of!(weir_config, mtu_max) - 80usize];
    [
        "Offset of field: weir_config::buf_len",
    ][::core::mem::offset_of!(weir_config, buf_len) - 84usize];
    [
        "Offset of field: weir_config::seed",
    ][::core::mem::offset_of!(weir_config, seed) - 88usize];
    [
        "Offset of field: weir_config::vectors",
    ][::core::mem::offset_of!(weir_config, vectors) - 96usize];
    [
        "Offset of field: weir_config::reserved",
    ][::core::mem::offset_of!(weir_config, reserved) - 100usize];
};
/// the budget ended before the work did: poll again
pub const WEIR_POLL_MORE: _bindgen_ty_7 = 1;
pub type _bindgen_ty_7 = ::core::ffi::c_uint;
/// What the adapter turned out to be; the glue makes packet queues and buffers to fit.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_hardware {
    /// station address
    pub mac: [u8; 6usize],
    /// queue pairs, at most weir_config.queues
    pub queues: u16,
    /// at most weir_config.mtu_max
    pub mtu_max: u32,
    /// interrupt vectors used: vector q is queue q's, the last one control's; 1 = all share it
    pub vectors: u32,
    /// call weir_tick this often while enabled; 0 = never
    pub tick_ms: u32,
    /// 1 = can wake the machine on a magic packet
    pub wake: u32,
    /// 0
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_hardware"][::core::mem::size_of::<weir_hardware>() - 28usize];
    ["Alignment of weir_hardware"][::core::mem::align_of::<weir_hardware>() - 4usize];
    [
        "Offset of field: weir_hardware::mac",
    ][::core::mem::offset_of!(weir_hardware, mac) - 0usize];
    [
        "Offset of field: weir_hardware::queues",
    ][::core::mem::offset_of!(weir_hardware, queues) - 6usize];
    [
        "Offset of field: weir_hardware::mtu_max",
    ][::core::mem::offset_of!(weir_hardware, mtu_max) - 8usize];
    [
        "Offset of field: weir_hardware::vectors",
    ][::core::mem::offset_of!(weir_hardware, vectors) - 12usize];
    [
        "Offset of field: weir_hardware::tick_ms",
    ][::core::mem::offset_of!(weir_hardware, tick_ms) - 16usize];
    [
        "Offset of field: weir_hardware::wake",
    ][::core::mem::offset_of!(weir_hardware, wake) - 20usize];
    [
        "Offset of field: weir_hardware::reserved",
    ][::core::mem::offset_of!(weir_hardware, reserved) - 24usize];
};
pub const WEIR_OFFLOAD_TX_CSUM: _bindgen_ty_8 = 1;
pub const WEIR_OFFLOAD_TSO4: _bindgen_ty_8 = 2;
pub const WEIR_OFFLOAD_TSO6: _bindgen_ty_8 = 4;
pub const WEIR_OFFLOAD_RX_CSUM: _bindgen_ty_8 = 8;
pub const WEIR_OFFLOAD_LRO: _bindgen_ty_8 = 16;
/// Hardware assists: which offloads the stack may ask for.
pub type _bindgen_ty_8 = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_link {
    /// 1 = carrier
    pub up: u32,
    /// 1
    pub full_duplex: u32,
    /// bits per second
    pub speed_bps: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_link"][::core::mem::size_of::<weir_link>() - 16usize];
    ["Alignment of weir_link"][::core::mem::align_of::<weir_link>() - 8usize];
    ["Offset of field: weir_link::up"][::core::mem::offset_of!(weir_link, up) - 0usize];
    [
        "Offset of field: weir_link::full_duplex",
    ][::core::mem::offset_of!(weir_link, full_duplex) - 4usize];
    [
        "Offset of field: weir_link::speed_bps",
    ][::core::mem::offset_of!(weir_link, speed_bps) - 8usize];
};
/** Versioned commands (src/control): req starts with weir_cmd. The reply is plain data for the command.
 *resp_len gets the reply's size, also with WEIR_E_NOSPACE.*/
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_cmd {
    /// WEIR_ABI_VERSION
    pub version: u32,
    /// WEIR_CMD_*
    pub command: u32,
    pub arg: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_cmd"][::core::mem::size_of::<weir_cmd>() - 16usize];
    ["Alignment of weir_cmd"][::core::mem::align_of::<weir_cmd>() - 8usize];
    [
        "Offset of field: weir_cmd::version",
    ][::core::mem::offset_of!(weir_cmd, version) - 0usize];
    [
        "Offset of field: weir_cmd::command",
    ][::core::mem::offset_of!(weir_cmd, command) - 4usize];
    ["Offset of field: weir_cmd::arg"][::core::mem::offset_of!(weir_cmd, arg) - 8usize];
};
/// reply: weir_info
pub const WEIR_CMD_INFO: _bindgen_ty_9 = 1;
/// reply: weir_counters; arg = queue, or WEIR_ALL_QUEUES for the sum
pub const WEIR_CMD_COUNTERS: _bindgen_ty_9 = 2;
/// request: weir_cmd then the image. reply: weir_load_result
pub const WEIR_CMD_RULESET_LOAD: _bindgen_ty_9 = 3;
/// no ruleset: every frame passes
pub const WEIR_CMD_RULESET_CLEAR: _bindgen_ty_9 = 4;
/// reply: weir_rule_counters[]; arg = first rule
pub const WEIR_CMD_RULE_COUNTERS: _bindgen_ty_9 = 5;
/// arg: WEIR_MODE_*
pub const WEIR_CMD_MODE: _bindgen_ty_9 = 6;
/// reply: weir_histogram; arg: WEIR_HIST_*
pub const WEIR_CMD_HISTOGRAM: _bindgen_ty_9 = 7;
/// takes events out of the ring. reply: weir_event[]
pub const WEIR_CMD_EVENTS: _bindgen_ty_9 = 8;
/// reply: the rules' normal form, one per line; arg = first rule
pub const WEIR_CMD_RULESET_TEXT: _bindgen_ty_9 = 9;
/// request: weir_address[]: what (interface) in rules stands for
pub const WEIR_CMD_ADDRESSES: _bindgen_ty_9 = 10;
/// reply: one line per table: path, entries, flags; arg = first table
pub const WEIR_CMD_TABLES: _bindgen_ty_9 = 11;
/// request: PATH. reply: weir_table_entry[]; arg = first entry
pub const WEIR_CMD_TABLE_SHOW: _bindgen_ty_9 = 12;
/// request: PATH, weir_table_entry[]; arg: WEIR_TABLE_*. reply: weir_table_result
pub const WEIR_CMD_TABLE_CHANGE: _bindgen_ty_9 = 13;
/// request: PATH, weir_table_entry[]. reply: one byte each: 1 = in the table
pub const WEIR_CMD_TABLE_TEST: _bindgen_ty_9 = 14;
/// asks each queue to list its states, at its next burst
pub const WEIR_CMD_STATES_LIST: _bindgen_ty_9 = 15;
/// takes states off that list. reply: weir_state[]
pub const WEIR_CMD_STATES: _bindgen_ty_9 = 16;
/// request: weir_state_filter
pub const WEIR_CMD_STATES_KILL: _bindgen_ty_9 = 17;
/// reply: weir_filter_status
pub const WEIR_CMD_STATUS: _bindgen_ty_9 = 18;
/// request: PATH, image whose root becomes the anchor. reply: weir_load_result
pub const WEIR_CMD_ANCHOR_LOAD: _bindgen_ty_9 = 19;
/// request: PATH
pub const WEIR_CMD_ANCHOR_FLUSH: _bindgen_ty_9 = 20;
/// forgets tracked sources. request: nothing, or a weir_table_entry: those in it
pub const WEIR_CMD_SOURCES_KILL: _bindgen_ty_9 = 21;
/// reply: weir_source[]; arg: 0, or `next` of the last one
pub const WEIR_CMD_SOURCES: _bindgen_ty_9 = 22;
/// reply: weir_tap_info[WEIR_TAPS_MAX]
pub const WEIR_CMD_TAPS: _bindgen_ty_9 = 40;
/// reply: uint64_t, nanoseconds of the driver's clock now
pub const WEIR_CMD_CLOCK: _bindgen_ty_9 = 41;
/// reply: weir_nic_stats
pub const WEIR_CMD_NIC_STATS: _bindgen_ty_9 = 60;
pub type _bindgen_ty_9 = ::core::ffi::c_uint;
/// the ruleset decides
pub const WEIR_MODE_FILTER: _bindgen_ty_10 = 0;
/// nothing is judged, everything is counted: the way out in a hurry
pub const WEIR_MODE_BYPASS: _bindgen_ty_10 = 1;
/// nothing passes
pub const WEIR_MODE_BLOCK: _bindgen_ty_10 = 2;
pub type _bindgen_ty_10 = ::core::ffi::c_uint;
pub const WEIR_TABLE_ADD: _bindgen_ty_11 = 0;
pub const WEIR_TABLE_DELETE: _bindgen_ty_11 = 1;
/// without entries: flush
pub const WEIR_TABLE_REPLACE: _bindgen_ty_11 = 2;
/// arg of WEIR_CMD_TABLE_CHANGE
pub type _bindgen_ty_11 = ::core::ffi::c_uint;
/// Addresses are in network order, IPv4 in the first four bytes. family: 4 or 6.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_address {
    pub addr: [u8; 16usize],
    pub broadcast: [u8; 16usize],
    pub peer: [u8; 16usize],
    pub family: u8,
    /// prefix length of its network
    pub len: u8,
    pub has_broadcast: u8,
    pub has_peer: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_address"][::core::mem::size_of::<weir_address>() - 52usize];
    ["Alignment of weir_address"][::core::mem::align_of::<weir_address>() - 1usize];
    [
        "Offset of field: weir_address::addr",
    ][::core::mem::offset_of!(weir_address, addr) - 0usize];
    [
        "Offset of field: weir_address::broadcast",
    ][::core::mem::offset_of!(weir_address, broadcast) - 16usize];
    [
        "Offset of field: weir_address::peer",
    ][::core::mem::offset_of!(weir_address, peer) - 32usize];
    [
        "Offset of field: weir_address::family",
    ][::core::mem::offset_of!(weir_address, family) - 48usize];
    [
        "Offset of field: weir_address::len",
    ][::core::mem::offset_of!(weir_address, len) - 49usize];
    [
        "Offset of field: weir_address::has_broadcast",
    ][::core::mem::offset_of!(weir_address, has_broadcast) - 50usize];
    [
        "Offset of field: weir_address::has_peer",
    ][::core::mem::offset_of!(weir_address, has_peer) - 51usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_table_entry {
    /// host bits are zero
    pub addr: [u8; 16usize],
    pub family: u8,
    pub len: u8,
    /// 1 = not in the table, although a shorter prefix is
    pub negate: u8,
    /// 0
    pub reserved: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_table_entry"][::core::mem::size_of::<weir_table_entry>() - 20usize];
    [
        "Alignment of weir_table_entry",
    ][::core::mem::align_of::<weir_table_entry>() - 1usize];
    [
        "Offset of field: weir_table_entry::addr",
    ][::core::mem::offset_of!(weir_table_entry, addr) - 0usize];
    [
        "Offset of field: weir_table_entry::family",
    ][::core::mem::offset_of!(weir_table_entry, family) - 16usize];
    [
        "Offset of field: weir_table_entry::len",
    ][::core::mem::offset_of!(weir_table_entry, len) - 17usize];
    [
        "Offset of field: weir_table_entry::negate",
    ][::core::mem::offset_of!(weir_table_entry, negate) - 18usize];
    [
        "Offset of field: weir_table_entry::reserved",
    ][::core::mem::offset_of!(weir_table_entry, reserved) - 19usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_table_result {
    pub added: u32,
    pub deleted: u32,
    /// the other way round with regard to `negate`
    pub changed: u32,
    /// now in the table
    pub entries: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_table_result"][::core::mem::size_of::<weir_table_result>() - 16usize];
    [
        "Alignment of weir_table_result",
    ][::core::mem::align_of::<weir_table_result>() - 4usize];
    [
        "Offset of field: weir_table_result::added",
    ][::core::mem::offset_of!(weir_table_result, added) - 0usize];
    [
        "Offset of field: weir_table_result::deleted",
    ][::core::mem::offset_of!(weir_table_result, deleted) - 4usize];
    [
        "Offset of field: weir_table_result::changed",
    ][::core::mem::offset_of!(weir_table_result, changed) - 8usize];
    [
        "Offset of field: weir_table_result::entries",
    ][::core::mem::offset_of!(weir_table_result, entries) - 12usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_state {
    /// for weir_state_filter
    pub id: u64,
    /// of the end that began, of the other
    pub packets: [u64; 2usize],
    pub bytes: [u64; 2usize],
    pub age_ms: u64,
    pub expires_ms: u64,
    /// as the wire shows it
    pub wire_far: [u8; 16usize],
    pub wire_near: [u8; 16usize],
    /// as the stack has it
    pub stack_far: [u8; 16usize],
    pub stack_near: [u8; 16usize],
    /// far, near; ICMP: identifier, type of the request
    pub wire_ports: [u16; 2usize],
    pub stack_ports: [u16; 2usize],
    /// 0xffffffff = not there any more
    pub rule: u32,
    /// 1 in, 2 out
    pub direction: u8,
    /// 4, 6
    pub family: u8,
    pub protocol: u8,
    /// TCP: BSD's states, 4 = established; others: 0 nothing, 1 single, 2 multiple
    pub phase: [u8; 2usize],
    pub reserved: [u8; 7usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_state"][::core::mem::size_of::<weir_state>() - 144usize];
    ["Alignment of weir_state"][::core::mem::align_of::<weir_state>() - 8usize];
    [
        "Offset of field: weir_state::id",
    ][::core::mem::offset_of!(weir_state, id) - 0usize];
    [
        "Offset of field: weir_state::packets",
    ][::core::mem::offset_of!(weir_state, packets) - 8usize];
    [
        "Offset of field: weir_state::bytes",
    ][::core::mem::offset_of!(weir_state, bytes) - 24usize];
    [
        "Offset of field: weir_state::age_ms",
    ][::core::mem::offset_of!(weir_state, age_ms) - 40usize];
    [
        "Offset of field: weir_state::expires_ms",
    ][::core::mem::offset_of!(weir_state, expires_ms) - 48usize];
    [
        "Offset of field: weir_state::wire_far",
    ][::core::mem::offset_of!(weir_state, wire_far) - 56usize];
    [
        "Offset of field: weir_state::wire_near",
    ][::core::mem::offset_of!(weir_state, wire_near) - 72usize];
    [
        "Offset of field: weir_state::stack_far",
    ][::core::mem::offset_of!(weir_state, stack_far) - 88usize];
    [
        "Offset of field: weir_state::stack_near",
    ][::core::mem::offset_of!(weir_state, stack_near) - 104usize];
    [
        "Offset of field: weir_state::wire_ports",
    ][::core::mem::offset_of!(weir_state, wire_ports) - 120usize];
    [
        "Offset of field: weir_state::stack_ports",
    ][::core::mem::offset_of!(weir_state, stack_ports) - 124usize];
    [
        "Offset of field: weir_state::rule",
    ][::core::mem::offset_of!(weir_state, rule) - 128usize];
    [
        "Offset of field: weir_state::direction",
    ][::core::mem::offset_of!(weir_state, direction) - 132usize];
    [
        "Offset of field: weir_state::family",
    ][::core::mem::offset_of!(weir_state, family) - 133usize];
    [
        "Offset of field: weir_state::protocol",
    ][::core::mem::offset_of!(weir_state, protocol) - 134usize];
    [
        "Offset of field: weir_state::phase",
    ][::core::mem::offset_of!(weir_state, phase) - 135usize];
    [
        "Offset of field: weir_state::reserved",
    ][::core::mem::offset_of!(weir_state, reserved) - 137usize];
};
/// A source that is tracked.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_source {
    pub addr: [u8; 16usize],
    /// 0xffffffff = of all rules, or of one that is not there any more
    pub rule: u32,
    pub states: u32,
    /// of those, the ones whose handshake is over
    pub connections: u32,
    /// thousandths of connections that counted for its rate when the last one came
    pub rate: u32,
    pub age_ms: u64,
    /// without states
    pub expires_ms: u64,
    /// where the list goes on
    pub next: u64,
    /// 4, 6
    pub family: u8,
    pub reserved: [u8; 7usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_source"][::core::mem::size_of::<weir_source>() - 64usize];
    ["Alignment of weir_source"][::core::mem::align_of::<weir_source>() - 8usize];
    [
        "Offset of field: weir_source::addr",
    ][::core::mem::offset_of!(weir_source, addr) - 0usize];
    [
        "Offset of field: weir_source::rule",
    ][::core::mem::offset_of!(weir_source, rule) - 16usize];
    [
        "Offset of field: weir_source::states",
    ][::core::mem::offset_of!(weir_source, states) - 20usize];
    [
        "Offset of field: weir_source::connections",
    ][::core::mem::offset_of!(weir_source, connections) - 24usize];
    [
        "Offset of field: weir_source::rate",
    ][::core::mem::offset_of!(weir_source, rate) - 28usize];
    [
        "Offset of field: weir_source::age_ms",
    ][::core::mem::offset_of!(weir_source, age_ms) - 32usize];
    [
        "Offset of field: weir_source::expires_ms",
    ][::core::mem::offset_of!(weir_source, expires_ms) - 40usize];
    [
        "Offset of field: weir_source::next",
    ][::core::mem::offset_of!(weir_source, next) - 48usize];
    [
        "Offset of field: weir_source::family",
    ][::core::mem::offset_of!(weir_source, family) - 56usize];
    [
        "Offset of field: weir_source::reserved",
    ][::core::mem::offset_of!(weir_source, reserved) - 57usize];
};
/// States that meet everything that is given are killed.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_state_filter {
    /// 0 = any
    pub id: u64,
    /// one end
    pub host: [u8; 16usize],
    /// the other
    pub peer: [u8; 16usize],
    /// 0 = any
    pub host_family: u8,
    pub host_len: u8,
    /// 0 = any
    pub peer_family: u8,
    pub peer_len: u8,
    /// 0
    pub reserved: u32,
    /// NUL-terminated; of the rule that made them; empty = any
    pub label: [::core::ffi::c_char; 64usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of weir_state_filter",
    ][::core::mem::size_of::<weir_state_filter>() - 112usize];
    [
        "Alignment of weir_state_filter",
    ][::core::mem::align_of::<weir_state_filter>() - 8usize];
    [
        "Offset of field: weir_state_filter::id",
    ][::core::mem::offset_of!(weir_state_filter, id) - 0usize];
    [
        "Offset of field: weir_state_filter::host",
    ][::core::mem::offset_of!(weir_state_filter, host) - 8usize];
    [
        "Offset of field: weir_state_filter::peer",
    ][::core::mem::offset_of!(weir_state_filter, peer) - 24usize];
    [
        "Offset of field: weir_state_filter::host_family",
    ][::core::mem::offset_of!(weir_state_filter, host_family) - 40usize];
    [
        "Offset of field: weir_state_filter::host_len",
    ][::core::mem::offset_of!(weir_state_filter, host_len) - 41usize];
    [
        "Offset of field: weir_state_filter::peer_family",
    ][::core::mem::offset_of!(weir_state_filter, peer_family) - 42usize];
    [
        "Offset of field: weir_state_filter::peer_len",
    ][::core::mem::offset_of!(weir_state_filter, peer_len) - 43usize];
    [
        "Offset of field: weir_state_filter::reserved",
    ][::core::mem::offset_of!(weir_state_filter, reserved) - 44usize];
    [
        "Offset of field: weir_state_filter::label",
    ][::core::mem::offset_of!(weir_state_filter, label) - 48usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_filter_status {
    /// now
    pub states: u64,
    /** seconds, in pf's order: tcp.first .. tcp.closed, udp.*, icmp.*, other.*, frag, interval,
 adaptive.start, adaptive.end, src.track, tcp.tsdiff*/
    pub timeouts: [u32; 20usize],
    /// states, src-nodes, frags, tables, table-entries
    pub limits: [u32; 5usize],
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of weir_filter_status",
    ][::core::mem::size_of::<weir_filter_status>() - 112usize];
    [
        "Alignment of weir_filter_status",
    ][::core::mem::align_of::<weir_filter_status>() - 8usize];
    [
        "Offset of field: weir_filter_status::states",
    ][::core::mem::offset_of!(weir_filter_status, states) - 0usize];
    [
        "Offset of field: weir_filter_status::timeouts",
    ][::core::mem::offset_of!(weir_filter_status, timeouts) - 8usize];
    [
        "Offset of field: weir_filter_status::limits",
    ][::core::mem::offset_of!(weir_filter_status, limits) - 88usize];
    [
        "Offset of field: weir_filter_status::reserved",
    ][::core::mem::offset_of!(weir_filter_status, reserved) - 108usize];
};
/// frames from the wire, as they arrived
pub const WEIR_TAP_IN: _bindgen_ty_12 = 1;
/// frames to the wire, as they leave
pub const WEIR_TAP_OUT: _bindgen_ty_12 = 2;
/// of those only what a rule with `dup-to` matched, as it goes on
pub const WEIR_TAP_COPIES: _bindgen_ty_12 = 4;
/// events, and no frames
pub const WEIR_TAP_EVENTS: _bindgen_ty_12 = 8;
/// weir_tap_config.kinds.
pub type _bindgen_ty_12 = ::core::ffi::c_uint;
/// A request: this, then `instructions` weir_bpf_insn, which say which frames and how much of them.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_tap_config {
    /// WEIR_ABI_VERSION
    pub version: u32,
    /// WEIR_TAP_*
    pub kinds: u32,
    /// bytes of each frame; 0 = all
    pub snaplen: u32,
    /// of each ring, a power of two, 4 KiB to 16 MiB; all rings of a tap at most 64 MiB
    pub ring_bytes: u32,
    /// at most 4096; 0 = every frame
    pub instructions: u32,
    /// 0
    pub reserved: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_tap_config"][::core::mem::size_of::<weir_tap_config>() - 24usize];
    [
        "Alignment of weir_tap_config",
    ][::core::mem::align_of::<weir_tap_config>() - 4usize];
    [
        "Offset of field: weir_tap_config::version",
    ][::core::mem::offset_of!(weir_tap_config, version) - 0usize];
    [
        "Offset of field: weir_tap_config::kinds",
    ][::core::mem::offset_of!(weir_tap_config, kinds) - 4usize];
    [
        "Offset of field: weir_tap_config::snaplen",
    ][::core::mem::offset_of!(weir_tap_config, snaplen) - 8usize];
    [
        "Offset of field: weir_tap_config::ring_bytes",
    ][::core::mem::offset_of!(weir_tap_config, ring_bytes) - 12usize];
    [
        "Offset of field: weir_tap_config::instructions",
    ][::core::mem::offset_of!(weir_tap_config, instructions) - 16usize];
    [
        "Offset of field: weir_tap_config::reserved",
    ][::core::mem::offset_of!(weir_tap_config, reserved) - 20usize];
};
/// One instruction of a classic BPF program, as in <net/bpf.h>.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_bpf_insn {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_bpf_insn"][::core::mem::size_of::<weir_bpf_insn>() - 8usize];
    ["Alignment of weir_bpf_insn"][::core::mem::align_of::<weir_bpf_insn>() - 4usize];
    [
        "Offset of field: weir_bpf_insn::code",
    ][::core::mem::offset_of!(weir_bpf_insn, code) - 0usize];
    [
        "Offset of field: weir_bpf_insn::jt",
    ][::core::mem::offset_of!(weir_bpf_insn, jt) - 2usize];
    [
        "Offset of field: weir_bpf_insn::jf",
    ][::core::mem::offset_of!(weir_bpf_insn, jf) - 3usize];
    [
        "Offset of field: weir_bpf_insn::k",
    ][::core::mem::offset_of!(weir_bpf_insn, k) - 4usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_tap_info {
    /// 0 = nobody has this tap
    pub kinds: u32,
    pub snaplen: u32,
    /// frames or events that were looked at
    pub seen: u64,
    /// that were wanted and found room
    pub kept: u64,
    /// that were wanted and found none
    pub lost: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_tap_info"][::core::mem::size_of::<weir_tap_info>() - 32usize];
    ["Alignment of weir_tap_info"][::core::mem::align_of::<weir_tap_info>() - 8usize];
    [
        "Offset of field: weir_tap_info::kinds",
    ][::core::mem::offset_of!(weir_tap_info, kinds) - 0usize];
    [
        "Offset of field: weir_tap_info::snaplen",
    ][::core::mem::offset_of!(weir_tap_info, snaplen) - 4usize];
    [
        "Offset of field: weir_tap_info::seen",
    ][::core::mem::offset_of!(weir_tap_info, seen) - 8usize];
    [
        "Offset of field: weir_tap_info::kept",
    ][::core::mem::offset_of!(weir_tap_info, kept) - 16usize];
    [
        "Offset of field: weir_tap_info::lost",
    ][::core::mem::offset_of!(weir_tap_info, lost) - 24usize];
};
/// a rule with `log` matched
pub const WEIR_EVENT_LOG: _bindgen_ty_13 = 1;
pub const WEIR_EVENT_LINK: _bindgen_ty_13 = 2;
/// rule = number of rules, reason = epoch
pub const WEIR_EVENT_RULESET: _bindgen_ty_13 = 3;
pub const WEIR_EVENT_MISUSE: _bindgen_ty_13 = 4;
pub type _bindgen_ty_13 = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_event {
    /// 0 = not known
    pub time_ns: u64,
    /// WEIR_EVENT_*
    pub kind: u32,
    /// 0xffffffff = no rule
    pub rule: u32,
    /// 1 in, 2 out
    pub direction: u8,
    /// 0 pass, 1 block
    pub action: u8,
    /// WEIR_DROP_*; 255 = none
    pub reason: u8,
    /// IP protocol; 255 = not IP
    pub protocol: u8,
    pub ethertype: u16,
    /// outermost TCI; 0 = untagged
    pub vlan: u16,
    pub sport: u16,
    pub dport: u16,
    /// frame length, at most 65535
    pub len: u16,
    /// 0 none, 4, 6
    pub family: u8,
    pub reserved: u8,
    /// IPv4 in the first four bytes
    pub src: [u8; 16usize],
    pub dst: [u8; 16usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_event"][::core::mem::size_of::<weir_event>() - 64usize];
    ["Alignment of weir_event"][::core::mem::align_of::<weir_event>() - 8usize];
    [
        "Offset of field: weir_event::time_ns",
    ][::core::mem::offset_of!(weir_event, time_ns) - 0usize];
    [
        "Offset of field: weir_event::kind",
    ][::core::mem::offset_of!(weir_event, kind) - 8usize];
    [
        "Offset of field: weir_event::rule",
    ][::core::mem::offset_of!(weir_event, rule) - 12usize];
    [
        "Offset of field: weir_event::direction",
    ][::core::mem::offset_of!(weir_event, direction) - 16usize];
    [
        "Offset of field: weir_event::action",
    ][::core::mem::offset_of!(weir_event, action) - 17usize];
    [
        "Offset of field: weir_event::reason",
    ][::core::mem::offset_of!(weir_event, reason) - 18usize];
    [
        "Offset of field: weir_event::protocol",
    ][::core::mem::offset_of!(weir_event, protocol) - 19usize];
    [
        "Offset of field: weir_event::ethertype",
    ][::core::mem::offset_of!(weir_event, ethertype) - 20usize];
    [
        "Offset of field: weir_event::vlan",
    ][::core::mem::offset_of!(weir_event, vlan) - 22usize];
    [
        "Offset of field: weir_event::sport",
    ][::core::mem::offset_of!(weir_event, sport) - 24usize];
    [
        "Offset of field: weir_event::dport",
    ][::core::mem::offset_of!(weir_event, dport) - 26usize];
    [
        "Offset of field: weir_event::len",
    ][::core::mem::offset_of!(weir_event, len) - 28usize];
    [
        "Offset of field: weir_event::family",
    ][::core::mem::offset_of!(weir_event, family) - 30usize];
    [
        "Offset of field: weir_event::reserved",
    ][::core::mem::offset_of!(weir_event, reserved) - 31usize];
    [
        "Offset of field: weir_event::src",
    ][::core::mem::offset_of!(weir_event, src) - 32usize];
    [
        "Offset of field: weir_event::dst",
    ][::core::mem::offset_of!(weir_event, dst) - 48usize];
};
pub const WEIR_DROP_MATCH: _bindgen_ty_14 = 0;
pub const WEIR_DROP_BAD_OFFSET: _bindgen_ty_14 = 1;
pub const WEIR_DROP_FRAGMENT: _bindgen_ty_14 = 2;
pub const WEIR_DROP_SHORT: _bindgen_ty_14 = 3;
pub const WEIR_DROP_NORMALIZE: _bindgen_ty_14 = 4;
pub const WEIR_DROP_MEMORY: _bindgen_ty_14 = 5;
pub const WEIR_DROP_BAD_TIMESTAMP: _bindgen_ty_14 = 6;
pub const WEIR_DROP_CONGESTION: _bindgen_ty_14 = 7;
pub const WEIR_DROP_IP_OPTION: _bindgen_ty_14 = 8;
pub const WEIR_DROP_PROTO_CKSUM: _bindgen_ty_14 = 9;
pub const WEIR_DROP_STATE_MISMATCH: _bindgen_ty_14 = 10;
pub const WEIR_DROP_STATE_INSERT: _bindgen_ty_14 = 11;
pub const WEIR_DROP_STATE_LIMIT: _bindgen_ty_14 = 12;
pub const WEIR_DROP_SRC_LIMIT: _bindgen_ty_14 = 13;
pub const WEIR_DROP_SYNPROXY: _bindgen_ty_14 = 14;
pub const WEIR_DROP_DUMMYNET: _bindgen_ty_14 = 15;
pub const WEIR_DROP_INVALID_PORT: _bindgen_ty_14 = 16;
/// shorter than an Ethernet header
pub const WEIR_DROP_RUNT: _bindgen_ty_14 = 17;
/// longer than the MTU allows, or than the buffer
pub const WEIR_DROP_GIANT: _bindgen_ty_14 = 18;
/// not for this station
pub const WEIR_DROP_MAC_FILTER: _bindgen_ty_14 = 19;
/// transmit without a link
pub const WEIR_DROP_NO_CARRIER: _bindgen_ty_14 = 20;
/// nothing posted to receive into
pub const WEIR_DROP_NO_BUFFER: _bindgen_ty_14 = 21;
/// offset, length or checksum metadata outside the buffer
pub const WEIR_DROP_BAD_DESCRIPTOR: _bindgen_ty_14 = 22;
/// the ring to the flow's own shard was full
pub const WEIR_DROP_STEER_FULL: _bindgen_ty_14 = 23;
/// the interface went down with the frame in hand
pub const WEIR_DROP_DISABLED: _bindgen_ty_14 = 24;
/// the device reported an error
pub const WEIR_DROP_DEVICE: _bindgen_ty_14 = 25;
/// WEIR_MODE_BLOCK
pub const WEIR_DROP_ADMIN: _bindgen_ty_14 = 26;
/// asks for an offload that does not fit the frame
pub const WEIR_DROP_OFFLOAD: _bindgen_ty_14 = 27;
pub const WEIR_DROP_REASONS: _bindgen_ty_14 = 32;
/// Why a frame was dropped. 0..16 are pf's (PFRES_*), under pf's names; the rest are the NIC's own.
pub type _bindgen_ty_14 = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_counters {
    /// frames the NIC gave; = rx_delivered + rx_consumed + rx_held + sum(rx_dropped)
    pub rx_frames: u64,
    pub rx_bytes: u64,
    pub rx_delivered: u64,
    pub rx_consumed: u64,
    /// gauge
    pub rx_held: u64,
    pub rx_multicast: u64,
    /// = tx_sent + tx_consumed + tx_held + tx_in_flight + sum(tx_dropped)
    pub tx_dequeued: u64,
    pub tx_bytes: u64,
    pub tx_sent: u64,
    pub tx_consumed: u64,
    /// gauge
    pub tx_held: u64,
    /// gauge
    pub tx_in_flight: u64,
    /// frames the core made itself and delivered; not part of rx_frames
    pub rx_injected: u64,
    /// frames the core made itself and sent; not part of tx_dequeued
    pub tx_injected: u64,
    /// gauges over lent RX buffers: rx_lent = pool_free + pool_posted + pool_held
    pub pool_free: u64,
    pub pool_posted: u64,
    pub pool_held: u64,
    /// buffers lent by weir_rx_post and not yet handed back
    pub rx_lent: u64,
    pub bursts_rx: u64,
    pub bursts_tx: u64,
    pub wakes: u64,
    /// data path entered twice, bad cookies and the like
    pub misuse: u64,
    /// event ring was full
    pub events_lost: u64,
    /// packets that the shard of their flow's state judged, not the one they came to
    pub steered: u64,
    pub rx_dropped: [u64; 32usize],
    pub tx_dropped: [u64; 32usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_counters"][::core::mem::size_of::<weir_counters>() - 704usize];
    ["Alignment of weir_counters"][::core::mem::align_of::<weir_counters>() - 8usize];
    [
        "Offset of field: weir_counters::rx_frames",
    ][::core::mem::offset_of!(weir_counters, rx_frames) - 0usize];
    [
        "Offset of field: weir_counters::rx_bytes",
    ][::core::mem::offset_of!(weir_counters, rx_bytes) - 8usize];
    [
        "Offset of field: weir_counters::rx_delivered",
    ][::core::mem::offset_of!(weir_counters, rx_delivered) - 16usize];
    [
        "Offset of field: weir_counters::rx_consumed",
    ][::core::mem::offset_of!(weir_counters, rx_consumed) - 24usize];
    [
        "Offset of field: weir_counters::rx_held",
    ][::core::mem::offset_of!(weir_counters, rx_held) - 32usize];
    [
        "Offset of field: weir_counters::rx_multicast",
    ][::core::mem::offset_of!(weir_counters, rx_multicast) - 40usize];
    [
        "Offset of field: weir_counters::tx_dequeued",
    ][::core::mem::offset_of!(weir_counters, tx_dequeued) - 48usize];
    [
        "Offset of field: weir_counters::tx_bytes",
    ][::core::mem::offset_of!(weir_counters, tx_bytes) - 56usize];
    [
        "Offset of field: weir_counters::tx_sent",
    ][::core::mem::offset_of!(weir_counters, tx_sent) - 64usize];
    [
        "Offset of field: weir_counters::tx_consumed",
    ][::core::mem::offset_of!(weir_counters, tx_consumed) - 72usize];
    [
        "Offset of field: weir_counters::tx_held",
    ][::core::mem::offset_of!(weir_counters, tx_held) - 80usize];
    [
        "Offset of field: weir_counters::tx_in_flight",
    ][::core::mem::offset_of!(weir_counters, tx_in_flight) - 88usize];
    [
        "Offset of field: weir_counters::rx_injected",
    ][::core::mem::offset_of!(weir_counters, rx_injected) - 96usize];
    [
        "Offset of field: weir_counters::tx_injected",
    ][::core::mem::offset_of!(weir_counters, tx_injected) - 104usize];
    [
        "Offset of field: weir_counters::pool_free",
    ][::core::mem::offset_of!(weir_counters, pool_free) - 112usize];
    [
        "Offset of field: weir_counters::pool_posted",
    ][::core::mem::offset_of!(weir_counters, pool_posted) - 120usize];
    [
        "Offset of field: weir_counters::pool_held",
    ][::core::mem::offset_of!(weir_counters, pool_held) - 128usize];
    [
        "Offset of field: weir_counters::rx_lent",
    ][::core::mem::offset_of!(weir_counters, rx_lent) - 136usize];
    [
        "Offset of field: weir_counters::bursts_rx",
    ][::core::mem::offset_of!(weir_counters, bursts_rx) - 144usize];
    [
        "Offset of field: weir_counters::bursts_tx",
    ][::core::mem::offset_of!(weir_counters, bursts_tx) - 152usize];
    [
        "Offset of field: weir_counters::wakes",
    ][::core::mem::offset_of!(weir_counters, wakes) - 160usize];
    [
        "Offset of field: weir_counters::misuse",
    ][::core::mem::offset_of!(weir_counters, misuse) - 168usize];
    [
        "Offset of field: weir_counters::events_lost",
    ][::core::mem::offset_of!(weir_counters, events_lost) - 176usize];
    [
        "Offset of field: weir_counters::steered",
    ][::core::mem::offset_of!(weir_counters, steered) - 184usize];
    [
        "Offset of field: weir_counters::rx_dropped",
    ][::core::mem::offset_of!(weir_counters, rx_dropped) - 192usize];
    [
        "Offset of field: weir_counters::tx_dropped",
    ][::core::mem::offset_of!(weir_counters, tx_dropped) - 448usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_info {
    pub abi_version: u32,
    pub queues: u32,
    /// WEIR_MODE_*
    pub mode: u32,
    pub mtu: u32,
    /// 0 = none loaded yet
    pub ruleset_epoch: u64,
    pub rules: u32,
    pub offloads: u32,
    pub mac: [u8; 6usize],
    pub enabled: u8,
    pub promiscuous: u8,
    pub multicast_count: u32,
    pub if_name: [::core::ffi::c_char; 16usize],
    pub link: weir_link,
    /// NUL-terminated, the core's crate version
    pub version: [::core::ffi::c_char; 32usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_info"][::core::mem::size_of::<weir_info>() - 112usize];
    ["Alignment of weir_info"][::core::mem::align_of::<weir_info>() - 8usize];
    [
        "Offset of field: weir_info::abi_version",
    ][::core::mem::offset_of!(weir_info, abi_version) - 0usize];
    [
        "Offset of field: weir_info::queues",
    ][::core::mem::offset_of!(weir_info, queues) - 4usize];
    [
        "Offset of field: weir_info::mode",
    ][::core::mem::offset_of!(weir_info, mode) - 8usize];
    [
        "Offset of field: weir_info::mtu",
    ][::core::mem::offset_of!(weir_info, mtu) - 12usize];
    [
        "Offset of field: weir_info::ruleset_epoch",
    ][::core::mem::offset_of!(weir_info, ruleset_epoch) - 16usize];
    [
        "Offset of field: weir_info::rules",
    ][::core::mem::offset_of!(weir_info, rules) - 24usize];
    [
        "Offset of field: weir_info::offloads",
    ][::core::mem::offset_of!(weir_info, offloads) - 28usize];
    [
        "Offset of field: weir_info::mac",
    ][::core::mem::offset_of!(weir_info, mac) - 32usize];
    [
        "Offset of field: weir_info::enabled",
    ][::core::mem::offset_of!(weir_info, enabled) - 38usize];
    [
        "Offset of field: weir_info::promiscuous",
    ][::core::mem::offset_of!(weir_info, promiscuous) - 39usize];
    [
        "Offset of field: weir_info::multicast_count",
    ][::core::mem::offset_of!(weir_info, multicast_count) - 40usize];
    [
        "Offset of field: weir_info::if_name",
    ][::core::mem::offset_of!(weir_info, if_name) - 44usize];
    [
        "Offset of field: weir_info::link",
    ][::core::mem::offset_of!(weir_info, link) - 64usize];
    [
        "Offset of field: weir_info::version",
    ][::core::mem::offset_of!(weir_info, version) - 80usize];
};
/// What moving frames cost, in the adapter's terms, since weir_create.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_nic_stats {
    /// calls that told the device of work: register writes, transfers submitted in one go
    pub doorbells: u64,
    /// times that the device told of work done
    pub interrupts: u64,
    /// register reads and writes, doorbells included
    pub registers: u64,
    /// USB: transfers received that had something in them, and sent
    pub transfers_in: u64,
    /// USB: transfers received that had something in them, and sent
    pub transfers_out: u64,
    /// frames that the device delivered, and that it took
    pub frames_in: u64,
    /// frames that the device delivered, and that it took
    pub frames_out: u64,
    /// frames that the CPU copied
    pub copies: u64,
    /// endpoints found halted
    pub stalls: u64,
    /// times that the device was brought back; did not answer or take a frame
    pub recoveries: u64,
    /// times that the device was brought back; did not answer or take a frame
    pub timeouts: u64,
    /// what makes no sense, and failed; what had nothing in it
    pub device_errors: u64,
    /// what makes no sense, and failed; what had nothing in it
    pub empty_transfers: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_nic_stats"][::core::mem::size_of::<weir_nic_stats>() - 104usize];
    ["Alignment of weir_nic_stats"][::core::mem::align_of::<weir_nic_stats>() - 8usize];
    [
        "Offset of field: weir_nic_stats::doorbells",
    ][::core::mem::offset_of!(weir_nic_stats, doorbells) - 0usize];
    [
        "Offset of field: weir_nic_stats::interrupts",
    ][::core::mem::offset_of!(weir_nic_stats, interrupts) - 8usize];
    [
        "Offset of field: weir_nic_stats::registers",
    ][::core::mem::offset_of!(weir_nic_stats, registers) - 16usize];
    [
        "Offset of field: weir_nic_stats::transfers_in",
    ][::core::mem::offset_of!(weir_nic_stats, transfers_in) - 24usize];
    [
        "Offset of field: weir_nic_stats::transfers_out",
    ][::core::mem::offset_of!(weir_nic_stats, transfers_out) - 32usize];
    [
        "Offset of field: weir_nic_stats::frames_in",
    ][::core::mem::offset_of!(weir_nic_stats, frames_in) - 40usize];
    [
        "Offset of field: weir_nic_stats::frames_out",
    ][::core::mem::offset_of!(weir_nic_stats, frames_out) - 48usize];
    [
        "Offset of field: weir_nic_stats::copies",
    ][::core::mem::offset_of!(weir_nic_stats, copies) - 56usize];
    [
        "Offset of field: weir_nic_stats::stalls",
    ][::core::mem::offset_of!(weir_nic_stats, stalls) - 64usize];
    [
        "Offset of field: weir_nic_stats::recoveries",
    ][::core::mem::offset_of!(weir_nic_stats, recoveries) - 72usize];
    [
        "Offset of field: weir_nic_stats::timeouts",
    ][::core::mem::offset_of!(weir_nic_stats, timeouts) - 80usize];
    [
        "Offset of field: weir_nic_stats::device_errors",
    ][::core::mem::offset_of!(weir_nic_stats, device_errors) - 88usize];
    [
        "Offset of field: weir_nic_stats::empty_transfers",
    ][::core::mem::offset_of!(weir_nic_stats, empty_transfers) - 96usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_load_result {
    /// of the ruleset that now runs
    pub epoch: u64,
    pub rules: u32,
    /// with WEIR_E_IMAGE: filter::image::ImageError as a number
    pub error: u32,
    /// byte offset in the image
    pub error_at: u64,
    /// NUL-terminated reason
    pub text: [::core::ffi::c_char; 112usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_load_result"][::core::mem::size_of::<weir_load_result>() - 136usize];
    [
        "Alignment of weir_load_result",
    ][::core::mem::align_of::<weir_load_result>() - 8usize];
    [
        "Offset of field: weir_load_result::epoch",
    ][::core::mem::offset_of!(weir_load_result, epoch) - 0usize];
    [
        "Offset of field: weir_load_result::rules",
    ][::core::mem::offset_of!(weir_load_result, rules) - 8usize];
    [
        "Offset of field: weir_load_result::error",
    ][::core::mem::offset_of!(weir_load_result, error) - 12usize];
    [
        "Offset of field: weir_load_result::error_at",
    ][::core::mem::offset_of!(weir_load_result, error_at) - 16usize];
    [
        "Offset of field: weir_load_result::text",
    ][::core::mem::offset_of!(weir_load_result, text) - 24usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_rule_counters {
    pub evaluations: u64,
    pub packets: u64,
    pub bytes: u64,
    /// gauge
    pub states: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of weir_rule_counters",
    ][::core::mem::size_of::<weir_rule_counters>() - 32usize];
    [
        "Alignment of weir_rule_counters",
    ][::core::mem::align_of::<weir_rule_counters>() - 8usize];
    [
        "Offset of field: weir_rule_counters::evaluations",
    ][::core::mem::offset_of!(weir_rule_counters, evaluations) - 0usize];
    [
        "Offset of field: weir_rule_counters::packets",
    ][::core::mem::offset_of!(weir_rule_counters, packets) - 8usize];
    [
        "Offset of field: weir_rule_counters::bytes",
    ][::core::mem::offset_of!(weir_rule_counters, bytes) - 16usize];
    [
        "Offset of field: weir_rule_counters::states",
    ][::core::mem::offset_of!(weir_rule_counters, states) - 24usize];
};
/// time of one weir_rx_poll
pub const WEIR_HIST_RX_BURST_NS: _bindgen_ty_15 = 0;
pub const WEIR_HIST_TX_BURST_NS: _bindgen_ty_15 = 1;
pub const WEIR_HIST_RX_BURST_LEN: _bindgen_ty_15 = 2;
pub const WEIR_HIST_TX_BURST_LEN: _bindgen_ty_15 = 3;
pub const WEIR_HIST_COUNT: _bindgen_ty_15 = 4;
pub type _bindgen_ty_15 = ::core::ffi::c_uint;
/// bucket[i] counts values v with floor(log2(v)) == i; v = 0 is in bucket 0.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct weir_histogram {
    pub bucket: [u64; 64usize],
    pub sum: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of weir_histogram"][::core::mem::size_of::<weir_histogram>() - 520usize];
    ["Alignment of weir_histogram"][::core::mem::align_of::<weir_histogram>() - 8usize];
    [
        "Offset of field: weir_histogram::bucket",
    ][::core::mem::offset_of!(weir_histogram, bucket) - 0usize];
    [
        "Offset of field: weir_histogram::sum",
    ][::core::mem::offset_of!(weir_histogram, sum) - 512usize];
};
unsafe extern "C" {
    /** Finds the network function that has interface `interface` (bInterfaceNumber; 255 = any) in a configuration descriptor
 with all that follows it, `len` bytes as the device sent them. WEIR_E_UNSUPPORTED: there is none.*/
    pub fn weir_usb_probe(
        descriptor: *const u8,
        len: usize,
        interface: u32,
        out: *mut weir_usb_plan,
    ) -> weir_status;
    /// *out is untouched on failure.
    pub fn weir_create(
        config: *const weir_config,
        ops: *const weir_ops,
        out: *mut *mut weir_core,
    ) -> weir_status;
    /// Everything lent must have been reclaimed; what was not is counted as lost and logged. Null is allowed.
    pub fn weir_destroy(core: *mut weir_core);
    /// Lends n empty buffers for receive. Returns how many were taken, from the front.
    pub fn weir_rx_post(
        core: *mut weir_core,
        queue: u32,
        empties: *const weir_empty,
        n: u32,
    ) -> u32;
    /// How many empty buffers weir_rx_post would take now.
    pub fn weir_rx_space(core: *mut weir_core, queue: u32) -> u32;
    /// Runs receive: takes finished frames from the NIC, judges them, returns those to deliver. `flags` may be null.
    pub fn weir_rx_poll(
        core: *mut weir_core,
        queue: u32,
        out: *mut weir_burst,
        budget: u32,
        flags: *mut u32,
    ) -> u32;
    /// How many packets weir_tx_submit would take now; dequeue no more than this from the stack.
    pub fn weir_tx_space(core: *mut weir_core, queue: u32) -> u32;
    /// Lends the first n frames for transmit. Returns how many were taken, from the front; the others stand as they stood.
    pub fn weir_tx_submit(
        core: *mut weir_core,
        queue: u32,
        frames: *mut weir_burst,
        n: u32,
    ) -> u32;
    /// Progresses transmit and returns completed packets with their status.
    pub fn weir_tx_reap(
        core: *mut weir_core,
        queue: u32,
        out: *mut weir_pkt,
        max: u32,
    ) -> u32;
    /// Re-arms the wake-up of a queue. Returns 1 if work arrived in between: poll again, else sleep until wake.
    pub fn weir_arm(core: *mut weir_core, queue: u32) -> u32;
    /** Transfers of a USB pipe ended, in slots first, first + 1, ... (modulo the ring): actual[i] bytes, status[i]. Any
 thread; may run concurrently with everything but weir_destroy.*/
    pub fn weir_usb_complete(
        core: *mut weir_core,
        pipe: u32,
        first: u32,
        actual: *const u32,
        status: *const weir_status,
        count: u32,
    );
    /// After weir_enable(core, 0): returns what is still lent, RX (len 0) and TX (status WEIR_E_STATE) alike, until 0.
    pub fn weir_reclaim(
        core: *mut weir_core,
        queue: u32,
        out: *mut weir_pkt,
        max: u32,
    ) -> u32;
    /// ---- control ---------------------------------------------------------------------------------------------
    pub fn weir_enable(core: *mut weir_core, enable: u32) -> weir_status;
    pub fn weir_set_promiscuous(core: *mut weir_core, enable: u32) -> weir_status;
    pub fn weir_set_all_multicast(core: *mut weir_core, enable: u32) -> weir_status;
    pub fn weir_get_hardware(
        core: *mut weir_core,
        out: *mut weir_hardware,
    ) -> weir_status;
    /** Interrupt `vector` arrived. A vector that is one queue's alone may be answered by polling that queue instead.
 Returns a mask of the queues to poll.*/
    pub fn weir_interrupt(core: *mut weir_core, vector: u32) -> u32;
    /// Counts an interrupt that was answered by polling its queue. Any thread.
    pub fn weir_interrupt_polled(core: *mut weir_core);
    /// The watchdog. Returns 1 if the device broke a rule, hangs or asks for a reset: disable, reclaim, enable.
    pub fn weir_tick(core: *mut weir_core) -> u32;
    /// Whether the device wakes the machine on a magic packet while disabled.
    pub fn weir_set_wake(core: *mut weir_core, enable: u32) -> weir_status;
    /// Replaces the list. More than WEIR_MULTICAST_MAX: all multicast frames are taken instead.
    pub fn weir_set_multicast(
        core: *mut weir_core,
        addresses: *const [::core::ffi::c_uchar; 6usize],
        count: u32,
    ) -> weir_status;
    pub fn weir_set_mac(core: *mut weir_core, mac: *const u8) -> weir_status;
    pub fn weir_get_mac(core: *mut weir_core, mac: *mut u8) -> weir_status;
    pub fn weir_set_mtu(core: *mut weir_core, mtu: u32) -> weir_status;
    /// NUL-terminated, at most 15 bytes: the BSD name once the stack has given one.
    pub fn weir_set_if_name(
        core: *mut weir_core,
        name: *const ::core::ffi::c_char,
    ) -> weir_status;
    pub fn weir_get_offloads(core: *mut weir_core) -> u32;
    pub fn weir_set_offloads(core: *mut weir_core, offloads: u32) -> weir_status;
    pub fn weir_link_get(core: *mut weir_core, out: *mut weir_link) -> weir_status;
    /// Administratively pulls or plugs the cable of a virtual NIC (tests, `weir ctl`).
    pub fn weir_link_set(core: *mut weir_core, up: u32) -> weir_status;
    /** The far end of WEIR_WIRE_CLIENT and WEIR_WIRE_NONE: `mem` is memory shared with a client that is not trusted;
 layout in src/mem/wire_ring.rs. It must stay mapped until weir_wire_detach has returned.*/
    pub fn weir_wire_size(core: *mut weir_core) -> u64;
    pub fn weir_wire_attach(core: *mut weir_core, mem: *mut u8, len: u64) -> weir_status;
    pub fn weir_wire_detach(core: *mut weir_core) -> weir_status;
    /// The client put frames into its ring or freed slots: wakes the queues concerned.
    pub fn weir_wire_kick(core: *mut weir_core) -> weir_status;
    /// Bytes of memory that a request needs; 0 = the request is wrong. `rings`, which may be null, gets the rings in it.
    pub fn weir_tap_size(
        core: *mut weir_core,
        req: *const ::core::ffi::c_void,
        req_len: usize,
        rings: *mut u32,
    ) -> u64;
    /// `mem` is zeroed and must stay mapped until weir_tap_detach has returned. WEIR_E_BUSY: somebody has this tap.
    pub fn weir_tap_attach(
        core: *mut weir_core,
        tap: u32,
        req: *const ::core::ffi::c_void,
        req_len: usize,
        mem: *mut u8,
        len: u64,
    ) -> weir_status;
    pub fn weir_tap_detach(core: *mut weir_core, tap: u32) -> weir_status;
    pub fn weir_control(
        core: *mut weir_core,
        req: *const ::core::ffi::c_void,
        req_len: usize,
        resp: *mut ::core::ffi::c_void,
        resp_cap: usize,
        resp_len: *mut usize,
    ) -> weir_status;
    /// ---- hooks that the glue defines for a core built for the dext (feature "dext") --------------------------
    pub fn weir_hook_alloc(size: usize, align: usize) -> *mut ::core::ffi::c_void;
    pub fn weir_hook_free(ptr: *mut ::core::ffi::c_void, size: usize, align: usize);
    /// Last words; must not return.
    pub fn weir_hook_abort(text: *const ::core::ffi::c_char, len: usize);
}
