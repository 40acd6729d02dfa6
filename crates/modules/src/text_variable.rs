//! Variables that text names when the request is there: cells of tables, arguments such as `$var(in)/$var(out)`.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use module_api::{Call, Fault, Index, Selector, State, Value, Variable};

/// A variable known by its text and not by the checker.
#[derive(Clone)]
pub(crate) struct TextVariable {
    variable: &'static Variable,
    key: Option<Bytes>,
}

/// Those that need nothing but the message and what the script has kept for it.
const NAMES: [&str; 26] = [
    "var", "avp", "xavp", "hdr", "ru", "rU", "rd", "rp", "du", "ou", "oU", "od", "fu", "fU", "fd", "fn", "ft", "tu",
    "tU", "td", "tt", "ci", "rm", "si", "sp", "ua",
];

/// Those variables have no state of their own.
static NO_STATE: LazyLock<Arc<dyn State>> = LazyLock::new(|| Arc::new(()));

impl TextVariable {
    /// Reads `$name` or `$name(key)`.
    ///
    /// # Errors
    /// A phrase for the operator.
    pub(crate) fn parse(text: &str) -> Result<TextVariable, String> {
        match TextVariable::at_start(text.trim()) {
            Some((variable, "")) => Ok(variable),
            _ => Err(format!("`{text}` is no variable that can stand here, such as $avp(NAME), $var(NAME) or $rU")),
        }
    }

    /// The variable at the start of `text`, and what follows it.
    fn at_start(text: &str) -> Option<(TextVariable, &str)> {
        let rest = text.strip_prefix('$')?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let name = NAMES.iter().find(|known| **known == name)?;
        let variable = crate::pv::MODULE.variables.iter().find(|variable| variable.name == *name)?;
        match after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            Some((key, after)) if !key.contains('$') => {
                let key = Some(Bytes::copy_from_slice(key.as_bytes()));
                Some((TextVariable { variable, key }, after))
            }
            Some(_) => None,
            None => Some((TextVariable { variable, key: None }, after)),
        }
    }

    /// Its value for this request.
    pub(crate) fn read(&self, call: &mut Call<'_>) -> Value {
        let dialect = call.dialect();
        let mut inner = Call::new(call.context, call.host, &[], &NO_STATE, dialect);
        (self.variable.read)(&mut inner, &Selector { key: self.key.as_ref(), index: Index::Default })
    }

    /// Whether it can be written.
    pub(crate) fn is_writable(&self) -> bool {
        self.variable.write.is_some()
    }

    /// Whether what is written joins what is there.
    pub(crate) fn is_stack(&self) -> bool {
        self.variable.name == "avp"
    }

    /// Writes it for this request.
    ///
    /// # Errors
    /// The variable's own, and that it is read-only.
    pub(crate) fn write(&self, call: &mut Call<'_>, value: Value) -> Result<(), Fault> {
        let Some(write) = self.variable.write else {
            return Err(Fault { code: -1, cause: format!("${} is read-only", self.variable.name).into() });
        };
        let dialect = call.dialect();
        let mut inner = Call::new(call.context, call.host, &[], &NO_STATE, dialect);
        write(&mut inner, &Selector { key: self.key.as_ref(), index: Index::Default }, value)
    }
}

/// Text with variables in it.
pub(crate) struct Template(Vec<Piece>);

enum Piece {
    Text(Bytes),
    Variable(TextVariable),
}

impl Template {
    /// Reads text in which `$name` and `$name(key)` are variables and `$$` is a dollar sign.
    ///
    /// # Errors
    /// A phrase for the operator.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$$") {
                plain.push('$');
                rest = after;
                continue;
            }
            let Some((variable, after)) = TextVariable::at_start(rest) else {
                return Err(format!("`{rest}` does not begin with a variable that can stand here"));
            };
            pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            pieces.push(Piece::Variable(variable));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain.into()));
        Ok(Template(pieces))
    }

    /// The text for this request.
    pub(crate) fn fill(&self, call: &mut Call<'_>) -> Bytes {
        if let [Piece::Text(text)] = &self.0[..] {
            return text.clone();
        }
        let mut out = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Variable(variable) => out.extend_from_slice(&variable.read(call).to_bytes()),
            }
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, text};

    fn with_call<T>(bench: &mut Bench, act: impl FnOnce(&mut Call<'_>) -> T) -> T {
        act(&mut Call::new(&mut bench.context, &mut bench.host, &[], &bench.state, bench.dialect))
    }

    #[test]
    fn variables_are_read_and_written_by_their_text() {
        let mut bench = Bench::invite();
        let uri = TextVariable::parse("$rU").unwrap();
        assert_eq!(with_call(&mut bench, |call| uri.read(call)), text("bob"));
        with_call(&mut bench, |call| uri.write(call, text("carol"))).unwrap();
        assert_eq!(bench.uri(), "sip:carol@example.com");
        let own = TextVariable::parse("$avp(s:x)").unwrap();
        with_call(&mut bench, |call| own.write(call, Value::Int(7))).unwrap();
        assert_eq!(bench.context.avps.first(b"x"), Some(&Value::Int(7)));
        assert!(!TextVariable::parse("$ci").unwrap().is_writable());
        for wrong in ["x", "$shv(x)", "$avp($var(x))", "$rU x", "$"] {
            assert!(TextVariable::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_name_is_a_variable_of_pv() {
        for name in NAMES {
            assert!(crate::pv::MODULE.variables.iter().any(|variable| variable.name == name), "{name}");
        }
    }

    #[test]
    fn text_is_filled_with_variables() {
        let mut bench = Bench::invite();
        let template = Template::parse("s:$fU@$hdr(Subject)$$").unwrap();
        assert_eq!(with_call(&mut bench, |call| template.fill(call)), "s:alice@lunch$");
        assert!(Template::parse("a $nope b").is_err());
    }
}
