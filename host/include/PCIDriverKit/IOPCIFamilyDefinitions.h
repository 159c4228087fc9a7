/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Constants of PCI configuration space and of the PCI family's interfaces.
 */
#ifndef WEIR_PCIDRIVERKIT_IOPCIFAMILYDEFINITIONS_H
#define WEIR_PCIDRIVERKIT_IOPCIFAMILYDEFINITIONS_H

#include <DriverKit/IOTypes.h>

/* keys of a personality */
#define kIOPCIMatchKey          "IOPCIMatch"
#define kIOPCIPrimaryMatchKey   "IOPCIPrimaryMatch"
#define kIOPCISecondaryMatchKey "IOPCISecondaryMatch"
#define kIOPCIClassMatchKey     "IOPCIClassMatch"
#define kIOPCITunnelCompatibleKey "IOPCITunnelCompatible"
#define kIOPCIPauseCompatibleKey  "IOPCIPauseCompatible"

/* properties of a device */
#define kIOPCITunnelledKey               "IOPCITunnelled"
#define kIOPCITunnelL1EnableKey          "IOPCITunnelL1Enable"
#define kIOPCIExpressCapabilitiesKey     "IOPCIExpressCapabilities"
#define kIOPCIExpressLinkStatusKey       "IOPCIExpressLinkStatus"
#define kIOPCIExpressLinkCapabilitiesKey "IOPCIExpressLinkCapabilities"
#define kIOPCIExpressSlotStatusKey       "IOPCIExpressSlotStatus"
#define kIOPCIExpressSlotCapabilitiesKey "IOPCIExpressSlotCapabilities"
#define kIOPCIDeviceMemoryArrayKey       "IODeviceMemory"
#define kIOPCIDeviceMemoryMapBase        "IOPCIDeviceMemoryMapBase"
#define kIOPCIDeviceMemoryMapSize        "IOPCIDeviceMemoryMapSize"
#define kIOPCIDeviceMapperPageSize       "IOPCIDeviceMapperPageSize"
#define kIOPMPCIConfigSpaceVolatileKey   "IOPMPCIConfigSpaceVolatile"
#define kIOPMPCISleepLinkDisableKey      "IOPMPCISleepLinkDisable"
#define kIOPMPCISleepResetKey            "IOPMPCISleepReset"
#define kIOPCIDeviceCrashResetType       "IOPCIDeviceCrashResetType"

/* kinds of interrupts, beside edge and level */
enum {
    kIOInterruptTypePCIMessaged  = 0x00010000,
    kIOInterruptTypePCIMessagedX = 0x00020000
};

/* configuration space header */
enum {
    kIOPCIConfigurationOffsetVendorID          = 0x00,
    kIOPCIConfigurationOffsetDeviceID          = 0x02,
    kIOPCIConfigurationOffsetCommand           = 0x04,
    kIOPCIConfigurationOffsetStatus            = 0x06,
    kIOPCIConfigurationOffsetRevisionID        = 0x08,
    kIOPCIConfigurationOffsetClassCode         = 0x09,
    kIOPCIConfigurationOffsetCacheLineSize     = 0x0C,
    kIOPCIConfigurationOffsetLatencyTimer      = 0x0D,
    kIOPCIConfigurationOffsetHeaderType        = 0x0E,
    kIOPCIConfigurationOffsetBIST              = 0x0F,
    kIOPCIConfigurationOffsetBaseAddress0      = 0x10,
    kIOPCIConfigurationOffsetBaseAddress1      = 0x14,
    kIOPCIConfigurationOffsetBaseAddress2      = 0x18,
    kIOPCIConfigurationOffsetBaseAddress3      = 0x1C,
    kIOPCIConfigurationOffsetBaseAddress4      = 0x20,
    kIOPCIConfigurationOffsetBaseAddress5      = 0x24,
    kIOPCIConfigurationOffsetCardBusCISPtr     = 0x28,
    kIOPCIConfigurationOffsetSubSystemVendorID = 0x2C,
    kIOPCIConfigurationOffsetSubSystemID       = 0x2E,
    kIOPCIConfigurationOffsetExpansionROMBase  = 0x30,
    kIOPCIConfigurationOffsetCapabilitiesPtr   = 0x34,
    kIOPCIConfigurationOffsetInterruptLine     = 0x3C,
    kIOPCIConfigurationOffsetInterruptPin      = 0x3D,
    kIOPCIConfigurationOffsetMinimumGrant      = 0x3E,
    kIOPCIConfigurationOffsetMaximumLatency    = 0x3F
};

