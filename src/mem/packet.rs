//! One lent packet buffer, and bursts of them.

use bitflags::bitflags;

/// Most packets that one call takes or returns (`WEIR_BURST_MAX`).
pub const BURST_MAX: usize = 64;

/// What data-path calls take and return.
pub type Burst = heapless::Vec<Packet, BURST_MAX>;

bitflags! {
    /// `weir_pkt.flags`. TX: what the stack asks for. RX: what the NIC vouches for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct PacketFlags: u32 {
        /// TX: compute the IPv4 header checksum.
        const TX_CSUM_IP4 = 1 << 0;
        /// TX: sum from `csum_start` to the end of the frame goes to `csum_stuff`; the pseudo header's is there.
        const TX_CSUM_PARTIAL = 1 << 1;
        /// TX: a TCP over IPv4 super-frame, to be cut into segments of `mss` payload bytes.
        const TX_TSO4 = 1 << 2;
        /// TX: the same over IPv6.
        const TX_TSO6 = 1 << 3;
        /// RX: the IPv4 header checksum was looked at.
        const RX_IP_CHECKED = 1 << 8;
        /// RX: and was right.
        const RX_IP_VALID = 1 << 9;
        /// RX: the TCP or UDP checksum is right, or the frame never left this machine.
        const RX_DATA_VALID = 1 << 10;
        /// RX: several TCP over IPv4 segments in one frame; `segs` says how many, `mss` their payload size.
        const RX_LRO4 = 1 << 11;
        /// RX: the same over IPv6.
        const RX_LRO6 = 1 << 12;

        /// The super-frame bits.
        const TX_TSO = Self::TX_TSO4.bits() | Self::TX_TSO6.bits();
        /// The merged-frame bits.
        const RX_LRO = Self::RX_LRO4.bits() | Self::RX_LRO6.bits();
    }
}

/// How a packet ended, in `weir_status` numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(i32)]
pub enum Status {
    /// Sent, or nothing to report.
    #[default]
    Ok = 0,
    /// Offset, length or checksum metadata outside the buffer (`WEIR_E_INVAL`).
    BadDescriptor = -1,
    /// No memory (`WEIR_E_NOMEM`).
    NoMemory = -2,
    /// The interface went down with the packet in hand (`WEIR_E_STATE`).
    Disabled = -6,
    /// No link (`WEIR_E_NODEV`).
    NoCarrier = -4,
    /// Longer than the far end or the buffer takes (`WEIR_E_NOSPACE`).
    TooLong = -7,
    /// Asks for an offload that does not fit the frame (`WEIR_E_UNSUPPORTED`).
    BadOffload = -8,
    /// The ruleset, the mode or a full queue in the core dropped it (`WEIR_E_DROPPED`).
    Dropped = -10,
}

impl Status {
    /// The `weir_status` number.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// `weir_pkt`, field by field: one packet buffer as the glue describes it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RawPacket {
    /// The glue's; never 0; returned untouched.
    pub cookie: u64,
    /// Buffer base in this process.
    pub base: *mut u8,
    /// Buffer base for the device; 0 where there is none.
    pub iova: u64,
    /// Bytes at `base`.
    pub buf_len: u32,
    /// Where the frame starts; for an empty RX buffer the headroom to leave.
    pub data_off: u32,
    /// Frame length in bytes without FCS; 0 for an empty RX buffer.
    pub len: u32,
    /// [`PacketFlags`] bits.
    pub flags: u32,
    /// From the start of the frame, bytes.
    pub csum_start: u16,
    /// From the start of the frame, bytes.
    pub csum_stuff: u16,
    /// TCP payload bytes per segment; 0 = not a super-frame.
    pub mss: u16,
    /// RX: segments in an LRO frame; 0 or 1 = ordinary.
    pub segs: u16,
    /// `weir_status`.
    pub status: i32,
    /// 0 at the ABI; inside the core, [`Packet::origin`] in the lower 24 bits and [`Packet::shard`] in the upper 8.
    pub reserved: u32,
}

