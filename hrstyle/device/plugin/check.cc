// Checks a plugin as go-xla would meet it: opens it, doubles two numbers on its
// device, and calls slots that nothing fills. A program of its own, because a
// plugin that does not fit the machine or the compiler crashes.
//
//     check plugin.so      exits with 0, or says what is wrong and exits with 1

#include <dlfcn.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "xla/pjrt/c/pjrt_c_api.h"

namespace {

const PJRT_Api* api;

[[noreturn]] void Fail(const std::string& what) {
  fprintf(stderr, "error: %s\n", what.c_str());
  exit(1);
}

template <typename Args>
Args Make() {
  Args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  return args;
}

// The error's code; the error is freed.
PJRT_Error_Code Take(PJRT_Error* error, std::string* message) {
  auto text = Make<PJRT_Error_Message_Args>();
  text.error = error;
  api->PJRT_Error_Message(&text);
  message->assign(text.message, text.message_size);
  auto code = Make<PJRT_Error_GetCode_Args>();
  code.error = error;
  api->PJRT_Error_GetCode(&code);
  auto destroy = Make<PJRT_Error_Destroy_Args>();
  destroy.error = error;
  api->PJRT_Error_Destroy(&destroy);
  return code.code;
}

void Must(const char* call, PJRT_Error* error) {
  if (!error) return;
  std::string message;
  Take(error, &message);
  Fail(std::string(call) + ": " + message);
}

void Await(PJRT_Event* event) {
  auto await = Make<PJRT_Event_Await_Args>();
  await.event = event;
  Must("PJRT_Event_Await", api->PJRT_Event_Await(&await));
  auto destroy = Make<PJRT_Event_Destroy_Args>();
  destroy.event = event;
  Must("PJRT_Event_Destroy", api->PJRT_Event_Destroy(&destroy));
}

// Every slot, and those of later versions of the API after the table's end,
// must be callable; those that this plugin does not fill answer UNIMPLEMENTED.
void CheckSlots() {
  using Slot = PJRT_Error* (*)(void*);
  const Slot* slots = reinterpret_cast<const Slot*>(api);
  const size_t end = PJRT_Api_STRUCT_SIZE / sizeof(Slot);
  for (size_t i = offsetof(PJRT_Api, PJRT_Error_Destroy) / sizeof(Slot);
       i < end + 16; ++i) {
    if (!slots[i]) Fail("slot " + std::to_string(i) + " of the API is empty");
  }
  for (size_t i : {offsetof(PJRT_Api, PJRT_Executable_Serialize) / sizeof(Slot),
                   offsetof(PJRT_Api, PJRT_Device_MemoryStats) / sizeof(Slot),
                   end, end + 15}) {
    PJRT_Error* error = slots[i](nullptr);
    std::string message;
    if (!error || Take(error, &message) != PJRT_Error_Code_UNIMPLEMENTED ||
        message.empty()) {
      Fail("slot " + std::to_string(i) +
           " of the API does not answer UNIMPLEMENTED");
    }
  }
}

// Compiles x + x and runs it.
void CheckRun() {
  auto create = Make<PJRT_Client_Create_Args>();
  Must("PJRT_Client_Create", api->PJRT_Client_Create(&create));

  auto program = Make<PJRT_Program>();
  const std::string code =
      "module { func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {"
      " %y = \"stablehlo.add\"(%x, %x)"
      " : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>"
      " func.return %y : tensor<2xf32> } }";
  program.code = const_cast<char*>(code.data());
  program.code_size = code.size();
  program.format = "mlir";
  program.format_size = strlen(program.format);
  // CompileOptionsProto{executable_build_options{num_replicas: 1
  // num_partitions: 1} compile_portable_executable: true}
  const char options[] = "\x1a\x04\x20\x01\x28\x01\x20\x01";
  auto compile = Make<PJRT_Client_Compile_Args>();
  compile.client = create.client;
  compile.program = &program;
  compile.compile_options = options;
  compile.compile_options_size = sizeof options - 1;
  Must("PJRT_Client_Compile", api->PJRT_Client_Compile(&compile));

  const float x[2] = {1.5f, -2};
  const int64_t dims[] = {2};
  auto upload = Make<PJRT_Client_BufferFromHostBuffer_Args>();
  upload.client = create.client;
  upload.data = x;
  upload.type = PJRT_Buffer_Type_F32;
  upload.dims = dims;
  upload.num_dims = 1;
  Must("PJRT_Client_BufferFromHostBuffer",
       api->PJRT_Client_BufferFromHostBuffer(&upload));
  Await(upload.done_with_host_buffer);

  PJRT_Buffer* output = nullptr;
  PJRT_Buffer* const* inputs[] = {&upload.buffer};
  PJRT_Buffer** outputs[] = {&output};
  auto execute_options = Make<PJRT_ExecuteOptions>();
  auto execute = Make<PJRT_LoadedExecutable_Execute_Args>();
  execute.executable = compile.executable;
  execute.options = &execute_options;
  execute.argument_lists = inputs;
  execute.num_devices = 1;
  execute.num_args = 1;
  execute.output_lists = outputs;
  Must("PJRT_LoadedExecutable_Execute",
       api->PJRT_LoadedExecutable_Execute(&execute));

  float y[2] = {0, 0};
  auto download = Make<PJRT_Buffer_ToHostBuffer_Args>();
  download.src = output;
  download.dst = y;
  download.dst_size = sizeof y;
  Must("PJRT_Buffer_ToHostBuffer", api->PJRT_Buffer_ToHostBuffer(&download));
  Await(download.event);
  if (y[0] != 3 || y[1] != -4) {
    Fail("1.5 and -2 doubled are " + std::to_string(y[0]) + " and " +
         std::to_string(y[1]));
  }
}

}  // namespace

int main(int argc, char** argv) {
  void* plugin = argc == 2 ? dlopen(argv[1], RTLD_LAZY | RTLD_LOCAL) : nullptr;
  if (!plugin) Fail(argc == 2 ? dlerror() : "usage: check plugin.so");
  auto get =
      reinterpret_cast<const PJRT_Api* (*)()>(dlsym(plugin, "GetPjrtApi"));
  if (!get) Fail(dlerror());
  api = get();
  CheckSlots();
  CheckRun();
}
