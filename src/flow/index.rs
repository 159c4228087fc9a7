//! Which shard has the state of a key: what the shards of a NIC know of each other's states.
//!
//! A state is one shard's, and so are its packets, as long as their hash leads there. What is translated without a port to
//! choose, what was a fragment, and what an adapter spreads by a hash of its own may come to another shard, which finds
//! here whose it is. Ordinary packets never look here: their shard has their state.
//!
//! An open hash table of words: 56 bits of a key's hash, the shard's number, and whether it is one side's key only. Nobody
//! waits for anybody. A key is entered in steps: a word that only asks, a look for the same key entered by somebody else
//! at the same time, and, if there is none, the word that owns; whoever sees another takes its own word back. So two
//! shards never have a key both, nobody takes one that asks for the owner, and at worst both that ask at once are refused.
//!
//! Two keys with the same hash are taken for one: with ten million of them a new key has such a twin once in 2^40 times,
//! and is refused as if it had been there.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{FlowKey, Secret};
use crate::mem::words::{self, Line};

/// Entries of a line; its last word counts those that went past it.
const WAYS: usize = words::WORDS - 1;
/// Lines that a key may be in: its own and those behind it.
const WINDOW: usize = 16;
/// In a word's last byte: its shard asks for the key and does not have it yet.
const ASKS: u8 = 0x80;
/// In a word's last byte: the key of one side of a state that has another for the other side.
const ONE_SIDE: u8 = 0x40;

/// What came of entering a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is this shard's from now on.
    Made,
    /// It is somebody's already.
    Taken,
    /// There is no room near its place.
    Full,
}

/// Whose a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The shard.
    pub shard: usize,
    /// The state is translated, and has another key for the other side.
    pub one_side: bool,
}

impl Owner {
    /// Its number in a word; `None` if it has none.
    fn number(self) -> Option<u8> {
        let number = u8::try_from(self.shard).ok().and_then(|shard| shard.checked_add(1))?;
        (number < ONE_SIDE).then_some(if self.one_side { number | ONE_SIDE } else { number })
    }
}

/// See the module.
pub struct Index {
    secret: Secret,
    lines: Box<[Line]>,
    capacity: usize,
    shards: usize,
    /// Translated states, which have an inner key.
    translated: AtomicUsize,
    /// Shards that look here. Before all do, nothing is entered.
    looking: AtomicUsize,
}

impl Index {
    /// For the keys, two each, of `capacity` states of `shards` shards. `None` without memory. Allocates.
    #[must_use]
    pub fn new(capacity: usize, shards: usize, seed: u64) -> Option<Self> {
        // A third full with one key for each state, two thirds with two.
        let lines = words::lines(capacity.checked_mul(3)?.div_ceil(WAYS).max(WINDOW))?;
        let secret = Secret::from_seed(seed);
        let [translated, looking] = [AtomicUsize::new(0), AtomicUsize::new(0)];
        Some(Self { secret, lines, capacity, shards, translated, looking })
    }

    /// States that it was made for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// One more shard looks here from now on.
    pub fn look(&self) {
        // Release, and acquire in `is_open`: who enters a key knows that everybody would find it.
        self.looking.fetch_add(1, Ordering::Release);
    }

