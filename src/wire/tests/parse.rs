//! Frames written out, and what must be read from them.

use crate::wire::{
    Family, Fragment, ParseError, Parsed, ParsedFlags, VLAN_MAX, flow_hash, parse, parse_inner, parse_super, protocol,
    shard_of,
};

/// Bytes from text: hexadecimal digits, anything else separates.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const ETHER: &str = "02 00 00 00 00 02  02 00 00 00 00 01";
/// 10.0.0.1 to 10.0.0.2.
const PAIR4: &str = "0a 00 00 01  0a 00 00 02";
const PAIR6: &str = "fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01  fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02";
/// Port 4000 to 53, 4 bytes of payload.
const UDP: &str = "0f a0 00 35 00 0c 00 00  01 02 03 04";
const TCP: &str = "0f a0 00 50  00 00 00 01  00 00 00 02  50 12 ff ff 00 00 00 00";

fn frame(parts: &[&str]) -> Vec<u8> {
    hex(&[&[ETHER], parts].concat().concat())
}

fn v4(len: &str, frag: &str, proto: &str, body: &str) -> Vec<u8> {
    frame(&["0800 45 b8", len, "12 34", frag, "40", proto, "00 00", PAIR4, body])
}

fn v6(len: &str, next: &str, body: &str) -> Vec<u8> {
    frame(&["86dd 6b 8a bc de", len, next, "ff", PAIR6, body])
}

fn error(frame: &[u8]) -> Option<ParseError> {
    parse(frame).error
}

#[test]
fn udp_over_ipv4() {
    let frame = v4("00 20", "40 00", "11", UDP);
    let got = parse(&frame);
    let mut expected = Parsed {
        ethertype: 0x0800,
        l3: 14,
        l4: 34,
        family: Family::V4,
        protocol: protocol::UDP,
        flags: ParsedFlags::PORTS | ParsedFlags::DONT_FRAGMENT,
        src_port: 4000,
        dst_port: 53,
        ttl: 64,
        tos: 0xb8,
        fragment: Fragment { id: 0x1234, offset: 0, more: false },
        payload: 42,
        payload_len: 4,
        ..Parsed::default()
    };
    expected.src[..4].copy_from_slice(&[10, 0, 0, 1]);
    expected.dst[..4].copy_from_slice(&[10, 0, 0, 2]);
    assert_eq!(got, expected);
    assert_eq!(got.end(), frame.len());
    let mut padded = frame;
    padded.resize(60, 0);
    assert_eq!(parse(&padded), Parsed { flags: expected.flags | ParsedFlags::PADDED, ..expected });
}

#[test]
fn tcp_over_ipv6() {
    let got = parse(&v6("00 14", "06", TCP));
    assert_eq!((got.error, got.family, got.protocol), (None, Family::V6, protocol::TCP));
    assert_eq!((got.src_port, got.dst_port, got.tcp_flags), (4000, 80, 0x12));
    assert_eq!((got.ttl, got.tos, got.l4, got.payload, got.payload_len), (255, 0xb8, 54, 74, 0));
    assert_eq!(got.src[..2], [0xfd, 0]);
    assert_eq!((got.src[15], got.dst[15]), (1, 2));
}

#[test]
fn vlan_tags() {
    let ip = hex(&["0800 45 00 00 20 00 00 00 00 40 11 00 00", PAIR4, UDP].concat());
    for tags in 0..=VLAN_MAX + 1 {
        let mut bytes = hex(ETHER);
        for tag in 0..tags {
            bytes.extend(if tag == 0 { [0x88, 0xa8] } else { [0x81, 0x00] });
            bytes.extend([0x20, tag as u8 + 1]);
        }
        bytes.extend(&ip);
        let got = parse(&bytes);
        if tags > VLAN_MAX {
            assert_eq!(got.error, Some(ParseError::Normalize));
            continue;
        }
        assert_eq!((got.error, usize::from(got.vlan_count), usize::from(got.l3)), (None, tags, 14 + 4 * tags));
        assert_eq!((got.ethertype, got.dst_port), (0x0800, 53));
        let tci: Vec<u16> = (0..tags).map(|tag| 0x2000 | (tag as u16 + 1)).collect();
        assert_eq!(got.vlans[..tags], tci);
        // Cut inside the tag.
        if tags > 0 {
            assert_eq!(error(&bytes[..14 + 4 * tags - 1]), Some(ParseError::Short));
        }
    }
}

