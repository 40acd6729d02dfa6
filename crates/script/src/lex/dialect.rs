//! Which family a script belongs to, told from its tokens.

use module_api::Dialect;

use super::token::{Kind, Token};

/// What a script says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// `#!KAMAILIO` or `#!OPENSER`.
    Kamailio,
    /// `#!SER`: Kamailio's grammar with the attributes of SER 2.
    Ser,
    /// `#!MAXCOMPAT` or `#!ALL`.
    MaxCompat,
}

/// The family of a script. A marker decides; else what only one of the two families can say does.
///
/// `break` at the level of a route and `if (c) a() else b();` are SER of 2003 to 2005, as is a FIFO.
/// Variables, `exit`, `return`, loops and named routes came with OpenSER.
pub(crate) fn detect(tokens: &[Token], marker: Option<Marker>, uses_directives: bool) -> Dialect {
    if marker.is_some() || uses_directives {
        return Dialect::Kamailio;
    }
    let is_kamailio = (0..tokens.len()).any(|at| only_kamailio(tokens, at));
    let is_ser = (0..tokens.len()).any(|at| only_ser(tokens, at)) || breaks_at_route_level(tokens);
    if is_ser && !is_kamailio { Dialect::Ser } else { Dialect::Kamailio }
}

fn only_kamailio(tokens: &[Token], at: usize) -> bool {
    let token = &tokens[at];
    let next = tokens.get(at + 1);
    match token.kind {
        Kind::Variable | Kind::Select => true,
        Kind::Word => match token.text.as_str() {
            "exit" | "return" | "while" | "switch" | "request_route" | "branch_route" | "onsend_route"
            | "event_route" => true,
            "route" | "failure_route" | "onreply_route" => {
                next.is_some_and(|next| next.is("[")) && tokens.get(at + 2).is_some_and(|name| name.kind == Kind::Word)
            }
            _ => false,
        },
        _ => false,
    }
}

fn only_ser(tokens: &[Token], at: usize) -> bool {
    let token = &tokens[at];
    let is_assigned = tokens.get(at + 1).is_some_and(|next| next.is("="));
    match token.text.as_str() {
        _ if token.kind != Kind::Word => false,
        "fifo" | "fifo_mode" | "fifo_dir" | "syn_branch" | "loop_checks" => is_assigned,
        // Only SER allows a statement before `else` to stand without its semicolon.
        "else" => at > 0 && !tokens[at - 1].is("}") && !tokens[at - 1].is(";"),
        _ => false,
    }
}

/// Whether a `break` stands where no loop, switch or free-standing block would take it.
fn breaks_at_route_level(tokens: &[Token]) -> bool {
    let mut blocks: Vec<bool> = Vec::new();
    let mut opens_loop = false;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_word("while") || token.is_word("switch") {
            opens_loop = true;
        } else if token.is("{") {
            let is_free = at > 0 && (tokens[at - 1].is(";") || tokens[at - 1].is("{"));
            blocks.push(std::mem::take(&mut opens_loop) || is_free);
        } else if token.is("}") {
            blocks.pop();
        } else if token.is_word("break") && !blocks.is_empty() && !blocks.iter().any(|catches| *catches) {
            return true;
        }
    }
    false
}
