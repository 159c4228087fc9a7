//! The far end that answers: ARP requests, neighbour solicitations, ICMP and ICMPv6 echo, and UDP echo (RFC 862).
//!
//! One station with one hardware address stands for every IP address but those that the NIC's side uses itself: it
//! is silent when the sender asks for its own address, or probes whether an address is free (RFC 5227, RFC 4862).

use super::deliver::{Outgoing, finish_checksums, vouch};
use super::port::Port;
use super::queue::TxFrames;
use crate::mem::packet::{Packet, PacketFlags, Status};
use crate::nic::{Offloads, Refused};
use crate::wire::arp::{self, ArpPacket};
use crate::wire::ethernet::EthernetFrame;
use crate::wire::icmp::{self, IcmpHeader};
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::udp::UdpHeader;
use crate::wire::{Family, Parsed, ParsedFlags, checksum, offload, parse, protocol};

/// The echo service's port (RFC 862).
const ECHO_PORT: u16 = 7;
/// Time to live of what the station sends (RFC 1700).
const TTL: u8 = 64;
/// What neighbour discovery demands (RFC 4861 section 7.1).
const ND_HOP_LIMIT: u8 = 255;
/// A neighbour advertisement with the target's link-layer address (RFC 4861 sections 4.4 and 4.6.1).
const ADVERT_LEN: usize = 32;
/// Solicited and override flags of an advertisement.
const SOLICITED_OVERRIDE: u32 = 0x6000_0000;
/// How many fragmented datagrams are followed at a time.
const TRACKED: usize = 16;

/// The station's address: the NIC's, made local, with one bit changed so that it differs.
pub(super) fn far_mac(mac: [u8; 6]) -> [u8; 6] {
    let [a, b, c, d, e, f] = mac;
    [(a | 2) & !1, b, c, d, e, f ^ 0x80]
}

/// What the later fragments of a datagram have in common with the first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Datagram {
    src: [u8; 16],
    dst: [u8; 16],
    id: u32,
    protocol: u8,
}

impl Datagram {
    fn of(parsed: &Parsed) -> Self {
        Self { src: parsed.src, dst: parsed.dst, id: parsed.fragment.id, protocol: parsed.protocol }
    }
}

/// What the station does about a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Arp,
    Neighbor,
    /// Back with addresses exchanged, and with what makes a request a reply in the transport header.
    Echo,
    /// Back with addresses exchanged.
    LaterFragment,
}

/// The station.
pub(super) struct Reflector {
    mac: [u8; 6],
    /// Echoes whose first fragment was sent back: the later ones follow it.
    tracked: [Option<Datagram>; TRACKED],
    next: usize,
}

impl Reflector {
    pub fn new(mac: [u8; 6]) -> Self {
        Self { mac, tracked: [None; TRACKED], next: 0 }
    }

    /// Takes every frame; answers go into the sender's own receive buffers. Without one, the answer is lost and
    /// counted, as on a real wire.
    pub fn send(&mut self, port: &Port, queue: usize, tx: &mut TxFrames, refused: &mut Refused) {
        let Some(shared) = port.queues.get(queue) else {
            return;
        };
        let Some(mut inbox) = shared.inbox.enter() else {
            return;
        };
        while let Some((next, _)) = tx.next() {
            let out = match Outgoing::of(next) {
                Ok(out) => out,
                Err(status) => {
                    tx.finish(status);
                    continue;
                }
            };
            // The station speaks no TCP, so super-frames end here.
            let parsed = parse(out.frame);
            if out.mss == 0
                && let Some(answer) = self.judge(&out, &parsed)
            {
                match inbox.take() {
                    None => {
                        refused.no_buffer += 1;
                        refused.bytes += out.frame.len() as u64;
                    }
                    Some(buffer) => {
                        if !self.make(answer, &out, &parsed, buffer, port.offloads()) {
                            buffer.reset();
                            buffer.set_status(Status::TooLong);
                        }
                    }
                }
            }
            tx.finish(Status::Ok);
        }
        let is_filled = inbox.leave();
        drop(inbox);
        if is_filled {
            port.wake(queue);
        }
    }

