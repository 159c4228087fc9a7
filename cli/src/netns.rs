//! Network namespaces without names: each belongs to a thread of ours and is gone with the process, however it ends.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

/// One network namespace.
pub struct Namespace {
    fd: File,
}

impl Namespace {
    /// Makes a new, empty namespace with its loopback interface up.
    ///
    /// # Errors
    /// What the kernel said; without `CAP_SYS_ADMIN` this is `EPERM`.
    pub fn new() -> Result<Self> {
        let fd = thread::spawn(|| -> io::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        })
        .join()
        .map_err(|_| anyhow::anyhow!("the namespace thread panicked"))?
        .context("cannot make a network namespace")?;
        let namespace = Self { fd };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A path that names the namespace while this value lives, for `setns(2)` elsewhere in this process.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// Runs `work` on a thread inside the namespace.
    ///
    /// # Errors
    /// The namespace cannot be entered, or what `work` returned.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
                    work()
                })
                .join()
                .unwrap_or_else(|_| bail!("a thread of the demo panicked"))
        })
    }

    /// Runs `ip ARGS` inside.
    ///
    /// # Errors
    /// `ip` is missing or refused; its message is in the text.
    pub fn ip(&self, args: &str) -> Result<()> {
        self.command("ip", args)
    }

    /// Runs `program ARGS` (split at spaces) inside, with its output in the error.
    ///
    /// # Errors
    /// The program is missing or failed.
    pub fn command(&self, program: &str, args: &str) -> Result<()> {
        self.run(|| {
            let output = Command::new(program)
                .args(args.split_whitespace())
                .stdin(Stdio::null())
                .output()
                .with_context(|| format!("cannot start `{program}`"))?;
            if !output.status.success() {
                bail!("`{program} {args}`: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
            Ok(())
        })
    }
}
