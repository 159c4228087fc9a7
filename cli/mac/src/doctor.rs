//! `weir doctor`: what about this Mac helps or hinders the driver, from a recording of its tools' outputs.

use serde_json::{Value, json};

use crate::ioreg;
use crate::record::{Recording, field};
use crate::sysext::{self, Extension};
use crate::version::{driverkit, settings_path};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// The driver will not work like this.
    Bad,
    /// Not to be told from the recording.
    Unknown,
}

impl Verdict {
    /// As `--json` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; empty if nothing.
    pub action: String,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, found: impl Into<String>, action: impl Into<String>) -> Self {
        Self { name, verdict, found: found.into(), action: action.into() }
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        json!({ "name": self.name, "verdict": self.verdict.name(), "found": self.found, "action": self.action })
    }
}

/// Every check, in the order in which they matter.
pub fn examine(recording: &Recording, dext: &str) -> Vec<Check> {
    let extensions = recording.get("sysext").map(sysext::parse).unwrap_or_default();
    let mut checks = vec![
        system(recording),
        integrity(recording),
        developer(recording),
        signature(recording),
        entitlements(recording, "codesign-app", "app entitlements", APP_ENTITLEMENTS),
        entitlements(recording, "codesign-dext", "dext entitlements", DEXT_ENTITLEMENTS),
        own_extension(recording, &extensions, dext),
    ];
    checks.extend(other_extensions(&extensions, dext));
    checks.extend(hardware(recording, dext));
    checks.push(packet_filter(recording));
    checks
}

fn system(recording: &Recording) -> Check {
    let macos = recording.macos();
    let found = |kit: u32| format!("macOS {macos}, DriverKit {kit}");
    match driverkit(macos) {
        None => Check::new("system", Verdict::Unknown, "no macOS version in the recording", ""),
        Some(kit @ ..21) => {
            let action = "macOS 12 or later is needed: the NIC's callbacks came with DriverKit 21";
            Check::new("system", Verdict::Bad, found(kit), action)
        }
        Some(kit @ 21..=25) => Check::new("system", Verdict::Good, found(kit), ""),
        Some(kit) => Check::new(
            "system",
            Verdict::Note,
            found(kit),
            "newer than what the driver was compared with; tell us how it goes",
        ),
    }
}

fn integrity(recording: &Recording) -> Check {
    let text = recording.get("csrutil").unwrap_or("");
    if text.contains("status: enabled") {
        Check::new("sip", Verdict::Good, "System Integrity Protection is on", "")
    } else if text.contains("status: disabled") {
        let action = "needed for an ad-hoc signature only; `csrutil enable` in Recovery when you are done";
        Check::new("sip", Verdict::Note, "System Integrity Protection is off", action)
    } else if text.contains("unknown (Custom Configuration)") {
        Check::new(
            "sip",
            Verdict::Note,
            "System Integrity Protection is partly off",
            "`csrutil clear` in Recovery resets it",
        )
    } else {
        Check::new("sip", Verdict::Unknown, "csrutil gave no answer", "")
    }
}

fn developer(recording: &Recording) -> Check {
    match recording.get("developer").and_then(sysext::developer_mode) {
        Some(true) => {
            let action = "the app may lie anywhere and versions are always replaced; `systemextensionsctl developer off` for users";
            Check::new("developer-mode", Verdict::Note, "developer mode is on", action)
        }
        Some(false) => {
            Check::new("developer-mode", Verdict::Good, "developer mode is off: the app must be in /Applications", "")
        }
        None => Check::new("developer-mode", Verdict::Unknown, "systemextensionsctl gave no answer", ""),
    }
}

fn signature(recording: &Recording) -> Check {
    let app = recording.get("codesign-app").unwrap_or("");
    let verified = recording.get("verify").unwrap_or("");
    let team = field(app, "TeamIdentifier=").unwrap_or("");
    let dext_team = recording.get("codesign-dext").and_then(|text| field(text, "TeamIdentifier=")).unwrap_or("");
    if app.contains("not signed at all") || (app.is_empty() && verified.is_empty()) {
        return Check::new(
            "signature",
            Verdict::Unknown,
            "no signature of the app in the recording",
            "name the app with --app",
        );
    }
    let broken = ["invalid signature", "a sealed resource is missing", "does not satisfy", "code object is not signed"];
    if let Some(line) = verified.lines().find(|line| broken.iter().any(|text| line.contains(text))) {
        return Check::new("signature", Verdict::Bad, line.trim(), "sign it again: `cargo xtask bundle`");
    }
    if field(app, "Signature=") == Some("adhoc") || team == "not set" {
        let action = "activation needs SIP off, or set team and signing-identity in weir.toml and build again";
        return Check::new("signature", Verdict::Bad, "signed ad hoc", action);
    }
    if !dext_team.is_empty() && dext_team != team {
        let found = format!("the app is team {team}'s, the extension {dext_team}'s");
        return Check::new("signature", Verdict::Bad, found, "sign both with one certificate");
    }
    Check::new("signature", Verdict::Good, format!("signed by team {team}"), "")
}

