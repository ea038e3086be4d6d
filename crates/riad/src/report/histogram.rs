//! Histograms of the scores of good and defective images, with the thresholds.

use askama::Template;

use super::{
    chart::{Axis, Tick, shown},
    verdict::Judge,
};
use crate::evaluation::ImageScore;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = WIDTH - 10.0;
/// Above: the thresholds' names, a line for each.
const TOP: f64 = 44.0;
const BOTTOM: f64 = HEIGHT - 36.0;
/// Where good images end, which grow upwards from here, and defective ones begin, which grow downwards.
const MIDDLE: f64 = (TOP + BOTTOM) / 2.0;
/// Height of the fullest bin.
const TALLEST: f64 = (BOTTOM - TOP) / 2.0 - 6.0;

const BINS: usize = 60;

/// Two histograms back to back, so that the classes are told apart by their side as well as by colour.
#[derive(Template)]
#[template(path = "histogram.html")]
pub(super) struct Histogram {
    summary: String,
    sides: [Side; 2],
    ticks: Vec<Tick>,
    cuts: Vec<Cut>,
    /// Whether the thresholds' names stand to the left of their lines, where there is more room; those of the classes
    /// then keep out of their way.
    names_are_left: bool,
}

/// The images of one class.
struct Side {
    class: &'static str,
    name: String,
    name_y: f64,
    /// The fullest bin's count and where that is.
    fullest: usize,
    fullest_y: String,
    bars: Vec<Bar>,
}

struct Bar {
    x: String,
    y: String,
    width: String,
    height: String,
}

/// A threshold.
struct Cut {
    class: &'static str,
    name: String,
    x: String,
    name_y: f64,
}

impl Histogram {
    /// The scores of some images, with thresholds to draw. `None` without images.
    pub(super) fn new(images: &[ImageScore], judges: &[&Judge]) -> Option<Self> {
        let scores = images.iter().map(|image| image.score);
        let shown_values = || scores.clone().chain(judges.iter().map(|judge| judge.threshold));
        let low = f64::from(shown_values().min_by(f32::total_cmp)?);
        let high = f64::from(shown_values().max_by(f32::total_cmp)?);
        // Equal scores are one bin in the middle.
        let margin = (0.02 * (high - low)).max(1e-4);
        let axis = Axis::new("score", low - margin, high + margin);
        let x = |value: f64| LEFT + (RIGHT - LEFT) * axis.share(value);

        let side = |is_defective: bool| {
            let mut counts = [0; BINS];
            let mut total = 0;
            for image in images.iter().filter(|image| image.defect.is_some() == is_defective) {
                let bin = (axis.share(f64::from(image.score)) * BINS as f64) as usize;
                counts[bin.min(BINS - 1)] += 1;
                total += 1;
            }
            Side::new(is_defective, &counts, total)
        };
        // The outer line is the taller one, so that no name crosses a line.
        let mut cuts: Vec<_> = judges
            .iter()
            .map(|judge| (x(f64::from(judge.threshold)), judge))
            .collect();
        let mean = cuts.iter().map(|(x, _)| x).sum::<f64>() / cuts.len() as f64;
        let names_are_left = mean > (LEFT + RIGHT) / 2.0;
        cuts.sort_by(|(a, _), (b, _)| if names_are_left { b.total_cmp(a) } else { a.total_cmp(b) });
        let cut = |(row, (x, judge)): (usize, (f64, &&Judge))| Cut {
            class: judge.class(),
            name: judge.name(),
            x: shown(x),
            name_y: 13.0 + 16.0 * row as f64,
        };
        let tick = |(value, label)| Tick {
            at: shown(x(value)),
            label,
        };
        let sides = [false, true].map(side);
        Some(Self {
            summary: format!(
                "Histogram of scores from {low:.4} to {high:.4}: {}, {}",
                sides[0].name, sides[1].name
            ),
            sides,
            ticks: axis.ticks(10).into_iter().map(tick).collect(),
            cuts: cuts.into_iter().enumerate().map(cut).collect(),
            names_are_left,
        })
    }
}

impl Side {
    fn new(is_defective: bool, counts: &[usize], total: usize) -> Self {
        let (class, name, name_y) = if is_defective {
            ("defective", "defective images", BOTTOM - 4.0)
        } else {
            ("good", "good images", TOP + 12.0)
        };
        let fullest = counts.iter().copied().max().unwrap_or(0);
        let bin = (RIGHT - LEFT) / counts.len() as f64;
        let bar = |(index, &count): (usize, &usize)| {
            let height = TALLEST * count as f64 / fullest as f64;
            Bar {
                x: shown(LEFT + bin * index as f64 + 0.5),
                y: shown(if is_defective { MIDDLE } else { MIDDLE - height }),
                width: shown(bin - 1.0),
                height: shown(height),
            }
        };
        Self {
            class,
            name: format!("{total} {name}"),
            name_y,
            fullest,
            fullest_y: shown(if is_defective {
                MIDDLE + TALLEST
            } else {
                MIDDLE - TALLEST
            }),
            bars: counts
                .iter()
                .enumerate()
                .filter(|(_, count)| **count > 0)
                .map(bar)
                .collect(),
        }
    }
}
