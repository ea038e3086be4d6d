//! What is measured, and against whom.

/// A piece of work that all contestants do.
pub(super) struct Workload {
    /// As the servers know it.
    pub(super) name: String,
    /// For people.
    pub(super) title: String,
    pub(super) kind: Kind,
    pub(super) peers: &'static [Peer],
    /// The largest difference of any result from ours that is still called equal.
    pub(super) tolerance: f64,
    /// What the compared results are.
    pub(super) compared: &'static str,
    /// What a reader must know to judge the comparison.
    pub(super) caveat: &'static str,
    /// Too long for a quick run.
    pub(super) long: bool,
}

impl Workload {
    /// Whether the network scores, for which we have bf16 as well.
    pub(super) fn scores(&self) -> bool {
        match self.kind {
            Kind::Run => ["forward", "score", "restore"]
                .iter()
                .any(|kind| self.name.starts_with(kind)),
            Kind::Memory { of } => of.starts_with("score"),
            Kind::Start { .. } => true,
        }
    }

    /// The preset, the size and the batch of training steps, where it is one.
    pub(super) fn training(&self) -> Option<[&str; 3]> {
        match self.name.split('-').collect::<Vec<_>>()[..] {
            ["train", preset, size, batch] => Some([preset, size, batch]),
            _ => None,
        }
    }
}

