//! Changes that states and rules make to frames.
#![forbid(unsafe_code)]

use super::Random;
use crate::filter::Scrub;
use crate::flow::FlowKey;
use crate::flow::state::{self, Way};
use crate::wire::rewrite::Edit;
use crate::wire::{Parsed, ParsedFlags, protocol, tcp};

/// Gives a packet the addresses and ports of a key.
pub fn translate(edit: &mut Edit<'_>, way: Way, target: &FlowKey) {
    let (far, near) = (target.src(), target.dst());
    let (far_port, near_port) = (target.src_port(), target.dst_port());
    let (src, dst) = if way == Way::In { (far, near) } else { (near, far) };
    if edit.parsed().src != src {
        edit.set_src(src);
    }
    if edit.parsed().dst != dst {
        edit.set_dst(dst);
    }
    if let Some(id) = edit.icmp_id() {
        let is_query = state::icmp_request(edit.parsed().protocol, edit.parsed().icmp_type).is_some();
        if is_query && id != far_port {
            edit.set_icmp_id(far_port);
        }
        return;
    }
    if !edit.parsed().flags.contains(ParsedFlags::PORTS) {
        return;
    }
    let (src_port, dst_port) = if way == Way::In { (far_port, near_port) } else { (near_port, far_port) };
    if edit.parsed().src_port != src_port {
        edit.set_src_port(src_port);
    }
    if edit.parsed().dst_port != dst_port {
        edit.set_dst_port(dst_port);
    }
}

/// Translates an ICMP error and the packet in it, which went the other way.
pub fn translate_error(
    frame: &mut [u8],
    parsed: &mut Parsed,
    inner: &mut Parsed,
    way: Way,
    from: &FlowKey,
    to: &FlowKey,
) {
    if let Some(mut edit) = Edit::inner(frame, parsed, inner) {
        // The packet inside was sent by whom this error goes to: its way is the other one, its keys are these.
        let (far, near) = (to.src(), to.dst());
        let (far_port, near_port) = (to.src_port(), to.dst_port());
        let (src, dst, src_port, dst_port) = match way {
            Way::In => (near, far, near_port, far_port),
            Way::Out => (far, near, far_port, near_port),
        };
        if edit.parsed().src != src {
            edit.set_src(src);
        }
        if edit.parsed().dst != dst {
            edit.set_dst(dst);
        }
        if edit.icmp_id().is_some() {
            edit.set_icmp_id(far_port);
        } else if edit.parsed().flags.contains(ParsedFlags::PORTS) {
            edit.set_src_port(src_port);
            edit.set_dst_port(dst_port);
        }
    }
    if let Some(mut edit) = Edit::new(frame, parsed, false) {
        // Who reports the error need not be one of the ends: a router is left as it is.
        let swap = |addr: [u8; 16]| {
            if addr == from.src() {
                to.src()
            } else if addr == from.dst() {
                to.dst()
            } else {
                addr
            }
        };
        let (src, dst) = (swap(edit.parsed().src), swap(edit.parsed().dst));
        if edit.parsed().src != src {
            edit.set_src(src);
        }
        if edit.parsed().dst != dst {
            edit.set_dst(dst);
        }
    }
}

/// Normalises a packet.
pub fn scrub(edit: &mut Edit<'_>, scrub: &Scrub, random: &mut Random) {
    if scrub.no_df {
        edit.clear_df();
    }
    if scrub.min_ttl != 0 {
        edit.raise_ttl(scrub.min_ttl);
    }
    if let Some(tos) = scrub.set_tos {
        edit.set_tos(tos);
    }
    if scrub.random_id {
        edit.set_ip_id(random.bits() as u16);
    }
    let p = edit.parsed();
    let is_segment = p.protocol == protocol::TCP && !p.is_fragment();
    if scrub.max_mss != 0 && is_segment && p.tcp_flags & tcp::SYN != 0 {
        edit.clamp_mss(scrub.max_mss);
    }
}
