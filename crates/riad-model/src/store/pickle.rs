//! Reads Python's pickles, as far as PyTorch's files need them: dictionaries of tensors. It never calls anything.
//!
//! A pickle is a program, and a pickle from outside may be hostile: a few bytes can ask for a tuple that doubles itself
//! a hundred times, or nests itself a million times. Here values are in a list and refer to each other by index. So
//! memory never exceeds the bytes that were read, nothing is recursive, and time is in proportion to the file.

use std::collections::HashMap;

/// A value's place in [`Pickle`].
pub(super) type Id = usize;

/// What a pickle builds.
#[derive(Debug)]
pub(super) enum Value {
    /// Something that means nothing here: an object of a class that is not known, a float, bytes.
    Other,
    None,
    Integer(i64),
    Text(String),
    Tuple(Vec<Id>),
    /// Keys and values, in their order.
    Dictionary(Vec<(Id, Id)>),
    List(Vec<Id>),
    /// A class or function: the texts of its module and name.
    Global {
        module: Id,
        name: Id,
    },
    /// What lies outside of the pickle and stands for this tuple.
    Persistent(Id),
    /// What a function makes of a tuple of arguments.
    Call {
        function: Id,
        arguments: Id,
    },
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    /// What the pickle is of.
    pub(super) root: Id,
}

