// What all kernels share. They are compiled by nvcc for GPUs, and as C++ over emulated.h for the CPU.
//
// A kernel takes one struct by value, which src/ops/arguments.rs declares as well, field by field in the same order: pointers
// first, then numbers of 32 bits. Blocks have one dimension and 256 threads at most. Sums are made in an order that the shapes
// alone decide: the same input gives the same bits.
#pragma once

#include <stdint.h>

#ifdef RIAD_EMULATED
#include <string.h>
#include "emulated.h"
__device__ inline uint32_t pair_of_bf16(float low, float high) {
    bf16 values[2];
    from_float(low, values[0]);
    from_float(high, values[1]);
    uint32_t bits;
    memcpy(&bits, values, sizeof bits);
    return bits;
}
#else
#include <cuda_bf16.h>
typedef __nv_bfloat16 bf16;
__device__ inline float to_float(bf16 value) { return __bfloat162float(value); }
__device__ inline void from_float(float value, bf16 &out) { out = __float2bfloat16_rn(value); }
__device__ inline uint32_t pair_of_bf16(float low, float high) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&pair);
}
// Makes FUNCTION, which takes the struct ARGUMENTS, a kernel by the name NAME. Three blocks are to fit a multiprocessor: what waits for
// memory needs others to run meanwhile.
#define EXPORT(NAME, FUNCTION, ARGUMENTS) \
    extern "C" __global__ void __launch_bounds__(256, 3) NAME(ARGUMENTS arguments) { FUNCTION(arguments); }
#endif

// Makes the template FUNCTION a kernel for each type that activations have.
#define EXPORT_BOTH(NAME, FUNCTION, ARGUMENTS)        \
    EXPORT(NAME##_f32, FUNCTION<float>, ARGUMENTS)    \
    EXPORT(NAME##_bf16, FUNCTION<bf16>, ARGUMENTS)

const int THREADS = 256;

__device__ inline float to_float(float value) { return value; }
__device__ inline void from_float(float value, float &out) { out = value; }

// Unlike fmaxf, it lets NaN through: whoever reads the result must see that the network has overflowed.
__device__ inline float relu(float value) { return value <= 0.0f ? 0.0f : value; }

// Eight neighbouring values: the least that a tensor's channels are padded to.
__device__ inline void load8(const float *from, float values[8]) {
    const float4 low = reinterpret_cast<const float4 *>(from)[0], high = reinterpret_cast<const float4 *>(from)[1];
    values[0] = low.x;
    values[1] = low.y;
    values[2] = low.z;
    values[3] = low.w;
    values[4] = high.x;
    values[5] = high.y;
    values[6] = high.z;
    values[7] = high.w;
}

__device__ inline void load8(const bf16 *from, float values[8]) {
    const uint4 bits = *reinterpret_cast<const uint4 *>(from);
    const uint32_t pairs[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        values[2 * i] = __uint_as_float(pairs[i] << 16);
        values[2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000u);
    }
}

__device__ inline void store8(float *to, const float values[8]) {
    reinterpret_cast<float4 *>(to)[0] = make_float4(values[0], values[1], values[2], values[3]);
    reinterpret_cast<float4 *>(to)[1] = make_float4(values[4], values[5], values[6], values[7]);
}

__device__ inline void store8(bf16 *to, const float values[8]) {
    *reinterpret_cast<uint4 *>(to) =
        make_uint4(pair_of_bf16(values[0], values[1]), pair_of_bf16(values[2], values[3]),
                   pair_of_bf16(values[4], values[5]), pair_of_bf16(values[6], values[7]));
}

// The sum of `value` over the block's threads, in thread 0, in a fixed order. All threads of the block call it.
__device__ inline float block_sum(float value) {
    __shared__ float sums[THREADS];
    __syncthreads();
    sums[threadIdx.x] = value;
    __syncthreads();
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half && threadIdx.x + half < blockDim.x) {
            sums[threadIdx.x] += sums[threadIdx.x + half];
        }
        __syncthreads();
    }
    return sums[0];
}

// The place on an axis of `size` that `position` shows: `d c b a | a b c d | d c b a`, for positions from -2·size on.
__device__ inline int mirrored(int position, int size) {
    position = (position + 2 * size) % (2 * size);
    return position < size ? position : 2 * size - 1 - position;
}

__device__ inline int clamped(int position, int size) { return min(max(position, 0), size - 1); }
