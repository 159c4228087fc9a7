//! The pipeline's behaviour, frame by frame, through [`Single`].

mod any;
mod bursts;
mod frames;
mod states;
mod translation;

use alloc::vec::Vec;

use self::frames::{Frame, SECOND};
use super::{Direction, Outcome, Single, Sizes};
use crate::filter::*;
use crate::telemetry::DropReason;

/// A ruleset at work on en0.
pub struct World {
    pub single: Single,
    pub now: u64,
}

impl World {
    pub fn new(ruleset: Ruleset) -> Self {
        let image = image::encode(&ruleset);
        let compiled = Compiled::new(image::parse(&image).expect("a ruleset")).unwrap();
        let sizes = Sizes { states: 1024, sources: 64, fragments: 64, seed: 7 };
        Self { single: Single::new(compiled, "en0", &[], sizes).unwrap(), now: SECOND }
    }

    pub fn filter(rules: Vec<Rule>) -> Self {
        Self::new(Ruleset::filter(rules, Vec::new()))
    }

    /// Judges a frame; what comes out if it passes.
    pub fn send(&mut self, direction: Direction, frame: &Frame) -> Result<Frame, DropReason> {
        let mut bytes = frame.bytes();
        match self.single.frame(direction, self.now, &mut bytes, false, &mut ()) {
            Outcome::Pass => Ok(Frame::read(&bytes)),
            Outcome::Drop(reason) => Err(reason),
            Outcome::Hold { .. } | Outcome::Elsewhere(_) => panic!("no test sends fragments"),
        }
    }

    pub fn enters(&mut self, frame: &Frame) -> Result<Frame, DropReason> {
        self.send(Direction::In, frame)
    }

    pub fn leaves(&mut self, frame: &Frame) -> Result<Frame, DropReason> {
        self.send(Direction::Out, frame)
    }

    /// What the last frame was answered with.
    pub fn answers(&self) -> Vec<(bool, Frame)> {
        self.single.answers().map(|(to_wire, bytes)| (to_wire, Frame::read(bytes))).collect()
    }
}

/// `pass out keep state`, and nothing else passes.
pub fn stateful() -> Vec<Rule> {
    Vec::from([
        Rule { action: Action::Block, text: "block drop all".into(), ..Rule::default() },
        Rule { direction: Direction2::Out, text: "pass out all keep state".into(), state: keep(), ..Rule::default() },
    ])
}

pub use crate::filter::Direction as Direction2;

pub fn keep() -> StateOptions {
    StateOptions { mode: StateMode::Keep, ..StateOptions::default() }
}

/// Lists of the root, each with its rules.
pub fn lists(lists: Vec<(List, Vec<Rule>)>) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut all = [const { Vec::new() }; List::ALL.len()];
    for (list, rules) in lists {
        all[list as usize] = rules;
    }
    ruleset.push_anchor(alloc::string::String::new(), all);
    ruleset
}
