//! How arguments of this module name attributes.

use bytes::Bytes;
use module_api::{Attributes, Value};

/// An argument such as `$avp(x)/g`: attributes, and flags behind the last slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) which: Which,
    pub(super) flags: Flags,
}

/// Which attributes are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// The one of that name.
    One(Bytes),
    /// All whose name is a number (`i`).
    Numbers,
    /// All whose name is a text (`s`).
    Texts,
    /// All.
    All,
}

/// Letters behind a slash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags(u32);

impl Flags {
    pub(super) fn parse(text: &str) -> Option<Flags> {
        let mut flags = 0;
        for letter in text.bytes() {
            let letter = letter.to_ascii_lowercase();
            if !letter.is_ascii_lowercase() {
                return None;
            }
            flags |= 1 << (letter - b'a');
        }
        Some(Flags(flags))
    }

    pub(super) fn has(self, letter: u8) -> bool {
        self.0 & 1 << (letter - b'a') != 0
    }
}

impl Which {
    /// Reads `$avp(NAME)`, `s:NAME`, `i:NUMBER`, or a letter for all names of a kind.
    pub(super) fn parse(text: &str) -> Option<Which> {
        let text = text.trim();
        let inner = text.strip_prefix("$avp(").map_or(Some(text), |rest| rest.strip_suffix(')'));
        let is_variable = text.starts_with('$');
        // Older scripts give a letter the number of flags, which nobody has here.
        let letter = inner?.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
        match letter {
            "i" | "I" if !is_variable && inner?.len() < 5 && !inner?.starts_with("i:") => return Some(Which::Numbers),
            "s" | "S" if !is_variable && !inner?.starts_with("s:") => return Some(Which::Texts),
            "a" | "A" | "" if !is_variable => return Some(Which::All),
            _ => {}
        }
        match inner? {
            "i:" | "I:" => Some(Which::Numbers),
            "s:" | "S:" => Some(Which::Texts),
            name => {
                let name = name.strip_prefix("s:").unwrap_or(name);
                let is_name = !name.is_empty() && !name.contains(['$', '(', ')', '/', '=']);
                is_name.then(|| Which::One(Bytes::copy_from_slice(name.as_bytes())))
            }
        }
    }

    pub(super) fn fits(&self, name: &[u8]) -> bool {
        let is_number = name.starts_with(b"i:");
        match self {
            Which::One(own) => own == name,
            Which::Numbers => is_number,
            Which::Texts => !is_number,
            Which::All => true,
        }
    }

    /// Names and values, newest first.
    pub(super) fn of<'a>(&'a self, avps: &'a Attributes) -> impl Iterator<Item = (&'a Bytes, &'a Value)> {
        avps.iter().filter(|(name, _)| self.fits(name))
    }

    pub(super) fn one(self) -> Option<Bytes> {
        match self {
            Which::One(name) => Some(name),
            _ => None,
        }
    }
}

impl Named {
    /// Reads attributes with flags behind a slash.
    ///
    /// # Errors
    /// A phrase for the log.
    pub(super) fn parse(text: &str) -> Result<Named, String> {
        let (which, flags) = text.split_once('/').unwrap_or((text, ""));
        let which = Which::parse(which).ok_or_else(|| no_attribute(text))?;
        let flags = Flags::parse(flags).ok_or_else(|| format!("`{flags}` are no flags"))?;
        Ok(Named { which, flags })
    }
}

pub(super) fn no_attribute(text: &str) -> String {
    format!("`{text}` names no attribute; write $avp(NAME)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str) -> Which {
        Which::One(Bytes::copy_from_slice(name.as_bytes()))
    }

    #[test]
    fn attributes_are_named_as_in_any_age() {
        for (text, which, flags) in [
            ("$avp(x)", one("x"), ""),
            ("$avp(s:x)/g", one("x"), "g"),
            ("$avp(i:11)/gd", one("i:11"), "gd"),
            ("s:x", one("x"), ""),
            ("i:678", one("i:678"), ""),
            ("i", Which::Numbers, ""),
            ("s", Which::Texts, ""),
            ("a", Which::All, ""),
            ("", Which::All, ""),
        ] {
            let flags = Flags::parse(flags).expect("letters");
            assert_eq!(Named::parse(text), Ok(Named { which, flags }), "{text}");
        }
        for text in ["$avp($var(x))", "$avp(x", "$avp(x)/9"] {
            assert!(Named::parse(text).is_err(), "{text}");
        }
    }
}
