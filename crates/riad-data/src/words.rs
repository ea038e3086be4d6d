//! Words that messages share.

use std::fmt::{Display, Write};

/// The largest number of names in a message. The others are only counted.
const NAMED: usize = 8;

/// The first 8 of `names`, and the number of the others: `a, b and 4 more`. `between` separates the names. Before the
/// number of the others, the comma of `between` is left out.
pub fn in_part<T: Display>(names: &[T], between: &str) -> String {
    let (named, more) = names.split_at(names.len().min(NAMED));
    let mut text = String::new();
    for (place, name) in named.iter().enumerate() {
        if place > 0 {
            text += between;
        }
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{name}");
    }
    if !more.is_empty() {
        let _ = write!(text, "{}and {} more", between.trim_start_matches(','), more.len());
    }
    text
}

/// A number with its noun: `1 image`, `2 images`.
pub fn counted(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_several() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "image")),
            ["0 images", "1 image", "2 images"]
        );
    }

    #[test]
    fn eight_are_named_and_more_are_counted() {
        let names: Vec<usize> = (1..=10).collect();
        assert_eq!(in_part(&names[..0], ", "), "");
        assert_eq!(in_part(&names[..8], ", "), "1, 2, 3, 4, 5, 6, 7, 8");
        assert_eq!(in_part(&names, ", "), "1, 2, 3, 4, 5, 6, 7, 8 and 2 more");
        assert_eq!(in_part(&names[..9], "\n"), "1\n2\n3\n4\n5\n6\n7\n8\nand 1 more");
    }
}
