//! Checksums.

use crate::wire::checksum::{Sum, checksum, pseudo_v4, pseudo_v6, update, update_bytes, update_udp};
use crate::wire::offload;
use proptest::prelude::*;

/// RFC 1071 section 4.1, word by word.
fn plain(data: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn rfc_1071_section_3() {
    let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(Sum::ZERO.add_bytes(&data).value(), 0xddf2);
    assert_eq!(checksum(&data), 0x220d);
}

#[test]
fn rfc_1624_section_4() {
    // Equation 3 gives 0000 where RFC 1141's gave ffff.
    assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    assert_eq!(update_bytes(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]), 0x0000);
    assert_eq!(update_udp(0, 1, 2), 0, "there was no checksum");
    assert_eq!(update_udp(0xdd2f, 0x5555, 0x3285), 0xffff);
}

#[test]
fn all_ones_and_large() {
    for len in [0, 1, 2, 3, 31, 32, 33, 65_535, 1 << 20] {
        let data = vec![0xff; len];
        assert_eq!(Sum::ZERO.add_bytes(&data).value(), plain(&data), "{len}");
    }
}

#[test]
fn partial_checksums_must_lie_inside() {
    let mut frame = [0u8; 20];
    for (start, stuff) in [(0, 19), (10, 9), (20, 20), (u16::MAX, u16::MAX), (0, u16::MAX)] {
        assert!(!offload::finish_partial(&mut frame, start, stuff), "{start} {stuff}");
    }
    assert!(offload::finish_partial(&mut frame, 18, 18));
    assert_eq!(frame[18..], [0xff, 0xff], "zero is sent as its other form");
}

proptest! {
    #[test]
    fn wide_sum_is_the_plain_sum(data in prop::collection::vec(any::<u8>(), 0..300), split in any::<prop::sample::Index>()) {
        let sum = plain(&data);
        prop_assert_eq!(Sum::ZERO.add_bytes(&data).value(), sum);
        let (a, b) = data.split_at(split.index(data.len() + 1) & !1);
        prop_assert_eq!(Sum::ZERO.add_bytes(a).add_bytes(b).value(), sum);
        prop_assert_eq!(Sum::ZERO.add_bytes(a).plus(Sum::ZERO.add_bytes(b)).value(), sum);
    }

    #[test]
    fn update_equals_recomputing(mut data in prop::collection::vec(any::<u8>(), 4..80), at in any::<prop::sample::Index>(), new in any::<u16>()) {
        data.truncate(data.len() & !1);
        // Ones' complement has two zeros: keep something in the data that is not.
        data[0] |= 1;
        let before = checksum(&data);
        let at = 2 + at.index(data.len() / 2 - 1) * 2;
        let old = u16::from_be_bytes([data[at], data[at + 1]]);
        data[at..at + 2].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(update(before, old, new), checksum(&data));
        prop_assert_eq!(update_bytes(before, &old.to_be_bytes(), &new.to_be_bytes()), checksum(&data));
    }

    #[test]
    fn pseudo_headers(src in any::<[u8; 16]>(), dst in any::<[u8; 16]>(), protocol in any::<u8>(), len in any::<u32>()) {
        let v6 = [&src[..], &dst, &len.to_be_bytes(), &[0, 0, 0, protocol]].concat();
        prop_assert_eq!(pseudo_v6(src, dst, protocol, len).value(), plain(&v6));
        let (src, dst) = ([src[0], src[1], src[2], src[3]], [dst[0], dst[1], dst[2], dst[3]]);
        let v4 = [&src[..], &dst, &[0, protocol], &(len as u16).to_be_bytes()].concat();
        prop_assert_eq!(pseudo_v4(src, dst, protocol, u32::from(len as u16)).value(), plain(&v4));
    }

    /// Sums that etherparse makes are right for us, and ours for it.
    #[test]
    fn transport_sums_agree(data in prop::collection::vec(any::<u8>(), 0..100), kind in 0..6, padding in 0usize..9) {
        use etherparse::{PacketBuilder, SlicedPacket};
        let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut frame = Vec::new();
        let (a, b) = ([10, 1, 2, 3], [10, 3, 2, 1]);
        match kind {
            0 => link.ipv4(a, b, 9).tcp(1, 2, 3, 4).write(&mut frame, &data),
            1 => link.ipv4(a, b, 9).udp(1, 2).write(&mut frame, &data),
            2 => link.ipv4(a, b, 9).icmpv4_echo_request(1, 2).write(&mut frame, &data),
            3 => link.ipv6([7; 16], [8; 16], 9).tcp(1, 2, 3, 4).write(&mut frame, &data),
            4 => link.ipv6([7; 16], [8; 16], 9).udp(1, 2).write(&mut frame, &data),
            _ => link.ipv6([7; 16], [8; 16], 9).icmpv6_echo_request(1, 2).write(&mut frame, &data),
        }.unwrap();
        prop_assert!(SlicedPacket::from_ethernet(&frame).is_ok());
        let good = frame.clone();
        frame.resize(frame.len() + padding, 0xaa);
        let parsed = crate::wire::parse(&frame);
        prop_assert_eq!(offload::is_transport_valid(&frame, &parsed), Some(true));
        prop_assert_ne!(offload::is_ipv4_header_valid(&frame, &parsed), Some(false));
        let at = usize::from(parsed.l4) + match parsed.protocol { 6 => 16, 17 => 6, _ => 2 };
        frame[at] ^= 0x55;
        prop_assert_eq!(offload::is_transport_valid(&frame, &parsed), Some(false));
        prop_assert!(offload::fill_transport(&mut frame, &parsed));
        if kind < 3 {
            frame[24..26].fill(9);
            prop_assert!(offload::fill_ipv4_header(&mut frame, &parsed));
        }
        prop_assert_eq!(&frame[..good.len()], &good[..]);
        // As a stack leaves it to the NIC: the pseudo header's sum in the field.
        if parsed.protocol != 1 {
            let pseudo = offload::pseudo_header(&parsed, good.len() - usize::from(parsed.l4)).unwrap();
            let mut partial = good.clone();
            partial[at..at + 2].copy_from_slice(&pseudo.value().to_be_bytes());
            prop_assert!(offload::finish_partial(&mut partial, parsed.l4, at as u16));
            prop_assert_eq!(offload::is_transport_valid(&partial, &parsed), Some(true));
        }
    }
}
