//! DPDK's environment, without huge pages, devices or files. The declarations are those of rte_eal.h and rte_malloc.h of
//! DPDK 22.11.

use std::ffi::{CString, c_char, c_int, c_uint};
use std::sync::OnceLock;

use anyhow::{Result, bail};

#[repr(C)]
#[derive(Default)]
struct HeapStats {
    total: usize,
    free: usize,
    greatest_free: usize,
    free_count: c_uint,
    alloc_count: c_uint,
    allocated: usize,
}

unsafe extern "C" {
    fn rte_eal_init(argc: c_int, argv: *mut *mut c_char) -> c_int;
    fn rte_malloc_get_socket_stats(socket: c_int, stats: *mut HeapStats) -> c_int;
}

/// Starts the environment, once per process; the calling thread stays on `core` from then on.
///
/// # Errors
/// It does not start.
pub fn start(core: usize) -> Result<()> {
    static STARTED: OnceLock<bool> = OnceLock::new();
    let core = core.to_string();
    let arguments = ["bench", "-l", &core, "--no-huge", "-m", "3072", "--no-pci", "--no-telemetry", "--no-shconf"];
    let arguments: Vec<CString> =
        arguments.iter().chain(&["--log-level=3"]).map(|text| CString::new(*text)).collect::<Result<_, _>>()?;
    let started = STARTED.get_or_init(|| {
        let mut pointers: Vec<*mut c_char> = arguments.iter().map(|text| text.as_ptr().cast_mut()).collect();
        // SAFETY: the strings outlive the call; the library may reorder the pointers, which are ours alone.
        let is_there = unsafe { rte_eal_init(pointers.len() as c_int, pointers.as_mut_ptr()) >= 0 };
        advise_memory();
        is_there
    });
    if !started {
        bail!("DPDK's environment does not start");
    }
    Ok(())
}

/// Asks for huge pages for the library's memory as for ours: it is the mapping that is as large as was asked for.
fn advise_memory() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        if let Some((from, to)) = range.and_then(|(from, to)| Some((number(from)?, number(to)?)))
            && to - from >= 1 << 30
        {
            super::huge::advise(from as *mut u8, to - from);
        }
    }
}

/// Bytes that the library has allocated.
pub fn heap() -> usize {
    let mut stats = HeapStats::default();
    // SAFETY: the structure is the library's own, and it only writes to it.
    unsafe { rte_malloc_get_socket_stats(0, &raw mut stats) };
    stats.allocated
}