const APP_ENTITLEMENTS: &[&str] =
    &["com.apple.developer.system-extension.install", "com.apple.developer.driverkit.userclient-access"];
const DEXT_ENTITLEMENTS: &[&str] =
    &["com.apple.developer.driverkit", "com.apple.developer.driverkit.family.networking"];

fn entitlements(recording: &Recording, probe: &str, name: &'static str, wanted: &[&str]) -> Check {
    let text = recording.get(probe).unwrap_or("");
    if !text.contains("<key>") {
        return Check::new(name, Verdict::Unknown, "no entitlements in the recording", "");
    }
    let missing: Vec<&str> =
        wanted.iter().copied().filter(|key| !text.contains(&format!("<key>{key}</key>"))).collect();
    if missing.is_empty() {
        Check::new(name, Verdict::Good, "what the driver needs is there", "")
    } else {
        let action = "ask for them at developer.apple.com and sign with a profile that has them (docs/install.md)";
        Check::new(name, Verdict::Bad, format!("missing: {}", missing.join(", ")), action)
    }
}

fn own_extension(recording: &Recording, extensions: &[Extension], dext: &str) -> Check {
    let own: Vec<&Extension> = extensions.iter().filter(|extension| extension.id == dext).collect();
    let place = settings_path(recording.macos());
    let stale: Vec<&str> = own
        .iter()
        .filter(|extension| extension.waits_for_reboot())
        .map(|extension| extension.version.as_str())
        .collect();
    if recording.get("sysext").is_none() {
        return Check::new("extension", Verdict::Unknown, "no list of extensions in the recording", "");
    }
    if let Some(running) = own.iter().find(|extension| extension.runs()) {
        let found = format!("version {} is active", running.version);
        return if stale.is_empty() {
            Check::new("extension", Verdict::Good, found, "")
        } else {
            Check::new("extension", Verdict::Note, format!("{found}; {} waits for a restart", stale.join(", ")), "")
        };
    }
    if own.iter().any(|extension| extension.waits_for_user()) {
        return Check::new("extension", Verdict::Bad, "waits for approval", format!("open {place} and allow \"Weir\""));
    }
    if own.iter().any(|extension| extension.is_disabled()) {
        return Check::new("extension", Verdict::Bad, "switched off", format!("open {place} and switch \"Weir\" on"));
    }
    if !stale.is_empty() {
        let found = format!("version {} was removed and waits for a restart", stale.join(", "));
        return Check::new("extension", Verdict::Bad, found, "restart the Mac");
    }
    Check::new("extension", Verdict::Note, "not installed", "`weir install`")
}

/// Network extensions see the traffic after the driver, and endpoint security may hold what the driver's app does.
fn other_extensions(extensions: &[Extension], dext: &str) -> Vec<Check> {
    let running = extensions.iter().filter(|extension| extension.id != dext && extension.runs());
    running
        .filter_map(|extension| {
            let (name, action): (&'static str, &str) = match extension.category.as_str() {
                "network_extension" => (
                    "content-filter",
                    "a content filter, proxy or VPN: it judges flows behind the driver, and may block what the driver passed",
                ),
                "driver_extension" => ("driver", "another driver extension; it matters only if it matches the same adapter"),
                _ => return None,
            };
            let found = format!("{} {} of team {}", extension.id, extension.version, extension.team);
            Some(Check::new(name, Verdict::Note, found, action))
        })
        .collect()
}

