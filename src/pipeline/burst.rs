//! The frames of a burst in turn: those with which there is nothing to do but to note and count them, as nearly all are, in a
//! loop that keeps in registers whatever is the same for all; and every other one by itself.
#![forbid(unsafe_code)]

use super::ahead::{Ahead, Hints, Look};
use super::judge::Judge;
use super::{Mark, Outcome, Outcomes, Recorder};
use crate::filter::Foreseen;
use crate::flow::state::Way;
use crate::mem::packet::BURST_MAX;
use crate::mem::{Burst, PacketFlags};
use crate::telemetry::DropReason;
use crate::wire::Parsed;

const ALL_PASS: [Outcome; BURST_MAX] = [Outcome::Pass; BURST_MAX];

impl<R: Recorder> Judge<'_, R> {
    /// Judges a frame that comes alone, and changes it.
    pub fn alone(&mut self, frame: &mut [u8], parsed: &mut Parsed, partial: bool) -> Outcome {
        let mut ahead = Ahead::default();
        let look = Look::new(&self.help.tracker.table, self.help.way);
        look.at(self.help.way, &mut ahead, frame, parsed);
        if look.closer(&mut ahead) {
            self.foresee(core::slice::from_mut(&mut ahead), core::slice::from_ref(parsed));
        }
        let mut outcome = Outcome::Pass;
        let refuse = |_, reason| outcome = Outcome::Drop(reason);
        if self.ordinary(self.help.way, core::iter::once((&*frame, &*parsed, &ahead)), refuse, None) == 1 {
            return outcome;
        }
        self.other(frame, parsed, partial, &ahead)
    }

    /// Judges the frames of a burst, which all go one way, and changes them: an outcome for each. True if all of them pass.
    /// `some_absent`: one of them had no state when the burst began.
    #[inline(always)]
    pub fn burst(
        &mut self,
        way: Way,
        burst: &mut Burst,
        (parsed, aheads, some_absent): (&mut [Parsed], &mut [Ahead], bool),
        outcomes: &mut Outcomes,
        mut marks: Option<&mut heapless::Vec<Mark, BURST_MAX>>,
    ) -> bool {
        if some_absent {
            self.foresee(aheads, parsed);
        }
        // As many as frames, which fit.
        let _ = outcomes.extend_from_slice(ALL_PASS.get(..burst.len()).unwrap_or_default());
        let mut all_pass = true;
        let mut next = 0;
        while let (Some(packets), Some(rest), Some(known)) = (burst.get(next..), parsed.get(next..), aheads.get(next..))
        {
            let frames = packets.iter().zip(rest).zip(known);
            let frames = frames.map(|((packet, parsed), ahead)| (packet.frame(), parsed, ahead));
            let refuse = |number: usize, reason| {
                if let Some(place) = outcomes.get_mut(next + number) {
                    *place = Outcome::Drop(reason);
                }
                all_pass = false;
            };
            next += self.ordinary(way, frames, refuse, marks.as_deref_mut());
            let (Some(packet), Some(parsed), Some(ahead)) =
                (burst.get_mut(next), parsed.get_mut(next), aheads.get(next))
            else {
                break;
            };
            let partial = packet.flags().intersects(PacketFlags::TX_CSUM_PARTIAL | PacketFlags::TX_TSO);
            let outcome = self.other(packet.frame_mut(), parsed, partial, ahead);
            if let Some(marks) = &mut marks {
                let _ = marks.push(self.mark);
            }
            if outcome != Outcome::Pass {
                if let Some(place) = outcomes.get_mut(next) {
                    *place = outcome;
                }
                all_pass = false;
            }
            next += 1;
        }
        all_pass
    }

    /// Notes frames, from the first one on, with which there is nothing else to do; how many they are. They pass, but for those
    /// that `refuse` is told of.
    #[inline(always)]
    fn ordinary<'f>(
        &mut self,
        way: Way,
        frames: impl Iterator<Item = (&'f [u8], &'f Parsed, &'f Ahead)>,
        mut refuse: impl FnMut(usize, DropReason),
        mut marks: Option<&mut heapless::Vec<Mark, BURST_MAX>>,
    ) -> usize {
        if !self.is_plain {
            return 0;
        }
        let tracker = &mut *self.help.tracker;
        // Found once: where states are might have changed, as far as the compiler knows, with every one that is written.
        let moment = (tracker.epoch, tracker.now);
        let rules_decide = self.is_alone && !tracker.has_made;
        // The first packet that finds no room is told of, which is more to do.
        let is_full = self.told_full && !tracker.has_room(self.help.bound);
        let mut lines = tracker.table.lines();
        let (tally, always) = (self.tally, self.always);
        let mut count = 0;
        for (frame, parsed, ahead) in frames {
            if !ahead.hints.contains(Hints::ORDINARY) {
                break;
            }
            let rule = if let Some((state, peers)) = lines.at(ahead.candidate, &ahead.key) {
                if !state.note_ordinary(peers, way, moment, frame, parsed) {
                    break;
                }
                tally.count(state.rule, frame.len());
                state.rule
            } else if rules_decide {
                let rule = match ahead.foreseen(&always, parsed) {
                    Foreseen::Pass(rule) => rule,
                    Foreseen::Drop(rule) => {
                        refuse(count, DropReason::Match);
                        rule
                    }
                    Foreseen::Keep(rule) if is_full => {
                        self.counters.events_lost.add(1);
                        refuse(count, DropReason::StateLimit);
                        rule
                    }
                    _ => break,
                };
                tally.count_decision(rule, frame.len());
                rule
            } else {
                break;
            };
            if let Some(marks) = &mut marks {
                let _ = marks.push(Mark { rule, copied: false });
            }
            count += 1;
        }
        count
    }

    /// Judges any other frame, and changes it.
    fn other(&mut self, frame: &mut [u8], parsed: &mut Parsed, partial: bool, ahead: &Ahead) -> Outcome {
        let is_ordinary = self.is_plain && ahead.hints.contains(Hints::ORDINARY);
        if is_ordinary
            && ahead.is_absent()
            && self.is_alone
            && !self.help.tracker.has_made
            && let Foreseen::Keep(rule) = ahead.foreseen(&self.always, parsed)
            && !self.help.tracker.has_room(self.help.bound)
        {
            self.tell_refused(frame.len(), parsed, rule, DropReason::StateLimit);
            self.mark = Mark { rule, copied: false };
            self.tally.count_decision(rule, frame.len());
            return Outcome::Drop(DropReason::StateLimit);
        }
        self.in_full(frame, parsed, partial, ahead)
    }
}
