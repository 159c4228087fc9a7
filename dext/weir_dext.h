/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the files of the glue share. The glue knows objects, queues and packets' envelopes; what is inside a frame
 * is the core's business (weir_core.h).
 *
 * Threads. Everything the framework calls arrives on the service's "Default" queue; each queue pair's data path runs
 * on that pair's own serial queue. Default may wait for a pair's queue (DispatchSync), never the other way round.
 * `control` serialises the core's control functions, `clients` is a leaf lock for the list of user clients.
 */
#ifndef WEIR_DEXT_H
#define WEIR_DEXT_H

#include <os/log.h>

#include <DriverKit/IODataQueueDispatchSource.h>
#include <DriverKit/IODispatchQueue.h>
#include <DriverKit/IOLib.h>
#include <DriverKit/IOTimerDispatchSource.h>
#include <DriverKit/OSAction.h>
#include <NetworkingDriverKit/NetworkingDriverKit.h>

#include "WeirEthernet.h"
#include "weir_client.h"
#include "weir_core.h"

class WeirUserClient;

/* An API newer than the deployment target is called inside `if (WEIR_AVAILABLE(major))` only. The Linux runtime has
 * every method that its headers declare. */
#if defined(__APPLE__)
#define WEIR_AVAILABLE(major) __builtin_available(driverkit major, *)
#else
#define WEIR_AVAILABLE(major) (true)
#endif

/* os_log redacts strings that are not marked public. */
#define WEIR_LOG(fmt, ...) os_log(OS_LOG_DEFAULT, "weir: " fmt, ##__VA_ARGS__)

namespace weir {

constexpr uint32_t kBurst = WEIR_BURST_MAX;
/* Rounds of one poll before it goes to the back of its dispatch queue, so that control work gets a turn. */
constexpr uint32_t kPollRounds = 16;
/* Ethernet header and one 802.1Q tag; the FCS is the MAC's. */
constexpr uint32_t kLinkHeader = 14;
constexpr uint32_t kVlanTag = 4;
/* Largest IP datagram: what a TSO or LRO super-frame may hold. */
constexpr uint32_t kIPMax = 65535;
/* Room for the offset that the stack puts in front of a frame (2 is usual for native flows). */
constexpr uint32_t kHeadroomMax = 256;
/* A pool that is not mapped gives offsets instead of addresses; no mapping starts this low. */
constexpr uint64_t kLowestAddress = 1u << 20;

/* Personality properties, validated. */
struct Settings {
    weir_config config;
    uint32_t offloads; /* WEIR_OFFLOAD_* that may be offered */
};

/* One queue pair: a shard of the core, its four packet queues, and the serial queue that they are served on. */
struct Queue {
    WeirEthernet *owner;
    uint32_t index;
    uint32_t pollPending; /* atomic: 1 while a poll waits on `dispatch` */
    IODispatchQueue *dispatch;
    IOUserNetworkTxSubmissionQueue *txSubmit;
    IOUserNetworkTxCompletionQueue *txComplete;
    IOUserNetworkRxSubmissionQueue *rxSubmit;
    IOUserNetworkRxCompletionQueue *rxComplete;
    IODataQueueDispatchSource *txSource;
    IODataQueueDispatchSource *rxSource;
    OSAction *txAction;
    OSAction *rxAction;
    weir_glue_counters counters; /* relaxed atomics */
};

/* How a NIC class with hardware behind it reaches that; the virtual NIC has none. A subclass of WeirEthernet sets
 * `bus` in init(); every function runs on Default. */
struct Bus {
    /* Takes the provider, sets `device` and what the personality leaves open in `settings`. close() undoes any part. */
    kern_return_t (*open)(WeirEthernet *nic, IOService *provider);
    /* Adds the operation tables of the hardware. */
    void (*describe)(WeirEthernet *nic, weir_ops &ops);
    /* The core and the packet queues are there: interrupts and the like may begin. */
    kern_return_t (*start)(WeirEthernet *nic);
    /* Cancels its sources and actions as cancelAll() does. */
    void (*cancel)(WeirEthernet *nic, uint32_t *pending, void (^cancelled)(void));
    /* The core is gone and nothing runs any more. */
    void (*close)(WeirEthernet *nic);
    /* The core is about to go: on return nothing of the hardware calls it any more. May be null. */
    void (*stop)(WeirEthernet *nic);
};

} // namespace weir

struct WeirEthernet_IVars {
    IOLock *control;
    IOLock *clients;
    IODispatchQueue *defaultQueue;
    IOUserNetworkPacketBufferPool *pool;
    uint32_t bufferSize;

    weir_core *core; /* null before Start and after Stop; changed under `control` with the data path at rest */
    uint32_t running; /* atomic: the data path may touch the core */
    bool registered;
    bool enabled; /* the stack brought the interface up */
    bool powered;
    bool stopping;

    const weir::Bus *bus; /* null for the virtual NIC; set by the subclass's init() */
    IOService *provider;  /* borrowed, between Start and Stop */
    IOService *device;    /* borrowed; what DMA addresses are for; null for a NIC that does no DMA */
    weir_hardware hardware;
    IOTimerDispatchSource *watchdog; /* null when the core needs none */
    OSAction *watchdogAction;
    uint32_t attention; /* atomic: 1 while a block on Default is going to look after the device */
    uint64_t recoveries; /* times the data path was restarted because the device failed */

