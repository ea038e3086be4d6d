//! What a look at good images finds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::{ImageBuffer, Rgb, RgbImage};
use riad_core::Size;
use riad_data::{Reader, Survey, Suspicion, demo, survey};

/// The training images of the demo set's badge.
fn badges(folder: &Path) -> Vec<PathBuf> {
    assert_eq!(demo::generate(folder, 0).unwrap(), demo::Demo::Created);
    riad_data::image_files(&folder.join("badge/train/good"), None).images
}

fn look(images: &[PathBuf]) -> Survey {
    survey(images, &Reader::default())
}

fn changed(from: &Path, to: &Path, change: impl Fn(RgbImage) -> RgbImage) {
    change(image::open(from).unwrap().into_rgb8()).save(to).unwrap();
}

#[test]
fn each_kind_of_suspect_is_named_and_no_other_image() {
    let folder = tempfile::tempdir().unwrap();
    let images = badges(folder.path());
    let before = look(&images);
    assert_eq!(before.images, images.len());
    assert!(before.suspects.is_empty(), "{:?}", before.suspects);

    let good = folder.path().join("badge/train/good");
    let [one, two, three, four, five] = [&images[0], &images[1], &images[2], &images[3], &images[4]];
    fs::copy(one, good.join("z1_copy.png")).unwrap();
    // A second picture of the same part: the sensor's noise is another.
    changed(two, &good.join("z2_burst.png"), |picture| {
        ImageBuffer::from_fn(picture.width(), picture.height(), |x, y| {
            let noise = if (x * 7 + y * 13) % 5 < 2 { 2 } else { 0 };
            Rgb(picture.get_pixel(x, y).0.map(|value| value.saturating_add(noise)))
        })
    });
    changed(three, &good.join("z3_size.png"), |picture| {
        image::imageops::resize(&picture, 100, 80, image::imageops::FilterType::Triangle)
    });
    changed(four, &good.join("z4_dark.png"), |mut picture| {
        picture
            .pixels_mut()
            .for_each(|pixel| pixel.0 = pixel.0.map(|value| value / 2));
        picture
    });
    // Half of the product is not there.
    changed(five, &good.join("z5_defect.png"), |mut picture| {
        let corner = *picture.get_pixel(0, 0);
        let (width, height) = picture.dimensions();
        for y in height / 3..height {
            for x in width / 4..3 * width / 4 {
                picture.put_pixel(x, y, corner);
            }
        }
        picture
    });
    fs::write(good.join("z6_text.png"), "no image").unwrap();
    let images = riad_data::image_files(&good, None).images;
    let survey = look(&images);

    assert_eq!(survey.unreadable.len(), 1);
    assert!(survey.unreadable[0].0.ends_with("z6_text.png"));
    let name = |image: usize| images[image].file_name().unwrap().to_str().unwrap().to_owned();
    let reasons = |wanted: &str| {
        let suspect = survey.suspects.iter().find(|suspect| name(suspect.image) == wanted);
        suspect
            .unwrap_or_else(|| panic!("{wanted}: {:?}", survey.suspects))
            .reasons
            .clone()
    };
    assert_eq!(reasons("z1_copy.png"), [Suspicion::Copy { of: 0 }]);
    assert_eq!(reasons("z2_burst.png"), [Suspicion::NearCopy { of: 1 }]);
    let size = reasons("z3_size.png");
    assert!(
        size.contains(&Suspicion::Size {
            size: Size::new(80, 100),
            usual: SIZE
        }),
        "{size:?}"
    );
    let dark = reasons("z4_dark.png");
    assert!(
        dark.iter()
            .any(|reason| matches!(reason, Suspicion::Exposure { brightness, usual } if brightness < usual)),
        "{dark:?}"
    );
    let defect = reasons("z5_defect.png");
    assert!(
        defect
            .iter()
            .any(|reason| matches!(reason, Suspicion::Unlike { times, .. } if *times > 1.5)),
        "{defect:?}"
    );
    assert!(
        survey
            .suspects
            .iter()
            .all(|suspect| name(suspect.image).starts_with('z')),
        "{:?}",
        survey.suspects
    );
}

const SIZE: Size = Size::new(128, 128);

#[test]
fn few_images_and_none_are_looked_at_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let images = badges(folder.path());
    assert!(look(&[]).suspects.is_empty());
    assert!(look(&images[..1]).suspects.is_empty());
    // What is usual cannot be told from three images, but a copy is one.
    let three = [images[0].clone(), images[1].clone(), images[0].clone()];
    let found = look(&three).suspects;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].image, &found[0].reasons[..]),
        (2, &[Suspicion::Copy { of: 0 }][..])
    );
    // So is one of another size.
    let other = folder.path().join("other.png");
    changed(&images[2], &other, |picture| {
        image::imageops::resize(&picture, 100, 80, image::imageops::FilterType::Triangle)
    });
    let found = look(&[images[0].clone(), images[1].clone(), other]).suspects;
    let (size, usual) = (Size::new(80, 100), SIZE);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].image, &found[0].reasons[..]),
        (2, &[Suspicion::Size { size, usual }][..])
    );
}

/// More than half of the list being copies of one image, the usual distance of all would be 0.
#[test]
fn an_image_unlike_many_copies_is_a_finite_number_of_times_away() {
    let folder = tempfile::tempdir().unwrap();
    let badges = badges(folder.path());
    let mut images = vec![badges[0].clone(); 40];
    images.extend(badges.iter().skip(1).take(9).cloned());
    let other = folder.path().join("other.png");
    changed(&badges[10], &other, |picture| {
        ImageBuffer::from_fn(picture.width(), picture.height(), |x, y| {
            Rgb([(x * 2) as u8, (y * 2) as u8, 0])
        })
    });
    images.push(other);
    let found = look(&images);
    let times: Vec<(usize, f64)> = found
        .suspects
        .iter()
        .flat_map(|suspect| suspect.reasons.iter().map(move |reason| (suspect.image, reason)))
        .filter_map(|(image, reason)| match reason {
            Suspicion::Unlike { times, .. } => Some((image, *times)),
            _ => None,
        })
        .collect();
    assert!(
        matches!(times.as_slice(), [(49, times)] if times.is_finite() && *times > 1.5),
        "{times:?}"
    );
}
