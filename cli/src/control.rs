//! Typed commands to a running core: what `dext/weir_core.h` calls `weir_control`, over any transport.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use weir_core::abi::sys;
use weir_core::mem::region::Shared;
use weir_core::telemetry::DropReason;
use weir_core::telemetry::bpf::Instruction;

/// Something that carries one command to the core and brings the reply back.
pub trait Transport {
    /// Sends `request` and returns at most `capacity` bytes of reply.
    ///
    /// # Errors
    /// The driver refused the command or is gone.
    fn command(&mut self, request: &[u8], capacity: usize) -> Result<Vec<u8>>;
}

/// Rings that a driver fills with frames or events, in memory that is shared with it.
pub trait Watch {
    /// The memory. `None`: it is unusable.
    fn memory(&self) -> Option<Shared<'_>>;

    /// Waits until the driver says that there is something, and at most `timeout`.
    ///
    /// # Errors
    /// The driver is gone.
    fn wait(&self, timeout: Duration) -> Result<()>;
}

/// A `weir_tap_config` and its program.
pub fn watch_request(kinds: u32, snaplen: u32, ring_bytes: u32, program: &[Instruction]) -> Vec<u8> {
    let head = [sys::WEIR_ABI_VERSION, kinds, snaplen, ring_bytes, program.len() as u32, 0];
    let mut request: Vec<u8> = head.iter().flat_map(|word| word.to_ne_bytes()).collect();
    for instruction in program {
        request.extend(instruction.code.to_ne_bytes());
        request.extend([instruction.jt, instruction.jf]);
        request.extend(instruction.k.to_ne_bytes());
    }
    request
}

/// What came of a tap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tap {
    /// `WEIR_TAP_*`; 0 = nobody has it.
    pub kinds: u32,
    /// Bytes of each frame; 0 = all.
    pub snaplen: u32,
    /// Frames or events that were looked at.
    pub seen: u64,
    /// That found room.
    pub kept: u64,
    /// That found none.
    pub lost: u64,
}

/// The core's reply in what `WEIR_SELECTOR_COMMAND` returned.
///
/// # Errors
/// The core refused the command.
pub fn reply(scalars: &[u64], mut output: Vec<u8>) -> Result<Vec<u8>> {
    let status = scalars.first().copied().unwrap_or(0) as i64;
    // A refused image comes with its reason, which the caller reads.
    if status == 0 || status == i64::from(sys::WEIR_E_IMAGE) {
        // A reply in a memory descriptor fills all of it; the second scalar says how much is the core's.
        output.truncate(usize::try_from(scalars.get(1).copied().unwrap_or(0))?);
        return Ok(output);
    }
    let text = match i32::try_from(status).unwrap_or(0) {
        sys::WEIR_E_INVAL => "an argument is out of range",
        sys::WEIR_E_VERSION => "it is another version",
        sys::WEIR_E_NOSPACE => "the reply does not fit",
        sys::WEIR_E_UNSUPPORTED => "it does not know the command",
        _ => "it failed",
    };
    bail!("the driver answered: {text} ({status})")
}

/// The core's counters, of one queue or summed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    values: Vec<u64>,
}

/// Order of the fields of `weir_counters`, checked against the header's layout below.
const FIELDS: [&str; 24] = [
    "rx_frames",
    "rx_bytes",
    "rx_delivered",
    "rx_consumed",
    "rx_held",
    "rx_multicast",
    "tx_dequeued",
    "tx_bytes",
    "tx_sent",
    "tx_consumed",
    "tx_held",
    "tx_in_flight",
    "rx_injected",
    "tx_injected",
    "pool_free",
    "pool_posted",
    "pool_held",
    "rx_lent",
    "bursts_rx",
    "bursts_tx",
    "wakes",
    "misuse",
    "events_lost",
    "steered",
];
const REASONS: usize = sys::WEIR_DROP_REASONS as usize;
const _: () = assert!(size_of::<sys::weir_counters>() == (FIELDS.len() + 2 * REASONS) * 8);

impl Counters {
    /// The counter of this name in `weir_counters`; 0 for a name that is not there.
    pub fn get(&self, name: &str) -> u64 {
        let index = FIELDS.iter().position(|field| *field == name);
        index.and_then(|index| self.values.get(index)).copied().unwrap_or(0)
    }

