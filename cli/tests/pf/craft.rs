//! Frames made by hand, from A's side of the cable or from B's, and what comes of them.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use etherparse::{PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice};
use socket2::Socket;

use crate::net::{World, mac_bytes, packet_socket, sniff};

/// A packet socket on `w0` of one end, for frames to the other.
pub struct Hand {
    pub socket: Socket,
    src: [u8; 6],
    dst: [u8; 6],
}

/// A segment, as it was seen or is to be.
#[derive(Clone, Debug, Default)]
pub struct Seg {
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub data: Vec<u8>,
}

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// What a frame is, if it is TCP or UDP.
#[derive(Clone, Debug)]
pub struct Seen {
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub seg: Option<Seg>,
    pub ttl: u8,
    pub tos: u8,
    pub id: u16,
    pub df: bool,
}

pub fn look(frame: &[u8]) -> Option<Seen> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (src, dst, ttl, tos, id, df): (IpAddr, IpAddr, _, _, _, _) = match packet.net.as_ref()? {
        etherparse::NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let tos = header.dcp().value() << 2 | header.ecn().value();
            let ends = (header.source_addr().into(), header.destination_addr().into());
            (ends.0, ends.1, header.ttl(), tos, header.identification(), header.dont_fragment())
        }
        etherparse::NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let ends = (header.source_addr().into(), header.destination_addr().into());
            (ends.0, ends.1, header.hop_limit(), header.traffic_class(), 0, false)
        }
        etherparse::NetSlice::Arp(_) => return None,
    };
    let (ports, seg) = match packet.transport.as_ref()? {
        TransportSlice::Tcp(tcp) => {
            let bits = [(tcp.fin(), FIN), (tcp.syn(), SYN), (tcp.rst(), RST), (tcp.psh(), PSH), (tcp.ack(), ACK)];
            let flags = bits.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum();
            let (seq, ack) = (tcp.sequence_number(), tcp.acknowledgment_number());
            let seg = Seg { seq, ack, flags, data: tcp.payload().to_vec() };
            ((tcp.source_port(), tcp.destination_port()), Some(seg))
        }
        TransportSlice::Udp(udp) => ((udp.source_port(), udp.destination_port()), None),
        _ => return None,
    };
    Some(Seen { src: (src, ports.0).into(), dst: (dst, ports.1).into(), seg, ttl, tos, id, df })
}

impl Hand {
    /// At one end of a world's cable.
    pub fn at(world: &World, at_a: bool) -> Self {
        let (here, there) = if at_a { (&world.lab.a, &world.lab.b) } else { (&world.lab.b, &world.lab.a) };
        Self { socket: packet_socket(here, "w0"), src: mac_bytes(here), dst: mac_bytes(there) }
    }

    pub fn send(&self, frame: &[u8]) {
        (&self.socket).write_all(frame).unwrap();
    }

    fn ip(&self, src: IpAddr, dst: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
        let builder = PacketBuilder::ethernet2(self.src, self.dst);
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => builder.ipv4(src.octets(), dst.octets(), 64),
            (IpAddr::V6(src), IpAddr::V6(dst)) => builder.ipv6(src.octets(), dst.octets(), 64),
            _ => panic!("one family"),
        }
    }

    pub fn tcp(&self, src: SocketAddr, dst: SocketAddr, seg: &Seg) {
        let mut builder = self.ip(src.ip(), dst.ip()).tcp(src.port(), dst.port(), seg.seq, 60_000);
        if seg.flags & FIN != 0 {
            builder = builder.fin();
        }
        if seg.flags & SYN != 0 {
            builder = builder.syn();
        }
        if seg.flags & RST != 0 {
            builder = builder.rst();
        }
        if seg.flags & PSH != 0 {
            builder = builder.psh();
        }
        if seg.flags & ACK != 0 {
            builder = builder.ack(seg.ack);
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, &seg.data).unwrap();
        self.send(&frame);
    }

    /// An ICMP error about a packet that came here (its bytes from the IP header on), reported by `from`.
    pub fn error(&self, from: IpAddr, to: IpAddr, (kind, code, rest): (u8, u8, u32), about: &[u8]) {
        let builder = self.ip(from, to);
        let mut frame = Vec::new();
        let quote = &about[..about.len().min(120)];
        if from.is_ipv4() {
            builder.icmpv4_raw(kind, code, rest.to_be_bytes()).write(&mut frame, quote).unwrap();
        } else {
            builder.icmpv6_raw(kind, code, rest.to_be_bytes()).write(&mut frame, quote).unwrap();
        }
        self.send(&frame);
    }

    /// A fragment of an IPv4 datagram or, with its header of RFC 8200 section 4.5, of an IPv6 one.
    pub fn fragment(&self, src: IpAddr, dst: IpAddr, proto: u8, id: u16, (offset, more): (u16, bool), data: &[u8]) {
        let mut frame = Vec::new();
        frame.extend(self.dst);
        frame.extend(self.src);
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let mut header = etherparse::Ipv4Header::new(
                    data.len() as u16,
                    64,
                    etherparse::IpNumber(proto),
                    src.octets(),
                    dst.octets(),
                )
                .unwrap();
                header.identification = id;
                header.dont_fragment = false;
                header.more_fragments = more;
                header.fragment_offset = (offset / 8).try_into().unwrap();
                header.header_checksum = header.calc_header_checksum();
                frame.extend([8, 0]);
                frame.extend(header.to_bytes());
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend((data.len() as u16 + 8).to_be_bytes());
                frame.extend([44, 64]);
                frame.extend(src.octets());
                frame.extend(dst.octets());
                frame.extend([proto, 0]);
                frame.extend((offset | u16::from(more)).to_be_bytes());
                frame.extend(u32::from(id).to_be_bytes());
            }
            _ => panic!("one family"),
        }
        frame.extend(data);
        self.send(&frame);
    }

    /// The next segment from one end to the other that `wanted` likes.
    pub fn segment(&self, src: SocketAddr, dst: SocketAddr, wanted: impl Fn(&Seg) -> bool) -> Option<Seg> {
        sniff(&self.socket, |frame| {
            let seen = look(frame)?;
            seen.seg.filter(|seg| (seen.src, seen.dst) == (src, dst) && wanted(seg))
        })
    }
}
