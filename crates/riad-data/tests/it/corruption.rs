//! Corrupted images depend on their seed and place alone, and are what the settings say.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use proptest::prelude::*;
use riad_core::{Random, Size};
use riad_data::{Batch, Corruption, Corruptions, Crops, Dataset, Reader};
use tempfile::TempDir;

/// `count` noisy images of different colours, wider than high.
fn images(count: usize, (width, height): (u32, u32)) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = (0..count).map(|number| {
        let mut random = Random::new(number as u64);
        let path = folder.path().join(format!("{number}.png"));
        let pixel = |_, _| {
            let [r, g, b, _] = random.next_u32().to_le_bytes();
            image::Rgb([r / 2 + 10 * number as u8, g / 2, b / 2 + 64])
        };
        image::RgbImage::from_fn(width, height, pixel).save(&path).unwrap();
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

fn dataset(paths: &[PathBuf], reader: Reader, size: Size) -> Dataset {
    Dataset::new(paths.to_vec(), reader, size, usize::MAX)
}

fn at_once(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn in_pool<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(run)
}

/// Settings with which every image is corrupted by one of these kinds.
fn always(kinds: &[Corruption]) -> Corruptions {
    let mut corruptions = Corruptions::default();
    (corruptions.clean, corruptions.kinds) = (0.0, kinds.to_vec());
    corruptions
}

/// An image and what is shown of it, by its index in any order of the same seed.
#[test]
fn the_same_whatever_the_threads_the_cache_and_the_order() {
    let (_folder, paths) = images(7, (20, 16));
    let size = Size::new(16, 20);
    let order = vec![3, 1, 6, 0, 2, 5, 4];
    let expected: Vec<Batch> = dataset(&paths, Reader::default(), size)
        .corrupted_batches(order.clone(), at_once(3), Corruptions::default(), 9)
        .map(Result::unwrap)
        .collect();
    for threads in [1, 2, 4] {
        for cache_bytes in [0, usize::MAX] {
            let dataset = Dataset::new(paths.clone(), Reader::default(), size, cache_bytes);
            let batches = dataset.corrupted_batches(order.clone(), at_once(3), Corruptions::default(), 9);
            let found: Vec<Batch> = in_pool(threads, || batches.map(Result::unwrap).collect());
            assert_eq!(found, expected);
        }
    }
    let dataset = dataset(&paths, Reader::default(), size);
    let image_len = 3 * size.pixels();
    let shown = expected
        .iter()
        .flat_map(|batch| batch.corrupted.as_ref().unwrap().chunks(image_len));
    for (&index, shown) in order.iter().zip(shown) {
        let mut alone = dataset.corrupted_batches(vec![index], at_once(1), Corruptions::default(), 9);
        let alone = alone.next().unwrap().unwrap();
        assert_eq!(alone.corrupted.unwrap(), shown);
        // What is to be given back is the image.
        assert_eq!(alone.images, dataset.get(index).unwrap().values());
        let mut other = dataset.corrupted_batches(vec![index], at_once(1), always(&Corruption::ALL), 10);
        assert_ne!(other.next().unwrap().unwrap().corrupted.unwrap(), shown);
    }
}

/// By up to a sixteenth of 32 rows and 48 columns, and what is shown is where what is to be given back is.
#[test]
fn whole_images_are_moved_by_a_few_pixels() {
    let (_folder, paths) = images(1, (48, 32));
    let size = Size::new(32, 48);
    let dataset = dataset(&paths, Reader::default(), size);
    let image = dataset.get(0).unwrap();
    let mut corruptions = Corruptions::default();
    (corruptions.clean, corruptions.shift) = (1.0, 1.0 / 16.0);
    // Mirrored at the border: -1 is 0, and 32 of 32 is 31.
    let mirrored = |at: isize, side: isize| if at < 0 { -1 - at } else { at.min(2 * side - 1 - at) };
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let mut batches = dataset.corrupted_batches(vec![0], at_once(1), corruptions.clone(), seed);
        let batch = batches.next().unwrap().unwrap();
        assert_eq!(batch.corrupted.unwrap(), batch.images);
        let is_moved_by = |&(down, right): &(isize, isize)| {
            (0..3 * 32 * 48isize).all(|at| {
                let (plane, y, x) = (at / (32 * 48), at / 48 % 32, at % 48);
                let from = plane * 32 * 48 + mirrored(y - down, 32) * 48 + mirrored(x - right, 48);
                batch.images[at as usize] == image.values()[from as usize]
            })
        };
        let mut places = (-2..=2).flat_map(|down| (-3..=3).map(move |right| (down, right)));
        seen.insert(places.find(is_moved_by).unwrap());
    }
    assert_eq!(seen.len(), 5 * 7, "{seen:?}");
}

#[test]
fn tiles_are_corrupted_where_they_lie() {
    let (_folder, paths) = images(5, (40, 30));
    let crops = Crops::new(paths, Reader::default(), Size::new(16, 24), usize::MAX);
    for seed in 0..10 {
        let order: Vec<usize> = (0..5).collect();
        let plain = crops.batches(order.clone(), at_once(5), seed).next().unwrap().unwrap();
        let corruptions = always(&Corruption::ALL);
        let corrupted = crops.corrupted_batches(order, at_once(5), corruptions, seed).next();
        let corrupted = corrupted.unwrap().unwrap();
        assert_eq!(corrupted.images, plain.images);
        assert_ne!(corrupted.corrupted.unwrap(), plain.images);
    }
}

#[test]
fn as_many_images_stay_as_they_are_as_asked_for() {
    let (_folder, paths) = images(2, (24, 24));
    let dataset = dataset(&paths, Reader::default(), Size::new(24, 24));
    const DRAWS: u64 = 400;
    for clean in [0.0, 0.3, 0.5, 1.0] {
        let mut corruptions = always(&Corruption::ALL);
        corruptions.clean = clean;
        let as_shown = (0..DRAWS).filter(|&seed| {
            let mut batches = dataset.corrupted_batches(vec![0], at_once(1), corruptions.clone(), seed);
            let batch = batches.next().unwrap().unwrap();
            batch.corrupted.unwrap() == batch.images
        });
        // Four deviations of a binomial of 400 are at most a tenth. Damage may by chance be none, as a blur of a plain part.
        let share = as_shown.count() as f64 / DRAWS as f64;
        assert!((share - clean).abs() < 0.1, "{share} where {clean} was asked for");
    }
}

/// From two pixels to a good part of the image, by every kind: what is learned is not the size.
#[test]
fn every_kind_of_damage_is_of_many_sizes_and_anywhere() {
    let (_folder, paths) = images(3, (64, 64));
    let dataset = dataset(&paths, Reader::default(), Size::new(64, 64));
    for kind in Corruption::ALL {
        let mut seen = vec![false; 64 * 64];
        let (mut smallest, mut largest) = (f64::INFINITY, 0.0f64);
        for seed in 0..150 {
            let mut batches = dataset.corrupted_batches(vec![0], at_once(1), always(&[kind]), seed);
            let batch = batches.next().unwrap().unwrap();
            let shown = batch.corrupted.unwrap();
            let changed: Vec<bool> = (0..64 * 64)
                .map(|pixel| {
                    (0..3).any(|channel| shown[channel * 64 * 64 + pixel] != batch.images[channel * 64 * 64 + pixel])
                })
                .collect();
            let share = changed.iter().filter(|&&changed| changed).count() as f64 / (64.0 * 64.0);
            if share > 0.0 {
                smallest = smallest.min(share);
                largest = largest.max(share);
            }
            seen.iter_mut()
                .zip(changed)
                .for_each(|(seen, changed)| *seen |= changed);
        }
        assert!(smallest < 0.005, "{kind:?}: the smallest covers {smallest}");
        assert!(largest > 0.03, "{kind:?}: the largest covers {largest}");
        let place = seen.iter().filter(|&&seen| seen).count();
        assert!(place > 64 * 64 / 2, "{kind:?}: only {place} pixels were ever changed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Of any size, one pixel and narrow ones too, and any number of channels.
    #[test]
    fn values_stay_within_0_and_1(
        (height, width) in (1usize..40, 1usize..40),
        channels in 1usize..4,
        clean in 0.0f64..1.0,
        kinds in prop::collection::vec(prop::sample::select(Corruption::ALL.to_vec()), 0..4),
        seed in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tif");
        let file = std::fs::File::create(&path).unwrap();
        let mut pages = tiff::encoder::TiffEncoder::new(file).unwrap();
        for page in 0..channels {
            let mut random = Random::stream(seed, page as u64);
            let values: Vec<u8> = (0..height * width).map(|_| random.next_u32() as u8).collect();
            pages.write_image::<tiff::encoder::colortype::Gray8>(width as u32, height as u32, &values).unwrap();
        }
        drop(pages);
        let dataset = dataset(&[path], Reader::new(channels), Size::new(height, width));
        let mut corruptions = Corruptions::default();
        (corruptions.clean, corruptions.kinds) = (clean, kinds);
        let batch = dataset.corrupted_batches(vec![0, 0], at_once(2), corruptions, seed).next().unwrap().unwrap();
        let shown = batch.corrupted.unwrap();
        prop_assert_eq!((batch.images.len(), shown.len()), (2 * channels * height * width, 2 * channels * height * width));
        prop_assert!(batch.images.iter().chain(&shown).all(|value| (0.0..=1.0).contains(value)));
    }
}
