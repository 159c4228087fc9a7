//! `weir install | upgrade | uninstall | status | doctor`: the app's side of a driver extension.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::json;
pub use weir_mac::activation::Goal;
use weir_mac::decide::{Answers, Decision, QUESTIONS, decide};
use weir_mac::doctor::{Verdict, examine};
use weir_mac::record::Recording;
use weir_mac::status::Status;
use weir_mac::{DEXT_ID, doctor};

/// Where the app is after installation.
const APP: &str = "/Applications/Weir.app";

/// Arguments of `weir install`, `weir upgrade` and `weir uninstall`.
#[derive(Args)]
#[cfg_attr(not(target_os = "macos"), allow(dead_code, reason = "only a Mac can do what they are for"))]
pub struct RequestArgs {
    /// Let an older version replace a newer one.
    #[arg(long)]
    force: bool,
    /// Do not wait for the approval.
    #[arg(long)]
    no_wait: bool,
    /// One JSON object for every step.
    #[arg(long)]
    json: bool,
}

/// Arguments of `weir status`.
#[derive(Args)]
pub struct StatusArgs {
    /// Look at a recording that `weir doctor --record` made, here or on another Mac.
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `weir doctor`.
#[derive(Args)]
pub struct DoctorArgs {
    /// Look at a recording instead of this Mac.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    from_file: Option<PathBuf>,
    /// Write what the system's tools say to a file, for whoever is to help, and stop. It holds no user data beyond
    /// bundle ids, team ids and hardware addresses.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// The app to look at.
    #[arg(long, value_name = "PATH", default_value = APP)]
    app: PathBuf,
    /// Which of a dext, a Network Extension and pf suits a job: asks, or takes the answers from --yes.
    #[arg(long, conflicts_with_all = ["from_file", "record"])]
    decide: bool,
    /// Answer a question of --decide with yes; the others count as no, and nothing is asked. "-" answers all with no.
    #[arg(long, value_name = "QUESTION", requires = "decide", value_delimiter = ',')]
    yes: Vec<String>,
    /// JSON.
    #[arg(long)]
    json: bool,
}

/// Reads a recording, or takes one where there is something to record.
fn recording(from: Option<&PathBuf>, app: &std::path::Path) -> Result<Recording> {
    if let Some(path) = from {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        return Recording::parse(&text).map_err(|why| anyhow!("{}: {why}", path.display()));
    }
    if !cfg!(target_os = "macos") {
        bail!(
            "this is no Mac. Here `--from-file FILE` looks at what `weir doctor --record FILE` wrote on one, and \
             `weir doctor --decide` works as everywhere"
        );
    }
    let dext = app.join(format!("Contents/Library/SystemExtensions/{DEXT_ID}.dext"));
    Ok(Recording::take(&app.to_string_lossy(), &dext.to_string_lossy()))
}

/// `weir status`.
///
/// # Errors
/// No Mac and no recording.
pub fn status(args: &StatusArgs) -> Result<ExitCode> {
    let recording = recording(args.from_file.as_ref(), APP.as_ref())?;
    let core = if args.from_file.is_none() { core_version() } else { None };
    let status = Status::new(&recording, DEXT_ID, env!("CARGO_PKG_VERSION"), core.as_deref());
    if args.json {
        println!("{}", status.json());
    } else {
        println!("extension: {} ({})", status.message, status.state.name());
        for nic in &status.nics {
            let name = if nic.bsd_name.is_empty() { "no interface yet" } else { &nic.bsd_name };
            println!("nic: {} on {}: {name} {}", nic.class, nic.provider, nic.mac);
        }
        let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        println!("versions: app {}, extension {}, core {}", status.app, shown(&status.dext), shown(&status.core));
        if !status.next().is_empty() {
            println!("next: {}", status.next());
        }
    }
    Ok(if status.state.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(target_os = "macos")]
fn core_version() -> Option<String> {
    use clap::Parser;
    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        target: crate::connect::Target,
    }
    let defaults = Defaults::try_parse_from(["weir"]).ok()?;
    Some(crate::connect::connect(&defaults.target).ok()?.info().ok()?.version)
}

#[cfg(not(target_os = "macos"))]
fn core_version() -> Option<String> {
    None
}

/// `weir doctor`.
///
/// # Errors
/// No Mac and no recording, or an answer to no question.
pub fn doctor(args: &DoctorArgs) -> Result<ExitCode> {
    if args.decide {
        return questionnaire(args);
    }
    let recording = recording(args.from_file.as_ref(), &args.app)?;
    if let Some(path) = &args.record {
        std::fs::write(path, recording.text()).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}: send it to whoever is to help", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let checks = examine(&recording, DEXT_ID);
    if args.json {
        println!("{}", json!(checks.iter().map(doctor::Check::json).collect::<Vec<_>>()));
    } else {
        for check in &checks {
            println!("{:<8} {}: {}", check.verdict.name(), check.name, check.found);
            if !check.action.is_empty() {
                println!("         -> {}", check.action);
            }
        }
    }
    let bad = checks.iter().any(|check| check.verdict == Verdict::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn questionnaire(args: &DoctorArgs) -> Result<ExitCode> {
    let answers =
        if args.yes.is_empty() { ask()? } else { args.yes.iter().filter(|yes| *yes != "-").cloned().collect() };
    let decision = decide(&Answers(answers)).map_err(|why| anyhow!(why))?;
    if args.json {
        println!("{}", decision.json());
    } else {
        print_decision(&decision);
    }
    Ok(ExitCode::SUCCESS)
}

fn ask() -> Result<Vec<String>> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        let names: Vec<&str> = QUESTIONS.iter().map(|question| question.name).collect();
        bail!("no terminal to ask at: answer with --yes NAME,... ({}), or --yes - for none", names.join(", "));
    }
    let mut yes = Vec::new();
    let mut lines = input.lock().lines();
    for question in QUESTIONS {
        print!("{} [y/N] ", question.text);
        std::io::stdout().flush()?;
        let line = lines.next().transpose()?.unwrap_or_default();
        if line.trim().to_lowercase().starts_with('y') {
            yes.push(question.name.to_owned());
        }
    }
    Ok(yes)
}

fn print_decision(decision: &Decision) {
    println!("suits: {}", decision.choice.name());
    for reason in &decision.reasons {
        println!("  because {reason}");
    }
    for limit in &decision.limits {
        println!("  but     {limit}");
    }
}

/// `weir install`, `weir upgrade`, `weir uninstall`.
///
/// # Errors
/// No Mac.
#[cfg(not(target_os = "macos"))]
pub fn request(goal: Goal, _args: &RequestArgs) -> Result<ExitCode> {
    let what = match goal {
        Goal::Install | Goal::Upgrade => "activates a driver extension",
        Goal::Uninstall => "removes a driver extension",
    };
    bail!("this command {what}, which only macOS has. On Linux `weir run` boots the same driver in this process");
}

/// `weir install`, `weir upgrade`, `weir uninstall`.
///
/// # Errors
/// This program is not in an app.
#[cfg(target_os = "macos")]
pub fn request(goal: Goal, args: &RequestArgs) -> Result<ExitCode> {
    use std::time::Duration;
    use weir_mac::activation::{Activation, Event, State};
    use weir_mac::{framework, sysext};

    let program = std::env::current_exe()?;
    let app = program.ancestors().nth(3).context("weir has to be run from inside Weir.app")?.to_owned();
    let before = recording(None, &app)?;
    let say = |state: State, message: &str| {
        if args.json {
            println!("{}", json!({ "state": state.name(), "message": message, "final": state.is_final() }));
        } else {
            println!("{}: {message}", state.name());
        }
    };
    if !args.json {
        let developer = before.get("developer").and_then(sysext::developer_mode) == Some(true);
        println!("1. developer mode is {}", if developer { "on: the app may lie anywhere" } else { "off" });
        let placed = app.starts_with("/Applications") || developer;
        println!("2. the app is at {}{}", app.display(), if placed { "" } else { ": move it to /Applications first" });
        println!("3. macOS is asked; it may want your approval in its settings");
        println!("4. if it says so, the Mac has to restart");
    }
    let bundled = bundled_version(&app)?;
    let mut activation = Activation::new(goal, DEXT_ID, &bundled, before.macos(), args.force);
    let policy = activation.clone();
    let patience = if args.no_wait { Duration::from_secs(20) } else { Duration::from_secs(24 * 3600) };
    framework::submit(goal, DEXT_ID, policy, patience, |event| {
        activation.take(event);
        say(activation.state(), activation.message());
        let waits = activation.state() == State::NeedsApproval && args.no_wait;
        matches!(event, Event::Finished(_) | Event::Failed(_)) || waits
    });
    // The delegate is not told of an old version that stays, nor of a switch in the settings.
    let ended = activation.state();
    if matches!(ended, State::Active | State::ApprovedLater | State::Removed | State::Requested) {
        let after = recording(None, &app)?;
        activation.take(&Event::Listed(after.get("sysext").map(sysext::parse).unwrap_or_default()));
        if activation.state() != ended || activation.message().contains("restart") {
            say(activation.state(), activation.message());
        }
    }
    Ok(if activation.state().is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `short/build` of the extension in the app.
#[cfg(target_os = "macos")]
fn bundled_version(app: &std::path::Path) -> Result<String> {
    let plist = app.join(format!("Contents/Library/SystemExtensions/{DEXT_ID}.dext/Info.plist"));
    let text = std::fs::read_to_string(&plist).with_context(|| format!("cannot read {}", plist.display()))?;
    let value = |key: &str| {
        let rest = text.split_once(&format!("<key>{key}</key>"))?.1;
        Some(rest.split_once("<string>")?.1.split_once("</string>")?.0.to_owned())
    };
    let short = value("CFBundleShortVersionString").context("the extension has no version")?;
    Ok(format!("{short}/{}", value("CFBundleVersion").context("the extension has no build number")?))
}
