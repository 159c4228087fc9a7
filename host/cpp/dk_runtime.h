/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The contract between the DriverKit object layer (C++, host/cpp/) and the runtime engine (Rust, host/src/).
 * The object layer owns every C++ object (vtables, ivars, OSAction, containers); the engine owns queues, time,
 * memory, packets, the registry and the ledger.
 *
 * Conventions
 *  - `dk_ret` is an IOReturn. Functions that make something return the handle and put the reason into *err
 *    (may be null) when they return null.
 *  - Handles are reference counted where a _retain/_release pair exists. "takes" means that the callee owns the
 *    argument from then on, also when the call fails; "borrows" means it does not.
 *  - A callback is called with the engine's locks released; it may call any function here.
 *  - `site` is a code address that tells where in the dext a call came from (__builtin_return_address(0) in the
 *    outermost C++ method); null = unknown. It is only used for messages.
 *  - Unless a function says otherwise it may be called from any thread.
 *  - Functions without a runtime (static constructors before Host::new, exit handlers) do nothing and return
 *    kIOReturnNotReady or null; dk_obj_*, dk_class_register and dk_log always work.
 *  - Fault injection: the object layer asks dk_fault() with Apple's name of the call ("IOTimerDispatchSource::Create")
 *    at the top of every call that can fail, before any effect, and passes the error that is natural for it.
 *    The engine never injects by itself, so that one call is counted once.
 */
#ifndef DK_RUNTIME_H
#define DK_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define DK_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define DK_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

#define DK_ABI_VERSION 1u

typedef int32_t dk_ret; /* IOReturn */

typedef struct dk_obj dk_obj;         /* ledger entry of one C++ object */
typedef struct dk_queue dk_queue;     /* IODispatchQueue */
typedef struct dk_source dk_source;   /* IODispatchSource of any kind */
typedef struct dk_mem dk_mem;         /* IOMemoryDescriptor */
typedef struct dk_map dk_map;         /* IOMemoryMap */
typedef struct dk_dma dk_dma;         /* IODMACommand */
typedef struct dk_pool dk_pool;       /* IOUserNetworkPacketBufferPool */
typedef struct dk_netq dk_netq;       /* IOUserNetworkPacketQueue of any kind */
typedef struct dk_poller dk_poller;   /* IOUserNetworkPacketPoller */
typedef struct dk_service dk_service; /* IOService: registry entry, queues, state */
typedef struct dk_prop dk_prop;       /* property tree */
typedef struct dk_async dk_async;     /* completion of an asynchronous user client call */

/* One piece of work. Called exactly once: run = true to execute, false when it is dropped (queue cancelled, host
 * gone); either way it releases what ctx holds. */
typedef void (*dk_work)(void *ctx, bool run);

/* A handler that is called many times (an OSAction or an action function). `release` (may be null) is called once,
 * after the last invoke, when the handler is replaced, its source is cancelled and freed, or the host goes. */
typedef struct dk_handler {
    void *ctx;
    void (*invoke)(void *ctx, uint64_t a, uint64_t b);
    void (*release)(void *ctx);
} dk_handler;

/* ---- time, log, boot arguments, faults, violations ---------------------------------------------------------- */

/* Nanoseconds of every clock the dext can name (uptime, monotonic, mach absolute, mach continuous: timebase 1/1).
 * Virtual in simulated mode. */
uint64_t dk_now_ns(void);
/* Wall clock, nanoseconds since 1970; virtual in simulated mode. */
uint64_t dk_wall_ns(void);
/* IOSleep / IODelay. A worker hands its ready queues to the pool first; in simulated mode other queues run on. */
void dk_sleep_ns(uint64_t ns);
/* Random bytes; seeded in simulated mode. */
void dk_random(void *out, size_t len);

/* Writes one line. type: os_log_type_t (0 default, 1 info, 2 debug, 16 error, 17 fault). Text is UTF-8, len bytes. */
void dk_log(uint32_t type, const char *subsystem, const char *text, size_t len);

/* Value of a boot argument ("" for a bare flag) or null. Valid as long as the runtime. */
const char *dk_boot_arg(const char *name);

/* Nonzero while faults are recorded or injected; read through dk_fault() only. */
extern uint32_t dk_fault_active;
dk_ret dk_fault_check(const char *name, dk_ret natural);
/* 0, or the error that this call must return instead of doing anything. For calls that return a count or bool,
 * nonzero means: fail in the natural way (0 accepted, false). */
