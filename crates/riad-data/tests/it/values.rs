//! What samples mean: white levels, transparency, pictures beyond the first, and what decoding may take.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::codecs::gif::GifEncoder;
use image::{Delay, DynamicImage, Frame, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use npyz::WriterBuilder;
use proptest::prelude::*;
use riad_core::Size;
use riad_data::{DataError, DecodeMemory, Fit, Image, Reader, load_ahead};
use tempfile::TempDir;

/// Writes a picture and gives its path.
fn saved(folder: &TempDir, name: &str, image: impl Into<DynamicImage>) -> PathBuf {
    let path = folder.path().join(name);
    image.into().save(&path).unwrap();
    path
}

fn with_white(level: u16) -> Reader {
    Reader::default().with_white_level(Some(level))
}

fn own(reader: &Reader, path: &Path) -> Result<Image, DataError> {
    reader.load(path, Fit::Own).map(|loaded| loaded.image)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// With a camera's white level, its samples in 16 bits are their share of it, in every format that holds them.
    #[test]
    fn samples_are_shares_of_the_white_level(
        level in prop_oneof![Just(255u16), Just(1023), Just(4095), Just(16_383), 1u16..=u16::MAX],
        samples in prop::collection::vec(any::<u16>(), 35),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let samples: Vec<u16> = samples.into_iter().map(|sample| (u32::from(sample) * u32::from(level) / 65_535) as u16).collect();
        let gray = ImageBuffer::<Luma<u16>, _>::from_raw(7, 5, samples.clone()).unwrap();
        let rgb = ImageBuffer::from_fn(7, 5, |x, y| Rgb(gray.get_pixel(x, y).0.repeat(3).try_into().unwrap()));
        let mut array = Vec::new();
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&[5, 7]).writer(&mut array).begin_nd().unwrap();
        writer.extend(samples.iter().copied()).unwrap();
        writer.finish().unwrap();
        let npy = folder.path().join("a.npy");
        fs::write(&npy, array).unwrap();
        let files = [
            saved(&folder, "a.png", DynamicImage::from(gray.clone())),
            saved(&folder, "a.tif", DynamicImage::from(gray)),
            saved(&folder, "a.pgm", DynamicImage::from(rgb)),
            npy,
        ];
        for path in files {
            let values = own(&with_white(level), &path).unwrap().into_values();
            for (value, sample) in values.into_iter().zip(&samples) {
                let share = f64::from(*sample) / f64::from(level);
                prop_assert!((f64::from(value) - share).abs() < 1e-5, "{path:?}: {value} is not {share}");
            }
        }
    }

    /// In 8 bits, 12 bits in 16 and a white level of it, or 12 bits brought to 16: one picture.
    #[test]
    fn a_white_level_makes_the_same_picture_of_other_bits(samples in prop::collection::vec(any::<u8>(), 64)) {
        let folder = tempfile::tempdir().unwrap();
        let at = |x: u32, y: u32| samples[(8 * y + x) as usize];
        let of_8 = saved(&folder, "8.png", GrayImage::from_fn(8, 8, |x, y| Luma([at(x, y)])));
        // 4095 is no multiple of 255, but 4080 is.
        let of_16 = ImageBuffer::from_fn(8, 8, |x, y| Luma([u16::from(at(x, y)) * 16]));
        let of_16 = saved(&folder, "16.png", DynamicImage::from(of_16));
        for fit in [Fit::Own, Fit::Resized(Size::new(3, 5))] {
            let (a, b) = (Reader::default().load(&of_8, fit).unwrap(), with_white(4080).load(&of_16, fit).unwrap());
            prop_assert_eq!(a.image, b.image);
        }
    }
}

/// Transparency makes 16 bits of 8, but the numbers are told as the file has them.
#[test]
fn a_white_level_below_transparent_samples_is_told_in_their_own_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let picture = image::RgbaImage::from_fn(4, 1, |x, _| image::Rgba([220, 10, 0, if x == 0 { 128 } else { 255 }]));
    picture.save(&path).unwrap();
    let error = own(&Reader::default().with_white_level(Some(200)), &path).unwrap_err();
    let is_told = matches!(
        error,
        DataError::AboveWhite {
            found: 220,
            white: 200,
            ..
        }
    );
    assert!(is_told, "{error}");
    own(&Reader::default().with_white_level(Some(220)), &path).unwrap();
}

