// Masked copies of images on the way into the network, and reconstructions on the way out. What is hidden, and why, is told
// in riad-model's masking.rs.
#pragma once
#include "common.cuh"

struct Shape {
    uint32_t sources, images, copies;   // the images are the sources again and again, with masks of their own
    uint32_t channels;                  // of the images that the kernel reads or writes
    int height, width, padded_height, padded_width;
    float mean, deviation;         // a value in [0, 1] is mean + deviation · the network's
};

// Values of a pixel of the network's input or output: the channels, and zeros up to the next eighth.
__device__ inline uint32_t pixel_values(const Shape &shape) { return (shape.channels + 7) / 8 * 8; }

// Where a thread is in the network's input or output, [copies, images, padded_height, padded_width, pixel_values].
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
    const float *images;   // [sources, channels, height, width] in [0, 1]
    const uint8_t *sets;   // [images, height, width]: the copy in which a pixel is hidden; null where none is
    void *copies;          // the network's input
    Shape shape;
};

template <typename T>
__device__ void hide(const Hide &a) {
    const Shape &shape = a.shape;
    const uint32_t pixel = blockIdx.x * blockDim.x + threadIdx.x;
    const Place place(shape, pixel);
    if (place.copy >= shape.copies) return;
    const int x = mirrored(place.x, shape.width), y = mirrored(place.y, shape.height);
    const size_t plane = (size_t)shape.height * shape.width, at = (size_t)y * shape.width + x;
    const float *source = a.images + (size_t)(place.image % shape.sources) * shape.channels * plane + at;
    const bool is_shown = !a.sets || a.sets[place.image * plane + at] != place.copy;
    T *to = (T *)a.copies + (size_t)pixel * pixel_values(shape);
    for (uint32_t first = 0; first < shape.channels; first += 8) {
        float values[8];
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) {
            const bool is_value = is_shown && first + i < shape.channels;
            values[i] = is_value ? (source[(first + i) * plane] - shape.mean) / shape.deviation : 0.0f;
        }
        store8(to + first, values);
    }
}
EXPORT_BOTH(hide, hide, Hide)

struct Compose {
    const void *outputs;      // the last convolution's
    const float *bias;        // its bias
    const uint8_t *sets;      // as in Hide
    float *reconstructions;   // [images, channels, height, width] in [0, 1]
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
    const size_t pixel = (copy * shape.padded_height + y) * shape.padded_width + x;
    const T *output = (const T *)a.outputs + pixel * pixel_values(shape);
    float *to = a.reconstructions + (size_t)image * shape.channels * plane + at;
    for (uint32_t channel = 0; channel < shape.channels; channel++) {
        // A pixel that was hidden in no copy has no reconstruction.
        const float value = set < shape.copies ? tanhf(to_float(output[channel]) + a.bias[channel]) : NAN;
        to[(size_t)channel * plane] = value * shape.deviation + shape.mean;
    }
}
EXPORT_BOTH(compose, compose, Compose)

struct Spread {
    const float *gradient;          // to the reconstructions, [images, channels, height, width]
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
    if (place.copy >= shape.copies) return;
    const size_t plane = (size_t)shape.height * shape.width, at = (size_t)place.y * shape.width + place.x;
    const size_t image = (size_t)place.image * shape.channels * plane + at;
    const bool is_inside = place.x < shape.width && place.y < shape.height;
    const bool is_taken = is_inside && (!a.sets || a.sets[place.image * plane + at] == place.copy);
    T *to = (T *)a.outputs + (size_t)pixel * pixel_values(shape);
    for (uint32_t first = 0; first < shape.channels; first += 8) {
        float values[8];
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) {
            values[i] = 0.0f;
            if (is_taken && first + i < shape.channels) {
                const size_t value = image + (first + i) * plane;
                const float output = (a.reconstructions[value] - shape.mean) / shape.deviation;
                values[i] = a.gradient[value] * shape.deviation * (1.0f - output * output);
            }
        }
        store8(to + first, values);
    }
}
EXPORT_BOTH(spread, spread, Spread)
