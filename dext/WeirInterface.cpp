// SPDX-License-Identifier: MIT OR Apache-2.0
// What the stack asks of the interface, in both generations of the API, and what the interface reports.

#include "weir_dext.h"

#include <string.h>

#undef super
#define super IOUserNetworkEthernet

static_assert(sizeof(ether_addr_t) == 6 && sizeof(IOUserNetworkMACAddress) == 6, "addresses are six bytes in a row");

namespace weir {
namespace {

constexpr MediaWord fullDuplex(MediaWord type) { return type | kIOUserNetworkMediaOptionFullDuplex; }

const IOUserNetworkMediaType kMedia[] = {
    kIOUserNetworkMediaEthernetAuto,
    fullDuplex(kIOUserNetworkMediaEthernet100BaseTX),
    fullDuplex(kIOUserNetworkMediaEthernet1000BaseT),
    fullDuplex(kIOUserNetworkMediaEthernet2500BaseT),
    fullDuplex(kIOUserNetworkMediaEthernet5000BaseT),
    fullDuplex(kIOUserNetworkMediaEthernet10GBaseT),
};
constexpr uint32_t kMediaCount = sizeof(kMedia) / sizeof(kMedia[0]);
/* The type without its options. */
constexpr MediaWord kMediaTypeMask = 0xfff;

constexpr uint32_t kMtuMin = 68; /* RFC 791 section 3.2 */

/* Runs a control function of the core, if there is one. */
template <typename F> kern_return_t control(WeirEthernet *nic, F call)
{
    Locked lock(nic->ivars->control);
    return nic->ivars->core == nullptr ? kIOReturnNotReady : toIOReturn(call(nic->ivars->core));
}

void nameInterface(WeirEthernet *nic)
{
    const char *name = nic->getBSDName();
    if (name == nullptr || name[0] == '\0' || strlen(name) > 15) {
        return;
    }
    const kern_return_t ret = control(nic, [name](weir_core *core) { return weir_set_if_name(core, name); });
    if (ret != kIOReturnSuccess) {
        WEIR_LOG("rules cannot name this interface: 0x%08x", ret);
    }
}

void bringDown(WeirEthernet *nic)
{
    nic->ivars->enabled = false;
    (void)applyState(nic);
    disableQueues(nic);
}

kern_return_t bringUp(WeirEthernet *nic)
{
    kern_return_t ret = enableQueues(nic);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    nameInterface(nic);
    nic->ivars->enabled = true;
    ret = applyState(nic);
    if (ret == kIOReturnSuccess) {
        /* Again, although Start could have: what is reported before the interface is up is lost. */
        ret = reportLink(nic);
    }
    if (ret != kIOReturnSuccess) {
        bringDown(nic);
    }
    return ret;
}

/* `chain`: the caller is the lower-case method, whose base implementation readies the packet queues. */
kern_return_t enableInterface(WeirEthernet *nic, bool enable, bool chain)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    if (ivars->core == nullptr || ivars->stopping) {
        return kIOReturnNotReady;
    }
    if (!enable) {
        if (ivars->enabled) {
            bringDown(nic);
        }
        return chain ? nic->super::setInterfaceEnable(false) : kIOReturnSuccess;
    }
    kern_return_t ret = chain ? nic->super::setInterfaceEnable(true) : kIOReturnSuccess;
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    ret = ivars->enabled ? reportLink(nic) : bringUp(nic);
    if (ret != kIOReturnSuccess) {
        WEIR_LOG("the interface cannot be enabled: 0x%08x", ret);
        if (chain && !ivars->enabled) {
            (void)nic->super::setInterfaceEnable(false);
        }
    }
    return ret;
}

kern_return_t setPromiscuous(WeirEthernet *nic, bool enable)
{
    return control(nic, [enable](weir_core *core) { return weir_set_promiscuous(core, enable); });
}

kern_return_t setAllMulticast(WeirEthernet *nic, bool enable)
{
    return control(nic, [enable](weir_core *core) { return weir_set_all_multicast(core, enable); });
}

kern_return_t setMulticast(WeirEthernet *nic, const uint8_t (*addresses)[6], uint32_t n)
{
    if (addresses == nullptr && n != 0) {
        return kIOReturnBadArgument;
    }
    return control(nic, [addresses, n](weir_core *core) { return weir_set_multicast(core, addresses, n); });
}

kern_return_t setMtu(WeirEthernet *nic, uint32_t mtu)
{
    if (mtu < kMtuMin || mtu > nic->ivars->settings.config.mtu_max) {
        return kIOReturnBadArgument;
    }
    return control(nic, [mtu](weir_core *core) { return weir_set_mtu(core, mtu); });
}

/* Bits that were not offered are ignored. */
kern_return_t setAssists(WeirEthernet *nic, uint32_t assists)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    const uint32_t offloads = toOffloads(assists) & ivars->settings.offloads;
    const kern_return_t ret = control(nic, [offloads](weir_core *core) { return weir_set_offloads(core, offloads); });
    if (ret == kIOReturnSuccess) {
        ivars->assists = toAssists(offloads);
    }
    return ret;
}