static inline dk_ret dk_fault(const char *name, dk_ret natural)
{
    return __atomic_load_n(&dk_fault_active, __ATOMIC_RELAXED) ? dk_fault_check(name, natural) : 0;
}

/* Reports a broken rule: prints "dkhost: VIOLATION kind: text" with the place and aborts, unless a test collects.
 * kind: short words, "unbalanced release", "wrong queue", "use after Stop". Returns only when collected. */
void dk_violation(const char *kind, const char *text, const void *site);
/* A defect of the dext that is not fatal. Printed once per text. */
void dk_warning(const char *text, const void *site);

/* ---- ledger of objects ---------------------------------------------------------------------------------------- */

/* Enters a new object with one reference. class_name must live forever (a literal, or a name of the class table). */
dk_obj *dk_obj_new(const char *class_name, void *object, const void *site);
/* A constant (OSBoolean): retain and release do nothing, never a leak. */
dk_obj *dk_obj_new_immortal(const char *class_name, void *object);
void dk_obj_retain(dk_obj *obj, const void *site);
/* Returns the references that are left. 0: the caller frees the object and then calls dk_obj_freed. A release or
 * retain of a dead object is a violation; the entry stays valid (quarantined) for a while after dk_obj_freed so that
 * this is caught; the object layer keeps the freed C++ header that points at it for as long (see
 * DK_OBJ_QUARANTINE). */
uint32_t dk_obj_release(dk_obj *obj, const void *site);
void dk_obj_freed(dk_obj *obj, const void *site);
uint32_t dk_obj_count(const dk_obj *obj);
/* The C++ object, or null once it was freed. */
void *dk_obj_object(const dk_obj *obj);
/* The real class is known late (constructors run base first). */
void dk_obj_set_class(dk_obj *obj, const char *class_name);
/* Not an object of the dext: reported neither as a leak nor in the leak count (the object layer's own wrappers). */
void dk_obj_set_internal(dk_obj *obj);
/* Freed entries are kept for this many later frees. */
#define DK_OBJ_QUARANTINE 256u

/* ---- dispatch queues -------------------------------------------------------------------------------------------- */

/* A serial queue; the caller owns one reference. */
dk_queue *dk_queue_create(const char *name, dk_ret *err);
void dk_queue_retain(dk_queue *queue);
/* The queue goes away after its last item; queued items still run. */
void dk_queue_release(dk_queue *queue);
const char *dk_queue_name(const dk_queue *queue);
/* The C++ wrapper, for CopyDispatchQueue: set once by the object layer, borrowed. The wrapper clears it (null) when
 * freed. Setting returns the wrapper that is in place afterwards (the first one wins). */
void *dk_queue_object(const dk_queue *queue);
void *dk_queue_set_object(dk_queue *queue, void *object);
/* Runs work on the queue, in order. Dropped (run = false) if the queue is cancelled. */
void dk_queue_async(dk_queue *queue, dk_work work, void *ctx);
/* Runs work on the queue and waits. A queue that is already running up-stack is a deadlock (violation). */
void dk_queue_sync(dk_queue *queue, dk_work work, void *ctx, const void *site);
/* Runs work concurrently with the queue's items on the pool; n times with `DispatchConcurrent`. */
void dk_queue_concurrent(dk_queue *queue, dk_work work, void *ctx);
/* True if the caller runs on this queue (also several queues up-stack through sync). */
bool dk_queue_on_queue(const dk_queue *queue);
/* The innermost queue the caller runs on, borrowed; null on a foreign thread. */
dk_queue *dk_queue_current(void);
/* Stops the queue after the running item; waiting items are dropped; then `done` (may be null) runs on the pool, on no
 * queue. Cancelling again only runs `done` again. */
dk_ret dk_queue_cancel(dk_queue *queue, dk_work done, void *ctx);
bool dk_queue_cancelled(const dk_queue *queue);
/* Suspends after the running item; nests. */
void dk_queue_suspend(dk_queue *queue);
void dk_queue_resume(dk_queue *queue);
/* IODispatchQueue::Sleep: on the queue only; lets other items of the queue run until dk_queue_wakeup(event) or
 * deadline_ns (0 = none). Returns 0 or kIOReturnTimeout. */
