// SPDX-License-Identifier: MIT OR Apache-2.0
// IOUserNetworkEthernet: what a driver calls and what it inherits.

#include "net.h"

#include <NetworkingDriverKit/IOUserNetworkEthernet.h>
#include <NetworkingDriverKit/IOUserNetworkTypes.h>

#include <cstring>
#include <vector>

#define CHECK_FAULT(name, natural)                                                                                     \
    do {                                                                                                               \
        const kern_return_t injected = dk::fault("IOUserNetworkEthernet::" name, natural);                             \
        if (injected != kIOReturnSuccess) {                                                                            \
            return injected;                                                                                           \
        }                                                                                                              \
    } while (0)

bool IOUserNetworkEthernet::init() { return IOService::init(); }

void IOUserNetworkEthernet::free() { IOService::free(); }

// ---- what a driver calls -----------------------------------------------------------------------------------------------------

kern_return_t IOUserNetworkEthernet::SetTxPacketHeadroom(uint16_t numBytes)
{
    CHECK_FAULT("SetTxPacketHeadroom", kIOReturnError);
    return dk_net_set_tx_headroom(dk::service_of(this), numBytes);
}

kern_return_t IOUserNetworkEthernet::SetTxPacketTailroom(uint16_t numBytes)
{
    CHECK_FAULT("SetTxPacketTailroom", kIOReturnError);
    return dk_net_set_tx_tailroom(dk::service_of(this), numBytes);
}

kern_return_t IOUserNetworkEthernet::SetWakeOnMagicPacketSupport(bool isSupported)
{
    CHECK_FAULT("SetWakeOnMagicPacketSupport", kIOReturnError);
    return dk_net_set_wake_on_magic_packet_support(dk::service_of(this), isSupported);
}

kern_return_t IOUserNetworkEthernet::SetSoftwareVlanSupport(bool isSupported)
{
    CHECK_FAULT("SetSoftwareVlanSupport", kIOReturnError);
    return dk_net_set_software_vlan_support(dk::service_of(this), isSupported);
}

kern_return_t IOUserNetworkEthernet::ReportAvailableMediaTypes(const IOUserNetworkMediaType *mediaTypes, uint32_t count)
{
    CHECK_FAULT("ReportAvailableMediaTypes", kIOReturnNoMemory);
    static_assert(sizeof(IOUserNetworkMediaType) == sizeof(uint32_t), "a media word");
    if (mediaTypes == nullptr || count == 0) {
        return kIOReturnBadArgument;
    }
    return dk_net_report_media(dk::service_of(this), reinterpret_cast<const uint32_t *>(mediaTypes), count);
}