const _: () = assert!(size_of::<RawPacket>() == 56 && core::mem::offset_of!(RawPacket, csum_start) == 40);

impl RawPacket {
    /// Whether a partial checksum that is asked for lies inside the frame.
    pub(super) fn sums_sound(&self) -> bool {
        self.flags & PacketFlags::TX_CSUM_PARTIAL.bits() == 0 || self.sums_inside()
    }

    /// Whether a partial checksum would lie inside the frame.
    fn sums_inside(&self) -> bool {
        self.csum_start <= self.csum_stuff && u32::from(self.csum_stuff) + 2 <= self.len
    }
}

/// The bits of [`RawPacket::reserved`] that hold [`Packet::origin`].
const ORIGIN_MASK: u32 = 0x00ff_ffff;

/// What is wrong with a [`RawPacket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPacket {
    /// `cookie` is 0 or `base` is null.
    Null,
    /// `data_off + len` is behind the end of the buffer, or the buffer passes the end of a device's addresses.
    Length,
    /// `csum_start` or `csum_stuff` is outside the frame.
    Checksum,
}

/// Where a partial checksum is computed and stored; both from the start of the frame, in bytes.
///
/// As given out by [`Packet::partial_csum`]: `start <= stuff` and `stuff + 2 <= len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialCsum {
    /// First byte that is summed.
    pub start: u16,
    /// Where the sum goes.
    pub stuff: u16,
}

/// One packet buffer that was lent to the core: the only way to its bytes.
///
/// Neither `Clone` nor `Copy`: whoever has it may write the buffer. It has no destructor: a buffer goes back to
/// where it came from by being handed over, and one that is dropped is missing in the accounts.
///
/// Invariant: `base..base + buf_len` is valid memory that nobody else touches while the handle exists, and
/// `data_off + len <= buf_len`; `iova + buf_len` does not pass the end of the addresses.
#[derive(Debug)]
#[repr(transparent)]
pub struct Packet {
    raw: RawPacket,
}

// SAFETY: a Packet is the only way to its buffer, wherever it is (see `from_raw`).
unsafe impl Send for Packet {}
// SAFETY: a shared Packet only allows reading.
unsafe impl Sync for Packet {}

impl Packet {
    /// Takes a buffer that was lent.
    ///
    /// # Safety
    /// `base..base + buf_len` must be valid for reads and writes, initialised, and untouched by anybody else until
    /// the packet was given back ([`Packet::into_raw`]).
    ///
    /// # Errors
    /// What is wrong with the description. Nothing was taken then.
    pub unsafe fn from_raw(raw: RawPacket) -> Result<Self, BadPacket> {
        if raw.cookie == 0 || raw.base.is_null() {
            return Err(BadPacket::Null);
        }
        let fits = u64::from(raw.data_off) + u64::from(raw.len) <= u64::from(raw.buf_len);
        if !fits || raw.iova.checked_add(raw.buf_len.into()).is_none() {
            return Err(BadPacket::Length);
        }
        let packet = Self { raw };
        if packet.flags().contains(PacketFlags::TX_CSUM_PARTIAL) && packet.partial_csum().is_none() {
            return Err(BadPacket::Checksum);
        }
        Ok(packet)
    }

    /// A handle that carries a refused packet's cookie back to its owner; it has no buffer.
    #[must_use]
    pub fn refused(cookie: u64, status: Status) -> Self {
        Self {
            raw: RawPacket {
                cookie,
                base: core::ptr::dangling_mut(),
                iova: 0,
                buf_len: 0,
                data_off: 0,
                len: 0,
                flags: 0,
                csum_start: 0,
                csum_stuff: 0,
                mss: 0,
                segs: 0,
                status: status.code(),
                reserved: 0,
            },
        }
    }

    /// Gives the buffer up.
    #[must_use]
    pub fn into_raw(self) -> RawPacket {
        RawPacket { reserved: 0, ..self.raw }
    }

    pub(super) fn with_origin(mut self, origin: u32) -> Self {
        self.raw.reserved = self.raw.reserved & !ORIGIN_MASK | origin & ORIGIN_MASK;
        self
    }

