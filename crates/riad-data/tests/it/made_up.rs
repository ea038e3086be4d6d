//! Defects that are made up: where they are, how they grow, and that chance decides them alone.

use riad_core::{Random, Size};
use riad_data::{Fit, Flaw, Image, MadeUp, Reader};

/// A noisy checkerboard, wider than high.
fn checks(channels: usize) -> Image {
    let size = Size::new(120, 180);
    let mut random = Random::new(7);
    let mut values = Vec::new();
    for _ in 0..channels {
        for y in 0..size.height {
            for x in 0..size.width {
                let check = if (x / 9 + y / 9) % 2 == 0 { 0.25 } else { 0.7 };
                values.push(check + 0.1 * (random.next_u32() as f32 / u32::MAX as f32 - 0.5));
            }
        }
    }
    Image::new(channels, size, values).unwrap()
}

/// Masks are where a channel has changed by more than 8 of 255, nowhere else has anything changed beyond a soft edge, and a
/// defect is about as long as it is to be.
#[test]
fn masks_are_where_something_changed() {
    for channels in [1, 3, 5] {
        let image = checks(channels);
        for (flaw, length) in Flaw::ALL
            .into_iter()
            .flat_map(|flaw| [2.0, 6.0, 20.0, 60.0].map(|length| (flaw, length)))
        {
            for seed in 0..10 {
                let made_up = MadeUp { flaw, length, seed };
                let (changed, mask) = made_up
                    .on(&image, |_, _| true)
                    .unwrap_or_else(|| panic!("{made_up:?} cannot be seen on {channels} channels"));
                assert!(changed.values().iter().all(|value| (0.0..=1.0).contains(value)));
                let (mut low, mut high) = ([usize::MAX; 2], [0; 2]);
                for at in 0..image.size().pixels() {
                    let largest = image
                        .planes()
                        .zip(changed.planes())
                        .map(|(before, after)| (before[at] - after[at]).abs())
                        .fold(0.0, f32::max);
                    assert_eq!(mask.values()[at], largest > 8.0 / 255.0, "{made_up:?}");
                    if mask.values()[at] {
                        let place = [at % 180, at / 180];
                        low = [0, 1].map(|axis| low[axis].min(place[axis]));
                        high = [0, 1].map(|axis| high[axis].max(place[axis]));
                    }
                }
                let extent = [0, 1].map(|axis| (high[axis] + 1 - low[axis]) as f64);
                let most = 1.35 * length + 4.0;
                assert!(extent[0].max(extent[1]) <= most, "{made_up:?}: {extent:?}");
            }
        }
    }
}

#[test]
fn a_seed_decides_and_a_longer_defect_changes_more() {
    let image = checks(3);
    for flaw in Flaw::ALL {
        let area = |length, seed| {
            let (changed, mask) = MadeUp { flaw, length, seed }.on(&image, |_, _| true).unwrap();
            let again = MadeUp { flaw, length, seed }.on(&image, |_, _| true).unwrap();
            assert_eq!(again, (changed, mask.clone()));
            mask.values().iter().filter(|marked| **marked).count()
        };
        let of_length = |length| (0..8).map(|seed| area(length, seed)).sum::<usize>();
        let areas = [4.0, 8.0, 16.0, 32.0].map(of_length);
        assert!(areas.is_sorted_by(|a, b| a < b), "{flaw}: {areas:?}");
        let made = |seed| {
            MadeUp {
                flaw,
                length: 16.0,
                seed,
            }
            .on(&image, |_, _| true)
        };
        assert_ne!(made(1), made(2));
    }
}

/// What cannot be seen is not made: neither on plain ground, where a part that is missing or doubled looks the same, nor
/// where nothing may lie.
#[test]
fn what_cannot_be_seen_is_not_made() {
    let size = Size::new(50, 50);
    let plain = Image::new(3, size, vec![0.4; 3 * size.pixels()]).unwrap();
    let on_plain = |flaw| {
        MadeUp {
            flaw,
            length: 12.0,
            seed: 3,
        }
        .on(&plain, |_, _| true)
    };
    for flaw in Flaw::ALL {
        let is_seen = !matches!(flaw, Flaw::Missing | Flaw::Double);
        assert_eq!(on_plain(flaw).is_some(), is_seen, "{flaw}");
    }
    for seed in 0..20 {
        let spot = MadeUp {
            flaw: Flaw::Spot,
            length: 6.0,
            seed,
        };
        assert_eq!(spot.on(&plain, |_, _| false), None);
        let (_, mask) = spot.on(&plain, |x, _| x < 0.4).unwrap();
        let right = (0..mask.values().len()).filter(|&at| mask.values()[at] && at % 50 > 25);
        assert_eq!(right.count(), 0);
    }
    let empty = Image::new(1, Size::new(0, 0), Vec::new()).unwrap();
    for flaw in Flaw::ALL {
        for length in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            let made_up = MadeUp { flaw, length, seed: 0 };
            assert_eq!(made_up.on(&empty, |_, _| true), None);
            // Whatever comes of it, it comes to an end.
            let _ = made_up.on(&plain, |_, _| true);
        }
    }
}

/// An image that is made smaller after it was read is what one is that was made smaller while it was read: else a defect
/// would not be all that tells it from good ones.
#[test]
fn images_are_made_smaller_as_files_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(3);
    let mut pixel = |_, _| image::Rgb([(); 3].map(|()| random.next_u32() as u8));
    let (rgb, grey) = (folder.path().join("rgb.png"), folder.path().join("grey.png"));
    image::RgbImage::from_fn(61, 47, &mut pixel).save(&rgb).unwrap();
    let pixel = |x, y| image::Luma([pixel(x, y).0[0] as u16 * 200]);
    image::ImageBuffer::<image::Luma<u16>, _>::from_fn(61, 47, pixel)
        .save(&grey)
        .unwrap();
    for (file, channels) in [(&rgb, 3), (&rgb, 1), (&grey, 1), (&grey, 3)] {
        let reader = Reader::new(channels);
        let own = reader.load(file, Fit::Own).unwrap().image;
        for size in [Size::new(16, 20), Size::new(47, 61), Size::new(90, 70)] {
            let expected = reader.load(file, Fit::Resized(size)).unwrap().image;
            assert_eq!(own.resized(size).unwrap(), expected, "{channels} {size}");
        }
    }
    assert!(checks(1).resized(Size::new(0, 3)).is_err());
}
