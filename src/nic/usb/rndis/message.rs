//! Control messages (MS-RNDIS 2.2). Answers are the device's: lengths and offsets are checked.

/// Most bytes of a control message (MS-RNDIS 2.1.1: a device must take at least 0x400).
pub const MESSAGE_MAX: usize = 1024;

// MessageType (MS-RNDIS 2.2.1).
pub(super) const PACKET: u32 = 1;
const INITIALIZE: u32 = 2;
const HALT: u32 = 3;
const QUERY: u32 = 4;
const SET: u32 = 5;
const RESET_COMPLETE: u32 = 0x8000_0006;
const INDICATE_STATUS: u32 = 7;
const KEEPALIVE: u32 = 8;
const COMPLETE: u32 = 0x8000_0000;

// Status values (MS-RNDIS 2.2.1).
const SUCCESS: u32 = 0;
const MEDIA_CONNECT: u32 = 0x4001_000b;
const MEDIA_DISCONNECT: u32 = 0x4001_000c;

// Object identifiers (MS-RNDIS 2.2.1.3; NDIS).
/// `OID_GEN_MAXIMUM_FRAME_SIZE`.
pub const OID_MAXIMUM_FRAME_SIZE: u32 = 0x0001_0106;
/// `OID_GEN_LINK_SPEED`, in units of 100 bit/s.
pub const OID_LINK_SPEED: u32 = 0x0001_0107;
/// `OID_GEN_CURRENT_PACKET_FILTER`.
pub const OID_PACKET_FILTER: u32 = 0x0001_010e;
/// `OID_GEN_MEDIA_CONNECT_STATUS`: 0 = connected.
pub const OID_CONNECT_STATUS: u32 = 0x0001_0114;
/// `OID_802_3_PERMANENT_ADDRESS`.
pub const OID_PERMANENT_ADDRESS: u32 = 0x0101_0101;
/// `OID_802_3_CURRENT_ADDRESS`.
pub const OID_CURRENT_ADDRESS: u32 = 0x0101_0102;
/// `OID_802_3_MULTICAST_LIST`.
pub const OID_MULTICAST_LIST: u32 = 0x0101_0103;

/// A message to the device, in the buffer that it was made in.
pub type Message = heapless::Vec<u8, MESSAGE_MAX>;

fn build(words: &[u32], data: &[u8]) -> Option<Message> {
    let mut message = Message::new();
    for word in words {
        message.extend_from_slice(&word.to_le_bytes()).ok()?;
    }
    message.extend_from_slice(data).ok()?;
    Some(message)
}

/// `REMOTE_NDIS_INITIALIZE_MSG`: `max` is the longest transfer that this side takes.
pub fn initialize(id: u32, max: u32) -> Option<Message> {
    build(&[INITIALIZE, 24, id, 1, 0, max], &[])
}

/// `REMOTE_NDIS_HALT_MSG`.
pub fn halt(id: u32) -> Option<Message> {
    build(&[HALT, 12, id], &[])
}

/// `REMOTE_NDIS_QUERY_MSG` without input.
pub fn query(id: u32, oid: u32) -> Option<Message> {
    build(&[QUERY, 28, id, oid, 0, 0, 0], &[])
}

/// `REMOTE_NDIS_SET_MSG`. The offset counts from the request id.
pub fn set(id: u32, oid: u32, data: &[u8]) -> Option<Message> {
    let len = u32::try_from(data.len()).ok()?;
    build(&[SET, len.checked_add(28)?, id, oid, len, 20, 0], data)
}

/// `REMOTE_NDIS_KEEPALIVE_MSG`.
pub fn keepalive(id: u32) -> Option<Message> {
    build(&[KEEPALIVE, 12, id], &[])
}

/// `REMOTE_NDIS_KEEPALIVE_CMPLT`: the answer to the device's own.
pub fn keepalive_answer(id: u32) -> Option<Message> {
    build(&[KEEPALIVE | COMPLETE, 16, id, SUCCESS], &[])
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_le_bytes(*word))
}

/// What a device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// `REMOTE_NDIS_INITIALIZE_CMPLT`.
    Initialized(Limits),
    /// `REMOTE_NDIS_QUERY_CMPLT`.
    Value(&'a [u8]),
    /// Another completion, successful.
    Done,
    /// A completion with an error.
    Refused(u32),
    /// `REMOTE_NDIS_KEEPALIVE_MSG`, to be answered.
    Keepalive,
    /// `REMOTE_NDIS_INDICATE_STATUS_MSG`: the cable.
    Connected(bool),
    /// Another indication.
    Other,
}

/// What `REMOTE_NDIS_INITIALIZE_CMPLT` limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `MaxPacketsPerTransfer`.
    pub packets: u32,
    /// `MaxTransferSize`.
    pub transfer: u32,
    /// `PacketAlignmentFactor`: messages lie at multiples of two to its power.
    pub alignment: u32,
}

/// The message's request id and meaning. `None` for what is no message.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(u32, Answer<'_>)> {
    let kind = word(bytes, 0)?;
    let len = word(bytes, 4)? as usize;
    let message = bytes.get(..len)?;
    let third = word(message, 8)?;
    if kind == INDICATE_STATUS {
        return Some((
            0,
            match third {
                MEDIA_CONNECT => Answer::Connected(true),
                MEDIA_DISCONNECT => Answer::Connected(false),
                _ => Answer::Other,
            },
        ));
    }
    if kind == KEEPALIVE {
        return Some((third, Answer::Keepalive));
    }
    if kind == RESET_COMPLETE || kind & COMPLETE == 0 {
        return Some((0, Answer::Other));
    }
    let status = word(message, 12)?;
    if status != SUCCESS {
        return Some((third, Answer::Refused(status)));
    }
    let answer = match kind & !COMPLETE {
        INITIALIZE => Answer::Initialized(Limits {
            packets: word(message, 32)?,
            transfer: word(message, 36)?,
            alignment: word(message, 40)?,
        }),
        QUERY => {
            let size = word(message, 16)? as usize;
            let at = (word(message, 20)? as usize).checked_add(8)?;
            Answer::Value(if size == 0 { &[] } else { message.get(at..at.checked_add(size)?)? })
        }
        _ => Answer::Done,
    };
    Some((third, answer))
}
