// All kernels, in one module.
#include "adam.cuh"
#include "images.cuh"
#include "loss.cuh"
#include "maps.cuh"
#include "norm.cuh"
#include "pixels.cuh"

// Whether what they take is what Rust gives them, by build.rs.
#include "layout.h"
