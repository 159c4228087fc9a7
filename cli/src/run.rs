//! `weir run`: the driver between a NIC and a stack, until Ctrl-C.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use weir_host::pci::spec::PciSpec;
use weir_host::port::{Mode, WirePump};
use weir_host::stack::spec::{StackSpec, WireSpec};
use weir_host::usb::spec::UsbSpec;
use weir_host::wire::{ClientLink, WireLink};
use weir_host::{Host, HostConfig};

use crate::RuleArgs;
use crate::addresses;
use crate::nic::{Last, Nic, NicOptions, Wire, entitlements, no_leaks};
use crate::rules;

/// `println!` for what is said at the end of a long run: a reader that went away must not keep it from ending in order.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// Arguments of `weir run`.
#[derive(Args)]
pub struct RunArgs {
    /// The NIC: `reflect`, `pair` (two instances, two --stack), `packet:IFNAME`, `pcap:FILE[,out=FILE]`, `none`,
    /// `usb:BUS-DEV`, `usb:VID:PID` (either with `,config=N`), `sim:ncm`, `sim:ecm`, `sim:rndis`, `sim:igc`,
    /// `qemu:e1000e`, `qemu:virtio-net[,packed]` (QEMU's device models, with --peer), `vfio:ADDRESS`.
    #[arg(long, value_name = "SPEC")]
    nic: String,
    /// The other end of a device model's cable: `tap:NAME[,netns=NS]`.
    #[arg(long, value_name = "SPEC")]
    peer: Option<String>,
    /// The stack: `tap:NAME[,netns=NS][,queues=N][,persist]`, `smoltcp:ADDR/LEN`, `pcap:FILE[,out=FILE]`.
    #[arg(long, value_name = "SPEC", required = true)]
    stack: Vec<String>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Queue pairs of each NIC.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    queues: u16,
    /// MTU in bytes.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(68..=16110))]
    mtu: u32,
    /// Offer neither checksum nor segmentation offloads.
    #[arg(long)]
    no_offloads: bool,
    /// Listen here for `weir show`, `weir load` and `weir mode` of root and of this user.
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// Stop by itself after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    r#for: Option<u64>,
}

/// Runs until Ctrl-C, SIGTERM, or the end of `--for`.
///
/// # Errors
/// A spec or the rules are wrong, the driver did not start, or it did not stop in order.
pub fn run(args: &RunArgs) -> Result<ExitCode> {
    let stop = catch_signals()?;
    // What can be refused is refused before anything is set up.
    let image = rules::compile(&args.rules)?;
    let stacks: Vec<StackSpec> =
        args.stack.iter().map(|spec| spec.parse().map_err(anyhow::Error::from)).collect::<Result<_>>()?;
    let pair = args.nic == "pair" || args.nic.starts_with("pair:");
    let starts = |kinds: &[&str]| kinds.iter().any(|kind| args.nic.starts_with(kind));
    let is_pci = starts(&["qemu:", "vfio:"]) || args.nic == "sim:igc";
    let is_usb = starts(&["usb:", "sim:"]) && !is_pci;
    let usb: Option<UsbSpec> = is_usb.then(|| args.nic.parse()).transpose().map_err(anyhow::Error::msg)?;
    let pci: Option<PciSpec> = is_pci.then(|| args.nic.parse()).transpose().map_err(anyhow::Error::msg)?;
    let wire: WireSpec = match (&usb, &pci, args.nic.as_str()) {
        (Some(_), _, _) | (_, Some(_), _) => WireSpec::None,
        (None, None, "pair") => WireSpec::Pair("pair".into()),
        (None, None, spec) => spec.parse().with_context(|| {
            format!(
                "--nic {spec}: neither a device (qemu:MODEL, vfio:ADDRESS, usb:BUS-DEV, usb:VID:PID, sim:MODEL) nor a far end \
                 of the virtual NIC"
            )
        })?,
    };
    let instances = if pair { 2 } else { 1 };
    let peer = match (&args.peer, &pci) {
        (None, Some(pci)) if pci.needs_peer() => bail!("--nic {} needs --peer: where its cable ends", args.nic),
        (None, _) => None,
        (Some(peer), Some(pci)) if pci.takes_peer() => match peer.parse()? {
            StackSpec::Tap(tap) => Some(tap),
            _ => bail!("--peer takes tap:NAME[,netns=NS]"),
        },
        (Some(_), _) => bail!("--peer says where the cable of a qemu: NIC or of sim:igc ends, and is for those only"),
    };
    if stacks.len() != instances {
        bail!("--nic {} takes {instances} --stack, not {}", args.nic, stacks.len());
    }
    let mut host = Host::new(HostConfig::threads());
    if let Some(path) = &args.control {
        let me = nix::unistd::getuid().as_raw();
        let policy = move |user: u32| (user == 0 || user == me).then(entitlements);
        host.listen(path, Arc::new(policy)).with_context(|| format!("cannot listen on {}", path.display()))?;
    }
    let attachments = weir_host::stack::Stacks::default();
    let mut nics = Vec::new();
    let mut addresses = Vec::new();
    for (instance, spec) in stacks.iter().enumerate() {
        let options = NicOptions {
            wire: match &wire {
                WireSpec::None => Wire::None,
                WireSpec::Reflect => Wire::Reflect,
                WireSpec::Pair(name) => Wire::Pair(name.clone()),
                WireSpec::Packet { .. } | WireSpec::Pcap(_) => Wire::Client,
            },
            queues: args.queues,
            instance,
            mtu: args.mtu,
            mtu_max: args.mtu.max(9000),
            offloads: !args.no_offloads,
            usb: usb.clone(),
            ..NicOptions::default()
        };
        let mut nic = match &pci {
            Some(pci) => {
                // Locally administered, and another for each process.
                let [.., a, b] = std::process::id().to_be_bytes();
                let mac = [0x02, 0x57, 0x45, 0x49, a, b];
                let opened = pci.open(peer.as_ref(), usize::from(args.queues), mac);
                let (kind, device) = opened.with_context(|| format!("cannot open {}", args.nic))?;
                Nic::boot_pci(&host, &options, kind, device)?
            }
            None => Nic::boot(&host, &options)?,
        };
        if let Some(image) = &image {
            nic.control().load(image)?;
        }
        let stack = attachments.open(spec, Mode::Threads)?;
        nic.attach(&mut host, stack)?;
        addresses.extend(addresses::follow(spec, nic.second_control()?)?);
        nics.push(nic);
    }
    let mut pump = open_pump(&wire, &nics)?;
    for (nic, spec) in nics.iter().zip(&args.stack) {
        nic.enable(true)?;
        println!("{}: {} to {spec}", nic.name(), args.nic);
    }
    println!("ready");
    std::io::stdout().flush()?;
    let start = Instant::now();
    while !stop.load(Ordering::Acquire) && args.r#for.is_none_or(|seconds| start.elapsed().as_secs() < seconds) {
        std::thread::sleep(Duration::from_millis(20));
        let done = pump.as_ref().is_some_and(|pump| pump.finished()) && host.attachments_finished();
        if done && matches!(wire, WireSpec::Pcap(_)) && stacks.iter().all(|s| matches!(s, StackSpec::Pcap(_))) {
            break;
        }
    }
    if let Some(pump) = &mut pump {
        pump.stop();
    }
    drop(pump);
    drop(addresses);
    let mut last = Vec::new();
    for nic in nics {
        let name = nic.name().to_owned();
        last.push((name.clone(), nic.stop(&mut host).with_context(|| format!("{name} did not stop in order"))?));
    }
    no_leaks(&host.finish())?;
    Ok(summary(&last))
}

