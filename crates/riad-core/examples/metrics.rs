//! How well anomaly maps tell defects from good products, and the threshold to use in production.
//!
//! ```text
//! cargo run -p riad-core --example metrics
//! ```

use std::error::Error;

use riad_core::{
    Calibration, LengthError, Map, Random, Size,
    metrics::{PixelMetrics, auroc},
};

const SIZE: Size = Size::new(32, 48);

fn main() -> Result<(), Box<dyn Error>> {
    // A test set of 40 images, every other one with a defect of 6 x 6 pixels, each more visible than the one before.
    let mut random = Random::new(1);
    let (mut scores, mut labels, mut pixels) = (Vec::new(), Vec::new(), PixelMetrics::new());
    for image in 0..40 {
        let is_defect = image % 2 == 0;
        let defect: Vec<bool> = (0..SIZE.pixels())
            .map(|pixel| {
                is_defect && (10..16).contains(&(pixel / SIZE.width)) && (20..26).contains(&(pixel % SIZE.width))
            })
            .collect();
        let map = anomaly_map(&mut random, &defect, 0.01 * image as f32)?;
        // The score of an image is the largest value of its map.
        scores.extend(map.max());
        labels.push(is_defect);
        pixels.push(&map, &Map::new(SIZE, defect)?)?;
    }
    println!("image AUROC  {:.3}", auroc(&scores, &labels)?);
    // The false-positive rate up to which MVTec integrates the per-region overlap.
    let pixels = pixels.finish(0.3)?;
    println!("pixel AUROC  {:.3}", pixels.auroc);
    println!("AUPRO        {:.3}", pixels.aupro);

    // The threshold comes from good images that nothing else has seen, not from the test set: then at most 5 % of good
    // products are flagged, on average over such calibrations.
    let good = vec![false; SIZE.pixels()];
    let held_out: Vec<f32> = (0..60)
        .filter_map(|_| anomaly_map(&mut random, &good, 0.0).ok()?.max())
        .collect();
    let calibration = Calibration::new(held_out)?;
    let threshold = calibration.threshold(0.05)?;
    let flagged = |wanted: bool| {
        let of_kind = scores.iter().zip(&labels).filter(|&(_, &label)| label == wanted);
        of_kind.filter(|&(&score, _)| score > threshold).count()
    };
    println!("threshold    {threshold:.3} for a false-positive rate of 5 %");
    println!(
        "flagged      {} of 20 defects, {} of 20 good images",
        flagged(true),
        flagged(false)
    );
    println!("p-value      {:.3} of the first image", calibration.p_value(scores[0]));
    Ok(())
}

/// Noise, raised by `contrast` where there is a defect.
fn anomaly_map(random: &mut Random, defect: &[bool], contrast: f32) -> Result<Map, LengthError> {
    let value = |&defect: &bool| {
        // The bits that are set among 32 are about half of them, seldom more than three quarters.
        let noise = random.next_u32().count_ones() as f32 / 64.0;
        noise + if defect { contrast } else { 0.0 }
    };
    Map::new(SIZE, defect.iter().map(value).collect())
}
