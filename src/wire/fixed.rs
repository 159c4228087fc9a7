//! Fixed-size fields at fixed offsets.

/// The field at `at`; zeros if it is not there, which the views rule out when they are made.
#[inline]
pub(super) fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// Replaces the field at `at`, if it is there.
#[inline]
pub(super) fn set<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *field = value;
    }
}
