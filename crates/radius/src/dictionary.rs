//! Dictionaries: names of attributes and of their values, in the format that radiusclient-ng and FreeRADIUS share.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::attribute::AttributeId;
use crate::error::ConfigError;

/// What the octets of an attribute mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A number of 32 bits.
    Integer,
    /// An IPv4 address.
    Address,
    /// An IPv6 address.
    Address6,
    /// Octets of any meaning.
    Octets,
}

/// Names of attributes and of their values. Names are alike in whatever case.
#[derive(Debug, Clone)]
pub struct Dictionary {
    attributes: HashMap<String, (AttributeId, Kind)>,
    values: HashMap<(String, String), u32>,
    vendors: HashMap<String, u32>,
}

/// How deep files may name others.
const DEEPEST: usize = 8;
/// How many names there may be: FreeRADIUS's own have a tenth of that.
const MOST_NAMES: usize = 100_000;

impl Dictionary {
    /// What is known without a file: the standard's attributes, and those of SER.
    #[must_use]
    pub fn builtin() -> Dictionary {
        let mut dictionary = Dictionary { attributes: HashMap::new(), values: HashMap::new(), vendors: HashMap::new() };
        dictionary.add(include_str!("builtin.txt"), Path::new("built in"), 0).expect("a test reads it");
        dictionary
    }

    /// Adds what a file says, and the files that it includes; what is said again replaces what was.
    ///
    /// # Errors
    /// When a file cannot be read, or a line not be understood.
    pub fn read(&mut self, path: &Path) -> Result<(), ConfigError> {
        self.read_at(path, 0)
    }

    /// An attribute by its name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<(AttributeId, Kind)> {
        self.attributes.get(&name.to_ascii_lowercase()).copied()
    }

    /// The number of a named value of an attribute, or a number itself.
    #[must_use]
    pub fn value(&self, attribute: &str, name: &str) -> Option<u32> {
        let key = (attribute.to_ascii_lowercase(), name.to_ascii_lowercase());
        self.values.get(&key).copied().or_else(|| name.parse().ok())
    }

    /// The octets of a value that is given as text; none when it is none of this kind.
    #[must_use]
    pub fn encode(&self, attribute: &str, text: &[u8]) -> Option<(AttributeId, Vec<u8>)> {
        let (id, kind) = self.attribute(attribute)?;
        let words = || std::str::from_utf8(text).ok().map(str::trim);
        let octets = match kind {
            Kind::Text | Kind::Octets => text.to_vec(),
            Kind::Integer => self.value(attribute, words()?)?.to_be_bytes().to_vec(),
            Kind::Address => words()?.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
            Kind::Address6 => words()?.trim_matches(['[', ']']).parse::<Ipv6Addr>().ok()?.octets().to_vec(),
        };
        Some((id, octets))
    }

    fn read_at(&mut self, path: &Path, depth: usize) -> Result<(), ConfigError> {
        let text = std::fs::read(path).map_err(|error| ConfigError::File { path: path.to_owned(), error })?;
        self.add(&String::from_utf8_lossy(&text), path, depth)
    }

    fn add(&mut self, text: &str, path: &Path, depth: usize) -> Result<(), ConfigError> {
        // BEGIN-VENDOR ... END-VENDOR: FreeRADIUS's way to say whose attributes follow.
        let mut open = None;
        for (n, line) in text.lines().enumerate() {
            let wrong = |cause: String| ConfigError::Line { path: path.to_owned(), line: n + 1, cause };
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [word, name] if word.eq_ignore_ascii_case("$INCLUDE") => {
                    if depth >= DEEPEST {
                        return Err(wrong("files include each other too deeply".into()));
                    }
                    self.read_at(&path.parent().unwrap_or(Path::new("")).join(name), depth + 1)?;
                }
                ["ATTRIBUTE", rest @ ..] => self.add_attribute(rest, open).map_err(wrong)?,
                ["VALUE", attribute, name, number, ..] => self.add_value(attribute, name, number).map_err(wrong)?,
                ["VENDOR", name, number, ..] => {
                    let number = integer(number).ok_or_else(|| wrong(format!("`{number}` is no number")))?;
                    self.vendors.insert(name.to_ascii_lowercase(), number);
                }
                ["BEGIN-VENDOR", name, ..] => open = Some(self.vendor(name).map_err(wrong)?),
                ["END-VENDOR", ..] => open = None,
                // What FreeRADIUS nests into attributes of other forms; their names are not needed to pass them over.
                ["BEGIN-TLV" | "END-TLV" | "STRUCT" | "MEMBER" | "FLAGS" | "PROTOCOL", ..] => {}
                [word, ..] => {
                    return Err(wrong(format!("`{word}` is none of ATTRIBUTE, VALUE, VENDOR and $INCLUDE")));
                }
            }
            if self.attributes.len() + self.values.len() > MOST_NAMES {
                return Err(wrong(format!("there are more than {MOST_NAMES} names")));
            }
        }
        Ok(())
    }

    fn add_attribute(&mut self, words: &[&str], open: Option<u32>) -> Result<(), String> {
        let [name, number, kind, rest @ ..] = words else {
            return Err("an attribute has a name, a number and a type".into());
        };
        let vendor = match rest.first() {
            // Options such as `has_tag` and `encrypt=1` stand where radiusclient-ng has the vendor.
            Some(word) if self.vendors.contains_key(&word.to_ascii_lowercase()) => Some(self.vendor(word)?),
            _ => open,
        };
        // 1063 and such are names for parts of Digest-Attributes, 26.1 is nested: neither travels by itself.
        let Some(number) = integer(number).and_then(|number| u8::try_from(number).ok()) else {
            let is_number = number.split('.').all(|part| integer(part).is_some());
            return if is_number { Ok(()) } else { Err(format!("`{number}` is no number")) };
        };
        let kind = match kind.split('[').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "string" | "text" => Kind::Text,
            "integer" | "uint32" | "date" | "time" | "time_delta" => Kind::Integer,
            "ipaddr" | "ipv4addr" => Kind::Address,
            "ipv6addr" => Kind::Address6,
            _ => Kind::Octets,
        };
        self.attributes.insert(name.to_ascii_lowercase(), (AttributeId { vendor, number }, kind));
        Ok(())
    }

    fn add_value(&mut self, attribute: &str, name: &str, number: &str) -> Result<(), String> {
        // Values of more than 32 bits are of attributes that are none here.
        if let Some(number) = integer(number) {
            self.values.insert((attribute.to_ascii_lowercase(), name.to_ascii_lowercase()), number);
        }
        Ok(())
    }

    fn vendor(&self, name: &str) -> Result<u32, String> {
        self.vendors.get(&name.to_ascii_lowercase()).copied().ok_or_else(|| format!("no VENDOR `{name}` stands before"))
    }
}

