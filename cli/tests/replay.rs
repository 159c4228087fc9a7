//! Captures that others made, through `weir replay`: nothing panics, hangs or loses count.

use std::path::PathBuf;
use std::process::Command;

// The package's build script links the driver into every target; it needs the runtime and the core beside it.
use {weir_core as _, weir_host as _};

fn weir() -> Command {
    Command::new(std::env::var_os("WEIR_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_weir").into()))
}

fn corpus() -> Option<PathBuf> {
    let shared = std::env::var_os("WEIR_SHARED").map_or_else(|| PathBuf::from("../../shared"), PathBuf::from);
    let dir = shared.join("corpus/pcap-tcpdump");
    dir.is_dir().then_some(dir)
}

/// The number behind `"key":` in a flat part of the JSON.
fn number(json: &str, key: &str) -> u64 {
    let rest = json.split(&format!("\"{key}\":")).nth(1).unwrap_or_default();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

fn counted_by_others(file: &str) -> Option<u64> {
    let output = Command::new("capinfos").args(["-c", "-M", "-T", "-r", file]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().split('\t').nth(1)?.parse().ok()
}

#[test]
fn every_capture_is_accounted_for() {
    let Some(dir) = corpus() else {
        eprintln!("skipped: no corpus of captures (set WEIR_SHARED)");
        return;
    };
    let rules = std::env::temp_dir().join(format!("weir-corpus-{}.conf", std::process::id()));
    std::fs::write(&rules, "block in quick proto icmp all\nblock in log quick proto tcp to port 179\npass all\n")
        .unwrap();
    let (mut files, mut compared) = (0, 0);
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pcap" && extension != "pcapng") {
            continue;
        }
        let file = path.to_str().unwrap();
        let output = weir().args(["replay", "--json", "-f", rules.to_str().unwrap(), "-i", file]).output().unwrap();
        let json = String::from_utf8_lossy(&output.stdout);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{file}: {output:?}");
        assert!(json.contains("\"accounting\":\"ok\""), "{file}: {json}");
        files += 1;
        if let Some(count) = counted_by_others(file) {
            assert_eq!(number(&json, "frames"), count, "{file}");
            compared += 1;
        }
    }
    std::fs::remove_file(rules).unwrap();
    println!("{files} captures, {compared} counted by capinfos too");
}

/// Frames that tcpdump itself finds, and the link type that it names.
fn found_by_tcpdump(file: &str, expression: &str) -> Option<(u64, bool)> {
    let output = Command::new("tcpdump").args(["-r", file, "--count", expression]).output().ok()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = format!("{out}{err}");
    let count = text.lines().find_map(|line| line.strip_suffix(" packets").or(line.strip_suffix(" packet")))?;
    Some((count.trim().parse().ok()?, text.contains("link-type EN10MB")))
}

#[test]
fn a_filter_keeps_what_tcpdump_keeps() {
    let Some(dir) = corpus() else {
        eprintln!("skipped: no corpus of captures (set WEIR_SHARED)");
        return;
    };
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (mut compared, mut kept) = (0, 0);
    for (path, expression) in paths.iter().step_by(5).zip(
        ["tcp", "udp port 53 or arp", "ip6", "vlan or not ip", "ip[2:2] > 100", "greater 200", "tcp[13] & 2 != 0"]
            .into_iter()
            .cycle(),
    ) {
        let file = path.to_str().unwrap();
        let Some((count, true)) = found_by_tcpdump(file, expression) else { continue };
        let output = weir().args(["replay", "--json", "-i", file, "--filter", expression]).output().unwrap();
        let json = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{file}: {output:?}");
        assert_eq!(number(&json, "frames") - number(&json, "filter"), count, "{file} {expression}: {json}");
        compared += 1;
        kept += count;
    }
    assert!(compared == 0 || kept > 0, "no expression matched anything");
    println!("{compared} captures, {kept} frames kept by both");
}

#[test]
fn a_wrong_filter_is_refused_with_libpcaps_words() {
    let output = weir().args(["replay", "-i", "/dev/null", "--filter", "tcp prot 80"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains("tcp prot 80") && text.contains("syntax error"), "{text}");
}
