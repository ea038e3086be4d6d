// How kernels walk over channels-last tensors [pixels, channels]; biases, additions, and sums over pixels.
//
// A thread keeps eight channels and walks over pixels; a block has as many threads side by side as a pixel has such groups,
// at most 32, and blocks along y for more. Sums over pixels go through one value for each block and channel, `partial`, which a
// second kernel adds up.
#pragma once
#include "common.cuh"

const unsigned GROUPS = 32;

// Which channels and pixels are a thread's.
struct Walk {
    unsigned channel;   // the first of eight
    size_t first, step;
    bool is_idle;
    unsigned groups, lane, lanes;
};

__device__ inline Walk walk(unsigned channels) {
    Walk w;
    const unsigned all = channels / 8;
    w.groups = min(all, GROUPS);
    w.lanes = blockDim.x / w.groups;
    const unsigned group = threadIdx.x % w.groups;
    w.lane = threadIdx.x / w.groups;
    w.channel = (blockIdx.y * GROUPS + group) * 8;
    w.is_idle = w.lane >= w.lanes || w.channel >= channels;
    w.first = (size_t)blockIdx.x * w.lanes + w.lane;
    w.step = (size_t)gridDim.x * w.lanes;
    return w;
}

// Adds up the block's sums and writes one for each channel to partial[blockIdx.x]. All threads of the block call it.
__device__ inline void write_partial(const Walk &w, const float sums[8], float *partial, unsigned channels) {
    __shared__ float shared[8 * THREADS];
    __syncthreads();
    for (int i = 0; i < 8; i++) shared[i * THREADS + threadIdx.x] = w.is_idle ? 0.0f : sums[i];
    __syncthreads();
    if (threadIdx.x < w.groups * 8) {
        const unsigned group = threadIdx.x / 8, i = threadIdx.x % 8;
        const unsigned channel = (blockIdx.y * GROUPS + group) * 8 + i;
        if (channel < channels) {
            float sum = 0.0f;
            for (unsigned lane = 0; lane < w.lanes; lane++) sum += shared[i * THREADS + lane * w.groups + group];
            partial[(size_t)blockIdx.x * channels + channel] = sum;
        }
    }
}

// A block that adds up partial sums has so many channels, with 32 threads each.
const unsigned CHANNELS_OF_BLOCK = 8;

__device__ inline unsigned channel_of_thread() { return blockIdx.x * CHANNELS_OF_BLOCK + threadIdx.x % CHANNELS_OF_BLOCK; }

// The sums of a channel's partial sums, of one kind and, if there is one, of another, for the first thread of each channel.
// All threads of the block call it.
__device__ inline double2 sums_of_partials(const float *partial, const float *others, unsigned blocks, unsigned channels,
                                           unsigned channel) {
    __shared__ double2 sums[THREADS];
    double2 sum = make_double2(0.0, 0.0);
    if (channel < channels) {
#pragma unroll 4
        for (unsigned block = threadIdx.x / CHANNELS_OF_BLOCK; block < blocks; block += THREADS / CHANNELS_OF_BLOCK) {
            sum.x += partial[(size_t)block * channels + channel];
            if (others) sum.y += others[(size_t)block * channels + channel];
        }
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = THREADS / 2; half >= CHANNELS_OF_BLOCK; half /= 2) {
        if (threadIdx.x < half) {
            sums[threadIdx.x].x += sums[threadIdx.x + half].x;
            sums[threadIdx.x].y += sums[threadIdx.x + half].y;
        }
        __syncthreads();
    }
    return sums[threadIdx.x];
}

struct AddBias {
    const void *x;       // [pixels, x_pixel], of which the first channels are read
    const float *bias;   // null for none, which leaves a copy
    void *y;             // [pixels, y_pixel], of which the first channels are written; may be x
    uint32_t pixels, channels, x_pixel, y_pixel;
};

