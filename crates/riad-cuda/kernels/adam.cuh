// Adam with coupled weight decay, as riad-model's adam.rs describes it.
#pragma once
#include "common.cuh"

struct Adam {
    float *values, *first, *second;   // the parameters in f32, and the moments of their gradients
    const void *gradients;
    bf16 *rounded;         // a copy of the parameters, for the layers; null where they take f32
    const double *total;   // the loss: where it is not finite, no step is taken
    const float *step;     // rate and correction, which change from step to step
    uint32_t count;
    float weight_decay, beta1, beta2, epsilon;
};

template <typename T>
__device__ void adam(const Adam &a) {
    const uint32_t place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= a.count || !isfinite(*a.total)) return;
    const float value = a.values[place];
    const float gradient = to_float(((const T *)a.gradients)[place]) + a.weight_decay * value;
    const float first = a.beta1 * a.first[place] + (1.0f - a.beta1) * gradient;
    const float second = a.beta2 * a.second[place] + (1.0f - a.beta2) * gradient * gradient;
    const float moved = value - a.step[0] * first / (sqrtf(second * a.step[1]) + a.epsilon);
    a.first[place] = first;
    a.second[place] = second;
    a.values[place] = moved;
    if (a.rounded) from_float(moved, a.rounded[place]);
}
EXPORT_BOTH(adam, adam, Adam)
