// SPDX-License-Identifier: MIT OR Apache-2.0
// The NIC's life: init, Start, sleep and wake, Stop, free.

#include "weir_dext.h"

#include <string.h>

#include <DriverKit/IOUserClient.h>

#undef super
#define super IOUserNetworkEthernet

namespace weir {
namespace {

kern_return_t copyDefaultQueue(WeirEthernet *nic)
{
    return nic->CopyDispatchQueue(kIOServiceDefaultQueueName, &nic->ivars->defaultQueue);
}

kern_return_t settings(WeirEthernet *nic) { return readSettings(nic, nic->ivars->settings); }

/* The overload that carries the address where there is one: the other leaves the family's descriptor without. */
kern_return_t registerInterface(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    IOUserNetworkPacketQueue *queues[4 * WEIR_QUEUES_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < ivars->queueCount; ++i) {
        Queue &queue = ivars->queues[i];
        queues[n++] = queue.txSubmit;
        queues[n++] = queue.rxSubmit;
        queues[n++] = queue.txComplete;
        queues[n++] = queue.rxComplete;
    }
    ether_addr_t mac = {};
    memcpy(mac.octet, ivars->settings.config.mac, sizeof(mac.octet));

    kern_return_t ret = kIOReturnUnsupported;
    if (WEIR_AVAILABLE(24.0)) {
        ret = nic->registerEthernetInterface(mac, queues, n, ivars->pool, ivars->pool);
    } else if (WEIR_AVAILABLE(22.0)) {
        ret = nic->registerEthernetInterface(queues, n, ivars->pool, ivars->pool);
    } else {
        ret = nic->RegisterEthernetInterface(mac, ivars->pool, queues, n);
    }
    ivars->registered = ret == kIOReturnSuccess;
    return ret;
}

kern_return_t openBus(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    return ivars->bus == nullptr ? kIOReturnSuccess : ivars->bus->open(nic, ivars->provider);
}

kern_return_t startBus(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    return ivars->bus == nullptr ? kIOReturnSuccess : ivars->bus->start(nic);
}

kern_return_t registerService(WeirEthernet *nic) { return nic->RegisterService(); }

struct Step {
    const char *what;
    kern_return_t (*run)(WeirEthernet *nic);
};

/* In this order; releaseAll() undoes any number of them. The stack can call only after the last one, because Start
 * itself occupies the Default queue. */
const Step kSteps[] = {
    {"read the personality", settings},
    {"copy the Default queue", copyDefaultQueue},
    {"open the device", openBus},
    {"create the core", createCore},
    {"create the packet pool", createPool},
    {"create the packet queues", createQueues},
    {"create the watchdog", createWatchdog},
    {"start the device's interrupts", startBus},
    {"report the media", reportMedia},
    {"register the interface", registerInterface},
    {"register the service", registerService},
};

/* Cancels every source and action. `cancelled` runs once for each of them and once for the caller, at once or later;
 * for one that cannot be cancelled, whose handler will never run, here. `pending` is how many are still to come. */
void cancelAll(WeirEthernet *nic, uint32_t *pending, void (^cancelled)(void))
{
    WeirEthernet_IVars *ivars = nic->ivars;
    __atomic_store_n(pending, 1, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < ivars->queueCount; ++i) {
        Queue &queue = ivars->queues[i];
        IODataQueueDispatchSource *const sources[] = {queue.txSource, queue.rxSource};
        for (IODataQueueDispatchSource *source : sources) {
            cancelOne(source, pending, cancelled);
        }
        OSAction *const actions[] = {queue.txAction, queue.rxAction};
        for (OSAction *action : actions) {
            cancelOne(action, pending, cancelled);
        }
    }
    cancelOne(ivars->watchdog, pending, cancelled);
    cancelOne(ivars->watchdogAction, pending, cancelled);
    if (ivars->bus != nullptr) {
        ivars->bus->cancel(nic, pending, cancelled);
    }
    cancelled();
}

void releaseAll(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    destroyCore(nic);
    releaseQueues(nic);
    releaseWatchdog(nic);
    if (ivars->bus != nullptr) {
        ivars->bus->close(nic);
    }
    ivars->device = nullptr;
    ivars->provider = nullptr;
    OSSafeReleaseNULL(ivars->defaultQueue);
    ivars->registered = false;
}

/* Off is 0 in capability flags and in ordinals alike; a reduced state is no reason for a virtual NIC to rest. */
kern_return_t setPower(WeirEthernet *nic, unsigned long state)
{
    nic->ivars->powered = state != kIOServicePowerCapabilityOff;
    const kern_return_t ret = applyState(nic);
    if (ret != kIOReturnSuccess || !nic->ivars->powered || !nic->ivars->enabled) {
        return ret;
    }
    return reportLink(nic);
}

} // namespace
} // namespace weir

