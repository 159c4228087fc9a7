//! From a request to a driver that runs, or to one that is gone: what the system said, what it means, what to do next.

use crate::sysext::Extension;
use crate::version::{compare_pair, settings_path};

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// `weir install`
    Install,
    /// `weir upgrade`
    Upgrade,
    /// `weir uninstall`
    Uninstall,
}

/// What the system told the request's delegate, or what was seen before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// requestNeedsUserApproval
    NeedsApproval,
    /// actionForReplacingExtension: versions as `short/build`.
    Replacing {
        /// What is installed.
        installed: String,
        /// What this app brings.
        bundled: String,
    },
    /// didFinishWithResult: 0 completed, 1 will complete after a reboot.
    Finished(i64),
    /// didFailWithError: `OSSystemExtensionErrorCode`.
    Failed(i64),
    /// A look at the list, for what the delegate is not told.
    Listed(Vec<Extension>),
}

/// Where things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Handed to the system.
    Requested,
    /// The user has to allow it.
    NeedsApproval,
    /// It was allowed after we had asked for it.
    ApprovedLater,
    /// An older version makes place.
    Replacing,
    /// The installed one is newer.
    Rollback,
    /// Installed and running.
    Active,
    /// Switched off in the settings, or forbidden by a profile.
    Denied,
    /// The change waits for a restart.
    RebootRequired,
    /// The app is not where it has to be.
    WrongLocation,
    /// The signature is not accepted.
    BadSignature,
    /// An entitlement is missing.
    MissingEntitlement,
    /// An uninstalled one is still there until a restart.
    UninstallPending,
    /// Gone.
    Removed,
    /// Anything else.
    Failed,
}

impl State {
    /// As `--json` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::NeedsApproval => "needs-approval",
            Self::ApprovedLater => "approved-later",
            Self::Replacing => "replacing",
            Self::Rollback => "version-rollback",
            Self::Active => "active",
            Self::Denied => "denied",
            Self::RebootRequired => "reboot-required",
            Self::WrongLocation => "wrong-location",
            Self::BadSignature => "bad-signature",
            Self::MissingEntitlement => "missing-entitlement",
            Self::UninstallPending => "uninstall-pending",
            Self::Removed => "removed",
            Self::Failed => "failed",
        }
    }

    /// Nothing more will come from the system by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Requested | Self::NeedsApproval | Self::Replacing | Self::ApprovedLater)
    }

    /// The user got what was asked for, perhaps after a restart.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Active | Self::ApprovedLater | Self::Removed | Self::RebootRequired)
    }
}

/// What to answer to a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// OSSystemExtensionReplacementActionReplace
    Replace,
    /// OSSystemExtensionReplacementActionCancel
    Cancel,
}

/// A request under way.
#[derive(Clone, Debug)]
pub struct Activation {
    goal: Goal,
    dext: String,
    /// `short/build` of what this app brings.
    bundled: String,
    macos: String,
    force: bool,
    state: State,
    message: String,
    replaced: Option<String>,
    asked: bool,
}

impl Activation {
    /// A request for `dext`, of which the app brings version `bundled` (`short/build`). `force` allows an older version
    /// to replace a newer one.
    pub fn new(goal: Goal, dext: &str, bundled: &str, macos: &str, force: bool) -> Self {
        Self {
            goal,
            dext: dext.to_owned(),
            bundled: bundled.to_owned(),
            macos: macos.to_owned(),
            force,
            state: State::Requested,
            message: "asked macOS; this takes a few seconds".to_owned(),
            replaced: None,
            asked: false,
        }
    }

    /// Where things stand.
    pub fn state(&self) -> State {
        self.state
    }

    /// What that means and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Version that was replaced.
    pub fn replaced(&self) -> Option<&str> {
        self.replaced.as_deref()
    }

    /// Whether `bundled` may replace `installed`: equal and newer versions may, older ones only with `force`.
    pub fn replacement(&self, installed: &str, bundled: &str) -> Replacement {
        if self.force || compare_pair(bundled, installed).is_ge() { Replacement::Replace } else { Replacement::Cancel }
    }

    fn become_(&mut self, state: State, message: impl Into<String>) {
        self.state = state;
        self.message = message.into();
    }

    /// Takes one event. Returns the answer to a replacement, for nothing else.
    pub fn take(&mut self, event: &Event) -> Option<Replacement> {
        match event {
            Event::NeedsApproval => {
                self.asked = true;
                let place = settings_path(&self.macos);
                let text = format!(
                    "macOS wants your approval: open {place}, allow \"Weir\", and enter the password. weir waits for it; \
                     Ctrl-C leaves the request standing."
                );
                self.become_(State::NeedsApproval, text);
            }
            Event::Replacing { installed, bundled } => {
                let answer = self.replacement(installed, bundled);
                if answer == Replacement::Replace {
                    self.replaced = Some(installed.clone());
                    self.become_(State::Replacing, format!("version {installed} is replaced by {bundled}"));
                } else {
                    let text = format!(
                        "version {installed} is installed and newer than {bundled} of this app; nothing was changed. \
                         Install the newer app, or use --force to go back"
                    );
                    self.become_(State::Rollback, text);
                }
                return Some(answer);
            }
            Event::Finished(result) => self.finished(*result),
            Event::Failed(code) => self.failed(*code),
            Event::Listed(extensions) => self.listed(extensions),
        }
        None
    }

