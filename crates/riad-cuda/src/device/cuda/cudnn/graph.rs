//! What cuDNN is asked to compute: a convolution, and what follows it, as a graph of operations on tensors.

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendDescriptorType_t as Object, cudnnBackendHeurMode_t as Heuristic,
    cudnnConvolutionMode_t as Mode, cudnnDataType_t as Numbers, cudnnHandle_t, cudnnPointwiseMode_t as Pointwise,
};

use super::descriptor::Descriptor;
use crate::{ConvolutionSpec, CudaError, Epilogue, Kind, Precision};

// The tensors' numbers in a graph.
pub(super) const X: i64 = 1;
pub(super) const W: i64 = 2;
pub(super) const Y: i64 = 3;
pub(super) const BIAS: i64 = 4;
const CONVOLVED: i64 = 5;
const BIASED: i64 = 6;

/// The graph of a convolution; if `fused`, with bias and ReLU after it, which see its sums in f32.
pub(super) fn graph(handle: cudnnHandle_t, spec: &ConvolutionSpec, fused: bool) -> Result<Descriptor, CudaError> {
    let numbers = match spec.precision {
        Precision::F32 | Precision::Tf32 => Numbers::CUDNN_DATA_FLOAT,
        Precision::Bf16 => Numbers::CUDNN_DATA_BFLOAT16,
    };
    let (height, width) = spec.y_size()?;
    let x_shape = [spec.images, spec.inputs, spec.height, spec.width];
    let w_shape = [spec.outputs, spec.inputs, spec.kernel, spec.kernel];
    let y_shape = [spec.images, spec.outputs, height, width];
    let x = tensor(X, numbers, x_shape, spec.x_pixel, false)?;
    let w = tensor(W, numbers, w_shape, spec.inputs, false)?;
    let y = tensor(Y, numbers, y_shape, spec.y_pixel, false)?;
    let operations = if fused {
        let float = Numbers::CUDNN_DATA_FLOAT;
        let bias = tensor(BIAS, float, [1, spec.outputs, 1, 1], spec.outputs, false)?;
        let convolved = tensor(CONVOLVED, float, y_shape, spec.outputs, true)?;
        let biased = tensor(BIASED, float, y_shape, spec.outputs, true)?;
        vec![
            convolution(spec, &x, &w, &convolved)?,
            pointwise(Pointwise::CUDNN_POINTWISE_ADD, &convolved, Some(&bias), &biased)?,
            pointwise(Pointwise::CUDNN_POINTWISE_RELU_FWD, &biased, None, &y)?,
        ]
    } else {
        vec![convolution(spec, &x, &w, &y)?]
    };
    let operations: Vec<_> = operations.iter().collect();
    Descriptor::new(Object::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?
        .with_descriptors(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operations)?
        .with(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, &[handle])?
        .finalized()
}

/// Configurations of engines for a graph, in the order that a heuristic gives them.
pub(super) fn configurations(graph: &Descriptor, heuristic: Heuristic) -> Result<Vec<Descriptor>, CudaError> {
    const RESULTS: Name = Name::CUDNN_ATTR_ENGINEHEUR_RESULTS;
    let heuristics = Descriptor::new(Object::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .with_descriptors(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &[graph])?
        .with(Name::CUDNN_ATTR_ENGINEHEUR_MODE, &[heuristic])?
        .finalized()?;
    let mut results = (0..heuristics.count(RESULTS)?)
        .map(|_| Descriptor::new(Object::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR))
        .collect::<Result<Vec<_>, _>>()?;
    if !results.is_empty() {
        let found = heuristics.descriptors(RESULTS, &results)?;
        results.truncate(found);
    }
    Ok(results)
}

/// A tensor in channels-last order, `pixel` values from one pixel to the next; its shape in cuDNN's order: images, channels,
/// height, width. What is virtual never lies in memory.
fn tensor(
    number: i64,
    numbers: Numbers,
    shape: [usize; 4],
    pixel: usize,
    is_virtual: bool,
) -> Result<Descriptor, CudaError> {
    let [_, _, height, width] = shape;
    let strides = [height * width * pixel, 1, width * pixel, pixel];
    let tensor = Descriptor::new(Object::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, &[numbers])?
        .with(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, &shape.map(|size| size as i64))?
        .with(Name::CUDNN_ATTR_TENSOR_STRIDES, &strides.map(|stride| stride as i64))?
        .with(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[number])?
        .with(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[16i64])?;
    if is_virtual {
        tensor.with(Name::CUDNN_ATTR_TENSOR_IS_VIRTUAL, &[true])?.finalized()
    } else {
        tensor.finalized()
    }
}

/// The convolution itself; `y` may be virtual.
fn convolution(
    spec: &ConvolutionSpec,
    x: &Descriptor,
    w: &Descriptor,
    y: &Descriptor,
) -> Result<Descriptor, CudaError> {
    let twice = |value: usize| [value as i64; 2];
    let shape = Descriptor::new(Object::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, &[Numbers::CUDNN_DATA_FLOAT])?
        .with(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE, &[Mode::CUDNN_CROSS_CORRELATION])?
        .with(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2i64])?
        .with(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &twice(spec.padding))?
        .with(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &twice(spec.padding))?
        .with(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &twice(spec.stride))?
        .with(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, &twice(1))?
        .finalized()?;
    let (object, names) = match spec.kind {
        Kind::Forward => (
            Object::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            ],
        ),
        Kind::GradInput => (
            Object::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            ],
        ),
        Kind::GradWeight => (
            Object::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            ],
        ),
    };
    let [shape_name, x_name, w_name, y_name, alpha, beta] = names;
    Descriptor::new(object)?
        .with_descriptors(shape_name, &[&shape])?
        .with_descriptors(x_name, &[x])?
        .with_descriptors(w_name, &[w])?
        .with_descriptors(y_name, &[y])?
        .with(alpha, &[1f32])?
        .with(beta, &[0f32])?
        .finalized()
}