dk_ret dk_queue_sleep(dk_queue *queue, void *event, uint64_t deadline_ns);
dk_ret dk_queue_wakeup(dk_queue *queue, void *event);
/* Violation "wrong queue" unless the caller runs on the queue. */
void dk_require_queue(const dk_queue *queue, const char *what, const void *site);

/* ---- dispatch sources ------------------------------------------------------------------------------------------- */

void dk_source_retain(dk_source *source);
/* Freeing a source that was not cancelled cancels it. */
void dk_source_release(dk_source *source);
/* Sources start enabled. Disabled: events are kept (timers, interrupt counts, data) and handled when enabled again.
 * `done` (may be null) runs on the source's queue after handlers that were already queued. */
dk_ret dk_source_set_enable(dk_source *source, bool enable, dk_work done, void *ctx);
/* No handler starts after this; `done` (may be null) runs on the source's queue. Again: only runs `done`. */
dk_ret dk_source_cancel(dk_source *source, dk_work done, void *ctx);
bool dk_source_cancelled(const dk_source *source);
dk_queue *dk_source_queue(const dk_source *source); /* borrowed */
/* The main handler: timer: a = time of the call (ns); interrupt: a = count, b = time (ns); data queue: data
 * available. Takes the handler. */
dk_ret dk_source_set_handler(dk_source *source, const dk_handler *handler);

/* Borrows the queue (retains it itself). */
dk_source *dk_timer_create(dk_queue *queue, dk_ret *err);
/* One shot; replaces an earlier deadline. deadline in ns of dk_now_ns; the clock is checked by the object layer.
 * A deadline in the past fires at once. kIOReturnNotReady / kIOReturnOffline after cancel. */
dk_ret dk_timer_wake_at(dk_source *source, uint64_t deadline_ns, uint64_t leeway_ns);

/* Interrupt `index` of a provider. Providers have the interrupts their "IOInterruptCount" property says (default 1);
 * the rest is kIOReturnNoInterrupt. */
dk_source *dk_interrupt_create(dk_service *provider, uint32_t index, dk_queue *queue, dk_ret *err);
/* kIOInterruptType* bits: property "IOInterruptTypes" (array), default edge (0). */
dk_ret dk_interrupt_type(dk_service *provider, uint32_t index, uint64_t *type);
dk_ret dk_interrupt_last(dk_source *source, uint64_t *count, uint64_t *time_ns);
/* Raises the interrupt (device models, tests). */
dk_ret dk_interrupt_raise(dk_service *provider, uint32_t index);

/* IODataQueueDispatchSource: `bytes` of ring in shared memory: u32 size, u32 head, u32 tail, u32 0, then entries
 * {u32 len, data}, each aligned to 4 bytes; head and tail run freely modulo 2^32, a len of 2^32-1 means "go on at the
 * start". bytes: a multiple of 4, else kIOReturnBadArgument. Handlers are edge triggered: data available on empty -> not
 * empty, data serviced (dk_dataq_set_space_handler) on a dequeue after an enqueue found the ring full, or as the Send
 * calls say. */
dk_source *dk_dataq_create(uint64_t bytes, dk_queue *queue, dk_ret *err);
dk_ret dk_dataq_set_space_handler(dk_source *source, const dk_handler *handler);
/* fill / take are called with the ring locked against its own side only. kIOReturnOverrun = full,
 * kIOReturnUnderrun = empty. */
dk_ret dk_dataq_enqueue(dk_source *source, uint32_t len, void (*fill)(void *ctx, void *data, size_t len), void *ctx);
dk_ret dk_dataq_dequeue(dk_source *source, void (*take)(void *ctx, const void *data, size_t len), void *ctx);
dk_ret dk_dataq_peek(dk_source *source, void (*take)(void *ctx, const void *data, size_t len), void *ctx);
/* As above without the notification; *send tells whether dk_dataq_send_* is due. */
dk_ret dk_dataq_enqueue_coalesce(dk_source *source, uint32_t len, bool *send,
                                 void (*fill)(void *ctx, void *data, size_t len), void *ctx);
dk_ret dk_dataq_dequeue_coalesce(dk_source *source, bool *send,
                                 void (*take)(void *ctx, const void *data, size_t len), void *ctx);
void dk_dataq_send_available(dk_source *source);
void dk_dataq_send_serviced(dk_source *source);
bool dk_dataq_can_enqueue(dk_source *source, uint32_t len, uint64_t count);
bool dk_dataq_available(dk_source *source);
/* The ring's memory; the caller owns a reference. */
dk_mem *dk_dataq_copy_memory(dk_source *source, dk_ret *err);
/* True if it is a packet queue's doorbell (dk_netq_copy_source): it carries no bytes, the calls above return
 * kIOReturnUnsupported except set_handler, available. */
