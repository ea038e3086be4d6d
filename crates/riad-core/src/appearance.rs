//! How pictures of a product look as a whole, and whether another picture resembles them.
//!
//! A picture is divided into [`GRID`] by [`GRID`] cells. [`Looks`] has two numbers for each cell and channel: the mean,
//! and the logarithm of the difference of neighbouring pixels. An [`Appearance`] has the centre and the spread of these
//! numbers over good pictures. A cell of another picture is some deviations away from good pictures. The median over
//! the cells is the picture's distance.
//!
//! **A defect does not make a picture look like another product.** The distance is a median. So a change in fewer than
//! half of the cells cannot raise it above the distance of the other cells. A fault of the whole picture changes most
//! cells: other light, bad focus, or another thing in front of the camera.
//!
//! **The limit follows from good pictures alone.** It is [`MARGIN`] times the distance of the most unusual good picture
//! from the others, and at least [`LEAST`] deviations. Both were chosen on good pictures and on made-up defects
//! (docs/results.md).

use thiserror::Error;

use crate::{LengthError, Size};

/// Cells in each direction.
pub const GRID: usize = 8;

/// The limit is at least this number of deviations.
pub const LEAST: f32 = 5.0;

/// The limit is at least this number times the distance of the most unusual good picture from the others.
pub const MARGIN: f32 = 2.5;

/// The smallest number of pictures that shows what is usual.
pub const FEWEST: usize = 8;

/// The least deviation of a mean, in the range of values: light and sensors change by about this amount from day to
/// day.
const LEAST_OF_MEAN: f32 = 0.02;

/// The least deviation of the logarithm of a contrast.
const LEAST_OF_CONTRAST: f32 = 0.15;

/// What is added to a contrast before its logarithm is taken, so that noise on a plain surface does not count as
/// contrast.
const PLAIN: f32 = 0.004;

/// What a picture looks like as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Looks {
    channels: usize,
    /// For each cell the mean of each channel, then the logarithm of its contrast.
    numbers: Vec<f32>,
}

impl Looks {
    /// The looks of an image of shape [`channels`, height, width] with values in [0, 1]. It needs at least one pixel. A
    /// value that is not finite counts as 0.
    ///
    /// # Errors
    /// [`LengthError`] if `values` has another length, or there is no channel or no pixel.
    pub fn of(values: &[f32], channels: usize, size: Size) -> Result<Self, LengthError> {
        LengthError::check("an image", values.len(), channels.saturating_mul(size.pixels()))?;
        if values.is_empty() {
            LengthError::check("an image of at least one value", 0, 1)?;
        }
        let mut numbers = Vec::with_capacity(GRID * GRID * (channels + 1));
        for row in 0..GRID {
            for column in 0..GRID {
                let [rows, columns] = [part(row, size.height), part(column, size.width)];
                let pixels = (rows.len() * columns.len()) as f32;
                let mut contrast = 0.0;
                for plane in values.chunks_exact(size.pixels()) {
                    let cell = Cell {
                        plane,
                        size,
                        rows: rows.clone(),
                        columns: columns.clone(),
                    };
                    let (sum, differences) = cell.sums();
                    numbers.push(finite(sum / pixels));
                    contrast += differences;
                }
                let contrast = finite(contrast / (pixels * channels as f32));
                numbers.push((contrast + PLAIN).ln());
            }
        }
        Ok(Self { channels, numbers })
    }
}

/// The pixels of one of the [`GRID`] parts of a side; at least one.
fn part(index: usize, side: usize) -> std::ops::Range<usize> {
    let begin = index * side / GRID;
    begin..((index + 1) * side / GRID).max(begin + 1)
}

fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

/// A cell of a plane.
struct Cell<'a> {
    plane: &'a [f32],
    size: Size,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
}

impl Cell<'_> {
    /// The sum of its values, and that of how much its pixels differ from those to the right and below in it.
    fn sums(&self) -> (f32, f32) {
        let width = self.size.width;
        let (mut sum, mut differences) = (0.0, 0.0);
        for y in self.rows.clone() {
            let row = &self.plane[y * width..(y + 1) * width];
            let below = (y + 1 < self.rows.end).then(|| &self.plane[(y + 1) * width..(y + 2) * width]);
            for x in self.columns.clone() {
                sum += row[x];
                if x + 1 < self.columns.end {
                    differences += (row[x + 1] - row[x]).abs();
                }
                if let Some(below) = below {
                    differences += (below[x] - row[x]).abs();
                }
            }
        }
        (sum, differences)
    }
}

