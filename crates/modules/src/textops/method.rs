//! The method as a question.

use module_api::{Function, Param, ParamKind, Routes};

pub(super) const IS_METHOD: Function = Function {
    name: "is_method",
    params: &[Param::required("methods", ParamKind::Methods)],
    routes: Routes::ANY,
    doc: "True when the method (of a reply, that of its CSeq) is one of those given, joined by |.",
    example: "if (is_method(\"INVITE|SUBSCRIBE\")) record_route();",
    run: |call| {
        let wanted = call.text(0);
        let method = call.context.message.method_text();
        // Methods are case-sensitive in SIP; scripts of both families are not so strict.
        wanted.split(|byte| *byte == b'|').any(|one| one.trim_ascii().eq_ignore_ascii_case(method)).into()
    },
};

#[cfg(test)]
mod tests {
    use super::super::MODULE;
    use crate::testing::Bench;

    #[test]
    fn one_of_several_methods_matches() {
        assert_eq!(Bench::invite().run(&MODULE, "is_method", &["INVITE"]), 1);
        assert_eq!(Bench::invite().run(&MODULE, "is_method", &["ACK|INVITE"]), 1);
        assert_eq!(Bench::invite().run(&MODULE, "is_method", &["INV"]), -1);
        assert_eq!(Bench::reply("200 OK").run(&MODULE, "is_method", &["INVITE"]), 1);
    }
}
