//! Time and memory of the pixel metrics on as many pixels as a large test set has (10⁸: 1526 maps of 256x256).
//!
//! ```text
//! cargo bench -p riad-core --bench pixel_metrics_at_scale [-- MAPS]
//! ```

use std::time::Instant;

use riad_core::{Map, Size, metrics::PixelMetrics};

const SIDE: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds an argument of its own.
    let maps: u32 = std::env::args().find_map(|count| count.parse().ok()).unwrap_or(1526);
    let size = Size::new(SIDE, SIDE);
    let start = Instant::now();
    let mut metrics = PixelMetrics::new();
    for image in 0..maps {
        // Every other image has a disc for a defect, which scores a little higher than the noise around it.
        let defect: Vec<bool> = (0..SIDE * SIDE)
            .map(|pixel| {
                image % 2 == 0 && (pixel / SIDE).abs_diff(90).pow(2) + (pixel % SIDE).abs_diff(120).pow(2) < 900
            })
            .collect();
        let map: Vec<f32> = (0u32..)
            .zip(&defect)
            .map(|(pixel, &defect)| {
                let noise = (image * 65_537 + pixel).wrapping_mul(2_654_435_761) >> 8;
                noise as f32 / (1 << 24) as f32 + if defect { 0.3 } else { 0.0 }
            })
            .collect();
        metrics.push(&Map::new(size, map)?, &Map::new(size, defect)?)?;
    }
    println!(
        "{:.2} s to make and collect {} pixels",
        start.elapsed().as_secs_f64(),
        maps as usize * SIDE * SIDE
    );
    let start = Instant::now();
    println!("{:#?}", metrics.finish(0.3)?);
    println!("{:.2} s to measure", start.elapsed().as_secs_f64());
    Ok(())
}
