// SPDX-License-Identifier: MIT OR Apache-2.0
// IOUserNetworkPacket: metadata of one packet. Only the driver that has the packet may touch it; whoever does so later is
// told where the packet went.

#include "net.h"

#include <NetworkingDriverKit/IOUserNetworkTypes.h>

namespace {

/// The packet, after a look at who has it.
inline dk_packet *access(const IOUserNetworkPacket *object, const char *what, const void *site)
{
    dk_packet *packet = dk::packet_of(object);
    if (packet == nullptr) {
        dk::violation("use after free", site, "%s: the packet's pool is gone", what);
        return nullptr;
    }
    if (!DK_PKT_IS_DRIVER(__atomic_load_n(&packet->state, __ATOMIC_RELAXED))) {
        dk_packet_misuse(packet, what, site);
    }
    return packet;
}

#define ACCESS(name, otherwise)                                                                                        \
    dk_packet *packet = access(this, "IOUserNetworkPacket::" name, DK_SITE());                                         \
    if (packet == nullptr) {                                                                                           \
        return otherwise;                                                                                              \
    }

#define CHANGE(name)                                                                                                   \
    ACCESS(name, kIOReturnBadArgument)                                                                                 \
    const kern_return_t injected = dk::fault("IOUserNetworkPacket::" name, kIOReturnBadArgument);                      \
    if (injected != kIOReturnSuccess) {                                                                                \
        return injected;                                                                                               \
    }

/// Checks that a frame of `length` bytes at `offset` lies in the buffer.
bool in_buffer(const dk_packet *packet, const char *what, uint64_t offset, uint64_t length, const void *site)
{
    if (offset > packet->buf_size || length > packet->buf_size - offset) {
        dk_packet_range(packet, what, offset, length, site);
        return false;
    }
    return true;
}

struct Bits {
    uint32_t apple;
    uint32_t engine;
};

constexpr Bits kTxChecksum[] = {
    {kIOUserNetworkPacketTxCsumIPHdr, DK_TXCSUM_IPHDR},     {kIOUserNetworkPacketTxCsumTCPIPV4, DK_TXCSUM_TCP4},
    {kIOUserNetworkPacketTxCsumUDPIPV4, DK_TXCSUM_UDP4},    {kIOUserNetworkPacketTxCsumTCPIPV6, DK_TXCSUM_TCP6},
    {kIOUserNetworkPacketTxCsumUDPIPV6, DK_TXCSUM_UDP6},    {kIOUserNetworkPacketTxCsumPartial, DK_TXCSUM_PARTIAL},
    {kIOUserNetworkPacketTxCsumZeroInvert, DK_TXCSUM_ZERO_INVERT},
};

constexpr Bits kRxChecksum[] = {
    {kIOUserNetworkPacketRxCsumIPChecked, DK_RXCSUM_IP_CHECKED},
    {kIOUserNetworkPacketRxCsumIPValid, DK_RXCSUM_IP_VALID},
    {kIOUserNetworkPacketRxCsumDataValid, DK_RXCSUM_DATA_VALID},
    {kIOUserNetworkPacketRxCsumPseudoHdr, DK_RXCSUM_PSEUDO_HDR},
};

template <size_t N> constexpr uint32_t to_apple(const Bits (&table)[N], uint32_t engine)
{
    uint32_t out = 0;
    for (const Bits &bits : table) {
        out |= (engine & bits.engine) != 0 ? bits.apple : 0;
    }
    return out;
}

template <size_t N> constexpr uint32_t to_engine(const Bits (&table)[N], uint32_t apple)
{
    uint32_t out = 0;
    for (const Bits &bits : table) {
        out |= (apple & bits.apple) != 0 ? bits.engine : 0;
    }
    return out;
}

} // namespace

void dk::unwrap_packet(IOUserNetworkPacket *packet)
{
    packet->ivars = nullptr;
    packet->release();
}

// A packet object belongs to its pool: the driver need not count it, so it is no part of the leak check.
IOUserNetworkPacket *IOUserNetworkPacket::withPool(IOUserNetworkPacketBufferPool *pool,
                                                   IOUserNetworkPacketDescriptor *descriptor, IOOptionBits options)
{
    auto *packet = OSTypeAlloc(IOUserNetworkPacket);
    if (packet != nullptr && !packet->initWithPool(pool, descriptor, options)) {
        OSSafeReleaseNULL(packet);
    }
    return packet;
}

