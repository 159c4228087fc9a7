/*
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * PCI devices: the part of dk_runtime.h that IOPCIDevice needs.
 */
#ifndef DK_PCI_H
#define DK_PCI_H

#include "dk_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `space` of dk_pci_read and dk_pci_write: a memory index (the number of a memory BAR among the device's memory BARs), or
 * configuration space. */
#define DK_PCI_CONFIG 0xffu

/* kIOReturnExclusiveAccess if another client has it open, kIOReturnNoDevice without a device. */
dk_ret dk_pci_open(dk_service *device, dk_service *client);
/* crashed: the client's process died, and the device is reset as its kIOPCIDeviceCrashResetType property says. */
void dk_pci_close(dk_service *device, dk_service *client, bool crashed);
/* width: 1, 2, 4, 8 bytes. All ones from a device that is gone. Not open, a space that the device does not have, an
 * offset outside it or not aligned: a violation. */
uint64_t dk_pci_read(dk_service *device, uint32_t space, uint64_t offset, uint32_t width, const void *site);
void dk_pci_write(dk_service *device, uint32_t space, uint64_t offset, uint32_t width, uint64_t value,
                  const void *site);
/* bus << 8 | device << 3 | function */
dk_ret dk_pci_address(dk_service *device, uint32_t *bdf);
dk_ret dk_pci_bar(dk_service *device, uint8_t bar, uint8_t *index, uint64_t *size, uint8_t *type);
/* Grants between `required` and `requested` vectors; IOInterruptCount and IOInterruptTypes say what it was. */
dk_ret dk_pci_interrupts(dk_service *device, uint32_t type, uint32_t required, uint32_t requested);
dk_ret dk_pci_reset(dk_service *device, uint32_t type);
dk_ret dk_pci_save(dk_service *device, bool restore);

#ifdef __cplusplus
}
#endif

#endif /* DK_PCI_H */
