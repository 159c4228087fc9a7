//! Commands about the filter: addresses, tables, states, anchors.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::{Control, Driver, Error};
use crate::control::{Reply, SOURCE_LEN, STATE_LEN, StateEntry, TABLE_ENTRY_LEN, TABLE_RESULT_LEN, TableChange};
use crate::filter::image::{self, ImageError, ImageErrorKind};
use crate::filter::{
    Family, InterfaceAddress, Options, Ruleset, TableContents, TableEntry, replace_anchor, table_path,
};
use crate::pipeline::{Chore, Listed, Note, StateFilter, ticks};

/// Bytes of `weir_address`.
const ADDRESS_LEN: usize = 52;
/// Most addresses of an interface.
const ADDRESSES_MAX: usize = 1024;

fn family(number: u8) -> Option<Family> {
    match number {
        4 => Some(Family::V4),
        6 => Some(Family::V6),
        _ => None,
    }
}

/// What a table's entries are sorted by.
fn entry_key(entry: &TableEntry) -> (u8, [u8; 16], u8) {
    (entry.family as u8, entry.addr, entry.len)
}

/// Reads `weir_table_entry[]`.
fn entries(bytes: &[u8]) -> Result<Vec<TableEntry>, Error> {
    let (records, rest) = bytes.as_chunks::<TABLE_ENTRY_LEN>();
    if !rest.is_empty() || records.len() > image::PREFIXES_MAX {
        return Err(Error::Invalid);
    }
    let mut list = Vec::new();
    list.try_reserve_exact(records.len()).map_err(|_| Error::NoMemory)?;
    for [addr @ .., number, len, negate, reserved] in records {
        if *reserved != 0 {
            return Err(Error::Invalid);
        }
        let entry =
            TableEntry { family: family(*number).ok_or(Error::Invalid)?, addr: *addr, len: *len, negate: *negate != 0 };
        image::check_entry(&entry).map_err(|_| Error::Invalid)?;
        list.push(entry);
    }
    Ok(list)
}

impl Driver {
    /// Tells the interface's addresses.
    pub(super) fn set_addresses(&self, control: &mut Control, list: &[u8]) -> Result<(), Error> {
        let (records, rest) = list.as_chunks::<ADDRESS_LEN>();
        if !rest.is_empty() || records.len() > ADDRESSES_MAX {
            return Err(Error::Invalid);
        }
        let mut addresses = Vec::new();
        addresses.try_reserve_exact(records.len()).map_err(|_| Error::NoMemory)?;
        for record in records {
            let (addr, rest) = record.split_first_chunk::<16>().ok_or(Error::Invalid)?;
            let (broadcast, rest) = rest.split_first_chunk::<16>().ok_or(Error::Invalid)?;
            let (peer, rest) = rest.split_first_chunk::<16>().ok_or(Error::Invalid)?;
            let [number, len, has_broadcast, has_peer] = *rest else { return Err(Error::Invalid) };
            addresses.push(InterfaceAddress {
                family: family(number).ok_or(Error::Invalid)?,
                addr: *addr,
                len,
                broadcast: (has_broadcast != 0).then_some(*broadcast),
                peer: (has_peer != 0).then_some(*peer),
            });
        }
        let old = core::mem::replace(&mut control.addresses, addresses);
        let Some(moved) = control.publisher.current().moved(self.place(control)) else {
            control.addresses = old;
            return Err(Error::NoMemory);
        };
        self.publish(control, moved);
        Ok(())
    }

