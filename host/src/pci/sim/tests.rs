use super::*;

/// Microsoft's published cases for the hash (RSS specification, "Verifying the RSS Hash Calculation").
#[test]
fn the_hash_is_microsofts() {
    let key: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
        0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
        0xbe, 0xac, 0x01, 0xfa,
    ];
    let mut registers = Registers::new([2, 0, 0, 0, 0, 1]);
    for (word, bytes) in key.chunks(4).enumerate() {
        registers.set(0x5c80 + 4 * word as u64, u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    }
    let mut frame = vec![0u8; 14 + 40];
    frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    frame[16..18].copy_from_slice(&40u16.to_be_bytes());
    frame[23] = 6;
    frame[26..30].copy_from_slice(&[66, 9, 149, 187]);
    frame[30..34].copy_from_slice(&[161, 142, 100, 80]);
    frame[34..36].copy_from_slice(&2794u16.to_be_bytes());
    frame[36..38].copy_from_slice(&1766u16.to_be_bytes());
    for (fields, want) in [(1u32, 0x51cc_c178), (2, 0x323e_8fc2)] {
        registers.set(0x5818, 2 | fields << 16);
        assert_eq!(registers.hash_of(&frame), Some(want));
    }
}
