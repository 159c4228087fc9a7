//! One instance of the driver in this process: booted on the runtime, with its control connection.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use weir_core::abi::sys;
use weir_host::pci::PciDevice;
use weir_host::port::{Port, Stack};
use weir_host::usb::spec::UsbSpec;
use weir_host::{BootError, Call, FinalReport, Host, Prop, Properties, Reply, Service, UserClient};

use crate::control::{Control, Counters, RuleCounters, Transport};

/// The driver's class.
pub const CLASS: &str = "WeirEthernet";
/// The driver's class on a USB network function.
const USB_CLASS: &str = "WeirUSBEthernet";
/// The driver's class on a PCI device.
const PCI_CLASS: &str = "WeirPCIEthernet";
/// `WEIR_CLIENT_CONTROL`.
pub const CLIENT_CONTROL: u32 = 0;
/// `WEIR_CLIENT_ENTITLEMENT`.
const ENTITLEMENT: &str = "dev.weir.control";
/// `OS_LOG_TYPE_ERROR`.
const LOG_ERROR: u32 = 16;
/// `WEIR_SELECTOR_COMMAND`.
const SELECTOR_COMMAND: u64 = 0;
/// `WEIR_SELECTOR_GLUE_COUNTERS`.
const SELECTOR_GLUE_COUNTERS: u64 = 5;

/// Every `WEIR_OFFLOAD_*`.
const OFFLOADS: u32 = sys::WEIR_OFFLOAD_TX_CSUM
    | sys::WEIR_OFFLOAD_TSO4
    | sys::WEIR_OFFLOAD_TSO6
    | sys::WEIR_OFFLOAD_RX_CSUM
    | sys::WEIR_OFFLOAD_LRO;

/// What is at the other end of the loopback NIC's cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Nothing.
    None,
    /// The reflector.
    Reflect,
    /// The other instance of this name.
    Pair(String),
    /// A user client with wire rings.
    Client,
}

/// How to boot an instance.
#[derive(Clone, Debug)]
pub struct NicOptions {
    /// The far end.
    pub wire: Wire,
    /// Queue pairs, 1 to 8.
    pub queues: u16,
    /// Bytes.
    pub mtu: u32,
    /// Largest MTU that may be set later.
    pub mtu_max: u32,
    /// Checksum and segmentation offloads.
    pub offloads: bool,
    /// Tells instances in one process apart; the driver derives the hardware address from it.
    pub instance: usize,
    /// Hardware address; `None` = a locally administered one.
    pub mac: Option<[u8; 6]>,
    /// Keys hashes.
    pub seed: Option<u64>,
    /// A USB network function instead of the loopback NIC.
    pub usb: Option<UsbSpec>,
}

impl Default for NicOptions {
    fn default() -> Self {
        Self {
            wire: Wire::Reflect,
            queues: 1,
            mtu: 1500,
            mtu_max: 9000,
            offloads: true,
            instance: 0,
            mac: None,
            seed: None,
            usb: None,
        }
    }
}

impl NicOptions {
    fn properties(&self) -> Properties {
        let wire = match &self.wire {
            Wire::None => "none",
            Wire::Reflect => "reflect",
            Wire::Pair(_) => "pair",
            Wire::Client => "client",
        };
        let mut properties = Properties::new();
        let mut set = |key: &str, value: Prop| properties.insert(key.to_owned(), value);
        set("WeirWire", wire.into());
        set("IOMatchCategory", format!("dev.weir.nic{}", self.instance).into());
        set("WeirQueues", u32::from(self.queues).into());
        set("WeirMTU", self.mtu.into());
        set("WeirMaxMTU", self.mtu_max.max(self.mtu).into());
        set("WeirOffloads", if self.offloads { OFFLOADS } else { 0 }.into());
        let client = [("IOClass", "IOUserUserClient"), ("IOUserClass", "WeirUserClient")];
        let client: Properties = client.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        set("UserClientProperties", client.into());
        if let Wire::Pair(name) = &self.wire {
            set("WeirWireName", name.as_str().into());
        }
        if let Some(mac) = self.mac {
            set("WeirMAC", Prop::Data(mac.to_vec()));
        }
        if let Some(seed) = self.seed {
            set("WeirSeed", seed.into());
        }
        properties
    }
}

/// The call that carries `request` to the core.
pub fn command_call(request: &[u8], capacity: usize) -> Call {
    Call {
        selector: SELECTOR_COMMAND,
        input: Some(request.to_vec()),
        scalars_out: 2,
        output_max: capacity as u64,
        ..Call::default()
    }
}

/// The core's reply in what the call returned.
///
/// # Errors
/// The driver refused the call or the command.
pub fn command_reply(reply: Reply) -> Result<Vec<u8>> {
    reply.status.ok().context("the driver refused the command")?;
    crate::control::reply(&reply.scalars, reply.output)
}

/// Commands through a user client in this process.
pub struct Local(UserClient);

impl Transport for Local {
    fn command(&mut self, request: &[u8], capacity: usize) -> Result<Vec<u8>> {
        command_reply(self.0.call(command_call(request, capacity))?)
    }
}

/// Entitlements of a client that may change the driver.
pub fn entitlements() -> Properties {
    Properties::from([(ENTITLEMENT.to_owned(), Prop::Bool(true))])
}

