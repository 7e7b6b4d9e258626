// Opens a plugin and looks at its table through go-xla's header, which is of a later version of the API than the
// plugin: no slot may be empty, and unused ones answer UNIMPLEMENTED, those past the plugin's own end too.
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "pjrt_c_api.h"

typedef PJRT_Error* (*Slot)(void*);

static const PJRT_Api* api;

static void show(const char* name, size_t offset) {
  char args[256] = {0};
  PJRT_Error* error = (*(const Slot*)((const char*)api + offset))(args);
  PJRT_Error_GetCode_Args code = {.struct_size = sizeof code, .error = error};
  PJRT_Error_Message_Args message = {.struct_size = sizeof message, .error = error};
  if (!error || api->PJRT_Error_GetCode(&code)) {
    printf("%s: no error\n", name);
    return;
  }
  api->PJRT_Error_Message(&message);
  printf("%s: %s %.*s\n", name, code.code == PJRT_Error_Code_UNIMPLEMENTED ? "UNIMPLEMENTED" : "another code", (int)message.message_size, message.message);
  PJRT_Error_Destroy_Args destroy = {.struct_size = sizeof destroy, .error = error};
  api->PJRT_Error_Destroy(&destroy);
}

int main(int argc, char** argv) {
  void* plugin = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  const PJRT_Api* (*get)(void) = plugin ? (const PJRT_Api* (*)(void))dlsym(plugin, "GetPjrtApi") : NULL;
  if (!get) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  api = get();
  for (size_t at = offsetof(PJRT_Api, PJRT_Error_Destroy); at < sizeof *api; at += sizeof(Slot)) {
    if (!*(const Slot*)((const char*)api + at)) printf("the slot at %zu is empty\n", at);
  }
  printf("version %d.%d\n", api->pjrt_api_version.major_version, api->pjrt_api_version.minor_version);
  show("inside", offsetof(PJRT_Api, PJRT_Client_TopologyDescription));
  show("past the end", offsetof(PJRT_Api, PJRT_Executable_ParameterMemoryKinds));
  return 0;
}
