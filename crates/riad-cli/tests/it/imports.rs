//! Models that come from other programs.

use std::{fs::File, path::Path};

use crate::support::{demo, stdout};
use npyz::NpyFile;
use riad_testing::python;

fn read_npy(path: &Path) -> Vec<f32> {
    NpyFile::new(File::open(path).unwrap()).unwrap().into_vec().unwrap()
}

/// Root of the mean squared difference.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (sum / a.len() as f64).sqrt()
}

fn mean<'a>(maps: impl Iterator<Item = &'a [f32]> + Clone) -> Vec<f32> {
    let count = maps.clone().count() as f32;
    let pixels = maps.clone().next().unwrap().len();
    (0..pixels)
        .map(|pixel| maps.clone().map(|map| map[pixel]).sum::<f32>() / count)
        .collect()
}

/// Public code draws other masks for every map, so its maps scatter; ours is one of them.
#[test]
#[ignore = "needs Python with numpy, torch, Pillow and scikit-learn; RIAD_PYTHON names another than python3"]
fn maps_of_a_public_checkpoint_are_those_of_pytorch_but_for_the_chance_in_masks() {
    const DRAWS: usize = 6;
    let folder = demo();
    let root = folder.path();
    let train = "train data/badge --size 64 --epochs 3 --out run -q";
    stdout(root, &train.split(' ').collect::<Vec<_>>());
    stdout(
        root,
        &["export", "--model", "run", "--format", "torch", "--out", "public.pt"],
    );
    for image in ["good/000", "dent/000", "scratch/001"] {
        let image = format!("data/badge/test/{image}.png");
        let score = "score --model public.pt --maps maps --map-format npy -q";
        stdout(root, &score.split(' ').chain([image.as_str()]).collect::<Vec<_>>());
        let name = Path::new(&image).with_extension("npy");
        let ours = read_npy(&root.join("maps").join(name.file_name().unwrap()));

        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/public_maps.py");
        let arguments = [script, "public.pt", &DRAWS.to_string(), &image, "theirs.npy"];
        if python(root, &arguments).is_none() {
            return;
        }
        let theirs = read_npy(&root.join("theirs.npy"));
        let draws: Vec<&[f32]> = theirs.chunks_exact(theirs.len() / DRAWS).collect();
        let to_the_others = |left_out: usize| {
            let others = (0..DRAWS).filter(|&draw| draw != left_out).map(|draw| draws[draw]);
            distance(draws[left_out], &mean(others))
        };
        let scatter: Vec<f64> = (0..DRAWS).map(to_the_others).collect();
        let most = scatter.iter().copied().fold(0.0, f64::max);
        let away = distance(&ours, &mean(draws.iter().copied()));
        println!("{image}: ours {away:.6} from their mean, theirs {scatter:.6?} from each other's");
        assert!(away < 1.3 * most, "{image}: {away} {scatter:?}");
    }
}
