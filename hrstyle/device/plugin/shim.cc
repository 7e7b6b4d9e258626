// The PJRT C API (what go-xla calls of it) on top of XLA's CPU client, which
// libtensorflow_cc.so.2 of the Python wheel tensorflow-cpu exports; no Python
// at run time. The wheel holds XLA's own implementation of this API too, but
// does not export it.
//
// Slots that go-xla has no use for answer UNIMPLEMENTED. The API's structs only
// ever grow at their end and go-xla is built against a later version than the
// wheel's, so every struct it passes is long enough.

#include <cpuid.h>
#include <sched.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cache.h"
#include "xla/debug_options_flags.h"
#include "xla/hlo/builder/xla_computation.h"
#include "xla/hlo/ir/hlo_module.h"
#include "xla/layout_util.h"
#include "xla/literal.h"
#include "xla/pjrt/c/pjrt_c_api.h"
#include "xla/pjrt/pjrt_client.h"
#include "xla/pjrt/pjrt_executable.h"
#include "xla/pjrt/plugin/xla_cpu/xla_cpu_pjrt_client.h"
#include "xla/pjrt/proto/compile_options.pb.h"
#include "xla/primitive_util.h"
#include "xla/service/hlo_cost_analysis.h"
#include "xla/shape_util.h"
#include "xla/tsl/lib/strings/proto_serialization.h"

namespace xla {
// From xla/pjrt/mlir_to_hlo.h, which cannot be included because it needs LLVM's
// headers.
absl::Status ParseMlirModuleStringAndConvertToXlaComputation(
    absl::string_view mlir_module_str, XlaComputation& xla_computation,
    bool use_tuple_args, bool return_tuple);
}  // namespace xla

// The API's opaque types.

struct PJRT_Error {
  absl::Status status;
  std::string message;
};

struct PJRT_Event {
  std::optional<xla::Future<>> future;  // none: over already
};

struct PJRT_DeviceDescription {
  xla::PjRtDevice* device;
  std::string debug;
};

struct PJRT_Device {
  xla::PjRtDevice* device;
  PJRT_DeviceDescription description;
};

struct PJRT_Client {
  std::unique_ptr<xla::PjRtClient> client;
  std::vector<std::unique_ptr<PJRT_Device>> owned;
  std::vector<PJRT_Device*> devices;  // the same, as the API wants them
  std::string name, version;
  Cache cache;
  std::string machine;
  // The caller's share. Executables have one too: go-xla's finalizers may
  // destroy them after their client.
  std::shared_ptr<PJRT_Client> self;
};

struct PJRT_Buffer {
  std::unique_ptr<xla::PjRtBuffer> buffer;
  PJRT_Client* client;  // no share: go-xla leaves a buffer alone once its
                        // client is destroyed, which would then never go
  std::vector<int64_t> dims;
};

struct PJRT_LoadedExecutable {
  std::shared_ptr<PJRT_Client> client;  // first, so that it goes last
  std::shared_ptr<xla::PjRtLoadedExecutable> executable;
  std::string name;
  size_t outputs;
};

struct PJRT_Executable : PJRT_LoadedExecutable {};

