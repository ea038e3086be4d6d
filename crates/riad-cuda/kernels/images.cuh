// Masked copies of images on the way into the network, and reconstructions on the way out. What is hidden, and why, is told
// in riad-model's masking.rs.
#pragma once
#include "common.cuh"

const int CHANNELS = 3;
// Values of a pixel of the network's input and output: three channels, and what pads them.
const int PIXEL = 8;

struct Shape {
    int sources, images, copies;   // the images are the sources again and again, with masks of their own
    int height, width, padded_height, padded_width;
    float mean, deviation;         // a value in [0, 1] is mean + deviation · the network's
};

// Where a thread is in the network's input or output, [copies, images, padded_height, padded_width, 8].
struct Place {
    int x, y;
    uint32_t image, copy;

    __device__ Place(const Shape &shape, uint32_t pixel) {
        x = pixel % shape.padded_width;
        y = pixel / shape.padded_width % shape.padded_height;
        const uint32_t index = pixel / shape.padded_width / shape.padded_height;
        image = index % shape.images;
        copy = index / shape.images;
    }
};

struct Hide {
    const float *images;   // [sources, 3, height, width] in [0, 1]
    const uint8_t *sets;   // [images, height, width]: the copy in which a pixel is hidden; null where none is
    void *copies;          // the network's input
    Shape shape;
};

template <typename T>
__device__ void hide(const Hide &a) {
    const Shape &shape = a.shape;
    const uint32_t pixel = blockIdx.x * blockDim.x + threadIdx.x;
    const Place place(shape, pixel);
    if (place.copy >= (uint32_t)shape.copies) return;
    const int x = mirrored(place.x, shape.width), y = mirrored(place.y, shape.height);
    const size_t plane = (size_t)shape.height * shape.width, at = (size_t)y * shape.width + x;
    float values[PIXEL] = {};
    if (!a.sets || a.sets[place.image * plane + at] != place.copy) {
        for (int channel = 0; channel < CHANNELS; channel++) {
            const size_t source = place.image % shape.sources;
            const float value = a.images[(source * CHANNELS + channel) * plane + at];
            values[channel] = (value - shape.mean) / shape.deviation;
        }
    }
    store8((T *)a.copies + (size_t)pixel * PIXEL, values);
}
EXPORT_BOTH(hide, hide, Hide)

struct Compose {
    const void *outputs;      // the last convolution's
    const float *bias;        // its bias, 8
    const uint8_t *sets;      // as in Hide
    float *reconstructions;   // [images, 3, height, width] in [0, 1]
    Shape shape;
};

// Bias, tanh, and every pixel from the copy in which it was hidden.
template <typename T>
__device__ void compose(const Compose &a) {
    const Shape &shape = a.shape;
    const uint32_t plane = shape.height * shape.width;
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= plane * shape.images) return;
    const uint32_t image = place / plane, at = place % plane;
    const uint32_t x = at % shape.width, y = at / shape.width;
    const uint32_t set = a.sets ? a.sets[place] : 0;
    const size_t copy = (size_t)set * shape.images + image;
    const T *output = (const T *)a.outputs + ((copy * shape.padded_height + y) * shape.padded_width + x) * PIXEL;
    for (int channel = 0; channel < CHANNELS; channel++) {
        const float value = tanhf(to_float(output[channel]) + a.bias[channel]);
        a.reconstructions[((size_t)image * CHANNELS + channel) * plane + at] = value * shape.deviation + shape.mean;
    }
}
EXPORT_BOTH(compose, compose, Compose)

struct Spread {
    const float *gradient;          // to the reconstructions, [images, 3, height, width]
    const float *reconstructions;   // as Compose made them
    const uint8_t *sets;
    void *outputs;                  // to the last convolution's output, before bias and tanh
    Shape shape;
};

// The transpose of Compose.
template <typename T>
__device__ void spread(const Spread &a) {
    const Shape &shape = a.shape;
    const uint32_t pixel = blockIdx.x * blockDim.x + threadIdx.x;
    const Place place(shape, pixel);
    if (place.copy >= (uint32_t)shape.copies) return;
    const size_t plane = (size_t)shape.height * shape.width, at = (size_t)place.y * shape.width + place.x;
    float values[PIXEL] = {};
    const bool inside = place.x < shape.width && place.y < shape.height;
    if (inside && (!a.sets || a.sets[place.image * plane + at] == place.copy)) {
        for (int channel = 0; channel < CHANNELS; channel++) {
            const size_t value = (place.image * CHANNELS + channel) * plane + at;
            const float output = (a.reconstructions[value] - shape.mean) / shape.deviation;
            values[channel] = a.gradient[value] * shape.deviation * (1.0f - output * output);
        }
    }
    store8((T *)a.outputs + (size_t)pixel * PIXEL, values);
}
EXPORT_BOTH(spread, spread, Spread)
