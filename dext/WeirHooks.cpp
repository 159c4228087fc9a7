// SPDX-License-Identifier: MIT OR Apache-2.0
// Allocator and last words of a core that is built for the dext (feature "dext"): there is no std beneath it.

#include <os/log.h>

#include <DriverKit/IOLib.h>

#include <string.h>

#include "weir_core.h"

namespace {

/* IOMalloc aligns to 16 bytes. A stricter request is over-allocated; the address of the whole block goes right
 * before the piece that is handed out. */
constexpr size_t kNaturalAlign = 16;

size_t slack(size_t align) { return align > kNaturalAlign ? align + sizeof(void *) : 0; }

} // namespace

extern "C" void *weir_hook_alloc(size_t size, size_t align)
{
    size_t whole = 0;
    if (__builtin_add_overflow(size, slack(align), &whole)) {
        return nullptr;
    }
    auto *block = static_cast<uint8_t *>(IOMalloc(whole));
    if (block == nullptr || align <= kNaturalAlign) {
        return block;
    }
    const uintptr_t first = reinterpret_cast<uintptr_t>(block) + sizeof(void *);
    const uintptr_t aligned = (first + align - 1) & ~(static_cast<uintptr_t>(align) - 1);
    memcpy(reinterpret_cast<void *>(aligned - sizeof(void *)), &block, sizeof(block));
    return reinterpret_cast<void *>(aligned);
}

extern "C" void weir_hook_free(void *ptr, size_t size, size_t align)
{
    if (ptr == nullptr) {
        return;
    }
    void *block = ptr;
    if (align > kNaturalAlign) {
        memcpy(&block, static_cast<uint8_t *>(ptr) - sizeof(void *), sizeof(block));
    }
    IOFree(block, size + slack(align));
}

extern "C" void weir_hook_abort(const char *text, size_t len)
{
    char line[256];
    if (text == nullptr) {
        len = 0;
    }
    const size_t n = len < sizeof(line) - 1 ? len : sizeof(line) - 1;
    if (n > 0) {
        memcpy(line, text, n);
    }
    line[n] = '\0';
    os_log(OS_LOG_DEFAULT, "weir: core aborts: %{public}s", line);
    __builtin_trap();
}