#[test]
fn link_layer() {
    assert_eq!(error(&[]), Some(ParseError::Runt));
    assert_eq!(error(&[0xff; 13]), Some(ParseError::Runt));
    let broadcast = parse(&[0xff; 14]);
    assert!(broadcast.flags.contains(ParsedFlags::BROADCAST | ParsedFlags::MULTICAST));
    let mut group = [0; 14];
    group[0] = 1;
    assert_eq!(parse(&group).flags, ParsedFlags::MULTICAST);
    // Spanning tree: an IEEE 802.3 length and LLC.
    let stp = parse(&hex("01 80 c2 00 00 00 02 00 00 00 00 01 00 26 42 42 03 00 00"));
    assert_eq!((stp.error, stp.ethertype, stp.protocol), (None, 0x26, protocol::NONE));
    assert_eq!((stp.payload, stp.payload_len), (14, 5));
}

#[test]
fn arp() {
    let body = "00 01 08 00 06 04 00 01  02 00 00 00 00 01  0a 00 00 01  00 00 00 00 00 00  0a 00 00 02";
    let bytes = frame(&["0806", body]);
    let got = parse(&bytes);
    assert_eq!((got.error, got.flags, got.arp_op), (None, ParsedFlags::ARP, 1));
    assert_eq!((&got.src[..4], &got.dst[..4]), (&[10, 0, 0, 1][..], &[10, 0, 0, 2][..]));
    assert_eq!(got.family, Family::None);
    assert_eq!(error(&bytes[..41]), Some(ParseError::Short));
    assert_eq!(error(&bytes[..21]), Some(ParseError::Short));
    // For another kind of address: carried, not read.
    let other = parse(&frame(&["0806 00 06 08 00 06 04 00 01"]));
    assert_eq!((other.error, other.flags.contains(ParsedFlags::ARP)), (None, false));
}

#[test]
fn ipv4_lengths() {
    let good = v4("00 20", "00 00", "11", UDP);
    for cut in 14..good.len() {
        assert_eq!(error(&good[..cut]), Some(ParseError::Short), "cut to {cut}");
    }
    assert_eq!(error(&v4("00 21", "00 00", "11", UDP)), Some(ParseError::Short), "longer than the frame");
    assert_eq!(error(&v4("00 13", "00 00", "11", UDP)), Some(ParseError::BadOffset), "shorter than itself");
    assert_eq!(error(&v4("00 1f", "00 00", "11", UDP)), Some(ParseError::Short), "UDP longer than IP");
    let mut version = good.clone();
    version[14] = 0x65;
    assert_eq!(error(&version), Some(ParseError::BadOffset));
    let mut header = good.clone();
    header[14] = 0x44;
    assert_eq!(error(&header), Some(ParseError::BadOffset));
    header[14] = 0x4f;
    assert_eq!(error(&header), Some(ParseError::BadOffset), "header of 60 in a packet of 32");
    let options = frame(&["0800 46 00 00 24 00 00 00 00 40 11 00 00", PAIR4, "94 04 00 00", UDP]);
    let got = parse(&options);
    assert_eq!((got.error, got.l4, got.dst_port), (None, 38, 53));
    assert!(got.flags.contains(ParsedFlags::IP_OPTIONS));
}

#[test]
fn ipv4_fragments() {
    let first = parse(&v4("00 24", "20 00", "11", &[UDP, "05 06 07 08"].concat()));
    assert_eq!((first.error, first.dst_port, first.is_later_fragment()), (None, 53, false));
    assert_eq!(first.fragment, Fragment { id: 0x1234, offset: 0, more: true });
    let later = parse(&v4("00 1c", "20 02", "11", "00 35 00 35 00 35 00 35"));
    assert_eq!((later.error, later.l4, later.flags.contains(ParsedFlags::PORTS)), (None, 0, false));
    assert_eq!((later.payload, later.payload_len, later.fragment.offset), (34, 8, 16));
    let last = parse(&v4("00 17", "00 02", "11", "01 02 03"));
    assert_eq!((last.error, last.is_fragment()), (None, true));
    for (why, frag, len, body) in [
        ("not a multiple of 8", "20 02", "00 17", "01 02 03"),
        ("empty", "00 02", "00 14", ""),
        ("past 65535", "1f ff", "00 1c", "01 02 03 04 05 06 07 08"),
    ] {
        assert_eq!(error(&v4(len, frag, "11", body)), Some(ParseError::Fragment), "{why}");
    }
    let overlap = v4("00 1c", "20 01", "06", "01 02 03 04 05 06 07 08");
    assert_eq!(error(&overlap), Some(ParseError::Fragment), "over the first one's TCP flags");
    let tiny = v4("00 1c", "20 00", "06", "0f a0 00 50 00 00 00 01");
    assert_eq!(error(&tiny), Some(ParseError::Short), "flags in the next fragment");
}