/* capabilities; extended ones are negated */
enum {
    kIOPCICapabilityIDOffset   = 0x00,
    kIOPCINextCapabilityOffset = 0x01,

    kIOPCICapabilityIDPowerManagement = 0x01,
    kIOPCICapabilityIDAGP             = 0x02,
    kIOPCICapabilityIDVitalProductData = 0x03,
    kIOPCICapabilityIDSlotID          = 0x04,
    kIOPCICapabilityIDMSI             = 0x05,
    kIOPCICapabilityIDCPCIHotswap     = 0x06,
    kIOPCICapabilityIDPCIX            = 0x07,
    kIOPCICapabilityIDLDT             = 0x08,
    kIOPCICapabilityIDVendorSpecific  = 0x09,
    kIOPCICapabilityIDDebugPort       = 0x0a,
    kIOPCICapabilityIDCPCIResourceControl = 0x0b,
    kIOPCICapabilityIDHotplug         = 0x0c,
    kIOPCICapabilityIDAGP8            = 0x0e,
    kIOPCICapabilityIDSecure          = 0x0f,
    kIOPCICapabilityIDPCIExpress      = 0x10,
    kIOPCICapabilityIDMSIX            = 0x11,
    kIOPCICapabilityIDFPB             = 0x15,

    kIOPCIExpressCapabilityIDErrorReporting            = -0x01U,
    kIOPCIExpressCapabilityIDVirtualChannel            = -0x02U,
    kIOPCIExpressCapabilityIDDeviceSerialNumber        = -0x03U,
    kIOPCIExpressCapabilityIDPowerBudget               = -0x04U,
    kIOPCIExpressCapabilityIDAccessControlServices     = -0x0DU,
    kIOPCIExpressCapabilityIDAlternativeRoutingID      = -0x0EU,
    kIOPCIExpressCapabilityIDLatencyTolerenceReporting = -0x18U,
    kIOPCIExpressCapabilityIDL1PMSubstates             = -0x1EU,
    kIOPCIExpressCapabilityIDPrecisionTimeManagement   = -0x1FU
};

/* command register */
enum {
    kIOPCICommandIOSpace          = 0x0001,
    kIOPCICommandMemorySpace      = 0x0002,
    kIOPCICommandBusLead          = 0x0004,
    kIOPCICommandBusMaster        = kIOPCICommandBusLead,
    kIOPCICommandSpecialCycles    = 0x0008,
    kIOPCICommandMemWrInvalidate  = 0x0010,
    kIOPCICommandPaletteSnoop     = 0x0020,
    kIOPCICommandParityError      = 0x0040,
    kIOPCICommandAddressStepping  = 0x0080,
    kIOPCICommandSERR             = 0x0100,
    kIOPCICommandFastBack2Back    = 0x0200,
    kIOPCICommandInterruptDisable = 0x0400
};

/* status register */
enum {
    kIOPCIStatusInterrupt        = 0x0008,
    kIOPCIStatusCapabilities     = 0x0010,
    kIOPCIStatusPCI66            = 0x0020,
    kIOPCIStatusUDF              = 0x0040,
    kIOPCIStatusFastBack2Back    = 0x0080,
    kIOPCIStatusDevSel0          = 0x0000,
    kIOPCIStatusDevSel1          = 0x0200,
    kIOPCIStatusDevSel2          = 0x0400,
    kIOPCIStatusDevSel3          = 0x0600,
    kIOPCIStatusTargetAbortCapable = 0x0800,
    kIOPCIStatusTargetAbortActive  = 0x1000,
    kIOPCIStatusLeadAbortActive    = 0x2000,
    kIOPCIStatusMasterAbortActive  = kIOPCIStatusLeadAbortActive,
    kIOPCIStatusSERRActive       = 0x4000,
    kIOPCIStatusParityErrActive  = 0x8000
};