namespace {

kern_return_t register_interface(IOUserNetworkEthernet *ethernet, bool lower, const uint8_t *mac,
                                 IOUserNetworkPacketQueue **queues, uint32_t count, IOUserNetworkPacketBufferPool *tx,
                                 IOUserNetworkPacketBufferPool *rx, const void *site)
{
    const kern_return_t injected = dk::fault(lower ? "IOUserNetworkEthernet::registerEthernetInterface"
                                                   : "IOUserNetworkEthernet::RegisterEthernetInterface",
                                             kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    if (queues == nullptr || count == 0 || tx == nullptr || rx == nullptr) {
        return kIOReturnBadArgument;
    }
    std::vector<dk_netq *> list;
    for (uint32_t i = 0; i < count; ++i) {
        if (dk::netq_of(queues[i]) == nullptr) {
            return kIOReturnBadArgument;
        }
        list.push_back(dk::netq_of(queues[i]));
    }
    dk_net_register args{};
    args.lower = lower;
    args.has_mac = mac != nullptr;
    if (mac != nullptr) {
        std::memcpy(args.mac, mac, sizeof args.mac);
    }
    args.tx_pool = dk::pool_of(tx);
    args.rx_pool = dk::pool_of(rx);
    args.queues = list.data();
    args.count = count;
    return dk_net_register_interface(dk::service_of(ethernet), &args, site);
}

} // namespace

kern_return_t IOUserNetworkEthernet::RegisterEthernetInterface(IOUserNetworkMACAddress macAddress,
                                                               IOUserNetworkPacketBufferPool *pool,
                                                               IOUserNetworkPacketQueue **queues, uint32_t queueCount)
{
    return register_interface(this, false, macAddress.octet, queues, queueCount, pool, pool, DK_SITE());
}

kern_return_t IOUserNetworkEthernet::RegisterEthernetInterface(ether_addr_t macAddress,
                                                               IOUserNetworkPacketBufferPool *pool,
                                                               IOUserNetworkPacketQueue **queues, uint32_t queueCount)
{
    return register_interface(this, false, macAddress.octet, queues, queueCount, pool, pool, DK_SITE());
}

IOReturn IOUserNetworkEthernet::registerEthernetInterface(IOUserNetworkPacketQueue **queues, uint32_t numQueues,
                                                          IOUserNetworkPacketBufferPool *txPool,
                                                          IOUserNetworkPacketBufferPool *rxPool)
{
    return register_interface(this, true, nullptr, queues, numQueues, txPool, rxPool, DK_SITE());
}

IOReturn IOUserNetworkEthernet::registerEthernetInterface(ether_addr_t macAddress, IOUserNetworkPacketQueue **queues,
                                                          uint32_t numQueues, IOUserNetworkPacketBufferPool *txPool,
                                                          IOUserNetworkPacketBufferPool *rxPool)
{
    return register_interface(this, true, macAddress.octet, queues, numQueues, txPool, rxPool, DK_SITE());
}

kern_return_t IMPL(IOUserNetworkEthernet, ReportLinkStatus)
{
    CHECK_FAULT("ReportLinkStatus", kIOReturnError);
    return dk_net_report_link(dk::service_of(this), linkStatus, activeMediaType, DK_SITE());
}

IOReturn IOUserNetworkEthernet::reportLinkStatus(LinkStatus linkStatus, MediaWord activeMediaType)
{
    CHECK_FAULT("reportLinkStatus", kIOReturnError);
    return dk_net_report_link(dk::service_of(this), linkStatus, activeMediaType, DK_SITE());
}

kern_return_t IMPL(IOUserNetworkEthernet, ReportLinkQuality)
{
    CHECK_FAULT("ReportLinkQuality", kIOReturnError);
    return dk_net_report_quality(dk::service_of(this), static_cast<int32_t>(linkQuality));
}

IOReturn IOUserNetworkEthernet::reportLinkQuality(LinkQuality linkQuality)
{
    CHECK_FAULT("reportLinkQuality", kIOReturnError);
    return dk_net_report_quality(dk::service_of(this), static_cast<int32_t>(linkQuality));
}

kern_return_t IMPL(IOUserNetworkEthernet, ReportDataBandwidths)
{
    CHECK_FAULT("ReportDataBandwidths", kIOReturnError);
    return dk_net_report_bandwidths(dk::service_of(this), maxInputBandwidth, maxOutputBandwidth,
                                    effectiveInputBandwidth, effectiveOutputBandwidth);
}

IOReturn IOUserNetworkEthernet::reportDataBandwidths(uint64_t maxInputBandwidth, uint64_t maxOutputBandwidth,
                                                     uint64_t effectiveInputBandwidth,
                                                     uint64_t effectiveOutputBandwidth)
{
    CHECK_FAULT("reportDataBandwidths", kIOReturnError);
    return dk_net_report_bandwidths(dk::service_of(this), maxInputBandwidth, maxOutputBandwidth,
                                    effectiveInputBandwidth, effectiveOutputBandwidth);
}

kern_return_t IMPL(IOUserNetworkEthernet, ReportNicProxyLimits)
{
    CHECK_FAULT("ReportNicProxyLimits", kIOReturnError);
    return dk_net_report_nic_proxy_limits(dk::service_of(this), &nicproxy_limits_info, sizeof nicproxy_limits_info);
}

IOReturn IOUserNetworkEthernet::reportNicProxyLimits(nicproxy_limits_info_t nicproxy_limits_info)
{
    CHECK_FAULT("reportNicProxyLimits", kIOReturnError);
    return dk_net_report_nic_proxy_limits(dk::service_of(this), &nicproxy_limits_info, sizeof nicproxy_limits_info);
}

IOReturn IOUserNetworkEthernet::bpfAttach(uint32_t dataLinkType, uint32_t headerLength)
{
    CHECK_FAULT("bpfAttach", kIOReturnError);
    return dk_net_bpf_attach(dk::service_of(this), dataLinkType, headerLength);
}

void IOUserNetworkEthernet::bpfTapInputPacket(uint32_t dataLinkType, IOUserNetworkPacket *packet, void *header,
                                              size_t headerLength)
{
    if (packet != nullptr) {
        dk_net_bpf_tap(dk::service_of(this), true, dataLinkType, dk::packet_of(packet), header, headerLength);
    }
}

void IOUserNetworkEthernet::bpfTapOutputPacket(uint32_t dataLinkType, IOUserNetworkPacket *packet, void *header,
                                               size_t headerLength)
{
    if (packet != nullptr) {
        dk_net_bpf_tap(dk::service_of(this), false, dataLinkType, dk::packet_of(packet), header, headerLength);
    }
}

const char *IOUserNetworkEthernet::getBSDName() const { return dk_net_bsd_name(dk::service_of(this)); }

// What the interface looks like is asked anew by the engine whenever it is shown.
IOReturn IOUserNetworkEthernet::updateInterfaceDescriptor()
{
    CHECK_FAULT("updateInterfaceDescriptor", kIOReturnError);
    return dk_net_registered(dk::service_of(this)) ? kIOReturnSuccess : kIOReturnNotReady;
}

IOReturn IOUserNetworkEthernet::addHardwareCountsWithInterfaceStatistics(const IOUserNetworkHardwareCounts *stats)
{
    CHECK_FAULT("addHardwareCountsWithInterfaceStatistics", kIOReturnError);
    if (stats == nullptr) {
        return kIOReturnBadArgument;
    }
    const uint64_t counts[11] = {stats->packets_in,    stats->packets_out,    stats->bytes_in,  stats->bytes_out,
                                 stats->errors_in,     stats->errors_out,     stats->multicasts_in,
                                 stats->multicasts_out, stats->dropped,       stats->collisions, stats->no_protocol};
    return dk_net_add_hardware_counts(dk::service_of(this), counts);
}

// ---- what a driver inherits ----------------------------------------------------------------------------------------------------

// start() and stop() are the in-process halves of Start() and Stop(), for a driver that overrides only those.
kern_return_t IMPL(IOUserNetworkEthernet, Start)
{
    const kern_return_t result = IOService::Start_Impl(provider);
    if (result != kIOReturnSuccess || start(provider)) {
        return result;
    }
    IOService::Stop_Impl(provider);
    return kIOReturnError;
}

kern_return_t IMPL(IOUserNetworkEthernet, Stop)
{
    stop(provider);
    return IOService::Stop_Impl(provider);
}

bool IOUserNetworkEthernet::start(IOService *) { return true; }

void IOUserNetworkEthernet::stop(IOService *) {}

kern_return_t IMPL(IOUserNetworkEthernet, SetPowerState) { return IOService::SetPowerState_Impl(powerstate); }

kern_return_t IMPL(IOUserNetworkEthernet, SetMulticastAddresses)
{
    static_assert(sizeof(IOUserNetworkMACAddress) == sizeof(ether_addr_t), "six octets each");
    return setMulticastAddresses(reinterpret_cast<const ether_addr_t *>(addresses), count);
}

IOReturn IOUserNetworkEthernet::setInterfaceEnable(bool) { return kIOReturnSuccess; }

IOReturn IOUserNetworkEthernet::setPromiscuousModeEnable(bool) { return kIOReturnUnsupported; }

IOReturn IOUserNetworkEthernet::setMulticastAddresses(const ether_addr_t *, uint32_t) { return kIOReturnUnsupported; }

IOReturn IOUserNetworkEthernet::setAllMulticastModeEnable(bool) { return kIOReturnUnsupported; }

IOReturn IOUserNetworkEthernet::handleChosenMedia(MediaWord) { return kIOReturnUnsupported; }

IOReturn IOUserNetworkEthernet::getSupportedMediaArray(MediaWord *, uint32_t *) { return kIOReturnUnsupported; }

MediaWord IOUserNetworkEthernet::getInitialMedia() { return kIOUserNetworkMediaEthernetAuto; }

IOReturn IOUserNetworkEthernet::setMaxTransferUnit(uint32_t) { return kIOReturnUnsupported; }

uint32_t IOUserNetworkEthernet::getMaxTransferUnit() { return 1500; }

IOReturn IOUserNetworkEthernet::setHardwareAssists(uint32_t) { return kIOReturnUnsupported; }

// The form with a mask came later; a driver that knows only the older one gets that.
IOReturn IOUserNetworkEthernet::setHardwareAssists(uint32_t hardwareAssists, uint32_t hardwareAssistsMask)
{
    return setHardwareAssists(hardwareAssists & hardwareAssistsMask);
}

uint32_t IOUserNetworkEthernet::getHardwareAssists() { return 0; }

IOReturn IOUserNetworkEthernet::getTSOOptions(IOUserNetworkTSOOptions *) { return kIOReturnUnsupported; }

uint16_t IOUserNetworkEthernet::getTxDataOffset() { return 0; }

uint32_t IOUserNetworkEthernet::getFeatureFlags() { return 0; }

IOReturn IOUserNetworkEthernet::getHardwareAddress(ether_addr_t *) { return kIOReturnUnsupported; }

IOReturn IOUserNetworkEthernet::setHardwareAddress(ether_addr_t *) { return kIOReturnUnsupported; }

IOReturn IOUserNetworkEthernet::processInterfaceCommand(ifdrv_t *) { return kIOReturnUnsupported; }

const char *IOUserNetworkEthernet::getBSDNamePrefix() { return "en"; }

int32_t IOUserNetworkEthernet::getBSDUnitNumber() { return -1; }

uint32_t IOUserNetworkEthernet::getInterfaceSubFamily() { return 0; }

int IOUserNetworkEthernet::bpfTap(uint32_t, uint32_t) { return kIOReturnSuccess; }

void IOUserNetworkEthernet::hwConfigNicProxyData(nicproxy_info_t *) {}

void IOUserNetworkEthernet::hwConfigNicProxyData(offload_info_s *) {}

IOReturn IOUserNetworkEthernet::setPowerState(unsigned long, IOService *) { return kIOReturnSuccess; }