#[test]
fn what_contradicts_the_white_level_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let bright = ImageBuffer::from_fn(4, 4, |x, y| Luma([if (x, y) == (2, 1) { 4096u16 } else { 7 }]));
    let bright = saved(&folder, "bright.png", DynamicImage::from(bright));
    let eight = saved(&folder, "eight.png", GrayImage::new(4, 4));
    let alpha = saved(&folder, "alpha.png", RgbaImage::from_pixel(4, 4, Rgba([9, 9, 9, 100])));
    for (path, found) in [(&bright, 4096), (&eight, 255), (&alpha, 255)] {
        let error = own(&with_white(4095), path).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, DataError::AboveWhite { found: f, white: 4095, .. } if f == found),
            "{text}"
        );
        assert!(text.contains(&found.to_string()) && text.contains("4095") && text.contains(path.to_str().unwrap()));
        assert!(own(&Reader::default(), path).is_ok());
    }
    assert!(own(&with_white(4096), &bright).is_ok());
    // The file that others are named beside is read all the same.
    let names: Vec<_> = load_ahead(vec![bright, eight], with_white(4096), Fit::Own)
        .map(|(_, loaded)| loaded.is_ok())
        .collect();
    assert_eq!(names, [true, false]);
    assert!(matches!(own(&with_white(0), &alpha), Err(DataError::Parameter(_))));
}

#[test]
fn dark_samples_tell_of_a_camera_of_fewer_bits() {
    let folder = tempfile::tempdir().unwrap();
    let brightest = |most: u16| {
        let image = ImageBuffer::from_fn(4, 4, |x, y| Luma([if (x, y) == (1, 1) { most } else { 0 }]));
        let path = saved(&folder, "a.png", DynamicImage::from(image));
        Reader::default()
            .load(&path, Fit::Own)
            .unwrap()
            .found
            .brightest
            .unwrap()
    };
    for (most, level) in [
        (900, Some(1023)),
        (1024, Some(4095)),
        (4095, Some(4095)),
        (16_383, Some(16_383)),
        (16_384, None),
    ] {
        assert_eq!(brightest(most).likely_white_level(), level, "{most}");
    }
    assert!(brightest(70) < brightest(71));
    let eight = saved(&folder, "8.png", GrayImage::new(4, 4));
    assert_eq!(Reader::default().load(&eight, Fit::Own).unwrap().found.brightest, None);
}

#[test]
fn an_image_that_nobody_can_see_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        saved(&folder, "rgba.png", RgbaImage::from_pixel(4, 4, Rgba([200, 9, 9, 0]))),
        saved(
            &folder,
            "la.png",
            DynamicImage::from(ImageBuffer::from_pixel(4, 4, LumaA([200u8, 0]))),
        ),
        saved(
            &folder,
            "rgba16.png",
            DynamicImage::from(ImageBuffer::from_pixel(4, 4, Rgba([200u16, 9, 9, 0]))),
        ),
        saved(&folder, "rgba.webp", RgbaImage::from_pixel(4, 4, Rgba([200, 9, 9, 0]))),
    ];
    for path in files {
        let error = own(&Reader::default(), &path).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, DataError::Unsupported { .. }), "{text}");
        assert!(
            text.contains("transparent everywhere") && text.contains(path.to_str().unwrap()),
            "{text}"
        );
    }
}

