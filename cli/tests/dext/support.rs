//! A NIC under test, hand-made frames, and the checks that hold at every quiescent moment.

use std::sync::{Arc, Mutex};

// Linked for the symbols that the dext refers to.
use weir_core::abi::sys;
use weir_host::port::{Offload, Port, RxFrame, Sink, TxFrame};
use weir_host::{Call, FinalReport, Host, HostConfig, IoReturn, Prop, Properties, Reply, Report, Service, UserClient};

/// Selectors and types of dext/weir_client.h.
pub const COMMAND: u64 = 0;
pub const OPEN_WIRE: u64 = 1;
pub const KICK_WIRE: u64 = 2;
pub const NOTIFY: u64 = 3;
pub const SET_LINK: u64 = 4;
pub const GLUE_COUNTERS: u64 = 5;
pub const OPEN_TAP: u64 = 6;
pub const CLOSE_TAP: u64 = 7;
pub const CONTROL_CLIENT: u32 = 0;
pub const WIRE_CLIENT: u32 = 1;

pub const LOCAL_IP: [u8; 4] = [192, 0, 2, 1];
pub const FAR_IP: [u8; 4] = [192, 0, 2, 99];

/// kIOServicePowerCapabilityOn and ...Off.
pub const POWER_ON: u32 = 2;
pub const POWER_OFF: u32 = 0;

/// A host that tolerates nothing.
pub fn strict(seed: u64) -> HostConfig {
    HostConfig { strict_leaks: true, ..HostConfig::simulated(seed) }
}

/// A personality as in Info.plist, with the given keys on top.
pub fn personality(wire: &str, more: &[(&str, Prop)]) -> Properties {
    let client: Properties = [("IOClass", "IOUserUserClient"), ("IOUserClass", "WeirUserClient")]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Prop::from(value)))
        .collect();
    let mut all = Properties::new();
    all.insert("WeirWire".into(), wire.into());
    all.insert("WeirSeed".into(), 7u64.into());
    all.insert("UserClientProperties".into(), client.into());
    all.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    all
}

/// Entitlements of a program that may write.
pub fn writer() -> Properties {
    Properties::from([("dev.weir.control".to_owned(), Prop::Bool(true))])
}

/// What arrived, with its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub queue: usize,
    pub bytes: Vec<u8>,
    pub offload: Offload,
}

#[derive(Default)]
struct Collector(Mutex<Vec<Received>>);

impl Sink for Collector {
    fn deliver(&self, queue: usize, frames: &[RxFrame<'_>]) {
        let mut list = self.0.lock().unwrap();
        list.extend(frames.iter().map(|f| Received { queue, bytes: f.bytes.to_vec(), offload: f.offload }));
    }
}

/// A booted NIC with its stack side in the test's hands.
pub struct Nic {
    pub service: Service,
    pub port: Arc<dyn Port>,
    received: Arc<Collector>,
}

impl Nic {
    pub fn boot(host: &Host, properties: Properties) -> Nic {
        Nic::of(host.boot("WeirEthernet", properties).unwrap_or_else(|e| panic!("boot: {e}")))
    }

    pub fn of(service: Service) -> Nic {
        let port = service.port().unwrap();
        let received = Arc::new(Collector::default());
        port.set_sink(Some(received.clone()));
        Nic { service, port, received }
    }

    /// Boots and brings up.
    pub fn up(host: &Host, properties: Properties) -> Nic {
        let nic = Nic::boot(host, properties);
        nic.service.set_enabled(true).unwrap();
        host.run_until_idle();
        nic
    }

    pub fn mac(&self) -> [u8; 6] {
        self.port.info().mac
    }

    /// Sends one frame; false if there was no packet or no room for it.
    pub fn send(&self, queue: usize, frame: &[u8], offload: Offload) -> bool {
        let Some(mut packet) = self.port.tx_alloc() else { return false };
        packet.buffer()[..frame.len()].copy_from_slice(frame);
        packet.finish(frame.len(), offload);
        let mut list: Vec<Box<dyn TxFrame>> = vec![packet];
        self.port.tx_submit(queue, &mut list);
        list.is_empty()
    }

    /// Everything that arrived since the last call.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.0.lock().unwrap())
    }

    pub fn client(&self, kind: u32, entitlements: Properties) -> Result<UserClient, IoReturn> {
        self.service.open_user_client(kind, entitlements, None)
    }

