//! The state machine of a session (MS-RNDIS 3.2): uninitialised, initialised, data-initialised once a packet filter is
//! set. One request is out at a time; whatever the device says meanwhile is taken note of.

use super::message::{self, Answer, Limits, MESSAGE_MAX, Message};
use crate::nic::usb::{Bus, Setup, TransferError};

/// `SEND_ENCAPSULATED_COMMAND` and `GET_ENCAPSULATED_RESPONSE` (CDC 1.2 table 19).
const SEND: (u8, u8) = (0x21, 0);
const GET: (u8, u8) = (0xa1, 1);
/// How often an answer is asked for, and how long to wait in between: a second altogether.
const ATTEMPTS: u32 = 50;
const WAIT_MS: u32 = 20;

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing but `INITIALIZE` is allowed.
    #[default]
    Uninitialized,
    /// Queries and sets are answered.
    Initialized,
    /// Frames flow.
    Data,
}

/// What a device said without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Heard {
    /// The cable, if it was mentioned.
    pub connected: Option<bool>,
    /// Requests of the device that were answered.
    pub keepalives: u64,
}

/// See the module.
pub struct Session {
    bus: Bus,
    interface: u16,
    id: u32,
    state: State,
    heard: Heard,
    /// The device does not tell its packet filter.
    is_secretive: bool,
}

impl Session {
    /// A session that was not begun.
    #[must_use]
    pub fn new(bus: Bus, interface: u8) -> Self {
        Self {
            bus,
            interface: interface.into(),
            id: 0,
            state: State::default(),
            heard: Heard::default(),
            is_secretive: false,
        }
    }

    /// What was heard since the last call.
    pub fn take_heard(&mut self) -> Heard {
        core::mem::take(&mut self.heard)
    }

    fn next_id(&mut self) -> u32 {
        self.id = self.id.wrapping_add(1).max(1);
        self.id
    }

    fn send(&self, message: &mut Message) -> Result<(), TransferError> {
        let setup = Setup { kind: SEND.0, request: SEND.1, value: 0, index: self.interface };
        self.bus.ops.control(setup, message).map(|_| ())
    }

    fn get<'a>(&self, buffer: &'a mut [u8; MESSAGE_MAX]) -> Result<&'a [u8], TransferError> {
        let setup = Setup { kind: GET.0, request: GET.1, value: 0, index: self.interface };
        let len = self.bus.ops.control(setup, buffer)?;
        Ok(buffer.get(..len).unwrap_or(&[]))
    }

    /// Takes note of a message that is no answer to ours.
    fn note(&mut self, id: u32, answer: &Answer<'_>) {
        match answer {
            Answer::Connected(up) => self.heard.connected = Some(*up),
            Answer::Keepalive => {
                self.heard.keepalives = self.heard.keepalives.saturating_add(1);
                if let Some(mut reply) = message::keepalive_answer(id) {
                    // A device that does not take it asks again.
                    let _ = self.send(&mut reply);
                }
            }
            _ => {}
        }
    }

    /// Sends a request and waits for its answer; `take` makes something of it.
    fn request<R>(
        &mut self,
        id: u32,
        message: Option<Message>,
        take: impl Fn(&Answer<'_>) -> Option<R>,
    ) -> Result<R, TransferError> {
        let mut message = message.ok_or(TransferError::Failed)?;
        self.send(&mut message)?;
        let mut buffer = [0; MESSAGE_MAX];
        for attempt in 0..ATTEMPTS {
            match self.get(&mut buffer) {
                Ok(bytes) => match message::parse(bytes) {
                    Some((got, answer)) if got == id && answer != Answer::Keepalive => {
                        return match answer {
                            Answer::Refused(_) => Err(TransferError::Failed),
                            answer => take(&answer).ok_or(TransferError::Failed),
                        };
                    }
                    Some((got, answer)) => {
                        self.note(got, &answer);
                        continue;
                    }
                    None => {}
                },
                // Not yet: a device without an answer may halt the request (CDC 1.2 section 6.2.2).
                Err(TransferError::Stall) => {}
                Err(error) => return Err(error),
            }
            if attempt.saturating_add(1) < ATTEMPTS {
                self.bus.ops.delay_ms(WAIT_MS);
            }
        }
        Err(TransferError::Timeout)
    }

    /// Begins the session: uninitialised -> initialised. `max` is the longest transfer that this side takes.
    ///
    /// # Errors
    /// The device does not answer, or not as it must.
    pub fn initialize(&mut self, max: u32) -> Result<Limits, TransferError> {
        self.state = State::Uninitialized;
        self.is_secretive = false;
        let id = self.next_id();
        let limits = self.request(id, message::initialize(id, max), |answer| match answer {
            Answer::Initialized(limits) => Some(*limits),
            _ => None,
        })?;
        self.state = State::Initialized;
        Ok(limits)
    }

    /// Asks for an object's value and hands it to `take`.
    ///
    /// # Errors
    /// The device does not answer, or `take` found nothing.
    pub fn query<R>(&mut self, oid: u32, take: impl Fn(&[u8]) -> Option<R>) -> Result<R, TransferError> {
        if self.state == State::Uninitialized {
            return Err(TransferError::Failed);
        }
        let id = self.next_id();
        self.request(id, message::query(id, oid), |answer| match answer {
            Answer::Value(value) => take(value),
            _ => None,
        })
    }

    /// Sets an object's value.
    ///
    /// # Errors
    /// The device does not answer, or refuses.
    pub fn set(&mut self, oid: u32, value: &[u8]) -> Result<(), TransferError> {
        if self.state == State::Uninitialized {
            return Err(TransferError::Failed);
        }
        let id = self.next_id();
        self.request(id, message::set(id, oid, value), |answer| (*answer == Answer::Done).then_some(()))
    }

    /// Sets the packet filter; anything but 0 makes frames flow.
    ///
    /// # Errors
    /// As [`Session::set`].
    pub fn set_filter(&mut self, filter: u32) -> Result<(), TransferError> {
        self.set(message::OID_PACKET_FILTER, &filter.to_le_bytes())?;
        self.state = if filter == 0 { State::Initialized } else { State::Data };
        Ok(())
    }

    /// Asks whether the device still lives, and knows what it was told: one that was reset behind our back answers, has no
    /// packet filter any more, and takes frames without ever giving one.
    ///
    /// # Errors
    /// It does not answer, or has forgotten everything.
    pub fn keepalive(&mut self) -> Result<(), TransferError> {
        let id = self.next_id();
        self.request(id, message::keepalive(id), |answer| (*answer == Answer::Done).then_some(()))?;
        if self.state != State::Data || self.is_secretive {
            return Ok(());
        }
        match self
            .query(message::OID_PACKET_FILTER, |value| value.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)))
        {
            Ok(0) => Err(TransferError::Failed),
            Ok(_) => Ok(()),
            Err(_) => {
                self.is_secretive = true;
                Ok(())
            }
        }
    }

    /// Takes what the device has to say.
    pub fn listen(&mut self) {
        let mut buffer = [0; MESSAGE_MAX];
        // A device that always has something to say is listened to again later.
        for _ in 0..8 {
            let Ok(bytes) = self.get(&mut buffer) else { return };
            let Some((id, answer)) = message::parse(bytes) else { return };
            self.note(id, &answer);
        }
    }

    /// Ends the session; there is no answer.
    pub fn halt(&mut self) {
        self.state = State::Uninitialized;
        let id = self.next_id();
        if let Some(mut message) = message::halt(id) {
            let _ = self.send(&mut message);
        }
    }
}
