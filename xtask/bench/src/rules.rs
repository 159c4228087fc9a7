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
            .map_err(|error| anyhow::anyhow!("cannot unpack {}: {error}", path.display()))?;
        plain
    } else {
        bytes
    };
    String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))
}

/// Lines with something on them, and their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

/// A rule set, made if its name is `gen:KIND:RULES:SEED`: `@src/len dst/len lo : hi lo : hi proto/mask flags/mask` a line, in the order of priority.
///
/// # Errors
/// The first line that is not a rule.
pub fn load<const W: usize>(path: &Path) -> Result<Vec<Rule<W>>> {
    if let Some(made) = path.to_str().and_then(|name| name.strip_prefix("gen:")) {
        return crate::made::rules(made);
    }
    let text = read(path)?;
    let rules: Vec<_> = lines(&text)
        .zip(0..)
        .map(|((number, line), priority)| {
            rule(line, priority).with_context(|| format!("{}:{number}: not a rule: {line}", path.display()))
        })
        .collect::<Result<_>>()?;
    if rules.is_empty() {
        bail!("{} has no rules", path.display());
    }
    Ok(rules)
}

fn rule<const W: usize>(line: &str, priority: u32) -> Option<Rule<W>> {
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
        src,
        src_mask,
        dst,
        dst_mask,
        low: [sport.0, dport.0],
        high: [sport.1, dport.1],
        class: u16::from(protocol & mask),
        class_mask: u16::from(mask),
        priority,
    })
}

/// True if the first rule of a file is about IPv6.
///
/// # Errors
/// A file that cannot be read.
pub fn is_v6(path: &Path) -> Result<bool> {
    if let Some(made) = path.to_str().and_then(|name| name.strip_prefix("gen:")) {
        return Ok(made.starts_with("v6-"));
    }
    let text = read(path)?;
    let first = text.lines().find(|line| !line.trim().is_empty()).and_then(|line| line.split_whitespace().next());
    Ok(first.and_then(|prefix| prefix.split('/').next()).is_some_and(|addr| addr.contains(':')))
}

/// The words of an address of either family.
fn words<const W: usize>(text: &str) -> Option<[u32; W]> {
    let wide = match W {
        1 => u128::from(u32::from(text.parse::<std::net::Ipv4Addr>().ok()?)),
        _ => u128::from(text.parse::<std::net::Ipv6Addr>().ok()?),
    };
    Some(split(wide))
}

/// A number as words, the most significant first.
pub fn split<const W: usize>(wide: u128) -> [u32; W] {
    let mut words = [0; W];
    for (place, word) in words.iter_mut().rev().enumerate() {
        *word = (wide >> (32 * place)) as u32;
    }
    words
}

/// A mask of that many ones.
pub fn mask<const W: usize>(len: u32) -> [u32; W] {
    split(u128::MAX.unbounded_shl(32 * W as u32 - len))
}

fn prefix<const W: usize>(text: &str) -> Option<([u32; W], [u32; W])> {
    let (addr, len) = text.split_once('/')?;
    let mut addr = words(addr)?;
    let len = len.parse::<u32>().ok().filter(|len| *len <= 32 * W as u32)?;
    let mask = mask(len);
    addr.iter_mut().zip(&mask).for_each(|(word, mask)| *word &= mask);
    Some((addr, mask))
}

/// A trace: `src dst sport dport proto x rule` a line, decimal.
///
/// # Errors
/// The first line that is not a header.
pub fn load_trace<const W: usize>(path: &Path) -> Result<Vec<Key<W>>> {
    let text = read(path)?;
    let keys: Vec<_> = lines(&text)
        .map(|(number, line)| {
            header(line).with_context(|| format!("{}:{number}: not a header: {line}", path.display()))
        })
        .collect::<Result<_>>()?;
    if keys.is_empty() {
        bail!("{} has no headers", path.display());
    }
    Ok(keys)
}

fn header<const W: usize>(line: &str) -> Option<Key<W>> {
    let mut fields = line.split_ascii_whitespace();
    // IPv6 addresses are 128-bit numbers, or in the usual notation.
    let mut addr = || {
        let text = fields.next()?;
        let number = text.parse::<u128>().ok().filter(|wide| W == 4 || wide >> (32 * W) == 0);
        number.map(split).or_else(|| words(text))
    };
    let (src, dst) = (addr()?, addr()?);
    let mut next = || fields.next()?.parse::<u32>().ok();
    let ports = [u16::try_from(next()?).ok()?, u16::try_from(next()?).ok()?];
    let protocol = u8::try_from(next()?).ok()?;
    Some(Key { src, dst, ports, class: protocol.into() })
}
