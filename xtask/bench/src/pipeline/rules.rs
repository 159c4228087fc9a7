//! Rules to judge by.

use anyhow::Result;
use weir_core::filter::{
    Action, AddrKind, AddrMatch, Endpoint, PortMatch, PortOp, Rule, RuleFlags, Ruleset, StateMode, StateOptions,
    Timeout,
};

use super::{Args, Mix};
use crate::rules;

/// The rules, each of them with state unless the mix says no, for that many states.
pub fn ruleset(args: &Args, states: usize) -> Result<Ruleset> {
    let state = match args.mix {
        Mix::Stateless => StateOptions { mode: StateMode::No, ..StateOptions::default() },
        _ => StateOptions { mode: StateMode::Keep, ..StateOptions::default() },
    };
    let last = Rule { action: Action::Pass, state, text: "pass all".into(), ..Rule::default() };
    let mut all = vec![];
    if let Some(path) = &args.rules {
        for rule in rules::load::<1>(path)? {
            let side = |addr: u32, mask: u32, low: u16, high: u16| {
                let wide = |word: u32| {
                    let mut bytes = [0; 16];
                    bytes[..4].copy_from_slice(&word.to_be_bytes());
                    bytes
                };
                let kind = if mask == 0 { AddrKind::Any } else { AddrKind::Mask4 };
                let addr = AddrMatch { kind, addr: wide(addr), end: wide(mask), ..AddrMatch::default() };
                let op = if (low, high) == (0, u16::MAX) { PortOp::Any } else { PortOp::Range };
                let port = if op == PortOp::Any { PortMatch::default() } else { PortMatch { op, a: low, b: high } };
                Endpoint { addr, port }
            };
            let src = side(rule.src[0], rule.src_mask[0], rule.low[0], rule.high[0]);
            let dst = side(rule.dst[0], rule.dst_mask[0], rule.low[1], rule.high[1]);
            let ports = src.port != PortMatch::default() || dst.port != PortMatch::default();
            let any = rule.class_mask as u8 == 0;
            let protocol = if any { ports.then_some(6) } else { Some(rule.class as u8) };
            // Ports mean something with TCP and UDP only.
            let plain = |side: Endpoint| Endpoint { addr: side.addr, ..Endpoint::default() };
            let (src, dst) = if matches!(protocol, Some(6 | 17)) { (src, dst) } else { (plain(src), plain(dst)) };
            let flags = RuleFlags::QUICK;
            let text = format!("pass quick {}", all.len());
            all.push(Rule { protocol, src, dst, flags, state, text, ..last.clone() });
        }
    }
    all.push(last);
    let mut ruleset = Ruleset::filter(all, Vec::new());
    // As many as the bed has room for, and all of them for as long as they are told to.
    ruleset.options.limits.states = u32::try_from(states)?;
    ruleset.options.timeouts.0[Timeout::AdaptiveStart as usize] = 0;
    ruleset.options.timeouts.0[Timeout::AdaptiveEnd as usize] = 0;
    Ok(ruleset)
}
