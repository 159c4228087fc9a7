//! Dext, Network Extension or pf? The questions that people should answer before they write anything near the kernel.

use serde_json::{Value, json};

/// A question with a yes or no.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// As a flag: `--yes NAME`.
    pub name: &'static str,
    /// For people.
    pub text: &'static str,
}

/// All of them, in the order in which they are asked.
pub const QUESTIONS: &[Question] = &[
    Question { name: "every-interface", text: "Must it see the traffic of Wi-Fi, built-in Ethernet or VPNs?" },
    Question { name: "by-process", text: "Does a decision depend on the process or the user?" },
    Question {
        name: "every-frame",
        text: "Must it see every frame: ARP, non-IP protocols, bridged or forwarded traffic?",
    },
    Question { name: "rewrite", text: "Must it change frames in flight, or shape, delay or inject them?" },
    Question { name: "own-hardware", text: "Is there an adapter of yours or a USB/PCIe adapter without a driver?" },
    Question { name: "virtual-nic", text: "Would a virtual NIC of your own do (testing, capture, a custom protocol)?" },
    Question {
        name: "static-rules",
        text: "Are addresses, ports and protocols enough as criteria, with rules in a file?",
    },
    Question { name: "app-store", text: "Must it be in the Mac App Store?" },
    Question { name: "line-rate", text: "Must it keep up with more than about 2.5 Gbit/s?" },
];

/// Answers; a question that is not in the list was answered with no.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(pub Vec<String>);

impl Answers {
    fn yes(&self, name: &str) -> bool {
        self.0.iter().any(|answer| answer == name)
    }
}

/// What suits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A driver extension that owns the NIC: Weir.
    Dext,
    /// A content filter, transparent proxy or packet tunnel.
    NetworkExtension,
    /// The packet filter of macOS.
    Pf,
    /// Nothing that Apple lets third parties do.
    None,
}

impl Choice {
    /// As `--json` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dext => "dext",
            Self::NetworkExtension => "network-extension",
            Self::Pf => "pf",
            Self::None => "none",
        }
    }
}

/// The recommendation, the reasons, and what one has to live with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What suits best.
    pub choice: Choice,
    /// Why.
    pub reasons: Vec<String>,
    /// What it does not do.
    pub limits: Vec<String>,
}

impl Decision {
    /// For `--json`.
    pub fn json(&self) -> Value {
        json!({ "choice": self.choice.name(), "reasons": self.reasons, "limits": self.limits })
    }
}

/// Decides.
///
/// # Errors
/// An answer to no question.
pub fn decide(answers: &Answers) -> Result<Decision, String> {
    for answer in &answers.0 {
        if !QUESTIONS.iter().any(|question| question.name == answer) {
            let names: Vec<&str> = QUESTIONS.iter().map(|question| question.name).collect();
            return Err(format!("\"{answer}\" is no question; they are {}", names.join(", ")));
        }
    }
    let yes = |name| answers.yes(name);
    let mut reasons = Vec::new();
    let mut limits = Vec::new();
    let frames = yes("every-frame") || yes("rewrite");
    let own = yes("own-hardware") || yes("virtual-nic");
    let choice = if yes("by-process") || yes("every-interface") {
        if yes("by-process") {
            reasons.push("only a Network Extension is told the process (audit token) behind a flow".into());
        }
        if yes("every-interface") {
            reasons.push(
                "a driver extension sees its own NIC only; a content filter sees flows of every interface".into(),
            );
        }
        if frames {
            limits.push("a content filter judges flows and cannot see frames below IP or change them".into());
            limits.push("a packet filter provider sees IP packets of every interface, and passes or drops them".into());
            if own {
                limits.push(
                    "for frames, add a dext on the adapters that you can put it on: the two work side by side".into(),
                );
            } else if yes("rewrite") && !yes("by-process") {
                reasons.push(
                    "changing packets of other drivers' NICs is what kernel extensions did; no API replaces it".into(),
                );
            }
        }
        if frames && !own && !yes("by-process") && yes("rewrite") { Choice::None } else { Choice::NetworkExtension }
    } else if yes("app-store") {
        reasons.push(
            "the App Store takes Network Extensions; driver extensions and pf rules are distributed outside".into(),
        );
        if frames {
            limits.push("it will not see or change every frame".into());
        }
        Choice::NetworkExtension
    } else if own || frames {
        if yes("own-hardware") {
            reasons
                .push("an adapter without a driver needs one: a dext, which is then the place to filter, too".into());
        }
        if yes("virtual-nic") {
            reasons
                .push("a virtual Ethernet NIC is a dext; utun and feth have no filter and no public contract".into());
        }
        if frames {
            reasons.push("every frame, and changing it in flight, is only to be had in the driver of the NIC".into());
        }
        limits.push(
            "you need Apple's approval for the DriverKit entitlements (family, transport) before you distribute".into(),
        );
        limits.push("no process or user is known to a frame".into());
        if !own {
            limits.push(
                "it works on adapters that you can drive: USB or PCIe ones, not Wi-Fi and not built-in Ethernet".into(),
            );
        }
        Choice::Dext
    } else if yes("static-rules") {
        reasons.push(
            "addresses, ports and protocols in a file: pf is in macOS, needs no entitlement, and is there now".into(),
        );
        limits.push(
            "macOS's pf is old: no FreeBSD or OpenBSD syntax of the last ten years, no API, no support by Apple".into(),
        );
        limits.push("other products change its rules: use an anchor, and expect them to be flushed".into());
        Choice::Pf
    } else {
        reasons
            .push("nothing that you need is below the level of flows: a Network Extension is the supported way".into());
        Choice::NetworkExtension
    };
    if yes("line-rate") {
        limits.push(match choice {
            Choice::Dext => "above about 2.5 Gbit/s measure first: macOS copies through Skywalk rings, and USB costs a call per transfer".into(),
            _ => "a Network Extension copies each flow through another process: expect less than the wire's rate".to_owned(),
        });
    }
    Ok(Decision { choice, reasons, limits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(answers: &[&str]) -> Choice {
        decide(&Answers(answers.iter().map(|text| (*text).to_owned()).collect())).expect("questions").choice
    }

    #[test]
    fn jobs_and_what_suits_them() {
        for (answers, wanted) in [
            (&["own-hardware"][..], Choice::Dext),
            (&["virtual-nic", "every-frame", "rewrite"], Choice::Dext),
            (&["every-frame"], Choice::Dext),
            (&["by-process"], Choice::NetworkExtension),
            (&["every-interface", "static-rules"], Choice::NetworkExtension),
            (&["every-interface", "every-frame"], Choice::NetworkExtension),
            (&["app-store", "own-hardware"], Choice::NetworkExtension),
            (&["static-rules"], Choice::Pf),
            (&["every-interface", "rewrite"], Choice::None),
            (&["every-interface", "rewrite", "own-hardware"], Choice::NetworkExtension),
            (&[], Choice::NetworkExtension),
        ] {
            assert_eq!(choice(answers), wanted, "{answers:?}");
        }
    }

    #[test]
    fn every_combination_has_reasons() {
        for mask in 0..1_u32 << QUESTIONS.len() {
            let chosen = QUESTIONS.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
            let answers = Answers(chosen.map(|(_, question)| question.name.to_owned()).collect());
            let decision = decide(&answers).expect("questions");
            assert!(!decision.reasons.is_empty(), "{answers:?}");
            if decision.choice == Choice::Dext {
                assert!(!answers.yes("by-process") && !answers.yes("every-interface"), "{answers:?}");
            }
        }
        assert!(decide(&Answers(vec!["nonsense".into()])).is_err());
    }
}
