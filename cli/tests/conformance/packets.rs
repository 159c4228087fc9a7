//! Frames of TCP and UDP, made by hand.

fn ethernet(source: [u8; 6], destination: [u8; 6], ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&destination);
    frame.extend_from_slice(&source);
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame
}

fn payload(len: usize) -> impl Iterator<Item = u8> {
    (0..len).map(|i| (i * 7 + i / 256) as u8)
}

/// RFC 1071.
fn sum(bytes: &[u8]) -> u16 {
    let mut total: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    !(total as u16)
}

fn ipv4(frame: &mut Vec<u8>, protocol: u8, len: usize) {
    let start = frame.len();
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&((20 + len).min(65535) as u16).to_be_bytes());
    frame.extend_from_slice(&[0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 99]);
    let checksum = sum(&frame[start..]);
    frame[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
}

fn tcp(frame: &mut Vec<u8>) {
    frame.extend_from_slice(&40_000u16.to_be_bytes());
    frame.extend_from_slice(&443u16.to_be_bytes());
    frame.extend_from_slice(&[0x01, 0x02, 0x03, 0x04, 0x0a, 0x0b, 0x0c, 0x0d, 0x50, 0x18, 0x20, 0x00, 0, 0, 0, 0]);
}

/// TCP over IPv4 with `len` bytes of payload; the transport checksum is zero.
pub fn tcp4(source: [u8; 6], destination: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = ethernet(source, destination, 0x0800);
    ipv4(&mut frame, 6, 20 + len);
    tcp(&mut frame);
    frame.extend(payload(len));
    frame
}

/// The same over IPv6.
pub fn tcp6(source: [u8; 6], destination: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = ethernet(source, destination, 0x86dd);
    frame.extend_from_slice(&[0x60, 0, 0, 0]);
    frame.extend_from_slice(&((20 + len).min(65535) as u16).to_be_bytes());
    frame.extend_from_slice(&[6, 64]);
    for last in [1u8, 0x99] {
        frame.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    tcp(&mut frame);
    frame.extend(payload(len));
    frame
}

/// UDP over IPv4.
pub fn udp4(source: [u8; 6], destination: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = ethernet(source, destination, 0x0800);
    ipv4(&mut frame, 17, 8 + len);
    frame.extend_from_slice(&5000u16.to_be_bytes());
    frame.extend_from_slice(&5001u16.to_be_bytes());
    frame.extend_from_slice(&((8 + len) as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend(payload(len));
    frame
}

/// TCP over IPv4 from the peer, of the flow that `port` names.
pub fn flow(destination: [u8; 6], port: u16, len: usize) -> Vec<u8> {
    let mut frame = tcp4(super::bench::PEER, destination, len);
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame
}

/// The same as the other side sends it, were it to arrive here: addresses and ports in each other's place.
pub fn turned(mut frame: Vec<u8>) -> Vec<u8> {
    for at in 0..4 {
        frame.swap(26 + at, 30 + at);
    }
    for at in 0..2 {
        frame.swap(34 + at, 36 + at);
    }
    frame
}

/// Who has 192.0.2.99?
pub fn arp_request(source: [u8; 6]) -> Vec<u8> {
    let mut frame = ethernet(source, [0xff; 6], 0x0806);
    frame.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend_from_slice(&source);
    frame.extend_from_slice(&[192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 99]);
    frame.resize(60, 0);
    frame
}

/// An echo request with `len` bytes of data.
pub fn ping(source: [u8; 6], destination: [u8; 6], sequence: u16, len: usize) -> Vec<u8> {
    let mut frame = ethernet(source, destination, 0x0800);
    ipv4(&mut frame, 1, 8 + len);
    let start = frame.len();
    frame.extend_from_slice(&[8, 0, 0, 0, 0x12, 0x34]);
    frame.extend_from_slice(&sequence.to_be_bytes());
    frame.extend(payload(len));
    let checksum = sum(&frame[start..]);
    frame[start + 2..start + 4].copy_from_slice(&checksum.to_be_bytes());
    frame.resize(frame.len().max(60), 0);
    frame
}

/// What the peer answers to the two above (RFC 826, RFC 792).
pub fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let peer = super::bench::PEER;
    let mut reply = frame.to_vec();
    reply[..6].copy_from_slice(&frame[6..12]);
    reply[6..12].copy_from_slice(&peer);
    match (&frame[12..14], frame[23]) {
        ([8, 6], _) => {
            reply[21] = 2;
            reply[22..28].copy_from_slice(&peer);
            reply[28..32].copy_from_slice(&frame[38..42]);
            reply[32..42].copy_from_slice(&frame[22..32]);
        }
        ([8, 0], 1) => {
            reply[26..30].copy_from_slice(&frame[30..34]);
            reply[30..34].copy_from_slice(&frame[26..30]);
            let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            reply[34] = 0;
            reply[36..38].fill(0);
            let checksum = sum(&reply[34..end]);
            reply[36..38].copy_from_slice(&checksum.to_be_bytes());
        }
        _ => return None,
    }
    Some(reply)
}
