//! The models' descriptors and notifications.

use super::Model;

pub const IN: u8 = 0x81;
pub const OUT: u8 = 0x02;
pub const NOTIFY: u8 = 0x83;
pub const CONTROL: u8 = 0;
pub const DATA: u8 = 1;
pub const MAC: [u8; 6] = [0x02, 0x00, 0x5e, 0x12, 0x34, 0x56];
/// Index of the string with the address.
const MAC_STRING: u8 = 4;
/// `bmNetworkCapabilities`: packet filter, net address, datagram size, CRC mode, long input size.
pub const NCM_CAPABILITIES: u8 = 0b11_1011;
/// Multicast addresses that the filter holds.
pub const MULTICAST_FILTERS: u16 = 16;

/// USB 2.0 table 9-8. The ids belong to nobody.
pub fn device() -> Vec<u8> {
    vec![18, 1, 0, 2, 2, 0, 0, 64, 0xf0, 0xff, 0x01, 0x00, 0, 1, 1, 2, 3, 1]
}

fn interface(number: u8, alternate: u8, endpoints: u8, class: [u8; 3]) -> Vec<u8> {
    vec![9, 4, number, alternate, endpoints, class[0], class[1], class[2], 0]
}

fn endpoint(address: u8, kind: u8, packet: u16, interval: u8) -> Vec<u8> {
    let [low, high] = packet.to_le_bytes();
    vec![7, 5, address, kind, low, high, interval]
}

/// The configuration and all that follows it.
pub fn configuration(model: Model) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    let (class, data_class) = match model {
        Model::Ncm | Model::Ncm32 => ([2, 0x0d, 0], [0x0a, 0, 1]),
        Model::Ecm => ([2, 6, 0], [0x0a, 0, 0]),
        // Android's tethering function.
        Model::Rndis => ([0xe0, 1, 3], [0x0a, 0, 0]),
    };
    all.extend([8, 11, CONTROL, 2, class[0], class[1], class[2], 0]);
    all.extend(interface(CONTROL, 0, 1, class));
    all.extend([5, 0x24, 0, 0x10, 1]);
    all.extend([5, 0x24, 6, CONTROL, DATA]);
    if model == Model::Rndis {
        all.extend([5, 0x24, 1, 0, DATA]);
        all.extend([4, 0x24, 2, 0]);
    } else {
        let [f0, f1] = MULTICAST_FILTERS.to_le_bytes();
        // 1514 bytes with the header (ECM 1.2 table 3).
        all.extend([13, 0x24, 0x0f, MAC_STRING, 0, 0, 0, 0, 0xea, 0x05, f0, f1, 0]);
    }
    if matches!(model, Model::Ncm | Model::Ncm32) {
        all.extend([6, 0x24, 0x1a, 0, 1, NCM_CAPABILITIES]);
    }
    all.extend(endpoint(NOTIFY, 3, 16, 9));
    let pipes = [endpoint(IN, 2, 512, 0), endpoint(OUT, 2, 512, 0)].concat();
    if model != Model::Rndis {
        all.extend(interface(DATA, 0, 0, data_class));
        all.extend(interface(DATA, 1, 2, data_class));
    } else {
        all.extend(interface(DATA, 0, 2, data_class));
    }
    all.extend(pipes);
    let [low, high] = (all.len() as u16 + 9).to_le_bytes();
    [&[9, 2, low, high, 2, 1, 0, 0xc0, 50][..], &all].concat()
}

/// A string descriptor.
pub fn string(index: u8) -> Option<Vec<u8>> {
    let text = match index {
        0 => return Some(vec![4, 3, 9, 4]),
        1 => "Weir".to_owned(),
        2 => "simulated network device".to_owned(),
        3 => "0001".to_owned(),
        MAC_STRING => MAC.map(|byte| format!("{byte:02X}")).concat(),
        _ => return None,
    };
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Some([&[units.len() as u8 + 2, 3][..], &units].concat())
}

/// `NETWORK_CONNECTION` (CDC 1.2 section 6.3.1).
pub fn connection(up: bool) -> Vec<u8> {
    vec![0xa1, 0, u8::from(up), 0, CONTROL, 0, 0, 0]
}

/// `CONNECTION_SPEED_CHANGE` (CDC 1.2 section 6.3.3).
pub fn speed(bps: u32) -> Vec<u8> {
    let speed = bps.to_le_bytes();
    [&[0xa1, 0x2a, 0, 0, CONTROL, 0, 8, 0][..], &speed, &speed].concat()
}
