//! Rule sets and traces in ClassBench's formats.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use weir_core::filter::classify::{Key, Rule};

/// Reads a file; one that ends in `.xz` is unpacked.
fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let bytes = if path.extension().is_some_and(|ext| ext == "xz") {
        let mut plain = Vec::new();
        lzma_rs::xz_decompress(&mut bytes.as_slice(), &mut plain)
            .map_err(|error| anyhow::anyhow!("{}: {error:?}", path.display()))?;
        plain
    } else {
        bytes
    };
    String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))
}

/// A rule set: `@src/len dst/len lo : hi lo : hi proto/mask flags/mask` a line, in the order of priority.
///
/// # Errors
/// The first line that is not a rule.
pub fn load(path: &Path) -> Result<Vec<Rule<1>>> {
    let text = read(path)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let rules: Vec<_> = lines
        .enumerate()
        .map(|(number, line)| {
            rule(line, number as u32).with_context(|| format!("{}:{}: not a rule: {line}", path.display(), number + 1))
        })
        .collect::<Result<_>>()?;
    if rules.is_empty() {
        bail!("{} has no rules", path.display());
    }
    Ok(rules)
}

fn rule(line: &str, priority: u32) -> Option<Rule<1>> {
    let mut words = line.trim().strip_prefix('@')?.split_ascii_whitespace();
    let (src, src_mask) = prefix(words.next()?)?;
    let (dst, dst_mask) = prefix(words.next()?)?;
    let mut range = || {
        let low = words.next()?.parse::<u16>().ok()?;
        (words.next()? == ":").then_some(())?;
        let high = words.next()?.parse::<u16>().ok()?;
        (low <= high).then_some((low, high))
    };
    let (sport, dport) = (range()?, range()?);
    let (protocol, mask) = words.next()?.split_once('/')?;
    let number = |text: &str| u8::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let (protocol, mask) = (number(protocol)?, number(mask)?);
    Some(Rule {
        src: [src],
        src_mask: [src_mask],
        dst: [dst],
        dst_mask: [dst_mask],
        low: [sport.0, dport.0],
        high: [sport.1, dport.1],
        class: u16::from(protocol & mask),
        class_mask: u16::from(mask),
        priority,
    })
}

fn prefix(text: &str) -> Option<(u32, u32)> {
    let (addr, len) = text.split_once('/')?;
    let addr = u32::from(addr.parse::<std::net::Ipv4Addr>().ok()?);
    let len = len.parse::<u32>().ok().filter(|len| *len <= 32)?;
    let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
    Some((addr & mask, mask))
}

/// A trace: `src dst sport dport proto x rule` a line, decimal.
///
/// # Errors
/// The first line that is not a header.
pub fn load_trace(path: &Path) -> Result<Vec<Key<1>>> {
    let text = read(path)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .enumerate()
        .map(|(number, line)| {
            header(line).with_context(|| format!("{}:{}: not a header: {line}", path.display(), number + 1))
        })
        .collect()
}

fn header(line: &str) -> Option<Key<1>> {
    let mut words = line.split_ascii_whitespace();
    let mut next = || words.next()?.parse::<u32>().ok();
    let (src, dst) = (next()?, next()?);
    let ports = [u16::try_from(next()?).ok()?, u16::try_from(next()?).ok()?];
    let protocol = u8::try_from(next()?).ok()?;
    Some(Key { src: [src], dst: [dst], ports, class: u16::from(protocol) })
}
