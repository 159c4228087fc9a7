//! The ten situations, each by the events that lead to it, and what the user is told.

use super::*;
use crate::DEXT_ID;
use crate::sysext::parse;

fn install() -> Activation {
    Activation::new(Goal::Install, DEXT_ID, "0.1.0/1", "15.3", false)
}

fn listed(text: &str) -> Event {
    Event::Listed(parse(text))
}

fn after(mut activation: Activation, events: &[Event]) -> Activation {
    for event in events {
        activation.take(event);
    }
    activation
}

#[track_caller]
fn ends(activation: &Activation, state: State, says: &[&str]) {
    assert_eq!(activation.state(), state, "{}", activation.message());
    for part in says {
        assert!(activation.message().contains(part), "\"{part}\" is not in: {}", activation.message());
    }
}

#[test]
fn denied() {
    ends(&after(install(), &[Event::Failed(10)]), State::Denied, &["profile", "system-extension-policy"]);
    ends(&after(install(), &[Event::NeedsApproval, Event::Failed(11)]), State::Denied, &["weir install"]);
    let off = listed(include_str!("../../tests/recorded/sysext-15.txt"));
    ends(&after(install(), &[off]), State::Denied, &["Login Items & Extensions", "switch \"Weir\" on"]);
}

#[test]
fn needs_approval() {
    let waiting = after(install(), &[Event::NeedsApproval]);
    ends(&waiting, State::NeedsApproval, &["Driver Extensions", "allow \"Weir\""]);
    assert!(!waiting.state().is_final());
    let old = Activation::new(Goal::Install, DEXT_ID, "0.1.0/1", "11.6", false);
    let list = listed(include_str!("../../tests/recorded/sysext-11.txt"));
    ends(&after(old, &[list]), State::NeedsApproval, &["Security & Privacy"]);
}

#[test]
fn approved_later() {
    let done = after(install(), &[Event::NeedsApproval, Event::Finished(0)]);
    ends(&done, State::ApprovedLater, &["weir status"]);
    assert!(done.state().is_success());
    // The delegate is gone, and the list knows.
    let list = listed(include_str!("../../tests/recorded/sysext-26.txt"));
    ends(&after(install(), &[Event::NeedsApproval, list]), State::ApprovedLater, &["0.1.0/1 is active"]);
}

#[test]
fn replaced() {
    let mut upgrade = Activation::new(Goal::Upgrade, DEXT_ID, "0.1.0/2", "14.2", false);
    let event = Event::Replacing { installed: "0.1.0/1".into(), bundled: "0.1.0/2".into() };
    assert_eq!(upgrade.take(&event), Some(Replacement::Replace));
    ends(&upgrade, State::Replacing, &["0.1.0/1 is replaced by 0.1.0/2"]);
    upgrade.take(&Event::Finished(0));
    ends(&upgrade, State::Active, &["weir status"]);
    assert_eq!(upgrade.replaced(), Some("0.1.0/1"));
    upgrade.take(&listed(include_str!("../../tests/recorded/sysext-13-pasted.txt")));
    ends(&upgrade, State::Active, &["0.1.0/2 is active", "0.1.0/1 stays", "harmless"]);
    // The same version again is a repair.
    let same = install();
    assert_eq!(same.replacement("0.1.0/1", "0.1.0/1"), Replacement::Replace);
}

#[test]
fn an_old_one_that_still_runs_is_named() {
    let newer = Activation::new(Goal::Upgrade, DEXT_ID, "0.2.0/1", "26.0", false);
    let list = listed(include_str!("../../tests/recorded/sysext-26.txt"));
    ends(&after(newer, &[list]), State::Replacing, &["0.1.0/1 still runs", "0.2.0/1", "weir upgrade"]);
}

#[test]
fn reboot_required() {
    let done = after(install(), &[Event::Finished(1)]);
    ends(&done, State::RebootRequired, &["restart the Mac"]);
    assert!(done.state().is_final());
}

#[test]
fn wrong_location() {
    ends(&after(install(), &[Event::Failed(3)]), State::WrongLocation, &["/Applications", "developer on"]);
}

#[test]
fn bad_signature() {
    ends(&after(install(), &[Event::Failed(8)]), State::BadSignature, &["codesign --verify"]);
}

#[test]
fn missing_entitlement() {
    ends(&after(install(), &[Event::Failed(2)]), State::MissingEntitlement, &["system-extension.install"]);
    ends(&after(install(), &[Event::Failed(9)]), State::MissingEntitlement, &["transport"]);
}

#[test]
fn version_rollback() {
    let event = Event::Replacing { installed: "0.2.0/1".into(), bundled: "0.1.0/1".into() };
    let mut request = install();
    assert_eq!(request.take(&event), Some(Replacement::Cancel));
    request.take(&Event::Failed(11));
    ends(&request, State::Rollback, &["0.2.0/1", "--force"]);
    let mut forced = Activation::new(Goal::Install, DEXT_ID, "0.1.0/1", "15.0", true);
    assert_eq!(forced.take(&event), Some(Replacement::Replace));
}

#[test]
fn uninstall_pending() {
    let uninstall = || Activation::new(Goal::Uninstall, DEXT_ID, "0.1.0/1", "13.0", false);
    ends(&after(uninstall(), &[Event::Finished(1)]), State::UninstallPending, &["Restart the Mac"]);
    ends(&after(uninstall(), &[Event::Finished(0)]), State::Removed, &["Delete the app"]);
    let only_old = "1 extension(s)\n--- com.apple.system_extension.driver_extension\n\t\tABCDE12345\tdev.weir.driver (0.1.0/1)\tdev.weir.driver\t[terminated waiting to uninstall on reboot]\n";
    ends(&after(uninstall(), &[listed(only_old)]), State::UninstallPending, &["0.1.0/1", "restarts"]);
    ends(&after(uninstall(), &[listed("0 extension(s)\n")]), State::Removed, &["no such extension"]);
    ends(&after(install(), &[listed(only_old)]), State::UninstallPending, &["restart the Mac, then `weir install`"]);
}

#[test]
fn every_code_says_what_to_do_and_keeps_its_number() {
    for code in -5..40 {
        let failed = after(install(), &[Event::Failed(code)]);
        assert!(failed.state().is_final() && !failed.state().is_success(), "{code}");
        assert!(failed.message().ends_with(&format!("(error {code})")) && failed.message().len() > 40);
    }
    assert_eq!(after(install(), &[Event::Finished(7)]).state(), State::Failed);
}
