// SPDX-License-Identifier: MIT OR Apache-2.0
// IOLib: memory, time, boot arguments, CRC, one-time calls. Time comes from the engine, so that it is virtual in
// simulated mode.

#include "runtime.h"

#include <DriverKit/IOLib.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <time.h>
#include <unistd.h>

uint64_t IOVMPageSize = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));

// ---- memory ------------------------------------------------------------------------------------------------------

namespace {

// IOFree must be told the size that IOMalloc was: keep it in front of the block and compare.
struct alignas(16) Block {
    size_t length;
    uint64_t state;
};
constexpr uint64_t kLive = 0x57454952'4c495645;
constexpr uint64_t kDead = 0x57454952'44454144;

void *allocate(const char *method, size_t length, bool zero)
{
    size_t whole = 0;
    if (__builtin_add_overflow(length, sizeof(Block), &whole) ||
        (method != nullptr && dk::fault(method) != kIOReturnSuccess)) {
        return nullptr;
    }
    auto *header = static_cast<Block *>(zero ? std::calloc(1, whole) : std::malloc(whole));
    if (header == nullptr) {
        return nullptr;
    }
    header->length = length;
    header->state = kLive;
    return header + 1;
}

} // namespace

void *dk::alloc_block(size_t length) { return allocate(nullptr, length, true); }

size_t dk::block_length(const void *address) { return (static_cast<const Block *>(address) - 1)->length; }

extern "C" void *IOMalloc(size_t length) { return allocate("IOMalloc", length, false); }

extern "C" void *IOMallocZero(size_t length) { return allocate("IOMallocZero", length, true); }

extern "C" void *IOMallocTyped(size_t length, malloc_type_id_t) { return allocate("IOMalloc", length, false); }

extern "C" void *IOMallocZeroTyped(size_t length, malloc_type_id_t) { return allocate("IOMallocZero", length, true); }

extern "C" void IOFree(void *address, size_t length)
{
    if (address == nullptr) {
        return;
    }
    Block *header = static_cast<Block *>(address) - 1;
    if (header->state != kLive) {
        dk::violation("bad IOFree", DK_SITE(), "%s", header->state == kDead ? "freed twice" : "not from IOMalloc");
        return;
    }
    if (header->length != length) {
        dk::violation("bad IOFree", DK_SITE(), "freed with length %zu, allocated with %zu", length, header->length);
    }
    header->state = kDead;
    std::free(header);
}

// ---- time --------------------------------------------------------------------------------------------------------

extern "C" void IOSleep(uint64_t ms)
{
    uint64_t ns = 0;
    dk_sleep_ns(__builtin_mul_overflow(ms, uint64_t{1000000}, &ns) ? UINT64_MAX : ns);
}

extern "C" void IODelay(uint64_t us)
{
    uint64_t ns = 0;
    dk_sleep_ns(__builtin_mul_overflow(us, uint64_t{1000}, &ns) ? UINT64_MAX : ns);
}

extern "C" kern_return_t mach_timebase_info(mach_timebase_info_t info)
{
    info->numer = 1;
    info->denom = 1;
    return kIOReturnSuccess;
}

extern "C" uint64_t mach_absolute_time(void) { return dk_now_ns(); }

extern "C" uint64_t mach_continuous_time(void) { return dk_now_ns(); }

extern "C" uint64_t clock_gettime_nsec_np(clockid_t clock)
{
    if (clock == CLOCK_REALTIME) {
        return dk_wall_ns();
    }
    return dk_now_ns();
}

// ---- boot arguments ----------------------------------------------------------------------------------------------

extern "C" bool IOParseBootArgString(const char *arg_string, char *arg_ptr, int length)
{
    const char *value = arg_string != nullptr ? dk_boot_arg(arg_string) : nullptr;
    if (value == nullptr || arg_ptr == nullptr || length <= 0) {
        return false;
    }
    const size_t used = strnlen(value, static_cast<size_t>(length) - 1);
    std::memcpy(arg_ptr, value, used);
    arg_ptr[used] = '\0';
    return true;
}

extern "C" bool IOParseBootArgNumber(const char *arg_string, void *arg_ptr, int max_len)
{
    const char *text = arg_string != nullptr ? dk_boot_arg(arg_string) : nullptr;
    if (text == nullptr || arg_ptr == nullptr || max_len <= 0) {
        return false;
    }
    // A bare word means 1, as PE_parse_boot_argn has it.
    uint64_t value = 1;
    if (text[0] != '\0') {
        char *end = nullptr;
        value = std::strtoull(text, &end, 0);
        if (end == text || *end != '\0') {
            return false;
        }
    }
    // Little endian: the low bytes come first.
    std::memcpy(arg_ptr, &value, std::min(static_cast<size_t>(max_len), sizeof value));
    return true;
}

// ---- the rest ----------------------------------------------------------------------------------------------------

extern "C" void OSSynchronizeIO(void) { std::atomic_thread_fence(std::memory_order_seq_cst); }

extern "C" uint32_t crc32(uint32_t crc, const void *buf, size_t size)
{
    const auto *byte = static_cast<const uint8_t *>(buf);
    crc = ~crc;
    while (size-- != 0) {
        crc ^= *byte++;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

extern "C" void read_random(void *buffer, size_t length) { dk_random(buffer, length); }

extern "C" void OSReportWithBacktrace(const char *str, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, str);
    std::vsnprintf(text, sizeof text, str, arguments);
    va_end(arguments);
    dk_log(OS_LOG_TYPE_ERROR, nullptr, text, std::strlen(text));
}

extern "C" void panic(const char *str, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, str);
    std::vsnprintf(text, sizeof text, str, arguments);
    va_end(arguments);
    dk_log(OS_LOG_TYPE_ERROR, nullptr, text, std::strlen(text));
    std::abort();
}

extern "C" void IOLogBuffer(const char *title, const void *buffer, size_t size)
{
    const auto *bytes = static_cast<const uint8_t *>(buffer);
    for (size_t at = 0; at < size; at += 16) {
        char line[160];
        int used = std::snprintf(line, sizeof line, "%s %04zx:", title != nullptr ? title : "", at);
        for (size_t i = at; i < size && i < at + 16 && used > 0 && static_cast<size_t>(used) < sizeof line - 4; ++i) {
            used += std::snprintf(line + used, sizeof line - static_cast<size_t>(used), " %02x", bytes[i]);
        }
        dk_log(OS_LOG_TYPE_DEFAULT, nullptr, line, std::strlen(line));
    }
}

extern "C" void IOCallOnce(struct IOCallOnceFlag *flag, IOCallOnceBlock block)
{
    enum : intptr_t { kNever = 0, kRunning = 1, kDone = 2 };
    std::atomic_ref<intptr_t> state(flag->opaque);
    intptr_t seen = state.load(std::memory_order_acquire);
    while (seen != kDone) {
        if (seen == kNever &&
            state.compare_exchange_strong(seen, kRunning, std::memory_order_acquire, std::memory_order_acquire)) {
            block();
            state.store(kDone, std::memory_order_release);
            state.notify_all();
            return;
        }
        if (seen == kRunning) {
            state.wait(kRunning, std::memory_order_acquire);
            seen = state.load(std::memory_order_acquire);
        }
    }
}