    weir::Settings settings;
    uint32_t assists; /* kIOUserNetworkHWAssist* that are on */
    MediaWord chosenMedia;

    uint32_t queueCount; /* queues[0..queueCount] were begun */
    weir::Queue queues[WEIR_QUEUES_MAX];

    uint32_t stopsPending; /* atomic: cancellations until super::Stop */

    uint32_t notifyPending; /* atomic: WEIR_NOTIFY_* that a block on Default is going to tell about */
    uint32_t notifyQueues;  /* atomic: argument of WEIR_NOTIFY_WIRE */
    WeirUserClient *clientList;
    WeirUserClient *wireClient; /* under `control`: its memory is attached to the core */
    uint32_t notifyTaps;        /* atomic: the taps that WEIR_NOTIFY_TAP is about */
    WeirUserClient *tapClients[WEIR_TAPS_MAX]; /* under `control`, changed under `clients` too */
};

namespace weir {

/* Counts that other threads read while they grow. */
inline void count(uint64_t &counter, uint64_t n = 1) { __atomic_fetch_add(&counter, n, __ATOMIC_RELAXED); }

/* Holds an IOLock for a scope. */
class Locked {
public:
    explicit Locked(IOLock *lock) : lock_(lock) { IOLockLock(lock_); }
    ~Locked() { IOLockUnlock(lock_); }
    Locked(const Locked &) = delete;
    Locked &operator=(const Locked &) = delete;

private:
    IOLock *lock_;
};

/* WeirCore.cpp */
IOReturn toIOReturn(weir_status status);

/* Adds one to `pending` and cancels a source or an action; runs `cancelled` here if it cannot be cancelled. Null is
 * allowed. */
template <typename T> void cancelOne(T *object, uint32_t *pending, void (^cancelled)(void))
{
    if (object == nullptr) {
        return;
    }
    __atomic_add_fetch(pending, 1, __ATOMIC_SEQ_CST);
    if (object->Cancel(cancelled) != kIOReturnSuccess) {
        cancelled();
    }
}

/* WeirConfig.cpp: reads and validates the personality. Logs the key and what it allows on kIOReturnBadArgument. */
kern_return_t readSettings(WeirEthernet *nic, Settings &out);
uint32_t bufferSizeFor(const Settings &settings);

/* WeirCore.cpp: the core and its operation tables. */
kern_return_t createCore(WeirEthernet *nic);
void destroyCore(WeirEthernet *nic);

/* WeirQueues.cpp: packet queues of all pairs. */
kern_return_t createPool(WeirEthernet *nic);
kern_return_t createQueues(WeirEthernet *nic);
void releaseQueues(WeirEthernet *nic);
kern_return_t enableQueues(WeirEthernet *nic);
void disableQueues(WeirEthernet *nic);

/* WeirDatapath.cpp */
void schedulePoll(Queue &queue);
/* Starts the data path of every pair; the interface's queues are enabled. */
kern_return_t startDatapath(WeirEthernet *nic);
/* On return no pair touches the core any more, and every packet that the core had is back with its owner. */
void quiesceDatapath(WeirEthernet *nic);
/* Waits until everything that was put on a pair's queue has run. */
void drainQueues(WeirEthernet *nic);
void sumCounters(WeirEthernet *nic, weir_glue_counters &out);

/* The data path may touch the core. On a pair's queue it stays so to the end of what runs there. */
bool isRunning(WeirEthernet *nic);
/* Serves a pair at once on its own queue, or soon. */
void pollHere(Queue &queue);

/* WeirWatchdog.cpp */
kern_return_t createWatchdog(WeirEthernet *nic);
void releaseWatchdog(WeirEthernet *nic);
void armWatchdog(WeirEthernet *nic);
/* Looks after the device soon, before the watchdog does. Any thread. */
void requestAttention(WeirEthernet *nic);

/* WeirOffload.cpp: offload metadata between the packet's terms and the core's. */
bool describeTxOffload(IOUserNetworkPacket *packet, weir_pkt &pkt);
bool setRxMetadata(IOUserNetworkPacket *packet, const weir_pkt &pkt);
uint32_t toAssists(uint32_t offloads);
uint32_t toOffloads(uint32_t assists);

/* WeirInterface.cpp */
MediaWord activeMedia(WeirEthernet *nic, const weir_link &link);
kern_return_t reportMedia(WeirEthernet *nic);
IOReturn reportLink(WeirEthernet *nic);
/* Brings the data path in line with `enabled`, `powered` and `stopping`. */
kern_return_t applyState(WeirEthernet *nic);

/* WeirUserClient.cpp: tells every client that asked, soon, from Default. Any thread. */
void notifyClients(WeirEthernet *nic, uint32_t kinds, uint32_t queues);
/* The wire's memory goes away with its client or with the core. `control` is held. */
void detachWireLocked(WeirEthernet *nic);
/* The same for the taps: of `client`, or of all clients if it is null. */
void detachTapsLocked(WeirEthernet *nic, const WeirUserClient *client);
kern_return_t setClientType(IOService *service, uint32_t type, IOUserClient **client);

} // namespace weir

#endif /* WEIR_DEXT_H */
