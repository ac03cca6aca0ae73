//! A pickle reader that builds data and runs nothing.
//!
//! Python's format is a program for a stack machine that may call any function. Here a call to
//! anything but PyTorch's tensor builders and ordered dictionaries gives an opaque object.
//! Values live in an arena: hostile nesting or cycles cost neither stack nor leaks.
//!
//! The crate `pytorch-reader` is as careful, but reads no storages whose identifiers have four fields, as in the
//! author's files of torch 1.1, and so far is a pre-release (0.23.0-pre.1).

mod value;

pub use value::{Pickle, Value, ValueId};

use crate::network::weights::WeightsError;

/// More values than any checkpoint has.
const MAX_VALUES: usize = 4_000_000;

fn damaged(what: impl Into<String>) -> WeightsError {
    WeightsError::Damaged { what: what.into() }
}

/// Bytes with a position.
pub struct ByteReader<'a> {
    bytes: &'a [u8],
    /// Next byte to read.
    pub position: usize,
}

impl<'a> ByteReader<'a> {
    /// From the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], WeightsError> {
        let end = self.position.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            damaged(format!(
                "it ends at byte {}, {length} more were expected at {}",
                self.bytes.len(),
                self.position
            ))
        })?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WeightsError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, WeightsError> {
        Ok(self.array::<1>()?[0])
    }

    fn length4(&mut self) -> Result<usize, WeightsError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// A little-endian 64-bit integer.
    pub fn int64(&mut self) -> Result<i64, WeightsError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn line(&mut self) -> Result<String, WeightsError> {
        let rest = &self.bytes[self.position..];
        let length =
            rest.iter().position(|b| *b == b'\n').ok_or_else(|| damaged("a line without end"))?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.position += 1;
        Ok(line)
    }
}

/// Reads one pickle and leaves the cursor behind it.
pub fn read(cursor: &mut ByteReader<'_>) -> Result<Pickle, WeightsError> {
    Machine::default().run(cursor)
}

#[derive(Default)]
struct Machine {
    values: Vec<Value>,
    stack: Vec<ValueId>,
    memo: std::collections::HashMap<usize, ValueId>,
}

impl Machine {
    fn push(&mut self, value: Value) -> Result<(), WeightsError> {
        if self.values.len() >= MAX_VALUES {
            return Err(WeightsError::TooLarge { what: format!("more than {MAX_VALUES} values") });
        }
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
        Ok(())
    }

    fn pop(&mut self) -> Result<ValueId, WeightsError> {
        self.stack.pop().ok_or_else(|| damaged("the pickle takes from an empty stack"))
    }

