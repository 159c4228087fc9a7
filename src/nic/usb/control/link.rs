//! One class's way of setting a device up.

use alloc::boxed::Box;

use super::requests::{self, Requests};
use crate::nic::usb::descriptor::{Kind, Plan, is_station, mac_of_string};
use crate::nic::usb::ecm::Ecm;
use crate::nic::usb::framing::Framing;
use crate::nic::usb::ncm::{Decoder, Encoder, Layout, Ncm, Parameters};
use crate::nic::usb::rndis::message::{
    Limits, OID_CONNECT_STATUS, OID_CURRENT_ADDRESS, OID_LINK_SPEED, OID_MAXIMUM_FRAME_SIZE, OID_MULTICAST_LIST,
    OID_PERMANENT_ADDRESS,
};
use crate::nic::usb::rndis::packet::{HEAD, RndisFraming};
use crate::nic::usb::rndis::session::Session;
use crate::nic::usb::{Bus, SLOTS_MAX, TransferError, UsbConfig};
use crate::nic::{MulticastList, NicError};

/// Longest transfer that is asked for or made: what hosts in the field use, and enough for twenty full frames.
const TRANSFER_MAX: usize = 32 * 1024;
/// Slots of the pipes whose transfers hold many frames.
const MANY_SLOTS: usize = 8;
/// Ethernet header and one 802.1Q tag, bytes.
const OVERHEAD: u32 = 18;
/// Bytes of a frame that no configured MTU exceeds.
const FRAME_MAX: u32 = crate::nic::MTU_MAX + OVERHEAD;
/// How often an RNDIS device is asked whether it lives (MS-RNDIS 3.1.2: the host's choice; Windows takes 5 s).
const KEEPALIVE_NS: u64 = 5_000_000_000;
// NDIS packet filter bits (MS-RNDIS 2.2.1.3 refers to NDIS).
const NDIS_DIRECTED: u32 = 1;
const NDIS_MULTICAST: u32 = 2;
const NDIS_ALL_MULTICAST: u32 = 4;
const NDIS_BROADCAST: u32 = 8;
const NDIS_PROMISCUOUS: u32 = 0x20;

/// What the interface is to be like.
pub struct Wanted<'a> {
    pub mtu: u32,
    pub promiscuous: bool,
    pub all_multicast: bool,
    pub multicast: &'a MulticastList,
}

/// What a NIC of the device looks like.
pub struct Sizes {
    pub mac: [u8; 6],
    pub in_slots: usize,
    pub in_len: usize,
    pub out_slots: usize,
    pub out_len: usize,
    pub framing: Framing,
}

enum Class {
    Ncm { parameters: Option<Parameters>, wide: bool, crc: bool },
    Ecm,
    Rndis { session: Session, limits: Option<Limits> },
}

/// See the module.
pub struct Link {
    bus: Bus,
    plan: Plan,
    requests: Requests,
    class: Class,
    in_len: usize,
    /// `SET_NET_ADDRESS` is due at every start.
    own_mac: Option<[u8; 6]>,
}

fn unusable(error: TransferError) -> NicError {
    NicError::State(match error {
        TransferError::Stall => "the device refuses a request that its class demands",
        TransferError::Timeout => "the device does not answer",
        TransferError::Gone => "the device was unplugged",
        TransferError::Aborted | TransferError::Failed => "a request to the device failed",
    })
}

/// A mix whose every output bit depends on every input bit (splitmix64's finaliser).
fn made_up_mac(seed: u64) -> [u8; 6] {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let [a, b, c, d, e, f, ..] = x.to_le_bytes();
    // Locally administered (IEEE 802 clause 8.2).
    [a & 0xfc | 2, b, c, d, e, f]
}

impl Link {
    /// For a function that nothing was asked of yet.
    pub fn new(bus: Bus, plan: Plan) -> Self {
        let class = match plan.kind {
            Kind::Ncm => Class::Ncm { parameters: None, wide: false, crc: false },
            Kind::Ecm => Class::Ecm,
            Kind::Rndis => Class::Rndis { session: Session::new(bus.clone(), plan.control_interface), limits: None },
        };
        let requests = Requests::new(bus.clone(), plan.control_interface);
        Self { bus, plan, requests, class, in_len: 0, own_mac: None }
    }

