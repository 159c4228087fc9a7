//! Memory that somebody else lent: packet buffers, DMA regions, shared rings. The core's only `unsafe` outside the
//! C ABI lives here.
//!
//! Model check of everything that synchronises: `RUSTFLAGS="--cfg loom" cargo test -p weir-core --lib --release loom`.

pub mod doorbell;
pub mod eight;
pub mod four;
pub mod locate;
pub mod packet;
pub mod pool;
pub mod prefetch;
mod primitive;
pub mod region;
pub mod ring;
pub mod seat;
pub mod simd;
pub mod tags;
pub mod tap_ring;
pub mod transfer;
pub mod wire_ring;
pub mod words;

pub use packet::{Burst, Packet, PacketFlags, Status};

#[cfg(all(loom, test))]
mod loom_tests;
#[cfg(all(not(loom), test))]
pub(crate) mod tests;