template <typename T>
__device__ void add_bias(const AddBias &a) {
    const Walk w = walk(a.channels);
    if (w.is_idle) return;
    float bias[8];
    if (a.bias) load8(a.bias + w.channel, bias);
#pragma unroll 4
    for (size_t pixel = w.first; pixel < a.pixels; pixel += w.step) {
        float values[8];
        load8((const T *)a.x + pixel * a.x_pixel + w.channel, values);
        if (a.bias) {
#pragma unroll
            for (int i = 0; i < 8; i++) values[i] += bias[i];
        }
        store8((T *)a.y + pixel * a.y_pixel + w.channel, values);
    }
}
EXPORT_BOTH(add_bias, add_bias, AddBias)

struct Add {
    const void *x;       // [pixels, x_pixel], of which the first channels are read
    void *y;             // [pixels, y_pixel], of which the first channels grow by these
    uint32_t pixels, channels, x_pixel, y_pixel;
};

template <typename T>
__device__ void add(const Add &a) {
    const Walk w = walk(a.channels);
    if (w.is_idle) return;
#pragma unroll 4
    for (size_t pixel = w.first; pixel < a.pixels; pixel += w.step) {
        T *at = (T *)a.y + pixel * a.y_pixel + w.channel;
        float values[8], others[8];
        load8(at, values);
        load8((const T *)a.x + pixel * a.x_pixel + w.channel, others);
#pragma unroll
        for (int i = 0; i < 8; i++) values[i] += others[i];
        store8(at, values);
    }
}
EXPORT_BOTH(add, add, Add)

struct BiasRelu {
    void *values;        // [pixels, pixel], of which the first channels change
    const float *bias;
    uint64_t pixels;
    uint32_t channels, pixel;
};

// What a convolution ends with where cuDNN does not do it in one go.
template <typename T>
__device__ void bias_relu(const BiasRelu &a) {
    const uint64_t groups = a.channels / 8, place = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= a.pixels * groups) return;
    const uint32_t channel = (uint32_t)(place % groups) * 8;
    T *at = (T *)a.values + place / groups * a.pixel + channel;
    float values[8], bias[8];
    load8(at, values);
    load8(a.bias + channel, bias);
    for (int i = 0; i < 8; i++) values[i] = relu(values[i] + bias[i]);
    store8(at, values);
}
EXPORT_BOTH(bias_relu, bias_relu, BiasRelu)

struct TakeChannels {
    const void *x;    // [pixels, x_pixel], of which the first channels are read
    void *y;          // [pixels, channels]; may be null
    float *partial;   // [blocks, channels]
    uint32_t pixels, channels, x_pixel;
};

// A copy of some of the channels, and their sums: a bias's gradient.
template <typename T>
__device__ void take_channels(const TakeChannels &a) {
    const Walk w = walk(a.channels);
    float sums[8] = {};
    if (!w.is_idle) {
#pragma unroll 4
        for (size_t pixel = w.first; pixel < a.pixels; pixel += w.step) {
            float values[8];
            load8((const T *)a.x + pixel * a.x_pixel + w.channel, values);
#pragma unroll
            for (int i = 0; i < 8; i++) sums[i] += values[i];
            if (a.y) store8((T *)a.y + pixel * a.channels + w.channel, values);
        }
    }
    write_partial(w, sums, a.partial, a.channels);
}
EXPORT_BOTH(take_channels, take_channels, TakeChannels)

struct ChannelSums {
    const float *partial;   // [blocks, channels]
    float *sums;
    uint32_t channels, blocks;
};

__device__ void add_partials(const ChannelSums &a) {
    const unsigned channel = channel_of_thread();
    const double2 sums = sums_of_partials(a.partial, nullptr, a.blocks, a.channels, channel);
    if (threadIdx.x < CHANNELS_OF_BLOCK && channel < a.channels) a.sums[channel] = (float)sums.x;
}
EXPORT(channel_sums, add_partials, ChannelSums)
