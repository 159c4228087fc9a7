//! How often a pipe failed without a transfer that worked in between, and what that leads to.

use crate::nic::usb::port::{PIPES, Port};

/// Rests in a row after which the function is set up anew: a second of them.
const STRIKES_MAX: u32 = 10;
/// Times in a row that it is set up anew before it is given up.
const RESTARTS_MAX: u32 = 5;

/// What a pipe that failed again needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    TryAgain,
    /// The whole function is to be set up anew.
    Restart,
    /// That has not helped either.
    GiveUp,
}

#[derive(Clone, Copy, Default)]
struct Pipe {
    /// Transfers that had worked at the last strike.
    worked: u64,
    strikes: u32,
    restarts: u32,
}

/// See the module.
#[derive(Default)]
pub struct Strikes([Pipe; PIPES]);

impl Strikes {
    fn worked(pipe: u32, port: &Port) -> u64 {
        port.worked.get(pipe as usize).map_or(0, super::super::port::Tally::get)
    }

    /// Whether the pipe has failed before and nothing worked since.
    pub fn stands(&self, pipe: u32, port: &Port) -> bool {
        let now = Self::worked(pipe, port);
        self.0.get(pipe as usize).is_some_and(|pipe| (pipe.strikes, pipe.restarts) != (0, 0) && pipe.worked == now)
    }

    /// The pipe failed.
    pub fn note(&mut self, pipe: u32, port: &Port) -> Remedy {
        let now = Self::worked(pipe, port);
        let Some(pipe) = self.0.get_mut(pipe as usize) else { return Remedy::TryAgain };
        if pipe.worked != now {
            *pipe = Pipe { worked: now, ..Pipe::default() };
        }
        pipe.strikes += 1;
        if pipe.strikes < STRIKES_MAX {
            return Remedy::TryAgain;
        }
        pipe.strikes = 0;
        pipe.restarts += 1;
        if pipe.restarts <= RESTARTS_MAX { Remedy::Restart } else { Remedy::GiveUp }
    }
}
