// SPDX-License-Identifier: MIT OR Apache-2.0
// IOUserServer: on a Mac the kernel's end of the driver's process. Here everything runs in one process, so there is
// nothing to load and nothing to leave.

#include "runtime.h"

#include <DriverKit/IOUserServer.h>

kern_return_t IMPL(IOUserServer, Create)
{
    (void)name;
    (void)tag;
    (void)options;
    (void)bundleID;
    *server = nullptr;
    return kIOReturnUnsupported;
}

bool IOUserServer::init() { return IOService::init(); }

void IOUserServer::free() { IOService::free(); }

kern_return_t IMPL(IOUserServer, Exit)
{
    dk::violation("exit", DK_SITE(), "the driver asked to exit: %.1024s", reason);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUserServer, LoadModule)
{
    (void)path;
    return kIOReturnUnsupported;
}

kern_return_t IMPL(IOUserServer, RegisterService) { return kIOReturnUnsupported; }