bool dk_dataq_is_doorbell(const dk_source *source);

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* kIOMemoryDirection*: In 1, Out 2. */
/* Page-backed, zeroed, mapped in this process. alignment 0 or a power of two. */
dk_mem *dk_mem_create(uint64_t direction, uint64_t capacity, uint64_t alignment, dk_ret *err);
/* Borrows the parent. Length 0 is kIOReturnBadArgument; outside the parent kIOReturnNoSpace. */
dk_mem *dk_mem_sub(uint64_t direction, uint64_t offset, uint64_t length, dk_mem *parent, dk_ret *err);
/* 1..32 descriptors, one after the other. */
dk_mem *dk_mem_multi(uint64_t direction, dk_mem *const *parts, uint32_t count, dk_ret *err);
void dk_mem_retain(dk_mem *mem);
void dk_mem_release(dk_mem *mem);
void *dk_mem_object(const dk_mem *mem);
void *dk_mem_set_object(dk_mem *mem, void *object); /* as dk_queue_set_object */
uint64_t dk_mem_length(const dk_mem *mem);
/* 0..capacity. */
dk_ret dk_mem_set_length(dk_mem *mem, uint64_t length);
/* The engine's own mapping of a descriptor from dk_mem_create (GetAddressRange); kIOReturnUnsupported else. */
dk_ret dk_mem_address(dk_mem *mem, uint64_t *address, uint64_t *length);
/* Copies out of / into any descriptor; bounds checked. */
dk_ret dk_mem_read(dk_mem *mem, uint64_t offset, void *out, uint64_t length);
dk_ret dk_mem_write(dk_mem *mem, uint64_t offset, const void *data, uint64_t length);

/* kIOMemoryMapReadOnly = 0x1000; length 0 = to the end; alignment is a power of two or 0. A new mapping, gone
 * (inaccessible) after release. Borrows mem, holds it. */
dk_map *dk_map_create(dk_mem *mem, uint64_t options, uint64_t address, uint64_t offset, uint64_t length,
                      uint64_t alignment, dk_ret *err);
void dk_map_retain(dk_map *map);
void dk_map_release(dk_map *map);
uint64_t dk_map_address(const dk_map *map);
uint64_t dk_map_length(const dk_map *map);
uint64_t dk_map_offset(const dk_map *map);

typedef struct dk_segment { /* IOAddressSegment */
    uint64_t address;
    uint64_t length;
} dk_segment;

/* IODMACommand. device may be null (kIOReturnBadArgument). max_address_bits 0 = 64. */
dk_dma *dk_dma_create(dk_service *device, uint64_t options, uint64_t max_address_bits, dk_ret *err);
void dk_dma_release(dk_dma *dma); /* still prepared: warning, then completed */
/* Enters the range into the device's IOVA table. *count in: room in segs (1..32), out: used. flags: direction bits. */
dk_ret dk_dma_prepare(dk_dma *dma, uint64_t options, dk_mem *mem, uint64_t offset, uint64_t length, uint64_t *flags,
                      uint32_t *count, dk_segment *segs);
dk_ret dk_dma_complete(dk_dma *dma, uint64_t options);
dk_ret dk_dma_get_preparation(dk_dma *dma, uint64_t *offset, uint64_t *length, dk_mem **mem); /* mem borrowed */
/* Copies between the prepared range and memory. options: kIODMACommandPerformOperationOptionRead 1, Write 2, Zero 4. */
dk_ret dk_dma_perform(dk_dma *dma, uint64_t options, uint64_t dma_offset, uint64_t length, uint64_t data_offset,
                      dk_mem *data);
/* What a device sees at iova, for `length` bytes; write = the device writes. Null and a violation "unmapped DMA
 * access" if any byte is not mapped that way. */
void *dk_iommu_access(dk_service *device, uint64_t iova, uint64_t length, bool write);

#include "dk_network.h"

/* ---- classes ------------------------------------------------------------------------------------------------------ */

typedef struct dk_net_args dk_net_args;
typedef struct dk_ext_args dk_ext_args;
typedef struct dk_net_tso { /* IOUserNetworkTSOOptions */
    uint32_t tso_mtu4;
    uint32_t mss4;
    uint32_t tso_mtu6;
    uint32_t mss6;
} dk_net_tso;

