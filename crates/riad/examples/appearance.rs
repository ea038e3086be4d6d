//! Counts which pictures are told from a product's own, for the table in docs/results.md.
//!
//! `cargo run --release -p riad --example appearance -- SIDE FOLDER…`, with folders of MVTec AD's layout and the side of images in
//! pixels. What is usual comes of up to 128 good training images of a folder. All else is counted: its test images, made-up defects
//! on its training images, the test images of the other folders, and its good test images as a camera would see them that was moved,
//! defocused or lit otherwise.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use riad::{Appearance, Fit, Image, Reader, Size, image_files};
use riad_core::{Looks, Random};
use riad_data::{Flaw, MadeUp};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let side = arguments.next().ok_or("SIDE is missing")?.parse()?;
    let folders: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    for folder in &folders {
        let train = load(&folder.join("train/good"), side)?;
        let step = train.len().div_ceil(128).max(1);
        let known: Vec<&Image> = train.iter().step_by(step).collect();
        let looks = known.iter().map(|image| looks(image)).collect::<Result<Vec<_>>>()?;
        let table = Table {
            class: folder.file_name().unwrap_or_default().display().to_string(),
            appearance: Appearance::of(&looks)?,
        };
        let good = load(&folder.join("test/good"), side)?;
        table.row("good", &good)?;
        for entry in std::fs::read_dir(folder.join("test"))? {
            let kind = entry?;
            if kind.file_name() != "good" {
                table.row(
                    &format!("defect: {}", kind.file_name().display()),
                    &load(&kind.path(), side)?,
                )?;
            }
        }
        for (name, share) in [("up to half of the side", 0.5), ("0.7 of the side", 0.7)] {
            let all = known.iter().enumerate().flat_map(|(seed, image)| {
                let length = share * side as f64;
                let made = Flaw::ALL.map(|flaw| {
                    MadeUp {
                        flaw,
                        length,
                        seed: seed as u64,
                    }
                    .on(image, |_, _| true)
                });
                made.into_iter().flatten().map(|(image, _)| image)
            });
            table.row(&format!("made-up defects, {name}"), &all.collect::<Vec<_>>())?;
        }
        for (name, value) in [("black", 0.0), ("white", 1.0)] {
            table.row(name, &[mapped(&good[0], |_| value)?])?;
        }
        let noise = (0..10).map(|seed| noise(&good[0], seed));
        table.row("grey noise", &noise.collect::<Result<Vec<_>>>()?)?;
        for other in folders.iter().filter(|other| *other != folder) {
            let name = other.file_name().unwrap_or_default().display();
            table.row(&format!("other: {name}"), &load(&other.join("test/good"), side)?)?;
        }
        for share in [0.1, 0.25, 0.5] {
            let by = share * side as f64;
            let moved = good.iter().flat_map(|image| {
                let ways = [(0.0, by), (0.0, -by), (by, 0.0), (-by, 0.0)];
                ways.map(|(down, right)| placed(image, |y, x| (y - down, x - right)))
            });
            table.row(
                &format!("moved by {share} of the side"),
                &moved.collect::<Result<Vec<_>>>()?,
            )?;
        }
        let middle = (side as f64 - 1.0) / 2.0;
        let nearer = |at: f64| middle + (at - middle) / 1.5;
        let each = |change: &dyn Fn(&Image) -> Result<Image>| good.iter().map(change).collect::<Result<Vec<_>>>();
        table.row(
            "1.5 times as near",
            &each(&|image| placed(image, |y, x| (nearer(y), nearer(x))))?,
        )?;
        table.row(
            "upside down",
            &each(&|image| placed(image, |y, x| (2.0 * middle - y, x)))?,
        )?;
        for radius in [side / 40, side / 20] {
            table.row(
                &format!("out of focus by {radius} pixels"),
                &each(&|image| blurred(image, radius))?,
            )?;
        }
        table.row("half of the light", &each(&|image| mapped(image, |value| value / 2.0))?)?;
        table.row(
            "twice the light",
            &each(&|image| mapped(image, |value| (2.0 * value).min(1.0)))?,
        )?;
    }
    Ok(())
}

/// What a class's pictures look like, and its name.
struct Table {
    class: String,
    appearance: Appearance,
}

impl Table {
    fn row(&self, name: &str, images: &[Image]) -> Result<()> {
        let mut distances = Vec::new();
        let mut strange = 0;
        for image in images {
            let likeness = self.appearance.judge(&looks(image)?)?;
            distances.push(likeness.distance());
            strange += usize::from(!likeness.resembles());
        }
        distances.sort_by(f32::total_cmp);
        let limit = self.appearance.judge(&looks(&images[0])?)?.limit();
        let [least, most] = [distances[0], distances[distances.len() - 1]];
        let (class, count) = (&self.class, images.len());
        println!("{class} | {name} | {strange} of {count} | {least:.2} to {most:.2}, limit {limit:.2}");
        Ok(())
    }
}

fn load(folder: &Path, side: usize) -> Result<Vec<Image>> {
    let reader = Reader::new(3);
    let fit = Fit::Resized(Size::new(side, side));
    let files = image_files(folder, None).images;
    files.iter().map(|file| Ok(reader.load(file, fit)?.image)).collect()
}

fn looks(image: &Image) -> Result<Looks> {
    Ok(Looks::of(image.values(), image.channels(), image.size())?)
}

fn mapped(image: &Image, change: impl Fn(f32) -> f32) -> Result<Image> {
    let values = image.values().iter().map(|&value| change(value)).collect();
    Ok(Image::new(image.channels(), image.size(), values)?)
}

/// The same noise in each channel.
fn noise(like: &Image, seed: u64) -> Result<Image> {
    let mut random = Random::new(seed);
    let plane: Vec<f32> = (0..like.size().pixels())
        .map(|_| random.next_u32() as f32 / u32::MAX as f32)
        .collect();
    Ok(Image::new(like.channels(), like.size(), plane.repeat(like.channels()))?)
}

/// The image whose pixels come from elsewhere in it; what is beyond an edge is as the edge.
fn placed(image: &Image, from: impl Fn(f64, f64) -> (f64, f64)) -> Result<Image> {
    let Size { height, width } = image.size();
    let mut values = Vec::with_capacity(image.values().len());
    for plane in image.planes() {
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let (y, x) = from(y as f64, x as f64);
            let [y, x] = [(y, height), (x, width)].map(|(at, side)| at.round().clamp(0.0, side as f64 - 1.0) as usize);
            values.push(plane[y * width + x]);
        }
    }
    Ok(Image::new(image.channels(), image.size(), values)?)
}

/// Three mean filters, one after the other.
fn blurred(image: &Image, radius: usize) -> Result<Image> {
    let size = image.size();
    let side = 2 * radius + 1;
    let mut values = Vec::new();
    for plane in image.planes() {
        let mut map = riad::Map::new(size, plane.to_vec())?;
        for _ in 0..3 {
            map = riad_core::smooth::mean_filter(&map, side)?;
        }
        values.extend_from_slice(map.values());
    }
    Ok(Image::new(image.channels(), size, values)?)
}
