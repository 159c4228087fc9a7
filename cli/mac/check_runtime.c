/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What `__builtin_available` calls. On a Mac it comes with the compiler (compiler-rt); a check build brings its own.
 */
#include <stdint.h>

struct dyld_build_version {
    uint32_t platform;
    uint32_t version;
};

extern _Bool _availability_version_check(uint32_t count, struct dyld_build_version versions[]);

int32_t
__isPlatformVersionAtLeast(uint32_t platform, uint32_t major, uint32_t minor, uint32_t subminor)
{
    struct dyld_build_version wanted = {platform, (major & 0xffff) << 16 | (minor & 0xff) << 8 | (subminor & 0xff)};
    return _availability_version_check(1, &wanted);
}
