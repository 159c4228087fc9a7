// SPDX-License-Identifier: MIT OR Apache-2.0
// The personality's properties: what a NIC is to be.

#include "weir_dext.h"

#include <string.h>
#include <time.h>

#include <DriverKit/OSData.h>
#include <DriverKit/OSDictionary.h>
#include <DriverKit/OSNumber.h>
#include <DriverKit/OSString.h>

namespace weir {
namespace {

constexpr uint32_t kAllOffloads =
    WEIR_OFFLOAD_TX_CSUM | WEIR_OFFLOAD_TSO4 | WEIR_OFFLOAD_TSO6 | WEIR_OFFLOAD_RX_CSUM | WEIR_OFFLOAD_LRO;

/* A 64-bit mix whose every output bit depends on every input bit (splitmix64's finaliser). */
uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

uint64_t hashText(uint64_t hash, const char *text)
{
    for (; *text != '\0'; ++text) {
        hash = mix(hash ^ static_cast<uint8_t>(*text));
    }
    return mix(hash ^ 0x100);
}

bool refuse(const char *key, const char *allowed)
{
    WEIR_LOG("property %{public}s: must be %{public}s", key, allowed);
    return false;
}

/* An absent key leaves `value` as it is. */
bool readNumber(OSDictionary *properties, const char *key, const char *allowed, uint64_t low, uint64_t high,
                uint64_t &value)
{
    OSObject *object = properties->getObject(key);
    if (object == nullptr) {
        return true;
    }
    OSNumber *number = OSDynamicCast(OSNumber, object);
    if (number == nullptr) {
        return refuse(key, allowed);
    }
    const uint64_t given = number->unsigned64BitValue();
    if (given < low || given > high) {
        return refuse(key, allowed);
    }
    value = given;
    return true;
}

/* Null for an absent key; `*ok` turns false for one that is not a string. */
const char *readText(OSDictionary *properties, const char *key, const char *allowed, bool &ok)
{
    OSObject *object = properties->getObject(key);
    if (object == nullptr) {
        return nullptr;
    }
    OSString *string = OSDynamicCast(OSString, object);
    if (string == nullptr) {
        ok = refuse(key, allowed);
        return nullptr;
    }
    return string->getCStringNoCopy();
}

bool readWire(OSDictionary *properties, weir_config &config)
{
    static const struct {
        const char *name;
        uint32_t wire;
    } kWires[] = {
        {"reflect", WEIR_WIRE_REFLECT}, {"pair", WEIR_WIRE_PAIR}, {"client", WEIR_WIRE_CLIENT}, {"none", WEIR_WIRE_NONE},
    };
    static const char *const kAllowed = "\"reflect\", \"pair\", \"client\" or \"none\"";

    bool ok = true;
    const char *name = readText(properties, "WeirWire", kAllowed, ok);
    if (name == nullptr) {
        config.wire = WEIR_WIRE_REFLECT;
        return ok;
    }
    for (const auto &wire : kWires) {
        if (strcmp(name, wire.name) == 0) {
            config.wire = wire.wire;
            return true;
        }
    }
    return refuse("WeirWire", kAllowed);
}

bool readWireName(OSDictionary *properties, weir_config &config)
{
    static const char *const kAllowed = "a string of 1 to 31 bytes";
    bool ok = true;
    const char *name = readText(properties, "WeirWireName", kAllowed, ok);
    if (name == nullptr) {
        name = "weir";
    }
    const size_t len = strlen(name);
    if (len == 0 || len >= sizeof(config.wire_name)) {
        return refuse("WeirWireName", kAllowed);
    }
    memcpy(config.wire_name, name, len + 1);
    return ok;
}

int hexDigit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Six two-digit groups with colons between them. */
bool parseMac(const char *text, uint8_t mac[6])
{
    for (int i = 0; i < 6; ++i) {
        const int high = hexDigit(*text);
        const int low = high < 0 ? -1 : hexDigit(text[1]);
        if (low < 0 || text[2] != (i < 5 ? ':' : '\0')) {
            return false;
        }
        mac[i] = static_cast<uint8_t>(high << 4 | low);
        text += 3;
    }
    return true;
}

/* Locally administered, and the same after every start: macOS ties `enN` and its settings to the address. */
void deriveMac(OSDictionary *properties, weir_config &config)
{
    uint64_t hash = hashText(config.wire, config.wire_name);
    /* Tells personalities apart that match the same provider. */
    OSString *category = OSDynamicCast(OSString, properties->getObject("IOMatchCategory"));
    if (category != nullptr) {
        hash = hashText(hash, category->getCStringNoCopy());
    }
    OSNumber *seed = OSDynamicCast(OSNumber, properties->getObject("WeirSeed"));
    if (seed != nullptr) {
        hash = mix(hash ^ seed->unsigned64BitValue());
    }
    for (int i = 0; i < 6; ++i) {
        config.mac[i] = static_cast<uint8_t>(hash >> (8 * i));
    }
    config.mac[0] = static_cast<uint8_t>((config.mac[0] & 0xfc) | 0x02);
}

/* Without the property a virtual NIC derives an address; an adapter has one. */
bool readMac(OSDictionary *properties, bool virtualNic, weir_config &config)
{
    static const char *const kAllowed = "a unicast address: 6 bytes of data, or a string like 02:00:5e:10:20:30";
    OSObject *object = properties->getObject("WeirMAC");
    if (object == nullptr) {
        if (virtualNic) {
            deriveMac(properties, config);
        }
        return true;
    }
    uint8_t mac[6] = {};
    OSData *data = OSDynamicCast(OSData, object);
    OSString *string = OSDynamicCast(OSString, object);
    if (data != nullptr && data->getLength() == sizeof(mac)) {
        memcpy(mac, data->getBytesNoCopy(), sizeof(mac));
    } else if (string == nullptr || !parseMac(string->getCStringNoCopy(), mac)) {
        return refuse("WeirMAC", kAllowed);
    }
    static const uint8_t kZero[6] = {};
    if ((mac[0] & 1) != 0 || memcmp(mac, kZero, sizeof(mac)) == 0) {
        return refuse("WeirMAC", kAllowed);
    }
    memcpy(config.mac, mac, sizeof(mac));
    return true;
}

/* Keys the flow hash of a NIC that nobody gave a seed: different in every process and instance. */
uint64_t freshSeed(WeirEthernet *nic)
{
    uint64_t registryID = 0;
    (void)nic->GetRegistryEntryID(&registryID);
    const uint64_t now = clock_gettime_nsec_np(CLOCK_UPTIME_RAW);
    return mix(mix(now) ^ mix(registryID) ^ mix(reinterpret_cast<uintptr_t>(nic->ivars)));
}

bool readAll(WeirEthernet *nic, OSDictionary *properties, Settings &out)
{
    weir_config &config = out.config;
    uint64_t queues = 1;
    uint64_t ring = 256;
    uint64_t mtuMax = 9000;
    uint64_t mtu = 1500;
    uint64_t offloads = kAllOffloads;
    uint64_t seed = freshSeed(nic);

    if (!readWire(properties, config) || !readWireName(properties, config) || !readMac(properties, nic->ivars->bus == nullptr, config) ||
        !readNumber(properties, "WeirQueues", "a number from 1 to 8", 1, WEIR_QUEUES_MAX, queues) ||
        !readNumber(properties, "WeirRingSize", "a power of two from 64 to 4096", 64, 4096, ring) ||
        !readNumber(properties, "WeirMaxMTU", "a number from 1280 to 16110", 1280, WEIR_MTU_MAX, mtuMax) ||
        !readNumber(properties, "WeirMTU", "a number from 68 to WeirMaxMTU", 68, mtuMax, mtu) ||
        !readNumber(properties, "WeirOffloads", "a mask: 1 TX checksum, 2 TSO4, 4 TSO6, 8 RX checksum, 16 LRO", 0,
                    kAllOffloads, offloads) ||
        !readNumber(properties, "WeirSeed", "a number", 0, UINT64_MAX, seed)) {
        return false;
    }
    if ((ring & (ring - 1)) != 0) {
        return refuse("WeirRingSize", "a power of two from 64 to 4096");
    }
    config.queues = static_cast<uint16_t>(queues);
    config.ring_size = static_cast<uint32_t>(ring);
    config.mtu = static_cast<uint32_t>(mtu);
    config.mtu_max = static_cast<uint32_t>(mtuMax);
    config.seed = seed;
    out.offloads = static_cast<uint32_t>(offloads);
    return true;
}

} // namespace

uint32_t bufferSizeFor(const Settings &settings)
{
    const uint32_t super = WEIR_OFFLOAD_TSO4 | WEIR_OFFLOAD_TSO6 | WEIR_OFFLOAD_LRO;
    const uint32_t datagram = (settings.offloads & super) != 0 ? kIPMax : settings.config.mtu_max;
    const uint32_t need = datagram + kLinkHeader + kVlanTag + kHeadroomMax;
    return (need + 2047) & ~2047u;
}

kern_return_t readSettings(WeirEthernet *nic, Settings &out)
{
    OSDictionary *properties = nullptr;
    kern_return_t ret = nic->CopyProperties(&properties);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    if (properties == nullptr) {
        return kIOReturnNotFound;
    }
    out = {};
    out.config.size = sizeof(weir_config);
    out.config.abi_version = WEIR_ABI_VERSION;
    out.config.nic = WEIR_NIC_LOOPBACK;
    const bool ok = readAll(nic, properties, out);
    properties->release();
    if (!ok) {
        return kIOReturnBadArgument;
    }
    out.config.buf_len = bufferSizeFor(out);
    return kIOReturnSuccess;
}

} // namespace weir