    /// Every counter with its name.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        FIELDS.into_iter().zip(self.values.iter().copied())
    }

    /// Frames dropped on receive (`false`) or transmit (`true`), by reason; reasons that did not occur are left out.
    pub fn dropped(&self, transmit: bool) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let start = FIELDS.len() + if transmit { REASONS } else { 0 };
        (0..REASONS).filter_map(move |reason| {
            let count = self.values.get(start + reason).copied().unwrap_or(0);
            (count > 0).then(|| (drop_name(reason), count))
        })
    }

    /// Sum of all reasons of one direction.
    pub fn dropped_total(&self, transmit: bool) -> u64 {
        self.dropped(transmit).map(|(_, count)| count).sum()
    }

    /// `Ok` if every frame ended in exactly one outcome and every buffer is somewhere; else the identity that fails.
    ///
    /// # Errors
    /// The first identity that does not hold, with its numbers.
    pub fn check(&self) -> Result<()> {
        let get = |name| self.get(name);
        let rx = get("rx_delivered") + get("rx_consumed") + get("rx_held") + self.dropped_total(false);
        if get("rx_frames") != rx {
            bail!("rx frames {} != delivered + consumed + held + dropped {rx}", get("rx_frames"));
        }
        let tx = get("tx_sent") + get("tx_consumed") + get("tx_held") + get("tx_in_flight") + self.dropped_total(true);
        if get("tx_dequeued") != tx {
            bail!("tx dequeued {} != sent + consumed + held + in flight + dropped {tx}", get("tx_dequeued"));
        }
        let pool = get("pool_free") + get("pool_posted") + get("pool_held");
        if get("rx_lent") != pool {
            bail!("buffers lent {} != free + posted + held {pool}", get("rx_lent"));
        }
        if get("misuse") != 0 {
            bail!("the core was misused {} times", get("misuse"));
        }
        Ok(())
    }
}

/// Name of a drop reason, pf's where pf has one.
pub fn drop_name(reason: usize) -> &'static str {
    DropReason::ALL.get(reason).map_or("unknown", |reason| reason.name())
}

/// What one rule did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleCounters {
    /// Rule number, from 0, in the order of evaluation.
    pub number: usize,
    /// Normal form.
    pub text: String,
    /// Times the rule was looked at.
    pub evaluations: u64,
    /// Frames for which it was the deciding rule.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// States that it holds.
    pub states: u64,
}

/// The driver as `WEIR_CMD_INFO` describes it.
#[derive(Clone, Debug, Default)]
pub struct Info {
    /// Queue pairs.
    pub queues: u32,
    /// `WEIR_MODE_*`.
    pub mode: u32,
    /// Bytes.
    pub mtu: u32,
    /// 0 = no ruleset was loaded yet.
    pub epoch: u64,
    /// Rules in the running ruleset.
    pub rules: u32,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Between `setInterfaceEnable(true)` and `(false)`.
    pub enabled: bool,
    /// BSD name.
    pub name: String,
    /// Carrier.
    pub link_up: bool,
    /// The core's version.
    pub version: String,
}

/// Commands over a transport.
pub struct Control<T> {
    transport: T,
}

/// Room for any reply that is not a list.
const REPLY: usize = 4096;
/// Room for lists: rule counters, rule text, events.
const LIST: usize = 48 * 1024;

impl<T: Transport> Control<T> {
    /// Commands go through `transport`.
    pub fn new(transport: T) -> Self {
        Self { transport }
    }

    /// What carries the commands.
    #[cfg(target_os = "linux")]
    pub fn transport(&self) -> &T {
        &self.transport
    }

    fn send(&mut self, command: u32, arg: u64, payload: &[u8], capacity: usize) -> Result<Vec<u8>> {
        let mut request = Vec::with_capacity(size_of::<sys::weir_cmd>() + payload.len());
        request.extend(sys::WEIR_ABI_VERSION.to_ne_bytes());
        request.extend(command.to_ne_bytes());
        request.extend(arg.to_ne_bytes());
        request.extend(payload);
        self.transport.command(&request, capacity)
    }

    /// Counters of `queue`, or summed over all.
    ///
    /// # Errors
    /// The driver is gone, or its reply has another size.
    pub fn counters(&mut self, queue: Option<u32>) -> Result<Counters> {
        let arg = queue.unwrap_or(sys::WEIR_ALL_QUEUES);
        let reply = self.send(sys::WEIR_CMD_COUNTERS, arg.into(), &[], REPLY)?;
        let values: Vec<u64> = words(&reply).collect();
        if values.len() != FIELDS.len() + 2 * REASONS {
            bail!("the driver's counters have {} bytes; is it another version?", reply.len());
        }
        Ok(Counters { values })
    }