/* PCI power management capability */
enum {
    kPCIPMCPMESupportFromD3Cold = 0x8000,
    kPCIPMCPMESupportFromD3Hot  = 0x4000,
    kPCIPMCPMESupportFromD2     = 0x2000,
    kPCIPMCPMESupportFromD1     = 0x1000,
    kPCIPMCPMESupportFromD0     = 0x0800,
    kPCIPMCD2Support            = 0x0400,
    kPCIPMCD1Support            = 0x0200,
    kPCIPMCD3Support            = 0x0001
};
enum {
    kPCIPMCSPMEStatus         = 0x8000,
    kPCIPMCSPMEEnable         = 0x0100,
    kPCIPMCSPowerStateMask    = 0x0003,
    kPCIPMCSPowerStateD3      = 0x0003,
    kPCIPMCSPowerStateD2      = 0x0002,
    kPCIPMCSPowerStateD1      = 0x0001,
    kPCIPMCSPowerStateD0      = 0x0000,
    kPCIPMCSDefaultEnableBits = (~(IOOptionBits)0)
};

/* advanced error reporting: bits of the uncorrectable and correctable error status, PCI Express Base 7.8.4 */
enum {
    kIOPCIUncorrectableErrorBitDataLinkProtocol      = 4,
    kIOPCIUncorrectableErrorBitSurpriseDown          = 5,
    kIOPCIUncorrectableErrorBitPoisonedTLP           = 12,
    kIOPCIUncorrectableErrorBitFlowControlProtocol   = 13,
    kIOPCIUncorrectableErrorBitCompletionTimeout     = 14,
    kIOPCIUncorrectableErrorBitCompleterAbort        = 15,
    kIOPCIUncorrectableErrorBitUnexpectedCompletion  = 16,
    kIOPCIUncorrectableErrorBitReceiverOverflow      = 17,
    kIOPCIUncorrectableErrorBitMalformedTLP          = 18,
    kIOPCIUncorrectableErrorBitECRC                  = 19,
    kIOPCIUncorrectableErrorBitUnsupportedRequest    = 20,
    kIOPCIUncorrectableErrorBitACSViolation          = 21,
    kIOPCIUncorrectableErrorBitInternal              = 22,
    kIOPCIUncorrectableErrorBitMCBlockedTLP          = 23,
    kIOPCIUncorrectableErrorBitAtomicOpEgressBlocked = 24,
    kIOPCIUncorrectableErrorBitTLPPrefixBlocked      = 25
};
enum {
    kIOPCICorrectableErrorBitReceiver           = 0,
    kIOPCICorrectableErrorBitBadTLP             = 6,
    kIOPCICorrectableErrorBitBadDLLP            = 7,
    kIOPCICorrectableErrorBitReplayNumRollover  = 8,
    kIOPCICorrectableErrorBitReplayTimerTimeout = 12,
    kIOPCICorrectableErrorBitAdvisoryNonFatal   = 13,
    kIOPCICorrectableErrorBitCorrectedInternal  = 14,
    kIOPCICorrectableErrorBitHeaderLogOverflow  = 15
};

/* MemoryRead and MemoryWrite */
typedef enum tIOPCIAccessOptions {
    kIOPCIAccessLatencyTolerantHint = 0x00000001
} tIOPCIAccessOptions;

/* Reset() */
typedef enum tIOPCIDeviceResetTypes {
    kIOPCIDeviceResetTypeHotReset         = 0x00000001,
    kIOPCIDeviceResetTypeWarmReset        = 0x00000002,
    kIOPCIDeviceResetTypeWarmResetDisable = 0x00000004,
    kIOPCIDeviceResetTypeWarmResetEnable  = 0x00000008,
    kIOPCIDeviceResetTypeFunctionReset    = 0x00000010
} tIOPCIDeviceResetTypes;

typedef enum tIOPCIDeviceResetOptions {
    kIOPCIDeviceResetOptionNone      = 0x00000000,
    kIOPCIDeviceResetOptionTerminate = 0x00000001
} tIOPCIDeviceResetOptions;

/* SetASPMState() */
enum tIOPCILinkControlASPMBits {
    kIOPCILinkControlASPMBitsDisabled = 0,
    kIOPCILinkControlASPMBitsL0s      = 1 << 0,
    kIOPCILinkControlASPMBitsL1       = 1 << 1,
    kIOPCILinkControlASPMBitsL0sL1    = kIOPCILinkControlASPMBitsL0s | kIOPCILinkControlASPMBitsL1
};

typedef enum tIOPCILinkSpeed {
    kIOPCILinkSpeed_2_5_GTs = 1,
    kIOPCILinkSpeed_5_GTs,
    kIOPCILinkSpeed_8_GTs,
    kIOPCILinkSpeed_16_GTs,
    kIOPCILinkSpeed_32_GTs
} tIOPCILinkSpeed;

#endif /* WEIR_PCIDRIVERKIT_IOPCIFAMILYDEFINITIONS_H */
