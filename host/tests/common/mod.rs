//! What the tests that boot drivers share.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use weir_host::port::{Offload, Port, RxFrame, Sink};

/// Schedule of the simulated runs.
pub const SEED: u64 = 0x5eed_0001;

/// Builds the driver whose sources are in `source`; the shared object's path. Once per process and name.
pub fn build(source: &Path) -> PathBuf {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    static BUILT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let dir = DIR.get_or_init(|| tempfile::tempdir().expect("a temporary directory"));
    let name = source.file_name().expect("a directory with a name").to_string_lossy();
    let out = dir.path().join(format!("lib{name}.so"));
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.contains(&out) {
        return out;
    }
    let dext = weir_iig::Dext {
        src_dirs: vec![source.to_owned()],
        include_dirs: vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("include")],
        out: out.clone(),
        // As the runtime was built (build.rs).
        sanitizer: match option_env!("WEIR_SANITIZE") {
            Some("address") => weir_iig::Sanitizer::Address,
            Some("thread") => weir_iig::Sanitizer::Thread,
            _ => weir_iig::Sanitizer::None,
        },
        ..weir_iig::Dext::default()
    };
    if let Err(error) = weir_iig::build_dext(&dext) {
        panic!("{}: {error}", source.display());
    }
    built.push(out.clone());
    out
}

/// A driver below tests/fixtures.
pub fn fixture(name: &str) -> PathBuf {
    build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name))
}

/// Keeps what the driver delivers.
#[derive(Default)]
pub struct Recorder(Mutex<Vec<Vec<u8>>>);

impl Recorder {
    /// The frames since the last call.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.0.lock().expect("deliver does not panic"))
    }
}

impl Sink for Recorder {
    fn deliver(&self, _queue: usize, frames: &[RxFrame<'_>]) {
        self.0.lock().expect("take does not panic").extend(frames.iter().map(|frame| frame.bytes.to_vec()));
    }
}

/// A frame of an experimental type that is `number` all through.
pub fn frame(number: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x02, 1, 1, 1, 1, 1, 0x02, 2, 2, 2, 2, 2, 0x88, 0xb5];
    bytes.resize(length, number);
    bytes
}

/// What EchoNic and PullNic make of a frame.
pub fn echoed(sent: &[u8]) -> Vec<u8> {
    [&sent[6..12], &sent[..6], &sent[12..]].concat()
}

/// Sends one frame; false if no packet is free or the queue is full.
pub fn try_send(port: &Arc<dyn Port>, bytes: &[u8]) -> bool {
    let Some(mut packet) = port.tx_alloc() else { return false };
    packet.buffer()[..bytes.len()].copy_from_slice(bytes);
    packet.finish(bytes.len(), Offload::default());
    let mut frames = vec![packet];
    port.tx_submit(0, &mut frames);
    frames.is_empty()
}
