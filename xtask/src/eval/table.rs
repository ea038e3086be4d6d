//! The sweep's Markdown table, ours beside the paper's.

use std::collections::BTreeMap;

use riad_core::published::Published;

use crate::sweep::Metrics;

const HEADER: [&str; 10] = [
    "category",
    "image AUROC",
    "paper",
    "best re-impl.",
    "pixel AUROC",
    "paper",
    "pixel AP",
    "paper",
    "AUPRO",
    "F1-max",
];

/// One line per category, in per cent, and the means over these categories, which are not the published means where a
/// category is absent.
pub(crate) fn markdown(categories: &BTreeMap<String, Metrics>) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    let mut columns: [Vec<Option<f64>>; 9] = Default::default();
    for (name, ours) in categories {
        let paper = Published::of(name);
        let percent = |fraction: Option<f64>| fraction.map(|f| 100.0 * f);
        let values = [
            percent(ours.image_auroc),
            paper.map(|p| p.image_auroc),
            paper.map(|p| p.reimplementation),
            percent(ours.pixel_auroc),
            paper.map(|p| p.pixel_auroc),
            percent(ours.pixel_ap),
            paper.map(|p| p.pixel_ap),
            percent(ours.aupro),
            percent(ours.f1_max),
        ];
        for (column, value) in columns.iter_mut().zip(values) {
            column.push(value);
        }
        rows.push(row(name, &values));
    }
    // A mean over fewer categories than the row says would compare unlike things.
    let means = columns.map(|column| {
        let sum: Option<f64> = column.iter().copied().sum();
        sum.filter(|_| !column.is_empty()).map(|sum| sum / column.len() as f64)
    });
    rows.push(row(&format!("**mean of {}**", categories.len()), &means));
    align(&rows)
}

fn row(name: &str, values: &[Option<f64>; 9]) -> [String; 10] {
    std::array::from_fn(|i| match i.checked_sub(1) {
        None => name.to_owned(),
        Some(i) => values[i].map_or_else(|| "–".to_owned(), |value| format!("{value:.1}")),
    })
}

/// Markdown that can also be read as it is: the first column flush left, numbers flush right.
fn align(rows: &[[String; 10]]) -> String {
    let width: [usize; 10] = std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (i, (cell, width)) in row.iter().zip(width).enumerate() {
            text += &if i == 0 {
                format!("| {cell:<width$} ")
            } else {
                format!("| {cell:>width$} ")
            };
        }
        text += "|\n";
        if number == 0 {
            for (i, width) in width.into_iter().enumerate() {
                let dashes = "-".repeat(width);
                text += &if i == 0 {
                    format!("|-{dashes}-")
                } else {
                    format!("|-{dashes}:")
                };
            }
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_ours_beside_the_papers_with_means_over_what_is_there() {
        let metrics = |image, pixel_ap| Metrics {
            image_auroc: Some(image),
            pixel_auroc: Some(0.9),
            pixel_ap,
            aupro: Some(0.85),
            f1_max: Some(0.5),
        };
        let table = markdown(&BTreeMap::from([
            ("bottle".to_owned(), metrics(0.991, Some(0.7))),
            ("metal_nut".to_owned(), metrics(0.881, None)),
        ]));
        let expected = "\
| category      | image AUROC | paper | best re-impl. | pixel AUROC | paper | pixel AP | paper | AUPRO | F1-max |
|---------------|------------:|------:|--------------:|------------:|------:|---------:|------:|------:|-------:|
| bottle        |        99.1 |  99.9 |          97.1 |        90.0 |  98.4 |     70.0 |  76.4 |  85.0 |   50.0 |
| metal_nut     |        88.1 |  88.5 |          92.0 |        90.0 |  92.5 |        – |  64.3 |  85.0 |   50.0 |
| **mean of 2** |        93.6 |  94.2 |          94.5 |        90.0 |  95.5 |        – |  70.3 |  85.0 |   50.0 |
";
        assert_eq!(table, expected);
    }
}
