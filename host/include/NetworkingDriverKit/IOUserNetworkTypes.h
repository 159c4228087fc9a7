/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Types and constants of NetworkingDriverKit. DriverKit 19; see the comments for later ones. Values of the checksum,
 * segmentation and service class constants are those of xnu's bsd/skywalk/packet/os_packet.h, of the hardware assists
 * those of bsd/net/kpi_interface.h.
 */
#ifndef WEIR_NETWORKINGDRIVERKIT_IOUSERNETWORKTYPES_H
#define WEIR_NETWORKINGDRIVERKIT_IOUSERNETWORKTYPES_H

#include <stddef.h>
#include <stdint.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <DriverKit/IOTypes.h>

/* API levels */
#define NDK_20 1
#define NDK_21 1
#define NDK_22 1
#define NDK_23 1
#define NDK_24 1
#define NDK_25 1

class OSObject;
class IOUserNetworkPacket;
class IOUserNetworkPacketPoller;
class IOUserNetworkPacketQueue;

/* Deprecated: use ether_addr_t. */
struct IOUserNetworkMACAddress {
    uint8_t octet[6];
};

typedef uint32_t IOUserNetworkMediaType;
typedef uint32_t IOUserNetworkLinkStatus;
typedef uint32_t IOUserNetworkLinkQuality;
/* DriverKit 21 */
typedef uint32_t MediaWord;
typedef uint32_t LinkStatus;
typedef uint32_t LinkQuality;

typedef uint32_t IOUserNetworkServiceClass;
typedef uint32_t IOUserNetworkPacketQueueId;
typedef uint32_t IOUserNetworkPacketTxChecksumFlags;
typedef uint32_t IOUserNetworkPacketRxChecksumFlags;
typedef uint32_t IOUserNetworkPacketTSOFlags;
typedef uint32_t IOUserNetworkPacketLROFlags;
typedef uint32_t IONetworkPacketType;

enum {
    IONetworkPacketTypeNetwork = 1,
};

enum {
    kIOUserNetworkLinkStatusInvalid     = 0x00000000,
    kIOUserNetworkLinkStatusInactive    = 0x00000001,
    kIOUserNetworkLinkStatusActive      = 0x00000003,
    kIOUserNetworkLinkStatusWakeSameNet = 0x00000004,
};
/* Or-ed to a status: notify even if nothing changed. DriverKit 22 */
enum : uint32_t {
    kIOUserNetworkLinkStatusForceNotify = 0x80000000,
};

enum {
    kIOUserNetworkLinkQualityOff     = (-2),
    kIOUserNetworkLinkQualityUnknown = (-1),
    kIOUserNetworkLinkQualityBad     = 10,
    kIOUserNetworkLinkQualityPoor    = 50,
    kIOUserNetworkLinkQualityGood    = 100
};

/* Or-ed to a media type. */
enum {
    kIOUserNetworkMediaOptionFullDuplex  = 0x00100000,
    kIOUserNetworkMediaOptionHalfDuplex  = 0x00200000,
    kIOUserNetworkMediaOptionFlowControl = 0x00400000,
    kIOUserNetworkMediaOptionEEE         = 0x00800000,
    kIOUserNetworkMediaOptionLoopback    = 0x08000000
};

