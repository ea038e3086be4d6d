//! The scorer's nodes around the network: what [`crate::Scorer`] does, in ONNX's operators.
//!
//! In shapes, N is the number of images, K that of passes, C that of the image's channels, and E that of the channels whose
//! edges are compared.

use riad_core::{
    Map, Size,
    similarity::{self, Shape, gms},
    smooth,
};

use crate::{
    ModelError, Result,
    method::{InputFilter, Roi, ScoringSettings, Similarity},
    onnx::{Graph, integer, integers, proto::AttributeProto, text},
    store::Checkpoint,
};

/// Adds the scorer over `image`, `[N, C, H, W]` in [0, 1]; gives the names of the map, `[N, H, W]`, and the score, `[N]`.
pub(super) fn add(graph: &mut Graph, checkpoint: &Checkpoint, image: &str) -> Result<[String; 2]> {
    let scoring = &checkpoint.header.scoring;
    let (height, width) = (scoring.height, scoring.width);
    let reconstructions = reconstruct(graph, checkpoint, image)?;
    let images = Images {
        channels: checkpoint.weights.network().outputs(),
        size: scoring.size(),
        passes: scoring.method.pass_names(scoring).len(),
    };
    let mut dissimilarity = dissimilarity(graph, scoring, images, image, &reconstructions)?;
    if scoring.chroma > 0.0 {
        let colours = colour_difference(graph, images, image, &reconstructions);
        let weight = graph.float("chroma.weight", scoring.chroma);
        let x = graph.node("chroma.weighted", "Mul", &[&colours, &weight], vec![]);
        dissimilarity = graph.node("dissimilarity.with_colours", "Add", &[&dissimilarity, &x], vec![]);
    }

    let x = mean_filter(graph, "smooth", scoring.size(), scoring.smoothing, &dissimilarity)?;
    let (least, most) = (graph.float("zero", 0.0), graph.float("one", 1.0));
    let region_maps = graph.node("region_maps", "Clip", &[&x, &least, &most], vec![]);
    let over_regions = || vec![integers("axes", &[1]), integer("keepdims", 0)];
    let mut x = graph.node("mean_map", "ReduceMean", &[&region_maps], over_regions());
    if let Some(normal) = &checkpoint.normal {
        let offset = graph.floats("normal.offset", &[height, width], normal.offset().values());
        let weight = graph.floats("normal.weight", &[height, width], normal.weight().values());
        x = graph.node("unusual", "Sub", &[&x, &offset], vec![]);
        x = graph.node("unusual.weighted", "Mul", &[&x, &weight], vec![]);
    }
    if let Some(roi) = &checkpoint.roi {
        let inside = graph.booleans("roi", &[1, height, width], roi.inside());
        let outside = graph.float("roi.outside", Roi::OUTSIDE);
        x = graph.node("looked_at", "Where", &[&inside, &x, &outside], vec![]);
    }
    let map = graph.node("map", "Identity", &[&x], vec![]);
    let over_pixels = vec![integers("axes", &[1, 2]), integer("keepdims", 0)];
    let score = graph.node("score", "ReduceMax", &[&map], over_pixels);
    Ok([map, score])
}

/// Reconstructions `[N·K, C, H, W]` in [0, 1] from all passes, which are one batch.
fn reconstruct(graph: &mut Graph, checkpoint: &Checkpoint, image: &str) -> Result<String> {
    let scoring = &checkpoint.header.scoring;
    let mean = graph.float("normalisation.mean", scoring.normalisation.mean);
    let deviation = graph.float("normalisation.deviation", scoring.normalisation.deviation);
    let seen = seen(graph, scoring, checkpoint.weights.network().outputs(), image)?;
    let x = graph.node("centred", "Sub", &[&seen, &mean], vec![]);
    let x = graph.node("normalised", "Div", &[&x, &deviation], vec![]);
    let x = scoring.method.export(graph, &checkpoint.weights, scoring, &x)?;
    let x = graph.node("scaled", "Mul", &[&x, &deviation], vec![]);
    Ok(graph.node("reconstructions", "Add", &[&x, &mean], vec![]))
}