/// The pump that serves the far end, where that is a client's business.
fn open_pump(wire: &WireSpec, nics: &[Nic]) -> Result<Option<Box<dyn WirePump>>> {
    let (WireSpec::Packet { .. } | WireSpec::Pcap(_), Some(nic)) = (wire, nics.first()) else {
        return Ok(None);
    };
    let link: Arc<dyn WireLink> = ClientLink::open(nic.service(), entitlements()).context("cannot open the wire")?;
    let mut pump = weir_host::wire::open(wire, link, Mode::Threads)?.context("this far end has no pump")?;
    pump.start()?;
    Ok(Some(pump))
}

/// Prints the final accounting. The last line says whether it adds up.
fn summary(nics: &[(String, Last)]) -> ExitCode {
    let mut problem = None;
    for (name, last) in nics {
        let get = |field| last.counters.get(field);
        say!(
            "{name}: rx {} frames, {} delivered, {} dropped; tx {} frames, {} sent, {} dropped",
            get("rx_frames"),
            get("rx_delivered"),
            last.counters.dropped_total(false),
            get("tx_dequeued"),
            get("tx_sent"),
            last.counters.dropped_total(true)
        );
        for (direction, transmit) in [("rx", false), ("tx", true)] {
            for (reason, count) in last.counters.dropped(transmit) {
                say!("{name}: {direction} dropped {reason}: {count}");
            }
        }
        for rule in &last.rules {
            say!("{name}: @{} {} [ Packets: {} Bytes: {} ]", rule.number, rule.text, rule.packets, rule.bytes);
        }
        if let Err(error) = last.counters.check() {
            problem.get_or_insert(format!("{name}: {error:#}"));
        }
    }
    match problem {
        None => {
            say!("accounting: ok");
            ExitCode::SUCCESS
        }
        Some(problem) => {
            say!("accounting: FAILED: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C and SIGTERM set the flag; a second one ends the process at once.
fn catch_signals() -> Result<Arc<AtomicBool>> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    // Blocked in every thread that is started from here; the one below waits for them.
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        while set.wait().is_ok() {
            if flag.swap(true, Ordering::AcqRel) {
                std::process::exit(130);
            }
        }
    })?;
    Ok(stop)
}
