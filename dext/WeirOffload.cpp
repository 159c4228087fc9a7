// SPDX-License-Identifier: MIT OR Apache-2.0
// Offload metadata: between IOUserNetworkPacket's terms and the core's.

#include "weir_dext.h"

namespace weir {
namespace {

constexpr IOUserNetworkPacketTxChecksumFlags kTcp = kIOUserNetworkPacketTxCsumTCPIPV4 | kIOUserNetworkPacketTxCsumTCPIPV6;
constexpr IOUserNetworkPacketTxChecksumFlags kUdp = kIOUserNetworkPacketTxCsumUDPIPV4 | kIOUserNetworkPacketTxCsumUDPIPV6;

constexpr uint32_t kEtherIPv4 = 0x0800;
constexpr uint32_t kEtherIPv6 = 0x86dd;
constexpr uint32_t kEtherVlan = 0x8100;
constexpr uint32_t kEtherQinQ = 0x88a8;
constexpr uint32_t kTcpChecksumAt = 16;
constexpr uint32_t kUdpChecksumAt = 6;

uint32_t read16(const uint8_t *at) { return static_cast<uint32_t>(at[0]) << 8 | at[1]; }

/* Where the transport header starts, for a stack that says "TCP over IPv6" instead of giving offsets (the core
 * takes offsets only); 0 when the frame is shorter than its headers or an extension header is in the way. */
uint32_t transportOffset(const uint8_t *frame, uint32_t len)
{
    uint32_t at = 12;
    uint32_t type = 0;
    for (int tags = 0; tags < 3; ++tags) {
        if (at + 2 > len) {
            return 0;
        }
        type = read16(frame + at);
        at += 2;
        if (type != kEtherVlan && type != kEtherQinQ) {
            break;
        }
        at += 2;
    }
    if (type == kEtherIPv4 && at + 20 <= len) {
        const uint32_t header = (frame[at] & 0x0fu) * 4;
        return header >= 20 && at + header <= len ? at + header : 0;
    }
    if (type == kEtherIPv6 && at + 40 <= len) {
        const uint8_t next = frame[at + 6];
        return next == 6 || next == 17 ? at + 40 : 0;
    }
    return 0;
}

bool partialFromHeaders(weir_pkt &pkt, uint32_t checksumAt)
{
    const uint32_t start = transportOffset(pkt.base + pkt.data_off, pkt.len);
    if (start == 0 || start + checksumAt + 2 > pkt.len) {
        return false;
    }
    pkt.flags |= WEIR_PKT_TX_CSUM_PARTIAL;
    pkt.csum_start = static_cast<uint16_t>(start);
    pkt.csum_stuff = static_cast<uint16_t>(start + checksumAt);
    return true;
}

} // namespace

/* False: the packet asks for what its headers do not allow. */
bool describeTxOffload(IOUserNetworkPacket *packet, weir_pkt &pkt)
{
    IOUserNetworkPacketTxChecksumFlags flags = 0;
    uint16_t start = 0;
    uint16_t stuff = 0;
    if (packet->getTxChecksumInfo(&flags, &start, &stuff) != kIOReturnSuccess) {
        flags = 0;
    }
    uint16_t segment = 0;
    IOUserNetworkPacketTSOFlags tso = 0;
    if (packet->getTSOInfo(&segment, &tso) != kIOReturnSuccess || segment == 0) {
        tso = 0;
    }

    if ((flags & kIOUserNetworkPacketTxCsumIPHdr) != 0) {
        pkt.flags |= WEIR_PKT_TX_CSUM_IP4;
    }
    if ((tso & (kIOUserNetworkPacketTSOIPV4 | kIOUserNetworkPacketTSOIPV6)) != 0) {
        pkt.flags |= (tso & kIOUserNetworkPacketTSOIPV4) != 0 ? WEIR_PKT_TX_TSO4 : WEIR_PKT_TX_TSO6;
        pkt.mss = segment;
    }
    if ((flags & kIOUserNetworkPacketTxCsumPartial) != 0) {
        pkt.flags |= WEIR_PKT_TX_CSUM_PARTIAL;
        pkt.csum_start = start;
        pkt.csum_stuff = stuff;
        return true;
    }
    if ((flags & kTcp) != 0 || pkt.mss != 0) {
        return partialFromHeaders(pkt, kTcpChecksumAt);
    }
    return (flags & kUdp) == 0 || partialFromHeaders(pkt, kUdpChecksumAt);
}

/* Everything is written for every frame: the pool hands packets out again with the last frame's metadata. */
bool setRxMetadata(IOUserNetworkPacket *packet, const weir_pkt &pkt)
{
    if (pkt.data_off > UINT16_MAX || pkt.data_off > pkt.buf_len || pkt.len > pkt.buf_len - pkt.data_off) {
        return false;
    }
    IOUserNetworkPacketRxChecksumFlags flags = 0;
    uint16_t value = 0;
    const bool checked = (pkt.flags & WEIR_PKT_RX_IP_CHECKED) != 0;
    const bool valid = (pkt.flags & WEIR_PKT_RX_IP_VALID) != 0;
    if (checked) {
        flags |= kIOUserNetworkPacketRxCsumIPChecked;
        flags |= valid ? kIOUserNetworkPacketRxCsumIPValid : 0;
    }
    /* The stack trusts these two bits over everything else: never next to an IP header that failed. */
    if ((pkt.flags & WEIR_PKT_RX_DATA_VALID) != 0 && (!checked || valid)) {
        flags |= kIOUserNetworkPacketRxCsumDataValid | kIOUserNetworkPacketRxCsumPseudoHdr;
        value = 0xffff;
    }
    if (packet->setDataOffsetAndLength(static_cast<uint16_t>(pkt.data_off), pkt.len) != kIOReturnSuccess ||
        packet->setLinkHeaderLength(kLinkHeader) != kIOReturnSuccess ||
        packet->setRxChecksumInfo(flags, value) != kIOReturnSuccess) {
        return false;
    }

    IOUserNetworkPacketLROFlags lro = 0;
    uint8_t segments = 0;
    if ((pkt.flags & (WEIR_PKT_RX_LRO4 | WEIR_PKT_RX_LRO6)) != 0) {
        lro = (pkt.flags & WEIR_PKT_RX_LRO4) != 0 ? kIOUserNetworkPacketLROIPV4 : kIOUserNetworkPacketLROIPV6;
        segments = static_cast<uint8_t>(pkt.segs < UINT8_MAX ? pkt.segs : UINT8_MAX);
    }
    /* A stack without LRO may refuse the call; that matters only for a frame that needs it. */
    return packet->setLROInfo(lro, segments) == kIOReturnSuccess || lro == 0;
}

uint32_t toAssists(uint32_t offloads)
{
    /* 802.1Q tags stay in the frame; this bit makes the stack count their four bytes outside the MTU. */
    uint32_t assists = kIOUserNetworkHWAssistSoftwareVlan;
    if ((offloads & WEIR_OFFLOAD_TX_CSUM) != 0) {
        assists |= kIOUserNetworkHWAssistTxChecksumIPHdr | kIOUserNetworkHWAssistTxChecksumTCP |
                   kIOUserNetworkHWAssistTxChecksumUDP;
    }
    assists |= (offloads & WEIR_OFFLOAD_TSO4) != 0 ? kIOUserNetworkHWAssistTSO4 : 0;
    assists |= (offloads & WEIR_OFFLOAD_TSO6) != 0 ? kIOUserNetworkHWAssistTSO6 : 0;
    assists |= (offloads & WEIR_OFFLOAD_RX_CSUM) != 0 ? kIOUserNetworkHWAssistRxChecksum : 0;
    assists |= (offloads & WEIR_OFFLOAD_LRO) != 0 ? kIOUserNetworkHWAssistLRO : 0;
    return assists;
}

uint32_t toOffloads(uint32_t assists)
{
    const uint32_t checksums = kIOUserNetworkHWAssistTxChecksumIPHdr | kIOUserNetworkHWAssistTxChecksumTCP |
                               kIOUserNetworkHWAssistTxChecksumUDP;
    uint32_t offloads = 0;
    offloads |= (assists & checksums) != 0 ? WEIR_OFFLOAD_TX_CSUM : 0;
    offloads |= (assists & kIOUserNetworkHWAssistTSO4) != 0 ? WEIR_OFFLOAD_TSO4 : 0;
    offloads |= (assists & kIOUserNetworkHWAssistTSO6) != 0 ? WEIR_OFFLOAD_TSO6 : 0;
    offloads |= (assists & kIOUserNetworkHWAssistRxChecksum) != 0 ? WEIR_OFFLOAD_RX_CSUM : 0;
    offloads |= (assists & kIOUserNetworkHWAssistLRO) != 0 ? WEIR_OFFLOAD_LRO : 0;
    return offloads;
}

} // namespace weir