/* Up-calls into an IOService. Every one runs on the object's Default queue (or, for Start of a user client made by
 * dk_service_create_from_property, on its own). Null = not supported (kIOReturnUnsupported). */
typedef struct dk_service_ops {
    bool (*init)(void *object);
    dk_ret (*start)(void *object, void *provider);
    dk_ret (*stop)(void *object, void *provider);
    /* *client: a new object with one reference for the engine. */
    dk_ret (*new_user_client)(void *object, uint32_t type, void **client);
    dk_ret (*set_power_state)(void *object, uint32_t flags);
    /* IOUserClient only. */
    dk_ret (*external_method)(void *object, dk_ext_args *args);
    dk_ret (*copy_client_memory)(void *object, uint64_t type, uint64_t *options, dk_mem **mem); /* mem: one reference */
    void (*client_crashed)(void *object, void *client, uint64_t options);
} dk_service_ops;

/* Up-calls into an IOUserNetworkEthernet, on its Default queue. `lower` says which registration form was used: true =
 * registerEthernetInterface. The object layer calls the lowercase method if the dext overrides it or `lower` is set,
 * else the capital one, and never both for one event (super chains of base classes included). */
typedef struct dk_net_ops {
    dk_ret (*set_interface_enable)(void *object, bool lower, bool enable);
    dk_ret (*set_promiscuous)(void *object, bool lower, bool enable);
    dk_ret (*set_multicast)(void *object, bool lower, const uint8_t (*addresses)[6], uint32_t count);
    dk_ret (*set_all_multicast)(void *object, bool lower, bool enable);
    dk_ret (*set_media)(void *object, bool lower, uint32_t media); /* SelectMediaType | handleChosenMedia */
    dk_ret (*set_wake_on_magic_packet)(void *object, bool lower, bool enable);
    dk_ret (*set_mtu)(void *object, bool lower, uint32_t mtu);
    dk_ret (*get_max_mtu)(void *object, bool lower, uint32_t *mtu);
    dk_ret (*set_assists)(void *object, bool lower, uint32_t assists, uint32_t mask);
    dk_ret (*get_assists)(void *object, bool lower, uint32_t *assists);
    dk_ret (*get_tso_options)(void *object, dk_net_tso *out); /* zeroed by the caller; unsupported = no TSO */
    uint32_t (*get_tx_data_offset)(void *object);
    uint32_t (*get_feature_flags)(void *object);
    dk_ret (*get_mac)(void *object, uint8_t mac[6]);
    dk_ret (*set_mac)(void *object, const uint8_t mac[6]);
    uint32_t (*get_initial_media)(void *object);
    /* *count in: room, out: used. */
    dk_ret (*get_supported_media)(void *object, uint32_t *media, uint32_t *count);
    /* Null or "" = "en". The text is copied. */
    const char *(*get_bsd_prefix)(void *object);
    /* -1 = the engine chooses. */
    int32_t (*get_bsd_unit)(void *object);
    uint32_t (*get_subfamily)(void *object);
    /* SIOCxDRVSPEC: data is in and out. */
    dk_ret (*process_command)(void *object, uint64_t command, void *data, uint64_t *len);
    dk_ret (*bpf_tap)(void *object, uint32_t dlt, uint32_t mode);
} dk_net_ops;

/* A class that can be made by name. All pointers must live as long as the process (or until dk_class_unregister). */
typedef struct dk_class {
    const char *name;
    const char *super;
    /* A new object of class `cls` (this entry: one function serves every class) with one reference; its constructor
     * called dk_service_new. Null = no memory. init() is called by the engine through the ops. */
    void *(*make)(const struct dk_class *cls);
    void (*retain)(void *object);
    void (*release)(void *object);
    dk_service *(*service)(void *object);
    const dk_service_ops *service_ops;
    const dk_net_ops *net_ops; /* null for a class that is not an IOUserNetworkEthernet */
} dk_class;
/* From static constructors. The object layer registers "IOService" and "IOUserResources" itself; the engine makes providers
 * from the personality's IOProviderClass (else "IOService"), without init and Start. A second class of that name replaces the first (a dext that is loaded again). */
void dk_class_register(const dk_class *cls);
void dk_class_unregister(const dk_class *cls);
const dk_class *dk_class_find(const char *name);

/* ---- services ------------------------------------------------------------------------------------------------------ */