    fn finished(&mut self, result: i64) {
        match (result, self.goal) {
            (0, Goal::Uninstall) => {
                self.become_(State::Removed, "removed; `weir status` confirms it. Delete the app to remove the rest");
            }
            (0, _) if self.asked => {
                self.become_(State::ApprovedLater, "approved and installed; `weir status` shows the NIC in a moment");
            }
            (0, _) => self.become_(State::Active, "installed; `weir status` shows the NIC in a moment"),
            (1, Goal::Uninstall) => self.become_(
                State::UninstallPending,
                "macOS removes the driver at the next restart; until then it stays in the list. Restart the Mac",
            ),
            (1, _) => {
                self.become_(
                    State::RebootRequired,
                    "macOS finishes this at the next restart: restart the Mac, then `weir status`",
                );
            }
            (other, _) => self.become_(State::Failed, format!("macOS ended the request with result {other}")),
        }
    }

    /// OSSystemExtensionErrorCode, from SystemExtensions/OSSystemExtensionManager.h.
    fn failed(&mut self, code: i64) {
        // The answer `cancel` to a rollback comes back as a cancelled request.
        if self.state == State::Rollback && code == 11 {
            return;
        }
        let (state, text): (State, &str) = match code {
            2 => (
                State::MissingEntitlement,
                "the app lacks com.apple.developer.system-extension.install: sign it with a profile that has it \
                 (docs/install.md, step 3), then check with `weir doctor`",
            ),
            3 => (
                State::WrongLocation,
                "the app must be in /Applications: move it there and run weir from there. For development \
                 `systemextensionsctl developer on` lifts this",
            ),
            4 => (
                State::Failed,
                "macOS finds no extension of this id in the app: it belongs to \
                 Contents/Library/SystemExtensions; build the bundle again and look with `cargo xtask bundle --verify`",
            ),
            5 => (
                State::Failed,
                "the extension has no CFBundleIdentifier: build the bundle again and look with `cargo xtask bundle --verify`",
            ),
            6 => (
                State::Failed,
                "two extensions in the app have one id: delete the app and build or copy it afresh, without the old one in it",
            ),
            7 => (State::Failed, "macOS does not know this kind of extension: is it older than macOS 12?"),
            8 => (
                State::BadSignature,
                "macOS did not accept the signature: app and extension must be signed by one team, and notarised for other \
                 Macs. `codesign --verify --deep --strict` names what is wrong; `cargo xtask bundle` signs both",
            ),
            9 => (
                State::MissingEntitlement,
                "macOS could not validate the extension: most often an entitlement (family networking, transport pci or usb) \
                 that its provisioning profile does not have (docs/install.md, step 2). The reason is in \
                 `log show --last 5m --predicate 'process == \"sysextd\"'`",
            ),
            10 => (
                State::Denied,
                "not allowed: a configuration profile of this Mac forbids it. Ask whoever manages the Mac to allow the team \
                 and the extension (payload com.apple.system-extension-policy)",
            ),
            11 => (State::Denied, "the request was cancelled; run `weir install` again when you want to allow it"),
            12 => (State::Failed, "a newer request took this one's place; look with `weir status`"),
            13 => {
                (State::Denied, "macOS wants an administrator's authorisation: run it as an administrator and allow it")
            }
            _ => (State::Failed, "macOS gave no reason; `log show --last 5m --predicate 'process == \"sysextd\"'` may"),
        };
        self.become_(state, format!("{text} (error {code})"));
    }

    /// The list knows what the delegate does not: an approval that was given or withdrawn, an old copy that stays.
    fn listed(&mut self, extensions: &[Extension]) {
        let own = || extensions.iter().filter(|extension| extension.id == self.dext);
        let place = settings_path(&self.macos);
        let stale: Vec<String> =
            own().filter(|extension| extension.waits_for_reboot()).map(|extension| extension.version.clone()).collect();
        let running = own().find(|extension| extension.runs());
        if self.goal == Goal::Uninstall {
            if !stale.is_empty() && running.is_none() {
                let text = format!("version {} stays in the list until the Mac restarts", stale.join(", "));
                self.become_(State::UninstallPending, text);
            } else if own().next().is_none() {
                self.become_(State::Removed, "there is no such extension on this Mac (any more)");
            }
            return;
        }
        if let Some(running) = running {
            let version = running.version.clone();
            if compare_pair(&version, &self.bundled).is_lt() {
                let text = format!(
                    "version {version} still runs; this app brings {}. `weir upgrade` replaces it; a restart ends what still \
                     holds the old one",
                    self.bundled
                );
                self.become_(State::Replacing, text);
            } else {
                let waited = self.asked || self.state == State::NeedsApproval;
                let state = if waited { State::ApprovedLater } else { State::Active };
                let old = if stale.is_empty() {
                    String::new()
                } else {
                    format!("; {} stays in the list until the next restart, which is harmless", stale.join(", "))
                };
                self.become_(state, format!("version {version} is active{old}"));
            }
        } else if own().any(Extension::is_disabled) {
            self.become_(State::Denied, format!("switched off: open {place} and switch \"Weir\" on"));
        } else if own().any(Extension::waits_for_user) {
            self.asked = true;
            self.become_(State::NeedsApproval, format!("waiting for your approval: open {place} and allow \"Weir\""));
        } else if !stale.is_empty() {
            let text = format!(
                "version {} was removed or replaced and waits for a restart: restart the Mac, then `weir install`",
                stale.join(", ")
            );
            self.become_(State::UninstallPending, text);
        }
    }
}

#[cfg(test)]
mod tests;
