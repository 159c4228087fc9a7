//! The station behind a model: answers ARP for every address but the asker's own, ICMP echo, and UDP echo on port 7.

/// Its hardware address.
pub const MAC: [u8; 6] = [0x02, 0x00, 0x5e, 0x65, 0x43, 0x21];

fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The answer to a frame, if it has one.
pub fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let kind = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
    let mut reply = frame.to_vec();
    reply[..6].copy_from_slice(&frame[6..12]);
    reply[6..12].copy_from_slice(&MAC);
    match kind {
        0x0806 if frame.len() >= 42 && frame[20..22] == [0, 1] && frame[28..32] != frame[38..42] => {
            reply[21] = 2;
            reply[22..28].copy_from_slice(&MAC);
            reply[28..32].copy_from_slice(&frame[38..42]);
            reply[32..42].copy_from_slice(&frame[22..32]);
            Some(reply)
        }
        0x0800 if frame.len() >= 42 && frame[0] & 1 == 0 && frame[14] == 0x45 => {
            let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            if total < 28 || 14 + total > frame.len() {
                return None;
            }
            reply[26..30].copy_from_slice(&frame[30..34]);
            reply[30..34].copy_from_slice(&frame[26..30]);
            match frame[23] {
                1 if frame[34] == 8 => {
                    reply[34] = 0;
                    reply[36..38].fill(0);
                    let check = sum(&reply[34..14 + total]);
                    reply[36..38].copy_from_slice(&check.to_be_bytes());
                    Some(reply)
                }
                17 if frame[36..38] == [0, 7] => {
                    reply[34..36].copy_from_slice(&frame[36..38]);
                    reply[36..38].copy_from_slice(&frame[34..36]);
                    Some(reply)
                }
                _ => None,
            }
        }
        _ => None,
    }
}
