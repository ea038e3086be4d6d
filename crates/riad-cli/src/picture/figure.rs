//! The figure of the paper: image, reconstruction, the map of every region size, their mean, and the ground truth.

use std::{collections::HashSet, path::Path};

use anyhow::{Context, Result};
use image::{Rgb, RgbImage, imageops};
use riad_data::{Category, TestItem};
use riad_model::{Header, Scored, Scorer};

use super::{Plane, Scale, choice::choose, grey, outline, rgb, save, text::Pen};
use crate::{
    evaluation::{Evaluation, Metrics, TestImage, score_again},
    files::relative,
    run::preset_name,
};

/// Width of an image in the figure, in pixels.
const CELL: u32 = 176;
const GAP: u32 = 6;
const MARGIN: u32 = 20;
/// Left of the images: their names and scores.
const LABELS: u32 = 150;
/// Above the images: title, colour scale and columns' names.
const HEADER: u32 = 104;
const TITLE_SIZE: f32 = 26.0;
const TEXT_SIZE: f32 = 17.0;

/// A row of the figure.
struct Row {
    name: String,
    score: f32,
    cells: Vec<RgbImage>,
}

/// Writes the figure of a choice of the category's test images to `figure.png` in `folder`, and a picture of its own for
/// each of them. All have one colour scale.
pub(crate) fn draw(folder: &Path, category: &Category, evaluation: &Evaluation, scorer: &Scorer) -> Result<()> {
    let scores: Vec<f32> = evaluation.images.iter().map(|image| image.score).collect();
    let chosen = choose(&category.test, &scores);
    let shown = score_again(chosen.iter().map(|&index| &category.test[index]), scorer)?;
    let top = shown.iter().map(|(_, scored)| scored.score).fold(0.0, f32::max);
    let scale = Scale::up_to(top.max(f32::EPSILON)).context("the scores are no numbers")?;

    let size = (scorer.header().scoring.height, scorer.header().scoring.width);
    let rows = shown
        .iter()
        .map(|(image, scored)| row(name(image.item, category), image, scored, &scale, size))
        .collect::<Result<Vec<_>>>()?;
    let caption = caption(evaluation, scorer.header());
    let columns = columns(&scorer.header().scoring.region_sizes);
    save(
        &sheet([&category.name, &caption], &columns, &rows, &scale)?,
        &folder.join("figure.png"),
    )?;
    let mut used = HashSet::new();
    for row in &rows {
        let mut file = row.name.replace('/', "-");
        while !used.insert(file.clone()) {
            file.push('+');
        }
        let picture = sheet([&category.name, &caption], &columns, std::slice::from_ref(row), &scale)?;
        save(&picture, &folder.join(file + ".png"))?;
    }
    Ok(())
}

/// An image's name for people: its path without what all have in common.
fn name(item: &TestItem, category: &Category) -> String {
    let path = relative(&item.path.with_extension(""), &category.root);
    path.strip_prefix("test/").unwrap_or(&path).to_owned()
}

/// What the figure's readers must know of the model.
fn caption(evaluation: &Evaluation, header: &Header) -> String {
    let Metrics {
        image_auroc,
        pixel_auroc,
        ..
    } = evaluation.metrics;
    let value = |value: Option<f64>| value.map_or("undefined".to_owned(), |value| format!("{value:.3}"));
    let epoch = header
        .progress
        .as_ref()
        .map_or(String::new(), |progress| format!(", epoch {}", progress.best_epoch));
    format!(
        "RIAD, {} at {}x{}{epoch}: image AUROC {}, pixel AUROC {} over {} test images",
        preset_name(header.architecture.width),
        header.scoring.width,
        header.scoring.height,
        value(image_auroc),
        value(pixel_auroc),
        evaluation.images.len()
    )
}

fn columns(region_sizes: &[usize]) -> Vec<String> {
    let mut maps: Vec<_> = region_sizes.iter().map(|k| format!("map, k = {k}")).collect();
    if maps.is_empty() {
        maps.push("map, nothing hidden".into());
    }
    let before = ["image", "reconstruction"].map(str::to_owned);
    before
        .into_iter()
        .chain(maps)
        .chain(["mean map", "overlay", "ground truth"].map(str::to_owned))
        .collect()
}

