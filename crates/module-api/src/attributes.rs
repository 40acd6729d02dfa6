//! Attribute stacks: the values of `$avp(name)` and its kin.

use bytes::Bytes;

use crate::Value;

/// Named stacks of values that follow a transaction.
///
/// A list and not a table: scripts keep a handful of names, and a scan of a few entries beats hashing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(Vec<(Bytes, Value)>);

impl Attributes {
    /// How many values one request may hold; pushing beyond it fails.
    pub const LIMIT: usize = 1024;

    /// The newest value of `name`.
    pub fn first(&self, name: &[u8]) -> Option<&Value> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The values of `name`, newest first.
    pub fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a Value> {
        self.0.iter().rev().filter(move |(key, _)| key == name).map(|(_, value)| value)
    }

    /// Pushes a value on the stack of `name`. False when the bound is reached.
    pub fn push(&mut self, name: Bytes, value: Value) -> bool {
        let has_room = self.0.len() < Self::LIMIT;
        if has_room {
            self.0.push((name, value));
        }
        has_room
    }

    /// Replaces the whole stack of `name` by one value.
    pub fn replace(&mut self, name: Bytes, value: Value) {
        self.remove(&name);
        self.0.push((name, value));
    }

    /// Overwrites the `n`-th newest value of `name`; false when there is none.
    pub fn set_at(&mut self, name: &[u8], n: usize, value: Value) -> bool {
        let entry = self.0.iter_mut().rev().filter(|(key, _)| key == name).nth(n);
        entry.map(|(_, old)| *old = value).is_some()
    }

    /// Removes the newest value of `name`.
    pub fn pop(&mut self, name: &[u8]) -> Option<Value> {
        let at = self.0.iter().rposition(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Removes every value of `name`.
    pub fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(key, _)| key != name);
    }

    /// Every name with its value, newest first.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Value)> {
        self.0.iter().rev().map(|(name, value)| (name, value))
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignment_pushes_and_the_newest_value_is_read_first() {
        let mut stacks = Attributes::default();
        stacks.push(Bytes::from_static(b"a"), Value::Int(1));
        stacks.push(Bytes::from_static(b"b"), Value::Int(9));
        stacks.push(Bytes::from_static(b"a"), Value::Int(2));
        assert_eq!(stacks.first(b"a"), Some(&Value::Int(2)));
        assert_eq!(stacks.all(b"a").cloned().collect::<Vec<_>>(), [Value::Int(2), Value::Int(1)]);
        assert_eq!(stacks.pop(b"a"), Some(Value::Int(2)));
        stacks.replace(Bytes::from_static(b"a"), Value::Int(5));
        assert_eq!(stacks.all(b"a").count(), 1);
        stacks.remove(b"a");
        assert_eq!(stacks.first(b"a"), None);
        assert_eq!(stacks.first(b"b"), Some(&Value::Int(9)));
    }

    #[test]
    fn a_loop_that_pushes_for_ever_meets_the_bound() {
        let mut stacks = Attributes::default();
        let pushed = (0..5000).filter(|n| stacks.push(Bytes::from_static(b"a"), Value::Int(*n))).count();
        assert_eq!(pushed, 1024);
    }
}
