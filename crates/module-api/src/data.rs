//! What commands take and return: a value with a structure, which every front end renders in its own way.

use std::borrow::Cow;

/// A value with a structure.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Data {
    /// Nothing: a command that has only to say that it is done.
    #[default]
    Null,
    /// An integer.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text. What came from messages has been made UTF-8.
    Str(String),
    /// Values in order.
    List(Vec<Data>),
    /// Named values in order. Names need not differ, since some of Kamailio's results repeat them.
    Struct(Vec<(Cow<'static, str>, Data)>),
}

impl Data {
    /// Named values in order.
    pub fn of<const N: usize>(fields: [(&'static str, Data); N]) -> Data {
        Data::Struct(fields.into_iter().map(|(name, data)| (Cow::Borrowed(name), data)).collect())
    }

    /// Text from a message, whatever its bytes.
    pub fn text(bytes: &[u8]) -> Data {
        Data::Str(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The value called `name` of a struct.
    pub fn field(&self, name: &str) -> Option<&Data> {
        match self {
            Data::Struct(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, data)| data),
            _ => None,
        }
    }

    /// On one line: what stands alone as itself, lists in `[]`, structs in `{}`.
    pub fn to_text(&self) -> String {
        match self {
            Data::Null => String::new(),
            Data::Int(number) => number.to_string(),
            Data::Float(number) => number.to_string(),
            Data::Str(text) => text.clone(),
            Data::List(items) => format!("[{}]", items.iter().map(Data::to_text).collect::<Vec<_>>().join(", ")),
            Data::Struct(fields) => {
                let fields = fields.iter().map(|(name, data)| format!("{name}: {}", data.to_text()));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Data {
        Data::Str(text.to_owned())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Data {
        Data::Str(text)
    }
}

impl From<i64> for Data {
    fn from(number: i64) -> Data {
        Data::Int(number)
    }
}

impl From<i32> for Data {
    fn from(number: i32) -> Data {
        Data::Int(number.into())
    }
}

impl From<u64> for Data {
    fn from(number: u64) -> Data {
        Data::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Data {
    fn from(number: u32) -> Data {
        Data::Int(number.into())
    }
}

impl From<usize> for Data {
    fn from(number: usize) -> Data {
        Data::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Data {
    fn from(number: f64) -> Data {
        Data::Float(number)
    }
}

impl<T: Into<Data>> FromIterator<T> for Data {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Data {
        Data::List(items.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_is_shown_on_one_line() {
        let data = Data::of([("Domain", "location".into()), ("Sizes", [1_i64, 2].into_iter().collect())]);
        assert_eq!(data.to_text(), "{Domain: location, Sizes: [1, 2]}");
        assert_eq!(data.field("Domain"), Some(&"location".into()));
        assert_eq!(data.field("domain"), None);
    }
}