impl Pickle {
    /// A value.
    pub(super) fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Other)
    }

    /// A value that is text.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        text(&self.values, id)
    }

    /// The module and name of a value that is a class or function.
    pub(super) fn global(&self, id: Id) -> Option<(&str, &str)> {
        global(&self.values, id)
    }

    /// A value that is a count.
    pub(super) fn count(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Integer(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The items of a tuple or list.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Runs the program in `bytes`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine {
            rest: bytes,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        let root = machine.run()?;
        Ok(Self {
            values: machine.values,
            root,
        })
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// The heights of the stack at which the tuples and items under way begin.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl Machine<'_> {
    /// Runs to the end and gives the value that is left.
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let [opcode] = self.take()?;
            match opcode {
                // PROTO, FRAME
                0x80 => _ = self.take::<1>()?,
                0x95 => _ = self.take::<8>()?,
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => _ = self.pop()?,
                b'1' => _ = self.since_mark()?,
                b'N' => self.push(Value::None),
                // NEWTRUE, NEWFALSE, BINFLOAT
                0x88 | 0x89 => self.push(Value::Other),
                b'G' => {
                    self.take::<8>()?;
                    self.push(Value::Other);
                }
                b'K' => {
                    let [value] = self.take()?;
                    self.push(Value::Integer(value.into()));
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.take()?);
                    self.push(Value::Integer(value.into()));
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.take()?);
                    self.push(Value::Integer(value.into()));
                }
                // LONG1
                0x8a => {
                    let [length] = self.take()?;
                    let digits = self.take_slice(length.into())?;
                    let value = long(digits);
                    self.push(value);
                }
                // BINUNICODE, SHORT_BINUNICODE
                b'X' => {
                    let length = u32::from_le_bytes(self.take()?);
                    self.text(length as usize)?;
                }
                0x8c => {
                    let [length] = self.take()?;
                    self.text(length.into())?;
                }
                // BINSTRING, SHORT_BINSTRING, BINBYTES, SHORT_BINBYTES
                b'T' | b'B' => {
                    let length = u32::from_le_bytes(self.take()?);
                    self.take_slice(length as usize)?;
                    self.push(Value::Other);
                }
                b'U' | b'C' => {
                    let [length] = self.take()?;
                    self.take_slice(length.into())?;
                    self.push(Value::Other);
                }
                b')' => self.push(Value::Tuple(Vec::new())),
                b't' => {
                    let items = self.since_mark()?;
                    self.push(Value::Tuple(items));
                }
                // TUPLE1, TUPLE2, TUPLE3
                0x85..=0x87 => {
                    let count = usize::from(opcode - 0x84);
                    let start = self
                        .stack
                        .len()
                        .checked_sub(count)
                        .filter(|start| *start >= self.floor());
                    let items = self.stack.split_off(start.ok_or_else(too_few)?);
                    self.push(Value::Tuple(items));
                }
                b'}' => self.push(Value::Dictionary(Vec::new())),
                b']' => self.push(Value::List(Vec::new())),
                // EMPTY_SET
                0x8f => self.push(Value::Other),
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                // APPENDS, ADDITEMS
                b'e' | 0x90 => {
                    let items = self.since_mark()?;
                    self.extend(items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set(items)?;
                }
                b'c' => {
                    let [module, name] = [self.line()?, self.line()?].map(|text| self.add(Value::Text(text)));
                    self.push(Value::Global { module, name });
                }
                // STACK_GLOBAL
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    if [module, name].iter().any(|&id| text(&self.values, id).is_none()) {
                        return Err("a class has no name".into());
                    }
                    self.push(Value::Global { module, name });
                }
                // REDUCE, NEWOBJ
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    // What PyTorch keeps tensors in is a dictionary in an order.
                    let is_dictionary =
                        opcode == b'R' && global(&self.values, function) == Some(("collections", "OrderedDict"));
                    self.push(if is_dictionary {
                        Value::Dictionary(Vec::new())
                    } else {
                        Value::Call { function, arguments }
                    });
                }
                // BUILD gives an object its attributes, which mean nothing here.
                b'b' => _ = self.pop()?,
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Value::Persistent(id));
                }
                b'q' => {
                    let [place] = self.take()?;
                    self.remember(place.into())?;
                }
                b'r' => {
                    let place = u32::from_le_bytes(self.take()?);
                    self.remember(place as usize)?;
                }
                // MEMOIZE
                0x94 => self.remember(self.memo.len())?,
                b'h' => {
                    let [place] = self.take()?;
                    self.recall(place.into())?;
                }
                b'j' => {
                    let place = u32::from_le_bytes(self.take()?);
                    self.recall(place as usize)?;
                }
                other => {
                    return Err(format!("it uses the operation {other:#04x}, which no state dict needs"));
                }
            }
        }
    }

    fn take_slice(&mut self, count: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or_else(cut_off)?;
        let line = utf8(&self.rest[..end])?;
        self.rest = &self.rest[end + 1..];
        Ok(line)
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let text = utf8(self.take_slice(length)?)?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn push(&mut self, value: Value) {
        let id = self.add(value);
        self.stack.push(id);
    }

    fn add(&mut self, value: Value) -> Id {
        self.values.push(value);
        self.values.len() - 1
    }

    /// The height that the stack has where the items under way begin; what lies below is not theirs.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, String> {
        if self.stack.len() <= self.floor() {
            return Err(too_few());
        }
        self.stack.pop().ok_or_else(too_few)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let start = self.marks.pop().ok_or_else(too_few)?;
        Ok(self.stack.split_off(start))
    }

    fn top(&mut self) -> Result<&mut Value, String> {
        let id = *self.stack.last().ok_or_else(too_few)?;
        self.values.get_mut(id).ok_or_else(too_few)
    }

    /// Adds items to the list on top. Objects of other classes may be filled as well, and mean nothing.
    fn extend(&mut self, items: Vec<Id>) -> Result<(), String> {
        if let Value::List(list) = self.top()? {
            list.extend(items);
        }
        Ok(())
    }

    /// Adds keys and values to the dictionary on top.
    fn set(&mut self, items: Vec<Id>) -> Result<(), String> {
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return Err("a dictionary has a key without a value".into());
        }
        if let Value::Dictionary(entries) = self.top()? {
            entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        }
        Ok(())
    }

    fn remember(&mut self, place: usize) -> Result<(), String> {
        let id = *self.stack.last().ok_or_else(too_few)?;
        self.memo.insert(place, id);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<(), String> {
        let id = self.memo.get(&place).copied();
        self.stack
            .push(id.ok_or_else(|| format!("nothing is stored at the place {place}"))?);
        Ok(())
    }
}

