/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Messages between generated stubs and dispatchers, and the class descriptions that generated code registers.
 *
 * Everything runs in one process, so a message carries plain values and pointers; there are no port descriptors
 * and no separate reply: out parameters are written through the caller's pointers and the result is the return
 * value of Invoke and Dispatch. host/include/README.md has the whole contract.
 */
#ifndef WEIR_DRIVERKIT_IORPC_H
#define WEIR_DRIVERKIT_IORPC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t natural_t;
typedef int32_t integer_t;
typedef natural_t mach_port_t;
typedef natural_t mach_port_name_t;
#ifndef MACH_PORT_NULL
#define MACH_PORT_NULL 0
#endif
typedef natural_t mach_msg_size_t;
typedef integer_t mach_msg_id_t;
typedef unsigned int mach_msg_bits_t;

typedef int kern_return_t;
#ifndef KERN_SUCCESS
#define KERN_SUCCESS 0
#endif

typedef struct {
    mach_msg_bits_t msgh_bits;
    mach_msg_size_t msgh_size;
    mach_port_t msgh_remote_port;
    mach_port_t msgh_local_port;
    mach_port_name_t msgh_voucher_port;
    mach_msg_id_t msgh_id;
} mach_msg_header_t;

typedef struct {
    mach_msg_size_t msgh_descriptor_count;
} mach_msg_body_t;

/* A pointer to an OSObject, stored in a message as an integer. */
typedef uint64_t OSObjectRef;

enum {
    kIORPCVersion190615 = (mach_msg_id_t)0x4da2b68c,
    kIORPCVersion190615Reply = (mach_msg_id_t)0x4da2b68d,
};

/* IORPCMessage.flags */
enum {
    kIORPCMessageRemote = 0x00000001,
    kIORPCMessageLocalHost = 0x00000002,
    kIORPCMessageKernel = 0x00000004,
    /* The method returns void: the caller does not wait, the message may be copied and delivered later. */
    kIORPCMessageOneway = 0x00000008,
    kIORPCMessageObjectRefs = 0x00000010,
    kIORPCMessageOnqueue = 0x00000020,
    kIORPCMessageError = 0x00000040,
    kIORPCMessageSimpleReply = 0x00000080,
    /* Linux runtime: objects[0] is the OSAction the callback goes through, not the receiver itself. */
    kIORPCMessageAction = 0x00010000,
};

/* Set in the message ids of framework methods, clear in those of a dext's own methods. */
enum : uint64_t {
    kIORPCMessageIDKernel = 1ULL << 63,
};

struct IORPCMessageMach {
    mach_msg_header_t msgh;
    mach_msg_body_t msgh_body;
    uint32_t reserved;
};
typedef struct IORPCMessageMach IORPCMessageMach;

/* objects[0] is the receiver. Bit n of objectRefs: the 8-byte word n, counted from msgid, is an OSObjectRef. */
struct IORPCMessage {
    uint64_t msgid;
    uint64_t flags;
    uint64_t objectRefs;
    OSObjectRef objects[0];
};
typedef struct IORPCMessage IORPCMessage;

static_assert(sizeof(IORPCMessageMach) == 32 && sizeof(IORPCMessage) == 24, "message layout");

static inline IORPCMessage *
IORPCMessageFromMach(IORPCMessageMach * msg, bool reply)
{
    (void)reply;
    return (IORPCMessage *)(msg + 1);
}

class OSMetaClassBase;
class OSMetaClass;
struct IORPC;
typedef kern_return_t (*OSDispatchMethod)(OSMetaClassBase * self, const IORPC rpc);

struct IORPC {
    IORPCMessageMach * message;
    IORPCMessageMach * reply;
    /* Bytes at message, header included: what has to be copied to keep the message. */
    uint32_t sendSize;
    uint32_t replySize;
};
typedef struct IORPC IORPC;

/* ---- class descriptions -------------------------------------------------------------------------------- */

enum {
    kOSClassCanRemote = 0x00000001,
};

/* OSMethodDescription.flags */
enum {
    /* Declared by this class, not an override. */
    kOSMethodIntroduced = 0x00000001,
    /* A static method: dispatched by the metaclass. */
    kOSMethodStatic = 0x00000002,
    /* No implementation in this class: some subclass has to override it. */
    kOSMethodPure = 0x00000004,
    /* Returns void without waiting. */
    kOSMethodOneway = 0x00000008,
    /* An OSAction callback; CreateAction<name>() makes actions for it. */
    kOSMethodAction = 0x00000010,
};

struct OSMethodDescription {
    uint64_t msgid;
    /* "Class::Method", the class that introduced the method; static storage. */
    const char * name;
    /* Queue the method runs on; NULL: the object's default queue. */
    const char * queueName;
    uint64_t flags;
};

struct OSClassDescription {
    uint32_t descriptionSize;
    uint32_t methodCount;
    char name[96];
    char superName[96];
    uint64_t flags;
    /* Every dispatched method that this class introduces or overrides. */
    const OSMethodDescription * methods;
};

/* ---- how a parameter is stored in a message -------------------------------------------------------------- */

template <class T> struct IORPCUnqualified { using type = T; };
template <class T> struct IORPCUnqualified<const T> { using type = T; };

/* Calls that wait: arrays travel as pointers to the caller's memory. */
template <class T> struct IORPCField {
    using type = typename IORPCUnqualified<T>::type;
};
template <class T, size_t N> struct IORPCField<T[N]> {
    using type = T *;
};
template <class T, size_t N> struct IORPCField<const T[N]> {
    using type = const T *;
};

/* Calls that do not wait: arrays are copied into the message. */
template <class T> struct IORPCCopiedField {
    using type = typename IORPCUnqualified<T>::type;
    static bool Store(type & field, T value, size_t) { field = value; return true; }
    static T Load(const type & field) { return field; }
};
template <class T, size_t N> struct IORPCCopiedField<T[N]> {
    using Element = typename IORPCUnqualified<T>::type;
    struct type { Element data[N]; };
    /* count: elements at value; false if they do not fit. */
    static bool Store(type & field, const Element * value, size_t count)
    {
        if (count > N) return false;
        if (value) memcpy(field.data, value, count * sizeof(Element));
        return true;
    }
    static T * Load(const type & field) { return const_cast<Element *>(field.data); }
    static constexpr size_t kCount = N;
};
template <class T> struct IORPCCount { static constexpr size_t value = 1; };
template <class T, size_t N> struct IORPCCount<T[N]> { static constexpr size_t value = N; };

#endif /* WEIR_DRIVERKIT_IORPC_H */
