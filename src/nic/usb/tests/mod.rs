//! What hostile devices send: blocks and descriptors that have broken other drivers.

mod hostile;

use super::descriptor::{mac_of_string, probe};
use super::framing::Next;
use super::ncm::{Decoder, Encoder, Layout};
use super::notify;
use super::rndis::message::{Answer, Limits, parse};
use super::rndis::packet::RndisFraming;
use crate::nic::tests::rig::cpu_seconds;

const MAX: usize = 2048;

/// A 16-bit block: header, one table at `table` with `entries`, `len` bytes.
fn block(len: usize, table: usize, table_len: u16, next: u16, entries: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = vec![0; len.max(12)];
    let mut put = |at: usize, data: &[u8]| {
        if let Some(room) = bytes.get_mut(at..at + data.len()) {
            room.copy_from_slice(data);
        }
    };
    put(0, b"NCMH");
    put(4, &12u16.to_le_bytes());
    put(8, &(len as u16).to_le_bytes());
    put(10, &(table as u16).to_le_bytes());
    put(table, b"NCM0");
    put(table + 4, &table_len.to_le_bytes());
    put(table + 6, &next.to_le_bytes());
    for (i, (index, size)) in entries.iter().enumerate() {
        put(table + 8 + 4 * i, &index.to_le_bytes());
        put(table + 10 + 4 * i, &size.to_le_bytes());
    }
    bytes
}

/// Everything that the decoder makes of a block; it must end.
fn all(bytes: &[u8]) -> Option<Vec<Next>> {
    let mut decoder = Decoder::new(MAX);
    if !decoder.open(bytes) {
        return None;
    }
    let mut found = Vec::new();
    loop {
        match decoder.next(bytes) {
            Next::End => return Some(found),
            next @ Next::Bad => {
                found.push(next);
                return Some(found);
            }
            next => {
                if let Next::Frame(at, len) = next {
                    assert!(at + len <= bytes.len());
                }
                found.push(next);
            }
        }
        assert!(found.len() < 10_000, "it does not end");
    }
}

#[test]
fn a_good_block_and_known_bad_ones() {
    assert_eq!(all(&block(200, 100, 16, 0, &[(20, 60), (0, 0)])), Some(vec![Next::Frame(20, 60)]));
    // The pointer table runs past a block whose table sits late (CVE-2026-23448, CVE-2026-23447).
    assert_eq!(all(&block(200, 190, 64, 0, &[(20, 60)])), Some(vec![Next::Bad]));
    assert_eq!(all(&block(200, 196, 16, 0, &[])), Some(vec![Next::Bad]));
    // Offset and length wrap (CVE-2022-48938).
    assert_eq!(all(&block(200, 100, 16, 0, &[(0xfff0, 0xfff0)])), Some(vec![Next::Bad]));
    assert_eq!(all(&block(200, 100, 16, 0, &[(150, 60)])), Some(vec![Next::Bad]));
    // A table shorter than one entry and its null entry.
    assert_eq!(all(&block(200, 100, 12, 0, &[(20, 60)])), Some(vec![Next::Bad]));
    // No null entry: the table's length ends it.
    let found = all(&block(200, 100, 16, 0, &[(20, 60), (80, 20)]));
    assert_eq!(found, Some(vec![Next::Frame(20, 60), Next::Frame(80, 20)]));
    // A datagram in the header, a table in the header.
    assert_eq!(all(&block(200, 100, 16, 0, &[(4, 60), (0, 0)])), Some(vec![Next::Bad]));
    let mut early = block(200, 100, 16, 0, &[(20, 60)]);
    early[10..12].copy_from_slice(&4u16.to_le_bytes());
    assert_eq!(all(&early), Some(vec![Next::Bad]));
    // Longer than agreed on, longer than what arrived, a header of another length.
    assert_eq!(all(&block(MAX + 4, 100, 16, 0, &[(20, 60)])), None);
    let mut short = block(200, 100, 16, 0, &[(20, 60)]);
    short.truncate(150);
    assert_eq!(all(&short), None);
    let mut header = block(200, 100, 16, 0, &[(20, 60)]);
    header[4] = 16;
    assert_eq!(all(&header), None);
}

/// The same with 32 bits, where offset and length wrap at the word's own end (CVE-2022-48938's kin), and a datagram too short
/// for an Ethernet header, which the filter behind the decoder refuses.
#[test]
fn known_bad_wide_blocks_and_short_datagrams() {
    let wide = |table: u32, table_len: u16, entries: &[(u32, u32)]| {
        let mut bytes = vec![0; 256];
        let mut put = |at: usize, data: &[u8]| {
            if let Some(room) = bytes.get_mut(at..at + data.len()) {
                room.copy_from_slice(data);
            }
        };
        put(0, b"ncmh");
        put(4, &16u16.to_le_bytes());
        put(8, &256u32.to_le_bytes());
        put(12, &table.to_le_bytes());
        let at = table as usize;
        put(at, b"ncm0");
        put(at + 4, &table_len.to_le_bytes());
        for (i, (index, size)) in entries.iter().enumerate() {
            put(at + 16 + 8 * i, &index.to_le_bytes());
            put(at + 20 + 8 * i, &size.to_le_bytes());
        }
        bytes
    };
    assert_eq!(all(&wide(128, 32, &[(20, 60), (0, 0)])), Some(vec![Next::Frame(20, 60)]));
    for (table, len, entry) in [
        (128, 32, (u32::MAX - 15, 32)),
        (128, 32, (32, u32::MAX - 15)),
        (128, 32, (u32::MAX, u32::MAX)),
        (232, 32, (20, 60)),
        (128, 24, (20, 60)),
        (u32::MAX - 7, 32, (20, 60)),
    ] {
        assert_eq!(all(&wide(table, len, &[entry, (0, 0)])), Some(vec![Next::Bad]), "{table} {len} {entry:?}");
    }
    assert_eq!(all(&block(200, 100, 16, 0, &[(20, 13), (0, 0)])), Some(vec![Next::Frame(20, 13)]));
    let filter = crate::nic::rx_filter::RxFilter::new([2, 0, 0, 0, 0, 1], 1500).unwrap();
    assert_eq!(filter.check(&[0xff; 13], false), Err(crate::nic::rx_filter::Refusal::Runt));
}

