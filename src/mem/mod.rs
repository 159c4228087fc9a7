//! Memory that somebody else lent: packet buffers, DMA regions, shared rings. The core's only `unsafe` outside the
//! C ABI lives here.
//!
//! Model check of everything that synchronises: `RUSTFLAGS="--cfg loom" cargo test -p weir-core --lib --release loom`.

pub mod answers;
pub mod columns;
pub mod doorbell;
/// Instructions of SSE2 on two vectors, as methods of `Eight` and `Four`.
#[cfg(target_arch = "x86_64")]
macro_rules! of_two {
    ($($(#[$doc:meta])* $name:ident: $instruction:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        #[must_use]
        pub fn $name(self, other: Self) -> Self {
            // SAFETY: SSE2 is part of x86-64.
            Self(unsafe { $instruction(self.0, other.0) })
        }
    )*};
}

pub mod four;
pub mod handover;
pub mod locate;
pub mod packet;
pub mod pair;
pub mod pool;
pub mod prefetch;
mod primitive;
pub mod ranges;
pub mod region;
pub mod ring;
pub mod row;
pub mod rows;
pub mod scaled;
pub mod seat;
pub mod simd;
pub mod slots;
pub mod tags;
pub mod tap_ring;
pub mod transfer;
pub mod transpose;
pub mod wire_ring;
pub mod words;

pub use packet::{Burst, Packet, PacketFlags, Status};

#[cfg(all(loom, test))]
mod loom_tests;
#[cfg(all(not(loom), test))]
pub(crate) mod tests;
