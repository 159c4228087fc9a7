//! Link types (LINKTYPE_* of tcpdump.org/linktypes.html) and the Ethernet frame that a captured frame stands for.

/// What the bytes of a captured frame start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

#[allow(missing_docs, reason = "the names are the registry's")]
impl LinkType {
    pub const NULL: Self = Self(0);
    pub const ETHERNET: Self = Self(1);
    pub const PPP: Self = Self(9);
    pub const PPP_HDLC: Self = Self(50);
    pub const PPP_ETHER: Self = Self(51);
    pub const RAW: Self = Self(101);
    pub const C_HDLC: Self = Self(104);
    pub const LOOP: Self = Self(108);
    pub const LINUX_SLL: Self = Self(113);
    pub const PFLOG: Self = Self(117);
    pub const PPP_PPPD: Self = Self(166);
    pub const USB_LINUX_MMAPPED: Self = Self(220);
    pub const IPV4: Self = Self(228);
    pub const IPV6: Self = Self(229);
    pub const DBUS: Self = Self(231);
    pub const USBPCAP: Self = Self(249);
    pub const LINUX_SLL2: Self = Self(276);
    pub const EBHSCR: Self = Self(279);
}

impl LinkType {
    /// Undoes what some systems wrote into classic pcap files: their own DLT_RAW (12 on most, 14 on OpenBSD).
    pub(super) fn of_pcap_file(self) -> Self {
        match self.0 {
            12 | 14 => Self::RAW,
            _ => self,
        }
    }
}

/// Addresses of a frame whose link had none: locally administered, so that nobody's are hit.
const SOURCE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const DESTINATION: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
const IP4: u16 = 0x0800;
const IP6: u16 = 0x86dd;
/// Below this an EtherType field is a length (IEEE 802.3 clause 3.2.6).
const ETHERTYPE_MIN: u16 = 0x600;

/// The Ethernet frame that `bytes` of link type `link` stand for: itself, or the packet behind a synthetic header,
/// put together in `scratch`. `None` where the link type or the protocol has no Ethernet form.
pub fn to_ethernet<'a>(link: LinkType, bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if link == LinkType::ETHERNET {
        return Some(bytes);
    }
    let (ethertype, payload, source) = inner(link, bytes)?;
    scratch.clear();
    scratch.extend(DESTINATION);
    scratch.extend(source.unwrap_or(SOURCE));
    scratch.extend(ethertype.to_be_bytes());
    scratch.extend(payload);
    Some(scratch)
}

type Inner<'a> = (u16, &'a [u8], Option<[u8; 6]>);

/// EtherType, payload and, where the link has it, the sender's address.
fn inner(link: LinkType, bytes: &[u8]) -> Option<Inner<'_>> {
    let plain = |(ethertype, payload)| (ethertype, payload, None);
    match link {
        LinkType::RAW => by_version(bytes).map(plain),
        LinkType::IPV4 => Some((IP4, bytes, None)),
        LinkType::IPV6 => Some((IP6, bytes, None)),
        LinkType::NULL | LinkType::LOOP => {
            let (family, payload) = bytes.split_at_checked(4)?;
            // NULL is in the capturing host's byte order, LOOP in network order; families are small numbers.
            let family = match *family {
                [n, 0, 0, 0] | [0, 0, 0, n] => n,
                _ => return None,
            };
            family_ethertype(family).map(|ethertype| (ethertype, payload, None))
        }
        LinkType::PFLOG => {
            // struct pfloghdr: its length without padding, then the address family.
            let (length, family) = (*bytes.first()?, *bytes.get(1)?);
            let payload = bytes.get(usize::from(length).next_multiple_of(4)..)?;
            family_ethertype(family).map(|ethertype| (ethertype, payload, None))
        }
        LinkType::PPP | LinkType::PPP_HDLC => ppp(bytes.strip_prefix(&[0xff, 0x03]).unwrap_or(bytes)).map(plain),
        // The address byte was replaced by the direction.
        LinkType::PPP_PPPD => {
            let [_, 0x03, rest @ ..] = bytes else {
                return ppp(bytes).map(plain);
            };
            ppp(rest).map(plain)
        }
        // PPPoE session header (RFC 2516): version and type, code, session, length.
        LinkType::PPP_ETHER => match bytes {
            [0x11, 0, _, _, _, _, rest @ ..] => ppp(rest).map(plain),
            _ => None,
        },
        LinkType::C_HDLC => match bytes {
            [_, _, hi, lo, payload @ ..] => ethertype([*hi, *lo]).map(|e| (e, payload, None)),
            _ => None,
        },
        LinkType::LINUX_SLL => {
            let (header, payload) = bytes.split_at_checked(16)?;
            let [_, _, _, _, l0, l1, address @ ..] = header else {
                return None;
            };
            let protocol = ethertype([*header.get(14)?, *header.get(15)?])?;
            Some((protocol, payload, address_of(usize::from(u16::from_be_bytes([*l0, *l1])), address)))
        }
        LinkType::LINUX_SLL2 => {
            let (header, payload) = bytes.split_at_checked(20)?;
            let protocol = ethertype([*header.first()?, *header.get(1)?])?;
            Some((protocol, payload, address_of(usize::from(*header.get(11)?), header.get(12..)?)))
        }
        _ => None,
    }
}

fn address_of(len: usize, field: &[u8]) -> Option<[u8; 6]> {
    // An all-zero address is the loopback interface's.
    field.get(..6).filter(|a| len == 6 && a.iter().any(|b| *b != 0)).and_then(|a| a.try_into().ok())
}

fn ethertype(bytes: [u8; 2]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes)).filter(|e| *e >= ETHERTYPE_MIN)
}

fn by_version(bytes: &[u8]) -> Option<(u16, &[u8])> {
    match bytes.first()? >> 4 {
        4 => Some((IP4, bytes)),
        6 => Some((IP6, bytes)),
        _ => None,
    }
}

/// AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24 on NetBSD and OpenBSD, 28 on FreeBSD, 30 on macOS.
fn family_ethertype(family: u8) -> Option<u16> {
    match family {
        2 => Some(IP4),
        10 | 24 | 28 | 30 => Some(IP6),
        _ => None,
    }
}

/// RFC 1661: a protocol of one byte (compressed, odd) or two.
fn ppp(bytes: &[u8]) -> Option<(u16, &[u8])> {
    match bytes {
        [0x21, payload @ ..] | [0x00, 0x21, payload @ ..] => Some((IP4, payload)),
        [0x57, payload @ ..] | [0x00, 0x57, payload @ ..] => Some((IP6, payload)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
