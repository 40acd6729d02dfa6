//! Structured attributes: the values of `$xavp(name=>field)` and its two kin.

use bytes::Bytes;

use crate::{Attributes, Value};

/// Which of the three families of structured attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// `$xavp`: stacks of records, each with stacks of fields.
    Stacked,
    /// `$xavu`: one value for each name.
    Unique,
    /// `$xavi`: as `$xavp`, with names in which case does not count.
    Folded,
}

/// One structured attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its name.
    pub name: Bytes,
    /// What it holds.
    pub content: Content,
}

/// What a [`Record`] holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A plain value: `$xavp(name) = value`.
    Plain(Value),
    /// Fields, oldest first; the newest of a name is read first.
    Fields(Attributes),
}

/// The records of one request, by family. Empty, and without memory of its own, until a script makes one.
#[derive(Debug, Clone, Default)]
pub struct Records(Option<Box<[Vec<Record>; 3]>>);

impl Records {
    /// How many records of one family a request may hold; adding beyond it fails.
    pub const LIMIT: usize = 1024;

    /// The records called `name`, newest first.
    pub fn all<'a>(&'a self, kind: RecordKind, name: &'a [u8]) -> impl Iterator<Item = &'a Record> {
        self.iter(kind).filter(move |record| is_called(kind, &record.name, name))
    }

    /// As [`Records::all`], to be changed.
    pub fn all_mut<'a>(&'a mut self, kind: RecordKind, name: &'a [u8]) -> impl Iterator<Item = &'a mut Record> {
        let records = self.0.as_mut().map_or(&mut [][..], |all| &mut all[kind as usize]);
        records.iter_mut().rev().filter(move |record| is_called(kind, &record.name, name))
    }

    /// Adds a record as the newest; false when there are too many.
    pub fn push(&mut self, kind: RecordKind, record: Record) -> bool {
        let records = &mut self.0.get_or_insert_default()[kind as usize];
        let has_room = records.len() < Self::LIMIT;
        if has_room {
            records.push(record);
        }
        has_room
    }

    /// Removes every record called `name`; how many there were.
    pub fn remove(&mut self, kind: RecordKind, name: &[u8]) -> usize {
        let Some(all) = self.0.as_mut() else { return 0 };
        let records = &mut all[kind as usize];
        let before = records.len();
        records.retain(|record| !is_called(kind, &record.name, name));
        before - records.len()
    }

    /// Removes the `n`-th newest record called `name`.
    pub fn remove_at(&mut self, kind: RecordKind, name: &[u8], n: usize) -> Option<Record> {
        let records = &mut self.0.as_mut()?[kind as usize];
        let mut places = (0..records.len()).rev().filter(|at| is_called(kind, &records[*at].name, name));
        let at = places.nth(n)?;
        Some(records.remove(at))
    }

    /// Every record of a family, newest first.
    pub fn iter(&self, kind: RecordKind) -> impl Iterator<Item = &Record> {
        self.0.iter().flat_map(move |all| all[kind as usize].iter().rev())
    }
}

impl Record {
    /// A record that is a plain value.
    pub fn plain(name: Bytes, value: Value) -> Record {
        Record { name, content: Content::Plain(value) }
    }

    /// A record with no fields yet.
    pub fn empty(name: Bytes) -> Record {
        Record { name, content: Content::Fields(Attributes::default()) }
    }

    /// Its fields, where it has any.
    pub fn fields(&self) -> Option<&Attributes> {
        match &self.content {
            Content::Fields(fields) => Some(fields),
            Content::Plain(_) => None,
        }
    }

    /// Its fields; a plain value is given up for them.
    pub fn fields_mut(&mut self) -> &mut Attributes {
        if let Content::Plain(_) = self.content {
            self.content = Content::Fields(Attributes::default());
        }
        match &mut self.content {
            Content::Fields(fields) => fields,
            Content::Plain(_) => unreachable!("just turned into fields"),
        }
    }

    /// The newest value of a field.
    pub fn field(&self, name: &[u8]) -> Option<&Value> {
        self.fields()?.first(name)
    }
}

fn is_called(kind: RecordKind, name: &[u8], wanted: &[u8]) -> bool {
    match kind {
        RecordKind::Folded => name.eq_ignore_ascii_case(wanted),
        RecordKind::Stacked | RecordKind::Unique => name == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &'static str, field: &'static str, value: i64) -> Record {
        let mut record = Record::empty(Bytes::from_static(name.as_bytes()));
        record.fields_mut().push(Bytes::from_static(field.as_bytes()), Value::Int(value));
        record
    }

    #[test]
    fn the_newest_record_comes_first_and_each_has_fields_of_its_own() {
        let mut records = Records::default();
        records.push(RecordKind::Stacked, record("a", "x", 1));
        records.push(RecordKind::Stacked, record("a", "y", 2));
        let found: Vec<_> = records.all(RecordKind::Stacked, b"a").map(|record| record.field(b"x").cloned()).collect();
        assert_eq!(found, [None, Some(Value::Int(1))]);
        assert!(records.remove_at(RecordKind::Stacked, b"a", 0).is_some());
        assert_eq!(records.remove(RecordKind::Stacked, b"a"), 1);
    }

    #[test]
    fn case_counts_except_in_the_family_where_it_does_not() {
        let mut records = Records::default();
        records.push(RecordKind::Folded, record("Route", "x", 1));
        records.push(RecordKind::Stacked, record("Route", "x", 1));
        assert_eq!(records.all(RecordKind::Folded, b"ROUTE").count(), 1);
        assert_eq!(records.all(RecordKind::Stacked, b"ROUTE").count(), 0);
    }

    #[test]
    fn a_loop_that_adds_records_meets_the_bound() {
        let mut records = Records::default();
        let added = (0..5000).filter(|n| records.push(RecordKind::Unique, record("a", "x", *n))).count();
        assert_eq!(added, 1024);
    }
}
