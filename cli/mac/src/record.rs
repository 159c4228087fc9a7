//! Outputs of the system's tools, taken on a Mac now or read from a file that somebody sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

/// A tool, how it is called, and what for.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Heading in a recording.
    pub name: &'static str,
    /// Program and arguments.
    pub command: &'static [&'static str],
}

/// Everything that `weir doctor` and `weir status` look at. None of them changes anything or needs the superuser.
pub const PROBES: &[Probe] = &[
    Probe { name: "sw_vers", command: &["sw_vers"] },
    Probe { name: "uname", command: &["uname", "-m"] },
    Probe { name: "csrutil", command: &["csrutil", "status"] },
    Probe { name: "developer", command: &["systemextensionsctl", "developer"] },
    Probe { name: "sysext", command: &["systemextensionsctl", "list"] },
    Probe {
        name: "codesign-app",
        command: &["codesign", "-d", "--verbose=2", "--entitlements", "-", "--xml", "@APP@"],
    },
    Probe {
        name: "codesign-dext",
        command: &["codesign", "-d", "--verbose=2", "--entitlements", "-", "--xml", "@DEXT@"],
    },
    Probe { name: "verify", command: &["codesign", "--verify", "--deep", "--strict", "--verbose=1", "@APP@"] },
    Probe { name: "ioreg-nic", command: &["ioreg", "-l", "-w", "0", "-r", "-c", "IOUserNetworkEthernet"] },
    Probe { name: "ioreg-ethernet", command: &["ioreg", "-l", "-w", "0", "-r", "-c", "IOEthernetController"] },
    Probe { name: "pf", command: &["pfctl", "-s", "info"] },
];

/// Output by probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording(BTreeMap<String, String>);

const MARK: &str = "#### ";

impl Recording {
    /// Runs every probe. What cannot be started has its error as output.
    pub fn take(app: &str, dext: &str) -> Self {
        let mut recording = Self::default();
        for probe in PROBES {
            let mut words = probe.command.iter().map(|word| match *word {
                "@APP@" => app,
                "@DEXT@" => dext,
                word => word,
            });
            let Some(program) = words.next() else { continue };
            let text = match Command::new(program).args(words).output() {
                Ok(output) => {
                    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
                }
                Err(error) => format!("cannot start {program}: {error}"),
            };
            recording.0.insert(probe.name.to_owned(), text);
        }
        recording
    }

    /// Reads what [`Recording::text`] wrote.
    ///
    /// # Errors
    /// No heading of ours in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut recording = Self::default();
        let mut name = None;
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix(MARK) {
                let word = heading.split(':').next().unwrap_or("").trim().to_owned();
                recording.0.entry(word.clone()).or_default();
                name = Some(word);
            } else if let Some(output) = name.as_ref().and_then(|name| recording.0.get_mut(name)) {
                output.push_str(line);
                output.push('\n');
            }
        }
        if recording.0.is_empty() {
            return Err(format!("no recording: it has sections like `{MARK}sysext: systemextensionsctl list`"));
        }
        Ok(recording)
    }

    /// One text file with a section for each probe.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for probe in PROBES {
            if let Some(output) = self.0.get(probe.name) {
                let _ = writeln!(text, "{MARK}{}: {}", probe.name, probe.command.join(" "));
                text.push_str(output.trim_end());
                text.push('\n');
            }
        }
        text
    }

    /// Output of a probe; `None` if it was not run.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `ProductVersion` of `sw_vers`.
    pub fn macos(&self) -> &str {
        self.get("sw_vers").and_then(|text| field(text, "ProductVersion:")).unwrap_or("")
    }
}

/// What follows a word at the beginning of a line.
pub(crate) fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim_start().strip_prefix(key)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_survives_a_file() {
        let recording = Recording::parse(include_str!("../tests/recorded/mac-15.txt")).expect("recording");
        assert_eq!(recording.macos(), "15.3.1");
        assert_eq!(Recording::parse(&recording.text()).expect("again"), recording);
        assert!(Recording::parse("hello\n").is_err());
        assert_eq!(recording.get("nothing"), None);
    }
}
