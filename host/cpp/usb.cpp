// SPDX-License-Identifier: MIT OR Apache-2.0
// IOUSBHostDevice and IOUSBHostInterface.

#include "dk_usb.h"
#include "memory.h"
#include "usb.h"

#include <DriverKit/IOBufferMemoryDescriptor.h>
#include <USBDriverKit/USBDriverKit.h>

#include <cstdlib>
#include <cstring>

#define CHECK_FAULT(name, natural)                                                                                     \
    do {                                                                                                               \
        const kern_return_t injected = dk::fault(name, natural);                                                       \
        if (injected != kIOReturnSuccess) {                                                                            \
            return injected;                                                                                           \
        }                                                                                                              \
    } while (0)

namespace {

enum { kDevice = 1, kByIndex = 2, kByValue = 3, kSelected = 4 };

/// A copy that the caller frees with IOUSBHostFreeDescriptor(), or with IOFree() and its length: there too it is one block.
const void *copy_descriptor(IOService *service, uint32_t what, uint32_t which)
{
    if (dk::fault("IOUSBHostDevice::CopyDescriptor") != kIOReturnSuccess) {
        return nullptr;
    }
    const uint32_t length = dk_usb_descriptor(dk::service_of(service), what, which, nullptr, 0);
    if (length < sizeof(IOUSBConfigurationDescriptor)) {
        return nullptr;
    }
    // Whoever walks it by wTotalLength must stay inside, whatever the device wrote there.
    void *copy = dk::alloc_block(length);
    if (copy != nullptr) {
        dk_usb_descriptor(dk::service_of(service), what, which, copy, length);
        if (what != kDevice) {
            static_cast<IOUSBConfigurationDescriptor *>(copy)->wTotalLength = static_cast<uint16_t>(length);
        }
    }
    return copy;
}

const IOUSBStringDescriptor *copy_string(IOService *service, uint8_t index, uint16_t language)
{
    if (dk::fault("IOUSBHostDevice::CopyStringDescriptor") != kIOReturnSuccess) {
        return nullptr;
    }
    IOBufferMemoryDescriptor *buffer = nullptr;
    if (IOBufferMemoryDescriptor::Create(kIOMemoryDirectionIn, 256, 0, &buffer) != kIOReturnSuccess) {
        return nullptr;
    }
    uint16_t got = 0;
    const dk_ret ret = dk_usb_control(dk::service_of(service), 0x80, 6, static_cast<uint16_t>(0x300 | index), language,
                                      dk::memory_of(buffer), 255, &got, 1000);
    uint8_t *copy = nullptr;
    if (ret == kIOReturnSuccess && got >= 2) {
        uint8_t length = 0;
        dk_mem_read(dk::memory_of(buffer), 0, &length, 1);
        length = length < got ? length : static_cast<uint8_t>(got);
        copy = length >= 2 ? static_cast<uint8_t *>(dk::alloc_block(length)) : nullptr;
        if (copy != nullptr) {
            dk_mem_read(dk::memory_of(buffer), 0, copy, length);
            copy[0] = length;
        }
    }
    buffer->release();
    return reinterpret_cast<const IOUSBStringDescriptor *>(copy);
}

kern_return_t create_buffer(IOOptionBits options, uint64_t capacity, IOBufferMemoryDescriptor **buffer)
{
    const kern_return_t ret = IOBufferMemoryDescriptor::Create(options, capacity, 0, buffer);
    return ret;
}

/// A service object that only hands on to the engine's node.
template <typename T> T *make_service(OSMetaClass *meta)
{
    T *object = dk::alloc<T>(meta);
    if (object != nullptr && !object->init()) {
        object->release();
        return nullptr;
    }
    return object;
}

} // namespace

// ---- IOUSBHostDevice -----------------------------------------------------------------------------------------------------

bool IOUSBHostDevice::init() { return IOService::init(); }

void IOUSBHostDevice::free() { IOService::free(); }

kern_return_t IMPL(IOUSBHostDevice, Open)
{
    (void)forClient;
    (void)options;
    (void)arg;
    CHECK_FAULT("IOUSBHostDevice::Open", kIOReturnExclusiveAccess);
    return dk_usb_open(dk::service_of(this));
}

kern_return_t IMPL(IOUSBHostDevice, Close)
{
    (void)forClient;
    (void)options;
    return dk_usb_close(dk::service_of(this));
}

