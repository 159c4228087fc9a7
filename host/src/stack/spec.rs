//! The words a user writes for an attachment: `KIND[:ARGUMENT][,OPTION[=VALUE]]...`.
//!
//! Stack side (`--stack`): `tap:NAME`, `smoltcp:ADDR/LEN`, `pcap:FILE`. Far end of a loopback NIC (`wire=`):
//! `none`, `reflect`, `pair:NAME`, `packet:IFNAME`, `pcap:FILE`. A comma inside a file name is written `\,`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Longest interface name Linux takes, without the terminator (`IFNAMSIZ` - 1).
const IFNAME_MAX: usize = 15;
/// Most queues a dext has.
const QUEUES_MAX: usize = 8;
/// The smallest MTU of IPv4 (RFC 791) and the largest that the core takes (`WEIR_MTU_MAX`).
const MTU_RANGE: (u32, u32) = (68, 16110);

/// Why a spec was refused: where, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The whole spec as given.
    pub spec: String,
    /// Byte offset of the offending word in it.
    pub at: usize,
    /// The offending word.
    pub word: String,
    /// What is wrong with it.
    pub what: String,
    /// What would be right.
    pub hint: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, column {}: {} (`{}`); {}", self.spec, self.at + 1, self.what, self.word, self.hint)
    }
}

impl std::error::Error for SpecError {}

/// `tap:NAME[,queues=N][,persist][,netns=NS][,mtu=BYTES]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapSpec {
    /// Interface name.
    pub name: String,
    /// Queues; `None` = as many as the driver has TX submission queues.
    pub queues: Option<usize>,
    /// The interface stays when the process ends.
    pub persist: bool,
    /// Network namespace: its name as `ip netns` has it, or an absolute path.
    pub netns: Option<String>,
    /// MTU in bytes; `None` = the driver's current one.
    pub mtu: Option<u32>,
}

/// `smoltcp:ADDR/LEN[,ADDR/LEN]...[,gw=ADDR]...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmoltcpSpec {
    /// Addresses with prefix lengths in bits, both families.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Default routers, at most one a family.
    pub gateways: Vec<IpAddr>,
}

/// `pcap:FILE[,out=FILE2][,fast]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcapSpec {
    /// Capture whose frames are sent; `None` (written `pcap:` with only `out=`) sends nothing.
    pub input: Option<PathBuf>,
    /// Where received frames are recorded, as pcapng.
    pub output: Option<PathBuf>,
    /// Send without waiting for the capture's time stamps.
    pub fast: bool,
}

/// What a stack side attachment is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackSpec {
    /// The Linux kernel, through a TAP device.
    Tap(TapSpec),
    /// An in-process stack.
    Smoltcp(SmoltcpSpec),
    /// A capture file.
    Pcap(PcapSpec),
}

/// What a loopback NIC finds at the other end of its cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireSpec {
    /// Nothing: no carrier.
    None,
    /// The core answers by itself.
    Reflect,
    /// The other instance that names the same pair.
    Pair(String),
    /// A Linux interface, through AF_PACKET.
    Packet {
        /// Interface name.
        name: String,
        /// Network namespace: its name as `ip netns` has it, or an absolute path.
        netns: Option<String>,
    },
    /// Capture files.
    Pcap(PcapSpec),
}

/// One comma-separated word with its place.
struct Word {
    at: usize,
    key: String,
    value: Option<String>,
}

struct Words<'a> {
    spec: &'a str,
    kind: Word,
    /// First is the argument after the colon.
    rest: Vec<Word>,
}

impl<'a> Words<'a> {
    fn split(spec: &'a str) -> Self {
        let (kind, argument) = match spec.find([':', ',']) {
            Some(i) => (&spec[..i], Some(i + 1)),
            None => (spec, None),
        };
        let mut rest = Vec::new();
        if let Some(start) = argument {
            let (mut at, mut word, mut escaped) = (start, String::new(), false);
            for (i, c) in spec[start..].char_indices() {
                match c {
                    '\\' if !escaped => {
                        escaped = true;
                        continue;
                    }
                    ',' if !escaped => {
                        rest.push((at, std::mem::take(&mut word)));
                        at = start + i + 1;
                    }
                    _ => {
                        if escaped && c != ',' && c != '\\' {
                            word.push('\\');
                        }
                        word.push(c);
                    }
                }
                escaped = false;
            }
            rest.push((at, word));
        }
        let rest = rest
            .into_iter()
            .map(|(at, word)| match word.split_once('=') {
                Some((key, value)) => Word { at, key: key.to_owned(), value: Some(value.to_owned()) },
                None => Word { at, key: word, value: None },
            })
            .collect();
        Self { spec, kind: Word { at: 0, key: kind.to_owned(), value: None }, rest }
    }

