//! The RNDIS device's side (MS-RNDIS 3.3).

use std::collections::VecDeque;

use super::Setup;

/// "Response available" on the interrupt endpoint.
pub const NOTICE: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
const TRANSFER_MAX: u32 = 16384;
const PACKETS_MAX: u32 = 8;
/// Messages begin at multiples of 4.
const ALIGNMENT: u32 = 2;

/// State of the function.
#[derive(Default)]
pub struct Rndis {
    initialized: bool,
    /// It lost its session, and the host does not know.
    forgot: bool,
    responses: VecDeque<Vec<u8>>,
    unplugged: bool,
    answered: u64,
    asked: u64,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn message(words: &[u32], data: &[u8]) -> Vec<u8> {
    let mut all: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    all.extend(data);
    let len = (all.len() as u32).to_le_bytes();
    all[4..8].copy_from_slice(&len);
    all
}

impl Rndis {
    /// The cable came or went.
    pub fn indicate(&mut self, plugged: bool) {
        self.unplugged = !plugged;
        let status = if plugged { 0x4001_000b } else { 0x4001_000c };
        self.responses.push_back(message(&[7, 0, status, 0, 0], &[]));
    }

    /// Asks the host whether it lives.
    pub fn ask(&mut self) {
        self.responses.push_back(message(&[8, 0, 77], &[]));
    }

    /// Forgets the session.
    pub fn lose_power(&mut self) {
        self.forgot = self.initialized;
        self.initialized = false;
        self.responses.clear();
    }

    /// Answered by the host, asked by the host.
    pub fn keepalives(&self) -> (u64, u64) {
        (self.answered, self.asked)
    }

    /// Encapsulated commands and responses.
    pub fn control(
        &mut self,
        setup: Setup,
        data: &mut [u8],
        filter: &mut u32,
        multicast: &mut Vec<[u8; 6]>,
        notices: &mut VecDeque<Vec<u8>>,
    ) -> Result<usize, String> {
        match (setup.is_in(), setup.request) {
            (false, 0) => {
                if let Some(response) = self.command(data, filter, multicast)? {
                    self.responses.push_back(response);
                    notices.push_back(NOTICE.to_vec());
                }
                Ok(data.len())
            }
            (true, 1) => {
                // Nothing to say: one zero byte (MS-RNDIS 2.1.2.2).
                let response = self.responses.pop_front().unwrap_or_else(|| vec![0]);
                let len = response.len().min(data.len());
                data[..len].copy_from_slice(&response[..len]);
                Ok(len)
            }
            _ => Err(format!("request {:#04x} is not RNDIS's", setup.request)),
        }
    }