bool WeirEthernet::init()
{
    if (!super::init()) {
        return false;
    }
    ivars = IONewZero(WeirEthernet_IVars, 1);
    if (ivars == nullptr) {
        return false;
    }
    ivars->control = IOLockAlloc();
    ivars->clients = IOLockAlloc();
    return ivars->control != nullptr && ivars->clients != nullptr;
}

void WeirEthernet::free()
{
    if (ivars != nullptr) {
        if (ivars->control != nullptr) {
            IOLockFree(ivars->control);
        }
        if (ivars->clients != nullptr) {
            IOLockFree(ivars->clients);
        }
        IOSafeDeleteNULL(ivars, WeirEthernet_IVars, 1);
    }
    super::free();
}

kern_return_t WeirEthernet::Start_Impl(IOService *provider)
{
    kern_return_t ret = Start(provider, SUPERDISPATCH);
    if (ret != kIOReturnSuccess) {
        WEIR_LOG("Start: super: 0x%08x", ret);
        return ret;
    }
    /* Nothing is taken over from an earlier life, of this object or of a process that crashed. */
    ivars->enabled = false;
    ivars->powered = true;
    ivars->stopping = false;
    ivars->chosenMedia = kIOUserNetworkMediaEthernetAuto;
    ivars->provider = provider;

    for (const weir::Step &step : weir::kSteps) {
        ret = step.run(this);
        if (ret != kIOReturnSuccess) {
            WEIR_LOG("Start: cannot %{public}s: 0x%08x", step.what, ret);
            ivars->stopping = true;
            /* Breaks the circle of sources, actions and this. No handler can run: nothing was ever enabled. */
            uint32_t pending = 0;
            weir::cancelAll(this, &pending, ^{
            });
            weir::releaseAll(this);
            (void)Stop(provider, SUPERDISPATCH);
            return ret;
        }
    }
    return kIOReturnSuccess;
}

/* Asynchronous: Stop runs on the serial queue that the cancel handlers need, so it cannot wait for them. The last
 * handler passes the call on. */
kern_return_t WeirEthernet::Stop_Impl(IOService *provider)
{
    if (__atomic_load_n(&ivars->stopsPending, __ATOMIC_SEQ_CST) != 0) {
        return kIOReturnSuccess;
    }
    const bool wasEnabled = ivars->enabled;
    ivars->stopping = true;
    ivars->enabled = false;
    (void)weir::applyState(this);
    if (wasEnabled) {
        weir::disableQueues(this);
    }
    weir::destroyCore(this);

    this->retain();
    provider->retain();
    void (^done)(void) = ^{
      if (__atomic_sub_fetch(&ivars->stopsPending, 1, __ATOMIC_SEQ_CST) != 0) {
          return;
      }
      weir::releaseAll(this);
      const kern_return_t ret = Stop(provider, SUPERDISPATCH);
      if (ret != kIOReturnSuccess) {
          WEIR_LOG("Stop: super: 0x%08x", ret);
      }
      provider->release();
      this->release();
    };

    weir::cancelAll(this, &ivars->stopsPending, done);
    return kIOReturnSuccess;
}

kern_return_t WeirEthernet::SetPowerState_Impl(uint32_t powerFlags)
{
    const kern_return_t applied = weir::setPower(this, powerFlags);
    /* super acknowledges the change: the NIC must be at rest, or back, by then. */
    const kern_return_t ret = SetPowerState(powerFlags, SUPERDISPATCH);
    return ret != kIOReturnSuccess ? ret : applied;
}

IOReturn WeirEthernet::setPowerState(unsigned long powerState, IOService *whatDevice)
{
    const kern_return_t applied = weir::setPower(this, powerState);
    const IOReturn ret = super::setPowerState(powerState, whatDevice);
    return ret != kIOReturnSuccess ? ret : applied;
}

kern_return_t WeirEthernet::NewUserClient_Impl(uint32_t type, IOUserClient **userClient)
{
    if (type != WEIR_CLIENT_CONTROL && type != WEIR_CLIENT_WIRE) {
        return kIOReturnBadArgument;
    }
    if (ivars->stopping || ivars->core == nullptr) {
        return kIOReturnNotReady;
    }
    IOService *service = nullptr;
    kern_return_t ret = Create(this, "UserClientProperties", &service);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    ret = weir::setClientType(service, type, userClient);
    if (ret != kIOReturnSuccess) {
        service->release();
    }
    return ret;
}
