//! Notifications on the interrupt endpoint (CDC 1.2 section 6.3).

/// Transfers in flight.
pub const SLOTS: usize = 2;

/// Bytes of a transfer: one packet. A notification that fills its packet ends without a short one, so that a longer
/// transfer would wait for the next.
pub fn buffer(packet: u16) -> usize {
    usize::from(packet).max(HEAD)
}

/// `bmRequestType` of all of them.
const CLASS_FROM_INTERFACE: u8 = 0xa1;
/// `bNotification` (CDC 1.2 table 20, RNDIS's response available is CDC's).
const NETWORK_CONNECTION: u8 = 0x00;
const RESPONSE_AVAILABLE: u8 = 0x01;
const CONNECTION_SPEED_CHANGE: u8 = 0x2a;
/// Bytes in front of the data.
const HEAD: usize = 8;
/// RNDIS says "response available" without a head (MS-RNDIS 2.1.1): a word 1 and a word 0.
const RNDIS_RESPONSE: [u8; 4] = [1, 0, 0, 0];

/// What a device tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The cable came or went.
    Connected(bool),
    /// Bits per second towards the host and from it.
    Speed {
        /// Received.
        down: u32,
        /// Sent.
        up: u32,
    },
    /// An encapsulated response waits.
    Response,
}

/// Reads the notification at the start; `None` in it for one that is not known. What is behind it comes too.
pub fn parse(bytes: &[u8]) -> Option<(Option<Notice>, &[u8])> {
    if bytes.first_chunk::<4>() == Some(&RNDIS_RESPONSE) {
        return Some((Some(Notice::Response), &[]));
    }
    let (&[kind, code, v0, _, _, _, l0, l1], data) = bytes.split_first_chunk::<HEAD>()?;
    if kind != CLASS_FROM_INTERFACE {
        return None;
    }
    let len = usize::from(u16::from_le_bytes([l0, l1]));
    let rest = data.get(len..).unwrap_or(&[]);
    let notice = match code {
        NETWORK_CONNECTION => Some(Notice::Connected(v0 != 0)),
        RESPONSE_AVAILABLE => Some(Notice::Response),
        CONNECTION_SPEED_CHANGE if len >= 8 => speed(data),
        _ => None,
    };
    Some((notice, rest))
}

fn speed(data: &[u8]) -> Option<Notice> {
    let (down, rest) = data.split_first_chunk::<4>()?;
    let up = rest.first_chunk::<4>()?;
    Some(Notice::Speed { down: u32::from_le_bytes(*down), up: u32::from_le_bytes(*up) })
}
