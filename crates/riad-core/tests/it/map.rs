use proptest::prelude::*;
use riad_core::{LengthError, Map, Size};

proptest! {
    /// A map holds as many values as its size has pixels, whatever the size: products wrap in no case.
    #[test]
    fn a_map_has_the_values_of_its_size(
        height in prop_oneof![0usize..6, any::<usize>()],
        width in prop_oneof![0usize..6, any::<usize>()],
        count in 0usize..36,
    ) {
        let size = Size::new(height, width);
        let fits = u128::try_from(height).unwrap() * width as u128 == count as u128;
        let map = Map::new(size, vec![0.5; count]);
        prop_assert_eq!(map.is_ok(), fits);
        match map {
            Ok(map) => {
                prop_assert_eq!(map.size(), size);
                prop_assert_eq!(&map, &Map::filled(size, 0.5));
                prop_assert_eq!(map.into_values().len(), count);
            }
            Err(LengthError { got, expected, .. }) => {
                prop_assert_eq!(got, count);
                prop_assert_eq!(expected, size.checked_pixels().unwrap_or(usize::MAX));
            }
        }
    }
}

#[test]
fn the_largest_value_is_no_nan() {
    let max = |values: &[f32]| Map::new(Size::new(1, values.len()), values.to_vec()).unwrap().max();
    assert_eq!(max(&[0.1, f32::NAN, 0.3, 0.2]), Some(0.3));
    assert_eq!(max(&[f32::NEG_INFINITY]), Some(f32::NEG_INFINITY));
    assert_eq!(max(&[f32::NAN]), None);
    assert_eq!(max(&[]), None);
}

#[cfg(feature = "serde")]
#[test]
fn a_size_is_stored_by_its_names() {
    let json = serde_json::to_string(&Size::new(3, 5)).unwrap();
    assert_eq!(json, r#"{"height":3,"width":5}"#);
    assert_eq!(serde_json::from_str::<Size>(&json).unwrap(), Size::new(3, 5));
}
