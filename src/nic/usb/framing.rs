//! How frames lie in the bulk transfers of a class.

use alloc::boxed::Box;

use super::ecm::Ecm;
use super::ncm::Ncm;
use super::rndis::packet::RndisFraming;

/// What comes next in a received transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A frame: first byte and length, inside the transfer.
    Frame(usize, usize),
    /// Something that the class does not allow; the transfer has no more frames.
    Bad,
    /// A frame whose CRC is wrong; there may be more.
    BadFrame,
    /// No more frames.
    End,
}

/// One class's framing.
pub enum Framing {
    /// NTBs.
    Ncm(Box<Ncm>),
    /// A frame is a transfer.
    Ecm(Ecm),
    /// `REMOTE_NDIS_PACKET_MSG`s.
    Rndis(RndisFraming),
}

impl Framing {
    /// A new life of the interface.
    pub fn reset(&mut self) {
        match self {
            Self::Ncm(ncm) => ncm.reset(),
            Self::Ecm(ecm) => ecm.reset(),
            Self::Rndis(rndis) => rndis.reset(),
        }
    }

    /// Begins with a received transfer. False: it is nothing that the class knows.
    pub fn open(&mut self, transfer: &[u8]) -> bool {
        match self {
            Self::Ncm(ncm) => ncm.decoder.open(transfer),
            Self::Ecm(ecm) => ecm.open(transfer),
            Self::Rndis(rndis) => rndis.open(),
        }
    }

    /// The next frame of the transfer that was opened.
    pub fn next(&mut self, transfer: &[u8]) -> Next {
        match self {
            Self::Ncm(ncm) => ncm.decoder.next(transfer),
            Self::Ecm(ecm) => ecm.next(transfer),
            Self::Rndis(rndis) => rndis.next(transfer),
        }
    }

    /// Puts a frame into the transfer that is being filled; false if it does not fit any more.
    pub fn add(&mut self, transfer: &mut [u8], frame: &[u8]) -> bool {
        match self {
            Self::Ncm(ncm) => ncm.encoder.add(transfer, frame),
            Self::Ecm(ecm) => ecm.add(transfer, frame),
            Self::Rndis(rndis) => rndis.add(transfer, frame),
        }
    }

    /// Ends the transfer; its bytes. `packet` is the endpoint's packet size: where the class has the sender avoid
    /// transfers of whole packets, a byte is added.
    pub fn close(&mut self, transfer: &mut [u8], packet: usize) -> usize {
        match self {
            Self::Ncm(ncm) => ncm.encoder.close(transfer, packet),
            Self::Ecm(ecm) => ecm.close(),
            Self::Rndis(rndis) => rndis.close(transfer, packet),
        }
    }

    /// Whether a transfer of whole packets needs an empty one behind it to end (ECM 1.2 section 3.3.1).
    pub fn wants_empty(&self) -> bool {
        matches!(self, Self::Ecm(_))
    }

    /// Drops what was put into the transfer that is being filled.
    pub fn abandon(&mut self) {
        match self {
            Self::Ncm(ncm) => ncm.encoder.abandon(),
            Self::Ecm(ecm) => ecm.reset(),
            Self::Rndis(rndis) => rndis.abandon(),
        }
    }
}
