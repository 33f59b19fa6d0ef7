/* The device: one card with the measures of an H200; its streams, and the graphs they are captured into. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "driver_types.h"
#include "pretended.h"

enum { CUDA_13 = 13000, PROCESSORS = 132, L2_BYTES = 50 << 20, SHARED_BYTES = 48 << 10, SHARED_MOST = 227 << 10 };

API int cudaGetDeviceCount(int *count) { *count = 1; return SUCCESS; }
API int cudaGetDevice(int *device) { *device = 0; return SUCCESS; }
API int cudaSetDevice(int device) { return device ? NO_SUCH_DEVICE : SUCCESS; }
API int cudaDriverGetVersion(int *version) { *version = CUDA_13; return SUCCESS; }
API int cudaRuntimeGetVersion(int *version) { *version = CUDA_13; return SUCCESS; }
API int cudaGetLastError(void) { return SUCCESS; } /* asked after every launch: not counted */
API int cudaPeekAtLastError(void) { return SUCCESS; }

API int cudaGetDeviceProperties(struct cudaDeviceProp *found, int device) {
  memset(found, 0, sizeof *found);
  strcpy(found->name, "pretended H200");
  found->major = 9;
  found->totalGlobalMem = 141ul << 30;
  found->totalConstMem = 64 << 10;
  found->l2CacheSize = L2_BYTES;
  found->multiProcessorCount = PROCESSORS;
  found->warpSize = 32;
  found->maxThreadsPerBlock = found->maxThreadsDim[0] = found->maxThreadsDim[1] = 1024;
  found->maxThreadsDim[2] = 64;
  found->maxThreadsPerMultiProcessor = 2048;
  found->maxBlocksPerMultiProcessor = 32;
  found->maxGridSize[0] = 0x7fffffff;
  found->maxGridSize[1] = found->maxGridSize[2] = 0xffff;
  found->regsPerBlock = found->regsPerMultiprocessor = 1 << 16;
  found->sharedMemPerBlock = SHARED_BYTES;
  found->sharedMemPerBlockOptin = SHARED_MOST;
  found->sharedMemPerMultiprocessor = 228 << 10;
  found->textureAlignment = 512;
  found->asyncEngineCount = 3;
  found->canMapHostMemory = found->concurrentKernels = found->unifiedAddressing = found->managedMemory = 1;
  found->cooperativeLaunch = found->clusterLaunch = found->memoryPoolsSupported = 1;
  return SUCCESS;
}

API int cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int device) {
  struct cudaDeviceProp all;
  cudaGetDeviceProperties(&all, device);
  switch (which) {
    case cudaDevAttrMaxThreadsPerBlock: *value = all.maxThreadsPerBlock; break;
    case cudaDevAttrMaxBlockDimX: *value = all.maxThreadsDim[0]; break;
    case cudaDevAttrMaxBlockDimY: *value = all.maxThreadsDim[1]; break;
    case cudaDevAttrMaxBlockDimZ: *value = all.maxThreadsDim[2]; break;
    case cudaDevAttrMaxGridDimX: *value = all.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY: *value = all.maxGridSize[1]; break;
    case cudaDevAttrMaxGridDimZ: *value = all.maxGridSize[2]; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = all.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = all.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = all.sharedMemPerMultiprocessor; break;
    case cudaDevAttrMaxRegistersPerBlock: *value = all.regsPerBlock; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = all.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrMultiProcessorCount: *value = all.multiProcessorCount; break;
    case cudaDevAttrL2CacheSize: *value = all.l2CacheSize; break;
    case cudaDevAttrWarpSize: *value = all.warpSize; break;
    case cudaDevAttrComputeCapabilityMajor: *value = all.major; break;
    case cudaDevAttrCooperativeLaunch: case cudaDevAttrMemoryPoolsSupported: *value = 1; break;
    default: *value = 0;
  }
  return SUCCESS;
}

API int cudaGetDriverEntryPointByVersion(const char *name, void **found, unsigned version, unsigned long long flags,
                                         int *status) {
  *found = dlsym(RTLD_DEFAULT, name);
  if (status) *status = !*found;
  return SUCCESS;
}

/* Nothing is asynchronous, so waiting is only counted; but a stream that is captured may not be waited for. */
static int capturing;

int pretended_is_capturing(void) { return capturing; }

static int wait_for(const char *what) {
  pretended_count(what, 0);
  return capturing ? NOT_WHILE_CAPTURING : SUCCESS;
}

API int cudaDeviceSynchronize(void) { return wait_for(__func__); }
API int cudaStreamSynchronize(void *stream) { return wait_for(__func__); }
API int cudaEventSynchronize(void *event) { return wait_for(__func__); }
API int cudaStreamDestroy(void *stream) { free(stream); return SUCCESS; }
API int cudaEventDestroy(void *event) { free(event); return SUCCESS; }
API int cudaEventElapsedTime(float *milliseconds, void *from, void *to) { *milliseconds = 0.01f; return SUCCESS; }
API int cudaLaunchHostFunc(void *stream, void (*call)(void *), void *with) { COUNTED(); call(with); return SUCCESS; }
API int cudaStreamIsCapturing(void *stream, int *found) { *found = capturing; return SUCCESS; }
API int cudaStreamBeginCapture(void *stream, int mode) { COUNTED(); capturing = 1; return SUCCESS; }

API int cudaStreamEndCapture(void *stream, void **graph) {
  COUNTED();
  capturing = 0;
  *graph = calloc(1, 64);
  return SUCCESS;
}

API int cudaGraphInstantiate(void **ready, void *graph, unsigned long long flags) {
  COUNTED();
  *ready = calloc(1, 64);
  return SUCCESS;
}