kern_return_t IOUSBHostDevice::CopyDescriptor(uint8_t type, uint16_t *length, uint8_t index, uint16_t languageID,
                                              uint8_t requestType, uint8_t requestRecipient, uint8_t *descriptor)
{
    CHECK_FAULT("IOUSBHostDevice::CopyDescriptor", kIOReturnNotFound);
    if (length == nullptr || descriptor == nullptr) {
        return kIOReturnBadArgument;
    }
    IOBufferMemoryDescriptor *buffer = nullptr;
    kern_return_t ret = IOBufferMemoryDescriptor::Create(kIOMemoryDirectionIn, *length != 0 ? *length : 1, 0, &buffer);
    if (ret != kIOReturnSuccess) {
        return ret;
    }
    const uint8_t kind = USBmakebmRequestType(kIOUSBDeviceRequestDirectionValueIn, requestType, requestRecipient);
    uint16_t got = 0;
    ret = dk_usb_control(dk::service_of(this), kind, 6, static_cast<uint16_t>(type << 8 | index), languageID,
                         dk::memory_of(buffer), *length, &got, 1000);
    if (ret == kIOReturnSuccess) {
        dk_mem_read(dk::memory_of(buffer), 0, descriptor, got);
        *length = got;
    }
    buffer->release();
    return ret;
}

const IOUSBDeviceDescriptor *IOUSBHostDevice::CopyDeviceDescriptor(void)
{
    return static_cast<const IOUSBDeviceDescriptor *>(copy_descriptor(this, kDevice, 0));
}

const IOUSBConfigurationDescriptor *IOUSBHostDevice::CopyConfigurationDescriptor(uint8_t index)
{
    return static_cast<const IOUSBConfigurationDescriptor *>(copy_descriptor(this, kByIndex, index));
}

const IOUSBConfigurationDescriptor *IOUSBHostDevice::CopyConfigurationDescriptorWithValue(uint8_t bConfigurationValue)
{
    return static_cast<const IOUSBConfigurationDescriptor *>(copy_descriptor(this, kByValue, bConfigurationValue));
}

const IOUSBConfigurationDescriptor *IOUSBHostDevice::CopyConfigurationDescriptor(IOService *forClient)
{
    (void)forClient;
    return static_cast<const IOUSBConfigurationDescriptor *>(copy_descriptor(this, kSelected, 0));
}

const IOUSBStringDescriptor *IOUSBHostDevice::CopyStringDescriptor(uint8_t index, uint16_t languageID)
{
    return copy_string(this, index, languageID);
}

const IOUSBStringDescriptor *IOUSBHostDevice::CopyStringDescriptor(uint8_t index)
{
    return copy_string(this, index, 0x409);
}

kern_return_t IMPL(IOUSBHostDevice, CreateIOBuffer)
{
    *buffer = nullptr;
    CHECK_FAULT("IOUSBHostDevice::CreateIOBuffer", kIOReturnNoMemory);
    return create_buffer(options, capacity, buffer);
}

kern_return_t IMPL(IOUSBHostDevice, AsyncDeviceRequest)
{
    (void)forClient;
    CHECK_FAULT("IOUSBHostDevice::AsyncDeviceRequest", kIOReturnNoResources);
    uint16_t got = 0;
    const kern_return_t ret = dk_usb_control(dk::service_of(this), bmRequestType, bRequest, wValue, wIndex,
                                             dk::memory_of(dataBuffer), wLength, &got, completionTimeoutMs);
    CompleteAsyncDeviceRequest(completion, ret, got);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostDevice, DeviceRequest)
{
    (void)forClient;
    CHECK_FAULT("IOUSBHostDevice::DeviceRequest", kIOReturnTimeout);
    return dk_usb_control(dk::service_of(this), bmRequestType, bRequest, wValue, wIndex, dk::memory_of(dataBuffer),
                          wLength, bytesTransferred, completionTimeoutMs);
}

kern_return_t IMPL(IOUSBHostDevice, AbortDeviceRequests)
{
    (void)forClient;
    (void)options;
    (void)withError;
    // Each one is finished when its call returns.
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostDevice, SetConfiguration)
{
    (void)matchInterfaces;
    CHECK_FAULT("IOUSBHostDevice::SetConfiguration", kIOReturnNotResponding);
    return dk_usb_set_configuration(dk::service_of(this), bConfigurationValue);
}

kern_return_t IMPL(IOUSBHostDevice, GetAddress)
{
    *address = static_cast<uint8_t>(dk_usb_address(dk::service_of(this)));
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostDevice, GetSpeed)
{
    *speed = static_cast<uint8_t>(dk_usb_speed(dk::service_of(this)));
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostDevice, GetFrameNumber)
{
    const uint64_t now = dk_now_ns();
    *frameNumber = now / 1000000;
    if (theTime != nullptr) {
        *theTime = now;
    }
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostDevice, GetPortStatus)
{
    *portStatus = dk_usb_speed(dk::service_of(this)) != 0 ? 1 : 0;
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostDevice, Reset)
{
    CHECK_FAULT("IOUSBHostDevice::Reset", kIOReturnNotResponding);
    return dk_usb_reset(dk::service_of(this));
}

