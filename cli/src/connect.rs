//! The way to a driver that somebody else runs: the runtime's socket on Linux, IOKit on a Mac, behind one trait.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use weir_core::mem::region::Shared;

use crate::control::{Control, Transport, Watch};

/// `WEIR_SELECTOR_NOTIFY` and `WEIR_SELECTOR_OPEN_TAP`.
const SELECTOR_NOTIFY: u32 = 3;
const SELECTOR_OPEN_TAP: u32 = 6;
/// `WEIR_NOTIFY_TAP`.
const NOTIFY_TAP: u64 = 8;
/// `WEIR_CLIENT_MEMORY_TAP`.
const MEMORY_TAP: u32 = 1;

#[cfg(target_os = "linux")]
mod socket {
    use std::cell::RefCell;
    use std::path::PathBuf;

    use anyhow::bail;
    use weir_host::mem::Map;
    use weir_host::{Call, ConnectError, IoReturn, RemoteClient};

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

    /// Rings in memory that the runtime's process shares.
    pub struct Watcher {
        map: Map,
        client: RefCell<RemoteClient>,
    }

    impl Watch for Watcher {
        fn memory(&self) -> Option<Shared<'_>> {
            self.map.shared()
        }

        fn wait(&self, timeout: Duration) -> Result<()> {
            self.client.borrow_mut().completion(timeout).map(drop).context("the driver is gone")
        }
    }

    pub fn watch(remote: Remote, request: &[u8]) -> Result<Watcher> {
        let Remote(mut client) = remote;
        let call = Call {
            selector: SELECTOR_OPEN_TAP.into(),
            input: Some(request.to_vec()),
            scalars_out: 2,
            ..Call::default()
        };
        match client.call(call)?.status {
            IoReturn::NO_RESOURCES => bail!("as many programs watch already as can"),
            status => status.ok().context("the driver refused")?,
        }
        let map = client.map_memory(MEMORY_TAP.into()).context("no rings")?;
        let call =
            Call { selector: SELECTOR_NOTIFY.into(), scalars: vec![NOTIFY_TAP], async_reference: 1, ..Call::default() };
        client.call(call)?.status.ok().context("no notifications")?;
        Ok(Watcher { map, client: RefCell::new(client) })
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
    use weir_mac::framework::{Connection, Mapping};

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
    /// `WEIR_SELECTOR_GLUE_COUNTERS` and the size of its reply.
    const SELECTOR_GLUE_COUNTERS: u32 = 5;
    const GLUE_COUNTERS_LEN: usize = 14 * 8;
    /// `WEIR_CLIENT_CONTROL`
    const CLIENT_CONTROL: u32 = 0;

    impl Transport for Remote {
        fn command(&mut self, request: &[u8], capacity: usize) -> Result<Vec<u8>> {
            let mut scalars = vec![0; 2];
            let output = self.0.call(SELECTOR_COMMAND, &[], request, &mut scalars, capacity)?;
            reply(&scalars, output)
        }
    }

    /// Rings in memory that the driver's process shares.
    pub struct Watcher {
        // Before the connection, so that it goes first.
        mapping: Mapping,
        connection: Connection,
    }

    impl Watch for Watcher {
        fn memory(&self) -> Option<Shared<'_>> {
            self.mapping.shared()
        }

        fn wait(&self, timeout: Duration) -> Result<()> {
            let _ = self.connection.notification(timeout);
            // A driver that is gone answers no call.
            self.connection.call(SELECTOR_GLUE_COUNTERS, &[], &[], &mut Vec::new(), GLUE_COUNTERS_LEN).map(drop)?;
            Ok(())
        }
    }

    pub fn watch(remote: Remote, request: &[u8]) -> Result<Watcher> {
        let Remote(mut connection) = remote;
        connection.call(SELECTOR_OPEN_TAP, &[], request, &mut vec![0; 2], 0).context("the driver refused")?;
        let mapping = connection.map(MEMORY_TAP).context("no rings")?;
        connection.subscribe(SELECTOR_NOTIFY, NOTIFY_TAP).context("no notifications")?;
        Ok(Watcher { mapping, connection })
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

pub use way::{Remote, Target, Watcher};

/// Commands to the driver that `target` names.
///
/// # Errors
/// There is no such driver, or it refused.
pub fn connect(target: &Target) -> Result<Control<Remote>> {
    Ok(Control::new(way::open(target)?))
}

/// A connection of its own whose rings the driver fills as `request` says ([`crate::control::watch_request`]).
///
/// # Errors
/// There is no such driver, or it refused.
pub fn watch(target: &Target, request: &[u8]) -> Result<Watcher> {
    way::watch(way::open(target)?, request)
}