namespace {

PJRT_Error* Error(absl::Status status) {
  std::string message(status.message());
  return new PJRT_Error{std::move(status), std::move(message)};
}

#define CONCAT_(a, b) a##b
#define CONCAT(a, b) CONCAT_(a, b)
#define RETURN_IF_ERROR(expr)                     \
  if (absl::Status status = (expr); !status.ok()) \
  return Error(std::move(status))
#define ASSIGN_OR_RETURN_(result, lhs, expr)                  \
  auto result = (expr);                                       \
  if (!result.ok()) return Error(std::move(result).status()); \
  lhs = std::move(result).value()
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_(CONCAT(result_, __LINE__), lhs, expr)

constexpr std::pair<PJRT_Buffer_Type, xla::PrimitiveType> kTypes[] = {
    {PJRT_Buffer_Type_PRED, xla::PRED},
    {PJRT_Buffer_Type_S2, xla::S2},
    {PJRT_Buffer_Type_S4, xla::S4},
    {PJRT_Buffer_Type_S8, xla::S8},
    {PJRT_Buffer_Type_S16, xla::S16},
    {PJRT_Buffer_Type_S32, xla::S32},
    {PJRT_Buffer_Type_S64, xla::S64},
    {PJRT_Buffer_Type_U2, xla::U2},
    {PJRT_Buffer_Type_U4, xla::U4},
    {PJRT_Buffer_Type_U8, xla::U8},
    {PJRT_Buffer_Type_U16, xla::U16},
    {PJRT_Buffer_Type_U32, xla::U32},
    {PJRT_Buffer_Type_U64, xla::U64},
    {PJRT_Buffer_Type_F16, xla::F16},
    {PJRT_Buffer_Type_F32, xla::F32},
    {PJRT_Buffer_Type_F64, xla::F64},
    {PJRT_Buffer_Type_BF16, xla::BF16},
    {PJRT_Buffer_Type_C64, xla::C64},
    {PJRT_Buffer_Type_C128, xla::C128},
    {PJRT_Buffer_Type_F8E5M2, xla::F8E5M2},
    {PJRT_Buffer_Type_F8E4M3FN, xla::F8E4M3FN},
};

xla::PrimitiveType FromPjrt(PJRT_Buffer_Type type) {
  for (const auto& [pjrt, xla] : kTypes)
    if (pjrt == type) return xla;
  return xla::PRIMITIVE_TYPE_INVALID;
}

PJRT_Buffer_Type ToPjrt(xla::PrimitiveType type) {
  for (const auto& [pjrt, xla] : kTypes)
    if (xla == type) return pjrt;
  return PJRT_Buffer_Type_INVALID;
}

PJRT_Buffer* Wrap(PJRT_Client* client,
                  std::unique_ptr<xla::PjRtBuffer> buffer) {
  auto dims = buffer->on_device_shape().dimensions();
  return new PJRT_Buffer{std::move(buffer), client, {dims.begin(), dims.end()}};
}

void Set(const std::string& text, const char** data, size_t* size) {
  *data = text.data();
  *size = text.size();
}

// Errors, events, plugin.

void ErrorDestroy(PJRT_Error_Destroy_Args* args) { delete args->error; }

void ErrorMessage(PJRT_Error_Message_Args* args) {
  Set(args->error->message, &args->message, &args->message_size);
}

PJRT_Error* ErrorGetCode(PJRT_Error_GetCode_Args* args) {
  args->code = static_cast<PJRT_Error_Code>(args->error->status.code());
  return nullptr;
}

PJRT_Error* EventDestroy(PJRT_Event_Destroy_Args* args) {
  delete args->event;
  return nullptr;
}

PJRT_Error* EventAwait(PJRT_Event_Await_Args* args) {
  if (args->event->future) RETURN_IF_ERROR(args->event->future->Await());
  return nullptr;
}

PJRT_Error* EventIsReady(PJRT_Event_IsReady_Args* args) {
  args->is_ready = !args->event->future || args->event->future->IsReady();
  return nullptr;
}

PJRT_Error* PluginInitialize(PJRT_Plugin_Initialize_Args*) { return nullptr; }

PJRT_Error* PluginAttributes(PJRT_Plugin_Attributes_Args* args) {
  args->attributes = nullptr;
  args->num_attributes = 0;
  return nullptr;
}

// Client.

// What compiled code depends on besides program, flags and this plugin: the
// CPU's features, its model (which LLVM tunes for) and the number of threads.
// Empty where that is not known.
std::string Machine(xla::PjRtClient* client) {
  auto topology = client->GetTopologyDescription();
  if (!topology.ok()) return "";
  auto features = (*topology)->Serialize();
  if (!features.ok()) return "";
  unsigned cpu[8] = {};
  for (unsigned leaf : {0, 1})  // vendor, and family, model and stepping
    __get_cpuid(leaf, cpu + 4 * leaf, cpu + 4 * leaf + 1, cpu + 4 * leaf + 2,
                cpu + 4 * leaf + 3);
  cpu_set_t set;
  const int threads =
      sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
  std::string all = *features + " " + std::to_string(threads);
  for (unsigned i : {0, 1, 2, 3, 4}) all += " " + std::to_string(cpu[i]);
  for (const char* name : {"NPROC", "PJRT_NPROC", "TF_ENABLE_ONEDNN_OPTS"})
    if (const char* value = getenv(name)) all += std::string(" ") + value;
  return all;
}

PJRT_Error* ClientCreate(PJRT_Client_Create_Args* args) {
  xla::CpuClientOptions options;
  options.cpu_device_count = 1;
  ASSIGN_OR_RETURN(auto client, xla::GetXlaPjrtCpuClient(std::move(options)));
  auto result = std::make_shared<PJRT_Client>();
  result->name = std::string(client->platform_name());
  result->version = std::string(client->platform_version());
  for (xla::PjRtDevice* d : client->addressable_devices()) {
    result->owned.push_back(std::make_unique<PJRT_Device>(
        PJRT_Device{d, {d, std::string(d->DebugString())}}));
    result->devices.push_back(result->owned.back().get());
  }
  result->machine = Machine(client.get());
  result->client = std::move(client);
  args->client = result.get();
  args->client->self = std::move(result);
  return nullptr;
}

PJRT_Error* ClientDestroy(PJRT_Client_Destroy_Args* args) {
  // Moved out, not reset: the client holds the pointer that would be resetting
  // itself.
  std::shared_ptr<PJRT_Client> last = std::move(args->client->self);
  return nullptr;
}

PJRT_Error* ClientPlatformName(PJRT_Client_PlatformName_Args* args) {
  Set(args->client->name, &args->platform_name, &args->platform_name_size);
  return nullptr;
}

PJRT_Error* ClientPlatformVersion(PJRT_Client_PlatformVersion_Args* args) {
  Set(args->client->version, &args->platform_version,
      &args->platform_version_size);
  return nullptr;
}

PJRT_Error* ClientProcessIndex(PJRT_Client_ProcessIndex_Args* args) {
  args->process_index = args->client->client->process_index();
  return nullptr;
}

PJRT_Error* ClientDevices(PJRT_Client_Devices_Args* args) {
  args->devices = args->client->devices.data();
  args->num_devices = args->client->devices.size();
  return nullptr;
}

PJRT_Error* ClientAddressableDevices(
    PJRT_Client_AddressableDevices_Args* args) {
  args->addressable_devices = args->client->devices.data();
  args->num_addressable_devices = args->client->devices.size();
  return nullptr;
}

PJRT_Error* ClientDefaultDeviceAssignment(
    PJRT_Client_DefaultDeviceAssignment_Args* args) {
  ASSIGN_OR_RETURN(auto assignment,
                   args->client->client->GetDefaultDeviceAssignment(
                       args->num_replicas, args->num_partitions));
  size_t next = 0;
  for (int r = 0; r < args->num_replicas; r++)
    for (int p = 0;
         p < args->num_partitions && next < args->default_assignment_size; p++)
      args->default_assignment[next++] = assignment(r, p);
  return nullptr;
}

absl::StatusOr<std::unique_ptr<xla::PjRtLoadedExecutable>> Compile(
    xla::PjRtClient* client, absl::string_view format, absl::string_view code,
    xla::CompileOptions options) {
  xla::XlaComputation computation;
  if (format == "mlir") {
    absl::Status status = xla::ParseMlirModuleStringAndConvertToXlaComputation(
        code, computation, /*use_tuple_args=*/false, /*return_tuple=*/false);
    if (!status.ok()) return status;
  } else if (format == "hlo") {
    xla::HloModuleProto module;
    if (!module.ParseFromArray(code.data(), code.size()))
      return absl::InvalidArgumentError("bad HloModuleProto");
    computation = xla::XlaComputation(std::move(module));
  } else {
    return absl::UnimplementedError("program format " + std::string(format));
  }
  return client->CompileAndLoad(computation, std::move(options));
}

// NoteCost adds a line to the file that HRLAB_XLA_COST names: a program's name,
// and the floating point operations and bytes that XLA counts for a call of it.
// Nothing is noted of what comes from the cache.
void NoteCost(xla::PjRtClient* client, const xla::PjRtExecutable* executable) {
  const char* file = getenv("HRLAB_XLA_COST");
  if (!file) return;
  auto modules = executable->GetHloModules();
  auto cost = client->GetHloCostAnalysis();
  if (!modules.ok() || modules->size() != 1 || !cost.ok()) return;
  if (!(*modules)[0]->entry_computation()->Accept(cost->get()).ok()) return;
  std::ofstream(file, std::ios::app)
      << executable->name() << ' ' << (*cost)->flop_count() << ' '
      << (*cost)->bytes_accessed() << '\n';
}

// Compile, but from the cache where it has this program. What the cache has and
// XLA does not load is compiled again.
absl::StatusOr<std::unique_ptr<xla::PjRtLoadedExecutable>> CachedCompile(
    const PJRT_Client* client, absl::string_view format,
    absl::string_view code, absl::string_view packed_options,
    xla::CompileOptions options) {
  const Cache& cache = client->cache;
  const xla::DebugOptions flags = xla::GetDebugOptionsFromFlags();
  if (!cache.on() || client->machine.empty() ||
      !flags.xla_dump_to().empty())  // only compiling dumps
    return Compile(client->client.get(), format, code, std::move(options));
  std::string packed_flags;
  tsl::SerializeToStringDeterministic(flags, &packed_flags);
  const std::string key = Hash({BUILD, client->machine, packed_flags,
                                packed_options, format, code});
  if (auto content = cache.Get(key)) {
    auto loaded = client->client->LoadSerializedExecutable(
        *content, options, xla::LoadOptions());
    if (loaded.ok()) return loaded;
    cache.Problem("not loaded: " + std::string(loaded.status().message()));
  }
  auto loaded =
      Compile(client->client.get(), format, code, std::move(options));
  if (!loaded.ok()) return loaded;
  NoteCost(client->client.get(), (*loaded)->GetExecutable());
  auto content = (*loaded)->GetExecutable()->SerializeExecutable();
  if (content.ok())
    cache.Put(key, *content);
  else
    cache.Problem("not serialized: " + std::string(content.status().message()));
  return loaded;
}

PJRT_Error* ClientCompile(PJRT_Client_Compile_Args* args) {
  const absl::string_view packed_options(args->compile_options,
                                         args->compile_options_size);
  xla::CompileOptionsProto proto;
  if (!proto.ParseFromArray(packed_options.data(), packed_options.size()))
    return Error(absl::InvalidArgumentError("bad CompileOptionsProto"));
  ASSIGN_OR_RETURN(auto options, xla::CompileOptions::FromProto(proto));
  ASSIGN_OR_RETURN(
      auto loaded,
      CachedCompile(args->client,
                    {args->program->format, args->program->format_size},
                    {args->program->code, args->program->code_size},
                    packed_options, std::move(options)));
  xla::PjRtExecutable* executable = loaded->GetExecutable();
  ASSIGN_OR_RETURN(auto types, executable->GetOutputElementTypes());
  std::string name(executable->name());
  args->executable = new PJRT_LoadedExecutable{
      args->client->self, std::move(loaded), std::move(name),
      types.empty() ? 0 : types[0].size()};
  return nullptr;
}

PJRT_Error* ClientBufferFromHostBuffer(
    PJRT_Client_BufferFromHostBuffer_Args* args) {
  std::optional<absl::Span<const int64_t>> strides;
  if (args->num_byte_strides)
    strides.emplace(args->byte_strides, args->num_byte_strides);
  xla::PjRtDevice* device =
      (args->device ? args->device : args->client->devices[0])->device;
  ASSIGN_OR_RETURN(auto* memory, device->default_memory_space());
  // Copied during the call: Go's memory may move or go afterwards.
  ASSIGN_OR_RETURN(
      auto buffer,
      args->client->client->BufferFromHostBuffer(
          args->data, FromPjrt(args->type), {args->dims, args->num_dims},
          strides,
          xla::PjRtClient::HostBufferSemantics::kImmutableOnlyDuringCall, [] {},
          memory, /*device_layout=*/nullptr));
  args->buffer = Wrap(args->client, std::move(buffer));
  args->done_with_host_buffer = new PJRT_Event{};
  return nullptr;
}

PJRT_Error* ClientCreateViewOfDeviceBuffer(
    PJRT_Client_CreateViewOfDeviceBuffer_Args* args) {
  xla::PjRtDevice* device =
      (args->device ? args->device : args->client->devices[0])->device;
  ASSIGN_OR_RETURN(auto* memory, device->default_memory_space());
  auto shape = xla::ShapeUtil::MakeShapeWithDescendingLayout(
      FromPjrt(args->element_type), {args->dims, args->num_dims});
  std::function<void()> on_delete;
  if (args->on_delete_callback) {
    on_delete = [callback = args->on_delete_callback,
                 arg = args->on_delete_callback_arg,
                 data = args->device_buffer_ptr] { callback(data, arg); };
  }
  ASSIGN_OR_RETURN(auto buffer, args->client->client->CreateViewOfDeviceBuffer(
                                    args->device_buffer_ptr, shape, memory,
                                    on_delete, /*stream=*/std::nullopt));
  args->buffer = Wrap(args->client, std::move(buffer));
  return nullptr;
}

// Devices.

PJRT_Error* DeviceGetDescription(PJRT_Device_GetDescription_Args* args) {
  args->device_description = &args->device->description;
  return nullptr;
}

PJRT_Error* DeviceIsAddressable(PJRT_Device_IsAddressable_Args* args) {
  args->is_addressable = args->device->device->IsAddressable();
  return nullptr;
}

PJRT_Error* DeviceLocalHardwareId(PJRT_Device_LocalHardwareId_Args* args) {
  args->local_hardware_id = args->device->device->local_hardware_id().value();
  return nullptr;
}

PJRT_Error* DescriptionDebugString(
    PJRT_DeviceDescription_DebugString_Args* args) {
  Set(args->device_description->debug, &args->debug_string,
      &args->debug_string_size);
  return nullptr;
}

PJRT_Error* DescriptionProcessIndex(
    PJRT_DeviceDescription_ProcessIndex_Args* args) {
  args->process_index = args->device_description->device->process_index();
  return nullptr;
}

// Buffers.

PJRT_Error* BufferDestroy(PJRT_Buffer_Destroy_Args* args) {
  delete args->buffer;
  return nullptr;
}

PJRT_Error* BufferDevice(PJRT_Buffer_Device_Args* args) {
  for (PJRT_Device* d : args->buffer->client->devices) {
    if (d->device == args->buffer->buffer->device()) {
      args->device = d;
      return nullptr;
    }
  }
  return Error(absl::InternalError("buffer on an unknown device"));
}

PJRT_Error* BufferDimensions(PJRT_Buffer_Dimensions_Args* args) {
  args->dims = args->buffer->dims.data();
  args->num_dims = args->buffer->dims.size();
  return nullptr;
}

PJRT_Error* BufferElementType(PJRT_Buffer_ElementType_Args* args) {
  args->type = ToPjrt(args->buffer->buffer->on_device_shape().element_type());
  return nullptr;
}

PJRT_Error* BufferUnsafePointer(PJRT_Buffer_UnsafePointer_Args* args) {
  RETURN_IF_ERROR(args->buffer->buffer->GetReadyFuture().Await());
  ASSIGN_OR_RETURN(args->buffer_pointer,
                   args->buffer->client->client->UnsafeBufferPointer(
                       args->buffer->buffer.get()));
  return nullptr;
}

PJRT_Error* BufferToHostBuffer(PJRT_Buffer_ToHostBuffer_Args* args) {
  const xla::Shape& on_device = args->src->buffer->on_device_shape();
  auto shape = xla::ShapeUtil::MakeShapeWithDescendingLayout(
      on_device.element_type(), on_device.dimensions());
  const size_t size = xla::ShapeUtil::ByteSizeOf(shape);
  // Rows first, whatever host_layout says: the only layout that go-xla asks
  // for.
  if (!args->dst) {  // the caller asks for the size
    args->dst_size = size;
    return nullptr;
  }
  if (args->dst_size < size)
    return Error(absl::InvalidArgumentError("destination is too small"));
  xla::MutableBorrowingLiteral literal(static_cast<const char*>(args->dst),
                                       shape);
  RETURN_IF_ERROR(args->src->buffer->ToLiteralSync(&literal));
  args->event = new PJRT_Event{};
  return nullptr;
}

PJRT_Error* BufferCopyToDevice(PJRT_Buffer_CopyToDevice_Args* args) {
  ASSIGN_OR_RETURN(auto* memory,
                   args->dst_device->device->default_memory_space());
  ASSIGN_OR_RETURN(auto buffer,
                   args->buffer->buffer->CopyToMemorySpace(memory));
  args->dst_buffer = Wrap(args->buffer->client, std::move(buffer));
  return nullptr;
}

// Executables.

PJRT_Error* LoadedExecutableDestroy(PJRT_LoadedExecutable_Destroy_Args* args) {
  delete args->executable;
  return nullptr;
}

PJRT_Error* LoadedExecutableGetExecutable(
    PJRT_LoadedExecutable_GetExecutable_Args* args) {
  args->executable = new PJRT_Executable{*args->loaded_executable};
  return nullptr;
}

PJRT_Error* ExecutableDestroy(PJRT_Executable_Destroy_Args* args) {
  delete args->executable;
  return nullptr;
}

PJRT_Error* ExecutableName(PJRT_Executable_Name_Args* args) {
  Set(args->executable->name, &args->executable_name,
      &args->executable_name_size);
  return nullptr;
}

PJRT_Error* ExecutableNumOutputs(PJRT_Executable_NumOutputs_Args* args) {
  args->num_outputs = args->executable->outputs;
  return nullptr;
}

PJRT_Error* ExecutableGetCompiledMemoryStats(
    PJRT_Executable_GetCompiledMemoryStats_Args* args) {
  ASSIGN_OR_RETURN(
      auto stats,
      args->executable->executable->GetExecutable()->GetCompiledMemoryStats());
  args->generated_code_size_in_bytes = stats.generated_code_size_in_bytes;
  args->argument_size_in_bytes = stats.argument_size_in_bytes;
  args->output_size_in_bytes = stats.output_size_in_bytes;
  args->alias_size_in_bytes = stats.alias_size_in_bytes;
  args->temp_size_in_bytes = stats.temp_size_in_bytes;
  args->host_generated_code_size_in_bytes =
      stats.host_generated_code_size_in_bytes;
  args->host_argument_size_in_bytes = stats.host_argument_size_in_bytes;
  args->host_output_size_in_bytes = stats.host_output_size_in_bytes;
  args->host_alias_size_in_bytes = stats.host_alias_size_in_bytes;
  args->host_temp_size_in_bytes = stats.host_temp_size_in_bytes;
  args->peak_memory_in_bytes = stats.peak_memory_in_bytes;
  args->total_size_in_bytes = stats.total_size_in_bytes;
  return nullptr;
}

PJRT_Error* LoadedExecutableExecute(PJRT_LoadedExecutable_Execute_Args* args) {
  xla::ExecuteOptions options;
  if (args->options) {
    options.launch_id = args->options->launch_id;
    for (size_t i = 0; i < args->options->num_non_donatable_input_indices; i++)
      options.non_donatable_input_indices.insert(
          args->options->non_donatable_input_indices[i]);
  }
  if (args->num_devices != 1)
    return Error(absl::UnimplementedError("execution on several devices"));
  xla::PjRtLoadedExecutable* executable = args->executable->executable.get();
  PJRT_Client* client = args->executable->client.get();
  std::vector<xla::PjRtBuffer*> inputs;
  for (size_t i = 0; i < args->num_args; i++)
    inputs.push_back(args->argument_lists[0][i]->buffer.get());
  xla::PjRtDevice* device =
      (args->execute_device ? args->execute_device : client->devices[0])
          ->device;
  std::optional<xla::Future<>> done;
  const bool portable = executable->addressable_devices().empty();
  auto outputs = portable
                     ? executable->ExecutePortable(inputs, device, options,
                                                   done, /*fill_future=*/true)
                     : executable->ExecuteSharded(inputs, device, options, done,
                                                  /*fill_future=*/true);
  if (!outputs.ok()) return Error(outputs.status());
  for (size_t i = 0; i < outputs->size(); i++)
    args->output_lists[0][i] = Wrap(client, std::move((*outputs)[i]));
  if (args->device_complete_events)
    args->device_complete_events[0] = new PJRT_Event{std::move(done)};
  return nullptr;
}

// A slot that nothing fills. Every slot takes one pointer, so one function
// serves all of them.
PJRT_Error* Unimplemented(void*) {
  return Error(
      absl::UnimplementedError("this call of the PJRT API is not implemented "
                               "by hrlab's XLA:CPU plugin"));
}

// The table, and beyond it slots of later versions of the API, in case a caller
// does not look at struct_size.
struct Table {
  PJRT_Api api;
  void* later[64];
};

Table MakeTable() {
  using Slot = PJRT_Error* (*)(void*);
  Table table;
  memset(&table, 0, sizeof table);
  auto* slots = reinterpret_cast<Slot*>(&table);
  for (size_t i = offsetof(PJRT_Api, PJRT_Error_Destroy) / sizeof(Slot);
       i < sizeof table / sizeof(Slot); i++)
    slots[i] = Unimplemented;

  PJRT_Api& api = table.api;
  api.struct_size = PJRT_Api_STRUCT_SIZE;
  api.pjrt_api_version.struct_size = PJRT_Api_Version_STRUCT_SIZE;
  api.pjrt_api_version.major_version = PJRT_API_MAJOR;
  api.pjrt_api_version.minor_version = PJRT_API_MINOR;
  api.PJRT_Error_Destroy = ErrorDestroy;
  api.PJRT_Error_Message = ErrorMessage;
  api.PJRT_Error_GetCode = ErrorGetCode;
  api.PJRT_Plugin_Initialize = PluginInitialize;
  api.PJRT_Plugin_Attributes = PluginAttributes;
  api.PJRT_Event_Destroy = EventDestroy;
  api.PJRT_Event_Await = EventAwait;
  api.PJRT_Event_IsReady = EventIsReady;
  api.PJRT_Client_Create = ClientCreate;
  api.PJRT_Client_Destroy = ClientDestroy;
  api.PJRT_Client_PlatformName = ClientPlatformName;
  api.PJRT_Client_PlatformVersion = ClientPlatformVersion;
  api.PJRT_Client_ProcessIndex = ClientProcessIndex;
  api.PJRT_Client_Devices = ClientDevices;
  api.PJRT_Client_AddressableDevices = ClientAddressableDevices;
  api.PJRT_Client_DefaultDeviceAssignment = ClientDefaultDeviceAssignment;
  api.PJRT_Client_Compile = ClientCompile;
  api.PJRT_Client_BufferFromHostBuffer = ClientBufferFromHostBuffer;
  api.PJRT_Client_CreateViewOfDeviceBuffer = ClientCreateViewOfDeviceBuffer;
  api.PJRT_Device_GetDescription = DeviceGetDescription;
  api.PJRT_Device_IsAddressable = DeviceIsAddressable;
  api.PJRT_Device_LocalHardwareId = DeviceLocalHardwareId;
  api.PJRT_DeviceDescription_DebugString = DescriptionDebugString;
  api.PJRT_DeviceDescription_ProcessIndex = DescriptionProcessIndex;
  api.PJRT_Buffer_Destroy = BufferDestroy;
  api.PJRT_Buffer_Device = BufferDevice;
  api.PJRT_Buffer_Dimensions = BufferDimensions;
  api.PJRT_Buffer_ElementType = BufferElementType;
  api.PJRT_Buffer_UnsafePointer = BufferUnsafePointer;
  api.PJRT_Buffer_ToHostBuffer = BufferToHostBuffer;
  api.PJRT_Buffer_CopyToDevice = BufferCopyToDevice;
  api.PJRT_LoadedExecutable_Destroy = LoadedExecutableDestroy;
  api.PJRT_LoadedExecutable_GetExecutable = LoadedExecutableGetExecutable;
  api.PJRT_LoadedExecutable_Execute = LoadedExecutableExecute;
  api.PJRT_Executable_Destroy = ExecutableDestroy;
  api.PJRT_Executable_Name = ExecutableName;
  api.PJRT_Executable_NumOutputs = ExecutableNumOutputs;
  api.PJRT_Executable_GetCompiledMemoryStats = ExecutableGetCompiledMemoryStats;
  return table;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const PJRT_Api* GetPjrtApi() {
  static const Table table = MakeTable();
  return &table.api;
}