/// What the network sees of the images `[N, C, H, W]`.
fn seen(graph: &mut Graph, scoring: &ScoringSettings, channels: usize, image: &str) -> Result<String> {
    let planes = match scoring.input {
        InputFilter::None => return Ok(image.to_owned()),
        InputFilter::EdgesColour => image.to_owned(),
        InputFilter::EdgesGrey | InputFilter::HighPass => grey(graph, channels, "seen.grey", image)?,
    };
    if scoring.input == InputFilter::HighPass {
        let window = InputFilter::window(scoring.size());
        let mean = mean_filter(graph, "seen.mean", scoring.size(), window, &planes)?;
        let half = graph.float("half", 0.5);
        let x = graph.node("seen.change", "Sub", &[&planes, &mean], vec![]);
        let x = graph.node("seen.halved", "Mul", &[&x, &half], vec![]);
        return Ok(graph.node("seen", "Add", &[&x, &half], vec![]));
    }
    // Beyond the border a pooling has nothing to choose, which is as if the edge value went on.
    let around = || {
        vec![
            integers("kernel_shape", &[3, 3]),
            integers("strides", &[1, 1]),
            integers("pads", &[1, 1, 1, 1]),
        ]
    };
    let dilated = graph.node("seen.dilated", "MaxPool", &[&planes], around());
    let x = graph.node("seen.negative", "Neg", &[&planes], vec![]);
    let x = graph.node("seen.negative.dilated", "MaxPool", &[&x], around());
    Ok(graph.node("seen", "Add", &[&dilated, &x], vec![]))
}

/// What images are, and how often each is reconstructed.
#[derive(Clone, Copy)]
struct Images {
    channels: usize,
    size: Size,
    passes: usize,
}

/// 1 − similarity of images and reconstructions, `[N, K, H, W]`.
fn dissimilarity(
    graph: &mut Graph,
    scoring: &ScoringSettings,
    images: Images,
    image: &str,
    reconstructions: &str,
) -> Result<String> {
    match scoring.similarity {
        Similarity::GmsGrey => gms_dissimilarity(graph, scoring, images, 1, [image, reconstructions]),
        Similarity::GmsColour => gms_dissimilarity(graph, scoring, images, images.channels, [image, reconstructions]),
        Similarity::L2 => Ok(squared_error(graph, images, image, reconstructions)),
        Similarity::Ssim => Err(ModelError::Setting(
            "maps of SSIM cannot be exported; train with another similarity".into(),
        )),
    }
}

/// The mean over the channels of the squared error, `[N, K, H, W]`.
fn squared_error(graph: &mut Graph, images: Images, image: &str, reconstructions: &str) -> String {
    let x = error(graph, "error", images, image, reconstructions);
    let x = graph.node("error.squared", "Mul", &[&x, &x], vec![]);
    graph.node("dissimilarity", "ReduceMean", &[&x], over_channels())
}

/// The variance over the channels of the error, `[N, K, H, W]`.
fn colour_difference(graph: &mut Graph, images: Images, image: &str, reconstructions: &str) -> String {
    let x = error(graph, "chroma.error", images, image, reconstructions);
    let mean = graph.node(
        "chroma.mean",
        "ReduceMean",
        &[&x],
        vec![integers("axes", &[2]), integer("keepdims", 1)],
    );
    let x = graph.node("chroma.apart", "Sub", &[&x, &mean], vec![]);
    let x = graph.node("chroma.squared", "Mul", &[&x, &x], vec![]);
    graph.node("chroma", "ReduceMean", &[&x], over_channels())
}

/// Reconstructions less images, `[N, K, C, H, W]`.
fn error(graph: &mut Graph, name: &str, images: Images, image: &str, reconstructions: &str) -> String {
    let Images { channels, size, passes } = images;
    let [passes, channels, height, width] = [passes, channels, size.height, size.width].map(|side| side as i64);
    let images = graph.reshape(&format!("{name}.target"), image, &[-1, 1, channels, height, width]);
    let found = [-1, passes, channels, height, width];
    let found = graph.reshape(&format!("{name}.found"), reconstructions, &found);
    graph.node(name, "Sub", &[&found, &images], vec![])
}

fn over_channels() -> Vec<AttributeProto> {
    vec![integers("axes", &[2]), integer("keepdims", 0)]
}

