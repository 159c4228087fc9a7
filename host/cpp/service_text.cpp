// SPDX-License-Identifier: MIT OR Apache-2.0
// IOService: matching dictionaries and texts for results.

#include "runtime.h"

#include <DriverKit/IOKitKeys.h>
#include <DriverKit/IOService.h>
#include <DriverKit/OSDictionary.h>
#include <DriverKit/OSString.h>

#include <cstdio>

static OSDictionary *matching_with(OSDictionary *matching, const char *key, OSObject *value)
{
    if (value == nullptr) {
        return nullptr;
    }
    if (matching != nullptr) {
        matching->retain();
    } else {
        matching = OSDictionary::withCapacity(1);
    }
    if (matching != nullptr && !matching->setObject(key, value)) {
        OSSafeReleaseNULL(matching);
    }
    return matching;
}

static OSDictionary *matching_with_text(OSDictionary *matching, const char *key, const char *text)
{
    OSString *value = text != nullptr ? OSString::withCString(text) : nullptr;
    OSDictionary *made = matching_with(matching, key, value);
    OSSafeReleaseNULL(value);
    return made;
}

OSDictionary *IOService::CreatePropertyMatchingDictionary(const char *key, OSObjectPtr value, OSDictionary *matching)
{
    OSDictionary *inner = matching_with(nullptr, key, value);
    OSDictionary *made = matching_with(matching, kIOPropertyMatchKey, inner);
    OSSafeReleaseNULL(inner);
    return made;
}

OSDictionary *IOService::CreatePropertyMatchingDictionary(const char *key, const char *stringValue,
                                                          OSDictionary *matching)
{
    OSDictionary *inner = matching_with_text(nullptr, key, stringValue);
    OSDictionary *made = matching_with(matching, kIOPropertyMatchKey, inner);
    OSSafeReleaseNULL(inner);
    return made;
}

OSDictionary *IOService::CreateKernelClassMatchingDictionary(OSString *className, OSDictionary *matching)
{
    return matching_with(matching, kIOProviderClassKey, className);
}

OSDictionary *IOService::CreateKernelClassMatchingDictionary(const char *className, OSDictionary *matching)
{
    return matching_with_text(matching, kIOProviderClassKey, className);
}

OSDictionary *IOService::CreateUserClassMatchingDictionary(OSString *className, OSDictionary *matching)
{
    return CreatePropertyMatchingDictionary(kIOUserClassKey, className, matching);
}

OSDictionary *IOService::CreateUserClassMatchingDictionary(const char *className, OSDictionary *matching)
{
    return CreatePropertyMatchingDictionary(kIOUserClassKey, className, matching);
}

OSDictionary *IOService::CreateNameMatchingDictionary(OSString *serviceName, OSDictionary *matching)
{
    return matching_with(matching, kIONameMatchKey, serviceName);
}

OSDictionary *IOService::CreateNameMatchingDictionary(const char *serviceName, OSDictionary *matching)
{
    return matching_with_text(matching, kIONameMatchKey, serviceName);
}

kern_return_t IMPL(IOService, StringFromReturn)
{
    const kern_return_t injected = dk::fault("IOService::StringFromReturn");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    static constexpr struct {
        IOReturn value;
        const char *text;
    } kNames[] = {
        {kIOReturnSuccess, "success"},
        {kIOReturnError, "general error"},
        {kIOReturnNoMemory, "memory allocation error"},
        {kIOReturnNoResources, "resource shortage"},
        {kIOReturnNoDevice, "no such device"},
        {kIOReturnNotPrivileged, "privilege violation"},
        {kIOReturnBadArgument, "invalid argument"},
        {kIOReturnExclusiveAccess, "device is already open exclusively"},
        {kIOReturnUnsupported, "unsupported function"},
        {kIOReturnVMError, "virtual memory error"},
        {kIOReturnInternalError, "internal driver error"},
        {kIOReturnIOError, "I/O error"},
        {kIOReturnNotOpen, "device is not open"},
        {kIOReturnBusy, "device is busy"},
        {kIOReturnTimeout, "I/O timeout"},
        {kIOReturnOffline, "device is off line"},
        {kIOReturnNotReady, "device is not ready"},
        {kIOReturnNotAttached, "device or channel is not attached"},
        {kIOReturnNoSpace, "no space for data"},
        {kIOReturnNotPermitted, "operation is not permitted"},
        {kIOReturnUnderrun, "data underrun"},
        {kIOReturnOverrun, "data overrun"},
        {kIOReturnDeviceError, "device error"},
        {kIOReturnAborted, "operation was aborted"},
        {kIOReturnNotResponding, "device is not responding"},
        {kIOReturnInvalid, "invalid return code"},
        {kIOReturnNotFound, "not found"},
    };
    for (const auto &name : kNames) {
        if (name.value == retval) {
            *str = OSString::withCString(name.text);
            return *str != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
        }
    }
    char text[16];
    std::snprintf(text, sizeof text, "0x%08x", static_cast<uint32_t>(retval));
    *str = OSString::withCString(text);
    return *str != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}