    /// Every shard looks here.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.looking.load(Ordering::Acquire) >= self.shards
    }

    /// One more translated state is about to enter its inner key: from now on others look for such keys.
    pub fn add_translated(&self) {
        // Sequentially consistent, as the placing: who enters a key and then sees no translated state is seen by it.
        self.translated.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes back [`Index::add_translated`].
    pub fn remove_translated(&self) {
        self.translated.fetch_sub(1, Ordering::SeqCst);
    }

    /// There may be inner keys.
    #[must_use]
    pub fn has_translated(&self) -> bool {
        self.translated.load(Ordering::SeqCst) != 0
    }

    /// The hash of a key, which every other method wants.
    #[must_use]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        self.secret.hash(key)
    }

    /// The lines where a key may be, its own first.
    fn window(&self, hash: u64) -> impl Iterator<Item = (&[AtomicU64], &AtomicU64)> {
        let home = (((hash >> 32) * self.lines.len() as u64) >> 32) as usize;
        let (before, from) = self.lines.split_at_checked(home).unwrap_or((&[], &self.lines));
        from.iter().chain(before).take(WINDOW).filter_map(|line| {
            let (passed, ways) = line.0.split_last()?;
            Some((ways, passed))
        })
    }

    /// The word of a key without its owner.
    const fn word(hash: u64) -> u64 {
        hash << 8
    }

    /// The words entered for a key, those that ask among them: one, but for a moment.
    fn words(&self, hash: u64) -> impl Iterator<Item = u64> {
        let mut past = true;
        // Sequentially consistent, as the placing: of two that enter the same key at once, one at least sees the other.
        // Who stops where nobody went past looked before the other did, and is seen.
        let lines = self
            .window(hash)
            .take_while(move |(_, passed)| core::mem::replace(&mut past, passed.load(Ordering::SeqCst) != 0));
        lines
            .flat_map(|(ways, _)| ways)
            .map(|way| way.load(Ordering::SeqCst))
            .filter(move |word| word & !0xff == Self::word(hash) && word & 0xff != 0)
    }

    /// The shard that has a key.
    #[must_use]
    pub fn owner(&self, hash: u64) -> Option<Owner> {
        let number = self.words(hash).find(|word| word & u64::from(ASKS) == 0)? as u8;
        let shard = usize::from(number & !ONE_SIDE).checked_sub(1)?;
        Some(Owner { shard, one_side: number & ONE_SIDE != 0 })
    }

    /// Enters a key as a shard's.
    pub fn claim(&self, hash: u64, owner: Owner) -> Claim {
        let Some(number) = owner.number() else { return Claim::Full };
        if self.owner(hash).is_some() {
            return Claim::Taken;
        }
        let asks = Self::word(hash) | u64::from(number | ASKS);
        let Some(way) = self.place(hash, asks) else { return Claim::Full };
        if self.words(hash).take(2).count() > 1 {
            self.take_out(hash, asks);
            return Claim::Taken;
        }
        way.store(Self::word(hash) | u64::from(number), Ordering::SeqCst);
        Claim::Made
    }

    fn place(&self, hash: u64, word: u64) -> Option<&AtomicU64> {
        for (ways, passed) in self.window(hash) {
            for way in ways {
                if way.load(Ordering::Relaxed) == 0
                    && way.compare_exchange(0, word, Ordering::SeqCst, Ordering::Relaxed).is_ok()
                {
                    return Some(way);
                }
            }
            passed.fetch_add(1, Ordering::SeqCst);
        }
        // Past all of them, and nowhere.
        for (_, passed) in self.window(hash) {
            passed.fetch_sub(1, Ordering::Release);
        }
        None
    }

    /// Takes a shard's key out; nothing happens if it is not there.
    pub fn release(&self, hash: u64, owner: Owner) {
        if let Some(number) = owner.number() {
            self.take_out(hash, Self::word(hash) | u64::from(number));
        }
    }

    fn take_out(&self, hash: u64, word: u64) {
        let mut gone_past = 0usize;
        for (ways, _) in self.window(hash) {
            let found = ways.iter().any(|way| {
                way.load(Ordering::Relaxed) == word
                    && way.compare_exchange(word, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
            });
            if found {
                for (_, passed) in self.window(hash).take(gone_past) {
                    passed.fetch_sub(1, Ordering::Release);
                }
                return;
            }
            gone_past = gone_past.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Family;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Every third key is one side's.
    fn owner(n: u32, shard: usize) -> Owner {
        Owner { shard, one_side: n.is_multiple_of(3) }
    }

    fn key(n: u32) -> FlowKey {
        let mut addr = [0; 16];
        addr[..4].copy_from_slice(&n.to_be_bytes());
        FlowKey::new((&addr, 1), (&[0; 16], 2), 6, Family::V4, 0)
    }

    #[test]
    fn it_holds_what_it_was_made_for() {
        let index = Index::new(1000, 4, 7).unwrap();
        for n in 0..2000 {
            assert_eq!(index.claim(index.hash(&key(n)), owner(n, n as usize % 4)), Claim::Made);
        }
        for n in 0..2000 {
            assert_eq!(index.owner(index.hash(&key(n))), Some(owner(n, n as usize % 4)));
            index.release(index.hash(&key(n)), owner(n, n as usize % 4));
        }
        let left = index.lines.iter().flat_map(|line| &line.0).filter(|word| word.load(Ordering::Relaxed) != 0);
        assert_eq!(left.count(), 0, "neither keys nor counts");
    }

    #[test]
    fn a_full_window_refuses_and_forgets() {
        let index = Index::new(1, 2, 3).unwrap();
        let mut made = Vec::new();
        for n in 0.. {
            match index.claim(index.hash(&key(n)), owner(n, 0)) {
                Claim::Made => made.push(n),
                Claim::Taken => panic!("never entered"),
                Claim::Full => break,
            }
        }
        assert_eq!(made.len(), WINDOW * WAYS);
        for n in made {
            index.release(index.hash(&key(n)), owner(n, 0));
        }
        assert_eq!(index.claim(index.hash(&key(0)), owner(0, 1)), Claim::Made);
        assert_eq!(index.claim(index.hash(&key(0)), owner(0, 0)), Claim::Taken);
    }

    proptest! {
        #[test]
        fn like_a_map(steps in prop::collection::vec((0u32..300, 0usize..4, any::<bool>()), 1..800)) {
            let index = Index::new(64, 4, 11).unwrap();
            let mut model = HashMap::new();
            for (n, shard, add) in steps {
                let hash = index.hash(&key(n));
                if add {
                    let expected = if model.contains_key(&n) { Claim::Taken } else { Claim::Made };
                    let claim = index.claim(hash, owner(n, shard));
                    if claim != Claim::Full {
                        prop_assert_eq!(claim, expected);
                        model.entry(n).or_insert(shard);
                    }
                } else {
                    index.release(hash, owner(n, shard));
                    if model.get(&n) == Some(&shard) {
                        model.remove(&n);
                    }
                }
                prop_assert_eq!(index.owner(hash), model.get(&n).map(|shard| owner(n, *shard)));
            }
        }
    }

    #[test]
    fn shards_never_have_a_key_both() {
        let index = Arc::new(Index::new(64, 4, 5).unwrap());
        let owned: Arc<Vec<AtomicU64>> = Arc::new((0..32).map(|_| AtomicU64::new(0)).collect());
        let threads: Vec<_> = (0..4)
            .map(|shard| {
                let (index, owned) = (index.clone(), owned.clone());
                std::thread::spawn(move || {
                    let mut made = 0u32;
                    for round in 0..20_000u32 {
                        let n = round.wrapping_mul(2_654_435_761) >> 27;
                        let hash = index.hash(&key(n));
                        if index.claim(hash, owner(n, shard)) == Claim::Made {
                            assert_eq!(owned[n as usize].swap(1, Ordering::SeqCst), 0);
                            assert_eq!(index.owner(hash), Some(owner(n, shard)));
                            made += 1;
                            owned[n as usize].store(0, Ordering::SeqCst);
                            index.release(hash, owner(n, shard));
                        }
                    }
                    made
                })
            })
            .collect();
        for thread in threads {
            assert!(thread.join().unwrap() > 0);
        }
        let left = index.lines.iter().flat_map(|line| &line.0).filter(|word| word.load(Ordering::Relaxed) != 0);
        assert_eq!(left.count(), 0);
    }
}
