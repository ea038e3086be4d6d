//! What decoding really takes from the heap, against the memory that it was given. It counts every allocation of the process, so that
//! this program has one test.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::fs;
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use npyz::WriterBuilder;
use peak_alloc::PeakAlloc;
use riad_core::Size;
use riad_data::{DataError, DecodeMemory, Fit, Limits, Reader, load_mask};
use tempfile::TempDir;
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What does not grow with an image: tables of decoders, the names of files, the directories of a TIFF.
const FIXED: u64 = 256 << 10;

/// More than a third of a megabyte in colours, and one and a half in values.
const WIDTH: u32 = 400;
const HEIGHT: u32 = 320;

/// The most bytes on the heap while `work` runs, beyond those before it.
fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let result = work();
    (result, (HEAP.peak_usage() - before) as u64)
}

/// The least memory with which `work` does not end for want of memory, and the most bytes on the heap with it.
fn least<T>(work: impl Fn(DecodeMemory) -> Result<T, DataError>) -> (u64, u64) {
    let is_enough = |bytes: u64| match work(DecodeMemory::new(bytes)) {
        Ok(_) => true,
        Err(DataError::LimitExceeded { .. }) => false,
        Err(error) => panic!("{error}"),
    };
    let (mut short, mut enough) = (0, 1 << 27);
    assert!(is_enough(enough));
    while enough - short > 32 << 10 {
        let middle = (short + enough) / 2;
        if is_enough(middle) {
            enough = middle;
        } else {
            short = middle;
        }
    }
    let (result, peak) = peak(|| work(DecodeMemory::new(enough)));
    assert!(result.is_ok());
    (enough, peak)
}

/// A sample of a picture that compresses badly.
fn sample(x: u32, y: u32) -> u8 {
    (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503).wrapping_mul(x | 1)).to_le_bytes()[2]
}

fn rgba(alpha: impl Fn(u32, u32) -> u8) -> DynamicImage {
    RgbaImage::from_fn(WIDTH, HEIGHT, |x, y| Rgba([sample(x, y), sample(y, x), 3, alpha(x, y)])).into()
}

fn saved(folder: &TempDir, name: &str, image: impl Into<DynamicImage>) -> PathBuf {
    let path = folder.path().join(name);
    image.into().save(&path).unwrap();
    path
}

fn array<T: npyz::AutoSerialize + Copy>(
    folder: &TempDir,
    name: &str,
    shape: &[u64],
    value: impl Fn(u32) -> T,
) -> PathBuf {
    let path = folder.path().join(name);
    let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(shape)
        .writer(&mut file)
        .begin_nd()
        .unwrap();
    let count = shape.iter().product::<u64>() as u32;
    writer.extend((0..count).map(value)).unwrap();
    writer.finish().unwrap();
    path
}

/// A TIFF with a page for each of the `pages`.
fn pages<C: colortype::ColorType>(
    folder: &TempDir,
    name: &str,
    pages: &[Vec<C::Inner>],
    tag: Option<(Tag, u16)>,
) -> PathBuf
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    let path = folder.path().join(name);
    let mut file = fs::File::create(&path).unwrap();
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    for page in pages {
        let mut image = encoder.new_image::<C>(WIDTH, HEIGHT).unwrap();
        if let Some((tag, value)) = tag {
            image.encoder().write_tag(tag, value).unwrap();
        }
        image.write_data(page).unwrap();
    }
    path
}

fn samples(count: u32) -> Vec<u8> {
    (0..WIDTH * HEIGHT * count).map(|index| sample(index, 7)).collect()
}

fn files(folder: &TempDir) -> Vec<(PathBuf, Vec<usize>)> {
    let gray = GrayImage::from_fn(WIDTH, HEIGHT, |x, y| Luma([sample(x, y)]));
    let rgb = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb([sample(x, y), sample(y, x), 9]));
    let rgb16 = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Rgb([u16::from(sample(x, y)) * 16, 5, 4095]));
    let la = GrayAlphaImage::from_fn(WIDTH, HEIGHT, |x, y| LumaA([sample(x, y), sample(y, x)]));
    let (height, width) = (u64::from(HEIGHT), u64::from(WIDTH));
    let wide = |samples: Vec<u8>| -> Vec<u16> { samples.into_iter().map(|value| u16::from(value) * 16).collect() };
    let pictures = [
        saved(folder, "gray.png", gray.clone()),
        saved(folder, "gray.jpg", gray.clone()),
        saved(folder, "gray.pgm", gray),
        saved(folder, "rgb.png", rgb.clone()),
        saved(folder, "rgb.jpg", rgb.clone()),
        saved(folder, "rgb.bmp", rgb.clone()),
        saved(folder, "rgb.ppm", rgb.clone()),
        saved(folder, "rgb.webp", rgb.clone()),
        saved(
            folder,
            "rgb.gif",
            RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb([sample(x, y) & 0xE0, 0, 0])),
        ),
        saved(folder, "rgb16.png", DynamicImage::from(rgb16)),
        saved(folder, "opaque.png", rgba(|_, _| 255)),
        saved(folder, "alpha.png", rgba(sample)),
        saved(folder, "alpha.webp", rgba(sample)),
        saved(folder, "alpha16.png", DynamicImage::from(rgba(sample).into_rgba16())),
        saved(folder, "gray_alpha.png", la),
        pages::<colortype::Gray8>(folder, "gray.tif", &[samples(1)], None),
        pages::<colortype::RGB8>(folder, "rgb.tif", &[rgb.clone().into_raw()], None),
        pages::<colortype::RGB8>(folder, "turned.tif", &[rgb.into_raw()], Some((Tag::Orientation, 6))),
        pages::<colortype::RGBA8>(folder, "alpha.tif", &[samples(4)], Some((Tag::ExtraSamples, 2))),
        pages::<colortype::CMYK8>(folder, "cmyk.tif", &[samples(4)], None),
        pages::<colortype::RGB16>(folder, "rgb16.tif", &[wide(samples(3))], None),
        array(folder, "gray.npy", &[height, width], |index| sample(index, 7)),
        array(folder, "rgb.npy", &[height, width, 3], |index| sample(index, 7)),
        array(folder, "rgb16.npy", &[3, height, width], |index| {
            u16::from(sample(index, 7)) * 16
        }),
        array(folder, "float.npy", &[height, width, 3], |index| {
            f32::from(sample(index, 7)) / 255.0
        }),
        array(folder, "double.npy", &[3, height, width], |index| {
            f64::from(sample(index, 7)) / 255.0
        }),
    ];
    let data = [
        pages::<colortype::Gray8>(
            folder,
            "pages.tif",
            &[samples(1), samples(1), samples(1), samples(1)],
            None,
        ),
        pages::<colortype::Gray16>(
            folder,
            "pages16.tif",
            &vec![wide(samples(1)); 4],
            Some((Tag::Orientation, 8)),
        ),
        array(folder, "four.npy", &[height, width, 4], |index| sample(index, 7)),
    ];
    let pictures = pictures.into_iter().map(|path| (path, vec![1, 3]));
    pictures.chain(data.map(|path| (path, vec![4]))).collect()
}