#[test]
fn chains_that_loop_end() {
    // A table that names itself: the sum of what it hands out is bounded by the block.
    let found = all(&block(200, 100, 16, 100, &[(20, 60), (0, 0)])).unwrap();
    assert_eq!(found.last(), Some(&Next::Bad));
    assert!(found.len() <= 4, "{found:?}");
    // An empty one.
    assert_eq!(all(&block(200, 100, 16, 100, &[(0, 0)])), Some(vec![Next::Bad]));
}

/// Words as an RNDIS message has them.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn known_bad_rndis_messages() {
    let limits = Limits { packets: 8, transfer: 16384, alignment: 2 };
    // Offset and length of a query's answer wrap (CVE-2023-23559), or leave the message.
    for (size, at) in [(u32::MAX, 16), (8, u32::MAX), (u32::MAX - 15, 24), (9, 16), (1, 24)] {
        assert_eq!(parse(&words(&[0x8000_0004, 32, 7, 0, size, at, 1, 2])), None, "{size} {at}");
    }
    assert!(matches!(
        parse(&words(&[0x8000_0004, 32, 7, 0, 8, 16, 1, 2])),
        Some((7, Answer::Value([1, 0, 0, 0, 2, ..])))
    ));
    // Longer than what came, shorter than its head.
    assert_eq!(parse(&words(&[0x8000_0002, 52, 7, 0, 1])), None);
    assert_eq!(parse(&words(&[0x8000_0002, 24, 7, 0, 1, 0])), None);
    // Packet messages: a length of nothing, a frame before the end of the head, one that wraps, one behind the message.
    for (len, offset, size) in
        [(0, 36, 16), (7, 36, 16), (60, 35, 16), (60, u32::MAX, 16), (60, 36, u32::MAX), (60, 36, 17)]
    {
        let message = words(&[1, len, offset, size, 0, 0, 0, 0, 0, 0, 0, 5, 5, 5, 5]);
        let mut framing = RndisFraming::new(limits);
        assert!(framing.open());
        assert_eq!(framing.next(&message), Next::Bad, "{len} {offset} {size}");
        assert_eq!(framing.next(&message), Next::End, "it ends");
    }
}

#[test]
fn random_blocks_and_messages_stay_inside_themselves() {
    let mut x = 88_172_645_463_325_252u64;
    let mut random = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let seconds: u64 = std::env::var("WEIR_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    for round in 0u64.. {
        if round >= 20_000 && round % 1024 == 0 && cpu_seconds() >= seconds {
            break;
        }
        let len = 12 + random() as usize % 300;
        let table = random() as usize % (len + 8);
        let entries: Vec<_> = (0..random() % 6).map(|_| (random() as u16 % 400, random() as u16 % 400)).collect();
        let mut bytes = block(len, table, random() as u16 % 80, random() as u16 % 300, &entries);
        for _ in 0..random() % 3 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        let _ = all(&bytes);
        let _ = parse(&bytes);
        let _ = notify::parse(&bytes);
        let _ = probe(&bytes, None);
        let _ = mac_of_string(&bytes);
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    for wide in [false, true] {
        for crc in [false, true] {
            let layout = Layout { wide, crc, max: MAX, datagrams: 40, divisor: 4, remainder: 2, alignment: 8 };
            let mut encoder = Encoder::new(layout);
            let mut bytes = vec![0xee; MAX];
            let frames: Vec<Vec<u8>> = (14..60).map(|len| vec![len as u8; len]).collect();
            let fit = frames.iter().take_while(|frame| encoder.add(&mut bytes, frame)).count();
            assert!(fit > 20 && fit <= 40);
            let len = encoder.close(&mut bytes, 512);
            bytes.truncate(len);
            let mut decoder = Decoder::new(MAX);
            assert!(decoder.open(&bytes));
            for frame in &frames[..fit] {
                let Next::Frame(at, len) = decoder.next(&bytes) else { panic!("a frame is missing") };
                assert_eq!(&bytes[at..at + len], frame.as_slice());
            }
            assert_eq!(decoder.next(&bytes), Next::End);
        }
    }
}

#[test]
fn addresses_in_strings() {
    let text = |text: &str| {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [&[units.len() as u8 + 2, 3][..], &units].concat()
    };
    assert_eq!(mac_of_string(&text("02005E123456")), Some([2, 0, 0x5e, 0x12, 0x34, 0x56]));
    for wrong in
        ["", "02005E12345", "02005E1234567", "0200 5E12345", "010000000000", "000000000000", "02005E12345\u{437}"]
    {
        assert_eq!(mac_of_string(&text(wrong)), None, "{wrong}");
    }
}
