/* cuDNN: descriptors remember their shapes, one engine without workspace is offered for everything, plans are counted. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pretended.h"

API size_t cudnnGetVersion(void) { return 91400; }
API size_t cudnnGetCudartVersion(void) { return 13000; }
API void cudnnGetLastErrorString(char *text, size_t size) { if (size) text[0] = 0; }
API int cudnnSetStream(void **handle, void *stream) { *handle = stream; return SUCCESS; }
API int cudnnGetStream(void **handle, void **stream) { *stream = *handle; return SUCCESS; }

static int one_kilobyte(size_t *size) {
  *size = 1024;
  return SUCCESS;
}

API int cudnnGetReductionWorkspaceSize(void *h, void *r, void *a, void *c, size_t *size) { return one_kilobyte(size); }
API int cudnnGetReductionIndicesSize(void *h, void *r, void *a, void *c, size_t *size) { return one_kilobyte(size); }
API int cudnnDropoutGetStatesSize(void *h, size_t *size) { return one_kilobyte(size); }

API int cudnnGetRNNTempSpaceSizes(void *h, void *rnn, int mode, void *x, size_t *work, size_t *reserve) {
  if (reserve) one_kilobyte(reserve);
  return one_kilobyte(work);
}

API int cudnnGetConvolutionForwardWorkspaceSize(void *h, void *x, void *w, void *c, void *y, int algorithm, size_t *size) {
  return one_kilobyte(size);
}

struct performance {
  int algorithm, status;
  float time;
  size_t memory;
  int determinism, math, reserved[3];
};

static int first_algorithm(int *found, struct performance *first) {
  memset(first, 0, sizeof *first);
  first->algorithm = 1;
  *found = 1;
  return SUCCESS;
}

API int cudnnGetConvolutionForwardAlgorithm_v7(void *h, void *x, void *w, void *c, void *y, int asked, int *found,
                                               struct performance *first) {
  COUNTED();
  return first_algorithm(found, first);
}

API int cudnnFindConvolutionForwardAlgorithmEx(void *h, void *xd, void *x, void *wd, void *w, void *c, void *yd, void *y,
                                               int asked, int *found, struct performance *first, void *work, size_t size) {
  COUNTED();
  return first_algorithm(found, first);
}

struct shape {
  int type, rank, sizes[8], strides[8];
};

API int cudnnSetTensorNdDescriptor(struct shape *of, int type, int rank, const int *sizes, const int *strides) {
  of->type = type;
  of->rank = rank;
  for (int i = 0; i < rank && i < 8; i++) {
    of->sizes[i] = sizes[i];
    of->strides[i] = strides ? strides[i] : 1;
  }
  return SUCCESS;
}

API int cudnnGetTensorNdDescriptor(const struct shape *of, int asked, int *type, int *rank, int *sizes, int *strides) {
  *type = of->type;
  *rank = of->rank;
  for (int i = 0; i < of->rank && i < asked && i < 8; i++) {
    sizes[i] = of->sizes[i];
    strides[i] = of->strides[i];
  }
  return SUCCESS;
}

/* The weights are not told apart: each matrix and bias is taken for one number at the beginning. */
API int cudnnGetRNNWeightParams(void *h, void *rnn, int layer, size_t size, const void *weights, int which,
                                struct shape *matrix, void **at, struct shape *bias, void **bias_at) {
  static const int ones[] = {1, 1, 1};
  *at = *bias_at = (void *)weights;
  cudnnSetTensorNdDescriptor(matrix, 0, 3, ones, ones);
  return cudnnSetTensorNdDescriptor(bias, 0, 3, ones, ones);
}

API int cudnnDeriveBNTensorDescriptor(struct shape *derived, const struct shape *x, int mode) {
  *derived = *x;
  return SUCCESS;
}

/* The backend, by which convolutions are planned: a descriptor knows only what kind it is. */
enum { ENGINES_BY_HEURISTICS = 4, PLAN = 5 };
enum {
  RESULTS = 202, ENGINE_OF_CONFIGURATION = 300, CONFIGURATION_OF_PLAN = 401, WORKSPACE_OF_PLAN = 402,
  ENGINES_OF_GRAPH = 802,
};
enum { IS_INT64 = 3, IS_INT32 = 23 };

API int cudnnBackendCreateDescriptor(int kind, void **made) {
  int *descriptor = calloc(1, 256);
  *descriptor = kind;
  *made = descriptor;
  return SUCCESS;
}

API int cudnnBackendDestroyDescriptor(void *descriptor) { free(descriptor); return SUCCESS; }

API int cudnnBackendFinalize(const int *descriptor) {
  if (*descriptor == PLAN) pretended_count("cudnn plan built", 0);
  if (*descriptor == ENGINES_BY_HEURISTICS) pretended_count("cudnn heuristics asked", 0);
  return SUCCESS;
}

API int cudnnBackendSetAttribute(void *descriptor, int which, int type, int64_t count, const void *values) {
  return SUCCESS;
}

API int cudnnBackendGetAttribute(void *descriptor, int which, int type, int64_t asked, int64_t *found, void *values) {
  int wanted = asked > 0 && values;
  int64_t count = 0, value = 0;
  switch (which) {
    case RESULTS: case ENGINE_OF_CONFIGURATION: case CONFIGURATION_OF_PLAN: count = 1; wanted = 0; break;
    case WORKSPACE_OF_PLAN: count = 1; break;
    case ENGINES_OF_GRAPH: count = 1; value = 1; break;
    default: count = wanted && (type == IS_INT64 || type == IS_INT32);
  }
  if (count && wanted && type == IS_INT32) *(int32_t *)values = (int32_t)value;
  else if (count && wanted) *(int64_t *)values = value;
  if (found) *found = count;
  return SUCCESS;
}