#[test]
fn decoding_takes_no_more_than_its_memory_and_not_much_less() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let mut check = |what: String, (memory, peak): (u64, u64)| {
        println!("{what}: {memory} bytes of memory, {peak} on the heap");
        if peak > memory + FIXED {
            wrong.push(format!("{what}: takes {peak} bytes of {memory}"));
        }
        // A header does not tell whether anything is transparent. The codes of a WebP may be a multiple of the file.
        if memory > 5 * peak / 2 + FIXED && !what.contains("webp") {
            wrong.push(format!("{what}: asks for {memory} bytes and takes {peak}"));
        }
    };
    let fits = [
        Fit::Own,
        Fit::Resized(Size::new(64, 80)),
        Fit::Resized(Size::new(1000, 300)),
    ];
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    for (path, channels) in files(&folder) {
        for channels in channels {
            for (fit, white) in fits
                .into_iter()
                .zip([None, Some(255), None])
                .chain([(Fit::Own, Some(4095)), (Fit::Own, Some(254))])
            {
                let reader = Reader::new(channels).with_white_level(white);
                if matches!(reader.load(&path, fit), Err(DataError::AboveWhite { .. })) {
                    continue;
                }
                let found = least(|memory| {
                    let mut reader = reader.clone();
                    reader.limits.memory = memory;
                    reader.load(&path, fit)
                });
                check(
                    format!("{} in {channels} channels, {fit:?}, {white:?}", name(&path)),
                    found,
                );
            }
        }
    }

    // Files that belong together: gray ones, and ones in colours.
    for (kind, channels) in [("gray", 4), ("rgb", 12)] {
        for index in 0..4 {
            fs::copy(
                folder.path().join(format!("{kind}.png")),
                folder.path().join(format!("{kind}_{index}.png")),
            )
            .unwrap();
        }
        let reader = Reader::new(channels).with_pattern(Some("*_{0..3}.png".parse().unwrap()));
        for fit in fits {
            let found = least(|memory| {
                let mut reader = reader.clone();
                reader.limits.memory = memory;
                reader.load(&folder.path().join(format!("{kind}_0.png")), fit)
            });
            check(format!("four files {kind}, {fit:?}"), found);
        }
    }

    // Masks.
    let is_marked = |x: u32, y: u32| if x / 9 > y { 255 } else { 0 };
    let masks = [
        saved(
            &folder,
            "mask.png",
            GrayImage::from_fn(WIDTH, HEIGHT, |x, y| Luma([is_marked(x, y)])),
        ),
        saved(
            &folder,
            "mask.bmp",
            RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb([is_marked(x, y); 3])),
        ),
        array(&folder, "mask.npy", &[HEIGHT.into(), WIDTH.into()], |index| {
            index < 9000
        }),
    ];
    for path in masks {
        let found = least(|memory| {
            let limits = Limits {
                memory,
                ..Limits::default()
            };
            load_mask(&[&path], None, Size::new(HEIGHT as usize, WIDTH as usize), &limits)
        });
        check(name(&path), found);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    // A TIFF whose width and bits have four million values of a byte each. One value, or one for each sample, is read.
    const VALUES: u32 = 4 << 20;
    let mut file = b"II*\0\x08\0\0\0\x02\0".to_vec();
    for tag in [256u16, 258] {
        file.extend([tag.to_le_bytes(), 1u16.to_le_bytes()].concat());
        file.extend([VALUES.to_le_bytes(), 38u32.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    file.resize(38 + VALUES as usize, 7);
    let path = folder.path().join("many.tif");
    fs::write(&path, &file).unwrap();
    let (size, peak) = peak(|| Reader::default().size(&path));
    assert!(size.unwrap_err().to_string().contains("its size is missing"));
    assert!(
        peak < file.len() as u64 + FIXED,
        "{peak} bytes for a file of {}",
        file.len()
    );
}
