//! What BTAD consists of, and where it lies.

use super::data_set::{Archive, DataSet, Part};

pub(crate) static BTAD: DataSet = DataSet {
    name: "BTAD",
    command: "fetch-btad",
    folder: "btad",
    licence: "BTAD comes without the text of a licence: its authors (Mishra et al., ISIE 2021) published it for research; \
        name them, and ask them before any other use.",
    page: "https://github.com/pankajmishra000/VT-ADL",
    base: "https://avires.dimi.uniud.it/papers/btad",
    ending: ".zip",
    whole: Archive {
        name: "btad",
        folder: "",
        sha256: Some("461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a"),
    },
    wrapper: Some("BTech_Dataset_transformed"),
    // 1.2 GB become about 6: the bitmaps of two categories are not compressed.
    unpacked_percent: 500,
    parts: &CATEGORIES,
    expected: |category| {
        vec![
            ("train/ok", category.train),
            ("test/ok", category.test_good),
            ("test/ko", category.test_defective),
            ("ground_truth/ko", category.test_defective),
        ]
    },
};

const fn category(name: &'static str, [train, test_good, test_defective]: [usize; 3]) -> Part {
    Part {
        name,
        archive: None,
        train,
        test_good,
        test_defective,
    }
}

/// The three products, 2540 images.
static CATEGORIES: [Part; 3] = [
    category("01", [400, 21, 49]),
    category("02", [399, 30, 200]),
    category("03", [1000, 400, 41]),
];