/// What good pictures look like.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "Read")
)]
pub struct Appearance {
    channels: usize,
    /// How many pictures it was made from.
    images: usize,
    /// Of each number of their [`Looks`].
    mean: Vec<f32>,
    deviation: Vec<f32>,
    limit: f32,
}

/// An [`Appearance`] as it is read, before it is checked.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Read {
    channels: usize,
    images: usize,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    limit: f32,
}

#[cfg(feature = "serde")]
impl TryFrom<Read> for Appearance {
    type Error = AppearanceError;

    fn try_from(read: Read) -> Result<Self, AppearanceError> {
        let Read {
            channels,
            images,
            mean,
            deviation,
            limit,
        } = read;
        let numbers = channels.checked_add(1).and_then(|each| each.checked_mul(GRID * GRID));
        let is_whole = numbers.is_some_and(|numbers| mean.len() == numbers && deviation.len() == numbers);
        let is_spread = deviation.iter().all(|value| value.is_finite() && *value >= 0.0);
        let is_finite = mean.iter().all(|value| value.is_finite()) && limit.is_finite() && limit > 0.0;
        if channels == 0 || images < FEWEST || !is_whole || !is_spread || !is_finite {
            return Err(AppearanceError::Contradicts);
        }
        Ok(Self {
            channels,
            images,
            mean,
            deviation,
            limit,
        })
    }
}

/// Why there is no appearance, or a picture cannot be compared with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AppearanceError {
    /// Too few pictures.
    #[error("to learn what a product looks like needs at least {FEWEST} good pictures, and there are {0}")]
    TooFew(usize),
    /// Pictures of different numbers of channels.
    #[error("a picture of {0} channels cannot be compared with pictures of {1}")]
    Channels(usize, usize),
    /// Its numbers do not belong together.
    #[error("its numbers do not fit together, or are not finite")]
    Contradicts,
}

impl Appearance {
    /// Of good pictures.
    ///
    /// # Errors
    /// If there are fewer than [`FEWEST`], or they differ in their channels.
    pub fn of(pictures: &[Looks]) -> Result<Self, AppearanceError> {
        if pictures.len() < FEWEST {
            return Err(AppearanceError::TooFew(pictures.len()));
        }
        let channels = pictures[0].channels;
        let mut sums = Sums::new(pictures[0].numbers.len());
        for picture in pictures {
            if picture.channels != channels {
                return Err(AppearanceError::Channels(picture.channels, channels));
            }
            sums.add(&picture.numbers, 1.0);
        }
        let mut made = sums.appearance(channels, pictures.len());
        let mut odd = 0.0_f32;
        for picture in pictures {
            // Without itself: a picture always resembles itself.
            let mut others = sums.clone();
            others.add(&picture.numbers, -1.0);
            let others = others.appearance(channels, pictures.len() - 1);
            odd = odd.max(others.judge(picture)?.distance);
        }
        made.limit = LEAST.max(MARGIN * odd);
        Ok(made)
    }

    /// The same with more good pictures. Old and new pictures have the same weight. A picture that resembled the good
    /// ones still does, unless it is far from most of them: the limit does not fall.
    ///
    /// # Errors
    /// If they have other channels.
    pub fn with(&self, more: &[Looks]) -> Result<Self, AppearanceError> {
        let mut sums = Sums::new(self.mean.len());
        let before = self.images as f64;
        sums.count = before;
        for (place, (&mean, &deviation)) in self.mean.iter().zip(&self.deviation).enumerate() {
            let (mean, deviation) = (f64::from(mean), f64::from(deviation));
            sums.values[place] = mean * before;
            sums.squares[place] = (mean * mean + deviation * deviation) * before;
        }
        for picture in more {
            if picture.channels != self.channels {
                return Err(AppearanceError::Channels(picture.channels, self.channels));
            }
            sums.add(&picture.numbers, 1.0);
        }
        // The number before may come from a file.
        let mut made = sums.appearance(self.channels, self.images.saturating_add(more.len()));
        let mut odd = 0.0_f32;
        for picture in more {
            odd = odd.max(made.judge(picture)?.distance);
        }
        made.limit = self.limit.max(MARGIN * odd);
        Ok(made)
    }