/// 1 − multi-scale GMS of images and reconstructions, in grey or in each channel, which `compared_channels` tells: `[N, K, H, W]`.
fn gms_dissimilarity(
    graph: &mut Graph,
    scoring: &ScoringSettings,
    images: Images,
    compared_channels: usize,
    [image, reconstructions]: [&str; 2],
) -> Result<String> {
    let mut compared = Vec::new();
    for (whose, of, passes) in [("image", image, 1), ("reconstruction", reconstructions, images.passes)] {
        compared.push(Compared {
            whose,
            planes: planes(graph, images, compared_channels, whose, of)?,
            passes,
        });
    }
    let sides = (compared_channels, images.size);
    let constants = Constants::new(graph);
    let mut sum = dissimilarity_at(graph, &constants, 0, &compared, sides);
    for scale in 1..scoring.scales {
        for Compared { whose, planes, .. } in &mut compared {
            let halving = vec![integers("kernel_shape", &[2, 2]), integers("strides", &[2, 2])];
            *planes = graph.node(&format!("scale{scale}.{whose}"), "AveragePool", &[planes], halving);
        }
        let x = dissimilarity_at(graph, &constants, scale, &compared, sides);
        let factor = (1 << scale) as f32;
        let factors = graph.floats(&format!("scale{scale}.factors"), &[4], &[1.0, 1.0, factor, factor]);
        let bilinear = vec![
            text("mode", "linear"),
            text("coordinate_transformation_mode", "half_pixel"),
        ];
        let x = graph.node(
            &format!("scale{scale}.enlarged"),
            "Resize",
            &[&x, "", &factors],
            bilinear,
        );
        sum = graph.node(&format!("scale{scale}.sum"), "Add", &[&sum, &x], vec![]);
    }
    let share = graph.float("scales.share", 1.0 / scoring.scales as f32);
    Ok(graph.node("dissimilarity", "Mul", &[&sum, &share], vec![]))
}

/// The images or the reconstructions, on their way down the scales.
struct Compared {
    whose: &'static str,
    /// `[N·passes·E, 1, h, w]`
    planes: String,
    passes: usize,
}

/// 1 − GMS at one scale, the mean over the channels, `[N, K, h, w]`. In the form of riad-core, which loses no digits where
/// both are alike.
fn dissimilarity_at(
    graph: &mut Graph,
    constants: &Constants,
    scale: usize,
    compared: &[Compared],
    (channels, size): (usize, Size),
) -> String {
    let at = |what: &str| format!("scale{scale}.{what}");
    let edges = compared.iter().map(|Compared { whose, planes, passes }| {
        let edges = magnitudes(graph, constants, &at(&format!("{whose}.edges")), planes);
        let [passes, channels, height, width] =
            [*passes, channels, size.height >> scale, size.width >> scale].map(|side| side as i64);
        let by_region = format!("{whose}.by_region");
        graph.reshape(&at(&by_region), &edges, &[-1, passes, channels, height, width])
    });
    let edges: Vec<String> = edges.collect();
    let (target, found) = (&edges[0], &edges[1]);
    let mut square = |what: &str, x: &str| graph.node(&at(what), "Mul", &[x, x], vec![]);
    let squares = [square("target.squared", target), square("found.squared", found)];
    let difference = graph.node(&at("difference"), "Sub", &[found, target], vec![]);
    let numerator = graph.node(&at("difference.squared"), "Mul", &[&difference, &difference], vec![]);
    let x = graph.node(&at("squares"), "Add", &[&squares[0], &squares[1]], vec![]);
    let denominator = graph.node(&at("denominator"), "Add", &[&x, &constants.c], vec![]);
    let x = graph.node(&at("dissimilarity"), "Div", &[&numerator, &denominator], vec![]);
    graph.node(&at("map"), "ReduceMean", &[&x], over_channels())
}

/// What every scale is compared with.
struct Constants {
    /// Prewitt's kernels, along x and along y.
    prewitt: String,
    border: String,
    components: String,
    epsilon: String,
    c: String,
}

