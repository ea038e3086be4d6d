//! Batches are the same however they are loaded.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use riad_core::Size;
use riad_data::{Batch, Category, Crops, DataError, Dataset, Fit, Image, Limits, Reader, load_ahead, load_mask};
use tempfile::TempDir;

/// `count` different images of 6 × 5 pixels.
fn images(count: u8) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = (0..count).map(|i| {
        let path = folder.path().join(format!("{i}.png"));
        image::RgbImage::from_fn(6, 5, |x, y| image::Rgb([i * 10, x as u8 * 40, y as u8 * 50]))
            .save(&path)
            .unwrap();
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

fn dataset(paths: &[PathBuf], cache_bytes: usize) -> Dataset {
    Dataset::new(paths.to_vec(), Reader::default(), Size::new(4, 4), cache_bytes)
}

fn load(path: &Path, height: usize, width: usize) -> Image {
    let fit = Fit::Resized(Size::new(height, width));
    Reader::default().load(path, fit).unwrap().image
}

fn at_once(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

const IMAGE_BYTES: usize = 4 * 4 * 3 * 4;

fn in_pool<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(run)
}

#[test]
fn the_same_whatever_the_threads_and_the_cache() {
    let (_folder, paths) = images(11);
    let order = vec![3, 1, 10, 7, 0, 2, 9, 3, 8, 6, 5];
    let expected: Vec<Batch> = order
        .chunks(4)
        .map(|indices| Batch {
            indices: indices.to_vec(),
            images: indices
                .iter()
                .flat_map(|&i| load(&paths[i], 4, 4).into_values())
                .collect(),
            corrupted: None,
        })
        .collect();
    assert_eq!(expected.last().unwrap().indices.len(), 3);
    for threads in [1, 2, 4] {
        for cache_bytes in [0, 3 * IMAGE_BYTES, usize::MAX] {
            let dataset = dataset(&paths, cache_bytes);
            for _epoch in 0..2 {
                let batches = dataset.batches(order.clone(), at_once(4));
                assert_eq!(batches.len(), 3);
                // The consumer occupies one of the pool's threads: of one thread, all.
                let loaded: Vec<_> = in_pool(threads, || batches.map(Result::unwrap).collect());
                assert_eq!(loaded, expected);
            }
        }
    }
    let outside_of_any_pool: Vec<_> = dataset(&paths, 0)
        .batches(order, at_once(4))
        .map(Result::unwrap)
        .collect();
    assert_eq!(outside_of_any_pool, expected);
}

#[test]
fn images_stay_in_memory_as_far_as_they_fit() {
    let (folder, paths) = images(4);
    let dataset = dataset(&paths, 2 * IMAGE_BYTES + IMAGE_BYTES - 1);
    assert_eq!(
        dataset
            .batches(vec![2, 0, 3, 1], at_once(1))
            .filter(Result::is_ok)
            .count(),
        4
    );
    drop(folder);
    let kept = (0..4).filter(|&i| dataset.get(i).is_ok()).count();
    assert_eq!(kept, 2);
}

#[test]
fn an_error_comes_at_its_place() {
    let (folder, mut paths) = images(6);
    let damaged = folder.path().join("damaged.png");
    fs::write(&damaged, b"not a PNG").unwrap();
    paths[3] = damaged.clone();
    for threads in [1, 3] {
        let batches = dataset(&paths, 0).batches((0..6).collect(), at_once(2));
        let results: Vec<_> = in_pool(threads, || batches.collect());
        assert_eq!(results.len(), 3);
        assert_eq!(results[0].as_ref().unwrap().indices, [0, 1]);
        assert!(matches!(&results[1], Err(DataError::Decode { path, .. }) if *path == damaged));
        assert_eq!(results[2].as_ref().unwrap().indices, [4, 5]);
    }
}

#[test]
fn indices_and_batch_sizes_out_of_range() {
    let (_folder, paths) = images(2);
    let dataset = dataset(&paths, 0);
    assert!(matches!(
        dataset.batches(vec![2], at_once(1)).next(),
        Some(Err(DataError::Parameter(_)))
    ));
    assert_eq!(
        dataset
            .batches(vec![0, 1], NonZeroUsize::MAX)
            .next()
            .unwrap()
            .unwrap()
            .indices,
        [0, 1]
    );
    assert!(dataset.batches(vec![], at_once(3)).next().is_none());
}

#[test]
fn scoring_goes_on_after_a_bad_file() {
    let (folder, mut paths) = images(5);
    paths.insert(2, folder.path().join("absent.png"));
    for threads in [1, 2] {
        let loaded: Vec<_> = in_pool(threads, || {
            load_ahead(paths.clone(), Reader::default(), Fit::Resized(Size::new(8, 9))).collect()
        });
        assert_eq!(loaded.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), paths);
        for (i, (path, result)) in loaded.into_iter().enumerate() {
            match result {
                Ok(loaded) => {
                    assert_eq!(loaded.original_size, Size::new(5, 6));
                    assert_eq!(loaded.image, load(&path, 8, 9));
                }
                Err(error) => assert!(i == 2 && matches!(error, DataError::Io { .. }), "{error}"),
            }
        }
    }
}

#[test]
fn images_that_keep_their_size_are_loaded_when_asked_for() {
    let (folder, mut paths) = images(2);
    let small = folder.path().join("small.png");
    image::RgbImage::new(6, 4).save(&small).unwrap();
    paths.insert(1, small);
    let fit = Fit::AtLeast(Size::new(5, 3));
    let loaded: Vec<_> = load_ahead(paths.clone(), Reader::default(), fit)
        .map(|(_, loaded)| loaded)
        .collect();
    for i in [0, 2] {
        let loaded = loaded[i].as_ref().unwrap();
        assert_eq!(loaded.original_size, Size::new(5, 6));
        assert_eq!(loaded.image, load(&paths[i], 5, 6));
    }
    let error = loaded[1].as_ref().unwrap_err();
    assert!(matches!(error, DataError::Size { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("small.png: the image has 4x6 pixels (height x width), but a tile 5x3"),
        "{error}"
    );
}

/// Every tile is a part of its image, where the seed and the image put it, whatever else is asked for.
#[test]
fn tiles_are_cut_at_random_and_the_same_again() {
    let (folder, mut paths) = images(4);
    let whole: Vec<_> = paths.iter().map(|path| load(path, 5, 6).into_values()).collect();
    let (height, width) = (3, 4);
    let mut places = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let batches = |threads, cache, order: &[usize]| -> Vec<Vec<f32>> {
            let crops = Crops::new(paths.clone(), Reader::default(), Size::new(height, width), cache);
            let order = order.to_vec();
            let batches = || {
                crops
                    .batches(order, at_once(1), seed)
                    .map(|batch| batch.unwrap().images)
                    .collect()
            };
            in_pool(threads, batches)
        };
        let tiles = batches(1, usize::MAX, &[0, 1, 2, 3]);
        assert_eq!(batches(3, 0, &[2, 1]), [tiles[2].clone(), tiles[1].clone()]);
        for (tile, whole) in tiles.iter().zip(&whole) {
            let part = |top: usize, left: usize| -> Vec<f32> {
                let rows = (0..3 * height).map(|row| (row / height, row % height));
                rows.flat_map(|(channel, y)| &whole[(channel * 5 + top + y) * 6 + left..][..width])
                    .copied()
                    .collect()
            };
            let place = (0..3).flat_map(|top| (0..3).map(move |left| (top, left)));
            places.insert(place.into_iter().find(|&(top, left)| part(top, left) == *tile).unwrap());
        }
    }
    assert_eq!(places.len(), 9, "every place occurs");

    let small = folder.path().join("small.png");
    image::RgbImage::new(6, 2).save(&small).unwrap();
    paths.push(small);
    let crops = Crops::new(paths, Reader::default(), Size::new(height, width), 0);
    assert!(matches!(crops.get(4, 0), Err(DataError::Size { .. })));
    assert!(matches!(crops.get(5, 0), Err(DataError::Parameter(_))));
    assert_eq!((crops.len(), crops.is_empty()), (5, false));
}

#[test]
fn bottle_and_its_masks_load() {
    let Some(root) = riad_testing::data("mvtec_bottle_256/bottle") else {
        return;
    };
    let bottle = Category::open(&root, None).unwrap();
    let paths = bottle.test.iter().map(|item| item.path.clone()).collect();
    let mut count = 0;
    let size = Size::new(64, 64);
    for ((_, loaded), item) in load_ahead(paths, Reader::default(), Fit::Resized(size)).zip(&bottle.test) {
        let loaded = loaded.unwrap();
        assert!(loaded.image.values().iter().all(|v| (0.0..=1.0).contains(v)));
        if item.is_defective() {
            let mask = load_mask(&item.masks, Some(loaded.original_size), size, &Limits::default()).unwrap();
            assert!(mask.values().contains(&true));
        }
        count += 1;
    }
    assert_eq!(count, 83);
}