fn integer(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(text: &str) -> Result<Dictionary, String> {
        let mut dictionary = Dictionary::builtin();
        dictionary.add(text, Path::new("test"), 0).map_err(|error| error.to_string())?;
        Ok(dictionary)
    }

    #[test]
    fn attributes_of_the_standard_of_ser_and_of_vendors_have_names() {
        let dictionary = add("# SER\nATTRIBUTE Sip-Call-ID 110 string # more\nATTRIBUTE Digest-Realm 1063 string\n\
             VENDOR iptel 29631\nATTRIBUTE iptel-uid 7 string iptel\nVENDOR Other 77 format=1,1\nBEGIN-VENDOR Other\n\
             ATTRIBUTE Other-One 1 integer has_tag\nVALUE Other-One Much 0x10\nEND-VENDOR Other\n\
             ATTRIBUTE Plain 9 octets encrypt=1\n")
        .expect("it is a dictionary");
        for (name, vendor, number, kind) in [
            ("user-name", None, 1, Kind::Text),
            ("SIP-AVP", None, 225, Kind::Text),
            ("Sip-Call-ID", None, 110, Kind::Text),
            ("iptel-uid", Some(29631), 7, Kind::Text),
            ("Other-One", Some(77), 1, Kind::Integer),
            ("Plain", None, 9, Kind::Octets),
            ("Cisco-AVPair", Some(9), 1, Kind::Text),
        ] {
            assert_eq!(dictionary.attribute(name), Some((AttributeId { vendor, number }, kind)), "{name}");
        }
        assert_eq!(dictionary.attribute("Digest-Realm"), None);
        assert_eq!(dictionary.value("other-one", "much"), Some(16));
        assert_eq!(dictionary.value("Service-Type", "Sip-Session"), Some(15));
        assert_eq!(dictionary.value("Service-Type", "99"), Some(99));
        assert_eq!(dictionary.value("Service-Type", "Nonsense"), None);
    }

    #[test]
    fn a_value_is_written_as_its_attribute_has_it() {
        let dictionary = Dictionary::builtin();
        let octets = |name, text: &str| dictionary.encode(name, text.as_bytes()).map(|(_, octets)| octets);
        assert_eq!(octets("User-Name", "al\u{e9}"), Some("al\u{e9}".into()));
        assert_eq!(octets("NAS-IP-Address", "192.0.2.1"), Some(vec![192, 0, 2, 1]));
        assert_eq!(octets("NAS-IPv6-Address", "[::1]").map(|octets| octets.len()), Some(16));
        assert_eq!(octets("Acct-Status-Type", "Interim-Update"), Some(vec![0, 0, 0, 3]));
        assert_eq!(octets("NAS-Port", "five"), None);
        assert_eq!(octets("NAS-IP-Address", "host"), None);
        assert_eq!(octets("Nothing", "x"), None);
    }

    #[test]
    fn a_line_that_says_nothing_known_is_pointed_out() {
        for (text, cause) in [
            ("ATTRIBUT X 1 string", "test:1: `ATTRIBUT` is none of ATTRIBUTE, VALUE, VENDOR and $INCLUDE"),
            ("\nATTRIBUTE X one string", "test:2: `one` is no number"),
            ("ATTRIBUTE X", "test:1: an attribute has a name, a number and a type"),
            ("BEGIN-VENDOR Nobody", "test:1: no VENDOR `Nobody` stands before"),
        ] {
            assert_eq!(add(text).err().as_deref(), Some(cause));
        }
    }

    #[test]
    fn files_that_include_each_other_end() {
        let path = std::env::temp_dir().join(format!("radius-dictionary-{}", std::process::id()));
        std::fs::write(&path, format!("$INCLUDE {}\n", path.display())).expect("it can be written");
        let outcome = Dictionary::builtin().read(&path).map_err(|error| error.to_string());
        std::fs::remove_file(&path).expect("it was written");
        assert!(outcome.is_err_and(|cause| cause.ends_with("files include each other too deeply")));
    }
}
