//! The pixels of a call as a file: a NumPy array, which is written while the call's JSON is read.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, SeqAccess, Unexpected, Visitor},
};

/// What a pixel's values are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    U8,
    U16,
    F32,
}

impl Kind {
    /// As NumPy writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::U8 => "|u1",
            Self::U16 => "<u2",
            Self::F32 => "<f4",
        }
    }

    /// Bytes of a value.
    pub(super) fn width(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
        }
    }
}

/// Numbers in JSON, nested or not, which go to the end of a file one after the other. The reader of JSON bounds how deep they nest.
pub(super) struct Numbers<'a> {
    pub(super) kind: Kind,
    pub(super) file: &'a mut Vec<u8>,
    /// The bytes that the file may have.
    pub(super) room: usize,
}

impl Numbers<'_> {
    fn push<E: serde::de::Error>(&mut self, bytes: &[u8]) -> Result<(), E> {
        if self.file.len() + bytes.len() > self.room {
            return Err(E::custom("there are more numbers than its shape has"));
        }
        self.file.extend_from_slice(bytes);
        Ok(())
    }

    fn refused<E: serde::de::Error>(&self, number: Unexpected<'_>) -> Result<(), E> {
        Err(E::invalid_value(number, self))
    }
}

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a pixel of {}", self.kind.name())
    }

    fn visit_u64<E: serde::de::Error>(mut self, number: u64) -> Result<(), E> {
        match self.kind {
            Kind::U8 => match u8::try_from(number) {
                Ok(value) => self.push(&[value]),
                Err(_) => self.refused(Unexpected::Unsigned(number)),
            },
            Kind::U16 => match u16::try_from(number) {
                Ok(value) => self.push(&value.to_le_bytes()),
                Err(_) => self.refused(Unexpected::Unsigned(number)),
            },
            Kind::F32 => self.push(&(number as f32).to_le_bytes()),
        }
    }

    fn visit_i64<E: serde::de::Error>(mut self, number: i64) -> Result<(), E> {
        match self.kind {
            Kind::F32 => self.push(&(number as f32).to_le_bytes()),
            Kind::U8 | Kind::U16 => self.refused(Unexpected::Signed(number)),
        }
    }

    fn visit_f64<E: serde::de::Error>(mut self, number: f64) -> Result<(), E> {
        match self.kind {
            Kind::F32 => self.push(&(number as f32).to_le_bytes()),
            Kind::U8 | Kind::U16 => self.refused(Unexpected::Float(number)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { kind, file, room } = self;
        while list.next_element_seed(Numbers { kind, file, room })?.is_some() {}
        Ok(())
    }
}

/// The beginning of a NumPy array, format 1.0 (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>). Its values
/// follow.
pub(super) fn header(kind: Kind, [height, width, channels]: [usize; 3]) -> Vec<u8> {
    let kind = kind.name();
    let mut header =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({height}, {width}, {channels}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap_or_default().to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(kind: Kind, room: usize, json: &str) -> Result<Vec<u8>, String> {
        let mut file = Vec::new();
        let numbers = Numbers {
            kind,
            file: &mut file,
            room,
        };
        let read = numbers.deserialize(&mut serde_json::Deserializer::from_str(json));
        read.map(|()| file).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_become_bytes_as_they_are_read() {
        assert_eq!(numbers(Kind::U8, 4, "[[0, 1], [[254]], 255]"), Ok(vec![0, 1, 254, 255]));
        assert_eq!(numbers(Kind::U16, 4, "[1, 65535]"), Ok(vec![1, 0, 255, 255]));
        let floats: Vec<u8> = [0.5_f32, -2.0, 3.0]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(numbers(Kind::F32, 12, "[0.5, [-2, 3]]"), Ok(floats));
        for (kind, json) in [
            (Kind::U8, "[256]"),
            (Kind::U8, "[-1]"),
            (Kind::U8, "[1.0]"),
            (Kind::U8, "[\"1\"]"),
            (Kind::U8, "[null]"),
            (Kind::U8, "{\"a\": 1}"),
            (Kind::U16, "[65536]"),
            (Kind::F32, "[true]"),
        ] {
            let error = numbers(kind, 8, json).unwrap_err();
            assert!(
                error.contains(&format!("expected a pixel of {}", kind.name())),
                "{error}"
            );
        }
    }

    /// No more is taken than the shape has, and nothing nests until the stack ends.
    #[test]
    fn numbers_take_a_bounded_room() {
        let error = numbers(Kind::U16, 4, "[1, 2, 3, what is this").unwrap_err();
        assert!(error.contains("more numbers than its shape has"), "{error}");
        let error = numbers(Kind::U8, 4, &"[".repeat(1_000_000)).unwrap_err();
        assert!(error.contains("recursion limit"), "{error}");
    }
}
