/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Link types of captures (www.tcpdump.org/linktypes.html), and the modes of IOUserNetworkEthernet::bpfTap.
 */
#ifndef WEIR_NET_BPF_H
#define WEIR_NET_BPF_H

#include <stdint.h>

#define DLT_NULL       0
#define DLT_EN10MB     1
#define DLT_RAW        12
#define DLT_IEEE802_11 105
#define DLT_LOOP       108

enum {
    BPF_MODE_DISABLED     = 0,
    BPF_MODE_INPUT        = 1,
    BPF_MODE_OUTPUT       = 2,
    BPF_MODE_INPUT_OUTPUT = 3
};
typedef uint32_t bpf_tap_mode;

#endif /* WEIR_NET_BPF_H */