/// How a workload is run and what of it is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Seconds of a run in a server.
    Run,
    /// Peak resident memory of a fresh server that runs the named workload three times.
    Memory { of: &'static str },
    /// Seconds from starting a process to its end, with the score of one image.
    Start { preset: &'static str },
}

/// Another program, or another way of running it.
#[derive(Debug)]
pub(super) struct Peer {
    /// As `peers.py` knows it.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    /// Its arithmetic is narrower than ours: not compared for the ratio to the fastest, and allowed to differ.
    pub(super) bf16: bool,
}

const fn f32_peer(name: &'static str, title: &'static str) -> Peer {
    let bf16 = false;
    Peer { name, title, bf16 }
}

const fn bf16_peer(name: &'static str, title: &'static str) -> Peer {
    let bf16 = true;
    Peer { name, title, bf16 }
}

const INFERENCE: &[Peer] = &[
    f32_peer("eager", "PyTorch eager"),
    f32_peer("channels_last", "PyTorch channels-last"),
    f32_peer("compile", "torch.compile, frozen"),
    f32_peer("onnxruntime", "onnxruntime"),
    f32_peer("openvino", "OpenVINO"),
    bf16_peer("channels_last_bf16", "PyTorch channels-last, bf16"),
    bf16_peer("compile_bf16", "torch.compile, frozen, bf16"),
    bf16_peer("openvino_bf16", "OpenVINO, bf16"),
];
/// Where each run takes a minute: those that are fast without compiling first.
const INFERENCE_OF_MANY: &[Peer] = &[f32_peer("onnxruntime", "onnxruntime"), f32_peer("openvino", "OpenVINO")];
const TRAINING: &[Peer] = &[
    f32_peer("eager", "PyTorch eager"),
    f32_peer("channels_last", "PyTorch channels-last"),
    f32_peer("compile", "torch.compile"),
    bf16_peer("channels_last_bf16", "PyTorch channels-last, bf16 autocast"),
];
const METRICS: &[Peer] = &[
    f32_peer("scikit", "scikit-learn AUROC, MVTec's AUPRO"),
    f32_peer("numpy", "numpy, one sort for both"),
];
const DECODING: &[Peer] = &[
    f32_peer("pillow", "Pillow, one thread"),
    f32_peer("pillow_threads", "Pillow, thread pool"),
];
const START: &[Peer] = &[f32_peer("python", "Python, PyTorch channels-last")];
const MEMORY_OF_SCORING: &[Peer] = &[
    f32_peer("eager", "PyTorch eager"),
    f32_peer("channels_last", "PyTorch channels-last"),
    f32_peer("onnxruntime", "onnxruntime, maps in PyTorch"),
    f32_peer("openvino", "OpenVINO, maps in PyTorch"),
];
const MEMORY_OF_TRAINING: &[Peer] = &[
    f32_peer("eager", "PyTorch eager"),
    f32_peer("channels_last", "PyTorch channels-last"),
];

const FORWARD_CAVEAT: &str = "riad runs a scorer with one mask set that hides the whole image. So the input is \
    zero for all contestants. riad's time includes masking, composing, one similarity map and its smoothing. The \
    peers run only the network.";
const SCORE_CAVEAT: &str = "The work for an image is twelve masked passes (K = 2, 4, 8, 16; n = 3), four \
    multi-scale GMS maps, 21×21 mean filter, mean and maximum. The peers mask, compose and map in PyTorch \
    (separable filters). They run one pass at a time or all passes at once: the faster of the two. torch.compile \
    runs one pass at a time, because compiling takes minutes less.";
const SCORE_MANY_CAVEAT: &str = "The work for each image is the same as above. The peers score one image at a \
    time. riad scores four at once, as `riad score` does. A round takes long, so only two peers take part.";
const RESTORE_CAVEAT: &str = "The work for an image is edges of each colour, one pass, the multi-scale GMS of each \
    colour, the difference in colour, mean filter and maximum. The peers do all of it except the pass in PyTorch \
    (pooling for edges, separable filters).";
const TRAIN_CAVEAT: &str = "A step is three masked copies of each image, forward, L2 + SSIM + MSGMS, backward, \
    Adam with coupled weight decay. riad's time is that of a whole step of `Trainer::run` with images in memory, \
    from one step's event to the next. It includes the preparation of the next batch. The run saves nothing in \
    that time. A real run saves every 20 s at most. The peers use fused Adam and separable SSIM windows. Each \
    contestant draws its own masks, so the first losses from equal weights agree only roughly. Tests in riad-model \
    check that steps are equal to the last digits. `riad bench` is not a contestant. It measures a step of the \
    same work with its own clock, as a mean over one run after the rounds.";
const METRICS_CAVEAT: &str = "riad also computes average precision and the best F1. MVTec's AUPRO is its published \
    algorithm with scikit-image's labels. A careful user of numpy could write the variant with one sort.";
const DECODING_CAVEAT: &str = "There are 24 files, in the system's cache. Pillow rounds to 8 bits after each axis, \
    and riad keeps 16 bits, so results differ by up to 1/255.";
const START_CAVEAT: &str = "This compares `riad score` with a script that imports PyTorch and Pillow, loads the \
    same weights and scores the same image. Each run is a new process, and files are in the system's cache.";
const MEMORY_CAVEAT: &str = "This is the peak resident size of a new process after three runs. Peers score one \
    pass at a time, because this needs the least memory. Their size includes Python and the imported libraries, \
    because a machine needs both to run them.";

/// Every workload, in the order of the report.
pub(super) fn all() -> Vec<Workload> {
    let mut all = Vec::new();
    for preset in ["paper", "small"] {
        for batch in [1, 8] {
            all.push(Workload {
                name: format!("forward-{preset}-{batch}"),
                title: format!("U-Net forward, `{preset}`, 256×256, batch {batch}"),
                kind: Kind::Run,
                peers: INFERENCE,
                tolerance: 1e-4,
                compared: "reconstructions in [0, 1]",
                caveat: FORWARD_CAVEAT,
                long: preset == "paper" && batch > 1,
            });
        }
    }
    for (preset, images) in [("paper", 1), ("small", 1), ("small", 32)] {
        let plural = if images == 1 { "one image" } else { "32 images" };
        all.push(Workload {
            name: format!("score-{preset}-{images}"),
            title: format!("Scoring {plural}, `{preset}`, 256×256"),
            kind: Kind::Run,
            peers: if images == 1 { INFERENCE } else { INFERENCE_OF_MANY },
            tolerance: 1e-4,
            compared: "anomaly maps in [0, 1]",
            caveat: if images == 1 { SCORE_CAVEAT } else { SCORE_MANY_CAVEAT },
            long: images > 1,
        });
    }
    for (preset, size) in [("tiny", 128), ("small", 256)] {
        all.push(Workload {
            name: format!("restore-{preset}-{size}-1"),
            title: format!("Scoring one image by restoration, `{preset}`, {size}×{size}"),
            kind: Kind::Run,
            peers: INFERENCE,
            tolerance: 1e-4,
            compared: "anomaly maps in [0, 1]",
            caveat: RESTORE_CAVEAT,
            long: false,
        });
    }
    for (preset, size, batch) in [("small", 128, 4), ("small", 256, 2), ("paper", 256, 1)] {
        all.push(Workload {
            name: format!("train-{preset}-{size}-{batch}"),
            title: format!("Training step, `{preset}`, {size}×{size}, batch {batch}"),
            kind: Kind::Run,
            peers: TRAINING,
            tolerance: 0.05,
            compared: "first losses",
            caveat: TRAIN_CAVEAT,
            long: preset == "paper",
        });
    }
    for size in [256, 1024] {
        all.push(Workload {
            name: format!("metrics-{size}"),
            title: format!("AUROC and AUPRO of 83 maps of {size}×{size}"),
            kind: Kind::Run,
            peers: METRICS,
            tolerance: 1e-6,
            compared: "AUROC and AUPRO",
            caveat: METRICS_CAVEAT,
            long: size > 256,
        });
    }
    all.push(Workload {
        name: "decode".into(),
        title: "Decoding PNGs and resizing them to 256×256".into(),
        kind: Kind::Run,
        peers: DECODING,
        tolerance: 1.01 / 255.0,
        compared: "pixels in [0, 1]",
        caveat: DECODING_CAVEAT,
        long: false,
    });
    for preset in ["tiny", "small"] {
        all.push(Workload {
            name: format!("start-{preset}"),
            title: format!("From process start to the first score, `{preset}`, 256×256"),
            kind: Kind::Start { preset },
            peers: START,
            tolerance: 1e-4,
            compared: "scores",
            caveat: START_CAVEAT,
            long: false,
        });
    }
    for (of, title, peers) in [
        ("score-small-1", "scoring, `small`", MEMORY_OF_SCORING),
        ("score-paper-1", "scoring, `paper`", MEMORY_OF_SCORING),
        (
            "train-small-256-2",
            "training, `small`, 256×256, batch 2",
            MEMORY_OF_TRAINING,
        ),
    ] {
        all.push(Workload {
            name: format!("memory-{of}"),
            title: format!("Peak memory of {title}"),
            kind: Kind::Memory { of },
            peers,
            tolerance: f64::INFINITY,
            compared: "",
            caveat: MEMORY_CAVEAT,
            long: of.contains("paper"),
        });
    }
    all
}