/* The registry entry of a new IOService object; from its constructor or init. Borrows object. Makes the "Default"
 * queue. */
dk_service *dk_service_new(void *object, const char *class_name);
/* From the object's destructor. */
void dk_service_free(dk_service *service);
void *dk_service_object(const dk_service *service);
uint64_t dk_service_entry_id(const dk_service *service);
const char *dk_service_class(const dk_service *service);
/* The C++ object of the provider, borrowed; null before Start and for the root. */
void *dk_service_provider(const dk_service *service);
/* IOService::Start and Stop of the base class (the ends of the super chains). dk_service_super_stop is the sign that
 * Stop is finished; calling anything network after it is "use after Stop". */
dk_ret dk_service_super_start(dk_service *service, void *provider);
dk_ret dk_service_super_stop(dk_service *service, void *provider);
dk_ret dk_service_super_set_power_state(dk_service *service, uint32_t flags);
/* RegisterService. kIOReturnNotReady before super::Start. */
dk_ret dk_service_register(dk_service *service);
/* Terminate: Stop of the clients, then of the service; asynchronous. */
dk_ret dk_service_terminate(dk_service *service, uint64_t options);
bool dk_service_started(const dk_service *service);
bool dk_service_stopped(const dk_service *service);
dk_ret dk_service_set_name(dk_service *service, const char *name);
/* The named queue, one reference for the caller; "Default" always exists; null = no such name. */
dk_queue *dk_service_copy_queue(dk_service *service, const char *name);
/* The queue a method with QUEUENAME(name) runs on: the named one or else Default; borrowed. */
dk_queue *dk_service_queue_for(dk_service *service, const char *name);
/* Borrows (retains) queue. "Default" on an IOUserNetworkEthernet is a violation. */
dk_ret dk_service_set_queue(dk_service *service, const char *name, dk_queue *queue, const void *site);
/* A copy of the properties; free with dk_prop_free. */
dk_prop *dk_service_copy_properties(dk_service *service);
/* Replaces or adds the entries of a dictionary. Takes props. */
dk_ret dk_service_set_properties(dk_service *service, dk_prop *props);
/* IOService::Create(this, "UserClientProperties", &out): makes the object named by the dictionary's IOUserClass,
 * calls init and Start(service) on its queue. *out: one reference for the caller. */
dk_ret dk_service_create_from_property(dk_service *service, const char *name, void **out);
/* First registered service that matches the dictionary's entries (IOUserClass / IOClass / IOPropertyMatch); borrowed C++
 * object. */
void *dk_service_find(const dk_prop *matching);

/* Property tree. Lengths in bytes. All are values: dk_prop_set and append take the child. */
enum { DK_PROP_NULL = 0, DK_PROP_BOOL = 1, DK_PROP_NUMBER = 2, DK_PROP_STRING = 3, DK_PROP_DATA = 4, DK_PROP_ARRAY = 5,
       DK_PROP_DICT = 6 };
dk_prop *dk_prop_bool(bool value);
dk_prop *dk_prop_number(uint64_t value, uint32_t bits);
dk_prop *dk_prop_string(const char *text, size_t len);
dk_prop *dk_prop_data(const void *data, size_t len);
dk_prop *dk_prop_array(void);
dk_prop *dk_prop_dict(void);
dk_prop *dk_prop_copy(const dk_prop *prop);
void dk_prop_free(dk_prop *prop);
void dk_prop_append(dk_prop *array, dk_prop *child);
void dk_prop_set(dk_prop *dict, const char *key, size_t key_len, dk_prop *child);
uint32_t dk_prop_type(const dk_prop *prop);
uint64_t dk_prop_value(const dk_prop *prop, uint32_t *bits);              /* number, bool */
const void *dk_prop_bytes(const dk_prop *prop, size_t *len);             /* string (not terminated), data */
size_t dk_prop_count(const dk_prop *prop);                               /* array, dict */
const dk_prop *dk_prop_at(const dk_prop *prop, size_t i, const char **key, size_t *key_len); /* borrowed */
const dk_prop *dk_prop_get(const dk_prop *dict, const char *key);        /* borrowed */

/* ---- IOUserNetworkEthernet ----------------------------------------------------------------------------------------- */