    /// Takes over what `overload` put into tables since the last call.
    pub(super) fn take_additions(&self, control: &mut Control) {
        // Those of a table together: a table is made anew for each change.
        let mut all = Vec::new();
        while let Some(addition) = self.common.pipeline.additions.pop() {
            all.push(addition);
        }
        all.sort_unstable_by_key(|addition| (addition.epoch, addition.table));
        for of_table in all.chunk_by(|a, b| (a.epoch, a.table) == (b.epoch, b.table)) {
            let current = control.publisher.current().clone();
            let Some(first) = of_table.first().filter(|first| first.epoch == current.epoch) else { continue };
            let Some(table) = current.bound().and_then(|bound| bound.table(first.table)) else { continue };
            let mut list = table.entries.clone();
            let mut changed = Vec::new();
            for addition in of_table {
                let len = if addition.family == Family::V4 { 32 } else { 128 };
                let entry = TableEntry { family: addition.family, addr: addition.addr, len, negate: false };
                if let Err(at) = list.binary_search_by_key(&entry_key(&entry), entry_key) {
                    list.insert(at, entry);
                    changed.push(entry);
                }
            }
            let contents = table.changed(list, &changed);
            let next = contents.and_then(|contents| current.with_table(first.table, contents));
            if let Some(next) = next {
                self.publish(control, next);
            }
        }
    }

    pub(super) fn tables(control: &Control, first: u64, reply: &mut Reply) {
        let Some(bound) = control.publisher.current().bound() else { return };
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for (index, table) in bound.ruleset().tables.iter().enumerate().skip(first) {
            let count = u32::try_from(index).ok().and_then(|index| bound.table(index)).map_or(0, |t| t.entries.len());
            let flag = |on: bool, name: &'static str| if on { name } else { "" };
            let line = alloc::format!(
                "{} {count}{}{}",
                table_path(table),
                flag(table.persist, " persist"),
                flag(table.constant, " const")
            );
            if index > first && !reply.has_room(line.len().saturating_add(1)) || !reply.line(&line) {
                return;
            }
        }
    }

