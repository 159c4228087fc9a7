//! CRC32c (Castagnoli), as SCTP uses it (RFC 9260 appendix A).

/// The polynomial 0x1edc6f41, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        #[allow(clippy::indexing_slicing, reason = "in constant evaluation, a bad index is an error of the build")]
        {
            table[byte] = value;
        }
        byte += 1;
    }
    table
};

fn step(register: u32, byte: u8) -> u32 {
    let index = usize::from(register as u8 ^ byte);
    register >> 8 ^ TABLE.get(index).copied().unwrap_or(0)
}

/// The CRC of `data`.
#[cfg(test)]
pub(super) fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |register, byte| step(register, *byte))
}

/// What to add (exclusive or) to a CRC after two bytes of the data changed in the bits `changed` and `after` bytes
/// follow them: the CRC is linear, so what does not change does not matter.
pub(super) fn of_change(changed: [u8; 2], after: usize) -> u32 {
    let register = changed.iter().fold(0, |register, byte| step(register, *byte));
    (0..after).fold(register, |register, _| step(register, 0))
}
