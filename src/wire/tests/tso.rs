//! Segmentation.

use crate::wire::tcp::{ACK, CWR, FIN, PSH};
use crate::wire::tso::Segmenter;
use crate::wire::{Family, offload, parse, parse_super};
use etherparse::PacketBuilder;
use proptest::prelude::*;

fn super_frame(v6: bool, tagged: bool, payload: &[u8]) -> Vec<u8> {
    let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let mut frame = Vec::new();
    let vlan = etherparse::VlanId::try_new(5).unwrap();
    let tcp = |ip: etherparse::PacketBuilderStep<etherparse::IpHeaders>| {
        let options = etherparse::TcpOptionElement::Timestamp(1, 2);
        ip.tcp(1000, 80, u32::MAX - 5000, 9000).ack(6).psh().fin().options(&[options]).unwrap()
    };
    let tcp = match (v6, tagged) {
        (false, false) => tcp(link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)),
        (false, true) => tcp(link.single_vlan(vlan).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)),
        (true, false) => tcp(link.ipv6([0xfd; 16], [0xfe; 16], 64)),
        (true, true) => tcp(link.single_vlan(vlan).ipv6([0xfd; 16], [0xfe; 16], 64)),
    };
    tcp.write(&mut frame, payload).unwrap();
    let at = usize::from(parse(&frame).l4);
    frame[at + 13] |= CWR;
    frame
}

proptest! {
    #[test]
    fn segments_add_up(v6 in any::<bool>(), tagged in any::<bool>(), len in 0usize..60_000, mss in 1u16..9_000, zero_len in any::<bool>()) {
        // At most a few hundred segments.
        let mss = mss.max((len / 300) as u16).max(1);
        let payload: Vec<u8> = (0..len).map(|i| ((i * 31) >> 3) as u8).collect();
        let mut frame = super_frame(v6, tagged, &payload);
        let l3 = if tagged { 18 } else { 14 };
        let whole = parse(&frame);
        if zero_len {
            let at = l3 + if v6 { 4 } else { 2 };
            frame[at..at + 2].fill(0);
        }
        let parsed = parse_super(&frame);
        prop_assert_eq!((parsed.error, parsed.payload, parsed.payload_len as usize), (None, whole.payload, len));
        let cut = Segmenter::new(&frame, &parsed, mss).unwrap();
        prop_assert_eq!(cut.segments(), len.div_ceil(usize::from(mss)).max(1));
        let seq = |frame: &[u8]| u32::from_be_bytes(frame[usize::from(parsed.l4) + 4..][..4].try_into().unwrap());
        let first_id = parse_super(&frame).fragment.id;
        let mut joined = Vec::new();
        let mut out = vec![0; cut.segment_max()];
        for index in 0..cut.segments() {
            let len = cut.write(&frame, index, &mut out).unwrap();
            prop_assert_eq!(cut.segment_len(index), Some(len));
            let segment = &out[..len];
            let got = parse(segment);
            prop_assert_eq!((got.error, got.end()), (None, len));
            prop_assert_eq!(offload::is_transport_valid(segment, &got), Some(true));
            prop_assert_eq!(seq(segment), seq(&frame).wrapping_add(joined.len() as u32));
            let last = index + 1 == cut.segments();
            let flags = ACK | if index == 0 { CWR } else { 0 } | if last { PSH | FIN } else { 0 };
            prop_assert_eq!(got.tcp_flags, flags);
            if got.family == Family::V4 {
                prop_assert_eq!(offload::is_ipv4_header_valid(segment, &got), Some(true));
                prop_assert_eq!(got.fragment.id as u16, (first_id as u16).wrapping_add(index as u16));
            }
            prop_assert!(last || got.payload_len == u32::from(mss));
            joined.extend_from_slice(&segment[got.payload as usize..]);
        }
        prop_assert_eq!(&joined, &payload);
        prop_assert!(cut.write(&frame, cut.segments(), &mut out).is_none());
        prop_assert!(cut.write(&frame, usize::MAX, &mut out).is_none());
        prop_assert!(cut.write(&frame, 0, &mut out[..cut.segment_max() - 1]).is_none());
        prop_assert!(cut.set_super_lengths(&mut frame));
        prop_assert_eq!(parse(&frame).payload_len as usize, len);
    }

    #[test]
    fn whatever_is_not_tcp_is_not_cut(frame in prop::collection::vec(any::<u8>(), 0..150), mss in any::<u16>()) {
        let parsed = parse_super(&frame);
        if let Some(cut) = Segmenter::new(&frame, &parsed, mss) {
            let mut out = vec![0; cut.segment_max()];
            for index in 0..cut.segments().min(3) {
                prop_assert!(cut.write(&frame, index, &mut out).is_some());
            }
        }
    }
}

#[test]
fn what_cannot_be_cut() {
    let frame = super_frame(false, false, &[1; 100]);
    let parsed = parse_super(&frame);
    assert!(Segmenter::new(&frame, &parsed, 0).is_none());
    let mut fragment = frame.clone();
    fragment[20] |= 0x20;
    fragment.truncate(14 + 20 + 80);
    assert!(Segmenter::new(&fragment, &parse_super(&fragment), 10).is_none());
    let mut udp = frame.clone();
    udp[23] = 17;
    assert!(Segmenter::new(&udp, &parse_super(&udp), 10).is_none());
    // A frame that another parse belongs to.
    assert!(Segmenter::new(&frame[..30], &parsed, 10).is_none());
    let mut long = super_frame(false, false, &[1; 65_000]);
    let parsed = parse_super(&long);
    long.resize(70_000, 0);
    let cut = Segmenter::new(&long, &parsed, 1000).unwrap();
    assert!(!cut.set_super_lengths(&mut long), "no IP length says 70,000");
}