    fn error(&self, word: &Word, what: impl Into<String>, hint: impl Into<String>) -> SpecError {
        let text = match &word.value {
            Some(value) => format!("{}={}", word.key, value),
            None => word.key.clone(),
        };
        SpecError { spec: self.spec.to_owned(), at: word.at, word: text, what: what.into(), hint: hint.into() }
    }

    fn argument(&self, usage: &str) -> Result<&Word, SpecError> {
        match self.rest.first() {
            Some(word) if word.value.is_none() && !word.key.is_empty() => Ok(word),
            Some(word) => Err(self.error(word, "the argument after the colon is missing", usage)),
            None => Err(self.error(&self.kind, "the argument after the colon is missing", usage)),
        }
    }

    fn interface(&self, usage: &str) -> Result<String, SpecError> {
        let word = self.argument(usage)?;
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
        if word.key.len() > IFNAME_MAX || word.key.contains(bad) || word.key == "." || word.key == ".." {
            let hint = format!("an interface name has 1 to {IFNAME_MAX} bytes without `/`, `:` and spaces");
            return Err(self.error(word, "not an interface name", hint));
        }
        Ok(word.key.clone())
    }

    fn value<'w>(&self, word: &'w Word, example: &str) -> Result<&'w str, SpecError> {
        match word.value.as_deref() {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(self.error(word, "the option needs a value", format!("write `{}={example}`", word.key))),
        }
    }

    fn number<T>(&self, word: &Word, low: T, high: T) -> Result<T, SpecError>
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let value = self.value(word, &low.to_string())?;
        value.parse::<T>().ok().filter(|n| *n >= low && *n <= high).ok_or_else(|| {
            self.error(word, "the number is out of range", format!("`{}` takes {low} to {high}", word.key))
        })
    }

    fn netns(&self, word: &Word) -> Result<String, SpecError> {
        let value = self.value(word, "NAME")?;
        if !value.starts_with('/') && (value.contains('/') || value == "." || value == "..") {
            return Err(self.error(
                word,
                "not a namespace name",
                "name it as `ip netns list` does, or give an absolute path",
            ));
        }
        Ok(value.to_owned())
    }

    fn flag(&self, word: &Word) -> Result<bool, SpecError> {
        match word.value {
            None => Ok(true),
            Some(_) => Err(self.error(word, "the option takes no value", format!("write `{}`", word.key))),
        }
    }

    fn unknown(&self, word: &Word, options: &str) -> SpecError {
        self.error(word, "unknown option", format!("options are {options}"))
    }

    fn nothing_else(&self, usage: &str) -> Result<(), SpecError> {
        match self.rest.first() {
            Some(word) => Err(self.error(word, "nothing may follow", usage)),
            None => Ok(()),
        }
    }

    fn pcap(&self) -> Result<PcapSpec, SpecError> {
        const USAGE: &str = "write `pcap:FILE[,out=FILE2][,fast]` or `pcap:out=FILE2`";
        let mut spec = PcapSpec { input: None, output: None, fast: false };
        for (i, word) in self.rest.iter().enumerate() {
            match (i, word.key.as_str()) {
                (_, "out") => spec.output = Some(PathBuf::from(self.value(word, "FILE")?)),
                (1.., "fast") => spec.fast = self.flag(word)?,
                (0, path) if !path.is_empty() => {
                    // A `=` inside the first word belongs to the file's name.
                    let tail = word.value.as_ref().map(|v| format!("={v}")).unwrap_or_default();
                    spec.input = Some(PathBuf::from(format!("{path}{tail}")));
                }
                _ => return Err(self.unknown(word, "out=FILE and fast")),
            }
        }
        if spec.input.is_none() && spec.output.is_none() {
            return Err(self.error(&self.kind, "no file is named", USAGE));
        }
        Ok(spec)
    }
}