#[test]
fn ipv6_lengths_and_chains() {
    let good = v6("00 0c", "11", UDP);
    assert_eq!(parse(&good).dst_port, 53);
    for cut in 14..good.len() {
        assert_eq!(error(&good[..cut]), Some(ParseError::Short), "cut to {cut}");
    }
    assert_eq!(error(&v6("00 0d", "11", UDP)), Some(ParseError::Short));
    assert_eq!(error(&v6("00 00", "3b", "")), None, "nothing, and it says so");
    assert_eq!(error(&v6("00 00", "11", UDP)), Some(ParseError::Short), "UDP in no payload");
    assert_eq!(error(&v6("00 00", "00", UDP)), Some(ParseError::Normalize), "a jumbogram");
    let options = |next: &str| [next, " 00 01 04 00 00 00 00 "].concat();
    let chain = v6("00 24", "00", &[&options("3c"), &options("2b"), "11 00 02 00 00 00 00 00", UDP].concat());
    let got = parse(&chain);
    assert_eq!((got.error, got.protocol, got.l4, got.dst_port), (None, protocol::UDP, 78, 53));
    assert!(got.flags.contains(ParsedFlags::IP_OPTIONS));
    let type0 = v6("00 14", "2b", &["11 00 00 00 00 00 00 00", UDP].concat());
    assert_eq!(error(&type0), Some(ParseError::IpOption), "type 0 routing header");
    let late = v6("00 1c", "3c", &[&options("00"), &options("11"), UDP].concat());
    assert_eq!(error(&late), Some(ParseError::IpOption), "hop-by-hop options not in front");
    let long = v6("00 14", "3c", &["11 09 01 04 00 00 00 00", UDP].concat());
    assert_eq!(error(&long), Some(ParseError::Short), "an option header past the end");
    let mut endless = Vec::new();
    endless.extend(v6("00 a0", "3c", ""));
    (0..20).for_each(|_| endless.extend(hex(&options("3c"))));
    assert_eq!(error(&endless), Some(ParseError::IpOption), "too many");
    let auth = |units: &str| v6("00 18", "33", &["11", units, "00 00 00 00 00 01 00 00 00 01", UDP].concat());
    assert_eq!((error(&auth("01")), parse(&auth("01")).dst_port), (None, 53));
    assert_eq!(error(&auth("00")), Some(ParseError::BadOffset), "shorter than itself");
}

#[test]
fn ipv6_fragments() {
    let fragment = |bits: &str, body: &str, len: &str| v6(len, "2c", &["11 00", bits, "00 01 02 03", body].concat());
    let atomic = parse(&fragment("00 00", UDP, "00 14"));
    assert_eq!((atomic.error, atomic.is_fragment(), atomic.dst_port), (None, false, 53));
    assert_eq!(atomic.fragment.id, 0x10203);
    let reserved = parse(&fragment("00 06", UDP, "00 14"));
    assert_eq!((reserved.error, reserved.is_fragment()), (None, false), "reserved bits are ignored");
    let first = parse(&fragment("00 01", &[UDP, "01 02 03 04"].concat(), "00 18"));
    assert_eq!((first.error, first.is_fragment(), first.dst_port), (None, true, 53));
    for (bits, offset) in [("00 08", 8), ("00 20", 32), ("00 40", 64), ("01 00", 256)] {
        let later = parse(&fragment(bits, "01 02 03", "00 0b"));
        assert_eq!((later.error, later.fragment.offset, later.l4), (None, offset, 0), "{bits}");
    }
    assert_eq!(error(&fragment("00 09", "01 02 03", "00 0b")), Some(ParseError::Fragment));
    assert_eq!(error(&fragment("00 08", "", "00 08")), Some(ParseError::Fragment));
    let twice = v6("00 1c", "2c", &["2c 00 00 00 00 00 00 01  11 00 00 00 00 00 00 01", UDP].concat());
    assert_eq!(error(&twice), Some(ParseError::Fragment), "two fragment headers");
}

