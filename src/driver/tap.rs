//! Programs that watch come and go.
#![forbid(unsafe_code)]

use super::{Driver, Error};
use crate::control::TapRequest;
use crate::mem::region::Shared as SharedMemory;
use crate::pipeline::tap::{TAPS, TapConfig, TapKinds};

impl Driver {
    fn tap_config(&self, request: &[u8]) -> Result<TapConfig, Error> {
        let TapRequest { kinds, snaplen, ring_bytes, program } = TapRequest::parse(request)?;
        let kinds = TapKinds::from_bits(kinds).ok_or(Error::Invalid)?;
        let config = TapConfig { kinds, snaplen, ring_bytes, program };
        if config.is_valid(self.common.shards()) { Ok(config) } else { Err(Error::Invalid) }
    }

    /// Bytes of shared memory that a tap needs, and its rings.
    ///
    /// # Errors
    /// What is wrong with the request (`weir_tap_config`).
    pub fn tap_size(&self, request: &[u8]) -> Result<(usize, u32), Error> {
        let geometry = self.tap_config(request)?.geometry(self.common.shards());
        Ok((geometry.total_len(), geometry.rings))
    }

    /// Attaches a program to tap number `tap`; `mem` is zeroed.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody has it; what is wrong with the request, its number or the memory.
    pub fn tap_attach(&self, tap: u32, request: &[u8], mem: SharedMemory<'static>) -> Result<(), Error> {
        let _control = self.claim()?;
        let config = self.tap_config(request)?;
        let shards = self.common.shards();
        let tap = usize::try_from(tap).ok().filter(|tap| *tap < TAPS).ok_or(Error::Invalid)?;
        if config.geometry(shards).total_len() > mem.len() {
            return Err(Error::Invalid);
        }
        if self.common.pipeline.taps.attach(tap, config, shards, mem) { Ok(()) } else { Err(Error::Busy) }
    }

    /// Lets a program go. On return its memory is not touched any more.
    ///
    /// # Errors
    /// [`Error::State`] if there is none.
    pub fn tap_detach(&self, tap: u32) -> Result<(), Error> {
        let _control = self.claim()?;
        let had = usize::try_from(tap).is_ok_and(|tap| self.common.pipeline.taps.detach(tap));
        if had { Ok(()) } else { Err(Error::State) }
    }
}