fn text(values: &[Value], id: Id) -> Option<&str> {
    match values.get(id) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn global(values: &[Value], id: Id) -> Option<(&str, &str)> {
    match values.get(id) {
        Some(Value::Global { module, name }) => text(values, *module).zip(text(values, *name)),
        _ => None,
    }
}

fn cut_off() -> String {
    "it is cut off".into()
}

fn too_few() -> String {
    "it uses values that do not exist".into()
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text in it is not UTF-8".into())
}

/// A signed integer in little-endian bytes; one beyond 64 bits is none that is of use here.
fn long(digits: &[u8]) -> Value {
    let Some(&last) = digits.last() else {
        return Value::Integer(0);
    };
    if digits.len() > 8 {
        return Value::Other;
    }
    let mut bytes = [if last >= 0x80 { 0xff } else { 0 }; 8];
    bytes[..digits.len()].copy_from_slice(digits);
    Value::Integer(i64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `pickle.dumps({'a': (1, 300, -70000, 2**40), 'b': [None, ()]}, protocol)` of Python 3.13, protocols 2 and 4.
    #[test]
    fn what_python_writes_is_read() {
        let two: &[u8] = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01(K\x01M,\x01J\x90\xee\xfe\xff\x8a\x06\x00\x00\x00\x00\x00\x01tq\x02X\x01\x00\x00\x00bq\x03]q\x04(N)eu.";
        let four: &[u8] = b"\x80\x04\x95(\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94(K\x01M,\x01J\x90\xee\xfe\xff\x8a\x06\x00\x00\x00\x00\x00\x01t\x94\x8c\x01b\x94]\x94(N)eu.";
        for bytes in [two, four] {
            let pickle = Pickle::parse(bytes).unwrap();
            let Value::Dictionary(entries) = pickle.get(pickle.root) else {
                panic!("{pickle:?}")
            };
            let [(a, numbers), (b, list)] = entries.as_slice() else {
                panic!("{pickle:?}")
            };
            assert_eq!((pickle.text(*a), pickle.text(*b)), (Some("a"), Some("b")));
            let numbers = pickle.items(*numbers).unwrap().iter();
            let numbers: Vec<_> = numbers.map(|&id| format!("{:?}", pickle.get(id))).collect();
            let expected = [1, 300, -70_000, 1i64 << 40].map(|value| format!("Integer({value})"));
            assert_eq!(numbers, expected);
            assert_eq!(pickle.items(*list).unwrap().len(), 2);
        }
    }

    #[test]
    fn bombs_take_no_more_than_their_bytes() {
        // A tuple of twice itself, a hundred thousand times; and one within the other a million times.
        let doubling: Vec<u8> = [&b")q\x00"[..], &b"h\x00h\x00\x86q\x00".repeat(100_000), b"."].concat();
        assert_eq!(Pickle::parse(&doubling).unwrap().values.len(), 100_001);
        let nested = [&b")"[..], &b"\x85".repeat(1_000_000), b"."].concat();
        assert_eq!(Pickle::parse(&nested).unwrap().values.len(), 1_000_001);
        // A class with a long name, a hundred thousand times: the name is there once.
        let name = [&b"X\xa0\x86\x01\0"[..], &b"a".repeat(100_000), b"q\x00"].concat();
        let classes = [&b"("[..], &name, &b"h\x00h\x00\x93".repeat(100_000), b"t."].concat();
        let classes = Pickle::parse(&classes).unwrap();
        assert_eq!(classes.values.len(), 100_002);
        assert_eq!(classes.global(1).unwrap().1.len(), 100_000);
        // A dictionary in itself.
        assert!(Pickle::parse(b"}q\x00h\x00h\x00s.").is_ok());
        // A place far off takes no more than a near one.
        assert!(Pickle::parse(b")r\xff\xff\xff\xff.").is_ok());
        let far = Pickle::parse(b"j\xff\xff\xff\xff.").unwrap_err();
        assert!(far.contains("place 4294967295"), "{far}");
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_than_an_error(bytes: Vec<u8>) {
            _ = Pickle::parse(&bytes);
        }

        #[test]
        fn no_operations_are_more_than_an_error(bytes in prop::collection::vec(
            prop::sample::select(b".(01N)t}]aesuR\x81bQq\x00\x01hK\x85\x86\x87\x93\x94\x8c".to_vec()), 0..200)
        ) {
            _ = Pickle::parse(&bytes);
        }
    }
}
