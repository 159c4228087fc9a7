//! A packet in words, as `weir explain --packet` takes it, made into a frame.
//!
//! ```text
//! in|out [on IF] [vlan ID] PROTO SRC[:PORT] > DST[:PORT] [flags LETTERS] [icmp-type N[/CODE]] [tos N] [ttl N]
//!        [fragment OFFSET] [len BYTES] [mac SRC > DST]
//! in|out [on IF] [vlan ID] ether TYPE [mac SRC > DST]
//! ```

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpFragOffset, IpHeaders, IpNumber, Ipv4Header, Ipv6Extensions,
    Ipv6FlowLabel, Ipv6Header, PacketBuilder, TcpHeader, VlanId,
};
use weir_core::filter::Direction;
use weir_pf::names::{icmp, protocols, services, tos};

/// A frame, where it goes, and on which interface.
#[derive(Debug)]
pub struct Described {
    /// In or Out.
    pub direction: Direction,
    /// `on IF`
    pub interface: Option<String>,
    /// The frame.
    pub frame: Vec<u8>,
}

/// What the words said.
struct Spec {
    vlan: Option<u16>,
    macs: ([u8; 6], [u8; 6]),
    protocol: u8,
    src: IpAddr,
    dst: IpAddr,
    ports: (u16, u16),
    flags: u8,
    icmp: (u8, u8),
    tos: u8,
    ttl: u8,
    fragment: Option<u16>,
    len: usize,
}

/// Words, one after the other.
struct Words<'a>(std::iter::Peekable<std::str::SplitWhitespace<'a>>);

impl<'a> Words<'a> {
    fn take(&mut self, word: &str) -> bool {
        self.0.next_if(|next| next.eq_ignore_ascii_case(word)).is_some()
    }

    fn next(&mut self, what: &str) -> Result<&'a str> {
        self.0.next().with_context(|| format!("--packet ends where {what} is expected"))
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T> {
        let word = self.next(what)?;
        word.parse().ok().with_context(|| format!("`{word}` is not {what}"))
    }
}

/// Reads the words.
///
/// # Errors
/// The word that is wrong, and what should stand there.
pub fn parse(text: &str) -> Result<Described> {
    let spaced = text.replace('>', " > ");
    let mut words = Words(spaced.split_whitespace().peekable());
    let direction = match words.next("`in` or `out`")? {
        "in" => Direction::In,
        "out" => Direction::Out,
        other => bail!("`{other}`: a packet begins with `in` or `out`"),
    };
    let interface = match words.take("on") {
        true => Some(words.next("the name of an interface")?.to_owned()),
        false => None,
    };
    let vlan = match words.take("vlan") {
        true => Some(words.number("a VLAN id")?),
        false => None,
    };
    let frame = match words.take("ether") {
        true => ether(&mut words, vlan)?,
        false => ip(&mut words, vlan)?,
    };
    if let Some(word) = words.0.next() {
        bail!("`{word}` is not expected there");
    }
    Ok(Described { direction, interface, frame })
}

/// Made-up MAC addresses (RFC 7042: locally administered).
const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

fn mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).with_context(|| format!("`{text}` is not a MAC address"))
}

fn macs(words: &mut Words<'_>) -> Result<([u8; 6], [u8; 6])> {
    let src = mac(words.next("a source MAC address")?)?;
    ensure!(words.take(">"), "`>` stands between two MAC addresses");
    Ok((src, mac(words.next("a destination MAC address")?)?))
}

fn ether(words: &mut Words<'_>, vlan: Option<u16>) -> Result<Vec<u8>> {
    let word = words.next("an EtherType")?;
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let kind = u16::from_str_radix(digits, 16).ok().with_context(|| format!("`{word}` is not an EtherType"))?;
    let (src, dst) = if words.take("mac") { macs(words)? } else { MACS };
    let mut frame = Vec::new();
    frame.extend(dst);
    frame.extend(src);
    if let Some(id) = vlan {
        frame.extend([0x81, 0]);
        frame.extend(id.to_be_bytes());
    }
    frame.extend(kind.to_be_bytes());
    frame.resize(60, 0);
    Ok(frame)
}

/// `10.0.0.1`, `10.0.0.1:80`, `::1`, `[::1]:80`, with a service for a port.
fn endpoint(text: &str) -> Result<(IpAddr, u16)> {
    if let Ok(addr) = text.parse() {
        return Ok((addr, 0));
    }
    let (addr, port) = text.rsplit_once(':').with_context(|| format!("`{text}` is not an address"))?;
    let bare = addr.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(addr);
    let addr = bare.parse().ok().with_context(|| format!("`{addr}` is not an address"))?;
    let port = port.parse().ok().or_else(|| services::port(port)).with_context(|| format!("`{port}` is not a port"))?;
    Ok((addr, port))
}

