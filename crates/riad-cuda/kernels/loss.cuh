// The inpainting loss and its gradient to the reconstructions, as riad-core's similarity computes them.
#pragma once
#include "pyramid.cuh"

// Similarity of structures: riad-core's ssim.

const int TILE = 16;
const int RADIUS = 5;
const int WINDOW = 2 * RADIUS + 1;
const int HALO = TILE + 2 * RADIUS;

struct Gaussian {
    float weights[WINDOW];
};

struct SsimSums {
    const float *images, *reconstructions;   // [planes, height, width]
    float *coefficients;   // [3, planes, height − 10, width − 10]: what the gradient is made of, see below
    float *partial;        // [blocks]: sums of SSIM
    uint32_t planes;
    int height, width;
    float slope;           // the loss's derivative by each window's SSIM
    Gaussian gaussian;
};

// One window for each thread of a block of 16×16. The grid is of tiles along x and y, and planes along z.
__device__ void ssim_of_windows(const SsimSums &a) {
    __shared__ float x[HALO * HALO], y[HALO * HALO];
    __shared__ float rows[5][HALO * TILE];
    const int tiles_x = (a.width - 2 * RADIUS + TILE - 1) / TILE;
    const int left = blockIdx.x % tiles_x * TILE, top = blockIdx.x / tiles_x * TILE;
    const size_t plane = (size_t)blockIdx.z * a.height * a.width;
    for (int i = threadIdx.x; i < HALO * HALO; i += THREADS) {
        // Windows beyond the border are computed and dropped.
        const int row = min(top + i / HALO, a.height - 1), column = min(left + i % HALO, a.width - 1);
        x[i] = a.images[plane + (size_t)row * a.width + column];
        y[i] = a.reconstructions[plane + (size_t)row * a.width + column];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < HALO * TILE; i += THREADS) {
        const int start = i / TILE * HALO + i % TILE;
        float sums[5] = {};
#pragma unroll
        for (int tap = 0; tap < WINDOW; tap++) {
            const float weight = a.gaussian.weights[tap], xv = x[start + tap], yv = y[start + tap];
            sums[0] += weight * xv;
            sums[1] += weight * yv;
            sums[2] += weight * xv * xv;
            sums[3] += weight * yv * yv;
            sums[4] += weight * xv * yv;
        }
        for (int q = 0; q < 5; q++) rows[q][i] = sums[q];
    }
    __syncthreads();
    const int row = threadIdx.x / TILE, column = threadIdx.x % TILE;
    float moments[5] = {};
#pragma unroll
    for (int tap = 0; tap < WINDOW; tap++) {
#pragma unroll
        for (int q = 0; q < 5; q++) moments[q] += a.gaussian.weights[tap] * rows[q][(row + tap) * TILE + column];
    }
    const float C1 = 0.01f * 0.01f, C2 = 0.03f * 0.03f;
    const float mx = moments[0], my = moments[1];
    const float variances = (moments[2] - mx * mx) + (moments[3] - my * my);
    const float a1 = 2.0f * mx * my + C1, a2 = 2.0f * (moments[4] - mx * my) + C2;
    const float b1 = mx * mx + my * my + C1, b2 = variances + C2;
    const float ssim = a1 * a2 / (b1 * b2);
    const int windows_y = a.height - 2 * RADIUS, windows_x = a.width - 2 * RADIUS;
    const bool is_inside = top + row < windows_y && left + column < windows_x;
    if (is_inside && a.coefficients) {
        // By the reconstruction's mean, its mean square, and the mean product: the gradient at a pixel is the sum over its
        // windows of weight · (first + second · reconstruction + third · image).
        const float by_mean = 2.0f * mx * (a2 - a1) / (b1 * b2) - 2.0f * my * ssim * (1.0f / b1 - 1.0f / b2);
        const size_t count = (size_t)a.planes * windows_y * windows_x;
        const size_t at = ((size_t)blockIdx.z * windows_y + top + row) * windows_x + left + column;
        a.coefficients[at] = a.slope * by_mean;
        a.coefficients[count + at] = -a.slope * 2.0f * ssim / b2;
        a.coefficients[2 * count + at] = a.slope * 2.0f * a1 / (b1 * b2);
    }
    const float sum = block_sum(is_inside ? ssim : 0.0f);
    if (threadIdx.x == 0) a.partial[(size_t)blockIdx.z * gridDim.x + blockIdx.x] = sum;
}
EXPORT(ssim_sums, ssim_of_windows, SsimSums)

