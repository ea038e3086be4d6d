// Masked copies of images on the way into the network, and reconstructions on the way out. What is hidden, and why, is told
// in riad-model's masking.rs.
#pragma once
#include "common.cuh"

const int CHANNELS = 3;
// Values of a pixel of the network's input and output: three channels, and what pads them.
const int PIXEL = 8;

struct Hide {
    const float *images;   // [sources, 3, height, width] in [0, 1]
    const uint8_t *sets;   // [images, height, width]: the copy in which a pixel is hidden; null where none is
    void *copies;          // [copies·images, padded_height, padded_width, 8]
    int sources_count;     // images are these again and again
    int images_count, copies_count, height, width, padded_height, padded_width;
    float mean, scale;
};

template <typename T>
__device__ void hide(const Hide &a) {
    const uint32_t pixels = (uint32_t)a.copies_count * a.images_count * a.padded_height * a.padded_width;
    const uint32_t pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= pixels) return;
    const int x = mirrored(pixel % a.padded_width, a.width);
    const int y = mirrored(pixel / a.padded_width % a.padded_height, a.height);
    const uint32_t copy = pixel / a.padded_width / a.padded_height;
    const uint32_t image = copy % a.images_count, set = copy / a.images_count;
    const size_t plane = (size_t)a.height * a.width, at = (size_t)y * a.width + x;
    float values[PIXEL] = {};
    if (!a.sets || a.sets[image * plane + at] != set) {
        for (int channel = 0; channel < CHANNELS; channel++) {
            const size_t source = image % a.sources_count;
            values[channel] = (a.images[(source * CHANNELS + channel) * plane + at] - a.mean) * a.scale;
        }
    }
    store8((T *)a.copies + (size_t)pixel * PIXEL, values);
}
EXPORT_BOTH(hide, hide, Hide)

struct Compose {
    const void *outputs;      // the last convolution's, [copies·images, padded_height, padded_width, 8]
    const float *bias;        // its bias, 8
    const uint8_t *sets;      // as in Hide
    float *reconstructions;   // [images, 3, height, width] in [0, 1]
    int images_count, height, width, padded_height, padded_width;
    float mean, deviation;
};

// Bias, tanh, and every pixel from the copy in which it was hidden.
template <typename T>
__device__ void compose(const Compose &a) {
    const uint32_t plane = a.height * a.width;
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= plane * a.images_count) return;
    const uint32_t image = place / plane, at = place % plane;
    const uint32_t x = at % a.width, y = at / a.width;
    const uint32_t set = a.sets ? a.sets[place] : 0;
    const size_t copy = (size_t)set * a.images_count + image;
    const T *output = (const T *)a.outputs + ((copy * a.padded_height + y) * a.padded_width + x) * PIXEL;
    for (int channel = 0; channel < CHANNELS; channel++) {
        const float value = tanhf(to_float(output[channel]) + a.bias[channel]);
        a.reconstructions[((size_t)image * CHANNELS + channel) * plane + at] = value * a.deviation + a.mean;
    }
}
EXPORT_BOTH(compose, compose, Compose)

struct Spread {
    const float *gradient;          // to the reconstructions, [images, 3, height, width]
    const float *reconstructions;   // as Compose made them
    const uint8_t *sets;
    void *outputs;                  // to the last convolution's output, before bias and tanh
    int images_count, copies_count, height, width, padded_height, padded_width;
    float mean, deviation;
};

// The transpose of Compose.
template <typename T>
__device__ void spread(const Spread &a) {
    const uint32_t pixels = (uint32_t)a.copies_count * a.images_count * a.padded_height * a.padded_width;
    const uint32_t pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= pixels) return;
    const int x = pixel % a.padded_width, y = pixel / a.padded_width % a.padded_height;
    const uint32_t copy = pixel / a.padded_width / a.padded_height;
    const uint32_t image = copy % a.images_count, set = copy / a.images_count;
    const size_t plane = (size_t)a.height * a.width, at = (size_t)y * a.width + x;
    float values[PIXEL] = {};
    if (x < a.width && y < a.height && (!a.sets || a.sets[image * plane + at] == set)) {
        for (int channel = 0; channel < CHANNELS; channel++) {
            const size_t place = (image * CHANNELS + channel) * plane + at;
            const float output = (a.reconstructions[place] - a.mean) / a.deviation;
            values[channel] = a.gradient[place] * a.deviation * (1.0f - output * output);
        }
    }
    store8((T *)a.outputs + (size_t)pixel * PIXEL, values);
}
EXPORT_BOTH(spread, spread, Spread)
