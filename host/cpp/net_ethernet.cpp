// SPDX-License-Identifier: MIT OR Apache-2.0
// IOUserNetworkEthernet: what a driver calls, what it inherits, and the calls of the network stack into it.

#include "classes.h"
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

// ---- calls of the network stack ------------------------------------------------------------------------------------------------

namespace {

IOUserNetworkEthernet *ethernet_at(void *object) { return static_cast<IOUserNetworkEthernet *>(object); }

/// Memory that starts with the base class's virtual table, to compare with; not an object that anybody may use.
const IOUserNetworkEthernet *plain()
{
    alignas(IOUserNetworkEthernet) static unsigned char storage[sizeof(IOUserNetworkEthernet)];
    static const kern_return_t made =
        OSTypeID(IOUserNetworkEthernet)->New(reinterpret_cast<OSObject *>(storage));
    (void)made;
    return reinterpret_cast<const IOUserNetworkEthernet *>(storage);
}

/// True if the object's class has a method of its own in place of the base class's. By comparing the entries of the two
/// virtual tables: calling the base method is no sign, since an override may call it too. A pointer to a virtual
/// method holds the offset of its entry (Itanium C++ ABI 2.3).
template <typename Method> bool overrides(const IOUserNetworkEthernet *object, Method method)
{
    static_assert(sizeof(Method) == 2 * sizeof(ptrdiff_t), "Itanium ABI");
    ptrdiff_t words[2];
    std::memcpy(words, &method, sizeof words);
#if defined(__aarch64__) || defined(__arm__)
    const ptrdiff_t offset = words[0];
#else
    const ptrdiff_t offset = words[0] - 1;
#endif
    const auto entry = [offset](const IOUserNetworkEthernet *of) {
        const char *table = nullptr;
        std::memcpy(&table, static_cast<const void *>(of), sizeof table);
        const void *code = nullptr;
        std::memcpy(&code, table + offset, sizeof code);
        return code;
    };
    return entry(object) != entry(plain());
}

/// Which generation of a method answers: the one that belongs to the form of registration if the driver has it, else the
/// other. `upper` / `has_lower`: the driver overrides the capital / lowercase method.
bool use_lower(bool registered_lower, bool has_upper, bool has_lower)
{
    return registered_lower ? has_lower || !has_upper : !has_upper;
}

#define HAS_UPPER(name) dk::overridden(ethernet, IOUserNetworkEthernet_##name##_ID)
#define HAS_LOWER(name) overrides(ethernet, &IOUserNetworkEthernet::name)

dk_ret up_set_interface_enable(void *object, bool lower, bool enable)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    return use_lower(lower, HAS_UPPER(SetInterfaceEnable), HAS_LOWER(setInterfaceEnable))
               ? ethernet->setInterfaceEnable(enable)
               : ethernet->SetInterfaceEnable(enable);
}

dk_ret up_set_promiscuous(void *object, bool lower, bool enable)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    return use_lower(lower, HAS_UPPER(SetPromiscuousModeEnable), HAS_LOWER(setPromiscuousModeEnable))
               ? ethernet->setPromiscuousModeEnable(enable)
               : ethernet->SetPromiscuousModeEnable(enable);
}

dk_ret up_set_multicast(void *object, bool lower, const uint8_t (*addresses)[6], uint32_t count)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    return use_lower(lower, HAS_UPPER(SetMulticastAddresses), HAS_LOWER(setMulticastAddresses))
               ? ethernet->setMulticastAddresses(reinterpret_cast<const ether_addr_t *>(addresses), count)
               : ethernet->SetMulticastAddresses(reinterpret_cast<const IOUserNetworkMACAddress *>(addresses), count);
}

dk_ret up_set_all_multicast(void *object, bool lower, bool enable)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    return use_lower(lower, HAS_UPPER(SetAllMulticastModeEnable), HAS_LOWER(setAllMulticastModeEnable))
               ? ethernet->setAllMulticastModeEnable(enable)
               : ethernet->SetAllMulticastModeEnable(enable);
}

dk_ret up_set_media(void *object, bool lower, uint32_t media)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    return use_lower(lower, HAS_UPPER(SelectMediaType), HAS_LOWER(handleChosenMedia))
               ? ethernet->handleChosenMedia(static_cast<MediaWord>(media))
               : ethernet->SelectMediaType(static_cast<IOUserNetworkMediaType>(media));
}

dk_ret up_set_wake_on_magic_packet(void *object, bool, bool enable)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    return HAS_UPPER(SetWakeOnMagicPacketEnable) ? ethernet->SetWakeOnMagicPacketEnable(enable) : kIOReturnUnsupported;
}

dk_ret up_set_mtu(void *object, bool lower, uint32_t mtu)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    return use_lower(lower, HAS_UPPER(SetMTU), HAS_LOWER(setMaxTransferUnit)) ? ethernet->setMaxTransferUnit(mtu)
                                                                             : ethernet->SetMTU(mtu);
}