/// A type and code, by number or by name.
fn icmp_type(text: &str, v6: bool) -> Result<(u8, u8)> {
    let (kind, code) = text.split_once('/').unwrap_or((text, "0"));
    let number = kind.parse().ok().or_else(|| icmp::type_number(kind, v6));
    let kind = number.with_context(|| format!("`{kind}` is not an ICMP type"))?;
    let code = code.parse().ok().or_else(|| icmp::code_number(kind, code, v6));
    Ok((kind, code.with_context(|| format!("`{text}` has no ICMP code of that name"))?))
}

fn tcp_flags(letters: &str) -> Result<u8> {
    letters.chars().try_fold(0, |bits, letter| match weir_pf::parse::TCP_FLAGS.find(letter) {
        Some(at) => Ok(bits | 1 << at),
        None => bail!("`{letter}` is not a TCP flag: F S R P A U E W"),
    })
}

fn ip(words: &mut Words<'_>, vlan: Option<u16>) -> Result<Vec<u8>> {
    let name = words.next("a protocol, `arp` or `ether`")?;
    let arp = name == "arp";
    let (src, sport) = endpoint(words.next("a source address")?)?;
    ensure!(words.take(">"), "`>` stands between source and destination");
    let (dst, dport) = endpoint(words.next("a destination address")?)?;
    ensure!(src.is_ipv4() == dst.is_ipv4(), "source and destination are of two families");
    let v6 = src.is_ipv6();
    let number = match name {
        _ if arp => 0,
        "icmp" if v6 => protocols::ICMP6,
        _ => name
            .parse()
            .ok()
            .or_else(|| protocols::number(name))
            .with_context(|| format!("unknown protocol `{name}`"))?,
    };
    let echo = if v6 { (128, 0) } else { (8, 0) };
    let mut spec = Spec {
        vlan,
        macs: MACS,
        protocol: number,
        src,
        dst,
        ports: (sport, dport),
        flags: 0x02,
        icmp: echo,
        tos: 0,
        ttl: 64,
        fragment: None,
        len: 0,
    };
    while let Some(word) = words.0.next() {
        match word {
            "flags" => spec.flags = tcp_flags(words.next("TCP flags")?)?,
            "icmp-type" | "icmp6-type" => spec.icmp = icmp_type(words.next("an ICMP type")?, v6)?,
            "tos" => {
                let value = words.next("a type of service")?;
                let hex = value.strip_prefix("0x").and_then(|h| u8::from_str_radix(h, 16).ok());
                let found = hex.or_else(|| value.parse().ok()).or_else(|| tos::tos(value));
                spec.tos = found.with_context(|| format!("`{value}` is not a type of service"))?;
            }
            "ttl" => spec.ttl = words.number("a time to live")?,
            "fragment" => spec.fragment = Some(words.number("the offset of a fragment, in bytes")?),
            "len" => spec.len = words.number("a length in bytes")?,
            "mac" => spec.macs = macs(words)?,
            other => bail!("`{other}`: flags, icmp-type, tos, ttl, fragment, len or mac is expected"),
        }
    }
    build(&spec, arp)
}

fn build(spec: &Spec, arp: bool) -> Result<Vec<u8>> {
    let ethernet = PacketBuilder::ethernet2(spec.macs.0, spec.macs.1);
    let mut frame = Vec::new();
    if arp {
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (spec.src, spec.dst) else {
            bail!("ARP is for IPv4");
        };
        let packet = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            ArpOperation::REQUEST,
            &spec.macs.0,
            &src.octets(),
            &[0; 6],
            &dst.octets(),
        )?;
        match vlan(spec)? {
            Some(id) => ethernet.single_vlan(id).arp(packet).write(&mut frame)?,
            None => ethernet.arp(packet).write(&mut frame)?,
        }
        return Ok(frame);
    }
    // The transport header is made first, so that a fragment can carry a part of what looks like one.
    let headers = match (spec.src, spec.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = Ipv4Header::new(0, spec.ttl, IpNumber(spec.protocol), src.octets(), dst.octets())?;
            header.dscp = (spec.tos >> 2).try_into()?;
            header.ecn = (spec.tos & 3).try_into()?;
            if let Some(offset) = spec.fragment {
                header.fragment_offset = IpFragOffset::try_new(offset / 8)?;
                header.more_fragments = true;
                header.dont_fragment = false;
            }
            IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = Ipv6Header {
                traffic_class: spec.tos,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: 0,
                next_header: IpNumber(spec.protocol),
                hop_limit: spec.ttl,
                source: src.octets(),
                destination: dst.octets(),
            };
            let mut extensions = Ipv6Extensions::default();
            if let Some(offset) = spec.fragment {
                extensions.fragment = Some(etherparse::Ipv6FragmentHeader::new(
                    IpNumber(spec.protocol),
                    IpFragOffset::try_new(offset / 8)?,
                    true,
                    1,
                ));
            }
            IpHeaders::Ipv6(header, extensions)
        }
        _ => bail!("source and destination are of two families"),
    };
    let payload = vec![0; spec.len];
    match vlan(spec)? {
        Some(id) => transport(spec, ethernet.single_vlan(id).ip(headers), &payload, &mut frame)?,
        None => transport(spec, ethernet.ip(headers), &payload, &mut frame)?,
    }
    Ok(frame)
}