    /// The core's counters, summed.
    pub fn counters(&self) -> Counters {
        let client = self.client(CONTROL_CLIENT, Properties::new()).unwrap();
        let len = size_of::<sys::weir_counters>();
        let request = command_bytes(sys::WEIR_CMD_COUNTERS, u64::from(sys::WEIR_ALL_QUEUES), &[]);
        let (status, reply) = command(&client, request, len);
        assert_eq!(status, 0);
        Counters(words(&reply))
    }

    pub fn glue_counters(&self) -> GlueCounters {
        let client = self.client(CONTROL_CLIENT, Properties::new()).unwrap();
        let reply = client.call(Call { selector: GLUE_COUNTERS, output_max: 14 * 8, ..Call::default() }).unwrap();
        assert_eq!(reply.status, IoReturn::SUCCESS);
        GlueCounters(words(&reply.output))
    }

    /// Accounting identities of core and glue, at rest.
    pub fn check(&self) {
        self.counters().check();
        self.glue_counters().check();
    }

    /// Stops and asserts that nothing stays behind.
    pub fn terminate(self) -> Report {
        self.port.set_sink(None);
        drop(self.port);
        let report = self.service.terminate();
        assert_eq!(report.stop, IoReturn::SUCCESS);
        assert!(report.finished && report.freed, "{report:?}");
        assert_eq!(report.leaked_packets, 0, "{report:?}");
        report
    }
}

/// Ends the host; the host itself aborts on the first broken rule.
pub fn finish(host: Host) {
    let FinalReport { leaks, violations } = host.finish();
    assert!(leaks.is_empty() && violations.is_empty(), "{leaks:?} {violations:?}");
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|c| u64::from_ne_bytes(c.try_into().unwrap())).collect()
}

/// `weir_counters` in the header's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters(Vec<u64>);

impl Counters {
    const FIELDS: usize = 24;

    pub fn rx_delivered(&self) -> u64 {
        self.0[2]
    }
    pub fn tx_sent(&self) -> u64 {
        self.0[8]
    }
    pub fn misuse(&self) -> u64 {
        self.0[21]
    }
    fn dropped(&self, tx: bool) -> &[u64] {
        let reasons = sys::WEIR_DROP_REASONS as usize;
        let at = Self::FIELDS + if tx { reasons } else { 0 };
        &self.0[at..at + reasons]
    }
    pub fn rx_dropped_total(&self) -> u64 {
        self.dropped(false).iter().sum()
    }
    pub fn tx_dropped_total(&self) -> u64 {
        self.dropped(true).iter().sum()
    }
    pub fn tx_dropped(&self, reason: u32) -> u64 {
        self.dropped(true)[reason as usize]
    }

    /// The identities of dext/weir_core.h.
    pub fn check(&self) {
        let [
            rx_frames,
            _,
            delivered,
            rx_consumed,
            rx_held,
            _,
            tx_dequeued,
            _,
            tx_sent,
            tx_consumed,
            tx_held,
            in_flight,
        ] = self.0[..12]
        else {
            panic!("{self:?}")
        };
        let rx_dropped: u64 = self.dropped(false).iter().sum();
        let tx_dropped: u64 = self.dropped(true).iter().sum();
        assert_eq!(rx_frames, delivered + rx_consumed + rx_held + rx_dropped, "{self:?}");
        assert_eq!(tx_dequeued, tx_sent + tx_consumed + tx_held + in_flight + tx_dropped, "{self:?}");
        let [free, posted, held, lent] = self.0[14..18] else { panic!("{self:?}") };
        assert_eq!(lent, free + posted + held, "{self:?}");
        assert_eq!(self.misuse(), 0, "{self:?}");
    }
}

/// `weir_glue_counters` in the header's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlueCounters(Vec<u64>);

impl GlueCounters {
    pub fn in_flight(&self) -> u64 {
        self.0[12]
    }

    pub fn check(&self) {
        let [txd, txc, rxd, rxc, tx_back, rx_back, bad @ ..] =
            self.0[..6 + 5].try_into().map(|a: [u64; 11]| a).unwrap();
        assert_eq!(txd + rxd, txc + tx_back + rxc + rx_back + self.in_flight(), "{self:?}");
        assert_eq!(bad, [0; 5], "{self:?}");
    }
}

