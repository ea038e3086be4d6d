//! Published results of RIAD on MVTec AD, for comparison.

/// Published results on one category of MVTec AD, in per cent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Published {
    /// The category's folder in MVTec AD.
    pub category: &'static str,
    /// Number of its test images, which tells it from another category of the same name.
    pub test_images: usize,
    /// Image-level ROC-AUC of RIAD (Zavrtanik, Kristan, Skočaj, Pattern Recognition 112, 2021, table 2).
    pub image_auroc: f64,
    /// Pixel-level ROC-AUC of RIAD, as tabulated by the same first author in DRAEM (ICCV 2021, table 2).
    pub pixel_auroc: f64,
    /// Pixel-level average precision of RIAD, from the same table.
    pub pixel_ap: f64,
    /// Image-level ROC-AUC of the best public re-implementation.
    pub reimplementation: f64,
}

const fn published(
    category: &'static str,
    test_images: usize,
    [image_auroc, pixel_auroc, pixel_ap, reimplementation]: [f64; 4],
) -> Published {
    Published {
        category,
        test_images,
        image_auroc,
        pixel_auroc,
        pixel_ap,
        reimplementation,
    }
}

/// All fifteen categories, in alphabetical order.
pub const PUBLISHED: &[Published] = &[
    published("bottle", 83, [99.9, 98.4, 76.4, 97.1]),
    published("cable", 150, [81.9, 84.2, 24.4, 65.5]),
    published("capsule", 132, [88.4, 92.8, 38.2, 73.1]),
    published("carpet", 117, [84.2, 96.3, 61.4, 78.1]),
    published("grid", 78, [99.6, 98.8, 36.4, 98.3]),
    published("hazelnut", 110, [83.3, 96.1, 33.8, 89.0]),
    published("leather", 124, [100.0, 99.4, 49.1, 100.0]),
    published("metal_nut", 115, [88.5, 92.5, 64.3, 92.0]),
    published("pill", 167, [83.8, 95.7, 51.6, 78.6]),
    published("screw", 160, [84.5, 98.8, 43.9, 79.9]),
    published("tile", 117, [98.7, 89.1, 52.6, 99.7]),
    published("toothbrush", 42, [100.0, 98.9, 50.6, 97.2]),
    published("transistor", 100, [90.9, 87.7, 39.2, 91.8]),
    published("wood", 79, [93.0, 85.8, 38.2, 96.5]),
    published("zipper", 151, [98.1, 97.8, 63.4, 97.5]),
];

impl Published {
    /// The published results for `category`. `None` if MVTec AD does not have it.
    pub fn of(category: &str) -> Option<&'static Self> {
        PUBLISHED.iter().find(|p| p.category == category)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The papers print the means of the rows. A mistyped row would change the mean.
    #[test]
    fn the_rows_give_the_published_means() {
        assert_eq!(PUBLISHED.len(), 15);
        // Table 2 of Bergmann et al., *The MVTec anomaly detection dataset*, 2021.
        assert_eq!(PUBLISHED.iter().map(|p| p.test_images).sum::<usize>(), 467 + 1258);
        let mean = |value: fn(&Published) -> f64| PUBLISHED.iter().map(value).sum::<f64>() / 15.0;
        assert!((mean(|p| p.image_auroc) - 91.7).abs() < 0.05);
        assert!((mean(|p| p.pixel_auroc) - 94.2).abs() < 0.05);
        assert!((mean(|p| p.pixel_ap) - 48.2).abs() < 0.05);
        assert!((mean(|p| p.reimplementation) - 88.95).abs() < 0.005);
    }
}
