// From images and reconstructions to anomaly maps, as riad-core's gms::map, chroma::map and smooth::mean_filter.
#pragma once
#include "pyramid.cuh"

struct GmsMap {
    const float *images;            // one scale, [targets, height, width]
    const float *reconstructions;   // [planes, height, width]: of the images, again and again
    float *map;                     // GMS of each pixel
    uint32_t planes, targets;
    int height, width;
};

__device__ void gms_map_of_pixels(const GmsMap &a) {
    const uint32_t pixels = a.height * a.width;
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= pixels * a.planes) return;
    const int x = place % a.width, y = place / a.width % a.height;
    const uint32_t plane = place / pixels;
    float across, down;
    edges(a.images + (size_t)(plane % a.targets) * pixels, a.height, a.width, y, x, across, down);
    const float target = magnitude(across, down);
    edges(a.reconstructions + (size_t)plane * pixels, a.height, a.width, y, x, across, down);
    const float found = magnitude(across, down);
    const float difference = found - target;
    a.map[place] = 1.0f - difference * difference / (target * target + found * found + GMS_C);
}
EXPORT(gms_map, gms_map_of_pixels, GmsMap)

struct MeanOverScales {
    const float *maps[SCALES];   // [planes, …], each half the size of the one before, rounded up
    float *mean;            // [planes/channels, height, width]
    const float *images;            // [targets, image_channels, height, width], for differences in colour
    const float *reconstructions;   // [images_count, image_channels, height, width]
    uint32_t images_count, channels, scales, targets, image_channels;
    int height, width;
    float chroma;                   // their weight
};

// The variance over the channels of the difference between two pixels, of whose values every plane holds one.
__device__ inline float difference_in_colour(const float *one, const float *other, uint32_t channels, size_t plane) {
    const float share = 1.0f / channels;
    float mean = 0.0f, squares = 0.0f;
    for (uint32_t channel = 0; channel < channels; channel++) {
        const float difference = other[channel * plane] - one[channel * plane];
        mean += share * difference;
        squares += share * difference * difference;
    }
    const float variance = squares - mean * mean;
    return variance < 0.0f ? 0.0f : variance;
}

// Coarser maps enlarged bilinearly between the centres of their values, by exactly the factor of the halvings.
__device__ void mean_of_scales(const MeanOverScales &a) {
    const uint32_t pixels = a.height * a.width;
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= pixels * a.images_count) return;
    const int x = place % a.width, y = place / a.width % a.height;
    float sum = 0.0f;
    for (uint32_t channel = 0; channel < a.channels; channel++) {
        const size_t plane = (size_t)(place / pixels) * a.channels + channel;
        int height = a.height, width = a.width;
        sum += a.maps[0][plane * pixels + (size_t)y * width + x];
        for (uint32_t scale = 1; scale < a.scales; scale++) {
            height = (height + 1) / 2;
            width = (width + 1) / 2;
            const int factor = 1 << scale;
            const float *map = a.maps[scale] + plane * height * width;
            const int below = (y + factor / 2) / factor, right = (x + factor / 2) / factor;
            const float share_y = ((y + factor / 2) % factor + 0.5f) / factor;
            const float share_x = ((x + factor / 2) % factor + 0.5f) / factor;
            const float *upper = map + (size_t)max(below - 1, 0) * width, *lower = map + (size_t)min(below, height - 1) * width;
            const int left = max(right - 1, 0), last = min(right, width - 1);
            const float lefts = upper[left] + (lower[left] - upper[left]) * share_y;
            const float rights = upper[last] + (lower[last] - upper[last]) * share_y;
            sum += lefts + (rights - lefts) * share_x;
        }
    }
    float similar = sum / (float)(a.scales * a.channels);
    if (a.chroma > 0.0f) {
        const size_t image = place / pixels, at = place % pixels, values = (size_t)a.image_channels * pixels;
        const float *target = a.images + image % a.targets * values + at, *found = a.reconstructions + image * values + at;
        similar -= a.chroma * difference_in_colour(target, found, a.image_channels, pixels);
    }
    a.mean[place] = similar;
}
EXPORT(mean_over_scales, mean_of_scales, MeanOverScales)

struct MeanFilter {
    const float *from;   // [planes, height, width]
    float *to;           // along rows the means, along columns 1 − the means of these
    uint32_t planes;
    int height, width, window;
};

__device__ void mean_along_rows(const MeanFilter &a) {
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= a.planes * a.height * a.width) return;
    const int x = place % a.width;
    const float *row = a.from + (place - x);
    float sum = 0.0f;
    for (int i = x - a.window / 2; i <= x + a.window / 2; i++) sum += row[mirrored(i % (2 * a.width), a.width)];
    a.to[place] = sum / a.window;
}
EXPORT(mean_rows, mean_along_rows, MeanFilter)

__device__ void map_along_columns(const MeanFilter &a) {
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= a.planes * a.height * a.width) return;
    const int x = place % a.width, y = place / a.width % a.height;
    const float *column = a.from + (size_t)(place / a.width / a.height) * a.height * a.width + x;
    float sum = 0.0f;
    for (int i = y - a.window / 2; i <= y + a.window / 2; i++) {
        sum += column[(size_t)mirrored(i % (2 * a.height), a.height) * a.width];
    }
    // NaN stays: whoever reads the map must see that the network has overflowed.
    const float value = 1.0f - sum / a.window;
    a.to[place] = value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value;
}
EXPORT(map_columns, map_along_columns, MeanFilter)

struct MeanOverRegions {
    const float *from;   // [regions, count]
    float *mean;         // [count]
    uint32_t regions, count;
};

__device__ void mean_of_regions(const MeanOverRegions &a) {
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= a.count) return;
    const float share = 1.0f / a.regions;
    float sum = 0.0f;
    for (uint32_t region = 0; region < a.regions; region++) sum += a.from[(size_t)region * a.count + place] * share;
    a.mean[place] = sum;
}
EXPORT(mean_over_regions, mean_of_regions, MeanOverRegions)
