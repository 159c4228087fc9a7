//! `IOReturn` values (Apple's `IOReturn.h`).

use std::fmt;

/// A kernel return code; `IOReturn::SUCCESS` or an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct IoReturn(pub i32);

/// `Ok` or the error's code.
pub type IoResult<T> = Result<T, IoReturn>;

macro_rules! codes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        impl IoReturn {
            $(#[doc = $text] pub const $name: IoReturn = IoReturn(0xe000_0000_u32.wrapping_add($code) as i32);)*

            fn name(self) -> Option<&'static str> {
                match self.0 as u32 {
                    0 => Some("kIOReturnSuccess"),
                    $(c if c == 0xe000_0000_u32.wrapping_add($code) => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    ERROR = 0x2bc, "kIOReturnError";
    NO_MEMORY = 0x2bd, "kIOReturnNoMemory";
    NO_RESOURCES = 0x2be, "kIOReturnNoResources";
    NO_DEVICE = 0x2c0, "kIOReturnNoDevice";
    NOT_PRIVILEGED = 0x2c1, "kIOReturnNotPrivileged";
    BAD_ARGUMENT = 0x2c2, "kIOReturnBadArgument";
    EXCLUSIVE_ACCESS = 0x2c5, "kIOReturnExclusiveAccess";
    BAD_MESSAGE_ID = 0x2c6, "kIOReturnBadMessageID";
    UNSUPPORTED = 0x2c7, "kIOReturnUnsupported";
    VM_ERROR = 0x2c8, "kIOReturnVMError";
    INTERNAL_ERROR = 0x2c9, "kIOReturnInternalError";
    IO_ERROR = 0x2ca, "kIOReturnIOError";
    NOT_OPEN = 0x2cd, "kIOReturnNotOpen";
    NOT_ALIGNED = 0x2d0, "kIOReturnNotAligned";
    STILL_OPEN = 0x2d2, "kIOReturnStillOpen";
    DMA_ERROR = 0x2d4, "kIOReturnDMAError";
    BUSY = 0x2d5, "kIOReturnBusy";
    TIMEOUT = 0x2d6, "kIOReturnTimeout";
    OFFLINE = 0x2d7, "kIOReturnOffline";
    NOT_READY = 0x2d8, "kIOReturnNotReady";
    NOT_ATTACHED = 0x2d9, "kIOReturnNotAttached";
    NO_SPACE = 0x2db, "kIOReturnNoSpace";
    NO_INTERRUPT = 0x2df, "kIOReturnNoInterrupt";
    MESSAGE_TOO_LARGE = 0x2e1, "kIOReturnMessageTooLarge";
    NOT_PERMITTED = 0x2e2, "kIOReturnNotPermitted";
    UNDERRUN = 0x2e7, "kIOReturnUnderrun";
    OVERRUN = 0x2e8, "kIOReturnOverrun";
    DEVICE_ERROR = 0x2e9, "kIOReturnDeviceError";
    ABORTED = 0x2eb, "kIOReturnAborted";
    NOT_RESPONDING = 0x2ed, "kIOReturnNotResponding";
    NOT_FOUND = 0x2f0, "kIOReturnNotFound";
    INVALID = 0x1, "kIOReturnInvalid";
}

impl IoReturn {
    /// `kIOReturnSuccess`.
    pub const SUCCESS: IoReturn = IoReturn(0);

    /// `Ok(())` for success, the code otherwise.
    ///
    /// # Errors
    /// The code itself.
    pub fn ok(self) -> IoResult<()> {
        if self == Self::SUCCESS { Ok(()) } else { Err(self) }
    }

    /// The code of a result.
    pub fn of(result: IoResult<()>) -> i32 {
        match result {
            Ok(()) => 0,
            Err(e) => e.0,
        }
    }
}

impl fmt::Display for IoReturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (0x{:08x})", self.0),
            None => write!(f, "IOReturn 0x{:08x}", self.0),
        }
    }
}

impl fmt::Debug for IoReturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for IoReturn {}

impl From<IoReturn> for std::io::Error {
    fn from(e: IoReturn) -> Self {
        std::io::Error::other(e)
    }
}
