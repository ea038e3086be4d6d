// Batch norm with ReLU on channels-last tensors [pixels, channels], and batch norms folded into convolutions.
#pragma once
#include "pixels.cuh"

struct NormSums {
    const void *x;   // [pixels, channels]
    float *partial;  // [2, blocks, channels]: of x less the first pixel, and of its square
    uint32_t pixels, channels;
};

// Values less those of the first pixel: a mean that is far from zero would cancel in E[x²] − E[x]².
template <typename T>
__device__ void norm_sums(const NormSums &a) {
    const Walk w = walk(a.channels);
    const T *x = (const T *)a.x;
    float sums[8] = {}, squares[8] = {}, pivot[8] = {};
    if (!w.is_idle) {
        load8(x + w.channel, pivot);
#pragma unroll 4
        for (size_t pixel = w.first; pixel < a.pixels; pixel += w.step) {
            float values[8];
            load8(x + pixel * a.channels + w.channel, values);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const float value = values[i] - pivot[i];
                sums[i] += value;
                squares[i] += value * value;
            }
        }
    }
    write_partial(w, sums, a.partial, a.channels);
    write_partial(w, squares, a.partial + (size_t)gridDim.x * a.channels, a.channels);
}
EXPORT_BOTH(norm_sums, norm_sums, NormSums)

struct NormLine {
    const void *x;
    const float *partial;   // of NormSums
    const float *bias;      // the convolution's, which is not in x
    const float *scale, *shift;
    float *running_mean, *running_variance;
    float *line;            // [4, channels]: mean, 1/deviation, factor, offset
    uint32_t pixels, channels, blocks;
    float momentum, epsilon;
};

// From sums to the factor and offset that bring x to the layer's output before ReLU.
template <typename T>
__device__ void norm_line(const NormLine &a) {
    const unsigned channel = channel_of_thread();
    const float *squares = a.partial + (size_t)a.blocks * a.channels;
    const double2 sums = sums_of_partials(a.partial, squares, a.blocks, a.channels, channel);
    if (threadIdx.x >= CHANNELS_OF_BLOCK || channel >= a.channels) return;
    const double count = a.pixels, above = sums.x / count;
    const double mean = above + to_float(((const T *)a.x)[channel]);
    double variance = sums.y / count - above * above;
    variance = variance < 0.0 ? 0.0 : variance;
    const float inverse = (float)(1.0 / sqrt(variance + a.epsilon));
    const float factor = a.scale[channel] * inverse;
    a.line[channel] = (float)mean;
    a.line[a.channels + channel] = inverse;
    a.line[2 * a.channels + channel] = factor;
    a.line[3 * a.channels + channel] = a.shift[channel] - factor * (float)mean;
    // PyTorch keeps the unbiased variance for inference.
    const float unbiased = (float)(variance * (count / (count > 1.0 ? count - 1.0 : 1.0)));
    a.running_mean[channel] += a.momentum * ((float)mean + a.bias[channel] - a.running_mean[channel]);
    a.running_variance[channel] += a.momentum * (unbiased - a.running_variance[channel]);
}
EXPORT_BOTH(norm_line, norm_line, NormLine)

struct NormForward {
    const void *x;
    const float *line;
    void *y;      // [pixels, y_pixel], of which the first channels are written; may be null
    void *also;   // the same, [pixels, also_pixel]; may be null
    uint32_t pixels, channels, y_pixel, also_pixel;
};

// ReLU(factor·x + offset).
template <typename T>
__device__ void norm_forward(const NormForward &a) {
    const Walk w = walk(a.channels);
    if (w.is_idle) return;
    float factor[8], offset[8];
    load8(a.line + 2 * a.channels + w.channel, factor);
    load8(a.line + 3 * a.channels + w.channel, offset);
#pragma unroll 4
    for (size_t pixel = w.first; pixel < a.pixels; pixel += w.step) {
        float values[8];
        load8((const T *)a.x + pixel * a.channels + w.channel, values);
#pragma unroll
        for (int i = 0; i < 8; i++) values[i] = relu(values[i] * factor[i] + offset[i]);
        if (a.y) store8((T *)a.y + pixel * a.y_pixel + w.channel, values);
        if (a.also) store8((T *)a.also + pixel * a.also_pixel + w.channel, values);
    }
}
EXPORT_BOTH(norm_forward, norm_forward, NormForward)

struct NormGradientSums {
    const void *x;
    const void *dy;     // the gradient to the layer's output, [pixels, channels]
    const void *more;   // another, to be added, [pixels, more_pixel]; may be null
    const float *line;
    float *partial;     // [2, blocks, channels]: of g, and of g·(x − mean)
    uint32_t pixels, channels, more_pixel;
};

