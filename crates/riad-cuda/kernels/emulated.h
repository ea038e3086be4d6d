// CUDA's words for a C++ compiler: what the kernels use of it, and no more. emulated.cpp runs them.
//
// Where CUDA allows more than this does (mixed types in min, arithmetic on bf16), the kernels' text is better for it.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
// Blocks run one after another. As on a GPU, a block finds here what another one left; only the first finds zeros.
#define __shared__ static
#define __constant__ static

struct uint3 {
    unsigned int x, y, z;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned int x, y;
};
struct alignas(16) uint4 {
    unsigned int x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};
inline double2 make_double2(double x, double y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned int x, unsigned int y) { return {x, y}; }
inline uint4 make_uint4(unsigned int x, unsigned int y, unsigned int z, unsigned int w) { return {x, y, z, w}; }

static uint3 threadIdx, blockIdx, blockDim, gridDim;

void riad_barrier(const char *file, int line);
#define __syncthreads() riad_barrier(__FILE__, __LINE__)

template <class T>
inline T __ldg(const T *address) {
    return *address;
}

inline unsigned int __float_as_uint(float value) {
    unsigned int bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned int bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// The C library may have functions of these names.
#define __expf expf
#define rsqrtf riad_rsqrtf
inline float riad_rsqrtf(float value) { return 1.0f / sqrtf(value); }

template <class T, class = std::enable_if_t<std::is_integral_v<T>>>
inline T min(T a, T b) {
    return b < a ? b : a;
}
template <class T, class = std::enable_if_t<std::is_integral_v<T>>>
inline T max(T a, T b) {
    return a < b ? b : a;
}
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }

struct bf16 {
    uint16_t bits;
};
inline float to_float(bf16 value) { return __uint_as_float((unsigned int)value.bits << 16); }
// To the nearest, of two the even one; a NaN stays one.
inline void from_float(float value, bf16 &out) {
    unsigned int bits = __float_as_uint(value);
    if (value == value) {
        out.bits = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
    } else {
        out.bits = (uint16_t)(bits >> 16 | 0x40);
    }
}

// A kernel in the table, which is a list that grows before main.
struct RiadKernel {
    const char *name;
    void (*run)(const void *arguments);
    unsigned int launches;
    RiadKernel *next;

    RiadKernel(const char *name, void (*run)(const void *));
};
#define EXPORT(NAME, FUNCTION, ARGUMENTS)                \
    static RiadKernel riad_kernel_##NAME(#NAME, [](const void *arguments) { \
        FUNCTION(*static_cast<const ARGUMENTS *>(arguments));               \
    });
