//! Amounts of memory.

use riad_data::DecodeMemory;

const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Less would refuse almost every image.
const LEAST: u64 = 1 << 20;

/// Reads an amount of memory to decode images in, at least 1 MiB.
pub(crate) fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text)?;
    if bytes < LEAST {
        return Err("it must be at least 1MiB".into());
    }
    Ok(bytes)
}

/// Reads an amount: `2GiB`, `512MiB`, or a number of bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let unit = UNITS
        .into_iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let (number, bytes) = unit.unwrap_or((text, 1));
    let number: u64 = number
        .trim()
        .parse()
        .map_err(|_| "expected a whole number of bytes, such as 2GiB, 512MiB or 1073741824".to_owned())?;
    number
        .checked_mul(bytes)
        .ok_or_else(|| "no machine has so many bytes".to_owned())
}

/// An amount in words that [`parse_bytes`] reads, where it comes out even.
pub(crate) fn in_bytes(bytes: u64) -> String {
    let unit = UNITS
        .into_iter()
        .rev()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    match unit {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => format!("{bytes} bytes"),
    }
}

/// What to do about a file that takes too much memory.
pub(crate) fn more_memory() -> String {
    let bytes = DecodeMemory::of_process().bytes();
    format!(
        "all decoding together may use {}; --decode-memory raises this limit",
        in_bytes(bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_a_unit_or_is_in_bytes() {
        assert_eq!(parse_memory("2GiB"), Ok(2 << 30));
        assert_eq!(parse_memory("512 MiB"), Ok(512 << 20));
        assert_eq!(parse_memory("1048576"), Ok(1 << 20));
        for wrong in ["", "GiB", "-1GiB", "1.5GiB", "2GB", "1KiB", "18446744073709551615GiB"] {
            assert!(parse_memory(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_bytes("512KiB"), Ok(512 << 10));
        assert_eq!(parse_bytes("1000"), Ok(1000));
        assert_eq!(in_bytes(1 << 30), "1GiB");
        assert_eq!(in_bytes(1536 << 20), "1536MiB");
    }
}
