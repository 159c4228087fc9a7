// SPDX-License-Identifier: MIT OR Apache-2.0
// Looks after a device that may hang: asks the core now and then, and restarts the data path when it says so.

#include "weir_dext.h"

#include <time.h>

namespace weir {
namespace {

constexpr uint64_t kNsPerMs = 1000000;

/* Everything that the device had comes back and is completed; the core resets the device on the way up. */
void recover(WeirEthernet *nic)
{
    count(nic->ivars->recoveries);
    quiesceDatapath(nic);
    const kern_return_t ret = applyState(nic);
    if (ret != kIOReturnSuccess) {
        WEIR_LOG("the device does not come back after a reset: 0x%08x", ret);
    }
}

void look(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    if (ivars->stopping || ivars->core == nullptr || !ivars->enabled || !ivars->powered) {
        return;
    }
    uint32_t broken = 0;
    {
        Locked lock(ivars->control);
        broken = weir_tick(ivars->core);
    }
    if (broken != 0) {
        WEIR_LOG("the device failed: it is reset");
        recover(nic);
    }
    armWatchdog(nic);
}

} // namespace

kern_return_t createWatchdog(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    if (ivars->hardware.tick_ms == 0) {
        return kIOReturnSuccess;
    }
    kern_return_t ret = IOTimerDispatchSource::Create(ivars->defaultQueue, &ivars->watchdog);
    if (ret == kIOReturnSuccess) {
        ret = nic->CreateActionWatchdogFired(0, &ivars->watchdogAction);
    }
    if (ret == kIOReturnSuccess) {
        ret = ivars->watchdog->SetHandler(ivars->watchdogAction);
    }
    return ret;
}

void releaseWatchdog(WeirEthernet *nic)
{
    OSSafeReleaseNULL(nic->ivars->watchdog);
    OSSafeReleaseNULL(nic->ivars->watchdogAction);
}

void armWatchdog(WeirEthernet *nic)
{
    WeirEthernet_IVars *ivars = nic->ivars;
    if (ivars->watchdog == nullptr || ivars->stopping) {
        return;
    }
    const uint64_t interval = ivars->hardware.tick_ms * kNsPerMs;
    const uint64_t now = clock_gettime_nsec_np(CLOCK_UPTIME_RAW);
    const kern_return_t ret = ivars->watchdog->WakeAtTime(kIOTimerClockUptimeRaw, now + interval, interval / 4);
    if (ret != kIOReturnSuccess) {
        WEIR_LOG("the watchdog cannot be armed: 0x%08x", ret);
    }
}

void requestAttention(WeirEthernet *nic)
{
    if (__atomic_exchange_n(&nic->ivars->attention, 1, __ATOMIC_SEQ_CST) != 0) {
        return;
    }
    nic->retain();
    nic->ivars->defaultQueue->DispatchAsync(^{
      /* Before the look: whoever asks from now on gets another one. */
      __atomic_store_n(&nic->ivars->attention, 0, __ATOMIC_SEQ_CST);
      look(nic);
      nic->release();
    });
}

} // namespace weir

void WeirEthernet::WatchdogFired_Impl(OSAction *, uint64_t) { weir::look(this); }