    /// The table of a path: its index and contents.
    fn table<'a>(control: &'a Control, path: &str) -> Result<(u32, &'a TableContents, bool), Error> {
        let bound = control.publisher.current().bound().ok_or(Error::Invalid)?;
        let tables = &bound.ruleset().tables;
        let at = tables.iter().position(|table| table_path(table) == path).ok_or(Error::Invalid)?;
        let index = u32::try_from(at).map_err(|_| Error::Invalid)?;
        let constant = tables.get(at).is_some_and(|table| table.constant);
        Ok((index, bound.table(index).ok_or(Error::Invalid)?, constant))
    }

    pub(super) fn table_show(control: &Control, path: &str, first: u64, reply: &mut Reply) -> Result<(), Error> {
        let (_, table, _) = Self::table(control, path)?;
        for entry in super::command::from_first(&table.entries, first) {
            if !reply.has_room(TABLE_ENTRY_LEN) {
                break;
            }
            reply.table_entry(&entry.addr, entry.family as u8, entry.len, entry.negate);
        }
        Ok(())
    }

    pub(super) fn table_change(
        &self,
        control: &mut Control,
        (change, path): (TableChange, &str),
        bytes: &[u8],
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let wanted = entries(bytes)?;
        if !reply.has_room(TABLE_RESULT_LEN) {
            reply.table_result([0; 4]);
            return Err(Error::NoSpace);
        }
        let (index, table, constant) = Self::table(control, path)?;
        if constant {
            return Err(Error::State);
        }
        let mut list = table.entries.clone();
        let mut touched = Vec::new();
        let (mut added, mut deleted, mut changed) = (0u32, 0u32, 0u32);
        if change == TableChange::Replace {
            let keep = |entry: &TableEntry| wanted.iter().any(|wanted| entry_key(wanted) == entry_key(entry));
            let gone = list.iter().filter(|entry| !keep(entry)).copied();
            touched.extend(gone);
            deleted = super::count(touched.len());
            list.retain(keep);
        }
        for entry in &wanted {
            match (change, list.binary_search_by_key(&entry_key(entry), entry_key)) {
                (TableChange::Delete, Ok(at)) => {
                    touched.push(list.remove(at));
                    deleted = deleted.saturating_add(1);
                }
                (TableChange::Delete, Err(_)) => {}
                (_, Ok(at)) => {
                    if let Some(slot) = list.get_mut(at)
                        && slot.negate != entry.negate
                    {
                        slot.negate = entry.negate;
                        touched.push(*entry);
                        changed = changed.saturating_add(1);
                    }
                }
                (_, Err(at)) => {
                    list.insert(at, *entry);
                    touched.push(*entry);
                    added = added.saturating_add(1);
                }
            }
        }
        let current = control.publisher.current().clone();
        let limit = current.ruleset().map_or(0, |ruleset| ruleset.options.limits.table_entries);
        if list.len() > limit as usize && added > 0 {
            return Err(Error::NoMemory);
        }
        let count = super::count(list.len());
        let contents = table.changed(list, &touched).ok_or(Error::NoMemory)?;
        let next = current.with_table(index, contents).ok_or(Error::NoMemory)?;
        if change != TableChange::Add {
            // Shards must not remember what is taken out here.
            self.tell(control, Note::ForgetAdded);
        }
        self.publish(control, next);
        reply.table_result([added, deleted, changed, count]);
        Ok(())
    }

    pub(super) fn table_test(control: &Control, path: &str, bytes: &[u8], reply: &mut Reply) -> Result<(), Error> {
        let (_, table, _) = Self::table(control, path)?;
        for entry in entries(bytes)? {
            reply.answer(table.contains(entry.family, &entry.addr));
        }
        Ok(())
    }

    /// Gives every shard something to do, and sees to it that it is done.
    pub(super) fn tell(&self, control: &mut Control, note: Note) {
        let all = self.common.pipeline.tell(note);
        if !all {
            self.common.count_misuse();
        }
        self.nudge();
        control.publisher.collect();
    }

    pub(super) fn states(&self, reply: &mut Reply) {
        while reply.has_room(STATE_LEN)
            && let Some(listed) = self.common.pipeline.listed.pop()
        {
            reply.state(&entry_of(&listed));
        }
        // There is room again for those that wait to be listed.
        self.nudge();
    }

    pub(super) fn states_list(&self, control: &mut Control) {
        // What was listed before and never fetched is old.
        while self.common.pipeline.listed.pop().is_some() {}
        self.tell(control, Note::Begin(Chore::List));
    }

    pub(super) fn states_kill(&self, control: &mut Control, bytes: &[u8]) -> Result<(), Error> {
        let record: &[u8; 112] = bytes.try_into().map_err(|_| Error::Invalid)?;
        let (id, rest) = record.split_first_chunk::<8>().ok_or(Error::Invalid)?;
        let (host, rest) = rest.split_first_chunk::<16>().ok_or(Error::Invalid)?;
        let (peer, rest) = rest.split_first_chunk::<16>().ok_or(Error::Invalid)?;
        let (numbers, label) = rest.split_first_chunk::<8>().ok_or(Error::Invalid)?;
        let [host_family, host_len, peer_family, peer_len, 0, 0, 0, 0] = *numbers else {
            return Err(Error::Invalid);
        };
        let end = |number: u8, addr: &[u8; 16], len: u8| match number {
            0 => Ok(None),
            number => family(number).map(|family| Some((family, *addr, len.min(128)))).ok_or(Error::Invalid),
        };
        let id = u64::from_ne_bytes(*id);
        let filter = StateFilter {
            host: end(host_family, host, host_len)?,
            peer: end(peer_family, peer, peer_len)?,
            rule_id: None,
            id: (id != 0).then_some(id),
        };
        let text = label.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let label = core::str::from_utf8(text).map_err(|_| Error::Invalid)?;
        if label.is_empty() {
            self.tell(control, Note::Begin(Chore::Kill(filter)));
            return Ok(());
        }
        let current = control.publisher.current().clone();
        let Some(bound) = current.bound() else { return Ok(()) };
        for (number, rule) in (0u32..).zip(&bound.ruleset().rules) {
            if rule.labels.iter().any(|own| own == label)
                && let Some(life) = bound.counters().life(number)
            {
                let of_rule = StateFilter { rule_id: Some(life.id), ..filter };
                self.tell(control, Note::Begin(Chore::Kill(of_rule)));
            }
        }
        Ok(())
    }

    /// Tracked sources, from a place on.
    pub(super) fn sources(&self, control: &Control, first: u64, reply: &mut Reply) {
        let now = ticks(self.common.host.now_ns());
        let bound = control.publisher.current().bound();
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for (next, node) in control.known.sources.list(first) {
            if !reply.has_room(SOURCE_LEN) {
                return;
            }
            let rule = bound.and_then(|bound| bound.counters().number_of(node.rule_id)).unwrap_or(u32::MAX);
            let expires = if node.states > 0 { 0 } else { ms(node.over.saturating_sub(now)) };
            let long = [ms(now.saturating_sub(node.made)), expires, next as u64];
            reply.source(&node.addr, node.family as u8, [rule, node.states, node.connections, node.rate], long);
        }
    }

    /// Forgets tracked sources: all, or those in a network.
    pub(super) fn sources_kill(control: &Control, filter: &[u8]) -> Result<(), Error> {
        let bound = control.publisher.current().bound();
        if filter.is_empty() {
            control.known.kill_sources(bound, |_| true);
            return Ok(());
        }
        let record: &[u8; 20] = filter.try_into().map_err(|_| Error::Invalid)?;
        let [addr @ .., number, len, 0, 0] = *record else { return Err(Error::Invalid) };
        let family = family(number).ok_or(Error::Invalid)?;
        let mask = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(len.min(128)))).unwrap_or(0);
        control.known.kill_sources(bound, |node| {
            let differs = u128::from_be_bytes(node.addr) ^ u128::from_be_bytes(addr);
            node.family as u8 == family as u8 && differs & mask == 0
        });
        Ok(())
    }

    pub(super) fn status(&self, control: &Control, reply: &mut Reply) {
        let default = Options::default();
        let options = control.publisher.current().ruleset().map_or(&default, |ruleset| &ruleset.options);
        let limits = &options.limits;
        let limits = [limits.states, limits.src_nodes, limits.frags, limits.tables, limits.table_entries];
        reply.status(self.common.pipeline.states(), &options.timeouts.0, &limits);
    }

    /// Replaces or empties an anchor.
    pub(super) fn anchor(
        &self,
        control: &mut Control,
        path: &str,
        image: Option<&[u8]>,
        reply: &mut Reply,
    ) -> Result<(), Error> {
        let current = control.publisher.current().clone();
        let read = || {
            let with = image.map(image::parse).transpose()?;
            let none = Ruleset::default();
            let main = current.ruleset().unwrap_or(&none);
            if path.is_empty() {
                return Err(ImageError { kind: ImageErrorKind::AnchorPath, offset: 0 });
            }
            // What was merged is taken for as little as what comes from outside.
            image::parse(&image::encode(&replace_anchor(main, path, with.as_ref())))
        };
        self.finish_load(control, read, reply)
    }
}

/// Milliseconds of ticks: a tick is 2^28 ns.
const fn ms(ticks: u64) -> u64 {
    ticks.saturating_mul(1 << 28) / 1_000_000
}

fn entry_of(listed: &Listed) -> StateEntry {
    let (wire, stack) = (&listed.wire, &listed.stack);
    let [first, second] = listed.phases;
    StateEntry {
        id: listed.id,
        packets: listed.packets,
        bytes: listed.bytes,
        times: [ms(listed.age), ms(listed.expires)],
        rule: listed.rule,
        addrs: [wire.src(), wire.dst(), stack.src(), stack.dst()],
        ports: [wire.src_port(), wire.dst_port(), stack.src_port(), stack.dst_port()],
        small: [listed.way, wire.family() as u8, listed.protocol, first, second],
    }
}