/// `y = mode(x, b)`, value by value, in f32.
fn pointwise(mode: Pointwise, x: &Descriptor, b: Option<&Descriptor>, y: &Descriptor) -> Result<Descriptor, CudaError> {
    let what = Descriptor::new(Object::CUDNN_BACKEND_POINTWISE_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_POINTWISE_MODE, &[mode])?
        .with(Name::CUDNN_ATTR_POINTWISE_MATH_PREC, &[Numbers::CUDNN_DATA_FLOAT])?
        .finalized()?;
    let mut operation = Descriptor::new(Object::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)?
        .with_descriptors(Name::CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, &[&what])?
        .with_descriptors(Name::CUDNN_ATTR_OPERATION_POINTWISE_XDESC, &[x])?
        .with_descriptors(Name::CUDNN_ATTR_OPERATION_POINTWISE_YDESC, &[y])?;
    if let Some(b) = b {
        operation = operation.with_descriptors(Name::CUDNN_ATTR_OPERATION_POINTWISE_BDESC, &[b])?;
    }
    operation.finalized()
}

/// A convolution in a few words.
pub(super) fn describe(spec: &ConvolutionSpec) -> String {
    let ConvolutionSpec {
        kind,
        precision,
        images,
        height,
        width,
        inputs,
        outputs,
        kernel,
        stride,
        padding,
        x_pixel,
        y_pixel,
        epilogue,
    } = spec;
    let epilogue = match epilogue {
        Epilogue::None => "",
        Epilogue::BiasRelu => " with bias and ReLU",
    };
    format!(
        "{kind:?} {precision:?} {images}×{height}×{width} {inputs}/{x_pixel} -> {outputs}/{y_pixel} \
         kernel {kernel} stride {stride} padding {padding}{epilogue}"
    )
}
