//! Configuration descriptors: where the interfaces and endpoints of a network function are.

/// Which class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// CDC Network Control Model (NCM 1.0).
    #[default]
    Ncm,
    /// CDC Ethernet Control Model (ECM 1.2).
    Ecm,
    /// Remote NDIS (MS-RNDIS).
    Rndis,
}

/// Where a network function is (`weir_usb_plan`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// The class.
    pub kind: Kind,
    /// `bConfigurationValue`.
    pub configuration: u8,
    /// `bInterfaceNumber` of the communication interface.
    pub control_interface: u8,
    /// `bInterfaceNumber` of the data interface.
    pub data_interface: u8,
    /// `bAlternateSetting` that has the bulk endpoints.
    pub data_alternate: u8,
    /// `bAlternateSetting` at rest; the same if there is no other.
    pub idle_alternate: u8,
    /// `bEndpointAddress` of bulk IN.
    pub endpoint_in: u8,
    /// `bEndpointAddress` of bulk OUT.
    pub endpoint_out: u8,
    /// `bEndpointAddress` of the interrupt endpoint; 0 = none.
    pub endpoint_notify: u8,
    /// `iMACAddress`; 0 = none.
    pub mac_string: u8,
    /// `bmNetworkCapabilities`.
    pub ncm_capabilities: u8,
    /// `wMaxPacketSize` of bulk IN, bytes.
    pub packet_in: u16,
    /// Of bulk OUT.
    pub packet_out: u16,
    /// Of the interrupt endpoint.
    pub packet_notify: u16,
    /// `wMaxSegmentSize`, bytes with the Ethernet header; 0 = not said.
    pub max_segment: u16,
    /// `wNumberMCFilters` without its flag.
    pub multicast_filters: u16,
    /// NCM: datagrams are to carry their CRC.
    pub crc: bool,
    /// NCM: stay with 16-bit blocks.
    pub ntb16: bool,
}

// bDescriptorType (USB 2.0 table 9-5, CDC 1.2 table 12) and bDescriptorSubtype (CDC 1.2 table 13, NCM 1.0 table 4-2).
const CONFIGURATION: u8 = 2;
const STRING: u8 = 3;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;
const CS_INTERFACE: u8 = 0x24;
const UNION: u8 = 6;
const ETHERNET: u8 = 0x0f;
const NCM: u8 = 0x1a;
/// Most functions that are looked at.
const FUNCTIONS_MAX: usize = 16;
/// `wNumberMCFilters` bit 15: imperfect filtering (ECM 1.2 table 3).
const MULTICAST_COUNT: u16 = 0x7fff;

/// Descriptors one after the other; ends at the first that is too short or leaves the bytes.
struct Walk<'a>(&'a [u8]);

impl<'a> Iterator for Walk<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [len, kind, ..] = *self.0 else { return None };
        if len < 2 {
            return None;
        }
        let (one, rest) = self.0.split_at_checked(usize::from(len))?;
        self.0 = rest;
        Some((kind, one))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let (word, _) = bytes.get(at..)?.split_first_chunk::<2>()?;
    Some(u16::from_le_bytes(*word))
}

/// Class, subclass and protocol of a communication interface: CDC 1.2 table 16; RNDIS as Microsoft's own drivers match
/// it: CDC ACM with a vendor's protocol, wireless controller, miscellaneous.
fn kind_of(class: u8, subclass: u8, protocol: u8) -> Option<Kind> {
    match (class, subclass, protocol) {
        (2, 0x0d, 0) => Some(Kind::Ncm),
        (2, 6, _) => Some(Kind::Ecm),
        (2, 2, 0xff) | (0xe0, 1, 3) | (0xef, 4, 1) => Some(Kind::Rndis),
        _ => None,
    }
}

