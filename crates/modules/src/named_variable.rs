//! Variables that a setting names, as in `modparam("acc", "log_extra", "caller=$fu")`.

use std::sync::Arc;

use bytes::Bytes;
use module_api::{Call, Index, KeyRule, Selector, Setup, State, Value, Variable};

/// A variable named by a setting, ready to be read for any request.
pub(crate) struct NamedVariable {
    variable: &'static Variable,
    key: Option<Bytes>,
    index: Index,
    state: Arc<dyn State>,
}

impl NamedVariable {
    /// Understands `$name`, `$name(key)` and `$(name(key)[index])`.
    ///
    /// # Errors
    /// In words: what it is not, or that no module loaded so far has it.
    pub(crate) fn parse(text: &str, setup: &Setup<'_>) -> Result<NamedVariable, String> {
        let bad = || format!("`{text}` is not a variable such as $fU, $avp(name) or $(hdr(Via)[0])");
        let text = text.trim();
        let inner = text.strip_prefix('$').ok_or_else(bad)?;
        let (inner, index) = match inner.strip_prefix('(') {
            Some(inner) => indexed(inner.strip_suffix(')').ok_or_else(bad)?).ok_or_else(bad)?,
            None => (inner, Index::Default),
        };
        let (name, key) = match inner.split_once('(') {
            Some((name, key)) => (name, Some(key.strip_suffix(')').ok_or_else(bad)?)),
            None => (inner, None),
        };
        if key.is_some_and(|key| key.contains('$')) || name.contains('{') || name.is_empty() {
            return Err(format!(
                "`{text}`: a setting takes a variable as it is, without others in it and without {{...}}"
            ));
        }
        let (variable, state) = find(name, setup)
            .ok_or_else(|| format!("`{text}`: no module that is loaded before this one has a variable ${name}"))?;
        match (variable.key, key) {
            (KeyRule::Required, None) => Err(format!("`{text}`: ${name} needs a name in parentheses behind it")),
            (KeyRule::None, Some(_)) => Err(format!("`{text}`: ${name} takes nothing in parentheses")),
            (_, key) => {
                let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
                Ok(NamedVariable { variable, key, index, state })
            }
        }
    }

    /// Its value for the request of `call`.
    pub(crate) fn read(&self, call: &mut Call<'_>) -> Value {
        let selector = Selector { key: self.key.as_ref(), index: self.index };
        let dialect = call.dialect();
        let mut own = Call::new(call.context, call.host, &[], &self.state, dialect);
        (self.variable.read)(&mut own, &selector)
    }
}

/// Splits `name(key)[index]`.
fn indexed(text: &str) -> Option<(&str, Index)> {
    let Some(rest) = text.strip_suffix(']') else { return Some((text, Index::Default)) };
    let (name, index) = rest.rsplit_once('[')?;
    Some((name, if index == "*" { Index::All } else { Index::At(index.parse().ok()?) }))
}

fn find(name: &str, setup: &Setup<'_>) -> Option<(&'static Variable, Arc<dyn State>)> {
    crate::catalog().iter().find_map(|module| {
        let variable = module.variables.iter().find(|variable| variable.name == name)?;
        Some((variable, setup.any_module(module.name)?))
    })
}

/// Pairs of a setting written `name=$variable;other=$variable`.
///
/// # Errors
/// In words: which of them cannot be understood.
pub(crate) fn pairs(text: &str, setup: &Setup<'_>) -> Result<Vec<(String, NamedVariable)>, String> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, variable) = part.split_once('=').ok_or_else(|| format!("`{part}` is not name=$variable"))?;
            Ok((name.trim().to_owned(), NamedVariable::parse(variable, setup)?))
        })
        .collect()
}