enum {
    kIOUserNetworkMediaEthernetAuto             = 0x00000020,
    kIOUserNetworkMediaEthernetManual           = 0x00000021,
    kIOUserNetworkMediaEthernetNone             = 0x00000022,
    kIOUserNetworkMediaEthernet10BaseT          = 0x00000023,
    kIOUserNetworkMediaEthernet10Base2          = 0x00000024,
    kIOUserNetworkMediaEthernet10Base5          = 0x00000025,
    kIOUserNetworkMediaEthernet100BaseTX        = 0x00000026,
    kIOUserNetworkMediaEthernet100BaseFX        = 0x00000027,
    kIOUserNetworkMediaEthernet100BaseT4        = 0x00000028,
    kIOUserNetworkMediaEthernet100BaseVG        = 0x00000029,
    kIOUserNetworkMediaEthernet100BaseT2        = 0x0000002a,
    kIOUserNetworkMediaEthernet1000BaseSX       = 0x0000002b,
    kIOUserNetworkMediaEthernet10BaseSTP        = 0x0000002c,
    kIOUserNetworkMediaEthernet10BaseFL         = 0x0000002d,
    kIOUserNetworkMediaEthernet1000BaseLX       = 0x0000002e,
    kIOUserNetworkMediaEthernet1000BaseCX       = 0x0000002f,
    kIOUserNetworkMediaEthernet1000BaseT        = 0x00000030,
    kIOUserNetworkMediaEthernetHomePNA1         = 0x00000031,
    kIOUserNetworkMediaEthernet10GBaseSR        = 0x00000032,
    kIOUserNetworkMediaEthernet10GBaseLR        = 0x00000033,
    kIOUserNetworkMediaEthernet10GBaseCX4       = 0x00000034,
    kIOUserNetworkMediaEthernet10GBaseT         = 0x00000035,
    kIOUserNetworkMediaEthernet2500BaseT        = 0x00000036,
    kIOUserNetworkMediaEthernet5000BaseT        = 0x00000037,
    kIOUserNetworkMediaEthernet1000BaseCX_SGMII = 0x00000038,
    kIOUserNetworkMediaEthernet1000BaseKX       = 0x00000039,
    kIOUserNetworkMediaEthernet10GBaseKX4       = 0x0000003a,
    kIOUserNetworkMediaEthernet10GBaseKR        = 0x0000003b,
    kIOUserNetworkMediaEthernet10GBaseCR1       = 0x0000003c,
    kIOUserNetworkMediaEthernet10GBaseER        = 0x0000003d,
    kIOUserNetworkMediaEthernet20GBaseKR2       = 0x0000003e,
    kIOUserNetworkMediaEthernet25GBaseCR        = 0x0000003f,
    kIOUserNetworkMediaEthernet25GBaseKR        = 0x00000820,
    kIOUserNetworkMediaEthernet25GBaseSR        = 0x00000821,
    kIOUserNetworkMediaEthernet25GBaseLR        = 0x00000822,
    kIOUserNetworkMediaEthernet40GBaseCR4       = 0x00000823,
    kIOUserNetworkMediaEthernet40GBaseSR4       = 0x00000824,
    kIOUserNetworkMediaEthernet40GBaseLR4       = 0x00000825,
    kIOUserNetworkMediaEthernet40GBaseKR4       = 0x00000826,
    kIOUserNetworkMediaEthernet50GBaseCR2       = 0x00000827,
    kIOUserNetworkMediaEthernet50GBaseKR2       = 0x00000828,
    kIOUserNetworkMediaEthernet50GBaseSR2       = 0x00000829,
    kIOUserNetworkMediaEthernet50GBaseLR2       = 0x0000082a,
    kIOUserNetworkMediaEthernet56GBaseR4        = 0x0000082b,
    kIOUserNetworkMediaEthernet100GBaseCR4      = 0x0000082c,
    kIOUserNetworkMediaEthernet100GBaseSR4      = 0x0000082d,
    kIOUserNetworkMediaEthernet100GBaseKR4      = 0x0000082e,
    kIOUserNetworkMediaEthernet100GBaseLR4      = 0x0000082f,
    kIOUserNetworkMediaEthernetMask             = 0x00000fff,
};

/* getFeatureFlags() */
enum {
    kIOUserNetworkFeatureFlagSoftwareVlan = 0x00020000,
    kIOUserNetworkFeatureHWTimeStamp      = 0x01000000,
    kIOUserNetworkFeatureSWTimeStamp      = 0x02000000,
    kIOUserNetworkFeatureFlagWOMP         = 0x04000000,
    kIOUserNetworkFeatureFlagNicProxy     = 0x08000000,
};

/* getHardwareAssists(), setHardwareAssists() */
enum {
    kIOUserNetworkHWAssistTxChecksumIPHdr = 0x00000001,
    kIOUserNetworkHWAssistTxChecksumTCP   = 0x00000002,
    kIOUserNetworkHWAssistTxChecksumUDP   = 0x00000004,
    kIOUserNetworkHWAssistSoftwareVlan    = 0x00020000,
    kIOUserNetworkHWAssistTSO4            = 0x00200000,
    kIOUserNetworkHWAssistTSO6            = 0x00400000,
    kIOUserNetworkHWAssistHWTimeStamp     = 0x01000000,
    kIOUserNetworkHWAssistSWTimeStamp     = 0x02000000,
    kIOUserNetworkHWAssistWOMP            = 0x04000000,
    kIOUserNetworkHWAssistNicProxy        = 0x08000000,
    kIOUserNetworkHWAssistLRO             = 0x10000000,
    kIOUserNetworkHWAssistRxChecksum      = 0x20000000,
    kIOUserNetworkHWAssistLRONumSeg       = 0x40000000,
};