#[test]
fn frames_beyond_the_first_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let frame = |value: u8| RgbaImage::from_pixel(6, 5, Rgba([value, 0, 0, 255]));
    let mut gif = Vec::new();
    let mut encoder = GifEncoder::new(&mut gif);
    for value in [10, 100, 200] {
        let delay = Delay::from_saturating_duration(Duration::from_millis(10));
        encoder
            .encode_frame(Frame::from_parts(frame(value), 0, 0, delay))
            .unwrap();
    }
    drop(encoder);
    let path = folder.path().join("a.gif");
    fs::write(&path, &gif).unwrap();
    let one = saved(&folder, "one.gif", frame(10));
    let png = saved(&folder, "one.png", frame(10));
    // What tells of an animation in a PNG stands before its data: 4 frames, played forever.
    let mut animated = fs::read(&png).unwrap();
    let control = [
        &8u32.to_be_bytes()[..],
        b"acTL",
        &4u32.to_be_bytes(),
        &0u32.to_be_bytes(),
    ]
    .concat();
    let crc = !control[4..].iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    });
    let at = animated.windows(4).position(|name| name == b"IDAT").unwrap() - 4;
    animated.splice(at..at, [&control[..], &crc.to_be_bytes()].concat());
    let apng = folder.path().join("animated.png");
    fs::write(&apng, animated).unwrap();
    let webp = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/animated.webp");
    let mpo = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/jpeg/files")
            .join(name)
    };
    let (two, preview, jpeg) = (mpo("two.mpo"), mpo("preview.mpo"), mpo("420.jpg"));
    // One behind the other, as the pages of Netpbm say for each binary form; with a line's end between, as some write it.
    let pnm = |name: &str, parts: [&[u8]; 3]| {
        let path = folder.path().join(name);
        fs::write(&path, parts.concat()).unwrap();
        path
    };
    let bits = b"P4 9 2\n\x00\x80\xFF\x00";
    let pbm = pnm("three.pbm", [bits, bits, bits]);
    let gray = b"P5\n# 16 bits\n2 2 65535\n12345678";
    let pgm = pnm("two.pgm", [gray, b"\n", b"P6 1 1 255\nabc"]);
    let ppm = pnm("one.ppm", [b"P6 2 1 255\nP6 1 1", b"\n", b" no picture "]);
    let arbitrary = b"P7\nWIDTH 1\nHEIGHT 2\nDEPTH 2\nMAXVAL 255\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\nabcd";
    let pam = pnm("three.pam", [arbitrary, arbitrary, bits]);
    let text = pnm("one.pgm", [b"P2 1 1 255\n7\n", b"", b""]);
    let more = [
        (&two, 2),
        (&preview, 1),
        (&jpeg, 1),
        (&pbm, 3),
        (&pgm, 2),
        (&ppm, 1),
        (&pam, 3),
        (&text, 1),
    ];
    for (path, pictures) in [(&path, 3), (&one, 1), (&png, 1), (&apng, 4), (&webp, 2)]
        .into_iter()
        .chain(more)
    {
        assert_eq!(
            Reader::default().load(path, Fit::Own).unwrap().found.pictures,
            pictures,
            "{path:?}"
        );
        assert_eq!(Reader::default().header(path).unwrap().1, pictures, "{path:?}");
    }
}

/// A WebP of a few bytes that claims any size: a lossless one, a lossy one, and a lossy one inside of a canvas of one pixel.
fn claims(width: u32, height: u32) -> [Vec<u8>; 3] {
    let riff = |chunks: &[(&[u8; 4], Vec<u8>)]| {
        let mut body = b"WEBP".to_vec();
        for (name, chunk) in chunks {
            body.extend_from_slice(*name);
            body.extend((chunk.len() as u32).to_le_bytes());
            body.extend(chunk);
            body.extend(vec![0; chunk.len() % 2]);
        }
        [&b"RIFF"[..], &(body.len() as u32).to_le_bytes(), &body].concat()
    };
    let bits = (width - 1) | (height - 1) << 14;
    let lossless = [&[0x2F][..], &bits.to_le_bytes(), &[0; 8]].concat();
    let sides = [(width as u16).to_le_bytes(), (height as u16).to_le_bytes()].concat();
    let lossy = [&[0x10, 0, 0, 0x9D, 0x01, 0x2A][..], &sides, &[0; 12]].concat();
    let canvas = vec![0; 10];
    [
        riff(&[(b"VP8L", lossless)]),
        riff(&[(b"VP8 ", lossy.clone())]),
        riff(&[(b"VP8X", canvas), (b"VP8 ", lossy)]),
    ]
}

