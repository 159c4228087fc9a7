//! Failures on demand: any fallible call can be made to fail, by name and count.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// One failure: the `count`-th call (from 1) of `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Apple's name of the call, `IOTimerDispatchSource::Create`.
    pub name: String,
    /// Which call fails, from 1.
    pub count: u64,
    /// The `IOReturn` to return instead of the call's natural one.
    pub code: Option<i32>,
}

impl FromStr for Fault {
    type Err = String;

    /// `NAME:COUNT[=CODE]`; the code is decimal or `0x` hexadecimal.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("fault {text:?}: {what}; expected NAME:COUNT[=CODE]");
        let (head, code) = match text.split_once('=') {
            Some((head, code)) => (head, Some(code)),
            None => (text, None),
        };
        let (name, count) = head.rsplit_once(':').ok_or_else(|| bad("no count"))?;
        if name.is_empty() || name.ends_with(':') {
            return Err(bad("no name"));
        }
        let count: u64 = count.parse().map_err(|_| bad("the count is not a number"))?;
        if count == 0 {
            return Err(bad("counts start at 1"));
        }
        let code = match code {
            None => None,
            Some(c) => {
                let v = match c.strip_prefix("0x") {
                    Some(hex) => u32::from_str_radix(hex, 16).map_err(|_| bad("bad code"))?,
                    None => c.parse::<u32>().map_err(|_| bad("bad code"))?,
                };
                if v == 0 {
                    return Err(bad("0 is success"));
                }
                Some(v.cast_signed())
            }
        };
        Ok(Fault { name: name.to_owned(), count, code })
    }
}

/// What to do about failures in one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Calls to fail.
    pub inject: Vec<Fault>,
    /// Keep a list of every fallible call, for [`crate::Host::fault_points`].
    pub record: bool,
}

#[derive(Default)]
struct State {
    plan: FaultPlan,
    counts: BTreeMap<String, u64>,
    hit: Vec<Fault>,
}

/// Nonzero while calls are counted; `dk_fault()` in `dk_runtime.h` reads it.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static dk_fault_active: AtomicU32 = AtomicU32::new(0);

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// Installs the plan of a new host, with all counts at zero.
pub(crate) fn install(plan: FaultPlan) {
    let active = plan.record || !plan.inject.is_empty();
    *STATE.lock().unwrap_or_else(PoisonError::into_inner) = active.then(|| State { plan, ..State::default() });
    dk_fault_active.store(u32::from(active), Ordering::Release);
}

/// 0, or the error that this call has to return.
pub(crate) fn check(name: &str, natural: i32) -> i32 {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(state) = state.as_mut() else { return 0 };
    let count = state.counts.entry(name.to_owned()).or_insert(0);
    *count += 1;
    let now = *count;
    let Some(fault) = state.plan.inject.iter().find(|f| f.count == now && f.name == name) else { return 0 };
    state.hit.push(fault.clone());
    fault.code.unwrap_or(natural)
}

/// Every fallible call seen and how often, in the order of names.
pub(crate) fn points() -> Vec<(String, u64)> {
    let state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    state.as_ref().map(|s| s.counts.iter().map(|(n, c)| (n.clone(), *c)).collect()).unwrap_or_default()
}

/// The failures that did happen.
pub(crate) fn hits() -> Vec<Fault> {
    let state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    state.as_ref().map(|s| s.hit.clone()).unwrap_or_default()
}
