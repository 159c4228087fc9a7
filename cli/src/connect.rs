//! The way to a driver that somebody else runs: the runtime's socket on Linux, IOKit on a Mac, behind one trait.

use anyhow::Result;
use clap::Args;

use crate::control::{Control, Transport};

#[cfg(target_os = "linux")]
mod socket {
    use std::path::PathBuf;

    use anyhow::{Context, bail};
    use weir_host::{ConnectError, IoReturn, RemoteClient};

    use super::*;
    use crate::nic::{CLASS, CLIENT_CONTROL, command_call, command_reply};

    /// Which running driver.
    #[derive(Args)]
    pub struct Target {
        /// The socket that `weir run --control` listens on.
        #[arg(long, value_name = "SOCKET", default_value = "/run/weir.sock", global = true)]
        control: PathBuf,
        /// Which NIC, by its class or BSD name, where there are several.
        #[arg(long, default_value = CLASS, global = true)]
        service: String,
    }

    /// Through the runtime's socket.
    pub struct Remote(RemoteClient);

    impl Transport for Remote {
        fn command(&mut self, request: &[u8], capacity: usize) -> Result<Vec<u8>> {
            command_reply(self.0.call(command_call(request, capacity))?)
        }
    }

    pub fn open(target: &Target) -> Result<Remote> {
        let socket = target.control.display();
        match RemoteClient::open(&target.control, &target.service, CLIENT_CONTROL) {
            Ok(client) => Ok(Remote(client)),
            Err(ConnectError::Refused(IoReturn::NOT_FOUND)) => bail!(
                "the driver at {socket} has no NIC \"{}\"; its BSD name is in what `weir run` printed",
                target.service
            ),
            Err(error) => Err(error)
                .with_context(|| format!("cannot reach a driver at {socket} (start it with `weir run --control`)")),
        }
    }
}

#[cfg(target_os = "macos")]
mod iokit {
    use anyhow::Context;
    use weir_mac::framework::Connection;

    use super::*;
    use crate::control::reply;

    /// Which running driver.
    #[derive(Args)]
    pub struct Target {
        /// Which NIC, counted from 0 in the order in which they were found, where there are several.
        #[arg(long, default_value_t = 0, global = true)]
        service: usize,
    }

    /// Through IOKit.
    pub struct Remote(Connection);

    /// `WEIR_SELECTOR_COMMAND`
    const SELECTOR_COMMAND: u32 = 0;
    /// `WEIR_CLIENT_CONTROL`
    const CLIENT_CONTROL: u32 = 0;

    impl Transport for Remote {
        fn command(&mut self, request: &[u8], capacity: usize) -> Result<Vec<u8>> {
            let mut scalars = vec![0; 2];
            let output = self.0.call(SELECTOR_COMMAND, &[], request, &mut scalars, capacity)?;
            reply(&scalars, output)
        }
    }

    pub fn open(target: &Target) -> Result<Remote> {
        let connection = Connection::open(c"IOUserNetworkEthernet", target.service, CLIENT_CONTROL)
            .context("cannot reach the driver; `weir status` says where it stands")?;
        Ok(Remote(connection))
    }
}

#[cfg(target_os = "macos")]
use iokit as way;
#[cfg(target_os = "linux")]
use socket as way;

pub use way::{Remote, Target};

/// Commands to the driver that `target` names.
///
/// # Errors
/// There is no such driver, or it refused.
pub fn connect(target: &Target) -> Result<Control<Remote>> {
    Ok(Control::new(way::open(target)?))
}