    fn top(&self) -> Result<ValueId, WeightsError> {
        self.stack.last().copied().ok_or_else(|| damaged("the pickle looks at an empty stack"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<ValueId>, WeightsError> {
        let mark = self
            .stack
            .iter()
            .rposition(|id| self.values[*id] == Value::Mark)
            .ok_or_else(|| damaged("the pickle has no mark"))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn pop_tuple(&mut self, length: usize) -> Result<(), WeightsError> {
        let start =
            self.stack.len().checked_sub(length).ok_or_else(|| damaged("a tuple of too few"))?;
        let items = self.stack.split_off(start);
        self.push(Value::Sequence(items))
    }

    fn extend(&mut self, items: Vec<ValueId>) -> Result<(), WeightsError> {
        let target = self.top()?;
        if let Value::Sequence(list) = &mut self.values[target] {
            list.extend(items);
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[ValueId]) -> Result<(), WeightsError> {
        let target = self.top()?;
        if let Value::Dict(entries) = &mut self.values[target] {
            entries.extend(items.as_chunks::<2>().0.iter().map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }

    fn call(&mut self) -> Result<(), WeightsError> {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        let known = match &self.values[callable] {
            Value::Global(name) => name.clone(),
            _ => String::new(),
        };
        let first = match &self.values[arguments] {
            Value::Sequence(items) => items.first().copied(),
            _ => None,
        };
        match (known.as_str(), first) {
            ("collections OrderedDict", None) => self.push(Value::Dict(Vec::new())),
            ("collections OrderedDict", Some(pairs)) => {
                let pairs = match &self.values[pairs] {
                    Value::Sequence(pairs) => pairs.clone(),
                    _ => Vec::new(),
                };
                let entries = pairs
                    .into_iter()
                    .filter_map(|pair| match &self.values[pair] {
                        Value::Sequence(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
                        _ => None,
                    })
                    .collect();
                self.push(Value::Dict(entries))
            }
            // A parameter is its tensor; a torch.Size is its tuple.
            ("torch._utils _rebuild_parameter" | "torch Size", Some(inner)) => {
                self.stack.push(inner);
                Ok(())
            }
            _ => self.push(Value::Call { callable, arguments, state: None }),
        }
    }

    fn build(&mut self) -> Result<(), WeightsError> {
        let attributes = self.pop()?;
        let target = self.top()?;
        if let Value::Call { state, .. } = &mut self.values[target] {
            *state = Some(attributes);
        }
        Ok(())
    }

    fn remember(&mut self, key: usize) -> Result<(), WeightsError> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: usize) -> Result<(), WeightsError> {
        let id =
            *self.memo.get(&key).ok_or_else(|| damaged(format!("memo {key} was never set")))?;
        self.stack.push(id);
        if self.stack.len() > MAX_VALUES {
            return Err(WeightsError::TooLarge { what: "the pickle's stack".into() });
        }
        Ok(())
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), WeightsError> {
        self.push(Value::Text(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn long(&mut self, bytes: &[u8]) -> Result<(), WeightsError> {
        // Longer ones (PyTorch's magic number) are kept as text: nobody calculates with them.
        if bytes.len() > 8 {
            let hex: String = bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect();
            return self.push(Value::Text(hex));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn run(mut self, cursor: &mut ByteReader<'_>) -> Result<Pickle, WeightsError> {
        loop {
            let opcode = cursor.byte()?;
            match opcode {
                0x80 => {
                    let protocol = cursor.byte()?;
                    if protocol > 5 {
                        return Err(damaged(format!("pickle protocol {protocol}")));
                    }
                }
                0x95 => {
                    cursor.take(8)?;
                }
                b'.' => {
                    let root = self.pop()?;
                    return Ok(Pickle { values: self.values, root });
                }
                b'(' => self.push(Value::Mark)?,
                b'0' => {
                    self.pop()?;
                }
                b'1' => {
                    self.pop_to_mark()?;
                }
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Int(1))?,
                0x89 => self.push(Value::Int(0))?,
                b'J' => {
                    let value = i32::from_le_bytes(cursor.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                b'K' => {
                    let value = cursor.byte()?;
                    self.push(Value::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(cursor.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                b'G' => {
                    let value = f64::from_be_bytes(cursor.array()?);
                    self.push(Value::Float(value))?;
                }
                0x8a => {
                    let length = cursor.byte()?;
                    let bytes = cursor.take(length.into())?;
                    self.long(bytes)?;
                }
                0x8b => {
                    let length = cursor.length4()?;
                    let bytes = cursor.take(length)?;
                    self.long(bytes)?;
                }
                b'I' | b'L' => {
                    let line = cursor.line()?;
                    let value = line.trim_end_matches('L').parse().unwrap_or(0);
                    self.push(Value::Int(value))?;
                }
                b'F' => {
                    let line = cursor.line()?;
                    self.push(Value::Float(line.parse().unwrap_or(f64::NAN)))?;
                }
                b'U' | 0x8c | b'C' => {
                    let length = cursor.byte()?;
                    let bytes = cursor.take(length.into())?;
                    self.text(bytes)?;
                }
                b'X' | b'T' | b'B' => {
                    let length = cursor.length4()?;
                    let bytes = cursor.take(length)?;
                    self.text(bytes)?;
                }
                0x8d | 0x8e | 0x96 => {
                    let length = usize::try_from(cursor.int64()?)
                        .map_err(|_| damaged("a negative length"))?;
                    let bytes = cursor.take(length)?;
                    self.text(bytes)?;
                }
                b'S' | b'V' => {
                    let line = cursor.line()?;
                    self.text(line.trim_matches(['\'', '"']).as_bytes())?;
                }
                b')' => self.push(Value::Sequence(Vec::new()))?,
                b']' | 0x8f => self.push(Value::Sequence(Vec::new()))?,
                b'}' => self.push(Value::Dict(Vec::new()))?,
                0x85 => self.pop_tuple(1)?,
                0x86 => self.pop_tuple(2)?,
                0x87 => self.pop_tuple(3)?,
                b't' | b'l' | 0x91 => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Sequence(items))?;
                }
                b'd' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Dict(Vec::new()))?;
                    self.set_items(&items)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_to_mark()?;
                    self.extend(items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }
                b'c' => {
                    let module = cursor.line()?;
                    let name = cursor.line()?;
                    self.push(Value::Global(format!("{module} {name}")))?;
                }
                0x93 => {
                    let name = self.pop()?;
                    let module = self.pop()?;
                    let part = |id: ValueId| match &self.values[id] {
                        Value::Text(text) => text.clone(),
                        _ => String::new(),
                    };
                    let global = format!("{} {}", part(module), part(name));
                    self.push(Value::Global(global))?;
                }
                b'R' | 0x81 => self.call()?,
                0x92 => {
                    self.pop()?;
                    self.call()?;
                }
                b'b' => self.build()?,
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Value::Persistent(id))?;
                }
                b'p' => {
                    let key =
                        cursor.line()?.parse().map_err(|_| damaged("a memo without number"))?;
                    self.remember(key)?;
                }
                b'q' => {
                    let key = cursor.byte()?;
                    self.remember(key.into())?;
                }
                b'r' => {
                    let key = cursor.length4()?;
                    self.remember(key)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'g' => {
                    let key =
                        cursor.line()?.parse().map_err(|_| damaged("a memo without number"))?;
                    self.recall(key)?;
                }
                b'h' => {
                    let key = cursor.byte()?;
                    self.recall(key.into())?;
                }
                b'j' => {
                    let key = cursor.length4()?;
                    self.recall(key)?;
                }
                other => {
                    return Err(damaged(format!(
                        "byte {:#04x} at {} is no pickle instruction",
                        other,
                        cursor.position - 1
                    )));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_to_anything_unknown_stays_a_description() {
        // cos\nsystem\n(S'touch x'\ntR.
        let pickle = read(&mut ByteReader::new(b"cos\nsystem\n(S'touch x'\ntR.")).unwrap();
        let Value::Call { callable, .. } = pickle.root() else { panic!("{:?}", pickle.root()) };
        assert_eq!(pickle.get(*callable), &Value::Global("os system".into()));
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let mut bytes = vec![b'N'];
        bytes.extend(std::iter::repeat_n(0x85, 1_000_000));
        bytes.push(b'.');
        assert!(read(&mut ByteReader::new(&bytes)).is_ok());
    }

    #[test]
    fn a_promised_length_beyond_the_file_takes_no_memory() {
        let bytes = [0x8e, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, b'.'];
        assert!(matches!(read(&mut ByteReader::new(&bytes)), Err(WeightsError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_hard(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&mut ByteReader::new(&bytes));
        }
    }
}