    fn judge(&mut self, out: &Outgoing<'_>, parsed: &Parsed) -> Option<Answer> {
        let frame = out.frame;
        if parsed.error.is_some() {
            return None;
        }
        let dst_mac = EthernetFrame::new(frame)?.dst();
        let to_us = dst_mac == self.mac;
        if parsed.flags.contains(ParsedFlags::ARP) {
            // A probe has no sender address, an announcement asks for its own (RFC 5227 sections 1.1 and 2.3).
            let asks = parsed.arp_op == arp::REQUEST && parsed.src != [0; 16] && parsed.src != parsed.dst;
            return (asks && (to_us || parsed.flags.contains(ParsedFlags::BROADCAST))).then_some(Answer::Arp);
        }
        if parsed.family == Family::None {
            return None;
        }
        let ip_ok = out.ipv4_csum || offload::is_ipv4_header_valid(frame, parsed) != Some(false);
        let transport_ok = out.csum.is_some() || offload::is_transport_valid(frame, parsed) != Some(false);
        if !ip_ok || !transport_ok {
            return None;
        }
        let icmp = parsed.flags.contains(ParsedFlags::ICMP);
        if icmp && parsed.family == Family::V6 && parsed.icmp_type == icmp::NEIGHBOR_SOLICIT {
            let target = neighbor_target(frame, parsed)?;
            // Duplicate address detection comes from the unspecified address (RFC 4862 section 5.4.2).
            let asks = parsed.icmp_code == 0
                && parsed.ttl == ND_HOP_LIMIT
                && parsed.src != [0; 16]
                && parsed.src != target
                && target.first() != Some(&0xff);
            return (asks && (to_us || parsed.flags.contains(ParsedFlags::MULTICAST))).then_some(Answer::Neighbor);
        }
        if !to_us || !is_unicast(parsed.family, &parsed.dst) || !is_unicast(parsed.family, &parsed.src) {
            return None;
        }
        if parsed.is_later_fragment() {
            let known = self.tracked.contains(&Some(Datagram::of(parsed)));
            return known.then_some(Answer::LaterFragment);
        }
        let echo = match parsed.protocol {
            protocol::UDP => parsed.dst_port == ECHO_PORT,
            protocol::ICMP => icmp && parsed.icmp_type == icmp::ECHO_REQUEST && parsed.icmp_code == 0,
            protocol::ICMPV6 => icmp && parsed.icmp_type == icmp::V6_ECHO_REQUEST && parsed.icmp_code == 0,
            _ => false,
        };
        if echo
            && parsed.is_fragment()
            && let Some(slot) = self.tracked.get_mut(self.next)
        {
            *slot = Some(Datagram::of(parsed));
            self.next = (self.next + 1) & (TRACKED - 1);
        }
        echo.then_some(Answer::Echo)
    }

    /// Makes the answer in `buffer`. False, with the buffer undefined, if it does not fit.
    fn make(
        &self,
        answer: Answer,
        out: &Outgoing<'_>,
        parsed: &Parsed,
        buffer: &mut Packet,
        offloads: Offloads,
    ) -> bool {
        let made = match answer {
            Answer::Arp => self.make_arp(out.frame, parsed, buffer),
            Answer::Neighbor => self.make_advert(out.frame, parsed, buffer),
            Answer::Echo | Answer::LaterFragment => self.make_echo(answer, out, parsed, buffer),
        };
        if made.is_none() {
            return false;
        }
        match answer {
            Answer::Arp => {}
            Answer::Echo if !parsed.is_fragment() => vouch(buffer, offloads),
            Answer::Neighbor => vouch(buffer, offloads),
            _ if offloads.contains(Offloads::RX_CSUM) => {
                buffer.set_flags(PacketFlags::RX_IP_CHECKED | PacketFlags::RX_IP_VALID);
            }
            _ => {}
        }
        true
    }

    /// Turns the Ethernet header of a copied frame around.
    fn turn(&self, frame: &mut [u8]) -> Option<()> {
        let mut ethernet = EthernetFrame::new(frame)?;
        let to = ethernet.src();
        ethernet.set_dst(to);
        ethernet.set_src(self.mac);
        Some(())
    }

    fn make_arp(&self, frame: &[u8], parsed: &Parsed, buffer: &mut Packet) -> Option<()> {
        buffer.write(frame).then_some(())?;
        let frame = buffer.frame_mut();
        self.turn(frame)?;
        let mut arp = ArpPacket::new(frame.get_mut(usize::from(parsed.l3)..)?)?;
        let (asker_mac, asker_ip, asked_ip) = (arp.sender_mac(), arp.sender_ip(), arp.target_ip());
        arp.set_operation(arp::REPLY);
        arp.set_sender_mac(self.mac);
        arp.set_sender_ip(asked_ip);
        arp.set_target_mac(asker_mac);
        arp.set_target_ip(asker_ip);
        Some(())
    }

