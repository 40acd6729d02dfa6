//! What module jsonrpcs lets scripts do: call the server's commands, for themselves or for a client over HTTP.

use bytes::Bytes;
use module_api::{
    Call, Function, HttpAnswer, HttpRequest, KeyRule, Outcome, Param, ParamKind, Routes, Selector, Value, Variable,
};

use crate::doors::Doors;

pub(crate) const DISPATCH: Function = Function {
    name: "jsonrpc_dispatch",
    params: &[],
    routes: Routes::ANY,
    doc: "Answers the JSON-RPC document in the body of an HTTP request, within event_route[xhttp:request]. Whoever gets \
          there controls the server: let the script look at the address first. False when the message is no HTTP \
          request or has been answered.",
    example: "if ($hu =~ \"^/RPC\") jsonrpc_dispatch();",
    run: |call| {
        let is_open = call.context.note::<HttpRequest>().is_some_and(|request| !request.is_answered);
        if !is_open {
            return Outcome::fail("there is no HTTP request to answer");
        }
        let document = Bytes::copy_from_slice(call.context.message.body());
        if document.trim_ascii().is_empty() {
            return answer(call, 400, b"Bad Request", b"text/plain", b"a JSON-RPC document is wanted as body\n");
        }
        ask(call, document, |call, text| match text {
            Some(text) => answer(call, 200, b"OK", b"application/json", &text),
            // Nothing but notifications, which have no answer.
            None => answer(call, 204, b"No Content", b"", b""),
        })
    },
};

pub(crate) const EXEC: Function = Function {
    name: "jsonrpc_exec",
    params: &[Param::required("document", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Calls a command of the server as a JSON-RPC document; $jsonrpl(body) and $jsonrpl(code) show the answer. False \
          when the document asks for none, or is none.",
    example: "jsonrpc_exec('{\"jsonrpc\": \"2.0\", \"method\": \"core.uptime\", \"id\": 1}');",
    run: |call| {
        let document = call.text(0);
        call.context.take_note::<Answer>();
        ask(call, document, |call, text| {
            let Some(text) = text else { return Outcome::FALSE };
            let answer = Answer::new(text);
            let is_answer = answer.code != PARSE_ERROR;
            call.context.set_note(answer);
            is_answer.into()
        })
    },
};

pub(crate) const REPLY: Variable = Variable {
    name: "jsonrpl",
    key: KeyRule::Required,
    routes: Routes::ANY,
    doc: "What the last jsonrpc_exec() brought: $jsonrpl(body) is the document, $jsonrpl(code) 200 or the code of the \
          error, $jsonrpl(text) its message.",
    example: "if ($jsonrpl(code) == 200) xlog(\"$jsonrpl(body)\\n\");",
    read: |call, selector: &Selector<'_>| {
        let Some(answer) = call.context.note::<Answer>() else { return Value::Null };
        match selector.key() {
            b"body" => Value::Str(answer.body.clone()),
            b"code" => Value::Int(answer.code),
            b"text" => Value::Str(answer.text.clone()),
            _ => Value::Null,
        }
    },
    write: None,
};

/// What a script's own call has brought.
struct Answer {
    body: Bytes,
    code: i64,
    text: Bytes,
}

/// Of JSON-RPC 2.0, section 5.1.
const PARSE_ERROR: i64 = -32700;

impl Answer {
    fn new(body: Vec<u8>) -> Answer {
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let error = document.get("error");
        let code = error.map_or(Some(200), |error| error.get("code")?.as_i64()).unwrap_or(500);
        let text = error.and_then(|error| error.get("message")?.as_str()).unwrap_or("OK");
        Answer { code, text: Bytes::copy_from_slice(text.as_bytes()), body: body.into() }
    }
}

fn ask(
    call: &Call<'_>,
    document: Bytes,
    then: impl FnOnce(&mut Call<'_>, Option<Vec<u8>>) -> Outcome + Send + 'static,
) -> Outcome {
    let Some(commands) = call.host.json_rpc() else { return Outcome::fail("no server runs whose commands there were") };
    let answer = commands.answer(document, call.state::<Doors>().is_pretty);
    Outcome::wait(answer, then)
}

fn answer(call: &mut Call<'_>, code: u16, reason: &[u8], content_type: &[u8], body: &[u8]) -> Outcome {
    call.host.answer_http(call.context, &HttpAnswer { code, reason, content_type, body }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_answer_is_that_of_its_error() {
        let code = |text: &str| Answer::new(text.as_bytes().to_vec()).code;
        assert_eq!(code(r#"{"jsonrpc":"2.0","result":[1],"id":1}"#), 200);
        assert_eq!(code(r#"{"jsonrpc":"2.0","error":{"code":404,"message":"no"},"id":1}"#), 404);
        assert_eq!(code(r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"},"id":null}"#), PARSE_ERROR);
    }
}
