//! Class requests of CDC ECM and NCM.

use crate::nic::usb::{Bus, Setup, TransferError};

/// `bmRequestType`: class, interface; to the device and from it.
const TO: u8 = 0x21;
const FROM: u8 = 0xa1;
/// `GET_DESCRIPTOR` (USB 2.0 table 9-4), standard, device, from it.
const GET_DESCRIPTOR: (u8, u8) = (0x80, 6);
/// String descriptor, US English.
const STRING: u16 = 0x0300;
const ENGLISH: u16 = 0x0409;

// bRequest (ECM 1.2 table 6, NCM 1.0 table 6-2).
const SET_MULTICAST_FILTERS: u8 = 0x40;
const SET_PACKET_FILTER: u8 = 0x43;
const GET_NTB_PARAMETERS: u8 = 0x80;
const SET_NET_ADDRESS: u8 = 0x82;
const SET_NTB_FORMAT: u8 = 0x84;
const SET_NTB_INPUT_SIZE: u8 = 0x86;
const SET_MAX_DATAGRAM_SIZE: u8 = 0x88;
const SET_CRC_MODE: u8 = 0x8a;

// bmNetworkCapabilities (NCM 1.0 table 5-2).
pub const HAS_PACKET_FILTER: u8 = 1 << 0;
pub const HAS_NET_ADDRESS: u8 = 1 << 1;
pub const HAS_DATAGRAM_SIZE: u8 = 1 << 3;
pub const HAS_CRC_MODE: u8 = 1 << 4;
pub const HAS_LONG_INPUT_SIZE: u8 = 1 << 5;

// Packet filter bits (ECM 1.2 table 8).
pub const PROMISCUOUS: u16 = 1 << 0;
pub const ALL_MULTICAST: u16 = 1 << 1;
pub const DIRECTED: u16 = 1 << 2;
pub const BROADCAST: u16 = 1 << 3;
pub const MULTICAST: u16 = 1 << 4;

/// Requests to one communication interface.
pub struct Requests {
    bus: Bus,
    interface: u16,
}

impl Requests {
    pub fn new(bus: Bus, interface: u8) -> Self {
        Self { bus, interface: interface.into() }
    }

    fn to(&self, request: u8, value: u16, data: &mut [u8]) -> Result<(), TransferError> {
        let setup = Setup { kind: TO, request, value, index: self.interface };
        self.bus.ops.control(setup, data).map(|_| ())
    }

    /// The string descriptor `index`.
    pub fn string<'a>(&self, index: u8, buffer: &'a mut [u8; 255]) -> Result<&'a [u8], TransferError> {
        let setup = Setup {
            kind: GET_DESCRIPTOR.0,
            request: GET_DESCRIPTOR.1,
            value: STRING | u16::from(index),
            index: ENGLISH,
        };
        let len = self.bus.ops.control(setup, buffer)?;
        Ok(buffer.get(..len).unwrap_or(&[]))
    }

    /// `GET_NTB_PARAMETERS`.
    pub fn ntb_parameters<'a>(&self, buffer: &'a mut [u8; 28]) -> Result<&'a [u8], TransferError> {
        let setup = Setup { kind: FROM, request: GET_NTB_PARAMETERS, value: 0, index: self.interface };
        let len = self.bus.ops.control(setup, buffer)?;
        Ok(buffer.get(..len).unwrap_or(&[]))
    }

    /// `SET_NTB_FORMAT`: 0 = 16 bits, 1 = 32 bits.
    pub fn set_ntb_format(&self, wide: bool) -> Result<(), TransferError> {
        self.to(SET_NTB_FORMAT, wide.into(), &mut [])
    }

    /// `SET_NTB_INPUT_SIZE`; the long form says that any number of datagrams is fine (NCM 1.0 table 6-4).
    pub fn set_ntb_input_size(&self, size: u32, long: bool) -> Result<(), TransferError> {
        let [a, b, c, d] = size.to_le_bytes();
        let mut data = [a, b, c, d, 0, 0, 0, 0];
        self.to(SET_NTB_INPUT_SIZE, 0, data.get_mut(..if long { 8 } else { 4 }).unwrap_or(&mut []))
    }

    /// `SET_MAX_DATAGRAM_SIZE`.
    pub fn set_max_datagram_size(&self, size: u16) -> Result<(), TransferError> {
        self.to(SET_MAX_DATAGRAM_SIZE, 0, &mut size.to_le_bytes())
    }

    /// `SET_CRC_MODE`.
    pub fn set_crc_mode(&self, on: bool) -> Result<(), TransferError> {
        self.to(SET_CRC_MODE, on.into(), &mut [])
    }

    /// `SET_NET_ADDRESS`.
    pub fn set_net_address(&self, mut mac: [u8; 6]) -> Result<(), TransferError> {
        self.to(SET_NET_ADDRESS, 0, &mut mac)
    }

    /// `SET_ETHERNET_PACKET_FILTER`.
    pub fn set_packet_filter(&self, filter: u16) -> Result<(), TransferError> {
        self.to(SET_PACKET_FILTER, filter, &mut [])
    }

    /// `SET_ETHERNET_MULTICAST_FILTERS`.
    pub fn set_multicast(&self, list: &[[u8; 6]]) -> Result<(), TransferError> {
        let mut data = heapless::Vec::<u8, { 6 * crate::nic::MULTICAST_MAX }>::new();
        for mac in list {
            data.extend_from_slice(mac).map_err(|_| TransferError::Failed)?;
        }
        self.to(SET_MULTICAST_FILTERS, list.len() as u16, &mut data)
    }
}