    /// 0 for a buffer that the glue lent, else the number of the [`super::pool::Pool`] it belongs to.
    #[must_use]
    pub fn origin(&self) -> u32 {
        self.raw.reserved & ORIGIN_MASK
    }

    /// The shard that took the packet from the glue, which hands it back.
    #[must_use]
    pub fn shard(&self) -> u8 {
        (self.raw.reserved >> 24) as u8
    }

    /// Sets [`Packet::shard`].
    pub fn set_shard(&mut self, shard: u8) {
        self.raw.reserved = self.raw.reserved & ORIGIN_MASK | u32::from(shard) << 24;
    }

    /// The owner's name for the buffer.
    #[must_use]
    pub fn cookie(&self) -> u64 {
        self.raw.cookie
    }

    /// Address of the frame for a device; `None` where no device can reach it.
    #[must_use]
    pub fn frame_iova(&self) -> Option<u64> {
        (self.raw.iova != 0).then(|| self.raw.iova.wrapping_add(u64::from(self.raw.data_off)))
    }

    /// The frame, from the Ethernet header, without FCS.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        // SAFETY: the type's invariant.
        unsafe { core::slice::from_raw_parts(self.raw.base.add(self.raw.data_off as usize), self.raw.len as usize) }
    }

    /// The frame, to be changed in place.
    #[must_use]
    pub fn frame_mut(&mut self) -> &mut [u8] {
        // SAFETY: the type's invariant; the handle is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.raw.base.add(self.raw.data_off as usize), self.raw.len as usize) }
    }

    /// Frame length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len as usize
    }

    /// True without a frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.len == 0
    }

    /// Bytes in front of the frame.
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.raw.data_off as usize
    }

    /// Longest frame that fits behind the headroom, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.space() as usize
    }

    /// The same, as devices are told it.
    #[must_use]
    #[inline(always)]
    pub fn space(&self) -> u32 {
        self.raw.buf_len - self.raw.data_off
    }

    /// Sets the frame's length; bytes that come in are what the buffer held. False, and no change, if it does not
    /// fit.
    #[must_use]
    pub fn set_len(&mut self, len: usize) -> bool {
        match u32::try_from(len) {
            Ok(n) if len <= self.room() => {
                self.raw.len = n;
                true
            }
            _ => false,
        }
    }

    /// Moves the frame's start by `by` bytes (negative: into the headroom); its end stays. False, and no change, if
    /// that leaves the buffer or turns the frame inside out. Checksum metadata moves along.
    #[must_use]
    pub fn move_start(&mut self, by: i32) -> bool {
        let (Some(data_off), Some(len)) =
            (self.raw.data_off.checked_add_signed(by), i64::from(self.raw.len).checked_sub(i64::from(by)))
        else {
            return false;
        };
        let Ok(len) = u32::try_from(len) else {
            return false;
        };
        if self.flags().contains(PacketFlags::TX_CSUM_PARTIAL) {
            let moved = |at: u16| u16::try_from(i32::from(at).saturating_sub(by)).ok();
            let (Some(start), Some(stuff)) = (moved(self.raw.csum_start), moved(self.raw.csum_stuff)) else {
                return false;
            };
            self.raw.csum_start = start;
            self.raw.csum_stuff = stuff;
        }
        self.raw.data_off = data_off;
        self.raw.len = len;
        true
    }

    /// The `N` bytes in front of the frame, if there are so many.
    #[must_use]
    pub fn front_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        let at = (self.raw.data_off as usize).checked_sub(N)?;
        // SAFETY: the type's invariant, and `at + N` is at most `data_off`; the handle is borrowed exclusively.
        Some(unsafe { &mut *self.raw.base.add(at).cast::<[u8; N]>() })
    }

    /// Makes `frame` the contents, without metadata. False, and no change, if it does not fit.
    #[must_use]
    pub fn write(&mut self, frame: &[u8]) -> bool {
        if !self.set_len(frame.len()) {
            return false;
        }
        self.frame_mut().copy_from_slice(frame);
        self.clear_meta();
        true
    }

    /// Copies another packet's frame and metadata, not its status. False, and no change, if it does not fit.
    #[must_use]
    pub fn copy_from(&mut self, other: &Packet) -> bool {
        if !self.write(other.frame()) {
            return false;
        }
        self.raw.flags = other.raw.flags;
        self.raw.csum_start = other.raw.csum_start;
        self.raw.csum_stuff = other.raw.csum_stuff;
        self.raw.mss = other.raw.mss;
        self.raw.segs = other.raw.segs;
        true
    }

    /// Makes it an empty buffer again: no frame, no metadata, status OK; the headroom stays as it is.
    #[inline]
    pub fn reset(&mut self) {
        self.raw.len = 0;
        self.clear_meta();
        self.raw.status = Status::Ok.code();
    }

    /// True if [`Packet::reset`] would change nothing.
    #[inline(always)]
    #[must_use]
    pub fn is_reset(&self) -> bool {
        let RawPacket { len, flags, csum_start, csum_stuff, mss, segs, status, .. } = self.raw;
        let meta = csum_start | csum_stuff | mss | segs;
        len | flags | u32::from(meta) | status.cast_unsigned() == 0
    }

    /// As [`Packet::reset`], and gives the end of the headroom to the room: `by` bytes, if there are so many.
    #[inline(always)]
    pub fn empty(&mut self, by: u32) {
        self.raw.len = 0;
        let _ = self.lay_bare(by);
    }

    /// As [`Packet::empty`], but that the frame is as long as before. Address and room for a device, if it can reach the buffer.
    #[inline(always)]
    pub(super) fn lay_bare(&mut self, by: u32) -> Option<(u64, u64)> {
        self.clear_meta();
        self.raw.status = Status::Ok.code();
        // Numbers of 64 bits all along.
        let old = u64::from(self.raw.data_off);
        let start = old.checked_sub(by.into()).unwrap_or(old);
        self.raw.data_off = start as u32;
        (self.raw.iova != 0)
            .then(|| (self.raw.iova.wrapping_add(start), u64::from(self.raw.buf_len).wrapping_sub(start)))
    }

    /// [`Packet::space`] after [`Packet::empty`].
    pub(super) fn space_of_empty(&self, by: u32) -> u32 {
        self.raw.buf_len - self.raw.data_off.checked_sub(by).unwrap_or(self.raw.data_off)
    }

    /// Makes `len` bytes, of which the first `skip` are no frame, the contents of a buffer that was empty. False, and no change,
    /// if they do not fit or `skip` is more.
    #[must_use]
    #[inline]
    pub fn fill(&mut self, skip: u32, len: u32) -> bool {
        if len > self.raw.buf_len - self.raw.data_off || skip > len {
            return false;
        }
        self.raw.data_off += skip;
        self.raw.len = len - skip;
        true
    }

    /// As [`Packet::fill`].
    ///
    /// # Safety
    /// There is room for `len` bytes, and `skip` is no more than that.
    #[inline(always)]
    pub(super) unsafe fn fill_unchecked(&mut self, skip: u32, len: u32) {
        self.raw.data_off += skip;
        self.raw.len = len - skip;
    }

    /// The first bytes that [`Packet::fill`] would make the contents.
    ///
    /// # Safety
    /// There is room for `N` bytes.
    #[inline(always)]
    pub(super) unsafe fn front_of_room<const N: usize>(&self) -> &[u8; N] {
        // SAFETY: the type's invariant, and the caller's promise.
        unsafe { &*self.raw.base.add(self.raw.data_off as usize).cast::<[u8; N]>() }
    }

    /// The `len` bytes that [`Packet::fill`] would make the contents. `None` if they do not fit.
    #[must_use]
    #[inline(always)]
    pub fn look(&self, len: u32) -> Option<&[u8]> {
        let at = self.raw.data_off;
        if len > self.raw.buf_len - at {
            return None;
        }
        // SAFETY: the type's invariant; `len` bytes at `at` are inside the buffer.
        Some(unsafe { core::slice::from_raw_parts(self.raw.base.add(at as usize), len as usize) })
    }

    /// The same, as a header of `N` bytes and the frame behind it.
    #[must_use]
    #[inline(always)]
    pub fn look_behind<const N: usize>(&self, len: u32) -> Option<(&[u8; N], &[u8])> {
        self.look(len)?.split_first_chunk()
    }

    fn clear_meta(&mut self) {
        self.raw.flags = 0;
        self.raw.csum_start = 0;
        self.raw.csum_stuff = 0;
        self.raw.mss = 0;
        self.raw.segs = 0;
    }

    /// Offload flags; unknown bits are cut off.
    #[must_use]
    pub fn flags(&self) -> PacketFlags {
        PacketFlags::from_bits_truncate(self.raw.flags)
    }

    /// Replaces the offload flags.
    pub fn set_flags(&mut self, flags: PacketFlags) {
        self.raw.flags = flags.bits();
    }

    /// The frame's length, with the flags above: no more than 32 bits if it asks for nothing and nothing is vouched for.
    #[must_use]
    #[inline(always)]
    pub fn bare_len(&self) -> u64 {
        u64::from(self.raw.len) | u64::from(self.raw.flags) << 32
    }

    /// Where the partial checksum goes, when one is asked for and lies inside the frame as it is now.
    #[must_use]
    pub fn partial_csum(&self) -> Option<PartialCsum> {
        let (start, stuff) = (self.raw.csum_start, self.raw.csum_stuff);
        let asks = self.flags().contains(PacketFlags::TX_CSUM_PARTIAL);
        (asks && self.raw.sums_inside()).then_some(PartialCsum { start, stuff })
    }

    /// Asks for a partial checksum, or no more. False, and no change, if it is not inside the frame.
    #[must_use]
    pub fn set_partial_csum(&mut self, csum: Option<PartialCsum>) -> bool {
        let Some(PartialCsum { start, stuff }) = csum else {
            self.raw.flags &= !PacketFlags::TX_CSUM_PARTIAL.bits();
            return true;
        };
        if start > stuff || u32::from(stuff) + 2 > self.raw.len {
            return false;
        }
        self.raw.csum_start = start;
        self.raw.csum_stuff = stuff;
        self.raw.flags |= PacketFlags::TX_CSUM_PARTIAL.bits();
        true
    }

    /// TCP payload bytes per segment; 0 = not a super-frame.
    #[must_use]
    pub fn mss(&self) -> u16 {
        self.raw.mss
    }

    /// RX: segments merged into this frame; 0 or 1 = ordinary.
    #[must_use]
    pub fn segs(&self) -> u16 {
        self.raw.segs
    }

    /// Sets [`Packet::mss`] and [`Packet::segs`].
    pub fn set_segments(&mut self, mss: u16, segs: u16) {
        self.raw.mss = mss;
        self.raw.segs = segs;
    }

    /// `weir_status` of a completed packet.
    #[must_use]
    pub fn status_code(&self) -> i32 {
        self.raw.status
    }

    /// How it ended; a code that [`Status`] does not have is [`Status::BadDescriptor`].
    #[must_use]
    pub fn status(&self) -> Status {
        match self.raw.status {
            0 => Status::Ok,
            -2 => Status::NoMemory,
            -4 => Status::NoCarrier,
            -6 => Status::Disabled,
            -7 => Status::TooLong,
            -8 => Status::BadOffload,
            -10 => Status::Dropped,
            _ => Status::BadDescriptor,
        }
    }

    /// Sets how it ended.
    pub fn set_status(&mut self, status: Status) {
        self.raw.status = status.code();
    }
}

/// Moves packets from the front of `from` to the end of `to`, at most `max`; returns how many. Order is kept.
pub fn move_burst<const A: usize, const B: usize>(
    from: &mut heapless::Vec<Packet, A>,
    to: &mut heapless::Vec<Packet, B>,
    max: usize,
) -> usize {
    let count = from.len().min(B - to.len()).min(max);
    to.extend(from.drain(..count));
    count
}
