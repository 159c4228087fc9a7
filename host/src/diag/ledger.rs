//! The ledger of C++ objects: who made them, who holds them, who never let go.
//!
//! The reference count of every object lives here, next to a short history of its changes. Entries of freed objects
//! stay valid for a while (a quarantine) so that a late retain or release is a report and not a crash.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Site, c_text, violation};

/// Freed entries kept for later misuse (`DK_OBJ_QUARANTINE`), plus as many again for entries without an object.
const QUARANTINE: usize = 512;
const HISTORY: usize = 16;

const IMMORTAL: u32 = 1;
const INTERNAL: u32 = 2;
const DEAD: u32 = 4;
const ABANDONED: u32 = 8;

/// One object.
pub struct Entry {
    serial: u64,
    class: AtomicPtr<c_char>,
    object: AtomicPtr<c_void>,
    count: AtomicU32,
    flags: AtomicU32,
    host: u64,
    owner: u64,
    born: Site,
    born_on: String,
    changes: AtomicU32,
    /// Code address in the low 48 bits (user addresses fit), the count after the change in the 15 bits above, and
    /// bit 63 for a release.
    history: [AtomicU64; HISTORY],
}

struct Ledger {
    live: BTreeMap<u64, Box<Entry>>,
    dead: VecDeque<Box<Entry>>,
    next: u64,
}

static LEDGER: Mutex<Ledger> = Mutex::new(Ledger { live: BTreeMap::new(), dead: VecDeque::new(), next: 1 });

/// An object that was still held when its host ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Class name.
    pub class: String,
    /// References left.
    pub references: u32,
    /// Where it was made.
    pub place: String,
    /// Queue it was made on.
    pub queue: String,
    /// Latest retains and releases, oldest first.
    pub history: Vec<String>,
}

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} references) made at {} on queue {:?}", self.class, self.references, self.place, self.queue)
    }
}

impl Entry {
    fn note(&self, site: Site, count: u32, release: bool) {
        let at = self.changes.fetch_add(1, Ordering::Relaxed) as usize % HISTORY;
        let word = (site.0 as u64 & 0xffff_ffff_ffff) | (u64::from(count & 0x7fff) << 48) | (u64::from(release) << 63);
        if let Some(slot) = self.history.get(at) {
            slot.store(word, Ordering::Relaxed);
        }
    }

    /// The class's name.
    pub fn class(&self) -> String {
        c_text(self.class.load(Ordering::Relaxed)).unwrap_or_else(|| "?".to_owned())
    }

    fn describe(&self) -> Vec<String> {
        let n = self.changes.load(Ordering::Relaxed) as usize;
        let mut out = vec![format!("made at {} on queue {:?}", self.born, self.born_on)];
        for i in n.saturating_sub(HISTORY)..n {
            let word = self.history[i % HISTORY].load(Ordering::Relaxed);
            let site = Site((word & 0xffff_ffff_ffff) as *const c_void);
            let count = (word >> 48) & 0x7fff;
            let what = if word >> 63 == 1 { "release" } else { "retain" };
            out.push(format!("{what} to {count} at {site}"));
        }
        out
    }

    fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    fn dead(&self, what: &str, site: Site) -> bool {
        if self.flags() & DEAD == 0 {
            return false;
        }
        violation(
            if what == "release" { "unbalanced release" } else { "unbalanced retain" },
            format!("{what} of a freed {} (object {})", self.class(), self.serial),
            site,
            self.describe(),
        );
        true
    }

    /// One more reference.
    pub fn retain(&self, site: Site) {
        if self.flags() & IMMORTAL != 0 || self.dead("retain", site) {
            return;
        }
        let n = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.note(site, n, false);
    }

    /// One reference less; what is left.
    pub fn release(&self, site: Site) -> u32 {
        if self.flags() & IMMORTAL != 0 || self.dead("release", site) {
            return u32::MAX;
        }
        // Noted first: once the reference is given up, whoever has the last one may free this entry at any moment.
        if let Some(left) = self.count().checked_sub(1) {
            self.note(site, left, true);
        }
        let left = self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| n.checked_sub(1));
        match left {
            Ok(before) => before - 1,
            Err(_) => {
                let text = format!("release of a {} (object {}) without a reference", self.class(), self.serial);
                violation("unbalanced release", text, site, self.describe());
                u32::MAX
            }
        }
    }

    /// References now.
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// The C++ object; null once freed.
    pub fn object(&self) -> *mut c_void {
        self.object.load(Ordering::Relaxed)
    }

    pub(crate) fn set_class(&self, class: *const c_char) {
        self.class.store(class.cast_mut(), Ordering::Relaxed);
    }

    pub(crate) fn set_internal(&self) {
        self.flags.fetch_or(INTERNAL, Ordering::Relaxed);
    }
}

/// Where an object belongs: host generation, service, name of the current queue.
pub(crate) struct Birth {
    pub host: u64,
    pub owner: u64,
    pub queue: String,
}

/// Enters an object with one reference. The entry lives until it was freed and left the quarantine.
pub(crate) fn enter(
    class: *const c_char,
    object: *mut c_void,
    site: Site,
    birth: Birth,
    immortal: bool,
) -> *const Entry {
    let mut l = LEDGER.lock().unwrap_or_else(PoisonError::into_inner);
    let serial = l.next;
    l.next += 1;
    let entry = Box::new(Entry {
        serial,
        class: AtomicPtr::new(class.cast_mut()),
        object: AtomicPtr::new(object),
        count: AtomicU32::new(1),
        flags: AtomicU32::new(if immortal { IMMORTAL } else { 0 }),
        host: birth.host,
        owner: birth.owner,
        born: site,
        born_on: birth.queue,
        changes: AtomicU32::new(0),
        history: [const { AtomicU64::new(0) }; HISTORY],
    });
    let p: *const Entry = &*entry;
    l.live.insert(serial, entry);
    p
}

/// The object's memory is gone.
pub(crate) fn freed(entry: &Entry, site: Site) {
    if entry.dead("second free", site) {
        return;
    }
    entry.flags.fetch_or(DEAD, Ordering::Relaxed);
    entry.object.store(std::ptr::null_mut(), Ordering::Relaxed);
    let mut l = LEDGER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(boxed) = l.live.remove(&entry.serial) {
        l.dead.push_back(boxed);
    }
    let gone = if l.dead.len() > QUARANTINE { l.dead.pop_front() } else { None };
    drop(l);
    drop(gone);
}

/// Objects of a host that are still alive, of one service or (`owner` 0) of all.
pub(crate) fn leaks(host: u64) -> Vec<Leak> {
    let l = LEDGER.lock().unwrap_or_else(PoisonError::into_inner);
    l.live
        .values()
        .filter(|e| e.host == host && e.flags() & (IMMORTAL | INTERNAL | ABANDONED) == 0)
        .map(|e| Leak {
            class: e.class(),
            references: e.count(),
            place: e.born.to_string(),
            queue: e.born_on.clone(),
            history: e.describe(),
        })
        .collect()
}

/// A crashed service's objects are nobody's leak: what was made on its queues, and `service` itself.
pub(crate) fn abandon(host: u64, owner: u64, service: *mut c_void) {
    let l = LEDGER.lock().unwrap_or_else(PoisonError::into_inner);
    let is_its = |e: &Entry| e.owner == owner || e.object() == service;
    for e in l.live.values().filter(|e| e.host == host && is_its(e)) {
        e.flags.fetch_or(ABANDONED, Ordering::Relaxed);
    }
}
