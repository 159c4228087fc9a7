// SPDX-License-Identifier: MIT OR Apache-2.0
// IOUserClient: one connection of a client. The engine brings its calls, this turns them into Apple's arguments.

#include "action.h"
#include "memory.h"
#include "properties.h"
#include "service.h"

#include "classes.h"

#include <DriverKit/IOUserClient.h>
#include <DriverKit/OSData.h>

#include <cstring>

namespace dk {
dk_ret up_external_method(void *object, dk_ext_args *args);
dk_ret up_copy_client_memory(void *object, uint64_t type, uint64_t *options, dk_mem **mem);
} // namespace dk

bool IOUserClient::init() { return IOService::init(); }

void IOUserClient::free() { IOService::free(); }

// ---- calls ---------------------------------------------------------------------------------------------------------------

namespace {

bool size_differs(uint32_t wanted, uint64_t given)
{
    return wanted != static_cast<uint32_t>(kIOUserClientVariableStructureSize) && wanted != given;
}

uint64_t input_size(const IOUserClientMethodArguments *arguments)
{
    if (arguments->structureInput != nullptr) {
        return arguments->structureInput->getLength();
    }
    uint64_t length = 0;
    if (arguments->structureInputDescriptor != nullptr) {
        arguments->structureInputDescriptor->GetLength(&length);
    }
    return length;
}

uint64_t output_size(const IOUserClientMethodArguments *arguments)
{
    uint64_t length = arguments->structureOutputMaximumSize;
    if (arguments->structureOutputDescriptor != nullptr) {
        arguments->structureOutputDescriptor->GetLength(&length);
    }
    return length;
}

} // namespace

kern_return_t IOUserClient::ExternalMethod(uint64_t selector, IOUserClientMethodArguments *arguments,
                                           const IOUserClientMethodDispatch *dispatch, OSObject *target,
                                           void *reference)
{
    (void)selector;
    const kern_return_t injected = dk::fault("IOUserClient::ExternalMethod", kIOReturnError);
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    if (dispatch == nullptr) {
        return kIOReturnUnsupported;
    }
    const uint32_t completion = dispatch->checkCompletionExists;
    if (completion != static_cast<uint32_t>(-1) && (completion != 0) != (arguments->completion != nullptr)) {
        return kIOReturnBadArgument;
    }
    if (size_differs(dispatch->checkScalarInputCount, arguments->scalarInputCount) ||
        size_differs(dispatch->checkStructureInputSize, input_size(arguments)) ||
        size_differs(dispatch->checkScalarOutputCount, arguments->scalarOutputCount) ||
        size_differs(dispatch->checkStructureOutputSize, output_size(arguments))) {
        return kIOReturnBadArgument;
    }
    if (dispatch->function == nullptr) {
        return kIOReturnNoCompletion;
    }
    return dispatch->function(target, reference, arguments);
}

// ---- completions -----------------------------------------------------------------------------------------------------------

// The action that ExternalMethod gets leads to the client, not to a method of the driver: deliver_action hands what
// AsyncCompletion() sends through it over here.
kern_return_t dk::complete_async(OSAction *action, const IORPC rpc)
{
    return IOUserClient::AsyncCompletion_Invoke(
        rpc, action,
        [](OSMetaClassBase *to, OSAction *, IOReturn status, const uint64_t *data, uint32_t count) {
            dk_async_complete(static_cast<OSAction *>(to)->ivars->async, status, data, count);
        });
}

// ---- memory and rights -----------------------------------------------------------------------------------------------------

