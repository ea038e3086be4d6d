//! ONNX: the network, or the whole scorer, as a graph that onnxruntime, tract, OpenVINO and others run.

use prost::Message;
use riad_core::{Calibration, calibration::USUAL_RATES};

use super::scorer_nodes;
use crate::{
    ModelError, Result,
    method::{InputFilter, Normalisation, ScoringSettings},
    network::{Architecture, SIZE_MULTIPLE, padded_size},
    onnx::{
        Graph, Side, add_network,
        proto::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto},
    },
    store::Checkpoint,
};

/// Version of the operators: old enough for every runtime of the last years. Later ones gave nothing that is needed here.
const OPSET: i64 = 13;
/// Version of the file format that came with [`OPSET`].
const IR_VERSION: i64 = 7;

/// The whole scorer as one ONNX graph: `image`, `[N, C, H, W]` in [0, 1] at the checkpoint's size (C is 3 for RGB),
/// gives `map`, `[N, H, W]`, and `score`, `[N]`. They are those of [`crate::Scorer`] within rounding (1e-4). NaN stands
/// for [`crate::ModelError::Overflow`]. All passes of an image run as one batch. The masks of the checkpoint's seed are
/// constants.
///
/// The metadata has what a program needs beside the graph:
///
/// | key | value |
/// |---|---|
/// | `riad.version` | version of the program that wrote it |
/// | `riad.preprocessing` | how a file becomes `image`, in words |
/// | `riad.scoring` | method, size, input filter, region sizes, mask sets and seed, mean filter, similarity, weight of colour, normalisation: JSON |
/// | `riad.thresholds` | where calibrated: threshold by false-positive rate, for the [usual rates](USUAL_RATES) that the calibration allows, JSON; an image is defective where `score`, and a pixel where `map`, is above |
/// | `riad.calibration_scores` | where calibrated: the scores of the good images, JSON, ascending |
///
/// # Errors
/// If the maps are those of [`Similarity::Ssim`](crate::Similarity::Ssim), the sides are not multiples of 16, the
/// checkpoint has tiles, or its parts contradict each other. The last cannot happen for a checkpoint that was read from a
/// file.
pub fn onnx_scorer(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let scoring = &checkpoint.header.scoring;
    checkpoint.check()?;
    let ScoringSettings { height, width, .. } = *scoring;
    if padded_size(scoring.size()) != scoring.size() {
        return Err(ModelError::Setting(format!(
            "a scorer of images of {height}x{width} (height x width) cannot be exported: the graph needs sides that \
             are multiples of {SIZE_MULTIPLE}; train with such a --size"
        )));
    }
    if scoring.tiling.is_some() {
        return Err(ModelError::Setting(
            "a scorer of tiles cannot be exported: the graph would score a single tile; export the network alone \
             (onnx-network), or train without --tile"
                .into(),
        ));
    }
    let channels = checkpoint.weights.network().outputs();
    let colours = colours(channels);
    let mut graph = Graph::new("riad_scorer");
    let image = [
        Side::Named("N"),
        Side::Fixed(channels),
        Side::Fixed(height),
        Side::Fixed(width),
    ];
    let image = graph.input("image", &image, &format!("{colours} in [0, 1]"));
    let [map, score] = scorer_nodes::add(&mut graph, checkpoint, &image)?;
    let map_shape = [Side::Named("N"), Side::Fixed(height), Side::Fixed(width)];
    graph.output(&map, &map_shape, "how anomalous each pixel is");
    graph.output(&score, &[Side::Named("N")], "the map's maximum");
    let mut metadata = vec![
        (
            "riad.preprocessing",
            preprocessing(channels, height, width, scoring.white_level),
        ),
        ("riad.scoring", scoring_json(&checkpoint.header.scoring)),
    ];
    if let Some(calibration) = &checkpoint.header.calibration {
        metadata.push(("riad.thresholds", thresholds_json(calibration)));
        let scores: Vec<_> = calibration.scores().iter().map(f32::to_string).collect();
        metadata.push(("riad.calibration_scores", format!("[{}]", scores.join(", "))));
    }
    let [method, _] = checkpoint.header.method().titles();
    let about = format!("Anomaly maps and scores by {method}: the larger, the more anomalous.");
    Ok(model(graph.finish(), &about, metadata))
}