    /// Loads a compiled ruleset. The running one stays if this fails.
    ///
    /// # Errors
    /// The core's reason for refusing the image.
    pub fn load(&mut self, image: &[u8]) -> Result<u64> {
        let reply = self.send(sys::WEIR_CMD_RULESET_LOAD, 0, image, REPLY)?;
        loaded(&reply)
    }

    /// One of the commands about tables, states and anchors, with its request as the header describes it.
    ///
    /// # Errors
    /// The driver refused the command or is gone.
    pub fn filter_command(&mut self, command: u32, arg: u64, request: &[u8]) -> Result<Vec<u8>> {
        self.send(command, arg, request, LIST)
    }

    /// Loads rules into an anchor: its path and a compiled ruleset, whose root they are.
    ///
    /// # Errors
    /// The core's reason for refusing the image.
    pub fn load_anchor(&mut self, request: &[u8]) -> Result<u64> {
        let reply = self.send(sys::WEIR_CMD_ANCHOR_LOAD, 0, request, REPLY)?;
        loaded(&reply)
    }

    /// Removes the ruleset: every well-formed frame passes.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn clear(&mut self) -> Result<()> {
        self.send(sys::WEIR_CMD_RULESET_CLEAR, 0, &[], REPLY).map(drop)
    }

    /// Filter, bypass or block.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn set_mode(&mut self, mode: u32) -> Result<()> {
        self.send(sys::WEIR_CMD_MODE, mode.into(), &[], REPLY).map(drop)
    }

    /// The driver's state.
    ///
    /// # Errors
    /// The driver is gone, or its reply is shorter than it should be.
    pub fn info(&mut self) -> Result<Info> {
        let reply = self.send(sys::WEIR_CMD_INFO, 0, &[], REPLY)?;
        let mut reader = Reader(&reply);
        let _abi = reader.u32()?;
        let (queues, mode, mtu) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (epoch, rules, _offloads) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let mac = reader.take(6)?.try_into().unwrap_or_default();
        let enabled = reader.take(1)? != [0];
        let _promiscuous = reader.take(1)?;
        let _multicast = reader.u32()?;
        let name = reader.text(16)?;
        let _padding = reader.take(4)?;
        let link_up = reader.u32()? != 0;
        let _duplex = reader.u32()?;
        let _speed = reader.u64()?;
        Ok(Info { queues, mode, mtu, epoch, rules, mac, enabled, name, link_up, version: reader.text(32)? })
    }

    /// What moving frames cost the adapter: names and counts, in the order of `weir_nic_stats`.
    ///
    /// # Errors
    /// The driver is gone, or its reply is shorter than it should be.
    pub fn nic_stats(&mut self) -> Result<Vec<(&'static str, u64)>> {
        const NAMES: [&str; 13] = [
            "doorbells",
            "interrupts",
            "registers",
            "transfers_in",
            "transfers_out",
            "frames_in",
            "frames_out",
            "copies",
            "stalls",
            "recoveries",
            "timeouts",
            "device_errors",
            "empty_transfers",
        ];
        let reply = self.send(sys::WEIR_CMD_NIC_STATS, 0, &[], REPLY)?;
        let mut reader = Reader(&reply);
        NAMES.into_iter().map(|name| Ok((name, reader.u64()?))).collect()
    }

    /// Every rule with its text and counters.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn rules(&mut self) -> Result<Vec<RuleCounters>> {
        let count = self.info()?.rules as usize;
        let mut rules: Vec<RuleCounters> = Vec::with_capacity(count);
        while rules.len() < count {
            let reply = self.send(sys::WEIR_CMD_RULE_COUNTERS, rules.len() as u64, &[], LIST)?;
            let values: Vec<u64> = words(&reply).collect();
            let before = rules.len();
            rules.extend(values.chunks_exact(4).enumerate().map(|(index, chunk)| RuleCounters {
                number: before + index,
                text: String::new(),
                evaluations: chunk.first().copied().unwrap_or(0),
                packets: chunk.get(1).copied().unwrap_or(0),
                bytes: chunk.get(2).copied().unwrap_or(0),
                states: chunk.get(3).copied().unwrap_or(0),
            }));
            if rules.len() == before {
                break; // another load came in between and there are fewer now
            }
        }
        let mut next = 0;
        while next < rules.len() {
            let reply = self.send(sys::WEIR_CMD_RULESET_TEXT, next as u64, &[], LIST)?;
            let before = next;
            for line in String::from_utf8_lossy(&reply).lines() {
                if let Some(rule) = rules.get_mut(next) {
                    rule.text = line.to_owned();
                }
                next += 1;
            }
            if next == before {
                break;
            }
        }
        Ok(rules)
    }

    /// Takes the events that wait in the ring.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        let reply = self.send(sys::WEIR_CMD_EVENTS, 0, &[], LIST)?;
        reply.chunks_exact(size_of::<sys::weir_event>()).map(Event::decode).collect()
    }

    /// Who watches.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn taps(&mut self) -> Result<Vec<Tap>> {
        let reply = self.send(sys::WEIR_CMD_TAPS, 0, &[], REPLY)?;
        let tap = |bytes: &[u8]| -> Result<Tap> {
            let mut reader = Reader(bytes);
            let (kinds, snaplen) = (reader.u32()?, reader.u32()?);
            Ok(Tap { kinds, snaplen, seen: reader.u64()?, kept: reader.u64()?, lost: reader.u64()? })
        };
        reply.chunks_exact(size_of::<sys::weir_tap_info>()).map(tap).collect()
    }

    /// The driver's clock, in nanoseconds.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn clock(&mut self) -> Result<u64> {
        let reply = self.send(sys::WEIR_CMD_CLOCK, 0, &[], REPLY)?;
        words(&reply).next().context("the driver does not tell the time")
    }

    /// Buckets of one histogram, and the sum of its values.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn histogram(&mut self, which: u32) -> Result<(Vec<u64>, u64)> {
        let reply = self.send(sys::WEIR_CMD_HISTOGRAM, which.into(), &[], REPLY)?;
        let mut buckets: Vec<u64> = words(&reply).collect();
        let sum = buckets.pop().context("the driver's histogram is empty")?;
        Ok((buckets, sum))
    }
}

