/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Byte order of addresses; a driver has no text forms of them.
 */
#ifndef WEIR_ARPA_INET_H
#define WEIR_ARPA_INET_H

#include <netinet/in.h>

#endif /* WEIR_ARPA_INET_H */