/// A running instance.
pub struct Nic {
    service: Service,
    control: Control<Local>,
    name: String,
    attachment: Option<u64>,
}

/// Nothing that the driver made may outlive it.
///
/// # Errors
/// The first object that does.
pub fn no_leaks(report: &FinalReport) -> Result<()> {
    match report.leaks.first() {
        Some(leak) => bail!("the driver leaked {} objects, the first is {leak}", report.leaks.len()),
        None => Ok(()),
    }
}

/// What an instance leaves behind.
pub struct Last {
    /// Rules with their counters.
    pub rules: Vec<RuleCounters>,
    /// Counters of the core.
    pub counters: Counters,
}

impl Nic {
    /// Boots an instance.
    ///
    /// # Errors
    /// Start failed, or its user client did.
    pub fn boot(host: &Host, options: &NicOptions) -> Result<Self> {
        let booted = match &options.usb {
            None => host.boot(CLASS, options.properties()),
            Some(spec) => {
                let (device, interface) = spec.open().map_err(anyhow::Error::msg)?;
                host.boot_usb(USB_CLASS, options.properties(), device, Some(interface))
            }
        };
        Self::of(host, booted, options)
    }

    /// Boots an instance on a PCI device; `kind` is the personality's `WeirNIC`.
    ///
    /// # Errors
    /// As [`Nic::boot`].
    pub fn boot_pci(host: &Host, options: &NicOptions, kind: &str, device: Arc<dyn PciDevice>) -> Result<Self> {
        let mut properties = options.properties();
        properties.insert("WeirNIC".to_owned(), kind.into());
        Self::of(host, host.boot_pci(PCI_CLASS, properties, device), options)
    }

    fn of(host: &Host, booted: Result<Service, BootError>, options: &NicOptions) -> Result<Self> {
        let service = booted.map_err(|error| {
            // The driver told the system's log why; here is nobody else who shows it.
            for line in host.log_lines().iter().filter(|line| line.level >= LOG_ERROR) {
                eprintln!("weir: driver: {}", line.text);
            }
            anyhow::Error::from(error).context("the driver did not start")
        })?;
        // A kernel brings an Ethernet interface up with 1500 and changes it on request.
        service.set_mtu(options.mtu).context("the driver refused the MTU")?;
        let client = service.open_user_client(CLIENT_CONTROL, entitlements(), None).context("no control connection")?;
        let name = service.port().map(|port| port.info().bsd_name).unwrap_or_default();
        Ok(Self { service, control: Control::new(Local(client)), name, attachment: None })
    }

    /// Its BSD name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Commands to the core.
    pub fn control(&mut self) -> &mut Control<Local> {
        &mut self.control
    }

    /// A control connection of its own, for another thread.
    ///
    /// # Errors
    /// The driver refused it.
    pub fn second_control(&self) -> Result<Control<Local>> {
        let client = self.service.open_user_client(CLIENT_CONTROL, entitlements(), None);
        Ok(Control::new(Local(client.context("no second control connection")?)))
    }

    /// The runtime's service.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The stack side.
    ///
    /// # Errors
    /// The driver registered no interface.
    pub fn port(&self) -> Result<Arc<dyn Port>> {
        self.service.port().context("the driver registered no interface")
    }

    /// Attaches a stack.
    ///
    /// # Errors
    /// What the attachment said.
    pub fn attach(&mut self, host: &mut Host, stack: Box<dyn Stack>) -> Result<()> {
        self.attachment = Some(host.attach(&self.service, stack)?);
        Ok(())
    }

    /// `SetInterfaceEnable`.
    ///
    /// # Errors
    /// What the driver returned.
    pub fn enable(&self, enable: bool) -> Result<()> {
        self.service.set_enabled(enable).context("the driver refused to enable the interface")
    }

    /// Counters once nothing moves any more: the interface is disabled first, so that the identities must hold.
    ///
    /// # Errors
    /// The driver is gone, or did not stop in order.
    pub fn stop(mut self, host: &mut Host) -> Result<Last> {
        if let Some(attachment) = self.attachment.take() {
            host.detach(attachment);
        }
        self.enable(false)?;
        let rules = self.control.rules()?;
        let counters = self.control.counters(None)?;
        let glue = self.glue_in_flight()?;
        if glue != 0 {
            bail!("the driver still held {glue} packets after it was disabled");
        }
        let Self { service, control, .. } = self;
        drop(control);
        let report = service.terminate();
        if !report.finished || report.stop.ok().is_err() {
            bail!("Stop returned {} and {}", report.stop, if report.finished { "finished" } else { "did not finish" });
        }
        if report.leaked_packets > 0 {
            bail!("{} packets leaked", report.leaked_packets);
        }
        Ok(Last { rules, counters })
    }

    fn glue_in_flight(&self) -> Result<u64> {
        let call = Call { selector: SELECTOR_GLUE_COUNTERS, output_max: 14 * 8, ..Call::default() };
        let reply = self.control.transport().0.call(call)?;
        reply.status.ok().context("the driver refused its glue counters")?;
        let bytes = reply.output.get(12 * 8..13 * 8).context("the glue counters are too short")?;
        Ok(u64::from_ne_bytes(bytes.try_into()?))
    }
}