kern_return_t chooseMedia(WeirEthernet *nic, MediaWord media)
{
    for (MediaWord known : kMedia) {
        if ((known & kMediaTypeMask) == (media & kMediaTypeMask)) {
            nic->ivars->chosenMedia = known;
            return nic->ivars->enabled ? reportLink(nic) : kIOReturnSuccess;
        }
    }
    return kIOReturnUnsupported;
}

} // namespace

MediaWord activeMedia(WeirEthernet *nic, const weir_link &link)
{
    if ((nic->ivars->chosenMedia & kMediaTypeMask) != (kIOUserNetworkMediaEthernetAuto & kMediaTypeMask)) {
        return nic->ivars->chosenMedia;
    }
    static const struct {
        uint64_t speed;
        MediaWord media;
    } kSpeeds[] = {
        {10000000000ull, kIOUserNetworkMediaEthernet10GBaseT},  {5000000000ull, kIOUserNetworkMediaEthernet5000BaseT},
        {2500000000ull, kIOUserNetworkMediaEthernet2500BaseT}, {1000000000ull, kIOUserNetworkMediaEthernet1000BaseT},
        {100000000ull, kIOUserNetworkMediaEthernet100BaseTX},
    };
    const MediaWord duplex =
        link.full_duplex != 0 ? kIOUserNetworkMediaOptionFullDuplex : kIOUserNetworkMediaOptionHalfDuplex;
    for (const auto &entry : kSpeeds) {
        if (link.speed_bps >= entry.speed) {
            return entry.media | duplex;
        }
    }
    return kIOUserNetworkMediaEthernet10BaseT | duplex;
}

kern_return_t reportMedia(WeirEthernet *nic) { return nic->ReportAvailableMediaTypes(kMedia, kMediaCount); }

IOReturn reportLink(WeirEthernet *nic)
{
    weir_link link = {};
    IOReturn ret = control(nic, [&link](weir_core *core) { return weir_link_get(core, &link); });
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    const bool up = link.up != 0;
    ret = nic->reportLinkStatus(up ? kIOUserNetworkLinkStatusActive : kIOUserNetworkLinkStatusInactive,
                                activeMedia(nic, link));
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    /* Advice for the stack's route choice and pacing; the link works without. */
    const IOReturn quality = nic->reportLinkQuality(up ? kIOUserNetworkLinkQualityGood : kIOUserNetworkLinkQualityOff);
    const IOReturn bandwidth = up ? nic->reportDataBandwidths(link.speed_bps, link.speed_bps, 0, 0) : kIOReturnSuccess;
    if (quality != kIOReturnSuccess || bandwidth != kIOReturnSuccess) {
        WEIR_LOG("link quality 0x%08x, bandwidth 0x%08x not reported", quality, bandwidth);
    }
    return kIOReturnSuccess;
}

kern_return_t applyState(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    if (ivars->core == nullptr) {
        return kIOReturnSuccess;
    }
    const bool wanted = ivars->enabled && ivars->powered && !ivars->stopping;
    const bool running = __atomic_load_n(&ivars->running, __ATOMIC_SEQ_CST) != 0;
    if (wanted && !running) {
        return startDatapath(nic);
    }
    if (!wanted) {
        quiesceDatapath(nic);
    }
    return kIOReturnSuccess;
}

} // namespace weir

kern_return_t WeirEthernet::SetInterfaceEnable_Impl(bool isEnable)
{
    return weir::enableInterface(this, isEnable, false);
}

IOReturn WeirEthernet::setInterfaceEnable(bool enable) { return weir::enableInterface(this, enable, true); }

kern_return_t WeirEthernet::SetPromiscuousModeEnable_Impl(bool enable) { return weir::setPromiscuous(this, enable); }

IOReturn WeirEthernet::setPromiscuousModeEnable(bool enable) { return weir::setPromiscuous(this, enable); }

kern_return_t WeirEthernet::SetMulticastAddresses_Impl(const IOUserNetworkMACAddress *addresses, uint32_t count)
{
    return weir::setMulticast(this, reinterpret_cast<const uint8_t(*)[6]>(addresses), count);
}

kern_return_t WeirEthernet::setMulticastAddresses(const ether_addr_t *addresses, uint32_t count)
{
    return weir::setMulticast(this, reinterpret_cast<const uint8_t(*)[6]>(addresses), count);
}

kern_return_t WeirEthernet::SetAllMulticastModeEnable_Impl(bool enable) { return weir::setAllMulticast(this, enable); }

IOReturn WeirEthernet::setAllMulticastModeEnable(bool enable) { return weir::setAllMulticast(this, enable); }