kern_return_t IMPL(IOUSBHostDevice, CreateInterfaceIterator)
{
    CHECK_FAULT("IOUSBHostDevice::CreateInterfaceIterator", kIOReturnNoMemory);
    auto *next = new (std::nothrow) uint32_t(0);
    if (next == nullptr) {
        return kIOReturnNoMemory;
    }
    *ref = reinterpret_cast<uintptr_t>(next);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostDevice, DestroyInterfaceIterator)
{
    delete reinterpret_cast<uint32_t *>(ref);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostDevice, CopyInterface)
{
    *interface = nullptr;
    CHECK_FAULT("IOUSBHostDevice::CopyInterface", kIOReturnNotFound);
    auto *next = reinterpret_cast<uint32_t *>(ref);
    if (next == nullptr) {
        return kIOReturnBadArgument;
    }
    auto *object = make_service<IOUSBHostInterface>(OSTypeID(IOUSBHostInterface));
    if (object == nullptr) {
        return kIOReturnNoMemory;
    }
    const kern_return_t ret = dk_usb_bind_interface(dk::service_of(this), *next, dk::service_of(object));
    if (ret != kIOReturnSuccess) {
        object->release();
        // The end of the list is not an error: there is no interface then.
        return ret == kIOReturnNotFound ? kIOReturnSuccess : ret;
    }
    ++*next;
    *interface = object;
    return kIOReturnSuccess;
}

// ---- IOUSBHostInterface ------------------------------------------------------------------------------------------------------

bool IOUSBHostInterface::init() { return IOService::init(); }

void IOUSBHostInterface::free() { IOService::free(); }

kern_return_t IMPL(IOUSBHostInterface, Open)
{
    (void)forClient;
    CHECK_FAULT("IOUSBHostInterface::Open", kIOReturnExclusiveAccess);
    kern_return_t ret = dk_usb_open(dk::service_of(this));
    if (ret == kIOReturnSuccess && (options & kOpenOptionsSelectAlternateInterface) != 0) {
        // The argument is a value in a pointer's clothes.
        ret = dk_usb_set_alternate(dk::service_of(this), static_cast<uint32_t>(reinterpret_cast<uintptr_t>(arg)));
        if (ret != kIOReturnSuccess) {
            dk_usb_close(dk::service_of(this));
        }
    }
    return ret;
}

kern_return_t IMPL(IOUSBHostInterface, Close)
{
    (void)forClient;
    (void)options;
    return dk_usb_close(dk::service_of(this));
}

kern_return_t IMPL(IOUSBHostInterface, GetFrameNumber)
{
    const uint64_t now = dk_now_ns();
    *frameNumber = now / 1000000;
    if (theTime != nullptr) {
        *theTime = now;
    }
    return kIOReturnSuccess;
}

const IOUSBConfigurationDescriptor *IOUSBHostInterface::CopyConfigurationDescriptor()
{
    return static_cast<const IOUSBConfigurationDescriptor *>(copy_descriptor(this, kSelected, 0));
}

const IOUSBInterfaceDescriptor *
IOUSBHostInterface::GetInterfaceDescriptor(const IOUSBConfigurationDescriptor *configurationDescriptor)
{
    const int32_t number = dk_usb_interface_number(dk::service_of(this));
    const IOUSBInterfaceDescriptor *one = nullptr;
    while ((one = IOUSBGetNextInterfaceDescriptor(configurationDescriptor,
                                                  reinterpret_cast<const IOUSBDescriptorHeader *>(one))) != nullptr) {
        if (one->bInterfaceNumber == number) {
            return one;
        }
    }
    return nullptr;
}

const IOUSBStringDescriptor *IOUSBHostInterface::CopyStringDescriptor(uint8_t index, uint16_t languageID)
{
    return copy_string(this, index, languageID);
}

const IOUSBStringDescriptor *IOUSBHostInterface::CopyStringDescriptor(uint8_t index)
{
    return copy_string(this, index, 0x409);
}