dk_ret up_get_max_mtu(void *object, bool lower, uint32_t *mtu)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    if (use_lower(lower, HAS_UPPER(GetMaxTransferUnit), HAS_LOWER(getMaxTransferUnit))) {
        *mtu = ethernet->getMaxTransferUnit();
        return kIOReturnSuccess;
    }
    return ethernet->GetMaxTransferUnit(mtu);
}

dk_ret up_set_assists(void *object, bool lower, uint32_t assists, uint32_t mask)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    using Masked = IOReturn (IOUserNetworkEthernet::*)(uint32_t, uint32_t);
    using Plain = IOReturn (IOUserNetworkEthernet::*)(uint32_t);
    const bool has_lower = overrides(ethernet, static_cast<Masked>(&IOUserNetworkEthernet::setHardwareAssists)) ||
                           overrides(ethernet, static_cast<Plain>(&IOUserNetworkEthernet::setHardwareAssists));
    return use_lower(lower, HAS_UPPER(SetHardwareAssists), has_lower) ? ethernet->setHardwareAssists(assists, mask)
                                                                      : ethernet->SetHardwareAssists(assists);
}

dk_ret up_get_assists(void *object, bool lower, uint32_t *assists)
{
    IOUserNetworkEthernet *ethernet = ethernet_at(object);
    if (use_lower(lower, HAS_UPPER(GetHardwareAssists), HAS_LOWER(getHardwareAssists))) {
        *assists = ethernet->getHardwareAssists();
        return kIOReturnSuccess;
    }
    return ethernet->GetHardwareAssists(assists);
}

dk_ret up_get_tso_options(void *object, dk_net_tso *out)
{
    IOUserNetworkTSOOptions options{};
    const kern_return_t result = ethernet_at(object)->getTSOOptions(&options);
    if (result == kIOReturnSuccess) {
        *out = {options.tso_mtu4, options.mss4, options.tso_mtu6, options.mss6};
    }
    return result;
}

uint32_t up_get_tx_data_offset(void *object) { return ethernet_at(object)->getTxDataOffset(); }

uint32_t up_get_feature_flags(void *object) { return ethernet_at(object)->getFeatureFlags(); }

dk_ret up_get_mac(void *object, uint8_t mac[6])
{
    ether_addr_t address{};
    const kern_return_t result = ethernet_at(object)->getHardwareAddress(&address);
    if (result == kIOReturnSuccess) {
        std::memcpy(mac, address.octet, sizeof address.octet);
    }
    return result;
}

dk_ret up_set_mac(void *object, const uint8_t mac[6])
{
    ether_addr_t address;
    std::memcpy(address.octet, mac, sizeof address.octet);
    return ethernet_at(object)->setHardwareAddress(&address);
}

uint32_t up_get_initial_media(void *object) { return ethernet_at(object)->getInitialMedia(); }

dk_ret up_get_supported_media(void *object, uint32_t *media, uint32_t *count)
{
    static_assert(sizeof(MediaWord) == sizeof(uint32_t), "a media word");
    return ethernet_at(object)->getSupportedMediaArray(reinterpret_cast<MediaWord *>(media), count);
}

const char *up_get_bsd_prefix(void *object) { return ethernet_at(object)->getBSDNamePrefix(); }

int32_t up_get_bsd_unit(void *object) { return ethernet_at(object)->getBSDUnitNumber(); }

uint32_t up_get_subfamily(void *object) { return ethernet_at(object)->getInterfaceSubFamily(); }

dk_ret up_process_command(void *object, uint64_t command, void *data, uint64_t *length)
{
    ifdrv_t request{};
    std::strncpy(request.ifd_name, ethernet_at(object)->getBSDName(), sizeof request.ifd_name - 1);
    request.ifd_cmd = static_cast<unsigned long>(command);
    request.ifd_len = static_cast<size_t>(*length);
    request.ifd_data = data;
    const kern_return_t result = ethernet_at(object)->processInterfaceCommand(&request);
    *length = request.ifd_len;
    return result;
}

dk_ret up_bpf_tap(void *object, uint32_t dlt, uint32_t mode) { return ethernet_at(object)->bpfTap(dlt, mode); }

} // namespace

const dk_net_ops dk::kNetOps = {
    .set_interface_enable = up_set_interface_enable,
    .set_promiscuous = up_set_promiscuous,
    .set_multicast = up_set_multicast,
    .set_all_multicast = up_set_all_multicast,
    .set_media = up_set_media,
    .set_wake_on_magic_packet = up_set_wake_on_magic_packet,
    .set_mtu = up_set_mtu,
    .get_max_mtu = up_get_max_mtu,
    .set_assists = up_set_assists,
    .get_assists = up_get_assists,
    .get_tso_options = up_get_tso_options,
    .get_tx_data_offset = up_get_tx_data_offset,
    .get_feature_flags = up_get_feature_flags,
    .get_mac = up_get_mac,
    .set_mac = up_set_mac,
    .get_initial_media = up_get_initial_media,
    .get_supported_media = up_get_supported_media,
    .get_bsd_prefix = up_get_bsd_prefix,
    .get_bsd_unit = up_get_bsd_unit,
    .get_subfamily = up_get_subfamily,
    .process_command = up_process_command,
    .bpf_tap = up_bpf_tap,
};
