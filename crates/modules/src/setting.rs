//! Short ways to write the table entries of settings, and to read what several modules write alike.

use bytes::Bytes;
use module_api::{Context, Parameter, SettingKind, Value};

/// An integer setting.
pub(crate) const fn number(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Int, default, doc }
}

/// A string setting.
pub(crate) const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Str, default, doc }
}

/// A setting that names a file.
pub(crate) const fn file(name: &'static str, default: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::File, default, doc }
}

/// A string setting that may be given several times.
pub(crate) const fn list(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::List, default: "", doc }
}

/// A setting that is accepted and has no effect.
pub(crate) const fn ignored(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: SettingKind::Ignored, default: "", doc }
}

/// The attribute that a setting such as `$avp(s:name)` names; none when the setting is empty.
///
/// # Errors
/// A phrase for the operator when it names anything else.
pub(crate) fn attribute(text: &str) -> Result<Option<Bytes>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let inner = text.strip_prefix("$avp(").and_then(|rest| rest.strip_suffix(')'));
    let name = inner.map(|inner| inner.strip_prefix("s:").unwrap_or(inner));
    match name.filter(|name| !name.is_empty() && !name.contains(['$', '('])) {
        Some(name) => Ok(Some(Bytes::copy_from_slice(name.as_bytes()))),
        None => Err(format!("`{text}` is not an attribute; write $avp(NAME)")),
    }
}

/// A variable of the script's that a module writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `$var(name)`.
    Variable(Bytes),
    /// `$avp(name)`; what was there is replaced.
    Attribute(Bytes),
}

impl Place {
    /// Writes `value` there.
    pub(crate) fn put(&self, context: &mut Context, value: Value) {
        match self {
            Place::Variable(name) => context.vars.replace(name.clone(), value),
            Place::Attribute(name) => context.avps.replace(name.clone(), value),
        }
    }
}

/// The variable that a setting such as `$var(name)` or `$avp(name)` names; none when the setting is empty.
///
/// # Errors
/// A phrase for the operator when it names anything else.
pub(crate) fn place(text: &str) -> Result<Option<Place>, String> {
    let inner = text.trim().strip_prefix("$var(").and_then(|rest| rest.strip_suffix(')'));
    match inner.filter(|name| !name.is_empty() && !name.contains(['$', '('])) {
        Some(name) => Ok(Some(Place::Variable(Bytes::copy_from_slice(name.as_bytes())))),
        None => match attribute(text) {
            Ok(name) => Ok(name.map(Place::Attribute)),
            Err(_) => Err(format!("`{}` is no variable to write to; write $var(NAME) or $avp(NAME)", text.trim())),
        },
    }
}

/// The pairs of a text such as `name=calls;size=8`, without the white space around them.
///
/// # Errors
/// The piece that is no pair.
pub(crate) fn pairs(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let pieces = text.split(';').map(str::trim).filter(|piece| !piece.is_empty());
    let pair = |piece: &str| format!("`{piece}` is not of the form NAME=VALUE");
    pieces
        .map(|piece| piece.split_once('=').ok_or_else(|| pair(piece)).map(|(key, value)| (key.trim(), value.trim())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_named_as_in_a_script() {
        assert_eq!(attribute("$avp(s:rcv)"), Ok(Some(Bytes::from_static(b"rcv"))));
        assert_eq!(attribute("$avp(rcv)"), Ok(Some(Bytes::from_static(b"rcv"))));
        assert_eq!(attribute(""), Ok(None));
        assert!(attribute("$var(x)").is_err());
        assert!(attribute("$avp($var(x))").is_err());
    }

    #[test]
    fn a_variable_to_write_to_is_named_as_in_a_script() {
        assert_eq!(place("$var(set)"), Ok(Some(Place::Variable(Bytes::from_static(b"set")))));
        assert_eq!(place("$avp(s:set)"), Ok(Some(Place::Attribute(Bytes::from_static(b"set")))));
        assert_eq!(place(""), Ok(None));
        assert!(place("$ru").is_err());
        assert!(place("$var($fU)").is_err());
    }

    #[test]
    fn pairs_are_split_at_semicolons() {
        assert_eq!(pairs("name=a; size = 8;"), Ok(vec![("name", "a"), ("size", "8")]));
        assert_eq!(pairs("name"), Err("`name` is not of the form NAME=VALUE".into()));
    }
}