fn vlan(spec: &Spec) -> Result<Option<VlanId>> {
    spec.vlan.map(|id| VlanId::try_new(id).context("a VLAN id is 0 to 4095")).transpose()
}

fn transport(
    spec: &Spec,
    ip: etherparse::PacketBuilderStep<IpHeaders>,
    payload: &[u8],
    frame: &mut Vec<u8>,
) -> Result<()> {
    let (kind, code) = spec.icmp;
    match spec.protocol {
        protocols::TCP => {
            let mut header = TcpHeader::new(spec.ports.0, spec.ports.1, 1, 65_535);
            let bit = |at: u8| spec.flags & (1 << at) != 0;
            (header.fin, header.syn, header.rst, header.psh) = (bit(0), bit(1), bit(2), bit(3));
            (header.ack, header.urg, header.ece, header.cwr) = (bit(4), bit(5), bit(6), bit(7));
            ip.tcp_header(header).write(frame, payload)?;
        }
        protocols::UDP => ip.udp(spec.ports.0, spec.ports.1).write(frame, payload)?,
        protocols::ICMP => ip.icmpv4_raw(kind, code, [0; 4]).write(frame, payload)?,
        protocols::ICMP6 => ip.icmpv6_raw(kind, code, [0; 4]).write(frame, payload)?,
        other => ip.write(frame, IpNumber(other), payload)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use weir_core::wire::{self, Family};

    use super::*;

    #[test]
    fn words_become_the_packet_they_describe() {
        let found = parse("in on en0 tcp 10.0.0.1:1234 > 10.0.0.2:ssh flags SA tos 0x10").expect("a packet");
        assert_eq!((found.direction, found.interface.as_deref()), (Direction::In, Some("en0")));
        let p = wire::parse(&found.frame);
        assert_eq!((p.error, p.family, p.protocol), (None, Family::V4, 6));
        assert_eq!((p.src_port, p.dst_port, p.tcp_flags, p.tos), (1234, 22, 0x12, 0x10));
        let found = parse("out vlan 7 udp [2001:db8::1]:53>[2001:db8::2]:5353").expect("a packet");
        let p = wire::parse(&found.frame);
        assert_eq!((p.error, p.family, p.protocol, p.dst_port), (None, Family::V6, 17, 5353));
        let p = wire::parse(&parse("in icmp fe80::1 > ff02::1 icmp6-type routeradv").expect("a packet").frame);
        assert_eq!((p.error, p.protocol, p.icmp_type), (None, 58, 134));
        let p = wire::parse(&parse("in udp 10.0.0.1 > 10.0.0.2 fragment 1480 len 40").expect("a packet").frame);
        assert!(p.is_fragment());
        let p = wire::parse(&parse("in arp 10.0.0.1 > 10.0.0.2").expect("a packet").frame);
        assert_eq!((p.error, p.ethertype), (None, 0x0806));
        let p =
            wire::parse(&parse("out ether 0x88cc mac 02:00:00:00:00:09 > 01:80:c2:00:00:0e").expect("a frame").frame);
        assert_eq!(p.ethertype, 0x88cc);
        assert_eq!(wire::parse(&parse("in 47 10.0.0.1 > 10.0.0.2 len 8").expect("a packet").frame).protocol, 47);
    }

    #[test]
    fn wrong_words_are_named() {
        for (text, wanted) in [
            ("tcp 10.0.0.1 > 10.0.0.2", "begins with `in` or `out`"),
            ("in tpc 10.0.0.1 > 10.0.0.2", "unknown protocol `tpc`"),
            ("in tcp 10.0.0.1 10.0.0.2", "`>` stands between"),
            ("in tcp 10.0.0.1 > ::1", "two families"),
            ("in tcp 10.0.0.1:x > 10.0.0.2", "`x` is not a port"),
            ("in tcp 10.0.0.1 > 10.0.0.2 flags Q", "`Q` is not a TCP flag"),
            ("in tcp 10.0.0.1 > 10.0.0.2 colour", "`colour`"),
            ("in", "ends where"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
