// All kernels, in one module.
#include "adam.cuh"
#include "channels.cuh"
#include "images.cuh"
#include "loss.cuh"
#include "maps.cuh"
