/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the files of the user client share. Calls of one client arrive one at a time on its own queue, which is not the
 * NIC's: what both touch is behind the NIC's `control` lock (the core, the wire) or `clients` lock (the list, each
 * client's notification).
 */
#ifndef WEIR_USER_CLIENT_STATE_H
#define WEIR_USER_CLIENT_STATE_H

#include <DriverKit/IOBufferMemoryDescriptor.h>
#include <DriverKit/IOUserClient.h>

#include "WeirUserClient.h"
#include "weir_dext.h"

struct WeirUserClient_IVars {
    WeirEthernet *nic; /* retained from Start to Stop */
    uint32_t type;
    WeirUserClient *next;           /* under `clients` */
    OSAction *notify;               /* under `clients` */
    uint32_t notifyMask;            /* under `clients` */
    IOBufferMemoryDescriptor *wire; /* kept until Stop: the client may have it mapped */
    uint64_t wireSize;
    IOBufferMemoryDescriptor *tap; /* likewise */
};

namespace weir {

/* Null for a client that is not connected (any more). */
inline WeirUserClient *connected(OSObject *target)
{
    WeirUserClient *client = OSDynamicCast(WeirUserClient, target);
    return client == nullptr || client->ivars->nic == nullptr ? nullptr : client;
}

/* Has the client's program our entitlement? */
bool mayWrite(WeirUserClient *client);

/* WeirCommands.cpp */
kern_return_t runCommand(OSObject *target, void *reference, IOUserClientMethodArguments *arguments);
kern_return_t setLink(OSObject *target, void *reference, IOUserClientMethodArguments *arguments);
kern_return_t glueCounters(OSObject *target, void *reference, IOUserClientMethodArguments *arguments);

/* WeirWire.cpp */
kern_return_t openWire(OSObject *target, void *reference, IOUserClientMethodArguments *arguments);
kern_return_t kickWire(OSObject *target, void *reference, IOUserClientMethodArguments *arguments);
/* Zeroed memory to share with a client. */
kern_return_t createShared(uint64_t size, IOBufferMemoryDescriptor **memory, uint8_t **base);
kern_return_t registerNotify(OSObject *target, void *reference, IOUserClientMethodArguments *arguments);

/* WeirTap.cpp */
kern_return_t openTap(OSObject *target, void *reference, IOUserClientMethodArguments *arguments);
kern_return_t closeTap(OSObject *target, void *reference, IOUserClientMethodArguments *arguments);

} // namespace weir

#endif /* WEIR_USER_CLIENT_STATE_H */
