use super::*;

const GSO_NONE: u8 = 0;

/// Ethernet, an optional tag, IPv4 or IPv6, TCP or UDP, and `payload` zero bytes.
fn frame(tag: bool, v6: bool, protocol: u8, payload: usize, csum: u16) -> (Vec<u8>, usize) {
    let mut f = vec![0u8; 12];
    if tag {
        f.extend([0x81, 0x00, 0x00, 0x07]);
    }
    let l4 = if protocol == PROTO_TCP { 20 } else { 8 };
    if v6 {
        f.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        f.extend(((l4 + payload) as u16).to_be_bytes());
        f.extend([protocol, 64]);
        f.extend([0xfd; 32]);
    } else {
        f.extend([0x08, 0x00, 0x45, 0]);
        f.extend(((20 + l4 + payload) as u16).to_be_bytes());
        f.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    }
    let start = f.len();
    f.resize(start + l4 + payload, 0);
    let at = start + if protocol == PROTO_TCP { 16 } else { 6 };
    f[at..at + 2].copy_from_slice(&csum.to_be_bytes());
    if protocol == PROTO_TCP {
        f[start + 12] = 0x50;
    }
    (f, start)
}

#[test]
fn bytes_are_what_linux_has() {
    let header = VnetHeader { flags: 1, gso_type: 4, hdr_len: 74, gso_size: 1428, csum_start: 54, csum_offset: 16 };
    let bytes = header.to_bytes();
    assert_eq!(VnetHeader::from_bytes(&bytes), header);
    assert_eq!((bytes[0], bytes[1]), (1, 4));
    assert_eq!(
        header.offload(),
        Offload { partial_csum: Some((54, 70)), mss: 1428, v6: true, segments: 0, data_valid: true }
    );
}

#[test]
fn nothing_vouched_for_nothing_claimed() {
    let (f, _) = frame(false, false, PROTO_TCP, 100, 0x1234);
    assert_eq!(VnetHeader::for_kernel(&f, &Offload::default()), Outgoing::default());
}

#[test]
fn vouched_for_becomes_a_partial_checksum() {
    let offload = Offload { data_valid: true, ..Offload::default() };
    for (tag, v6) in [(false, false), (true, false), (false, true), (true, true)] {
        let (f, start) = frame(tag, v6, PROTO_TCP, 100, 0x1234);
        let out = VnetHeader::for_kernel(&f, &offload);
        assert_eq!(out.header.flags, F_NEEDS_CSUM | F_DATA_VALID);
        assert_eq!((usize::from(out.header.csum_start), out.header.csum_offset), (start, 16));
        assert_eq!(out.header.gso_type, GSO_NONE);
        // Pseudo-header of RFC 9293 and RFC 8200 section 8.1, summed by hand: addresses, protocol, length.
        let sum: u32 = if v6 { 16 * 0xfdfd } else { 0x0a00 + 1 + 0x0a00 + 2 } + 6 + 120;
        let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
        assert_eq!(out.seed, Some((start + 16, sum.to_be_bytes())));
    }
}

#[test]
fn udp_without_checksum_stays_without() {
    let offload = Offload { data_valid: true, ..Offload::default() };
    let (f, _) = frame(false, false, PROTO_UDP, 10, 0);
    assert_eq!(VnetHeader::for_kernel(&f, &offload).seed, None);
    let (f, start) = frame(false, false, PROTO_UDP, 10, 7);
    assert_eq!(VnetHeader::for_kernel(&f, &offload).seed.map(|s| s.0), Some(start + 6));
}

#[test]
fn super_frames_get_their_header_back() {
    for (tag, v6) in [(false, false), (true, false), (false, true), (true, true)] {
        let (mut f, start) = frame(tag, v6, PROTO_TCP, 5000, 0);
        let lro = Offload { mss: 1400, v6, segments: 4, data_valid: true, partial_csum: None };
        let out = VnetHeader::for_kernel(&f, &lro);
        assert_eq!(out.header.gso_type, if v6 { GSO_TCPV6 } else { GSO_TCPV4 });
        assert_eq!((out.header.gso_size, usize::from(out.header.hdr_len)), (1400, start + 20));
        assert!(out.seed.is_some());

        // What one kernel handed over unfinished reaches the other one as it was.
        let tso = Offload { partial_csum: Some((start as u16, start as u16 + 16)), ..lro };
        let out = VnetHeader::for_kernel(&f, &tso);
        assert_eq!((out.header.flags, out.seed), (F_NEEDS_CSUM, None));
        assert_eq!(out.header.gso_size, 1400);

        f[start + 13] = TCP_CWR;
        assert_eq!(VnetHeader::for_kernel(&f, &lro).header.gso_type & GSO_ECN, GSO_ECN);
    }
    // One segment's worth of payload is no super-frame: Linux refuses gso_size that leaves nothing to cut.
    let (f, _) = frame(false, false, PROTO_TCP, 1400, 0);
    let lro = Offload { mss: 1400, segments: 2, data_valid: true, ..Offload::default() };
    assert_eq!(VnetHeader::for_kernel(&f, &lro).header.gso_type, GSO_NONE);
}

#[test]
fn any_bytes_any_metadata() {
    // Every truncation and every single-byte change of frames of all shapes, with the greediest metadata.
    let greedy = Offload { mss: 1, segments: 9, data_valid: true, ..Offload::default() };
    for (tag, v6, protocol) in [(false, false, PROTO_TCP), (true, true, PROTO_UDP), (true, true, PROTO_TCP)] {
        let (f, _) = frame(tag, v6, protocol, 40, 0x5555);
        for cut in 0..=f.len() {
            let out = VnetHeader::for_kernel(&f[..cut], &greedy);
            assert!(out.seed.is_none_or(|(at, _)| at + 2 <= cut), "cut at {cut}");
        }
        for at in 12..f.len() {
            for value in [0, 1, 0x0f, 0x40, 0x7f, 0x80, 0xff] {
                let mut f = f.clone();
                f[at] = value;
                let out = VnetHeader::for_kernel(&f, &greedy);
                assert!(out.seed.is_none_or(|(at, _)| at + 2 <= f.len()));
            }
        }
    }
}
