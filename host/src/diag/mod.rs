//! What makes mistakes visible: broken rules, the object ledger, injected failures, the log, the trace.

pub mod fault;
pub mod ledger;
pub mod log;
pub mod trace;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use nix::libc;

/// A code address in the dext; null = unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Site(pub *const c_void);

// SAFETY: an address that is only ever printed, never followed.
unsafe impl Send for Site {}
// SAFETY: as above.
unsafe impl Sync for Site {}

impl Site {
    /// No place known.
    pub const NONE: Site = Site(std::ptr::null());
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_null() {
            return f.write_str("(unknown place)");
        }
        let mut info = libc::Dl_info {
            dli_fname: std::ptr::null(),
            dli_fbase: std::ptr::null_mut(),
            dli_sname: std::ptr::null(),
            dli_saddr: std::ptr::null_mut(),
        };
        // SAFETY: dladdr only looks the address up; `info` is a valid out structure.
        let found = unsafe { libc::dladdr(self.0, &mut info) } != 0;
        if !found {
            return write!(f, "{:p}", self.0);
        }
        let file = c_text(info.dli_fname).unwrap_or_default();
        let file = file.rsplit('/').next().unwrap_or_default().to_owned();
        match c_text(info.dli_sname) {
            Some(symbol) => {
                let offset = (self.0 as usize).wrapping_sub(info.dli_saddr as usize);
                write!(f, "{}+0x{offset:x} ({file})", demangle(&symbol))
            }
            None => write!(f, "{file}+0x{:x}", (self.0 as usize).wrapping_sub(info.dli_fbase as usize)),
        }
    }
}

/// The text of a C string that the dynamic linker or the object layer gave us.
fn c_text(p: *const c_char) -> Option<String> {
    if p.is_null() {
        return None;
    }
    // SAFETY: not null, and dladdr's names and the callers' literals are NUL-terminated and outlive this call.
    Some(unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned())
}

/// C++ symbol names, readable, where the process has a demangler.
fn demangle(symbol: &str) -> String {
    type Demangle = unsafe extern "C" fn(*const c_char, *mut c_char, *mut usize, *mut c_int) -> *mut c_char;
    let Ok(name) = std::ffi::CString::new(symbol) else { return symbol.to_owned() };
    // SAFETY: dlsym with a literal; null when there is none.
    let f = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__cxa_demangle".as_ptr()) };
    if f.is_null() {
        return symbol.to_owned();
    }
    let mut status: c_int = 0;
    // SAFETY: __cxa_demangle has this signature (Itanium C++ ABI 3.4); a null buffer makes it allocate with malloc.
    let text = unsafe {
        let f: Demangle = std::mem::transmute(f);
        f(name.as_ptr(), std::ptr::null_mut(), std::ptr::null_mut(), &mut status)
    };
    let Some(out) = c_text(text) else { return symbol.to_owned() };
    // SAFETY: malloc'd by __cxa_demangle, not used after this.
    unsafe { libc::free(text.cast()) };
    out
}

/// A rule of the runtime that the dext broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule: "double completion", "wrong queue", ...
    pub kind: String,
    /// What happened, with names and numbers.
    pub text: String,
    /// Where the call came from.
    pub place: String,
    /// What happened to the packet or object before, oldest first.
    pub history: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dkhost: VIOLATION {}: {}\n  at {}", self.kind, self.text, self.place)?;
        for line in &self.history {
            write!(f, "\n  history: {line}")?;
        }
        Ok(())
    }
}

/// Violations that a test collects instead of aborting.
pub type Collected = Arc<Mutex<Vec<Violation>>>;

static COLLECT: RwLock<Option<Collected>> = RwLock::new(None);

/// Collects violations into `to`; `None` = abort at the first one (the default).
pub(crate) fn collect_into(to: Option<Collected>) {
    *COLLECT.write().unwrap_or_else(PoisonError::into_inner) = to;
}

/// Reports a broken rule. Returns only if violations are collected.
pub fn violation(kind: &str, text: String, site: Site, history: Vec<String>) {
    let v = Violation { kind: kind.to_owned(), text, place: site.to_string(), history };
    let collect = COLLECT.read().unwrap_or_else(PoisonError::into_inner).clone();
    match collect {
        Some(list) => list.lock().unwrap_or_else(PoisonError::into_inner).push(v),
        None => {
            eprintln!("{v}");
            std::process::abort();
        }
    }
}

static WARNED: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Reports a defect that is not fatal, once per text and host.
pub fn warning(text: &str, site: Site) {
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.get_or_insert_with(HashSet::new).insert(text.to_owned()) {
        drop(warned);
        if site == Site::NONE {
            eprintln!("dkhost: warning: {text}");
        } else {
            eprintln!("dkhost: warning: {text}\n  at {site}");
        }
    }
}

/// A new host starts with no warnings given.
pub(crate) fn forget_warnings() {
    *WARNED.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
