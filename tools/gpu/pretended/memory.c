/* Device memory that is the host's: every block is remembered with its kind, so that a copy's direction is known. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "driver_types.h"
#include "pretended.h"

enum { PAGEABLE = 0, PINNED = 1, DEVICE = 2, BLOCKS = 1 << 16 };

static struct {
  char *start;
  size_t size;
  int kind;
} blocks[BLOCKS];
static int used; /* blocks that were ever taken; a freed one has no start */
static size_t on_device;
static const size_t everything = 141ul << 30;
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

int pretended_is_capturing(void);

static int take(void **found, size_t size, int kind) {
  if (pretended_is_capturing()) return NOT_WHILE_CAPTURING;
  size_t whole = size ? (size + 4095) & ~(size_t)4095 : 4096;
  void *start = mmap(0, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return OUT_OF_MEMORY;
  pthread_mutex_lock(&changing);
  int i = 0;
  while (i < used && blocks[i].start) i++;
  if (i == BLOCKS) {
    pthread_mutex_unlock(&changing);
    return OUT_OF_MEMORY;
  }
  if (i == used) used++;
  blocks[i].start = start;
  blocks[i].size = whole;
  blocks[i].kind = kind;
  if (kind == DEVICE) on_device += whole;
  pthread_mutex_unlock(&changing);
  *found = start;
  return SUCCESS;
}

static int give_back(void *start) {
  pthread_mutex_lock(&changing);
  for (int i = 0; i < used && start; i++)
    if (blocks[i].start == start) {
      if (blocks[i].kind == DEVICE) on_device -= blocks[i].size;
      munmap(start, blocks[i].size);
      blocks[i].start = 0;
      break;
    }
  pthread_mutex_unlock(&changing);
  return SUCCESS;
}

static int kind_of(const void *address) {
  const char *at = address;
  int kind = PAGEABLE;
  pthread_mutex_lock(&changing);
  for (int i = 0; i < used; i++)
    if (blocks[i].start && at >= blocks[i].start && at < blocks[i].start + blocks[i].size) {
      kind = blocks[i].kind;
      break;
    }
  pthread_mutex_unlock(&changing);
  return kind;
}

API int cudaMalloc(void **p, size_t size) { pretended_count("cudaMalloc", size); return take(p, size, DEVICE); }
API int cudaMallocFromPoolAsync(void **p, size_t size, void *pool, void *stream) { return cudaMalloc(p, size); }
API int cudaMallocHost(void **p, size_t size) { pretended_count("cudaMallocHost", size); return take(p, size, PINNED); }
API int cudaHostAlloc(void **p, size_t size, unsigned flags) { return cudaMallocHost(p, size); }
API int cudaFree(void *p) { COUNTED(); return give_back(p); }
API int cudaFreeAsync(void *p, void *stream) { COUNTED(); return give_back(p); }
API int cudaFreeHost(void *p) { COUNTED(); return give_back(p); }

API int cudaMemGetInfo(size_t *free, size_t *total) {
  *total = everything;
  *free = everything - on_device;
  return SUCCESS;
}

API int cudaPointerGetAttributes(struct cudaPointerAttributes *found, const void *p) {
  memset(found, 0, sizeof *found);
  found->type = kind_of(p);
  found->devicePointer = found->hostPointer = (void *)p;
  return SUCCESS;
}

static void count_copy(const void *to, const void *from, size_t size) {
  static const char *const side[] = {"host", "host", "device"};
  int a = kind_of(from), b = kind_of(to);
  char name[64];
  snprintf(name, sizeof name, "copy %s to %s%s", side[a], side[b], a == b ? "" : a + b == DEVICE ? ", pageable" : ", pinned");
  pretended_count(name, size);
}

API int cudaMemcpyAsync(void *to, const void *from, size_t size, int direction, void *stream) {
  count_copy(to, from, size);
  memmove(to, from, size);
  return SUCCESS;
}

API int cudaMemcpy(void *to, const void *from, size_t size, int direction) {
  if (pretended_is_capturing()) return NOT_WHILE_CAPTURING;
  COUNTED(); /* it waits, too */
  return cudaMemcpyAsync(to, from, size, direction, 0);
}

API int cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
                          int direction, void *stream) {
  count_copy(to, from, width * height);
  for (size_t row = 0; row < height; row++)
    memmove((char *)to + row * to_pitch, (const char *)from + row * from_pitch, width);
  return SUCCESS;
}

API int cudaMemcpyFromSymbol(void *to, const void *symbol, size_t size, size_t offset, int direction) {
  COUNTED();
  memset(to, 0, size);
  return SUCCESS;
}

API int cudaMemsetAsync(void *p, int value, size_t size, void *stream) {
  pretended_count("kernel memset", size);
  memset(p, value, size);
  return SUCCESS;
}

API int cudaMemset(void *p, int value, size_t size) { return cudaMemsetAsync(p, value, size, 0); }

API int cudaMemPoolGetAttribute(void *pool, int which, void *value) {
  *(uint64_t *)value = 0;
  return SUCCESS;
}