/// `weir_tap_config` without a program.
pub fn tap_request(kinds: u32, ring_bytes: u32) -> Vec<u8> {
    [sys::WEIR_ABI_VERSION, kinds, 0, ring_bytes, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `weir_cmd` and a payload.
pub fn command_bytes(number: u32, arg: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = sys::WEIR_ABI_VERSION.to_ne_bytes().to_vec();
    bytes.extend(number.to_ne_bytes());
    bytes.extend(arg.to_ne_bytes());
    bytes.extend(payload);
    bytes
}

pub fn command_call(client: &UserClient, request: Vec<u8>, room: usize) -> Reply {
    let call =
        Call { selector: COMMAND, input: Some(request), scalars_out: 2, output_max: room as u64, ..Call::default() };
    client.call(call).unwrap()
}

/// Status and reply of a command that reached the core.
pub fn command(client: &UserClient, request: Vec<u8>, room: usize) -> (i64, Vec<u8>) {
    let reply = command_call(client, request, room);
    assert_eq!(reply.status, IoReturn::SUCCESS);
    let len = usize::try_from(reply.scalars[1]).unwrap();
    let mut output = reply.output;
    output.truncate(len);
    (reply.scalars[0].cast_signed(), output)
}

// ---- frames ----

fn sum16(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

pub fn ethernet(dst: [u8; 6], src: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&dst[..], &src, &ethertype.to_be_bytes(), payload].concat()
}

pub fn ipv4(src: [u8; 4], dst: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let mut header = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0];
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header.extend(src);
    header.extend(dst);
    let sum = !sum16(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(payload);
    header
}

/// An ICMP echo request with `data` bytes.
pub fn ping(dst: [u8; 6], src: [u8; 6], sequence: u16, data: usize) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 0x77, 0x77];
    icmp.extend(sequence.to_be_bytes());
    icmp.extend((0..data).map(|i| i as u8));
    let sum = !sum16(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    ethernet(dst, src, 0x0800, &ipv4(LOCAL_IP, FAR_IP, 1, &icmp))
}

/// A UDP datagram whose checksum is left to the NIC, with the offload that says so.
pub fn udp_partial(dst: [u8; 6], src: [u8; 6], ports: (u16, u16), data: &[u8]) -> (Vec<u8>, Offload) {
    let len = (8 + data.len()) as u16;
    let mut udp = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
    let pseudo = [&LOCAL_IP[..], &FAR_IP, &[0, 17], &len.to_be_bytes()].concat();
    udp[6..8].copy_from_slice(&sum16(&pseudo).to_be_bytes());
    udp.extend(data);
    let frame = ethernet(dst, src, 0x0800, &ipv4(LOCAL_IP, FAR_IP, 17, &udp));
    (frame, Offload { partial_csum: Some((34, 40)), ..Offload::default() })
}

/// A TCP super-frame of `data` bytes that the NIC is to cut into segments of `mss`.
pub fn tcp_super(dst: [u8; 6], src: [u8; 6], data: &[u8], mss: u16) -> (Vec<u8>, Offload) {
    let len = (20 + data.len()) as u16;
    let mut tcp = vec![0x0f, 0xa0, 0x0f, 0xa1, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    let pseudo = [&LOCAL_IP[..], &FAR_IP, &[0, 6], &len.to_be_bytes()].concat();
    tcp[16..18].copy_from_slice(&sum16(&pseudo).to_be_bytes());
    tcp.extend(data);
    let frame = ethernet(dst, src, 0x0800, &ipv4(LOCAL_IP, FAR_IP, 6, &tcp));
    (frame, Offload { partial_csum: Some((34, 50)), mss, ..Offload::default() })
}

pub fn arp_request(src: [u8; 6]) -> Vec<u8> {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(src);
    arp.extend(LOCAL_IP);
    arp.extend([0; 6]);
    arp.extend(FAR_IP);
    ethernet([0xff; 6], src, 0x0806, &arp)
}

/// The reply that `frame`, an echo request with `sequence`, should have had.
pub fn is_pong(frame: &[u8], sequence: u16) -> bool {
    frame.len() >= 42 && frame[23] == 1 && frame[34] == 0 && frame[40..42] == sequence.to_be_bytes()
}

/// The far end's hardware address, by ARP.
pub fn resolve(host: &Host, nic: &Nic) -> [u8; 6] {
    assert!(nic.send(0, &arp_request(nic.mac()), Offload::default()));
    host.run_until_idle();
    let reply = nic.take();
    assert_eq!(reply.len(), 1, "one ARP reply");
    assert_eq!(reply[0].bytes[20..22], [0, 2], "an ARP reply");
    reply[0].bytes[6..12].try_into().unwrap()
}