kern_return_t IMPL(IOUserClient, CreateMemoryDescriptorFromClient)
{
    *memory = nullptr;
    dk_ret error = dk::fault("IOUserClient::CreateMemoryDescriptorFromClient");
    if (error != kIOReturnSuccess) {
        return error;
    }
    constexpr uint32_t kMost = 32;
    if (segmentsCount == 0 || segmentsCount > kMost) {
        return kIOReturnBadArgument;
    }
    dk_mem *made = dk_client_memory(dk::service_of(this), memoryDescriptorCreateOptions,
                                    reinterpret_cast<const dk_segment *>(segments), segmentsCount, &error);
    if (made == nullptr) {
        return error;
    }
    *memory = dk::wrap_memory(made);
    return *memory != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

kern_return_t IMPL(IOUserClient, CopyClientEntitlements)
{
    *entitlements = nullptr;
    const kern_return_t injected = dk::fault("IOUserClient::CopyClientEntitlements");
    if (injected != kIOReturnSuccess) {
        return injected;
    }
    dk_prop *tree = dk_client_entitlements(dk::service_of(this));
    if (tree == nullptr) {
        return kIOReturnNotFound;
    }
    *entitlements = dk::take_dictionary(tree);
    return *entitlements != nullptr ? kIOReturnSuccess : kIOReturnNoMemory;
}

// ---- up-calls --------------------------------------------------------------------------------------------------------------

namespace {

kern_return_t call_external_method(IOUserClient *client, dk_ext_args *args)
{
    IOUserClientMethodArguments arguments{};
    arguments.version = kIOUserClientMethodArgumentsCurrentVersion;
    arguments.selector = args->selector;
    arguments.scalarInput = args->scalar_in_count != 0 ? args->scalar_in : nullptr;
    arguments.scalarInputCount = args->scalar_in_count;
    arguments.scalarOutput = args->scalar_out_count != 0 ? args->scalar_out : nullptr;
    arguments.scalarOutputCount = args->scalar_out_count;
    arguments.structureOutputMaximumSize = args->struct_out_max;

    kern_return_t result = kIOReturnSuccess;
    if (args->has_struct_in && args->struct_in_mem == nullptr) {
        arguments.structureInput = OSData::withBytes(args->struct_in, args->struct_in_len);
        result = arguments.structureInput != nullptr ? result : kIOReturnNoMemory;
    }
    if (args->struct_in_mem != nullptr) {
        dk_mem_retain(args->struct_in_mem);
        arguments.structureInputDescriptor = dk::wrap_memory(args->struct_in_mem);
        result = arguments.structureInputDescriptor != nullptr ? result : kIOReturnNoMemory;
    }
    if (args->struct_out_mem != nullptr) {
        dk_mem_retain(args->struct_out_mem);
        arguments.structureOutputDescriptor = dk::wrap_memory(args->struct_out_mem);
        result = arguments.structureOutputDescriptor != nullptr ? result : kIOReturnNoMemory;
    }
    if (args->async != nullptr && result == kIOReturnSuccess) {
        result = dk::make_async_action(client, args->async, &arguments.completion);
    }
    if (result == kIOReturnSuccess) {
        const uint32_t room = args->scalar_out_count;
        result = client->ExternalMethod(args->selector, &arguments, nullptr, nullptr, nullptr);
        if (arguments.scalarOutputCount > room) {
            dk::violation("bad output", nullptr, "ExternalMethod(%llu) returned %u scalars, the client has room for %u",
                          static_cast<unsigned long long>(args->selector), arguments.scalarOutputCount, room);
            arguments.scalarOutputCount = room;
        }
        args->scalar_out_count = arguments.scalarOutputCount;
    }
    if (arguments.structureOutput != nullptr) {
        if (result == kIOReturnSuccess) {
            result = dk_ext_set_output(args, arguments.structureOutput->getBytesNoCopy(),
                                       arguments.structureOutput->getLength());
        }
        arguments.structureOutput->release();
    }
    OSSafeReleaseNULL(arguments.structureInput);
    OSSafeReleaseNULL(arguments.structureInputDescriptor);
    OSSafeReleaseNULL(arguments.structureOutputDescriptor);
    OSSafeReleaseNULL(arguments.completion);
    return result;
}

struct ExternalCall {
    IOUserClient *client;
    dk_ext_args *args;
    kern_return_t result;
};

void run_external_call(void *context, bool run)
{
    auto *call = static_cast<ExternalCall *>(context);
    call->result = run ? call_external_method(call->client, call->args) : kIOReturnAborted;
}

} // namespace

dk_ret dk::up_external_method(void *object, dk_ext_args *args)
{
    auto *client = OSDynamicCast(IOUserClient, static_cast<OSObject *>(object));
    if (client == nullptr) {
        return kIOReturnUnsupported;
    }
    // LOCALONLY, so no stub picks the queue that the driver may have named for it.
    dk_queue *queue = dk_service_queue_for(service_of(client), kIOUserClientQueueNameExternalMethod);
    if (queue == nullptr || dk_queue_on_queue(queue)) {
        return call_external_method(client, args);
    }
    ExternalCall call{client, args, kIOReturnAborted};
    dk_queue_sync(queue, run_external_call, &call, nullptr);
    return call.result;
}

dk_ret dk::up_copy_client_memory(void *object, uint64_t type, uint64_t *options, dk_mem **mem)
{
    *mem = nullptr;
    auto *client = OSDynamicCast(IOUserClient, static_cast<OSObject *>(object));
    if (client == nullptr || !overridden(client, IOUserClient_CopyClientMemoryForType_ID)) {
        return kIOReturnUnsupported;
    }
    IOMemoryDescriptor *memory = nullptr;
    const kern_return_t result = client->CopyClientMemoryForType(type, options, &memory);
    if (result != kIOReturnSuccess) {
        return result;
    }
    if (memory == nullptr) {
        return kIOReturnError;
    }
    *mem = memory_of(memory);
    dk_mem_retain(*mem);
    memory->release();
    return kIOReturnSuccess;
}