/* getTxChecksumInfo(), getTxCsumFlags() */
enum {
    kIOUserNetworkPacketTxCsumPartial    = 0x0001,
    kIOUserNetworkPacketTxCsumZeroInvert = 0x0002,
    kIOUserNetworkPacketTxCsumIPHdr      = 0x0004,
    kIOUserNetworkPacketTxCsumTCPIPV4    = 0x0008,
    kIOUserNetworkPacketTxCsumUDPIPV4    = 0x0010,
    kIOUserNetworkPacketTxCsumTCPIPV6    = 0x0020,
    kIOUserNetworkPacketTxCsumUDPIPV6    = 0x0040,
};

/* setRxChecksumInfo() */
enum {
    kIOUserNetworkPacketRxCsumIPChecked = 0x0100,
    kIOUserNetworkPacketRxCsumIPValid   = 0x0200,
    kIOUserNetworkPacketRxCsumDataValid = 0x0400,
    kIOUserNetworkPacketRxCsumPseudoHdr = 0x0800,
};

/* getTSOInfo() */
enum {
    kIOUserNetworkPacketTSOIPV4 = 0x00100000,
    kIOUserNetworkPacketTSOIPV6 = 0x00200000,
};

/* setLROInfo() */
enum {
    kIOUserNetworkPacketLROIPV4 = 0x00100000,
    kIOUserNetworkPacketLROIPV6 = 0x00200000,
};

/* Service classes, lowest first. */
enum {
    kIOUserNetworkPacketServiceClassBKSYS = 0x00080090,
    kIOUserNetworkPacketServiceClassBK    = 0x00100080,
    kIOUserNetworkPacketServiceClassBE    = 0x00000000,
    kIOUserNetworkPacketServiceClassRD    = 0x00180010,
    kIOUserNetworkPacketServiceClassOAM   = 0x00200020,
    kIOUserNetworkPacketServiceClassAV    = 0x00280120,
    kIOUserNetworkPacketServiceClassRV    = 0x00300110,
    kIOUserNetworkPacketServiceClassVI    = 0x00380100,
    kIOUserNetworkPacketServiceClassVO    = 0x00400180,
    kIOUserNetworkPacketServiceClassCTL   = 0x00480190,
};
enum : uint32_t {
    kIOUserNetworkPacketServiceClassNone = 0xffffffff,
};

/* allocatePacket() */
enum {
    kIOUserNetworkNonBlocking = 0x00000000,
    kIOUserNetworkBlocking    = 0x00000001,
};

/* getInterfaceSubFamily(); xnu bsd/net/kpi_interface.h */
enum {
    IFNET_FAMILY_ANY      = 0,
    IFNET_FAMILY_ETHERNET = 2,
};
enum {
    IFNET_SUBFAMILY_ANY         = 0,
    IFNET_SUBFAMILY_USB         = 1,
    IFNET_SUBFAMILY_THUNDERBOLT = 4,
};

/* Callbacks of queues; the number of packets taken or filled in is returned. DriverKit 21 */
typedef uint32_t (*EnqueueAction)(OSObject * target, IOUserNetworkPacketQueue * queue,
    IOUserNetworkPacket ** packets, uint32_t packetCount, void * refCon);
typedef uint32_t (*DequeueAction)(OSObject * target, IOUserNetworkPacketQueue * queue,
    IOUserNetworkPacket ** packets, uint32_t packetCount, void * refCon);
/* Packets the driver can take; *byteCount: bytes. */
typedef uint32_t (*QueryFreeSpaceAction)(OSObject * target, IOUserNetworkPacketQueue * queue, uint32_t * byteCount);

/* getTSOOptions(). DriverKit 22 */
struct IOUserNetworkTSOOptions {
    uint32_t tso_mtu4;
    uint32_t mss4;
    uint32_t tso_mtu6;
    uint32_t mss6;
    uint8_t  rsvd[56];
};