/// One event of the ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Monotonic nanoseconds of the driver's clock.
    pub time_ns: u64,
    /// `WEIR_EVENT_*`.
    pub kind: u32,
    /// Rule number; `None` = no rule.
    pub rule: Option<u32>,
    /// 1 in, 2 out.
    pub direction: u8,
    /// 0 pass, 1 block.
    pub action: u8,
    /// IP protocol, 255 = not IP.
    pub protocol: u8,
    /// `addr` or `addr:port`, in pf's and tcpdump's spelling.
    pub source: String,
    /// Likewise.
    pub destination: String,
    /// Bytes.
    pub len: u16,
}

impl Event {
    /// Reads a `weir_event`.
    ///
    /// # Errors
    /// It is too short.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        let (time_ns, kind, rule) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let (direction, action, _reason, protocol) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
        let (_ethertype, _vlan) = (reader.u16()?, reader.u16()?);
        let (sport, dport, len) = (reader.u16()?, reader.u16()?, reader.u16()?);
        let (family, _) = (reader.u8()?, reader.u8()?);
        let source = address(family, reader.take(16)?, sport);
        let destination = address(family, reader.take(16)?, dport);
        let rule = (rule != u32::MAX).then_some(rule);
        Ok(Self { time_ns, kind, rule, direction, action, protocol, source, destination, len })
    }
}

fn address(family: u8, bytes: &[u8], port: u16) -> String {
    let host = match family {
        4 => {
            <[u8; 4]>::try_from(bytes.get(..4).unwrap_or_default()).ok().map(|b| std::net::IpAddr::from(b).to_string())
        }
        6 => <[u8; 16]>::try_from(bytes).ok().map(|b| format!("[{}]", std::net::Ipv6Addr::from(b))),
        _ => None,
    };
    match (host, port) {
        (Some(host), 0) => host,
        (Some(host), port) => format!("{host}:{port}"),
        (None, _) => String::from("-"),
    }
}

/// The epoch of a `weir_load_result`, or why there is none.
fn loaded(reply: &[u8]) -> Result<u64> {
    let mut reader = Reader(reply);
    let (epoch, _rules, error, at) = (reader.u64()?, reader.u32()?, reader.u32()?, reader.u64()?);
    if error != 0 {
        bail!("the driver refused the ruleset at byte {at}: {}", reader.text(112)?);
    }
    Ok(epoch)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|chunk| u64::from_ne_bytes(chunk.try_into().unwrap_or_default()))
}

/// Fields of a plain struct, in order.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n).context("the driver's reply is too short")?;
        self.0 = tail;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or(0))
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_ne_bytes(self.take(2)?.try_into()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_ne_bytes(self.take(4)?.try_into()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_ne_bytes(self.take(8)?.try_into()?))
    }

    /// A NUL-terminated text in a field of `n` bytes.
    fn text(&mut self, n: usize) -> Result<String> {
        let field = self.take(n)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(n);
        Ok(String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned())
    }
}
