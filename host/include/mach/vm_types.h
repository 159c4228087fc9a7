/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Addresses and lengths of memory.
 */
#ifndef WEIR_MACH_VM_TYPES_H
#define WEIR_MACH_VM_TYPES_H

#include <stdint.h>

typedef uintptr_t vm_offset_t;
typedef uintptr_t vm_address_t;
typedef uintptr_t vm_size_t;
typedef uint64_t  mach_vm_address_t;
typedef uint64_t  mach_vm_offset_t;
typedef uint64_t  mach_vm_size_t;

#endif /* WEIR_MACH_VM_TYPES_H */
