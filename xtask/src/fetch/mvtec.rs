//! What MVTec AD consists of, and where it lies.

use super::data_set::{Archive, DataSet, Part};

pub(crate) static MVTEC: DataSet = DataSet {
    name: "MVTec AD",
    command: "fetch-mvtec",
    folder: "mvtec",
    licence: "MVTec AD is licensed under CC BY-NC-SA 4.0: for research and teaching, not for commercial use; name its \
        authors (Bergmann et al., CVPR 2019) and share changes under the same licence.\n\
        https://creativecommons.org/licenses/by-nc-sa/4.0/",
    page: "https://www.mvtec.com/research-teaching/datasets/mvtec-ad/downloads",
    // Share number and token change every year or so, and old ones answer 404: then the person is sent to the page.
    base: "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/download",
    ending: ".tar.xz",
    // About 4.9 GB.
    whole: Archive {
        name: "mvtec_anomaly_detection",
        folder: "420938113-1629960298/",
        sha256: Some("cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d"),
    },
    wrapper: None,
    // The images in it hardly compress.
    unpacked_percent: 110,
    parts: &CATEGORIES,
    expected: |category| {
        vec![
            ("train/good", category.train),
            ("test/good", category.test_good),
            ("test", category.test_good + category.test_defective),
            ("ground_truth", category.test_defective),
        ]
    },
};

/// A category and the numbers of its images, as tabulated by the authors.
const fn category(
    name: &'static str,
    folder: &'static str,
    sha256: Option<&'static str>,
    [train, test_good, test_defective]: [usize; 3],
) -> Part {
    Part {
        name,
        archive: Some(Archive { name, folder, sha256 }),
        train,
        test_good,
        test_defective,
    }
}

/// The 15 categories, 5354 images.
static CATEGORIES: [Part; 15] = [
    category(
        "bottle",
        "420937370-1629958698/",
        Some("726512129cb3b1f47d4f6cd7c7fc9170db7fc209132249c788fec06029cb5dc3"),
        [209, 20, 63],
    ),
    category("cable", "420937413-1629958794/", None, [224, 58, 92]),
    category("capsule", "420937454-1629958872/", None, [219, 23, 109]),
    category("carpet", "420937484-1629959013/", None, [280, 28, 89]),
    category("grid", "420937487-1629959044/", None, [264, 21, 57]),
    category("hazelnut", "420937545-1629959162/", None, [391, 40, 70]),
    category("leather", "420937607-1629959262/", None, [245, 32, 92]),
    category("metal_nut", "420937637-1629959294/", None, [220, 22, 93]),
    category("pill", "420938129-1629960351/", None, [267, 26, 141]),
    category("screw", "420938130-1629960389/", None, [320, 41, 119]),
    category("tile", "420938133-1629960456/", None, [230, 33, 84]),
    category("toothbrush", "420938134-1629960477/", None, [60, 12, 30]),
    category("transistor", "420938166-1629960554/", None, [213, 60, 40]),
    category("wood", "420938383-1629960649/", None, [247, 19, 60]),
    category("zipper", "420938385-1629960680/", None, [240, 32, 119]),
];