#[test]
fn no_header_takes_more_than_the_bound_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = Reader::default();
    reader.limits.memory = DecodeMemory::new(64 << 20);
    let mut paths: Vec<PathBuf> = Vec::new();
    for (index, bytes) in claims(16_383, 16_383).into_iter().enumerate() {
        let path = folder.path().join(format!("{index}.webp"));
        fs::write(&path, bytes).unwrap();
        paths.push(path);
    }
    // A BMP and a TIFF whose headers claim much, too.
    let mut bmp = Vec::new();
    DynamicImage::from(RgbImage::new(2, 2))
        .write_to(&mut Cursor::new(&mut bmp), image::ImageFormat::Bmp)
        .unwrap();
    bmp[18..22].copy_from_slice(&16_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&16_000u32.to_le_bytes());
    paths.push(folder.path().join("a.bmp"));
    fs::write(&paths[3], bmp).unwrap();
    paths.push(saved(&folder, "ok.png", RgbImage::new(100, 100)));
    let loaded: Vec<_> = load_ahead(paths.clone(), reader, Fit::Resized(Size::new(8, 8))).collect();
    for ((path, loaded), wanted) in loaded.into_iter().zip(&paths) {
        assert_eq!(&path, wanted);
        match loaded {
            Ok(_) => assert!(path.ends_with("ok.png")),
            Err(error) => {
                let text = error.to_string();
                assert!(matches!(error, DataError::LimitExceeded { .. }), "{text}");
                assert!(
                    text.contains(path.to_str().unwrap()) && text.contains("64 MiB"),
                    "{text}"
                );
            }
        }
    }
}

/// No word of a decoder's reaches a user: whatever is cut off or damaged is told in ours.
#[test]
fn errors_are_in_our_words() {
    let folder = tempfile::tempdir().unwrap();
    let picture = RgbImage::from_fn(9, 9, |x, y| Rgb([x as u8 * 20, y as u8 * 20, 0]));
    for name in ["a.png", "a.bmp", "a.gif", "a.webp", "a.ppm", "a.jpg"] {
        let bytes = fs::read(saved(&folder, name, picture.clone())).unwrap();
        let path = folder.path().join(format!("damaged_{name}"));
        for end in 2..bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            let Err(error) = own(&Reader::default(), &path) else {
                continue;
            };
            let text = error.to_string();
            let known = [
                "is cut off",
                "is damaged",
                "known format",
                "no pixels",
                "save it as PNG",
                "missing in the middle",
            ];
            assert!(known.iter().any(|words| text.contains(words)), "{text}");
            assert!(!matches!(error, DataError::DecoderFailed { .. }), "{text}");
        }
    }
}

/// Formats that say what their white is are read by that.
#[test]
fn the_white_of_a_pnm_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pgm");
    let samples = [0u16, 1, 1000, 2047, 4000, 4095];
    let binary: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let plain: Vec<String> = samples.iter().map(u16::to_string).collect();
    let files = [
        [b"P5 3 2 4095\n".as_slice(), &binary].concat(),
        format!("P2\n# a comment\n3 2\n4095\n{}\n", plain.join(" ")).into_bytes(),
    ];
    for bytes in files {
        fs::write(&path, bytes).unwrap();
        let values = own(&Reader::new(1), &path).unwrap().into_values();
        for (value, sample) in values.iter().zip(samples) {
            assert!((value - f32::from(sample) / 4095.0).abs() < 1e-4, "{values:?}");
        }
    }
    fs::write(&path, b"P5 2 2 100\n\x00\x32\x64\x0A").unwrap();
    let values = own(&Reader::new(1), &path).unwrap().into_values();
    let wanted = [0.0, 0.5, 1.0, 0.1];
    assert!(
        values.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 0.003),
        "{values:?}"
    );
}

