//! What a pickle holds once read.

/// Index of a value in a [`Pickle`].
pub type ValueId = usize;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// Booleans and integers.
    Int(i64),
    /// Floats.
    Float(f64),
    /// Strings and bytes (lossily, as names are all that is read).
    Text(String),
    /// Tuples, lists and sets.
    Sequence(Vec<ValueId>),
    /// Dictionaries, in order.
    Dict(Vec<(ValueId, ValueId)>),
    /// A named class or function.
    Global(String),
    /// A reference to a storage, or to whatever else was kept outside.
    Persistent(ValueId),
    /// The result of calling `callable` with `arguments`, not executed.
    Call {
        /// What would have been called.
        callable: ValueId,
        /// With which tuple.
        arguments: ValueId,
        /// Attributes set on it afterwards.
        state: Option<ValueId>,
    },
    /// Marks the start of a group on the stack.
    Mark,
}

/// All values of one pickle, and the last: its result.
#[derive(Debug)]
pub struct Pickle {
    pub(super) values: Vec<Value>,
    pub(super) root: ValueId,
}

impl Pickle {
    /// The result.
    pub fn root(&self) -> &Value {
        &self.values[self.root]
    }

    /// All values, in the order in which they were made.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// A value by index.
    pub fn get(&self, id: ValueId) -> &Value {
        &self.values[id]
    }

    /// The text of a value.
    pub fn text(&self, id: ValueId) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entry `key` of a dictionary.
    pub fn entry(&self, dict: &Value, key: &str) -> Option<&Value> {
        let Value::Dict(entries) = dict else { return None };
        let (_, value) = entries.iter().rev().find(|(name, _)| self.text(*name) == Some(key))?;
        Some(self.get(*value))
    }

    /// A number.
    pub fn number(&self, id: ValueId) -> Option<f64> {
        match self.get(id) {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// A tuple or list of non-negative integers.
    pub fn sizes(&self, id: ValueId) -> Option<Vec<usize>> {
        let Value::Sequence(items) = self.get(id) else { return None };
        items
            .iter()
            .map(|item| match self.get(*item) {
                Value::Int(value) => usize::try_from(*value).ok(),
                _ => None,
            })
            .collect()
    }
}
