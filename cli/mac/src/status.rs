//! `weir status`: the extension, its NICs, the versions, and what to do next.

use serde_json::{Value, json};

use crate::activation::{Activation, Event, Goal, State};
use crate::ioreg::{self, Nic};
use crate::record::Recording;
use crate::sysext::{self, Extension};

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Lines of the list that are ours; an old version may still be there.
    pub extensions: Vec<Extension>,
    /// What they amount to.
    pub state: State,
    /// In words, with what to do.
    pub message: String,
    /// NICs that the extension drives.
    pub nics: Vec<Nic>,
    /// Version of the app.
    pub app: String,
    /// Version of the extension that runs; empty if none does.
    pub dext: String,
    /// Version of the core that answers; empty if none does.
    pub core: String,
}

impl Status {
    /// From a recording; `app` is this program's version, `core` what the driver answered, if it did.
    pub fn new(recording: &Recording, dext: &str, app: &str, core: Option<&str>) -> Self {
        let all = recording.get("sysext").map(sysext::parse).unwrap_or_default();
        let extensions: Vec<Extension> = all.into_iter().filter(|extension| extension.id == dext).collect();
        let mut activation = Activation::new(Goal::Install, dext, app, recording.macos(), false);
        activation.take(&Event::Listed(extensions.clone()));
        let (state, message) = if extensions.is_empty() {
            (State::Removed, "not installed: `weir install`".to_owned())
        } else {
            (activation.state(), activation.message().to_owned())
        };
        let running = extensions.iter().find(|extension| extension.runs());
        let nodes = recording.get("ioreg-nic").map(ioreg::parse).unwrap_or_default();
        Self {
            state,
            message,
            nics: ioreg::nics(&nodes, dext),
            app: app.to_owned(),
            dext: running.map(|extension| extension.version.clone()).unwrap_or_default(),
            core: core.unwrap_or_default().to_owned(),
            extensions,
        }
    }

    /// The next step, where the state itself does not say one.
    pub fn next(&self) -> &'static str {
        match self.state {
            State::Active | State::ApprovedLater if self.nics.is_empty() => {
                "no device matched: plug the adapter in, or look at the personalities with `weir doctor`"
            }
            State::Active | State::ApprovedLater if self.nics.iter().all(|nic| nic.bsd_name.is_empty()) => {
                "the driver has not registered an interface: look at `log show --last 5m` for \"weir:\""
            }
            State::Active | State::ApprovedLater => "nothing to do: `weir show info` asks the driver itself",
            _ => "",
        }
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        let extensions: Vec<Value> = self
            .extensions
            .iter()
            .map(|one| json!({ "id": one.id, "version": one.version, "team": one.team, "state": one.state }))
            .collect();
        let nics: Vec<Value> = self
            .nics
            .iter()
            .map(|nic| {
                json!({ "class": nic.class, "provider": nic.provider, "name": nic.bsd_name, "mac": nic.mac, "active": nic.active })
            })
            .collect();
        json!({
            "state": self.state.name(), "message": self.message, "next": self.next(), "extensions": extensions,
            "nics": nics, "app": self.app, "dext": self.dext, "core": self.core,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEXT_ID;

    #[test]
    fn states() {
        let mac =
            |text: &str| Status::new(&Recording::parse(text).expect("recording"), DEXT_ID, "0.1.0", Some("0.1.0"));
        let good = mac(include_str!("../tests/recorded/mac-15.txt"));
        assert_eq!((good.state, good.nics.len(), good.dext.as_str()), (State::Active, 1, "0.1.0/1"));
        assert!(good.next().starts_with("nothing to do"));
        assert_eq!(good.json()["nics"][0]["name"], "en7");
        let waiting = mac(include_str!("../tests/recorded/mac-11.txt"));
        assert_eq!(waiting.state, State::NeedsApproval);
        assert!(waiting.message.contains("Security & Privacy") && waiting.next().is_empty());
        let none = mac("#### sysext: systemextensionsctl list\n0 extension(s)\n");
        assert!(none.state == State::Removed && none.message.contains("weir install"));
        let unmatched = mac(include_str!("../tests/recorded/mac-26.txt"));
        assert!(unmatched.state == State::Active && unmatched.next().starts_with("no device matched"));
    }
}