fn row(
    name: String,
    image: &TestImage<'_>,
    scored: &Scored,
    scale: &Scale,
    (height, width): (usize, usize),
) -> Result<Row> {
    let cell_height = (CELL as usize * height).div_ceil(width) as u32;
    let resized = |picture: &RgbImage| imageops::resize(picture, CELL, cell_height, imageops::FilterType::Triangle);
    let map = |values: &[f32]| Ok::<_, anyhow::Error>(Plane::new(values, height, width)?.resized(CELL, cell_height));

    let picture = resized(&rgb(&image.pixels, height, width)?);
    let mut cells = vec![picture.clone(), resized(&rgb(&scored.reconstruction, height, width)?)];
    for values in &scored.region_maps {
        cells.push(scale.heat(&map(values)?));
    }
    let mean = map(&scored.map)?;
    cells.extend([
        scale.heat(&mean),
        scale.overlay(&picture, &mean),
        ground_truth(&picture, image, (height, width)),
    ]);
    Ok(Row {
        name,
        score: scored.score,
        cells,
    })
}

/// The image in grey with the defect's outline.
fn ground_truth(picture: &RgbImage, image: &TestImage<'_>, (height, width): (usize, usize)) -> RgbImage {
    let mut truth = grey(picture);
    let Some(mask) = &image.mask else { return truth };
    let (w, h) = truth.dimensions();
    outline(&mut truth, |x, y| {
        let (row, column) = (y as usize * height / h as usize, x as usize * width / w as usize);
        mask[row * width + column]
    });
    truth
}

fn sheet([title, caption]: [&str; 2], columns: &[String], rows: &[Row], scale: &Scale) -> Result<RgbImage> {
    let pen = Pen::new()?;
    let cell_height = rows
        .first()
        .and_then(|row| row.cells.first())
        .map_or(CELL, RgbImage::height);
    let width = 2 * MARGIN + LABELS + columns.len() as u32 * (CELL + GAP) - GAP;
    let height = 2 * MARGIN + HEADER + rows.len() as u32 * (cell_height + GAP) - GAP;
    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    pen.left(&mut sheet, title, TITLE_SIZE, MARGIN, MARGIN - 4);
    pen.left(&mut sheet, caption, TEXT_SIZE, MARGIN, MARGIN + 28);
    colour_bar(&mut sheet, &pen, scale, width - MARGIN);

    let column_x = |column: usize| MARGIN + LABELS + column as u32 * (CELL + GAP);
    for (column, name) in columns.iter().enumerate() {
        pen.centred(
            &mut sheet,
            name,
            TEXT_SIZE,
            column_x(column),
            MARGIN + HEADER - 26,
            CELL,
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let y = MARGIN + HEADER + index as u32 * (cell_height + GAP);
        for (line, text) in row
            .name
            .split('/')
            .chain([format!("score {:.3}", row.score).as_str()])
            .enumerate()
        {
            let text = pen.fitted(text, TEXT_SIZE, LABELS - GAP);
            pen.left(&mut sheet, &text, TEXT_SIZE, MARGIN, y + line as u32 * 22);
        }
        for (column, cell) in row.cells.iter().enumerate() {
            imageops::replace(&mut sheet, cell, i64::from(column_x(column)), i64::from(y));
        }
    }
    Ok(sheet)
}

/// The colour scale with its ends, right-aligned at `right`.
fn colour_bar(sheet: &mut RgbImage, pen: &Pen, scale: &Scale, right: u32) {
    let (width, height) = (2 * CELL, 14);
    let (left, y) = (right - width, MARGIN + 26);
    let bar = RgbImage::from_fn(width, height, |x, _| {
        scale.colour(scale.top() * x as f32 / (width - 1) as f32)
    });
    pen.left(sheet, "anomaly map", TEXT_SIZE, left, MARGIN);
    imageops::replace(sheet, &bar, i64::from(left), i64::from(y));
    let top = format!("{:.3} and above", scale.top());
    pen.left(sheet, "0", TEXT_SIZE, left, y + height + 2);
    pen.centred(sheet, &top, TEXT_SIZE, right - 130, y + height + 2, 130);
}