    /// Asks the device what it is; it stays at rest. Allocates; called at Start.
    ///
    /// # Errors
    /// It does not answer as its class demands.
    pub fn identify(&mut self, config: &UsbConfig) -> Result<Sizes, NicError> {
        let frame = (config.mtu_max + OVERHEAD).min(FRAME_MAX) as usize;
        let round = |len: usize, packet: u16| len.next_multiple_of(usize::from(packet).max(1));
        let plan = self.plan;
        let mut sizes = match &mut self.class {
            Class::Ncm { parameters, wide, crc } => {
                let mut buffer = [0; 28];
                let answer = self.requests.ntb_parameters(&mut buffer).map_err(unusable)?;
                let asked =
                    Parameters::parse(answer).ok_or(NicError::State("the device's NTB parameters make no sense"))?;
                *parameters = Some(asked);
                *wide = asked.has_ntb32 && !plan.ntb16;
                *crc = plan.crc && plan.ncm_capabilities & requests::HAS_CRC_MODE != 0;
                let in_len = TRANSFER_MAX.min(asked.in_max as usize);
                let layout = Layout::new(&asked, *wide, *crc, TRANSFER_MAX);
                Sizes {
                    mac: [0; 6],
                    in_slots: MANY_SLOTS,
                    in_len,
                    out_slots: MANY_SLOTS,
                    out_len: layout.max,
                    framing: Framing::Ncm(Box::new(Ncm {
                        decoder: Decoder::new(in_len),
                        encoder: Encoder::new(layout),
                    })),
                }
            }
            Class::Ecm => {
                // A frame that fills its last packet exactly is followed by an empty packet: room for it.
                let len = frame.max(plan.max_segment.into()).saturating_add(1);
                Sizes {
                    mac: [0; 6],
                    in_slots: SLOTS_MAX,
                    in_len: round(len, plan.packet_in),
                    out_slots: SLOTS_MAX,
                    out_len: frame,
                    framing: Framing::Ecm(Ecm::default()),
                }
            }
            Class::Rndis { session, limits } => {
                let asked = session.initialize(TRANSFER_MAX as u32 / 2).map_err(unusable)?;
                if (asked.transfer as usize) < frame + HEAD {
                    return Err(NicError::State("the device takes no transfer that is long enough for a frame"));
                }
                *limits = Some(asked);
                let mac = session.query(OID_PERMANENT_ADDRESS, |value| value.first_chunk().copied());
                Sizes {
                    mac: mac.ok().filter(|mac| is_station(*mac)).unwrap_or([0; 6]),
                    in_slots: MANY_SLOTS,
                    in_len: TRANSFER_MAX / 2,
                    out_slots: MANY_SLOTS,
                    out_len: (asked.transfer as usize).min(TRANSFER_MAX / 2),
                    framing: Framing::Rndis(RndisFraming::new(asked)),
                }
            }
        };
        self.in_len = sizes.in_len;
        if is_station(config.mac) {
            self.own_mac = Some(config.mac);
            sizes.mac = config.mac;
        } else if sizes.mac == [0; 6] {
            let mut buffer = [0; 255];
            let string = match plan.mac_string {
                0 => None,
                index => self.requests.string(index, &mut buffer).ok(),
            };
            // A device without a usable address gets one: it can still carry frames.
            sizes.mac = string.and_then(mac_of_string).unwrap_or_else(|| made_up_mac(config.seed));
        }
        Ok(sizes)
    }

    /// Sets everything up and lets frames flow. Whether the cable is plugged, if the class can tell.
    ///
    /// # Errors
    /// The device does not answer as its class demands, or is not what it was.
    pub fn start(&mut self, wanted: &Wanted<'_>) -> Result<Option<bool>, NicError> {
        let mut connected = None;
        if self.plan.idle_alternate != self.plan.data_alternate {
            // NCM 1.0 section 7.2: the setting without endpoints resets the function.
            self.bus.ops.set_alternate(self.plan.idle_alternate).map_err(unusable)?;
        }
        match &mut self.class {
            Class::Ncm { parameters, wide, crc } => {
                let mut buffer = [0; 28];
                let answer = self.requests.ntb_parameters(&mut buffer).map_err(unusable)?;
                if Parameters::parse(answer) != *parameters {
                    return Err(NicError::State("the device's NTB parameters changed"));
                }
                let has = |bit: u8| self.plan.ncm_capabilities & bit != 0;
                // NCM 1.0 section 6.2: all of these come before the data setting is selected.
                if has(requests::HAS_CRC_MODE) {
                    self.requests.set_crc_mode(*crc).map_err(unusable)?;
                }
                if parameters.is_some_and(|parameters| parameters.has_ntb32) {
                    self.requests.set_ntb_format(*wide).map_err(unusable)?;
                }
                let long = has(requests::HAS_LONG_INPUT_SIZE);
                self.requests.set_ntb_input_size(self.in_len as u32, long).map_err(unusable)?;
                if has(requests::HAS_DATAGRAM_SIZE) {
                    let size = u16::try_from(wanted.mtu + OVERHEAD).unwrap_or(u16::MAX);
                    // The device may keep its own limit; frames that are too long are its loss.
                    let _ = self.requests.set_max_datagram_size(size);
                }
                if let (Some(mac), true) = (self.own_mac, has(requests::HAS_NET_ADDRESS)) {
                    let _ = self.requests.set_net_address(mac);
                }
            }
            Class::Ecm => {}
            Class::Rndis { session, limits } => {
                let asked = session.initialize(TRANSFER_MAX as u32 / 2).map_err(unusable)?;
                if Some(asked) != *limits {
                    return Err(NicError::State("the device's transfer limits changed"));
                }
                if let Some(mac) = self.own_mac {
                    let _ = session.set(OID_CURRENT_ADDRESS, &mac);
                }
                // Both are informative: a device need not know them.
                let _ = session.query(OID_MAXIMUM_FRAME_SIZE, |value| (value.len() >= 4).then_some(()));
                let _ = session.query(OID_LINK_SPEED, |value| (value.len() >= 4).then_some(()));
                let status = session.query(OID_CONNECT_STATUS, |value| value.first_chunk().copied());
                // One that does not say is taken to be plugged: it need not tell of what did not change.
                connected = Some(status.map_or(true, |value| u32::from_le_bytes(value) == 0));
            }
        }
        self.bus.ops.set_alternate(self.plan.data_alternate).map_err(unusable)?;
        let filtered = self.set_filter(wanted);
        if self.plan.kind == Kind::Rndis {
            // Without it nothing flows (MS-RNDIS 3.2.5).
            filtered.map_err(unusable)?;
        }
        let heard = self.heard_connected();
        Ok(heard.or(connected))
    }

