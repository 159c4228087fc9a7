//! Calls into Apple's frameworks: SystemExtensions for activation, IOKit for the connection to the driver.

mod connection;
mod request;

pub use connection::{Connection, IoReturn, Mapping};
pub use request::submit;
