//! What VisA consists of, and where it lies.

use super::data_set::{Archive, DataSet, Part};

pub(crate) static VISA: DataSet = DataSet {
    name: "VisA",
    command: "fetch-visa",
    folder: "visa",
    licence: "VisA is licensed under CC BY 4.0: name its authors (Zou et al., ECCV 2022).\n\
        https://creativecommons.org/licenses/by/4.0/",
    page: "https://github.com/amazon-science/spot-diff",
    base: "https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com",
    ending: ".tar",
    whole: Archive {
        name: "VisA_20220922",
        folder: "",
        sha256: Some("2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362"),
    },
    wrapper: None,
    // JPEGs in a plain tar.
    unpacked_percent: 110,
    parts: &PARTS,
    expected: |part| {
        if part.is_category() {
            vec![
                ("Data/Images/Normal", part.train + part.test_good),
                ("Data/Images/Anomaly", part.test_defective),
                ("Data/Masks/Anomaly", part.test_defective),
            ]
        } else {
            vec![("1cls.csv", 1)]
        }
    },
};

/// A folder and the numbers of its images in the split for one class, which all have 100 defective ones.
const fn part(name: &'static str, [train, test_good]: [usize; 2], test_defective: usize) -> Part {
    Part {
        name,
        archive: None,
        train,
        test_good,
        test_defective,
    }
}

/// The 12 categories, 10,821 images, and the splits.
static PARTS: [Part; 13] = [
    part("split_csv", [0, 0], 0),
    part("candle", [900, 100], 100),
    part("capsules", [542, 60], 100),
    part("cashew", [450, 50], 100),
    part("chewinggum", [453, 50], 100),
    part("fryum", [450, 50], 100),
    part("macaroni1", [900, 100], 100),
    part("macaroni2", [900, 100], 100),
    part("pcb1", [904, 100], 100),
    part("pcb2", [901, 100], 100),
    part("pcb3", [905, 101], 100),
    part("pcb4", [904, 101], 100),
    part("pipe_fryum", [450, 50], 100),
];
