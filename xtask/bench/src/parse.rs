//! `bench parse`: the validated parse of mixed frames, beside etherparse and smoltcp.

use std::hint::black_box;

use anyhow::{Result, ensure};
use clap::Args as ClapArgs;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use serde_json::json;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};
use weir_core::wire::{self, Family, Parsed};

use crate::frames;
use crate::measure::{self, Times};

/// Arguments of `bench parse`.
#[derive(ClapArgs)]
pub struct Args {
    /// Different frames.
    #[arg(long, default_value_t = 4096, value_parser = measure::count)]
    frames: usize,
    /// Frames per burst.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: u16,
    /// Seed of the frames.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// The core that the measuring thread stays on.
    #[arg(long, default_value_t = 1)]
    core: usize,
}

/// What all parsers are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Key {
    src: [u8; 16],
    dst: [u8; 16],
    ports: (u16, u16),
    protocol: u8,
}

fn widen(address: &[u8]) -> [u8; 16] {
    let mut wide = [0; 16];
    wide[..address.len()].copy_from_slice(address);
    wide
}

fn ours(frame: &[u8]) -> Option<Key> {
    let Parsed { src, dst, src_port, dst_port, protocol, family, error, .. } = wire::parse(frame);
    (error.is_none() && family != Family::None).then_some(Key { src, dst, ports: (src_port, dst_port), protocol })
}

fn etherparse(frame: &[u8]) -> Option<Key> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (src, dst) = match packet.net? {
        NetSlice::Ipv4(ip) => (widen(&ip.header().source()), widen(&ip.header().destination())),
        NetSlice::Ipv6(ip) => (ip.header().source(), ip.header().destination()),
        _ => return None,
    };
    let (ports, protocol) = match packet.transport? {
        TransportSlice::Tcp(tcp) => ((tcp.source_port(), tcp.destination_port()), 6),
        TransportSlice::Udp(udp) => ((udp.source_port(), udp.destination_port()), 17),
        _ => return None,
    };
    Some(Key { src, dst, ports, protocol })
}

/// smoltcp knows no VLAN tags: what is behind one is given to it by hand.
fn smoltcp(frame: &[u8]) -> Option<Key> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let (kind, packet) = match ethernet.ethertype() {
        EthernetProtocol::Unknown(0x8100) => {
            let payload = ethernet.payload();
            (EthernetProtocol::from(u16::from_be_bytes([*payload.get(2)?, *payload.get(3)?])), payload.get(4..)?)
        }
        kind => (kind, ethernet.payload()),
    };
    let transport = |src: IpAddress, dst: IpAddress, protocol: IpProtocol, payload: &[u8]| {
        let address = |address: IpAddress| match address {
            IpAddress::Ipv4(address) => widen(&address.octets()),
            IpAddress::Ipv6(address) => address.octets(),
        };
        let ports = match protocol {
            IpProtocol::Tcp => {
                let tcp = TcpPacket::new_checked(payload).ok()?;
                (tcp.src_port(), tcp.dst_port())
            }
            IpProtocol::Udp => {
                let udp = UdpPacket::new_checked(payload).ok()?;
                (udp.src_port(), udp.dst_port())
            }
            _ => return None,
        };
        Some(Key { src: address(src), dst: address(dst), ports, protocol: protocol.into() })
    };
    match kind {
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            transport(ip.src_addr().into(), ip.dst_addr().into(), ip.next_header(), ip.payload())
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(packet).ok()?;
            transport(ip.src_addr().into(), ip.dst_addr().into(), ip.next_header(), ip.payload())
        }
        _ => None,
    }
}

/// Runs the benchmark.
///
/// # Errors
/// Parsers that disagree.
pub fn run(args: &Args) -> Result<()> {
    measure::pin(args.core)?;
    let frames = frames::mixed(args.frames, args.seed);
    for frame in &frames {
        let key = ours(frame);
        ensure!(key.is_some() && key == etherparse(frame) && key == smoltcp(frame), "parsers disagree on {frame:02x?}");
    }
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut parsed = [Parsed::default(); 64];
    let weir = measure::time(frames.len() * 16, || {
        for _ in 0..16 {
            for burst in frames.chunks(usize::from(args.batch)) {
                for (parsed, frame) in parsed.iter_mut().zip(burst) {
                    let _ = wire::parse_into(parsed, frame);
                }
                black_box(&mut parsed);
            }
        }
    });
    let peer = |parse: fn(&[u8]) -> Option<Key>| {
        measure::time(frames.len() * 16, || {
            for _ in 0..16 {
                for frame in &frames {
                    black_box(parse(frame));
                }
            }
        })
    };
    let measured: [(&str, Times); 3] = [("weir", weir), ("etherparse", peer(etherparse)), ("smoltcp", peer(smoltcp))];
    if args.json {
        let [weir, etherparse, smoltcp] = measured.map(|(_, times)| times);
        println!(
            "{}",
            json!({
                "frames": args.frames, "batch": args.batch, "parse_ns": weir.median, "etherparse_ns": etherparse.median,
                "smoltcp_ns": smoltcp.median, "parse_spread": { "min": weir.min, "max": weir.max },
            })
        );
        return Ok(());
    }
    println!("VLAN or not, IPv4 or IPv6, TCP or UDP in random order, ns per frame: median (min..max)");
    for (name, times) in measured {
        println!("{name:12}{:>6.1} ({:.1}..{:.1})", times.median, times.min, times.max);
    }
    Ok(())
}