impl FromStr for StackSpec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        let words = Words::split(spec);
        match words.kind.key.as_str() {
            "tap" => tap(&words).map(Self::Tap),
            "smoltcp" => smoltcp(&words).map(Self::Smoltcp),
            "pcap" => words.pcap().map(Self::Pcap),
            _ => Err(words.error(
                &words.kind,
                "unknown kind of stack",
                "kinds are tap:NAME, smoltcp:ADDR/LEN and pcap:FILE",
            )),
        }
    }
}

fn tap(words: &Words<'_>) -> Result<TapSpec, SpecError> {
    const USAGE: &str = "write `tap:NAME[,queues=N][,persist][,netns=NAME][,mtu=BYTES]`";
    let name = words.interface(USAGE)?;
    let mut spec = TapSpec { name, queues: None, persist: false, netns: None, mtu: None };
    for word in words.rest.iter().skip(1) {
        match word.key.as_str() {
            "queues" => spec.queues = Some(words.number(word, 1, QUEUES_MAX)?),
            "persist" => spec.persist = words.flag(word)?,
            "netns" => spec.netns = Some(words.netns(word)?),
            "mtu" => spec.mtu = Some(words.number(word, MTU_RANGE.0, MTU_RANGE.1)?),
            _ => return Err(words.unknown(word, "queues=N, persist, netns=NAME and mtu=BYTES")),
        }
    }
    Ok(spec)
}

fn smoltcp(words: &Words<'_>) -> Result<SmoltcpSpec, SpecError> {
    const USAGE: &str = "write `smoltcp:ADDR/LEN[,ADDR/LEN][,gw=ADDR]`, for instance smoltcp:10.0.0.2/24,gw=10.0.0.1";
    let mut spec = SmoltcpSpec { addresses: Vec::new(), gateways: Vec::new() };
    words.argument(USAGE)?;
    for word in &words.rest {
        if word.key == "gw" {
            let value = words.value(word, "ADDR")?;
            let gateway: IpAddr = value.parse().map_err(|_| words.error(word, "not an address", USAGE))?;
            if spec.gateways.iter().any(|g| g.is_ipv4() == gateway.is_ipv4()) {
                return Err(words.error(word, "a second router of one family", "give at most one gw= a family"));
            }
            spec.gateways.push(gateway);
            continue;
        }
        if word.value.is_some() {
            return Err(words.unknown(word, "further ADDR/LEN and gw=ADDR"));
        }
        let (address, length) =
            word.key.split_once('/').ok_or_else(|| words.error(word, "the prefix length is missing", USAGE))?;
        let address: IpAddr = address.parse().map_err(|_| words.error(word, "not an address", USAGE))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length
            .parse::<u8>()
            .ok()
            .filter(|l| *l <= most)
            .ok_or_else(|| words.error(word, "not a prefix length", format!("the length is 0 to {most} bits")))?;
        if address.is_multicast() || address.is_unspecified() {
            return Err(words.error(word, "not an address a host can have", USAGE));
        }
        spec.addresses.push((address, length));
    }
    Ok(spec)
}

impl FromStr for WireSpec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        let words = Words::split(spec);
        match words.kind.key.as_str() {
            "none" => words.nothing_else("write `none`").map(|()| Self::None),
            "reflect" => words.nothing_else("write `reflect`").map(|()| Self::Reflect),
            "pair" => {
                const USAGE: &str = "write `pair:NAME` with a name of 1 to 31 bytes";
                let word = words.argument(USAGE)?;
                if word.key.len() > 31 || words.rest.len() > 1 {
                    return Err(words.error(word, "not a pair's name", USAGE));
                }
                Ok(Self::Pair(word.key.clone()))
            }
            "packet" => {
                let name = words.interface("write `packet:IFNAME[,netns=NAME]`")?;
                let mut netns = None;
                for word in words.rest.iter().skip(1) {
                    match word.key.as_str() {
                        "netns" => netns = Some(words.netns(word)?),
                        _ => return Err(words.unknown(word, "netns=NAME")),
                    }
                }
                Ok(Self::Packet { name, netns })
            }
            "pcap" => words.pcap().map(Self::Pcap),
            _ => Err(words.error(
                &words.kind,
                "unknown far end",
                "far ends are none, reflect, pair:NAME, packet:IFNAME and pcap:FILE",
            )),
        }
    }
}

#[cfg(test)]
mod tests;