/* addHardwareCountsWithInterfaceStatistics(). DriverKit 22 */
struct IOUserNetworkHardwareCounts {
    uint64_t packets_in;
    uint64_t bytes_in;
    uint64_t multicasts_in;
    uint64_t errors_in;
    uint64_t reserved_in[16];
    uint64_t packets_out;
    uint64_t bytes_out;
    uint64_t multicasts_out;
    uint64_t errors_out;
    uint64_t reserved_out[16];
    uint64_t collisions;
    uint64_t dropped;
    uint64_t no_protocol;
    uint64_t reserved_misc[32];
};

struct IOUserNetworkStatistics {
    uint64_t packets_in;
    uint64_t bytes_in;
    uint64_t multicasts_in;
    uint64_t errors_in;
    uint64_t packets_out;
    uint64_t bytes_out;
    uint64_t multicasts_out;
    uint64_t errors_out;
    uint64_t collisions;
    uint64_t dropped;
    uint64_t no_protocol;
};

#define IOUSERNETWORKLINKLAYERREACHABILITYINFO_ADDRLEN 64

struct IOUserNetworkLinkLayerReachabilityInfo {
    uint32_t refcnt;
    uint32_t probes;
    uint64_t snd_expire;
    uint64_t rcv_expire;
    uint64_t curtime;
    uint32_t netproto;
    uint8_t  addr[IOUSERNETWORKLINKLAYERREACHABILITYINFO_ADDRLEN];
    int32_t  rssi;
    int32_t  lqm;
    int32_t  npm;
};

#define IOUSERNETWORKKEEPALIVEOFFLOAD_DATA_SIZE            128
#define IOUSERNETWORKKEEPALIVEOFFLOAD_MAX_ADDR_SIZE        16
#define IOUSERNETWORKKEEPALIVEOFFLOADFRAME_IPSEC           0x0
#define IOUSERNETWORKKEEPALIVEOFFLOADFRAME_AIRPLAY         0x1
#define IOUSERNETWORKKEEPALIVEOFFLOADFRAME_TCP             0x2
#define IOUSERNETWORKKEEPALIVEOFFLOAD_ETHERTYPE_IPV4       0x0
#define IOUSERNETWORKKEEPALIVEOFFLOAD_ETHERTYPE_IPV6       0x1
#define IOUSERNETWORKKEEPALIVEOFFLOAD_FLAG_NOWAKEFROMSLEEP 0x01

/* xnu bsd/net/kpi_interface.h, ifnet_keepalive_offload_frame */
struct IOUserNetworkKeepAliveOffloadFrame {
    uint8_t  data[IOUSERNETWORKKEEPALIVEOFFLOAD_DATA_SIZE];
    uint8_t  type;
    uint8_t  length;
    uint16_t interval;
    uint8_t  ether_type;
    uint8_t  keep_cnt;
    uint16_t keep_retry;
    uint8_t  reply_length;
    uint8_t  addr_length;
    uint8_t  flags;
    uint8_t  reserved[1];
    uint8_t  reply_data[IOUSERNETWORKKEEPALIVEOFFLOAD_DATA_SIZE];
    uint8_t  local_addr[IOUSERNETWORKKEEPALIVEOFFLOAD_MAX_ADDR_SIZE];
    uint8_t  remote_addr[IOUSERNETWORKKEEPALIVEOFFLOAD_MAX_ADDR_SIZE];
    uint16_t local_port;
    uint16_t remote_port;
    uint32_t local_seq;
    uint32_t remote_seq;
};

#define IP_PORTRANGE_BITFIELD_LEN 8192

enum {
    kIOUserNetworkGetLocalPortsWildcardOK               = 0x01,
    kIOUserNetworkGetLocalPortsNoWakeupOK               = 0x02,
    kIOUserNetworkGetLocalPortsTCPOnly                  = 0x04,
    kIOUserNetworkGetLocalPortsUDPOnly                  = 0x08,
    kIOUserNetworkGetLocalPortsRecvAnyInterfaceOnly     = 0x10,
    kIOUserNetworkGetLocalPortsExtendedBackgroundIdleOnly = 0x20,
    kIOUserNetworkGetLocalPortsActiveOnly               = 0x40,
    kIOUserNetworkGetLocalPortsAnyTCPStateOK            = 0x80,
};

#endif /* WEIR_NETWORKINGDRIVERKIT_IOUSERNETWORKTYPES_H */
