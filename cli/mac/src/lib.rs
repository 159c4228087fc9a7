//! What Weir's app does on a Mac. What needs no framework of Apple's is in plain modules that are tested anywhere, with
//! outputs of Apple's tools in the forms that macOS 11 to 26 print; `framework` is the rest.
#![cfg_attr(not(target_os = "macos"), forbid(unsafe_code))]
#![warn(missing_docs)]

pub mod activation;
pub mod decide;
pub mod doctor;
#[cfg(target_os = "macos")]
pub mod framework;
pub mod ioreg;
pub mod record;
pub mod status;
pub mod sysext;
pub mod version;

/// The driver extension's bundle id, as weir.toml ships it. A build for another maker sets `WEIR_DEXT_ID`.
pub const DEXT_ID: &str = match option_env!("WEIR_DEXT_ID") {
    Some(id) => id,
    None => "dev.weir.driver",
};