/// The communication interfaces and what their functional descriptors say.
fn functions(bytes: &[u8]) -> heapless::Vec<Plan, FUNCTIONS_MAX> {
    let mut found: heapless::Vec<Plan, FUNCTIONS_MAX> = heapless::Vec::new();
    // Whether what comes next belongs to the last one found.
    let mut inside = false;
    for (kind, one) in Walk(bytes) {
        match (kind, one) {
            (INTERFACE, &[_, _, number, _, _, class, subclass, protocol, ..]) => {
                inside = false;
                let known = found.iter().any(|plan| plan.control_interface == number);
                if let Some(kind) = kind_of(class, subclass, protocol)
                    && !known
                {
                    let data_interface = number.wrapping_add(1);
                    let plan = Plan { kind, control_interface: number, data_interface, ..Plan::default() };
                    inside = found.push(plan).is_ok();
                }
            }
            (CS_INTERFACE, &[_, _, subtype, ref rest @ ..]) if inside => {
                let Some(plan) = found.last_mut() else { continue };
                match (subtype, rest) {
                    (UNION, &[_, subordinate, ..]) => plan.data_interface = subordinate,
                    (ETHERNET, &[mac, _, _, _, _, ..]) => {
                        plan.mac_string = mac;
                        plan.max_segment = word(one, 8).unwrap_or(0);
                        plan.multicast_filters = word(one, 10).unwrap_or(0) & MULTICAST_COUNT;
                    }
                    (NCM, &[_, _, capabilities, ..]) => plan.ncm_capabilities = capabilities,
                    _ => {}
                }
            }
            (ENDPOINT, &[_, _, address, attributes, ..]) if inside && address & 0x80 != 0 && attributes & 3 == 3 => {
                if let Some(plan) = found.last_mut()
                    && plan.endpoint_notify == 0
                {
                    plan.endpoint_notify = address;
                    plan.packet_notify = word(one, 4).unwrap_or(0) & 0x7ff;
                }
            }
            _ => {}
        }
    }
    found
}

/// Fills in the data interface's endpoints; false if no alternate setting has both.
fn find_endpoints(bytes: &[u8], plan: &mut Plan) -> bool {
    let mut alternate = None;
    let (mut into, mut out) = ((0, 0), (0, 0));
    let mut bare = None;
    let mut complete = false;
    for (kind, one) in Walk(bytes) {
        match (kind, one) {
            (INTERFACE, &[_, _, number, setting, endpoints, ..]) => {
                if complete {
                    break;
                }
                alternate = (number == plan.data_interface).then_some(setting);
                (into, out) = ((0, 0), (0, 0));
                if alternate.is_some() && endpoints == 0 && bare.is_none() {
                    bare = Some(setting);
                }
            }
            (ENDPOINT, &[_, _, address, attributes, ..]) if attributes & 3 == 2 && !complete => {
                let Some(setting) = alternate else { continue };
                let packet = word(one, 4).unwrap_or(0) & 0x7ff;
                let slot = if address & 0x80 != 0 { &mut into } else { &mut out };
                if slot.0 == 0 && address & 0x0f != 0 && packet != 0 {
                    *slot = (address, packet);
                }
                if into.0 != 0 && out.0 != 0 {
                    plan.data_alternate = setting;
                    (plan.endpoint_in, plan.packet_in) = into;
                    (plan.endpoint_out, plan.packet_out) = out;
                    complete = true;
                }
            }
            _ => {}
        }
    }
    plan.idle_alternate = bare.unwrap_or(plan.data_alternate);
    complete
}

/// Finds the network function that interface `interface` belongs to, or the first one, in a configuration descriptor
/// with all that follows it. `None` if there is none that could work.
#[must_use]
pub fn probe(descriptor: &[u8], interface: Option<u8>) -> Option<Plan> {
    let &[len, CONFIGURATION, t0, t1, _, configuration, ..] = descriptor else { return None };
    if len < 9 {
        return None;
    }
    let total = usize::from(u16::from_le_bytes([t0, t1]));
    let bytes = descriptor.get(..total.min(descriptor.len()))?;
    functions(bytes).into_iter().find_map(|mut plan| {
        let wanted = interface.is_none_or(|wanted| wanted == plan.control_interface || wanted == plan.data_interface);
        plan.configuration = configuration;
        (wanted && plan.control_interface != plan.data_interface && find_endpoints(bytes, &mut plan)).then_some(plan)
    })
}

/// A station address written as twelve hexadecimal digits in a string descriptor (ECM 1.2 table 3).
#[must_use]
pub fn mac_of_string(descriptor: &[u8]) -> Option<[u8; 6]> {
    let (_, one) = Walk(descriptor).next().filter(|(kind, _)| *kind == STRING)?;
    let (units, rest) = one.get(2..)?.as_chunks::<2>();
    let digits: &[[u8; 2]; 12] = units.try_into().ok().filter(|_| rest.is_empty())?;
    let mut mac = [0; 6];
    for (byte, pair) in mac.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|unit| match u16::from_le_bytes(unit) {
            unit @ 0x30..0x80 => char::from(unit as u8).to_digit(16),
            _ => None,
        });
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    is_station(mac).then_some(mac)
}

/// Neither a group's nor all zero.
pub(super) fn is_station(mac: [u8; 6]) -> bool {
    let [first, ..] = mac;
    first & 1 == 0 && mac != [0; 6]
}
