//! Loopback NIC.
mod config;
pub use config::{LoopbackConfig, Wire};

/// Makes a loopback NIC.
///
/// # Errors
/// What is wrong with the configuration, or that both ends of the pair are taken.
pub fn open(
    config: &LoopbackConfig,
    env: crate::nic::NicEnv,
) -> Result<crate::nic::Device, crate::nic::NicError> {
    config.check()?;
    let _ = env;
    Err(crate::nic::NicError::Unsupported)
}
