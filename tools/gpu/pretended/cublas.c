/* cuBLAS and cuBLASLt: products are counted. What is asked for before one is answered with the first choice. */
#include <string.h>

#include "pretended.h"

#ifdef LT
API int cublasLtMatmulAlgoGetHeuristic(void *handle, void *product, void *a, void *b, void *c, void *d, void *preference,
                                       int asked, char *first, int *found) {
  memset(first, 0, 96); /* one cublasLtMatmulHeuristicResult_t: no workspace, success */
  *found = 1;
  return SUCCESS;
}
#else
API int cublasGetMathMode(void *handle, int *mode) {
  *mode = 0;
  return SUCCESS;
}
#endif