/// The network alone as an ONNX graph: `input`, `[N, C, H, W]`, the network's input in its range, with 0 in regions to
/// fill in, gives `output`, `[N, C′, H, W]`, the whole image. H and W are multiples of 16. The metadata has
/// `riad.version` and `riad.scoring` as [`onnx_scorer`].
pub fn onnx_network(checkpoint: &Checkpoint) -> Vec<u8> {
    let Normalisation { mean, deviation } = checkpoint.header.scoring.normalisation;
    let network = checkpoint.weights.network();
    let colours = colours(network.outputs());
    let seen = match checkpoint.header.scoring.input {
        InputFilter::None => colours.clone(),
        filter => format!("{} of {colours}", filter.about()),
    };
    let mut graph = Graph::new("riad_network");
    let shape = |channels: usize| {
        [
            Side::Named("N"),
            Side::Fixed(channels),
            Side::Named("H"),
            Side::Named("W"),
        ]
    };
    let hidden = match checkpoint.header.scoring.region_sizes.is_empty() {
        true => "",
        false => ", 0 where it is hidden",
    };
    let about = format!("({seen} in [0, 1] - {mean}) / {deviation}{hidden}");
    let input = graph.input("input", &shape(network.inputs()), &about);
    let last = add_network(&mut graph, &checkpoint.weights, &input);
    let output = graph.node("output", "Identity", &[&last], vec![]);
    let about = format!("times {deviation} plus {mean} is {colours} in [0, 1]");
    graph.output(&output, &shape(network.outputs()), &about);
    let metadata = vec![("riad.scoring", scoring_json(&checkpoint.header.scoring))];
    let [_, about] = checkpoint.header.method().titles();
    model(graph.finish(), about, metadata)
}

fn model(graph: GraphProto, about: &str, metadata: Vec<(&str, String)>) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let entry = |(key, value): (&str, String)| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    };
    let version_entry = entry(("riad.version", version.clone()));
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("riad".to_owned()),
        producer_version: Some(version),
        doc_string: Some(about.to_owned()),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        metadata_props: std::iter::once(version_entry)
            .chain(metadata.into_iter().map(entry))
            .collect(),
    };
    model.encode_to_vec()
}

/// What the channels of an image are.
fn colours(channels: usize) -> String {
    match channels {
        1 => "grey".into(),
        Architecture::COLOUR => "RGB".into(),
        _ => format!("{channels} channels"),
    }
}

fn preprocessing(channels: usize, height: usize, width: usize, white_level: Option<u16>) -> String {
    let pixels = match channels {
        1 => "grey, a colour image as its Rec. 601 luma",
        Architecture::COLOUR => "RGB, a grey image as three equal channels",
        _ => "its channels in their order",
    };
    let white = white_level.map_or_else(|| "255, or by 65535 from 16 bits".to_owned(), |white| white.to_string());
    format!(
        "Upright (orientation tag applied), {pixels}, transparency over black, no colour profile applied; resized to \
         {width}x{height} (width x height) without keeping the aspect ratio by a triangle filter that widens when \
         shrinking (Pillow's BILINEAR); divided by {white}; channels first."
    )
}

fn scoring_json(scoring: &ScoringSettings) -> String {
    let ScoringSettings {
        height,
        width,
        normalisation: Normalisation { mean, deviation },
        region_sizes,
        sets,
        mask_seed,
        smoothing,
        similarity,
        scales,
        method,
        input,
        chroma,
        white_level,
        tiling: _,
    } = scoring;
    serde_json::json!({
        "height": height, "width": width, "mean": mean, "deviation": deviation, "region_sizes": region_sizes,
        "sets": sets, "mask_seed": mask_seed, "smoothing": smoothing, "similarity": similarity,
        "scales": scales, "method": method, "input": input, "chroma": chroma, "white_level": white_level,
    })
    .to_string()
}

fn thresholds_json(calibration: &Calibration) -> String {
    let thresholds: Vec<_> = USUAL_RATES
        .iter()
        .filter_map(|&rate| Some(format!("\"{rate}\": {}", calibration.threshold(rate).ok()?)))
        .collect();
    format!("{{{}}}", thresholds.join(", "))
}
