// SPDX-License-Identifier: MIT OR Apache-2.0
// What the classes of NetworkingDriverKit share. Private to host/cpp.

#ifndef WEIR_HOST_NET_H
#define WEIR_HOST_NET_H

#include "runtime.h"

#include <NetworkingDriverKit/IOUserNetworkPacket.h>
#include <NetworkingDriverKit/IOUserNetworkPacketBufferPool.h>
#include <NetworkingDriverKit/IOUserNetworkPacketPoller.h>
#include <NetworkingDriverKit/IOUserNetworkPacketQueue.h>

/// A packet object has no state of its own: its ivars are the engine's packet.
struct IOUserNetworkPacket_IVars : dk_packet {};

namespace dk {

inline dk_packet *packet_of(const IOUserNetworkPacket *packet) { return packet->ivars; }

inline IOUserNetworkPacket *object_of(const dk_packet *packet)
{
    return static_cast<IOUserNetworkPacket *>(packet->object);
}

/// Takes the engine's packet away from its object: any later use is a use after free of the pool.
void unwrap_packet(IOUserNetworkPacket *packet);

dk_pool *pool_of(const IOUserNetworkPacketBufferPool *pool);
dk_netq *netq_of(const IOUserNetworkPacketQueue *queue);
dk_poller *poller_of(const IOUserNetworkPacketPoller *poller);
/// The object around an engine pool, borrowed.
IOUserNetworkPacketBufferPool *pool_object(const dk_pool *pool);

} // namespace dk

#endif