struct PixelGradient {
    const float *images, *reconstructions;   // [images, channels, height, width]
    const float *coefficients;   // of SsimSums
    const float *grey_gradient;  // [images, height, width], of GmsGradient
    float *gradient;             // to the reconstructions
    float *partial;              // [2, blocks]: sums of squared and absolute differences
    uint32_t planes, channels;
    int height, width;
    float squared, absolute;     // the loss's derivatives by these sums
    Gaussian gaussian;
};

// Everything that the gradient to a pixel is made of. Blocks and grid as in SsimSums, over pixels.
__device__ void gradient_of_pixels(const PixelGradient &a) {
    __shared__ float tile[HALO * HALO];
    __shared__ float rows[HALO * TILE];
    const int tiles_x = (a.width + TILE - 1) / TILE;
    const int left = blockIdx.x % tiles_x * TILE, top = blockIdx.x / tiles_x * TILE;
    const int row = threadIdx.x / TILE, column = threadIdx.x % TILE;
    const int windows_y = a.height - 2 * RADIUS, windows_x = a.width - 2 * RADIUS;
    const size_t count = (size_t)a.planes * windows_y * windows_x;
    float filtered[3];
    for (int q = 0; q < 3; q++) {
        const float *map = a.coefficients + q * count + (size_t)blockIdx.z * windows_y * windows_x;
        __syncthreads();
        for (int i = threadIdx.x; i < HALO * HALO; i += THREADS) {
            const int y = top + i / HALO - 2 * RADIUS, x = left + i % HALO - 2 * RADIUS;
            const bool is_window = y >= 0 && y < windows_y && x >= 0 && x < windows_x;
            tile[i] = is_window ? map[(size_t)y * windows_x + x] : 0.0f;
        }
        __syncthreads();
        for (int i = threadIdx.x; i < HALO * TILE; i += THREADS) {
            const int start = i / TILE * HALO + i % TILE;
            float sum = 0.0f;
#pragma unroll
            for (int tap = 0; tap < WINDOW; tap++) sum += a.gaussian.weights[tap] * tile[start + tap];
            rows[i] = sum;
        }
        __syncthreads();
        float sum = 0.0f;
#pragma unroll
        for (int tap = 0; tap < WINDOW; tap++) sum += a.gaussian.weights[tap] * rows[(row + tap) * TILE + column];
        filtered[q] = sum;
    }
    const bool is_inside = top + row < a.height && left + column < a.width;
    float difference = 0.0f;
    if (is_inside) {
        const size_t pixels = (size_t)a.height * a.width, at = (size_t)(top + row) * a.width + left + column;
        const size_t place = blockIdx.z * pixels + at;
        const float image = a.images[place], reconstruction = a.reconstructions[place];
        difference = reconstruction - image;
        const float share = share_of_grey(blockIdx.z % a.channels, a.channels);
        const float sign = difference > 0.0f ? 1.0f : difference < 0.0f ? -1.0f : 0.0f;
        a.gradient[place] = filtered[0] + reconstruction * filtered[1] + image * filtered[2] +
                            2.0f * a.squared * difference + a.absolute * sign +
                            share * a.grey_gradient[blockIdx.z / a.channels * pixels + at];
    }
    const float squares = block_sum(difference * difference);
    const float absolutes = block_sum(fabsf(difference));
    if (threadIdx.x == 0) {
        const size_t block = (size_t)blockIdx.z * gridDim.x + blockIdx.x;
        a.partial[block] = squares;
        a.partial[(size_t)gridDim.x * gridDim.z + block] = absolutes;
    }
}
EXPORT(pixel_gradient, gradient_of_pixels, PixelGradient)

// Similarity of gradients: riad-core's gms.

struct GmsSums {
    const float *images, *reconstructions;   // one scale, [planes, height, width]
    float *slopes;    // [2, planes, height, width]: the loss's derivatives by the reconstruction's filters
    float *partial;   // [blocks]: sums of 1 − GMS
    uint32_t planes;
    int height, width;
    float slope;      // the loss's derivative by each of these
};