    /// Channels of its pictures.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Number of good pictures that it was made from.
    pub fn images(&self) -> usize {
        self.images
    }

    /// How much a picture resembles the good ones.
    ///
    /// # Errors
    /// If it has other channels.
    pub fn judge(&self, picture: &Looks) -> Result<Likeness, AppearanceError> {
        if picture.channels != self.channels {
            return Err(AppearanceError::Channels(picture.channels, self.channels));
        }
        let each = self.channels + 1;
        let (mut far, mut brighter, mut rougher) = (Vec::new(), Vec::new(), Vec::new());
        let spread = self.mean.chunks_exact(each).zip(self.deviation.chunks_exact(each));
        for (numbers, (mean, deviation)) in picture.numbers.chunks_exact(each).zip(spread) {
            let off = |place: usize, least: f32| (numbers[place] - mean[place]) / deviation[place].max(least);
            let contrast = off(self.channels, LEAST_OF_CONTRAST);
            let (mut most, mut sum) = (contrast.abs(), 0.0);
            for channel in 0..self.channels {
                let off = off(channel, LEAST_OF_MEAN);
                most = most.max(off.abs());
                sum += off;
            }
            far.push(most);
            brighter.push(sum / self.channels as f32);
            rougher.push(contrast);
        }
        let limit = self.limit;
        let (brighter, rougher) = (median(brighter), median(rougher));
        let difference = match (brighter, rougher) {
            (brighter, _) if brighter <= -limit => Some(Difference::Darker),
            (brighter, _) if brighter >= limit => Some(Difference::Brighter),
            (_, rougher) if rougher <= -limit => Some(Difference::Plainer),
            (_, rougher) if rougher >= limit => Some(Difference::Rougher),
            _ => None,
        };
        Ok(Likeness {
            distance: median(far),
            limit,
            images: self.images,
            difference,
        })
    }
}

/// The median. For an even number of values it is the upper one of the two in the middle.
fn median(mut values: Vec<f32>) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Sums from which means and deviations follow.
#[derive(Clone)]
struct Sums {
    count: f64,
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn new(length: usize) -> Self {
        Self {
            count: 0.0,
            values: vec![0.0; length],
            squares: vec![0.0; length],
        }
    }

    fn add(&mut self, numbers: &[f32], times: f64) {
        self.count += times;
        for (place, &number) in numbers.iter().enumerate() {
            let number = f64::from(number);
            self.values[place] += times * number;
            self.squares[place] += times * number * number;
        }
    }

    /// With a limit that is to be found yet.
    fn appearance(&self, channels: usize, images: usize) -> Appearance {
        let mean = |sum: &f64| sum / self.count;
        let deviation = |(sum, square): (&f64, &f64)| (square / self.count - mean(sum).powi(2)).max(0.0).sqrt() as f32;
        Appearance {
            channels,
            images,
            mean: self.values.iter().map(|sum| mean(sum) as f32).collect(),
            deviation: self.values.iter().zip(&self.squares).map(deviation).collect(),
            limit: LEAST,
        }
    }
}

/// How much a picture resembles good ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    distance: f32,
    limit: f32,
    images: usize,
    difference: Option<Difference>,
}

/// How most of a picture differs from good ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// It is darker.
    Darker,
    /// It is brighter.
    Brighter,
    /// It has less detail: it is out of focus, or shows a plain surface.
    Plainer,
    /// It has more detail.
    Rougher,
}

impl Likeness {
    /// The median over its cells of the distance in deviations, at least 0.
    pub fn distance(&self) -> f32 {
        self.distance
    }

    /// The greatest distance of a picture of the product.
    pub fn limit(&self) -> f32 {
        self.limit
    }

    /// Number of good pictures that it was compared with.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Whether it is a picture of the product, good or defective.
    pub fn resembles(&self) -> bool {
        self.distance <= self.limit
    }

    /// How most of the picture differs, if one difference dominates.
    pub fn difference(&self) -> Option<Difference> {
        self.difference
    }
}
