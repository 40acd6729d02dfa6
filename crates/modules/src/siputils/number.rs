//! Questions about strings of digits.

use module_api::{Function, Param, ParamKind, Routes};

const TEXT: &[Param] = &[Param::required("text", ParamKind::Format)];

/// Most digits of a number (ITU-T E.164 section 6).
const MOST: usize = 15;

pub(super) const IS_E164: Function = Function {
    name: "is_e164",
    params: TEXT,
    routes: Routes::ANY,
    doc: "True for an E.164 number: a plus and 2 to 15 digits.",
    example: "if (is_e164(\"$fU\")) xlog(\"a number\\n\");",
    run: |call| is_e164(&call.text(0)).into(),
};

pub(super) const IS_TEL_NUMBER: Function = Function {
    name: "is_tel_number",
    params: TEXT,
    routes: Routes::ANY,
    doc: "True for digits, with or without a plus in front.",
    example: "if (is_tel_number(\"$rU\")) xlog(\"a number\\n\");",
    run: |call| {
        let text = call.text(0);
        all(text.strip_prefix(b"+").unwrap_or(&text), u8::is_ascii_digit).into()
    },
};

pub(super) const IS_NUMERIC: Function = Function {
    name: "is_numeric",
    params: TEXT,
    routes: Routes::ANY,
    doc: "True for digits alone.",
    example: "if (is_numeric(\"$rU\")) xlog(\"digits\\n\");",
    run: |call| all(&call.text(0), u8::is_ascii_digit).into(),
};

pub(super) const IS_ALPHANUM: Function = Function {
    name: "is_alphanum",
    params: TEXT,
    routes: Routes::ANY,
    doc: "True for ASCII letters and digits alone.",
    example: "if (is_alphanum(\"$rU\")) xlog(\"plain\\n\");",
    run: |call| all(&call.text(0), u8::is_ascii_alphanumeric).into(),
};

pub(super) const IS_ALPHANUMEX: Function = Function {
    name: "is_alphanumex",
    params: &[Param::required("text", ParamKind::Format), Param::required("more", ParamKind::Str)],
    routes: Routes::ANY,
    doc: "True for ASCII letters, digits, and the characters of the second argument.",
    example: "if (is_alphanumex(\"$rU\", \"._-\")) xlog(\"plain\\n\");",
    run: |call| {
        let more = call.text(1);
        all(&call.text(0), |byte| byte.is_ascii_alphanumeric() || more.contains(byte)).into()
    },
};

pub(crate) fn is_e164(text: &[u8]) -> bool {
    text.strip_prefix(b"+").is_some_and(|digits| {
        (2..=MOST).contains(&digits.len()) && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit)
    })
}

fn all(text: &[u8], is_good: impl Fn(&u8) -> bool) -> bool {
    !text.is_empty() && text.iter().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    #[test]
    fn strings_of_digits_are_told_apart() {
        let cases = [
            ("is_e164", "+493012345", 1),
            ("is_e164", "493012345", -1),
            ("is_e164", "+1234567890123456", -1),
            ("is_tel_number", "+49", 1),
            ("is_tel_number", "+", -1),
            ("is_numeric", "49", 1),
            ("is_numeric", "4a", -1),
            ("is_alphanum", "4a", 1),
            ("is_alphanum", "4-a", -1),
        ];
        for (function, text, code) in cases {
            assert_eq!(Bench::invite().run(&MODULE, function, &[text]), code, "{function} {text}");
        }
        assert_eq!(Bench::invite().run(&MODULE, "is_alphanumex", &["4-a", "-"]), 1);
    }
}