    fn command(
        &mut self,
        data: &[u8],
        filter: &mut u32,
        multicast: &mut Vec<[u8; 6]>,
    ) -> Result<Option<Vec<u8>>, String> {
        let fault = |what: &str| Err(format!("RNDIS message from the host: {what}"));
        if word(data, 4) != Some(data.len() as u32) {
            return fault("MessageLength");
        }
        let id = word(data, 8).ok_or("RNDIS message from the host: too short")?;
        match word(data, 0) {
            Some(2) => {
                (self.initialized, self.forgot) = (true, false);
                *filter = 0;
                self.responses.clear();
                let reply = [0x8000_0002, 0, id, 0, 1, 0, 1, 0, PACKETS_MAX, TRANSFER_MAX, ALIGNMENT, 0, 0];
                Ok(Some(message(&reply, &[])))
            }
            Some(3) => {
                (self.initialized, self.forgot) = (false, false);
                *filter = 0;
                Ok(None)
            }
            Some(8) => {
                self.asked += 1;
                Ok(Some(message(&[0x8000_0008, 0, id, 0], &[])))
            }
            Some(0x8000_0008) => {
                self.answered += 1;
                Ok(None)
            }
            Some(_) if !self.initialized && !self.forgot => fault("a request before INITIALIZE"),
            Some(4) => {
                let value: Vec<u8> = match word(data, 12).unwrap_or(0) {
                    0x0101_0101 | 0x0101_0102 => super::descriptors::MAC.to_vec(),
                    0x0001_0106 => 1500u32.to_le_bytes().to_vec(),
                    0x0001_010e => filter.to_le_bytes().to_vec(),
                    0x0001_0107 => 4_800_000u32.to_le_bytes().to_vec(),
                    0x0001_0114 => u32::from(self.unplugged).to_le_bytes().to_vec(),
                    // NDIS_STATUS_NOT_SUPPORTED.
                    _ => return Ok(Some(message(&[0x8000_0004, 0, id, 0xc000_00bb, 0, 0], &[]))),
                };
                Ok(Some(message(&[0x8000_0004, 0, id, 0, value.len() as u32, 16], &value)))
            }
            Some(5) => {
                let (len, offset) = (word(data, 16).unwrap_or(0) as usize, word(data, 20).unwrap_or(0) as usize + 8);
                let Some(value) = data.get(offset..offset + len) else { return fault("a value outside the message") };
                let status = match word(data, 12).unwrap_or(0) {
                    0x0001_010e if len == 4 => {
                        *filter = word(value, 0).unwrap_or(0);
                        0
                    }
                    0x0101_0103 if len.is_multiple_of(6) => {
                        *multicast = value.as_chunks::<6>().0.to_vec();
                        0
                    }
                    0x0101_0102 if len == 6 => 0,
                    _ => 0xc000_00bb,
                };
                Ok(Some(message(&[0x8000_0005, 0, id, status], &[])))
            }
            _ => fault("an unknown type"),
        }
    }
}

/// Whether a command is REMOTE_NDIS_INITIALIZE_MSG (MS-RNDIS 2.2.2).
pub fn is_initialize(data: &[u8]) -> bool {
    word(data, 0) == Some(2)
}

/// Frames of a transfer from the host, or the rule that it breaks.
pub fn open(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let fault = |what: &str| Err(format!("RNDIS transfer from the host: {what}"));
    if bytes.len() > TRANSFER_MAX as usize {
        return fault("longer than MaxTransferSize");
    }
    if bytes.len().is_multiple_of(512) {
        return fault("does not end with a short packet");
    }
    let mut frames = Vec::new();
    let mut at = 0;
    while bytes.len() - at > 1 {
        let rest = &bytes[at..];
        let len = word(rest, 4).unwrap_or(0) as usize;
        if at % (1 << ALIGNMENT) != 0 || word(rest, 0) != Some(1) || len < 44 || len > rest.len() {
            return fault("a message's type, place or length");
        }
        let (offset, size) = (word(rest, 8).unwrap_or(0) as usize + 8, word(rest, 12).unwrap_or(0) as usize);
        match rest[..len].get(offset..offset + size) {
            Some(frame) if size >= 14 => frames.push(frame.to_vec()),
            _ => return fault("a frame outside its message"),
        }
        at += len;
    }
    if frames.len() > PACKETS_MAX as usize {
        return fault("more messages than MaxPacketsPerTransfer");
    }
    Ok(frames)
}

/// A transfer of as many frames as fit, each message padded to a multiple of 8 inside its length.
pub fn close(frames: &mut VecDeque<Vec<u8>>, room: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(frame) = frames.front() {
        let len = (44 + frame.len()).next_multiple_of(8);
        if all.len() + len + 1 > room {
            break;
        }
        let mut one = message(&[1, 0, 36, frame.len() as u32, 0, 0, 0, 0, 0, 0, 0], frame);
        one.resize(len, 0);
        one[4..8].copy_from_slice(&(len as u32).to_le_bytes());
        all.extend(one);
        frames.pop_front();
    }
    if all.len().is_multiple_of(512) && !all.is_empty() {
        all.push(0);
    }
    all
}