bool IOUserNetworkPacket::initWithPool(IOUserNetworkPacketBufferPool *pool, IOUserNetworkPacketDescriptor *descriptor,
                                       IOOptionBits)
{
    if (dk::pool_of(pool) == nullptr || descriptor == nullptr ||
        descriptor->fPacketIndex >= dk_pool_packet_count(dk::pool_of(pool)) || !init()) {
        return false;
    }
    dk::set_internal(this);
    ivars = static_cast<IOUserNetworkPacket_IVars *>(dk_pool_packet(dk::pool_of(pool), descriptor->fPacketIndex));
    return true;
}

bool IOUserNetworkPacket::init() { return OSObject::init(); }

void IOUserNetworkPacket::free() { OSObject::free(); }

// ---- where the frame is ------------------------------------------------------------------------------------------------

uint64_t IOUserNetworkPacket::getDataVirtualAddress() const
{
    ACCESS("getDataVirtualAddress", 0)
    return packet->va;
}

uint64_t IOUserNetworkPacket::getDataIOVirtualAddress() const
{
    ACCESS("getDataIOVirtualAddress", 0)
    return packet->iova;
}

uint64_t IOUserNetworkPacket::getMemorySegmentOffset() const
{
    ACCESS("getMemorySegmentOffset", 0)
    return packet->seg_offset;
}

kern_return_t IOUserNetworkPacket::GetMemorySegmentOffset(uint64_t *offset) const
{
    ACCESS("GetMemorySegmentOffset", kIOReturnBadArgument)
    *offset = packet->seg_offset;
    return kIOReturnSuccess;
}

IOUserNetworkPacketBufferPool *IOUserNetworkPacket::getPacketBufferPool() const
{
    return dk::packet_of(this) != nullptr ? dk::pool_object(dk::packet_of(this)->pool) : nullptr;
}

kern_return_t IOUserNetworkPacket::GetPacketBufferPool(IOUserNetworkPacketBufferPool **pool) const
{
    *pool = getPacketBufferPool();
    return *pool != nullptr ? kIOReturnSuccess : kIOReturnBadArgument;
}

kern_return_t IOUserNetworkPacket::setDataLength(uint32_t length)
{
    CHANGE("setDataLength")
    if (!in_buffer(packet, "setDataLength", packet->data_off, length, DK_SITE())) {
        return kIOReturnBadArgument;
    }
    packet->data_len = length;
    return kIOReturnSuccess;
}

uint32_t IOUserNetworkPacket::getDataLength() const
{
    ACCESS("getDataLength", 0)
    return packet->data_len;
}

kern_return_t IOUserNetworkPacket::SetDataLength(uint32_t length) { return setDataLength(length); }

kern_return_t IOUserNetworkPacket::GetDataLength(uint32_t *length) const
{
    *length = getDataLength();
    return kIOReturnSuccess;
}

// The length is that of an earlier frame until the driver sets its own, so only the offset is looked at here.
kern_return_t IOUserNetworkPacket::setDataOff(size_t offset)
{
    CHANGE("setDataOff")
    if (!in_buffer(packet, "setDataOff", offset, 0, DK_SITE())) {
        return kIOReturnBadArgument;
    }
    packet->data_off = static_cast<uint32_t>(offset);
    return kIOReturnSuccess;
}

size_t IOUserNetworkPacket::getDataOff() const
{
    ACCESS("getDataOff", 0)
    return packet->data_off;
}

kern_return_t IOUserNetworkPacket::setDataOffset(uint16_t offset) { return setDataOff(offset); }

uint16_t IOUserNetworkPacket::getDataOffset() const { return static_cast<uint16_t>(getDataOff()); }

kern_return_t IOUserNetworkPacket::SetDataOffset(uint16_t offset) { return setDataOff(offset); }