kern_return_t IMPL(IOUSBHostInterface, CopyPipe)
{
    *pipe = nullptr;
    dk_ret error = dk::fault("IOUSBHostInterface::CopyPipe", kIOReturnNoMemory);
    if (error != kIOReturnSuccess) {
        return error;
    }
    dk_usb_pipe *made = dk_usb_copy_pipe(dk::service_of(this), address, &error);
    if (made == nullptr) {
        return error;
    }
    *pipe = dk::wrap_pipe(made);
    return *pipe != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

kern_return_t IMPL(IOUSBHostInterface, SelectAlternateSetting)
{
    CHECK_FAULT("IOUSBHostInterface::SelectAlternateSetting", kIOReturnNotResponding);
    return dk_usb_set_alternate(dk::service_of(this), bAlternateSetting);
}

kern_return_t IMPL(IOUSBHostInterface, GetPortStatus)
{
    *portStatus = dk_usb_speed(dk::service_of(this)) != 0 ? 1 : 0;
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostInterface, SetIdlePolicy)
{
    dk_usb_set_idle(dk::service_of(this), deviceIdleTimeout);
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostInterface, GetIdlePolicy)
{
    *deviceIdleTimeout = dk_usb_idle(dk::service_of(this));
    return kIOReturnSuccess;
}

kern_return_t IMPL(IOUSBHostInterface, CopyDevice)
{
    *device = nullptr;
    CHECK_FAULT("IOUSBHostInterface::CopyDevice", kIOReturnNotFound);
    auto *object = make_service<IOUSBHostDevice>(OSTypeID(IOUSBHostDevice));
    if (object == nullptr) {
        return kIOReturnNoMemory;
    }
    const kern_return_t ret = dk_usb_bind_device(dk::service_of(this), dk::service_of(object));
    if (ret != kIOReturnSuccess) {
        object->release();
        return ret;
    }
    *device = object;
    return kIOReturnSuccess;
}

kern_return_t IOUSBHostInterface::CreateIOBuffer(IOOptionBits options, uint64_t capacity,
                                                 IOBufferMemoryDescriptor **buffer)
{
    *buffer = nullptr;
    CHECK_FAULT("IOUSBHostInterface::CreateIOBuffer", kIOReturnNoMemory);
    return create_buffer(options, capacity, buffer);
}

kern_return_t IOUSBHostInterface::AsyncDeviceRequest(uint8_t bmRequestType, uint8_t bRequest, uint16_t wValue,
                                                     uint16_t wIndex, uint16_t wLength, IOMemoryDescriptor *dataBuffer,
                                                     OSAction *completion, uint32_t completionTimeoutMs)
{
    IOUSBHostDevice *device = nullptr;
    kern_return_t ret = CopyDevice(&device);
    if (ret == kIOReturnSuccess) {
        ret = device->AsyncDeviceRequest(this, bmRequestType, bRequest, wValue, wIndex, wLength, dataBuffer, completion,
                                         completionTimeoutMs);
        device->release();
    }
    return ret;
}

kern_return_t IOUSBHostInterface::DeviceRequest(uint8_t bmRequestType, uint8_t bRequest, uint16_t wValue,
                                                uint16_t wIndex, uint16_t wLength, IOMemoryDescriptor *dataBuffer,
                                                uint16_t *bytesTransferred, uint32_t completionTimeoutMs)
{
    CHECK_FAULT("IOUSBHostInterface::DeviceRequest", kIOReturnTimeout);
    return dk_usb_control(dk::service_of(this), bmRequestType, bRequest, wValue, wIndex, dk::memory_of(dataBuffer),
                          wLength, bytesTransferred, completionTimeoutMs);
}

kern_return_t IOUSBHostInterface::AbortDeviceRequests(IOOptionBits options, IOReturn withError)
{
    (void)options;
    (void)withError;
    return kIOReturnSuccess;
}

// ---- descriptors -------------------------------------------------------------------------------------------------------------

namespace {

void free_descriptor(const void *descriptor)
{
    if (descriptor != nullptr) {
        IOFree(const_cast<void *>(descriptor), dk::block_length(descriptor));
    }
}

} // namespace

void IOUSBHostFreeDescriptor(const IOUSBDescriptor *descriptor) { free_descriptor(descriptor); }

void IOUSBHostFreeDescriptor(const IOUSBDeviceDescriptor *descriptor) { free_descriptor(descriptor); }

void IOUSBHostFreeDescriptor(const IOUSBConfigurationDescriptor *descriptor) { free_descriptor(descriptor); }

void IOUSBHostFreeDescriptor(const IOUSBBOSDescriptor *descriptor) { free_descriptor(descriptor); }

void IOUSBHostFreeDescriptor(const IOUSBStringDescriptor *descriptor) { free_descriptor(descriptor); }
