//! Whether pictures resemble those of a product.

use riad_core::{
    Random, Size,
    appearance::{Appearance, AppearanceError, Difference, Looks},
};

const SIZE: Size = Size::new(32, 40);

fn unit(random: &mut Random) -> f32 {
    (random.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// A picture with a bright square in the middle of a striped ground, in light that varies a little.
fn picture(seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let light = 0.95 + 0.1 * unit(&mut random);
    let mut values = Vec::new();
    for channel in 0..3 {
        for y in 0..SIZE.height {
            for x in 0..SIZE.width {
                let is_inside = (8..24).contains(&y) && (10..30).contains(&x);
                let ground = if x % 4 < 2 { 0.2 } else { 0.3 };
                let value = if is_inside { 0.7 - 0.1 * channel as f32 } else { ground };
                values.push(value * light + 0.01 * unit(&mut random));
            }
        }
    }
    values
}

fn looks(values: &[f32]) -> Looks {
    Looks::of(values, 3, SIZE).unwrap()
}

fn appearance() -> Appearance {
    let good: Vec<Looks> = (0..20).map(|seed| looks(&picture(seed))).collect();
    Appearance::of(&good).unwrap()
}

fn changed(change: impl Fn(f32) -> f32) -> Vec<f32> {
    picture(99).into_iter().map(change).collect()
}

#[test]
fn pictures_of_the_product_resemble_it_and_others_do_not() {
    let appearance = appearance();
    let judge = |values: &[f32]| appearance.judge(&looks(values)).unwrap();
    for seed in 20..40 {
        assert!(judge(&picture(seed)).resembles());
    }
    for (name, values, difference) in [
        ("black", changed(|_| 0.0), Some(Difference::Darker)),
        ("white", changed(|_| 1.0), Some(Difference::Brighter)),
        (
            "half of the light",
            changed(|value| value / 2.0),
            Some(Difference::Darker),
        ),
        ("inverted", changed(|value| 1.0 - value), Some(Difference::Brighter)),
    ] {
        let likeness = judge(&values);
        assert!(!likeness.resembles(), "{name}: {likeness:?}");
        assert_eq!(likeness.difference(), difference, "{name}");
        assert_eq!(likeness.images(), 20);
    }
}

/// Whatever lies in fewer than half of the cells, here 28 of 64, and however much it differs.
#[test]
fn no_defect_in_fewer_than_half_of_the_cells_makes_it_another_product() {
    let appearance = appearance();
    for value in [0.0, 0.5, 1.0] {
        for left in [0, 5, 20] {
            let mut values = picture(50);
            for channel in 0..3 {
                for y in 0..28 {
                    for x in left..left + 19 {
                        values[(channel * SIZE.height + y) * SIZE.width + x] = value;
                    }
                }
            }
            assert!(appearance.judge(&looks(&values)).unwrap().resembles());
        }
    }
}

/// A new light makes strangers of good pictures. With some of them it knows the others, and still the old ones.
#[test]
fn more_good_pictures_are_added_to_what_is_known() {
    let appearance = appearance();
    let dim = |seed| -> Looks { looks(&picture(seed).into_iter().map(|value| value * 0.6).collect::<Vec<_>>()) };
    assert!(!appearance.judge(&dim(70)).unwrap().resembles());
    let more: Vec<Looks> = (60..68).map(dim).collect();
    let wider = appearance.with(&more).unwrap();
    assert_eq!(wider.images(), 28);
    assert!(wider.judge(&dim(70)).unwrap().resembles());
    assert!(wider.judge(&looks(&picture(71))).unwrap().resembles());
    assert!(!wider.judge(&looks(&changed(|_| 1.0))).unwrap().resembles());
    assert!(
        appearance
            .with(&[])
            .unwrap()
            .judge(&looks(&picture(71)))
            .unwrap()
            .resembles()
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let grey = Looks::of(&vec![0.5; SIZE.pixels()], 1, SIZE).unwrap();
    assert_eq!(appearance().judge(&grey), Err(AppearanceError::Channels(1, 3)));
    assert_eq!(Appearance::of(&vec![grey; 7]), Err(AppearanceError::TooFew(7)));
    assert!(Looks::of(&[0.5; 5], 1, Size::new(2, 3)).is_err());
    assert!(Looks::of(&[], 1, Size::new(0, 3)).is_err());
    assert!(Looks::of(&[], 0, Size::new(2, 3)).is_err());
    // Fewer pixels than cells, and what is not finite.
    let tiny = Looks::of(&[0.5, f32::NAN], 1, Size::new(1, 2)).unwrap();
    assert_eq!(
        Appearance::of(&vec![tiny.clone(); 8])
            .unwrap()
            .judge(&tiny)
            .unwrap()
            .distance(),
        0.0
    );
}

#[cfg(feature = "serde")]
#[test]
fn it_is_kept_as_json_and_checked_when_it_is_read() {
    let json = serde_json::to_value(appearance()).unwrap();
    assert_eq!(
        serde_json::from_value::<Appearance>(json.clone()).unwrap(),
        appearance()
    );
    for (key, value) in [
        ("channels", serde_json::json!(1)),
        ("images", serde_json::json!(1)),
        ("limit", serde_json::json!(-1.0)),
        ("mean", serde_json::json!([0.5])),
        ("deviation", serde_json::json!(vec![-1.0; 256])),
    ] {
        let mut other = json.clone();
        other[key] = value;
        assert!(serde_json::from_value::<Appearance>(other).is_err(), "{key}");
    }
}

/// Nothing in a file says how many images there may be.
#[cfg(feature = "serde")]
#[test]
fn pictures_are_added_to_any_number_of_others() {
    let mut json = serde_json::to_value(appearance()).unwrap();
    json["images"] = serde_json::json!(usize::MAX);
    let known: Appearance = serde_json::from_value(json).unwrap();
    let more = known.with(&[looks(&picture(30))]).unwrap();
    assert_eq!(more.images(), usize::MAX);
    assert!(more.judge(&looks(&picture(31))).unwrap().resembles());
}
