//! Disjoint masks, as RIAD hides an image from its network: cells of 4 x 4 pixels are dealt into 3 sets, and the pixels of
//! a set are hidden in its own pass alone.
//!
//! ```text
//! cargo run -p riad-core --example masks
//! ```

use riad_core::{MaskError, Masks, Size};

fn main() -> Result<(), MaskError> {
    // The size is no multiple of the cells' side: the last ones are cut off.
    let size = Size::new(16, 30);
    let masks = Masks::sample(4, 3, size, 7)?;

    // Each pass's mask, 1 where the network sees a pixel and 0 where it has to invent it.
    let mut planes = vec![vec![0.0; size.pixels()]; masks.sets()];
    for (set, plane) in planes.iter_mut().enumerate() {
        masks.write_visible(set, plane)?;
        println!("pass {set}, hidden pixels as #:");
        for row in plane.chunks(size.width) {
            let line: String = row.iter().map(|&seen| if seen == 0.0 { '#' } else { '.' }).collect();
            println!("  {line}");
        }
    }

    // Disjoint and covering: each pixel is hidden in exactly one pass. The reconstruction takes it from that one, so that
    // no pixel of it was ever copied.
    for (y, x) in (0..size.height).flat_map(|y| (0..size.width).map(move |x| (y, x))) {
        let hidden = |plane: &Vec<f32>| plane[y * size.width + x] == 0.0;
        assert_eq!(
            planes.iter().filter(|plane| hidden(plane)).count(),
            1,
            "pixel ({y}, {x})"
        );
        assert_eq!(planes.iter().position(hidden), masks.set_of(y, x));
    }
    println!(
        "each of the {} pixels is hidden in exactly one of {} passes",
        size.pixels(),
        masks.sets()
    );
    Ok(())
}