/// Of a GIF and a deflated TIFF, too: what lies before the hole and behind it is there, and the ends fit.
#[test]
fn a_hole_in_other_formats_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let noise = |x: u32, y: u32| (x.wrapping_mul(2_654_435_761).wrapping_add(y.wrapping_mul(40_503)) >> 7) as u8;
    let picture = GrayImage::from_fn(64, 48, |x, y| Luma([noise(x, y)]));
    // A GIF's data come in blocks, each with its length in front.
    let rgba = RgbaImage::from_fn(160, 120, |x, y| Rgba([noise(x, y) & 0xE0; 4].map(|value| value | 15)));
    let opaque = DynamicImage::from(rgba).into_rgb8();
    let gif = fs::read(saved(&folder, "a.gif", opaque)).unwrap();
    let path = folder.path().join("hole.gif");
    let screen = 13
        + if gif[10] & 0x80 == 0 {
            0
        } else {
            3 << ((gif[10] & 7) + 1)
        };
    let mut at = screen;
    while gif[at] == 0x21 {
        at += 2;
        while gif[at] != 0 {
            at += usize::from(gif[at]) + 1;
        }
        at += 1;
    }
    assert_eq!(gif[at], 0x2C);
    let colours = if gif[at + 9] & 0x80 == 0 {
        0
    } else {
        3 << ((gif[at + 9] & 7) + 1)
    };
    let first = at + 10 + colours + 1;
    let second = first + usize::from(gif[first]) + 1;
    let third = second + usize::from(gif[second]) + 1;
    assert!(gif[second] > 0 && gif[third] > 0);
    fs::write(&path, [&gif[..second], &gif[third..]].concat()).unwrap();
    let error = own(&Reader::default(), &path).unwrap_err();
    assert!(matches!(error, DataError::Decode { .. }), "{error}");

    let mut tiff = Cursor::new(Vec::new());
    let level = tiff::encoder::DeflateLevel::Best;
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut tiff)
        .unwrap()
        .with_compression(tiff::encoder::Compression::Deflate(level));
    encoder
        .write_image::<tiff::encoder::colortype::Gray8>(64, 48, picture.as_raw())
        .unwrap();
    let tiff = tiff.into_inner();
    let path = folder.path().join("zeros.tif");
    let mut strips = tiff::decoder::Decoder::new(Cursor::new(&tiff)).unwrap();
    let mut of_strips = |tag| strips.get_tag_u32_vec(tag).unwrap();
    let offsets = of_strips(tiff::tags::Tag::StripOffsets);
    let counts = of_strips(tiff::tags::Tag::StripByteCounts);
    for (offset, count) in offsets.into_iter().zip(counts) {
        let [offset, count] = [offset, count].map(|value| value as usize);
        // How much a zlib needs for the picture is its own affair; the hole is in the middle.
        let mut bytes = tiff.clone();
        bytes[offset + count / 3..offset + count / 2].fill(0);
        fs::write(&path, &bytes).unwrap();
        let error = own(&Reader::default(), &path).unwrap_err();
        assert!(matches!(error, DataError::Decode { .. }), "{error}");
    }
}

/// Found by fuzzing: the decoder of WebP took 1.3 GB for the metadata that a file of a few bytes claimed.
#[test]
fn a_chunk_that_claims_more_than_the_file_has_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.webp");
    GrayImage::new(8, 8).save(&path).unwrap();
    let image = fs::read(&path).unwrap();
    let extended = |claimed: u32| {
        let mut chunks = b"WEBPVP8X\x0a\0\0\0\x08\0\0\0\x07\0\0\x07\0\0".to_vec();
        chunks.extend(&image[12..]);
        chunks.extend(b"EXIF");
        chunks.extend(claimed.to_le_bytes());
        chunks.extend(b"II*\0\x08\0\0\0\0\0\0\0\0\0");
        let len = u32::try_from(chunks.len()).unwrap();
        [&b"RIFF"[..], &len.to_le_bytes(), &chunks].concat()
    };
    fs::write(&path, extended(14)).unwrap();
    assert_eq!(own(&Reader::default(), &path).unwrap().size(), Size::new(8, 8));
    fs::write(&path, extended(0x4D54_5553)).unwrap();
    let error = own(&Reader::default(), &path).unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error}");
}

#[test]
fn formats_that_are_not_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (beginning, name) in [
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIF"),
        (b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"v/1\x01\x02\0\0\0", "OpenEXR"),
    ] {
        // Whatever the file is called.
        let path = folder.path().join("photo.jpg");
        fs::write(&path, beginning).unwrap();
        let error = own(&Reader::default(), &path).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, DataError::Unsupported { .. }), "{text}");
        assert!(
            text.contains(name) && text.contains("photo.jpg") && text.contains("save it as PNG"),
            "{text}"
        );
    }
    let path = folder.path().join("sound.webp");
    fs::write(&path, b"RIFF\x24\0\0\0WAVEfmt ").unwrap();
    assert!(
        own(&Reader::default(), &path)
            .unwrap_err()
            .to_string()
            .contains("not an image")
    );
}
