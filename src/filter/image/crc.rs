//! CRC-32 as IEEE 802.3 clause 3.2.9 has it (reflected, polynomial 0xedb88320).
#![forbid(unsafe_code)]

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            table[index] = value;
        }
        index += 1;
    }
    table
};

/// The checksum of the parts, one after another.
pub fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = !0u32;
    for byte in parts.iter().copied().flatten() {
        let index = (crc as u8 ^ byte) as usize;
        crc = crc >> 8 ^ TABLE.get(index).copied().unwrap_or(0);
    }
    !crc
}