impl Constants {
    fn new(graph: &mut Graph) -> Self {
        const T: f32 = 1.0 / 3.0;
        let prewitt = [
            [-T, 0.0, T],
            [-T, 0.0, T],
            [-T, 0.0, T],
            [-T, -T, -T],
            [0.0; 3],
            [T, T, T],
        ];
        Self {
            prewitt: graph.floats("prewitt", &[2, 1, 3, 3], prewitt.as_flattened()),
            border: graph.integers("border", &[0, 0, 1, 1, 0, 0, 1, 1]),
            components: graph.integers("components", &[1]),
            epsilon: graph.float("gms.epsilon", gms::EPSILON),
            c: graph.float("gms.c", gms::C),
        }
    }
}

/// The planes whose edges are compared, of images `[M, C, H, W]`: `[M·E, 1, H, W]`.
fn planes(graph: &mut Graph, images: Images, compared_channels: usize, whose: &str, of: &str) -> Result<String> {
    let Images { channels, size, .. } = images;
    let name = format!("scale0.{whose}");
    if compared_channels == channels {
        return Ok(graph.reshape(&name, of, &[-1, 1, size.height as i64, size.width as i64]));
    }
    grey(graph, channels, &name, of)
}

/// The grey of images `[M, C, H, W]`: `[M, 1, H, W]`.
fn grey(graph: &mut Graph, channels: usize, name: &str, of: &str) -> Result<String> {
    // Images of one pixel, each of one channel, have the weights as their grey values.
    let mut pixels = vec![0.0; channels * channels];
    pixels.iter_mut().step_by(channels + 1).for_each(|value| *value = 1.0);
    let pixel = Shape {
        images: channels,
        channels,
        size: Size::new(1, 1),
    };
    let luma = similarity::gray(&pixels, pixel)?;
    let luma = graph.floats(&format!("{name}.luma"), &[1, channels, 1, 1], &luma);
    Ok(graph.node(name, "Conv", &[of, &luma], vec![integers("kernel_shape", &[1, 1])]))
}

/// Gradient magnitudes of planes `[M, 1, h, w]`, whose border continues with its own values; the same shape.
fn magnitudes(graph: &mut Graph, constants: &Constants, name: &str, planes: &str) -> String {
    let x = graph.node(
        &format!("{name}.padded"),
        "Pad",
        &[planes, &constants.border],
        vec![text("mode", "edge")],
    );
    let kernel = vec![integers("kernel_shape", &[3, 3])];
    let x = graph.node(&format!("{name}.gradient"), "Conv", &[&x, &constants.prewitt], kernel);
    let x = graph.node(&format!("{name}.gradient.squared"), "Mul", &[&x, &x], vec![]);
    let x = graph.node(
        &format!("{name}.power"),
        "ReduceSum",
        &[&x, &constants.components],
        vec![integer("keepdims", 1)],
    );
    let x = graph.node(
        &format!("{name}.power.positive"),
        "Add",
        &[&x, &constants.epsilon],
        vec![],
    );
    graph.node(name, "Sqrt", &[&x], vec![])
}

/// The mean filter over planes `[…, H, W]`.
fn mean_filter(graph: &mut Graph, name: &str, size: Size, window: usize, planes: &str) -> Result<String> {
    let rows = filter(graph, &format!("{name}.rows"), size.height, window)?;
    let columns = filter(graph, &format!("{name}.columns"), size.width, window)?;
    let x = graph.node(&format!("{name}.vertical"), "MatMul", &[&rows, planes], vec![]);
    Ok(graph.node(&format!("{name}.horizontal"), "MatMul", &[&x, &columns], vec![]))
}

/// The mean filter along one axis as a matrix, `[side, side]`, with riad-core's rule at the borders, which no padding of
/// ONNX follows: a filter is linear, so its matrix is what it makes of unit vectors.
fn filter(graph: &mut Graph, name: &str, side: usize, window: usize) -> Result<String> {
    let mut matrix = vec![0.0; side * side];
    let mut unit = vec![0.0; side];
    for column in 0..side {
        unit[column] = 1.0;
        let filtered = smooth::mean_filter(&Map::new(Size::new(side, 1), unit.clone())?, window)?;
        unit[column] = 0.0;
        for (row, value) in filtered.into_values().into_iter().enumerate() {
            matrix[row * side + column] = value;
        }
    }
    // Two places share as many images of each other whichever is in the middle: the matrix is symmetric, and serves from
    // the left for rows as from the right for columns.
    Ok(graph.floats(name, &[side, side], &matrix))
}
