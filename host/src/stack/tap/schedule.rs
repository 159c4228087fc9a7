//! What a thread asks of the scheduler: `Documentation/scheduler/sched-eevdf.rst`, sched_setattr(2).

use std::time::Duration;

use nix::libc;

/// `struct sched_attr` as of `SCHED_ATTR_SIZE_VER0`.
#[repr(C)]
#[derive(Default)]
struct Attr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Asks for turns of `slice` on the processor for the calling thread: shorter and more often, the same share in all.
/// A kernel that knows no such thing (before Linux 6.12) leaves everything as it is, and so does a thread that somebody
/// gave a policy of another kind.
pub fn ask_for_slices(slice: Duration) {
    const SIZE: u32 = size_of::<Attr>() as u32;
    let mut attr = Attr::default();
    // SAFETY: sched_getattr(0, ..) writes at most SIZE bytes of the calling thread's attributes into `attr`, which has
    // that size and is ours.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, SIZE, 0) };
    if got != 0 || attr.policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attr.size = SIZE;
    attr.runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: sched_setattr(0, ..) reads `attr.size` bytes, which are all of `attr`, and changes the calling thread only.
    // Refused, everything stays as it was.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_changes_nothing_else_of_a_thread() {
        let nice = || {
            let mut attr = Attr::default();
            // SAFETY: as in `ask_for_slices`.
            let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size_of::<Attr>(), 0) };
            assert_eq!(got, 0);
            (attr.policy, attr.nice, attr.priority)
        };
        let before = nice();
        ask_for_slices(Duration::from_micros(100));
        assert_eq!(nice(), before);
    }
}