__device__ void gms_of_pixels(const GmsSums &a) {
    const uint32_t pixels = a.height * a.width, count = pixels * a.planes;
    float sum = 0.0f;
    for (uint32_t place = blockIdx.x * blockDim.x + threadIdx.x; place < count; place += gridDim.x * blockDim.x) {
        const int x = place % a.width, y = place / a.width % a.height;
        const size_t plane = (size_t)(place / pixels) * pixels;
        float across, down;
        edges(a.images + plane, a.height, a.width, y, x, across, down);
        const float target = magnitude(across, down);
        edges(a.reconstructions + plane, a.height, a.width, y, x, across, down);
        const float found = magnitude(across, down);
        // In this form equal magnitudes give exactly 0, and near ones lose no digits.
        const float difference = found - target, denominator = target * target + found * found + GMS_C;
        const float dissimilarity = difference * difference / denominator;
        sum += dissimilarity;
        if (a.slopes) {
            const float by_magnitude = 2.0f * (difference - found * dissimilarity) / denominator;
            const float factor = a.slope / 3.0f * by_magnitude / found;
            a.slopes[place] = factor * across;
            a.slopes[(size_t)count + place] = factor * down;
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) a.partial[blockIdx.x] = sum;
}
EXPORT(gms_sums, gms_of_pixels, GmsSums)

struct GmsGradient {
    const float *slopes;    // of GmsSums
    const float *coarser;   // the gradient to the plane's halves; null at the last scale
    float *gradient;        // [planes, height, width]
    uint32_t planes;
    int height, width;
};

// The places on an axis at which a filter of three taps reads `position`, and by which tap (−1, 0, 1).
struct Readers {
    int places[5], taps[5], count;
};

__device__ inline Readers readers(int position, int size) {
    Readers r;
    r.count = 0;
    for (int tap = -1; tap <= 1; tap++) {
        if (position - tap >= 0 && position - tap < size) {
            r.places[r.count] = position - tap;
            r.taps[r.count++] = tap;
        }
    }
    // The edge values stand in beyond the border.
    if (position == 0) {
        r.places[r.count] = 0;
        r.taps[r.count++] = -1;
    }
    if (position == size - 1) {
        r.places[r.count] = size - 1;
        r.taps[r.count++] = 1;
    }
    return r;
}

__device__ void gradient_of_planes(const GmsGradient &a) {
    const uint32_t pixels = a.height * a.width, count = pixels * a.planes;
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count) return;
    const int x = place % a.width, y = place / a.width % a.height;
    const float *across = a.slopes + (size_t)(place / pixels) * pixels, *down = across + count;
    const Readers rows = readers(y, a.height), columns = readers(x, a.width);
    float gradient = 0.0f;
    for (int i = 0; i < rows.count; i++) {
        for (int j = 0; j < columns.count; j++) {
            const size_t at = (size_t)rows.places[i] * a.width + columns.places[j];
            gradient += columns.taps[j] * across[at] + rows.taps[i] * down[at];
        }
    }
    if (a.coarser) {
        const int height = (a.height + 1) / 2, width = (a.width + 1) / 2;
        const float of_rows = y + 1 == a.height && y % 2 == 0 ? 0.5f : 0.25f;
        const float share = x + 1 == a.width && x % 2 == 0 ? 2.0f * of_rows : of_rows;
        gradient += share * a.coarser[((size_t)(place / pixels) * height + y / 2) * width + x / 2];
    }
    a.gradient[place] = gradient;
}
EXPORT(gms_gradient, gradient_of_planes, GmsGradient)

struct LossTerms {
    const float *ssim, *gms, *pixels;   // partial sums: of SsimSums, of GmsSums scale after scale, of PixelGradient
    double *terms;                      // l2, l1, ssim, msgms, total
    uint32_t ssim_blocks, gms_blocks[SCALES], pixel_blocks;
    float windows, values, gms_counts[SCALES];   // what the sums are divided by
    float l2, l1, ssim_weight, msgms;   // weights
};

__device__ inline double sum_over(const float *values, uint32_t count) {
    __shared__ double sums[THREADS];
    double sum = 0.0;
    for (uint32_t i = threadIdx.x; i < count; i += THREADS) sum += values[i];
    __syncthreads();
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    return sums[0];
}

// By a single block.
__device__ void find_loss_terms(const LossTerms &a) {
    const double l2 = sum_over(a.pixels, a.pixel_blocks) / a.values;
    const double l1 = sum_over(a.pixels + a.pixel_blocks, a.pixel_blocks) / a.values;
    const double ssim = 1.0 - sum_over(a.ssim, a.ssim_blocks) / a.windows;
    double msgms = 0.0;
    const float *partial = a.gms;
    for (int scale = 0; scale < SCALES; scale++) {
        msgms += sum_over(partial, a.gms_blocks[scale]) / a.gms_counts[scale] / SCALES;
        partial += a.gms_blocks[scale];
    }
    if (threadIdx.x > 0) return;
    a.terms[0] = l2;
    a.terms[1] = l1;
    a.terms[2] = ssim;
    a.terms[3] = msgms;
    a.terms[4] = a.l2 * l2 + a.l1 * l1 + a.ssim_weight * ssim + a.msgms * msgms;
}
EXPORT(loss_terms, find_loss_terms, LossTerms)
