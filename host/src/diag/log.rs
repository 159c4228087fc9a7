//! The sink of `os_log`: kept, counted and, on demand, printed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// What to do with log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Print lines to standard error.
    pub print: bool,
    /// Keep this many of the newest lines.
    pub keep: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { print: false, keep: 4096 }
    }
}

/// One line of the dext's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, in ns of the runtime's clock.
    pub time_ns: u64,
    /// `os_log_type_t`: 0 default, 1 info, 2 debug, 16 error, 17 fault.
    pub level: u32,
    /// The logger's subsystem; empty for the default log.
    pub subsystem: String,
    /// The text.
    pub text: String,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Lines since the host began.
    pub lines: u64,
    /// Bytes of those lines.
    pub bytes: u64,
    /// Most lines within one second: the real log throttles a dext that is too loud.
    pub peak_per_second: u64,
}

#[derive(Default)]
struct State {
    kept: VecDeque<LogLine>,
    stats: LogStats,
    second: u64,
    in_second: u64,
}

/// A host's log.
pub struct Log {
    config: LogConfig,
    state: Mutex<State>,
}

impl Log {
    pub(crate) fn new(config: LogConfig) -> Self {
        Log { config, state: Mutex::new(State::default()) }
    }

    pub(crate) fn write(&self, line: LogLine) {
        if self.config.print {
            eprintln!("{}", format_line(&line));
        }
        let mut s = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        s.stats.lines += 1;
        s.stats.bytes += line.text.len() as u64;
        let second = line.time_ns / 1_000_000_000;
        if second != s.second {
            s.second = second;
            s.in_second = 0;
        }
        s.in_second += 1;
        s.stats.peak_per_second = s.stats.peak_per_second.max(s.in_second);
        if self.config.keep > 0 {
            if s.kept.len() == self.config.keep {
                s.kept.pop_front();
            }
            s.kept.push_back(line);
        }
    }

    /// The newest lines, oldest first.
    pub fn lines(&self) -> Vec<LogLine> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).kept.iter().cloned().collect()
    }

    /// Counts so far.
    pub fn stats(&self) -> LogStats {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stats
    }
}

/// A line as it is printed.
pub(crate) fn format_line(line: &LogLine) -> String {
    let level = match line.level {
        16 => " error",
        17 => " fault",
        2 => " debug",
        _ => "",
    };
    let seconds = line.time_ns as f64 / 1e9;
    let (subsystem, space) = if line.subsystem.is_empty() { ("", "") } else { (line.subsystem.as_str(), " ") };
    format!("[{seconds:.6}]{level} {subsystem}{space}{}", line.text.trim_end())
}