kern_return_t IOUserNetworkPacket::GetDataOffset(uint16_t *offset) const
{
    *offset = getDataOffset();
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::setDataOffAndLen(size_t offset, size_t length)
{
    CHANGE("setDataOffAndLen")
    if (!in_buffer(packet, "setDataOffAndLen", offset, length, DK_SITE())) {
        return kIOReturnBadArgument;
    }
    packet->data_off = static_cast<uint32_t>(offset);
    packet->data_len = static_cast<uint32_t>(length);
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::setDataOffsetAndLength(uint16_t offset, uint32_t length)
{
    return setDataOffAndLen(offset, length);
}

kern_return_t IOUserNetworkPacket::SetHeadroom(uint8_t headroom)
{
    CHANGE("SetHeadroom")
    packet->headroom = headroom;
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::GetHeadroom(uint8_t *headroom) const
{
    ACCESS("GetHeadroom", kIOReturnBadArgument)
    *headroom = packet->headroom;
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::setLinkHeaderLength(uint8_t length)
{
    CHANGE("setLinkHeaderLength")
    packet->link_header_len = length;
    return kIOReturnSuccess;
}

uint8_t IOUserNetworkPacket::getLinkHeaderLength() const
{
    ACCESS("getLinkHeaderLength", 0)
    return packet->link_header_len;
}

kern_return_t IOUserNetworkPacket::SetLinkHeaderLength(uint8_t length) { return setLinkHeaderLength(length); }

kern_return_t IOUserNetworkPacket::GetLinkHeaderLength(uint8_t *length) const
{
    *length = getLinkHeaderLength();
    return kIOReturnSuccess;
}

// ---- offloads ------------------------------------------------------------------------------------------------------------

kern_return_t IOUserNetworkPacket::getTxChecksumInfo(IOUserNetworkPacketTxChecksumFlags *flags, uint16_t *start,
                                                     uint16_t *stuff) const
{
    ACCESS("getTxChecksumInfo", kIOReturnBadArgument)
    if (flags != nullptr) {
        *flags = static_cast<IOUserNetworkPacketTxChecksumFlags>(to_apple(kTxChecksum, packet->tx_csum_flags));
    }
    if (start != nullptr) {
        *start = packet->tx_csum_start;
    }
    if (stuff != nullptr) {
        *stuff = packet->tx_csum_stuff;
    }
    return kIOReturnSuccess;
}

uint32_t IOUserNetworkPacket::getTxCsumFlags() const
{
    ACCESS("getTxCsumFlags", 0)
    return to_apple(kTxChecksum, packet->tx_csum_flags);
}

uint16_t IOUserNetworkPacket::getMSS() const
{
    ACCESS("getMSS", 0)
    return static_cast<uint16_t>(packet->tso_segsz);
}

kern_return_t IOUserNetworkPacket::getTSOInfo(uint16_t *segsz, IOUserNetworkPacketTSOFlags *flags) const
{
    ACCESS("getTSOInfo", kIOReturnBadArgument)
    if (segsz != nullptr) {
        *segsz = static_cast<uint16_t>(packet->tso_segsz);
    }
    if (flags != nullptr) {
        const uint32_t bits = ((packet->tso_flags & DK_TSO_IPV4) != 0 ? kIOUserNetworkPacketTSOIPV4 : 0u) |
                              ((packet->tso_flags & DK_TSO_IPV6) != 0 ? kIOUserNetworkPacketTSOIPV6 : 0u);
        *flags = static_cast<IOUserNetworkPacketTSOFlags>(bits);
    }
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::setRxChecksumInfo(IOUserNetworkPacketRxChecksumFlags flags, uint16_t value)
{
    CHANGE("setRxChecksumInfo")
    packet->rx_csum_flags = to_engine(kRxChecksum, static_cast<uint32_t>(flags));
    packet->rx_csum_value = value;
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::getRxChecksumInfo(IOUserNetworkPacketRxChecksumFlags *flags, uint16_t *value) const
{
    ACCESS("getRxChecksumInfo", kIOReturnBadArgument)
    if (flags != nullptr) {
        *flags = static_cast<IOUserNetworkPacketRxChecksumFlags>(to_apple(kRxChecksum, packet->rx_csum_flags));
    }
    if (value != nullptr) {
        *value = static_cast<uint16_t>(packet->rx_csum_value);
    }
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::setLROInfo(IOUserNetworkPacketLROFlags flags, uint8_t segcount)
{
    CHANGE("setLROInfo")
    packet->lro_flags = ((static_cast<uint32_t>(flags) & kIOUserNetworkPacketLROIPV4) != 0 ? DK_TSO_IPV4 : 0u) |
                        ((static_cast<uint32_t>(flags) & kIOUserNetworkPacketLROIPV6) != 0 ? DK_TSO_IPV6 : 0u);
    packet->lro_segs = segcount;
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::getVlanTag(uint16_t *vlanTag) const
{
    ACCESS("getVlanTag", kIOReturnBadArgument)
    if ((packet->flags & DK_PKTF_VLAN) == 0) {
        return kIOReturnNotFound;
    }
    *vlanTag = packet->vlan_tag;
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::setVlanTag(uint16_t vlanTag)
{
    CHANGE("setVlanTag")
    packet->vlan_tag = vlanTag;
    packet->flags |= DK_PKTF_VLAN;
    return kIOReturnSuccess;
}

// ---- the rest --------------------------------------------------------------------------------------------------------------

uint32_t IOUserNetworkPacket::getServiceClass() const
{
    ACCESS("getServiceClass", 0)
    return packet->service_class;
}

uint32_t IOUserNetworkPacket::getTraceID() const
{
    ACCESS("getTraceID", 0)
    return packet->trace_id;
}

void IOUserNetworkPacket::traceEvent(uint32_t) const {}

kern_return_t IOUserNetworkPacket::getExpiryTime(uint64_t *time) const
{
    ACCESS("getExpiryTime", kIOReturnBadArgument)
    if (packet->expiry_ns == 0) {
        return kIOReturnNotFound;
    }
    *time = packet->expiry_ns;
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::getTimestamp(uint64_t *timestamp) const
{
    ACCESS("getTimestamp", kIOReturnBadArgument)
    if ((packet->flags & DK_PKTF_TIMESTAMP) == 0) {
        return kIOReturnNotFound;
    }
    *timestamp = packet->timestamp_ns;
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::setTimestamp(uint64_t timestamp)
{
    CHANGE("setTimestamp")
    packet->timestamp_ns = timestamp;
    packet->flags |= DK_PKTF_TIMESTAMP;
    return kIOReturnSuccess;
}

kern_return_t IOUserNetworkPacket::clearTimestamp()
{
    CHANGE("clearTimestamp")
    packet->timestamp_ns = 0;
    packet->flags &= ~static_cast<uint32_t>(DK_PKTF_TIMESTAMP);
    return kIOReturnSuccess;
}

bool IOUserNetworkPacket::isTimestampRequested() const
{
    ACCESS("isTimestampRequested", false)
    return (packet->flags & DK_PKTF_TIMESTAMP_REQUESTED) != 0;
}

bool IOUserNetworkPacket::isLinkMulticast() const
{
    ACCESS("isLinkMulticast", false)
    return (packet->flags & DK_PKTF_LINK_MULTICAST) != 0;
}

bool IOUserNetworkPacket::isLinkBroadcast() const
{
    ACCESS("isLinkBroadcast", false)
    return (packet->flags & DK_PKTF_LINK_BROADCAST) != 0;
}

kern_return_t IOUserNetworkPacket::setIsLinkMulticast(bool isMulticast)
{
    CHANGE("setIsLinkMulticast")
    packet->flags = isMulticast ? packet->flags | DK_PKTF_LINK_MULTICAST
                                : packet->flags & ~static_cast<uint32_t>(DK_PKTF_LINK_MULTICAST);
    return kIOReturnSuccess;
}

bool IOUserNetworkPacket::isTransportTrafficBackground() const
{
    ACCESS("isTransportTrafficBackground", false)
    return (packet->flags & DK_PKTF_TRAFFIC_BACKGROUND) != 0;
}

bool IOUserNetworkPacket::isTransportTrafficRealtime() const
{
    ACCESS("isTransportTrafficRealtime", false)
    return (packet->flags & DK_PKTF_TRAFFIC_REALTIME) != 0;
}

void IOUserNetworkPacket::setWakeFlag()
{
    ACCESS("setWakeFlag", )
    packet->flags |= DK_PKTF_WAKE;
}

void IOUserNetworkPacket::setCompletionStatus(IOReturn status)
{
    ACCESS("setCompletionStatus", )
    packet->completion_status = status;
}

kern_return_t IOUserNetworkPacket::prepareWithQueue(IOUserNetworkPacketQueue *queue,
                                                    IOUserNetworkPacketDirection direction)
{
    CHANGE("prepareWithQueue")
    if (queue == nullptr) {
        return kIOReturnBadArgument;
    }
    return dk_packet_prepare(packet, dk::netq_of(queue), direction);
}