// The gradient where ReLU let through: asked again of the input, by the forward pass's arithmetic.
template <typename T>
__device__ inline void through_relu(const float x[8], const float factor[8], const float offset[8], const T *dy,
                                    const T *more, float g[8]) {
    load8(dy, g);
    if (more) {
        float others[8];
        load8(more, others);
#pragma unroll
        for (int i = 0; i < 8; i++) g[i] += others[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) g[i] = x[i] * factor[i] + offset[i] > 0.0f ? g[i] : 0.0f;
}

template <typename T>
__device__ void norm_gradient_sums(const NormGradientSums &a) {
    const Walk w = walk(a.channels);
    float sums[8] = {}, products[8] = {};
    if (!w.is_idle) {
        float mean[8], factor[8], offset[8];
        load8(a.line + w.channel, mean);
        load8(a.line + 2 * a.channels + w.channel, factor);
        load8(a.line + 3 * a.channels + w.channel, offset);
#pragma unroll 2
        for (size_t pixel = w.first; pixel < a.pixels; pixel += w.step) {
            float x[8], g[8];
            load8((const T *)a.x + pixel * a.channels + w.channel, x);
            through_relu(x, factor, offset, (const T *)a.dy + pixel * a.channels + w.channel,
                         a.more ? (const T *)a.more + pixel * a.more_pixel + w.channel : nullptr, g);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                sums[i] += g[i];
                products[i] += g[i] * (x[i] - mean[i]);
            }
        }
    }
    write_partial(w, sums, a.partial, a.channels);
    write_partial(w, products, a.partial + (size_t)gridDim.x * a.channels, a.channels);
}
EXPORT_BOTH(norm_gradient_sums, norm_gradient_sums, NormGradientSums)

struct NormGradientLine {
    const float *partial;   // of NormGradientSums
    const float *line;
    float *scale_gradient, *shift_gradient;
    float *slope;           // [2, channels]: slope and offset
    uint32_t pixels, channels, blocks;
};

// dx = factor·g + slope·(x − mean) + offset: scale/σ · (g − mean(g) − x̂·mean(g·x̂)), with x̂ the normalised input.
__device__ void find_gradient_line(const NormGradientLine &a) {
    const unsigned channel = channel_of_thread();
    const float *products = a.partial + (size_t)a.blocks * a.channels;
    const double2 sums = sums_of_partials(a.partial, products, a.blocks, a.channels, channel);
    if (threadIdx.x >= CHANNELS_OF_BLOCK || channel >= a.channels) return;
    const double sum = sums.x, product = sums.y;
    const double inverse = a.line[a.channels + channel], factor = a.line[2 * a.channels + channel];
    a.scale_gradient[channel] = (float)(product * inverse);
    a.shift_gradient[channel] = (float)sum;
    a.slope[channel] = (float)(-factor * inverse * inverse * product / a.pixels);
    a.slope[a.channels + channel] = (float)(-factor * sum / a.pixels);
}
EXPORT(norm_gradient_line, find_gradient_line, NormGradientLine)

struct NormBackward {
    const void *x;
    const void *dy, *more;   // as in NormGradientSums
    const float *line;
    const float *slope;      // of NormGradientLine
    void *dx;                // [pixels, channels]; may be dy
    uint32_t pixels, channels, more_pixel;
};

template <typename T>
__device__ void norm_backward(const NormBackward &a) {
    const Walk w = walk(a.channels);
    if (w.is_idle) return;
    float mean[8], factor[8], line_offset[8], slope[8], offset[8];
    load8(a.line + w.channel, mean);
    load8(a.line + 2 * a.channels + w.channel, factor);
    load8(a.line + 3 * a.channels + w.channel, line_offset);
    load8(a.slope + w.channel, slope);
    load8(a.slope + a.channels + w.channel, offset);
#pragma unroll 2
    for (size_t pixel = w.first; pixel < a.pixels; pixel += w.step) {
        float x[8], g[8];
        load8((const T *)a.x + pixel * a.channels + w.channel, x);
        through_relu(x, factor, line_offset, (const T *)a.dy + pixel * a.channels + w.channel,
                     a.more ? (const T *)a.more + pixel * a.more_pixel + w.channel : nullptr, g);
#pragma unroll
        for (int i = 0; i < 8; i++) g[i] = factor[i] * g[i] + slope[i] * (x[i] - mean[i]) + offset[i];
        store8((T *)a.dx + pixel * a.channels + w.channel, g);
    }
}
EXPORT_BOTH(norm_backward, norm_backward, NormBackward)

struct Fold {
    const float *weight;   // [rows, …], a row for each output channel
    const float *bias;
    const float *scale, *shift, *mean, *variance;   // null without a batch norm
    void *folded_weight;
    float *folded_bias;
    uint32_t weights, row, biases;
    float epsilon;
};

// A convolution with the batch norm after it, for scoring.
template <typename T>
__device__ void fold(const Fold &a) {
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place < a.biases) {
        float bias = a.bias[place];
        if (a.scale) {
            const float factor = a.scale[place] / sqrtf(a.variance[place] + a.epsilon);
            bias = (bias - a.mean[place]) * factor + a.shift[place];
        }
        a.folded_bias[place] = bias;
    }
    if (place >= a.weights) return;
    const uint32_t channel = place / a.row;
    const float factor = a.scale ? a.scale[channel] / sqrtf(a.variance[channel] + a.epsilon) : 1.0f;
    from_float(a.weight[place] * factor, ((T *)a.folded_weight)[place]);
}
EXPORT_BOTH(fold, fold, Fold)