fn hardware(recording: &Recording, dext: &str) -> Vec<Check> {
    let mut nodes = recording.get("ioreg-nic").map(ioreg::parse).unwrap_or_default();
    nodes.extend(recording.get("ioreg-ethernet").map(ioreg::parse).unwrap_or_default());
    let mut checks = Vec::new();
    for nic in ioreg::nics(&nodes, dext) {
        let name = if nic.bsd_name.is_empty() { "without an interface yet" } else { &nic.bsd_name };
        let verdict = if nic.active && !nic.bsd_name.is_empty() { Verdict::Good } else { Verdict::Bad };
        let action =
            if verdict == Verdict::Good { "" } else { "look at `log show --last 5m --predicate 'sender == \"weir\"'`" };
        checks.push(Check::new("nic", verdict, format!("{} on {}: {name}", nic.class, nic.provider), action));
    }
    for (id, interface) in ioreg::others(&nodes, dext) {
        let action = "if the adapter is to be Weir's, a personality with a more exact match wins over Apple's driver";
        checks.push(Check::new("other-driver", Verdict::Note, format!("{interface} is driven by {id}"), action));
    }
    checks
}

fn packet_filter(recording: &Recording) -> Check {
    let text = recording.get("pf").unwrap_or("");
    if text.contains("Status: Enabled") {
        let action = "pf judges packets behind the driver, too: look at its rules with `sudo pfctl -s rules`";
        Check::new("pf", Verdict::Note, "the packet filter of macOS is on", action)
    } else if text.contains("Status: Disabled") {
        Check::new("pf", Verdict::Good, "the packet filter of macOS is off", "")
    } else {
        Check::new(
            "pf",
            Verdict::Unknown,
            "pfctl gave no answer; it wants the superuser",
            "`sudo weir doctor` looks at it",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEXT_ID;

    fn verdicts(text: &str) -> Vec<(&'static str, Verdict)> {
        let recording = Recording::parse(text).expect("recording");
        examine(&recording, DEXT_ID).into_iter().map(|check| (check.name, check.verdict)).collect()
    }

    #[track_caller]
    fn has(found: &[(&'static str, Verdict)], name: &'static str, verdict: Verdict) {
        assert!(found.contains(&(name, verdict)), "{name}: {found:?}");
    }

    #[test]
    fn a_healthy_mac() {
        let found = verdicts(include_str!("../tests/recorded/mac-15.txt"));
        assert!(found.iter().all(|(_, verdict)| *verdict != Verdict::Bad), "{found:?}");
        for name in ["system", "sip", "signature", "app entitlements", "dext entitlements", "extension", "nic"] {
            has(&found, name, Verdict::Good);
        }
        has(&found, "content-filter", Verdict::Note);
        has(&found, "pf", Verdict::Note);
    }

    #[test]
    fn what_hinders_is_bad() {
        let good = include_str!("../tests/recorded/mac-15.txt");
        for (name, from, to) in [
            ("system", "15.3.1", "11.7.10"),
            ("signature", "TeamIdentifier=ABCDE12345", "TeamIdentifier=not set"),
            (
                "signature",
                "Weir.app: valid on disk",
                "Weir.app: invalid signature (code or signature have been modified)",
            ),
            ("app entitlements", "<key>com.apple.developer.system-extension.install</key>", "<key>x</key>"),
            ("dext entitlements", "<key>com.apple.developer.driverkit.family.networking</key>", "<key>x</key>"),
            ("extension", "dev.weir.driver\t[activated enabled]", "dev.weir.driver\t[activated waiting for user]"),
            ("extension", "dev.weir.driver\t[activated enabled]", "dev.weir.driver\t[activated disabled]"),
            ("nic", "\"BSD Name\" = \"en7\"", "\"Other\" = \"en7\""),
        ] {
            assert!(good.contains(from), "{from}");
            has(&verdicts(&good.replace(from, to)), name, Verdict::Bad);
        }
    }

    #[test]
    fn old_systems_and_gaps() {
        let found = verdicts(include_str!("../tests/recorded/mac-11.txt"));
        has(&found, "system", Verdict::Bad);
        has(&found, "developer-mode", Verdict::Note);
        has(&found, "extension", Verdict::Bad);
        has(&found, "signature", Verdict::Bad);
        let empty = verdicts("#### sw_vers: sw_vers\n");
        assert!(empty.iter().all(|(_, verdict)| *verdict == Verdict::Unknown), "{empty:?}");
        has(&verdicts(include_str!("../tests/recorded/mac-26.txt")), "system", Verdict::Good);
    }
}
