use super::*;

const V4: [u8; 20] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
const V6: [u8; 40] = [0x60; 40];

#[test]
fn links_that_carry_ip() {
    let with = |head: &[u8], packet: &[u8]| [head, packet].concat();
    let sll = |proto: [u8; 2]| {
        let mut h = vec![0, 0, 0, 1, 0, 6, 0xaa, 1, 2, 3, 4, 5, 0, 0];
        h.extend(proto);
        h
    };
    let sll2 = [8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 0xaa, 1, 2, 3, 4, 5, 0, 0];
    let mut pflog = vec![61, 2];
    pflog.resize(64, 0);
    let cases: &[(LinkType, Vec<u8>, u16, [u8; 6])] = &[
        (LinkType::RAW, V4.to_vec(), IP4, SOURCE),
        (LinkType::RAW, V6.to_vec(), IP6, SOURCE),
        (LinkType::IPV4, V4.to_vec(), IP4, SOURCE),
        (LinkType::IPV6, V6.to_vec(), IP6, SOURCE),
        (LinkType::NULL, with(&[2, 0, 0, 0], &V4), IP4, SOURCE),
        (LinkType::NULL, with(&[0, 0, 0, 2], &V4), IP4, SOURCE),
        (LinkType::NULL, with(&[30, 0, 0, 0], &V6), IP6, SOURCE),
        (LinkType::LOOP, with(&[0, 0, 0, 24], &V6), IP6, SOURCE),
        (LinkType::PFLOG, with(&pflog, &V4), IP4, SOURCE),
        (LinkType::PPP, with(&[0xff, 3, 0, 0x21], &V4), IP4, SOURCE),
        (LinkType::PPP, with(&[0x21], &V4), IP4, SOURCE),
        (LinkType::PPP_HDLC, with(&[0xff, 3, 0, 0x57], &V6), IP6, SOURCE),
        (LinkType::PPP_PPPD, with(&[1, 3, 0, 0x21], &V4), IP4, SOURCE),
        (LinkType::PPP_ETHER, with(&[0x11, 0, 0, 1, 0, 22, 0, 0x21], &V4), IP4, SOURCE),
        (LinkType::C_HDLC, with(&[0x0f, 0, 8, 0], &V4), IP4, SOURCE),
        (LinkType::LINUX_SLL, with(&sll([8, 0]), &V4), IP4, [0xaa, 1, 2, 3, 4, 5]),
        (LinkType::LINUX_SLL, with(&sll([8, 6]), &[0; 28]), 0x0806, [0xaa, 1, 2, 3, 4, 5]),
        (LinkType::LINUX_SLL2, with(&sll2, &V4), IP4, [0xaa, 1, 2, 3, 4, 5]),
    ];
    let mut scratch = Vec::new();
    for (link, bytes, ethertype, source) in cases {
        let frame = to_ethernet(*link, bytes, &mut scratch).unwrap_or_else(|| panic!("{link:?} {bytes:02x?}"));
        assert_eq!(frame[..6], DESTINATION, "{link:?}");
        assert_eq!(frame[6..12], *source, "{link:?}");
        assert_eq!(frame[12..14], ethertype.to_be_bytes(), "{link:?}");
        let payload: &[u8] = match *ethertype {
            IP4 => &V4,
            IP6 => &V6,
            _ => &[0; 28],
        };
        assert_eq!(&frame[14..], payload, "{link:?}");
    }
    assert_eq!(to_ethernet(LinkType::ETHERNET, &[7; 5], &mut scratch), Some(&[7; 5][..]));
}

#[test]
fn links_that_do_not() {
    let mut scratch = Vec::new();
    let cases: &[(LinkType, &[u8])] = &[
        (LinkType(105), &[0x45; 40]), // 802.11
        (LinkType::RAW, &[0x55; 20]),
        (LinkType::RAW, &[]),
        (LinkType::NULL, &[0, 0, 2]),
        (LinkType::NULL, &[0, 2, 0, 0, 0x45]),
        (LinkType::LOOP, &[0, 0, 0, 7, 0x45]),
        (LinkType::PPP, &[0xff, 3, 0xc0, 0x21, 1, 1]),
        (LinkType::PPP_ETHER, &[0x11, 9, 0, 0, 0, 0, 0x21]),
        (LinkType::C_HDLC, &[0x8f, 0, 0x00, 0x01]),
        (LinkType::LINUX_SLL, &[0; 16]),
        (LinkType::LINUX_SLL, &[0; 15]),
        (LinkType::LINUX_SLL2, &[8, 0, 0]),
        (LinkType::PFLOG, &[255, 2, 0, 0]),
    ];
    for (link, bytes) in cases {
        assert_eq!(to_ethernet(*link, bytes, &mut scratch), None, "{link:?} {bytes:02x?}");
    }
}