    fn make_advert(&self, request: &[u8], parsed: &Parsed, buffer: &mut Packet) -> Option<()> {
        let target = neighbor_target(request, parsed)?;
        let l3 = usize::from(parsed.l3);
        let l4 = l3 + ipv6::HEADER_LEN;
        // Link-layer header, VLAN tags included, from the request; the rest is written from nothing.
        buffer.write(request.get(..l3)?).then_some(())?;
        buffer.set_len(l4 + ADVERT_LEN).then_some(())?;
        let frame = buffer.frame_mut();
        self.turn(frame)?;
        let mut ip = Ipv6Header::new(frame.get_mut(l3..)?)?;
        ip.set_first_word(0, 0);
        ip.set_payload_len(ADVERT_LEN as u16);
        ip.set_next_header(protocol::ICMPV6);
        ip.set_hop_limit(ND_HOP_LIMIT);
        ip.set_src(target);
        ip.set_dst(parsed.src);
        let mut header = IcmpHeader::new(frame.get_mut(l4..)?)?;
        header.set_kind(icmp::NEIGHBOR_ADVERT);
        header.set_code(0);
        header.set_checksum(0);
        header.set_rest(SOLICITED_OVERRIDE);
        let (to_target, option) = frame.get_mut(l4 + icmp::HEADER_LEN..)?.split_first_chunk_mut::<16>()?;
        *to_target = target;
        let [a, b, c, d, e, f] = self.mac;
        // Option 2, target link-layer address, one unit of 8 bytes.
        *option.first_chunk_mut::<8>()? = [2, 1, a, b, c, d, e, f];
        let parsed = parse(frame);
        offload::fill_transport(frame, &parsed).then_some(())
    }

    fn make_echo(&self, answer: Answer, out: &Outgoing<'_>, parsed: &Parsed, buffer: &mut Packet) -> Option<()> {
        buffer.write(out.frame).then_some(())?;
        // Everything is finished here, so that no assist of the receiver matters.
        finish_checksums(buffer, out.csum, out.ipv4_csum, Offloads::empty());
        let frame = buffer.frame_mut();
        self.turn(frame)?;
        let ip = frame.get_mut(usize::from(parsed.l3)..)?;
        // Exchanging addresses or ports leaves every sum over both as it is.
        match parsed.family {
            Family::V4 => {
                let mut ip = Ipv4Header::new(ip)?;
                let (src, dst) = (ip.src(), ip.dst());
                ip.set_src(dst);
                ip.set_dst(src);
                ip.set_ttl(TTL);
                ip.fill_checksum();
            }
            _ => {
                let mut ip = Ipv6Header::new(ip)?;
                let (src, dst) = (ip.src(), ip.dst());
                ip.set_src(dst);
                ip.set_dst(src);
                ip.set_hop_limit(TTL);
            }
        }
        if answer == Answer::LaterFragment {
            return Some(());
        }
        let transport = frame.get_mut(usize::from(parsed.l4)..)?;
        if parsed.protocol == protocol::UDP {
            let mut udp = UdpHeader::new(transport)?;
            let (src, dst) = (udp.src_port(), udp.dst_port());
            udp.set_src_port(dst);
            udp.set_dst_port(src);
            return Some(());
        }
        let mut header = IcmpHeader::new(transport)?;
        let reply = if parsed.family == Family::V4 { icmp::ECHO_REPLY } else { icmp::V6_ECHO_REPLY };
        let word = |kind: u8| u16::from(kind) << 8 | u16::from(parsed.icmp_code);
        header.set_checksum(checksum::update(header.checksum(), word(parsed.icmp_type), word(reply)));
        header.set_kind(reply);
        Some(())
    }
}

/// The address that a neighbour solicitation asks for (RFC 4861 section 4.3).
fn neighbor_target(frame: &[u8], parsed: &Parsed) -> Option<[u8; 16]> {
    frame.get(parsed.payload as usize..parsed.end())?.first_chunk::<16>().copied()
}

fn is_unicast(family: Family, addr: &[u8; 16]) -> bool {
    let [first, ..] = *addr;
    if *addr == [0; 16] {
        return false;
    }
    // RFC 1112: 224 and up is multicast, reserved or broadcast. RFC 4291 section 2.7: ff00::/8.
    if family == Family::V4 { first < 224 } else { first != 0xff }
}
