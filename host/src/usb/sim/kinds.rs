//! What models there are, what they can be made to do, and what they saw.

use std::fmt;
use std::str::FromStr;

use crate::ioreturn::IoReturn;

/// Which class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// NCM with 16-bit blocks.
    Ncm,
    /// NCM with 32-bit blocks too.
    Ncm32,
    /// ECM.
    Ecm,
    /// RNDIS.
    Rndis,
}

impl Model {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ncm, Self::Ncm32, Self::Ecm, Self::Rndis];

    fn name(self) -> &'static str {
        match self {
            Self::Ncm => "ncm",
            Self::Ncm32 => "ncm32",
            Self::Ecm => "ecm",
            Self::Rndis => "rndis",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|model| model.name() == text);
        found.ok_or_else(|| format!("sim:{text}: there are sim:ncm, sim:ncm32, sim:ecm and sim:rndis"))
    }
}

/// What a model saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bulk OUT transfers with something in them, and frames in them.
    pub transfers_out: u64,
    /// See `transfers_out`.
    pub frames_out: u64,
    /// Bulk IN transfers with something in them, and frames in them.
    pub transfers_in: u64,
    /// See `transfers_in`.
    pub frames_in: u64,
    /// Most bulk IN transfers that waited at once.
    pub depth_in: usize,
}

/// How a device may misbehave on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// The next transfer of the endpoint halts it.
    StallIn,
    /// See [`Quirk::StallIn`].
    StallOut,
    /// OUT transfers are not taken until [`super::SimDevice::go_on`].
    HangOut,
    /// IN transfers end with nothing in them, without end.
    EmptyIn,
    /// The next IN transfer is more than was asked for.
    BabbleIn,
    /// The next IN transfer ends in its middle.
    ShortIn,
    /// The next OUT transfer is taken in part.
    ShortOut,
    /// Every transfer of the pipe fails until [`super::SimDevice::go_on`].
    DeadIn,
    /// See [`Quirk::DeadIn`].
    DeadOut,
}

/// What the n-th call of the host runs into, whatever it is: a request, a transfer, another setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// It fails.
    Fails(IoReturn),
    /// The device is pulled out just then.
    Unplugged,
}
