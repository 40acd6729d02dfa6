//! Names that stand for text.

use std::collections::HashMap;

use crate::source::Span;

/// The definitions in force at one line of the script.
#[derive(Debug, Default)]
pub(super) struct Defines(HashMap<String, Define>);

#[derive(Debug, Clone)]
pub(super) struct Define {
    pub(super) value: String,
    /// Where it was made; none on the command line and for predefined names.
    pub(super) span: Option<Span>,
}

impl Defines {
    pub(super) fn predefined(given: &[(String, Option<String>)]) -> Defines {
        let mut all = Defines::default();
        for (name, value) in PREDEFINED {
            all.set(name, (*value).to_owned(), None);
        }
        for (name, value) in given {
            all.set(name, value.clone().unwrap_or_default(), None);
        }
        all
    }

    pub(super) fn find(&self, name: &str) -> Option<&Define> {
        self.0.get(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn set(&mut self, name: &str, value: String, span: Option<Span>) {
        self.0.insert(name.to_owned(), Define { value, span });
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Every name with its text.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, define)| (name.clone(), define.value.clone())).collect()
    }

    /// Names that a line of the script defines, with the place.
    pub(super) fn of_script(&self) -> impl Iterator<Item = (&str, Span)> {
        self.0.iter().filter_map(|(name, define)| Some((name.as_str(), define.span?)))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// What scripts test for to tell versions of Kamailio apart. The language here is that of version 5.8.
const PREDEFINED: &[(&str, &str)] = &[
    ("KAMAILIO_5", ""),
    ("KAMAILIO_5_8", ""),
    ("KAMAILIO_5_8_0", ""),
    ("KAMAILIO_VERSION", "5008000"),
    ("OS_NAME", "\"linux\""),
];
