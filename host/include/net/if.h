/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Interface names and driver commands, with Darwin's names.
 */
#ifndef WEIR_NET_IF_H
#define WEIR_NET_IF_H

#include <stddef.h>

#ifndef IFNAMSIZ
#define IFNAMSIZ 16
#endif

/* SIOCSDRVSPEC, SIOCGDRVSPEC */
typedef struct ifdrv {
    char          ifd_name[IFNAMSIZ];
    unsigned long ifd_cmd;
    size_t        ifd_len;
    void        * ifd_data;
} ifdrv_t;

#endif /* WEIR_NET_IF_H */
