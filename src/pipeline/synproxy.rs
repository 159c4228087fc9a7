//! `synproxy state`: the handshake with the client is done here; only then does the server hear of it
//! (`pf_synproxy`). A SYN that nobody follows up costs a state, not the server's backlog.
#![forbid(unsafe_code)]

use super::Outcome;
use super::Recorder;
use super::judge::Judge;
use crate::flow::state::{Phase, Segment, StateFlags};
use crate::flow::table::FlowId;
use crate::telemetry::DropReason;
use crate::wire::build;
use crate::wire::tcp::{ACK, SYN};
use crate::wire::{Family, Parsed};

impl<R: Recorder> Judge<'_, R> {
    /// The client's SYN made a state: answers it.
    pub fn proxy_begin(&mut self, id: FlowId, frame: &[u8], parsed: &Parsed, segment: &Segment) {
        let default = if parsed.family == Family::V4 { build::MSS_DEFAULT } else { build::MSS_DEFAULT_V6 };
        let mss = build::mss_of(frame, parsed).unwrap_or(default);
        let number = self.help.random.bits();
        let Some(mut state) = self.help.tracker.table.state_mut(id) else { return };
        state.hot.flags |= StateFlags::PROXY_CLIENT;
        state.more.proxy_mss = mss;
        let (mut client, mut server) = state.ends(true);
        // Of the client: its number, and the one that it was given. Of the server: nothing yet.
        (client.low, client.high, client.scale) = (segment.seq, number, None);
        server.high = 1;
        self.proxy_offer(frame, parsed, segment.seq, number, mss);
    }

    /// SYN and ACK, with a window of nothing: the client must not send before the server takes it.
    fn proxy_offer(&mut self, frame: &[u8], parsed: &Parsed, seq: u32, number: u32, mss: u16) {
        let answer = build::Segment {
            seq: number,
            ack: seq.wrapping_add(1),
            flags: SYN | ACK,
            mss: Some(mss),
            ..build::Segment::against(parsed)
        };
        self.answers.segment(self.help.way, true, frame, parsed, &answer);
    }

    /// A segment while the handshake is proxied.
    pub fn proxy(&mut self, id: FlowId, forward: bool, frame: &[u8], parsed: &Parsed, segment: &Segment) -> Outcome {
        let ended = Outcome::Drop(DropReason::Synproxy);
        let way = self.help.way;
        let now = self.help.tracker.now;
        let random = self.help.random.bits();
        let Some(mut state) = self.help.tracker.table.state_mut(id) else { return ended };
        state.hot.see(now);
        let mss = state.more.proxy_mss;
        let target = *state.more.target(way);
        let is_client_phase = state.hot.flags.contains(StateFlags::PROXY_CLIENT);
        let (mut client, mut server) = state.ends(true);
        if forward {
            if segment.flags & SYN != 0 && is_client_phase {
                // Sent again: so is the answer.
                let (seq, number) = (client.low, client.high);
                if segment.seq == seq {
                    self.proxy_offer(frame, parsed, seq, number, mss);
                }
                return ended;
            }
            // Its window is closed: a probe of it has the number before (RFC 1122 section 4.2.2.17, as Linux sends them),
            // and comes when what should have opened it was lost.
            let fits = segment.flags & (SYN | ACK) == ACK
                && segment.ack == client.high.wrapping_add(1)
                && segment.seq.wrapping_sub(client.low) <= 1;
            if !fits {
                return ended;
            }
            client.window = segment.window.max(1);
            if server.high == 1 {
                server.high = if random == 1 { 2 } else { random };
            }
            let number = server.high;
            if is_client_phase {
                state.hot.flags.remove(StateFlags::PROXY_CLIENT);
                state.hot.flags.insert(StateFlags::PROXY_SERVER);
                if !self.connected(id) {
                    return Outcome::Drop(DropReason::SrcLimit);
                }
            }
            // The client is real: now the server hears of it, as if from the client.
            let syn = build::Segment {
                src: target.src(),
                dst: target.dst(),
                src_port: target.src_port(),
                dst_port: target.dst_port(),
                seq: number,
                flags: SYN,
                mss: Some(mss),
                ..build::Segment::along(parsed)
            };
            self.answers.segment(way, false, frame, parsed, &syn);
            return ended;
        }
        if is_client_phase || segment.flags & (SYN | ACK) != SYN | ACK || segment.ack != server.high.wrapping_add(1) {
            return ended;
        }
        // Both handshakes are over: from here on numbers are shifted, and windows are not scaled.
        server.window = segment.window.max(1);
        server.low = segment.seq;
        let to_server = build::Segment {
            seq: segment.ack,
            ack: segment.seq.wrapping_add(1),
            flags: ACK,
            window: client.window,
            ..build::Segment::against(parsed)
        };
        let to_client = build::Segment {
            src: target.dst(),
            dst: target.src(),
            src_port: target.dst_port(),
            dst_port: target.src_port(),
            seq: client.high.wrapping_add(1),
            ack: client.low.wrapping_add(1),
            flags: ACK,
            window: server.window,
            ..build::Segment::along(parsed)
        };
        client.shift = server.high.wrapping_sub(client.low);
        server.shift = client.high.wrapping_sub(server.low);
        client.low = client.low.wrapping_add(1);
        server.low = server.low.wrapping_add(1);
        client.high = client.low.wrapping_add(u32::from(server.window));
        server.high = server.low.wrapping_add(u32::from(client.window));
        (client.scale, server.scale) = (None, None);
        (*client.phase, *server.phase) = (Phase::ESTABLISHED, Phase::ESTABLISHED);
        state.hot.flags.remove(StateFlags::PROXY_SERVER);
        state.hot.lifetime = crate::flow::state::Lifetime::TcpEstablished;
        self.answers.segment(way, true, frame, parsed, &to_server);
        self.answers.segment(way, false, frame, parsed, &to_client);
        let bound = self.help.bound;
        self.help.tracker.rearm(bound, id);
        ended
    }
}
