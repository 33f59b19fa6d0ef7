/* The words that driver_types.h marks declarations with; NVIDIA's own header of this name comes with its compiler alone. */
#ifndef PRETENDED_HOST_DEFINES_H
#define PRETENDED_HOST_DEFINES_H

#define CUDARTAPI
#define CUDARTAPI_CDECL
#define __host__
#define __device__
#define __device_builtin__
#define __device_builtin_surface_type__
#define __device_builtin_texture_type__
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __align__(n)

#endif
