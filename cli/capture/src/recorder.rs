//! Recording frames as they come, from any thread.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Direction, LinkType, Record, Writer};

/// A pcapng file of one Ethernet interface that frames are appended to.
pub struct Recorder {
    path: PathBuf,
    file: Mutex<Option<Writer<BufWriter<File>>>>,
}

impl Recorder {
    /// Creates or replaces `path`; `name` is the interface's.
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn create(path: &Path, name: &str) -> io::Result<Self> {
        let mut writer = Writer::create(path)?;
        writer.add_interface(name, LinkType::ETHERNET)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(Some(writer)) })
    }

    /// Appends a frame. After a failure, which is said once, nothing more is written; false means not written.
    pub fn record(&self, time_ns: u64, direction: Direction, bytes: &[u8]) -> bool {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = &mut *file else {
            return false;
        };
        let original_len = bytes.len();
        let record = Record { interface: 0, time_ns, original_len, direction: Some(direction), comment: None, bytes };
        match writer.write(&record) {
            Ok(()) => true,
            Err(e) => {
                eprintln!("{}: {e}; recording ends here", self.path.display());
                *file = None;
                false
            }
        }
    }

    /// Writes out what is buffered.
    pub fn flush(&self) {
        if let Some(writer) = &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner)
            && let Err(e) = writer.flush()
        {
            eprintln!("{}: {e}", self.path.display());
        }
    }
}
