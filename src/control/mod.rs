//! Commands from user space (`WEIR_CMD_*`): bytes in, bytes out.
//!
//! Requests come from clients that are not trusted. They are read field by field from a copy; nothing in them is
//! taken for an address or a length without a check. Numbers are in the machine's byte order, since both sides run
//! on one machine and the structs of `dext/weir_core.h` are the format.
#![forbid(unsafe_code)]

mod command;
mod reply;
mod tap;

pub use command::{ABI_VERSION, ALL_QUEUES, COMMAND_LEN, Command, CommandError, REQUEST_MAX, TableChange};
pub use reply::{
    COUNTERS_LEN, EVENT_LEN, HISTOGRAM_LEN, INFO_LEN, Info, LOAD_RESULT_LEN, LoadResult, RULE_COUNTERS_LEN, Reply,
    SOURCE_LEN, STATE_LEN, STATUS_LEN, StateEntry, TABLE_ENTRY_LEN, TABLE_RESULT_LEN, TAP_INFO_LEN,
};
pub use tap::{TAP_REQUEST_LEN, TapRequest};

#[cfg(test)]
mod tests;