#[test]
fn transport_headers() {
    let tcp = |offset: &str| v4("00 28", "00 00", "06", &TCP.replace("50 12", offset));
    assert_eq!(error(&tcp("50 12")), None);
    assert_eq!(error(&tcp("40 12")), Some(ParseError::BadOffset));
    assert_eq!(error(&tcp("60 12")), Some(ParseError::Short));
    let udp = |len: &str| v4("00 20", "00 00", "11", &UDP.replace("00 0c", len));
    assert_eq!(error(&udp("00 07")), Some(ParseError::BadOffset));
    assert_eq!(error(&udp("00 0d")), Some(ParseError::Short));
    assert_eq!((error(&udp("00 0a")), parse(&udp("00 0a")).payload_len), (None, 2));
    assert_eq!(error(&v4("00 1b", "00 00", "01", "08 00 00 00 00 00 00")), Some(ParseError::Short));
    let echo = parse(&v4("00 1c", "00 00", "01", "08 09 00 00 00 00 00 00"));
    assert_eq!((echo.icmp_type, echo.icmp_code, echo.flags), (8, 9, ParsedFlags::ICMP));
    let crossed = parse(&v4("00 1c", "00 00", "3a", "80 09 00 00 00 00 00 00"));
    assert_eq!((crossed.error, crossed.flags.contains(ParsedFlags::ICMP)), (None, false), "ICMPv6 in IPv4");
    let sctp = "0f a0 00 09 00 00 00 00 00 00 00 00";
    assert_eq!(parse(&v4("00 20", "00 00", "84", sctp)).dst_port, 9);
    assert_eq!(error(&v4("00 1c", "00 00", "84", &sctp[..23])), Some(ParseError::Short));
}

#[test]
fn super_frames_may_leave_the_length_open() {
    let mut tcp = v4("00 00", "00 00", "06", TCP);
    tcp.resize(70_000, 1);
    assert_eq!(error(&tcp), Some(ParseError::BadOffset));
    let got = parse_super(&tcp);
    assert_eq!((got.error, got.payload, got.payload_len), (None, 54, 70_000 - 54));
    let mut tcp = v6("00 00", "06", TCP);
    tcp.resize(70_000, 1);
    assert_eq!(error(&tcp), Some(ParseError::Short));
    assert_eq!(parse_super(&tcp).payload_len, 70_000 - 74);
}

fn unreachable(inner: &str, len: &str) -> Vec<u8> {
    v4(len, "00 00", "01", &["03 01 00 00 00 00 00 00", inner].concat())
}

#[test]
fn errors_belong_to_the_flow_they_are_about() {
    let flow = v4("00 20", "00 00", "11", UDP);
    // The packet came from 10.0.0.1; the error goes back to it, with 8 bytes of UDP.
    let inner = ["45 00 00 20 00 00 00 00 40 11 00 00", PAIR4, "0f a0 00 35 00 0c 00 00"].concat();
    let error = unreachable(&inner, "00 38");
    let parsed = parse(&error);
    assert!(parsed.flags.contains(ParsedFlags::ICMP_ERROR));
    let got = parse_inner(&error, &parsed).unwrap();
    assert_eq!((got.src_port, got.dst_port, got.protocol, got.l4), (4000, 53, protocol::UDP, 62));
    assert_eq!(flow_hash(&error, &parsed, 9), flow_hash(&flow, &parse(&flow), 9));
    // Cut off TCP: the ports are there.
    let inner = ["45 00 05 dc 00 00 00 00 40 06 00 00", PAIR4, "0f a0 00 50 00 00 00 01"].concat();
    let error = unreachable(&inner, "00 38");
    let got = parse_inner(&error, &parse(&error)).unwrap();
    assert_eq!((got.src_port, got.dst_port, got.flags.contains(ParsedFlags::TCP)), (4000, 80, false));
    // Rubbish inside: hashed as what it is.
    let error = unreachable("45 00 00 20", "00 20");
    let parsed = parse(&error);
    assert!(parse_inner(&error, &parsed).is_none());
    let _ = flow_hash(&error, &parsed, 9);
    assert!(parse_inner(&flow, &parse(&flow)).is_none(), "not an error");
}

#[test]
fn hashes_spread_and_depend_on_the_seed() {
    let mut counts = [[0u32; 8]; 2];
    let mut frame = v4("00 20", "00 00", "11", UDP);
    for port in 0..4096u16 {
        frame[34..36].copy_from_slice(&port.to_be_bytes());
        let parsed = parse(&frame);
        for (counts, seed) in counts.iter_mut().zip([1, 2]) {
            counts[shard_of(flow_hash(&frame, &parsed, seed), 8)] += 1;
        }
    }
    assert_ne!(counts[0], counts[1]);
    for count in counts.as_flattened() {
        assert!((400..625).contains(count), "{counts:?}");
    }
    assert_eq!(shard_of(u64::MAX, 8), 7);
    assert_eq!(shard_of(u64::MAX, 1), 0);
    assert_eq!(shard_of(0, 3), 0);
    let first = parse(&v4("00 24", "20 00", "11", &[UDP, "05 06 07 08"].concat()));
    let later = parse(&v4("00 1c", "00 02", "11", "00 35 00 35 00 35 00 35"));
    assert_eq!(flow_hash(&[], &first, 3), flow_hash(&[], &later, 3), "fragments stay together");
}
