/* Kernels: named when the library that holds them registers them, counted when they are launched, and not run.

   But int64 sums, differences, products and quotients, which are computed: the host reads such numbers (the bounds of a
   slice) to go on. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver_types.h"
#include "pretended.h"

struct extent {
  unsigned x, y, z;
};

enum { KERNELS = 1 << 18, FEW = 4096 };

static struct {
  const void *stand_in; /* the host's function of that kernel, by whose address it is launched */
  const char *name;
} kernels[KERNELS];

static unsigned find(const void *stand_in) {
  unsigned at = (unsigned)((uintptr_t)stand_in >> 4) * 2654435761u % KERNELS;
  while (kernels[at].stand_in && kernels[at].stand_in != stand_in) at = (at + 1) % KERNELS;
  return at;
}

API void **__cudaRegisterFatBinary(void *code) { return calloc(1, 64); }
API void __cudaRegisterFatBinaryEnd(void **code) {}
API void __cudaUnregisterFatBinary(void **code) {}
API void __cudaRegisterVar(void **code, char *host, char *device, const char *name, int external, size_t size, int constant,
                           int global) {}

API void __cudaRegisterFunction(void **code, const char *stand_in, char *device, const char *name, int threads, void *a,
                                void *b, void *c, void *d, int *warps) {
  unsigned at = find(stand_in);
  kernels[at].stand_in = stand_in;
  kernels[at].name = name;
}

static void compute_whole_numbers(const char *name, void **given) {
  const char *shape = strstr(name, "BinaryElementWiseSimpleILb"); /* then for either operand whether it advances */
  const char *types = strstr(name, "ElllNS0_"), *operation = strstr(name, "OP_");
  if (!shape || !types || !operation) return;
  shape += strlen("BinaryElementWiseSimpleILb");
  const int64_t *left = *(const int64_t **)given[0], *right = *(const int64_t **)given[1];
  int64_t *result = *(int64_t **)given[2];
  int count = *(int *)given[4], step_left = shape[0] == '1', step_right = shape[4] == '1';
  for (int i = 0; i < count && count <= FEW; i++, left += step_left, right += step_right) {
    if (!strncmp(operation, "OP_Add", 6)) result[i] = *left + *right;
    if (!strncmp(operation, "OP_Sub", 6)) result[i] = *left - *right;
    if (!strncmp(operation, "OP_Mul", 6)) result[i] = *left * *right;
    if (!strncmp(operation, "OP_Div", 6)) result[i] = *right ? *left / *right : 0;
  }
}

static int launch(const void *stand_in, void **given) {
  unsigned at = find(stand_in);
  const char *name = kernels[at].stand_in ? kernels[at].name : "unknown";
  char counted[512];
  snprintf(counted, sizeof counted, "kernel %.480s", name);
  pretended_count(counted, 0);
  if (given) compute_whole_numbers(name, given);
  return SUCCESS;
}

API int cudaLaunchKernel(const void *f, struct extent grid, struct extent block, void **given, size_t shared, void *s) {
  return launch(f, given);
}

API int __cudaLaunchKernel(void *f, struct extent grid, struct extent block, void **given, size_t shared, void *s) {
  return launch(f, given);
}

API int cudaLaunchCooperativeKernel(const void *f, struct extent grid, struct extent block, void **given, size_t shared,
                                    void *s) {
  return launch(f, 0);
}

API int cudaLaunchKernelExC(const void *how, const void *f, void **given) { return launch(f, 0); }
API int __cudaGetKernel(void **found, const void *f) { *found = (void *)f; return SUCCESS; }
API int cudaLibraryLoadData(void **library) { return 98; } /* no such function: code that comes as data is not known */
API int cudaLibraryGetKernel(void **found) { return 98; }

/* The three-bracket launch pushes its measures and pops them in the stand-in. */
static __thread struct {
  struct extent grid, block;
  size_t shared;
  void *stream;
} pushed;

API unsigned __cudaPushCallConfiguration(struct extent grid, struct extent block, size_t shared, void *stream) {
  pushed.grid = grid;
  pushed.block = block;
  pushed.shared = shared;
  pushed.stream = stream;
  return SUCCESS;
}

API int __cudaPopCallConfiguration(struct extent *grid, struct extent *block, size_t *shared, void *stream) {
  *grid = pushed.grid;
  *block = pushed.block;
  *shared = pushed.shared;
  *(void **)stream = pushed.stream;
  return SUCCESS;
}

API int cudaFuncGetAttributes(struct cudaFuncAttributes *found, const void *f) {
  memset(found, 0, sizeof *found);
  found->maxThreadsPerBlock = 1024;
  found->numRegs = 32;
  found->binaryVersion = found->ptxVersion = 90;
  found->maxDynamicSharedSizeBytes = 227 << 10;
  return SUCCESS;
}

API int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *f, int threads, size_t shared,
                                                               unsigned flags) {
  *blocks = 2;
  return SUCCESS;
}
