// SPDX-License-Identifier: MIT OR Apache-2.0
// Calls of the network stack into an IOUserNetworkEthernet: which of the two generations of a method answers.

#include "classes.h"

#include <NetworkingDriverKit/IOUserNetworkEthernet.h>
#include <NetworkingDriverKit/IOUserNetworkTypes.h>

#include <cstring>

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