kern_return_t WeirEthernet::SelectMediaType_Impl(IOUserNetworkMediaType mediaType)
{
    return weir::chooseMedia(this, mediaType);
}

IOReturn WeirEthernet::handleChosenMedia(MediaWord chosenMedia) { return weir::chooseMedia(this, chosenMedia); }

/* A virtual NIC has nothing that could wake the machine; the assist is not offered either. */
kern_return_t WeirEthernet::SetWakeOnMagicPacketEnable_Impl(bool enable)
{
    if (ivars->hardware.wake == 0) {
        return enable ? kIOReturnUnsupported : kIOReturnSuccess;
    }
    return weir::control(this, [enable](weir_core *core) { return weir_set_wake(core, enable); });
}

/* `mediaCount` is output only: the stack passes 0 with room for every type there is. */
IOReturn WeirEthernet::getSupportedMediaArray(MediaWord *mediaArray, uint32_t *mediaCount)
{
    if (mediaCount == nullptr) {
        return kIOReturnBadArgument;
    }
    if (mediaArray != nullptr) {
        memcpy(mediaArray, weir::kMedia, sizeof(weir::kMedia));
    }
    *mediaCount = weir::kMediaCount;
    return kIOReturnSuccess;
}

MediaWord WeirEthernet::getInitialMedia() { return kIOUserNetworkMediaEthernetAuto; }

kern_return_t WeirEthernet::SetMTU_Impl(uint32_t mtu) { return weir::setMtu(this, mtu); }

IOReturn WeirEthernet::setMaxTransferUnit(uint32_t mtu) { return weir::setMtu(this, mtu); }

kern_return_t WeirEthernet::GetMaxTransferUnit_Impl(uint32_t *mtu)
{
    if (mtu == nullptr) {
        return kIOReturnBadArgument;
    }
    *mtu = getMaxTransferUnit();
    return kIOReturnSuccess;
}

/* The largest, not the current one: the stack reads it once and refuses everything above it by itself. */
uint32_t WeirEthernet::getMaxTransferUnit() { return ivars->settings.config.mtu_max; }

kern_return_t WeirEthernet::SetHardwareAssists_Impl(uint32_t hardwareAssists)
{
    return weir::setAssists(this, hardwareAssists);
}

IOReturn WeirEthernet::setHardwareAssists(uint32_t hardwareAssists) { return weir::setAssists(this, hardwareAssists); }

IOReturn WeirEthernet::setHardwareAssists(uint32_t hardwareAssists, uint32_t hardwareAssistsMask)
{
    const uint32_t kept = ivars->assists & ~hardwareAssistsMask;
    return weir::setAssists(this, kept | (hardwareAssists & hardwareAssistsMask));
}

kern_return_t WeirEthernet::GetHardwareAssists_Impl(uint32_t *hardwareAssists)
{
    if (hardwareAssists == nullptr) {
        return kIOReturnBadArgument;
    }
    *hardwareAssists = getHardwareAssists();
    return kIOReturnSuccess;
}

uint32_t WeirEthernet::getHardwareAssists() { return weir::toAssists(ivars->settings.offloads); }

/* A super-frame must fit into one buffer, behind whatever offset the stack puts in front of it. */
IOReturn WeirEthernet::getTSOOptions(IOUserNetworkTSOOptions *options)
{
    if (options == nullptr) {
        return kIOReturnBadArgument;
    }
    const uint32_t room = ivars->settings.config.buf_len - weir::kLinkHeader - weir::kVlanTag - weir::kHeadroomMax;
    const uint32_t most = room < weir::kIPMax ? room : weir::kIPMax;
    *options = {};
    options->tso_mtu4 = (ivars->settings.offloads & WEIR_OFFLOAD_TSO4) != 0 ? most : 0;
    options->tso_mtu6 = (ivars->settings.offloads & WEIR_OFFLOAD_TSO6) != 0 ? most : 0;
    return kIOReturnSuccess;
}

/* Nothing is put in front of a frame. */
uint16_t WeirEthernet::getTxDataOffset() { return 0; }

uint32_t WeirEthernet::getFeatureFlags()
{
    uint32_t inherited = 0;
    if (WEIR_AVAILABLE(22.0)) {
        inherited = super::getFeatureFlags();
    }
    return inherited | kIOUserNetworkFeatureFlagSoftwareVlan;
}

IOReturn WeirEthernet::getHardwareAddress(ether_addr_t *addr)
{
    if (addr == nullptr) {
        return kIOReturnBadArgument;
    }
    return weir::control(this, [addr](weir_core *core) { return weir_get_mac(core, addr->octet); });
}

IOReturn WeirEthernet::setHardwareAddress(ether_addr_t *addr)
{
    if (addr == nullptr || (addr->octet[0] & 1) != 0) {
        return kIOReturnBadArgument;
    }
    return weir::control(this, [addr](weir_core *core) { return weir_set_mac(core, addr->octet); });
}