    /// Puts the function to rest.
    pub fn stop(&mut self) {
        if let Class::Rndis { session, .. } = &mut self.class {
            session.halt();
        }
        if self.plan.idle_alternate != self.plan.data_alternate {
            let _ = self.bus.ops.set_alternate(self.plan.idle_alternate);
        }
    }

    /// Tells the device which frames to let through.
    ///
    /// # Errors
    /// It cannot be told, or does not answer.
    pub fn set_filter(&mut self, wanted: &Wanted<'_>) -> Result<(), TransferError> {
        let listed = !wanted.multicast.is_empty();
        match &mut self.class {
            Class::Rndis { session, .. } => {
                let mut filter = NDIS_DIRECTED | NDIS_BROADCAST;
                let mut list = heapless::Vec::<u8, { 6 * 32 }>::new();
                let fits = wanted.multicast.iter().all(|mac| list.extend_from_slice(mac).is_ok());
                if wanted.all_multicast || (listed && (!fits || session.set(OID_MULTICAST_LIST, &list).is_err())) {
                    filter |= NDIS_ALL_MULTICAST;
                } else if listed {
                    filter |= NDIS_MULTICAST;
                }
                if wanted.promiscuous {
                    filter |= NDIS_PROMISCUOUS;
                }
                session.set_filter(filter)
            }
            Class::Ncm { .. } | Class::Ecm => {
                let ncm = self.plan.kind == Kind::Ncm;
                if ncm && self.plan.ncm_capabilities & requests::HAS_PACKET_FILTER == 0 {
                    return Ok(());
                }
                let mut filter = requests::DIRECTED | requests::BROADCAST;
                let fits = wanted.multicast.len() <= usize::from(self.plan.multicast_filters);
                if wanted.all_multicast || (listed && (!fits || self.requests.set_multicast(wanted.multicast).is_err()))
                {
                    filter |= requests::ALL_MULTICAST;
                } else if listed {
                    filter |= requests::MULTICAST;
                }
                if wanted.promiscuous {
                    filter |= requests::PROMISCUOUS;
                }
                self.requests.set_packet_filter(filter)
            }
        }
    }

    /// A new station address, told to the device where it can be.
    pub fn set_mac(&mut self, mac: [u8; 6]) {
        self.own_mac = Some(mac);
    }

    /// Ends all transfers of a pipe that the function has.
    pub fn abort(&self, pipe: u32) {
        if pipe != crate::nic::usb::PIPE_NOTIFY || self.plan.endpoint_notify != 0 {
            // Of a pipe that is closed already nothing is under way.
            let _ = self.bus.ops.abort(pipe);
        }
    }

    /// Clears a halt; false if the device would not.
    pub fn clear_stall(&self, pipe: u32) -> bool {
        self.bus.ops.clear_stall(pipe).is_ok()
    }

    /// Waits.
    pub fn delay_ms(&self, ms: u32) {
        self.bus.ops.delay_ms(ms);
    }

    /// Takes what an RNDIS device has to say.
    pub fn listen(&mut self) {
        if let Class::Rndis { session, .. } = &mut self.class {
            session.listen();
        }
    }

    /// Nanoseconds between two keepalives.
    pub fn keepalive_ns(&self) -> u64 {
        if matches!(self.class, Class::Rndis { .. }) { KEEPALIVE_NS } else { u64::MAX }
    }

    /// Asks an RNDIS device whether it lives.
    pub fn keepalive(&mut self) -> bool {
        match &mut self.class {
            Class::Rndis { session, .. } => session.keepalive().is_ok(),
            _ => true,
        }
    }

    /// The cable, if an RNDIS device spoke of it since the last call.
    pub fn heard_connected(&mut self) -> Option<bool> {
        match &mut self.class {
            Class::Rndis { session, .. } => session.take_heard().connected,
            _ => None,
        }
    }
}
