/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Layouts of IOReporting, for SetLegend, ConfigureReport and UpdateReport of IOService. DriverKit 21.
 */
#ifndef WEIR_DRIVERKIT_IOREPORTTYPES_H
#define WEIR_DRIVERKIT_IOREPORTTYPES_H

#include <stdint.h>

#define IOR_VALUES_PER_ELEMENT 4

#define kIOReportInvalidIntValue INT64_MIN
#define kIOReportInvalidValue    ((uint64_t) kIOReportInvalidIntValue)

typedef uint16_t IOReportCategories;
#define kIOReportCategoryPower       (1 << 1)
#define kIOReportCategoryTraffic     (1 << 2)
#define kIOReportCategoryPerformance (1 << 3)
#define kIOReportCategoryPeripheral  (1 << 4)
#define kIOReportCategoryField       (1 << 8)
#define kIOReportCategoryDebug       (1 << 15)
#define kIOReportInvalidCategory     UINT16_MAX

typedef uint8_t IOReportFormat;
enum {
    kIOReportInvalidFormat     = 0,
    kIOReportFormatSimple      = 1,
    kIOReportFormatState       = 2,
    kIOReportFormatHistogram   = 3,
    kIOReportFormatSimpleArray = 4
};

typedef uint32_t IOReportConfigureAction;
enum {
    kIOReportDisable           = 0x00,
    kIOReportEnable            = 0x01,
    kIOReportGetDimensions     = 0x02,
    kIOReportNotifyHubOnChange = 0x10,
    kIOReportTraceOnChange     = 0x20
};

typedef uint32_t IOReportUpdateAction;
enum {
    kIOReportCopyChannelData  = 1,
    kIOReportTraceChannelData = 2
};

typedef uint64_t IOReportUnit;
typedef uint64_t IOReportUnits;
typedef uint64_t IOReportScaleFactor;
typedef uint8_t  IOReportQuantity;

typedef struct {
    int64_t  simple_value;
    uint64_t reserved1;
    uint64_t reserved2;
    uint64_t reserved3;
} __attribute__((packed)) IOSimpleReportValues;

typedef struct {
    uint8_t  report_format;
    uint8_t  reserved;
    uint16_t categories;
    uint16_t nelements;
    int16_t  element_idx;
} __attribute__((packed)) IOReportChannelType;

/* An id of eight characters. */
#define IOREPORT_MAKEID(A, B, C, D, E, F, G, H) \
    ((uint64_t) (A) << 56 | (uint64_t) (B) << 48 | (uint64_t) (C) << 40 | (uint64_t) (D) << 32 | \
     (uint64_t) (E) << 24 | (uint64_t) (F) << 16 | (uint64_t) (G) << 8 | (uint64_t) (H))

typedef struct {
    uint64_t            channel_id;
    IOReportChannelType channel_type;
} IOReportChannel;

typedef struct {
    uint32_t        nchannels;
    IOReportChannel channels[];
} IOReportChannelList;

typedef struct {
    uint64_t v[IOR_VALUES_PER_ELEMENT];
} __attribute__((packed)) IOReportElementValues;

typedef struct {
    uint64_t              provider_id;
    uint64_t              channel_id;
    IOReportChannelType   channel_type;
    uint64_t              timestamp;
    IOReportElementValues values;
} __attribute__((packed)) IOReportElement;

#endif /* WEIR_DRIVERKIT_IOREPORTTYPES_H */
