//! Macros, options and tables.

use super::addr::address;
use crate::ast::{Family, SetOption};
use crate::flat::{FlatLine, FlatTable, FlatTablePart};

/// What pfctl prints for a line, with its end; nothing for options it prints nothing for.
#[must_use]
pub fn line(line: &FlatLine) -> String {
    match line {
        FlatLine::Macro(name, value) => format!("{name} = \"{value}\"\n"),
        FlatLine::Set(option) => set(option),
        FlatLine::Table(table) => self::table(table),
        FlatLine::Queue(queue) => super::queue::queue(queue),
        FlatLine::Limiter(limiter) => super::queue::limiter(limiter),
    }
}

fn set(option: &SetOption) -> String {
    let choice = |on: bool, yes: &'static str, no: &'static str| if on { yes } else { no };
    match option {
        SetOption::Timeout(list) => list.iter().map(|(n, s)| format!("set timeout {n} {s}\n")).collect(),
        SetOption::Limit(list) => list.iter().map(|(n, c)| format!("set limit {n} {c}\n")).collect(),
        SetOption::Optimization(name) => format!("set optimization {name}\n"),
        SetOption::LogInterface(name) => format!("set loginterface {name}\n"),
        SetOption::HostId(id) => format!("set hostid 0x{id:08x}\n"),
        SetOption::BlockPolicy(on) => {
            format!("set block-policy {}\n", choice(*on, "return", "drop"))
        }
        SetOption::FailPolicy(on) => format!("set fail-policy {}\n", choice(*on, "return", "drop")),
        SetOption::RequireOrder(on) => format!("set require-order {}\n", choice(*on, "yes", "no")),
        SetOption::Fingerprints(file) => format!("set fingerprints \"{file}\"\n"),
        SetOption::StatePolicy(on) => {
            format!("set state-policy {}\n", choice(*on, "if-bound", "floating"))
        }
        SetOption::Debug(level) => format!("set debug {level}\n"),
        SetOption::Skip(interfaces) => match interfaces.as_slice() {
            [one] if one.name == "none" => "set skip on none\n".to_owned(),
            several => {
                let names: String = several.iter().map(|i| format!(" {}", i.name)).collect();
                format!("set skip on {{{names} }}\n")
            }
        },
        // pfctl leaves a space at the end when there is no `no-df`.
        SetOption::Reassemble { on, no_df } => {
            format!("set reassemble {} {}\n", choice(*on, "yes", "no"), choice(*no_df, "no-df", ""))
        }
        SetOption::SynCookies { mode, watermarks } => match watermarks {
            Some((start, end)) => format!("set syncookies {mode} (start {start}%, end {end}%)\n"),
            None => format!("set syncookies {mode}\n"),
        },
        SetOption::RulesetOptimization(_) | SetOption::StateDefaults(_) | SetOption::KeepCounters => String::new(),
    }
}

fn table(table: &FlatTable) -> String {
    let mut out = format!("table <{}>", table.name);
    for (on, text) in [(table.constant, " const"), (table.persist, " persist"), (table.counters, " counters")] {
        if on {
            out.push_str(text);
        }
    }
    // Lists that follow one another are printed as one; lists without an address are not printed unless they are all
    // there is.
    let mut open = false;
    let mut any = false;
    for part in &table.parts {
        match part {
            FlatTablePart::File(name, _) => {
                if open {
                    out.push_str(" }");
                    open = false;
                }
                out.push_str(&format!(" file \"{name}\""));
                any = true;
            }
            FlatTablePart::List(hosts) if hosts.is_empty() => {}
            FlatTablePart::List(hosts) => {
                if !open {
                    out.push_str(" {");
                    open = true;
                }
                any = true;
                for host in hosts {
                    out.push_str(if host.negate { " !" } else { " " });
                    out.push_str(&address(&host.addr, host.family.unwrap_or(Family::Any)));
                }
            }
        }
    }
    if open {
        out.push_str(" }");
    }
    if !any && !table.parts.is_empty() {
        out.push_str(" { }");
    }
    out.push('\n');
    out
}