typedef struct dk_net_register {
    bool lower;       /* registerEthernetInterface (lowercase) */
    bool has_mac;     /* else get_mac is asked */
    uint8_t mac[6];
    dk_pool *tx_pool; /* borrowed; the older forms pass one pool for both */
    dk_pool *rx_pool;
    dk_netq *const *queues;
    uint32_t count;
} dk_net_register;
/* Checks kinds, pools and media list, asks MTU, assists and TSO once, gives a BSD name and makes the port.
 * kIOReturnNotReady before super::Start or the media list, kIOReturnBadArgument, kIOReturnExclusiveAccess if done. */
dk_ret dk_net_register_interface(dk_service *service, const dk_net_register *args, const void *site);
/* Before registration only (kIOReturnNotPermitted later). */
dk_ret dk_net_set_tx_headroom(dk_service *service, uint32_t bytes);
dk_ret dk_net_set_tx_tailroom(dk_service *service, uint32_t bytes);
dk_ret dk_net_set_wake_on_magic_packet_support(dk_service *service, bool supported);
dk_ret dk_net_set_software_vlan_support(dk_service *service, bool supported);
dk_ret dk_net_report_media(dk_service *service, const uint32_t *media, uint32_t count);
/* Status Inactive 1, Active 3, ... ; media word. Reports before the interface is being enabled are discarded. */
dk_ret dk_net_report_link(dk_service *service, uint32_t status, uint32_t media, const void *site);
dk_ret dk_net_report_quality(dk_service *service, int32_t quality);
dk_ret dk_net_report_bandwidths(dk_service *service, uint64_t max_in, uint64_t max_out, uint64_t eff_in,
                                uint64_t eff_out);
dk_ret dk_net_report_nic_proxy_limits(dk_service *service, const void *limits, size_t len);
dk_ret dk_net_bpf_attach(dk_service *service, uint32_t dlt, uint32_t header_len);
void dk_net_bpf_tap(dk_service *service, bool input, uint32_t dlt, const dk_packet *packet, const void *header,
                    size_t header_len);
/* "" before registration; valid as long as the service. */
const char *dk_net_bsd_name(const dk_service *service);
bool dk_net_registered(const dk_service *service);
dk_ret dk_net_add_hardware_counts(dk_service *service, const uint64_t counts[11]);
/* The 11 IOUserNetworkStatistics values as the kernel counts them: packets in, out, bytes in, out, errors in, out,
 * multicasts in, out, dropped, collisions, no protocol. */
void dk_net_statistics(const dk_service *service, uint64_t counts[11]);

/* ---- IOUserClient --------------------------------------------------------------------------------------------------- */

#define DK_SCALARS_MAX 16u
#define DK_STRUCT_INLINE_MAX 4096u /* larger inputs and outputs come as descriptors */

struct dk_ext_args {
    uint64_t selector;
    const uint64_t *scalar_in;
    uint32_t scalar_in_count;
    uint32_t scalar_out_count;  /* in: room, out: used (<= room) */
    uint64_t *scalar_out;
    const void *struct_in;      /* null when a descriptor is given or there is none */
    uint64_t struct_in_len;
    dk_mem *struct_in_mem;      /* borrowed */
    dk_mem *struct_out_mem;     /* borrowed */
    uint64_t struct_out_max;    /* structureOutputMaximumSize */
    bool has_struct_in;         /* distinguishes an empty structure from none */
    uint8_t reserved[7];
    dk_async *async;            /* completion, borrowed; null = synchronous call */
    void *reply;                /* the engine's, for dk_ext_set_output */
};
/* Copies the structure output (at most struct_out_max, else kIOReturnMessageTooLarge). */
dk_ret dk_ext_set_output(dk_ext_args *args, const void *data, size_t len);
void dk_async_retain(dk_async *async);
void dk_async_release(dk_async *async);
/* AsyncCompletion: up to DK_SCALARS_MAX values. May be called several times. */
dk_ret dk_async_complete(dk_async *async, dk_ret status, const uint64_t *values, uint32_t count);
/* Entitlements of the process behind a user client, a dictionary; free with dk_prop_free. Null: no client. */
dk_prop *dk_client_entitlements(dk_service *client);
/* Memory of the client by its own addresses (CreateMemoryDescriptorFromClient): 1..32 segments, each inside a region
 * that the client offered. The caller owns a reference. */
dk_mem *dk_client_memory(dk_service *client, uint64_t direction, const dk_segment *segs, uint32_t count, dk_ret *err);

#ifdef __cplusplus
}
#endif

#endif /* DK_RUNTIME_H */
