// Planes of images, halved scale after scale, and gradient magnitudes in them: riad-core's gms.
#pragma once
#include "common.cuh"

const int SCALES = 4;

// What a channel has in an image's grey: Rec. 601's luma of three, the mean of any other number.
__device__ inline float share_of_grey(uint32_t channel, uint32_t channels) {
    if (channels != 3) return 1.0f / channels;
    return channel == 0 ? 0.299f : channel == 1 ? 0.587f : 0.114f;
}

struct Grey {
    const float *images;   // [images, channels, height, width]
    float *grey;           // [images, height, width]
    uint32_t images_count, channels, pixels;
};

__device__ void grey_of_channels(const Grey &a) {
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= a.images_count * a.pixels) return;
    const float *image = a.images + (size_t)(place / a.pixels) * a.channels * a.pixels + place % a.pixels;
    if (a.channels == 3) {
        a.grey[place] = image[0] * 0.299f + image[a.pixels] * 0.587f + image[(size_t)2 * a.pixels] * 0.114f;
        return;
    }
    float sum = 0.0f;
    for (uint32_t channel = 0; channel < a.channels; channel++) sum += image[(size_t)channel * a.pixels];
    a.grey[place] = sum / a.channels;
}
EXPORT(grey, grey_of_channels, Grey)

struct Halve {
    const float *fine;   // [planes, height, width]
    float *coarse;       // [planes, ⌈height/2⌉, ⌈width/2⌉]
    uint32_t planes;
    int height, width;
};

// Averages of 2×2; a last row or column without a partner is averaged alone.
__device__ void halve_planes(const Halve &a) {
    const int height = (a.height + 1) / 2, width = (a.width + 1) / 2;
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= a.planes * height * width) return;
    const int x = place % width, y = place / width % height;
    const float *upper = a.fine + ((size_t)(place / width / height) * a.height + 2 * y) * a.width + 2 * x;
    const float *lower = upper + (2 * y + 1 < a.height ? a.width : 0);
    const float left = upper[0] + lower[0];
    a.coarse[place] = 2 * x + 1 < a.width ? 0.25f * (left + (upper[1] + lower[1])) : 0.5f * left;
}
EXPORT(halve, halve_planes, Halve)

const float GMS_C = 0.0026f;

// Prewitt's filters at a pixel; the plane continues with its edge values.
__device__ inline void edges(const float *plane, int height, int width, int y, int x, float &across, float &down) {
    const int rows[3] = {clamped(y - 1, height), y, clamped(y + 1, height)};
    const int left = clamped(x - 1, width), right = clamped(x + 1, width);
    float lefts = 0.0f, rights = 0.0f;
    for (int i = 0; i < 3; i++) {
        lefts += plane[(size_t)rows[i] * width + left];
        rights += plane[(size_t)rows[i] * width + right];
    }
    const float *above = plane + (size_t)rows[0] * width, *below = plane + (size_t)rows[2] * width;
    across = (rights - lefts) / 3.0f;
    down = ((below[left] - above[left]) + (below[x] - above[x]) + (below[right] - above[right])) / 3.0f;
}

__device__ inline float magnitude(float across, float down) { return sqrtf(across * across + down * down + 1e-8f); }
