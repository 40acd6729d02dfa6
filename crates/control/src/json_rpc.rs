//! JSON-RPC 2.0: a document in, a document out. How it travels is the business of the front ends.
//!
//! Error codes are those of the specification (section 5.1); what a command itself refuses has the command's code,
//! as with Kamailio: `{"code": 404, "message": "AOR not found"}`.

use module_api::{ArgumentKind, Command, CommandError, Data};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::Commands;
use crate::json::{Json, of_json, to_text};

/// How many requests one batch may hold.
const BATCH: usize = 100;
/// How long the answers to a batch may be together. The one that passes it is still given.
const BATCH_BYTES: usize = 4 << 20;

/// The answer to a document; none when it holds nothing but notifications.
pub async fn answer(commands: &Commands, document: &[u8], is_pretty: bool) -> Option<Vec<u8>> {
    match serde_json::from_slice(document) {
        Ok(value) => answer_value(commands, &value, is_pretty).await,
        Err(error) => Some(refusal(-32700, &format!("Parse error: {error}"))),
    }
}

/// As [`answer`], for a document that has been read.
pub async fn answer_value(commands: &Commands, document: &Value, is_pretty: bool) -> Option<Vec<u8>> {
    let Value::Array(requests) = document else {
        return one(commands, document).await.map(|response| to_text(&response, is_pretty));
    };
    if requests.is_empty() {
        return Some(refusal(-32600, "Invalid Request: an empty batch"));
    }
    if requests.len() > BATCH {
        return Some(refusal(-32600, &format!("Invalid Request: more than {BATCH} requests in a batch")));
    }
    let mut responses: Vec<Vec<u8>> = Vec::new();
    let mut length = 0;
    for request in requests {
        if length > BATCH_BYTES {
            responses.push(refusal(507, "the answers to this batch are too long together; ask for less at once"));
            break;
        }
        let response = one(commands, request).await.map(|response| to_text(&response, is_pretty));
        length += response.as_ref().map_or(0, Vec::len);
        responses.extend(response);
    }
    (!responses.is_empty()).then(|| [b"[", &responses.join(&b","[..])[..], b"]"].concat())
}

/// A document that says no to something that is no request, or that must not be one.
pub fn refusal(code: i64, message: &str) -> Vec<u8> {
    let failure = Failure { code, message: message.to_owned() };
    to_text(&Response { outcome: Err(failure), id: Value::Null }, false)
}

/// As [`refusal`], for the request in `document`, with its id.
pub(crate) fn refusal_of(document: &[u8], code: i64, message: &str) -> Vec<u8> {
    let request: Value = serde_json::from_slice(document).unwrap_or_default();
    let id = request.get("id").filter(|id| id.is_string() || id.is_number()).cloned().unwrap_or_default();
    to_text(&Response { outcome: Err(Failure { code, message: message.to_owned() }), id }, false)
}

/// Takes JSON documents out of a stream of bytes, one after the other.
pub(crate) struct Documents {
    buffer: Vec<u8>,
    limit: usize,
}

/// What [`Documents::take`] found.
pub(crate) enum Taken {
    /// More bytes are needed.
    More,
    /// A document.
    Document(Value),
    /// No JSON, or too much of it.
    Wrong(String),
}

impl Documents {
    pub(crate) fn new(limit: usize) -> Documents {
        Documents { buffer: Vec::new(), limit }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
    }

    /// Whether a document has begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.iter().all(u8::is_ascii_whitespace)
    }

    pub(crate) fn take(&mut self) -> Taken {
        if self.is_empty() {
            self.buffer.clear();
            return Taken::More;
        }
        let mut found = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Value>();
        let taken = match found.next() {
            Some(Ok(value)) => Taken::Document(value),
            Some(Err(error)) if !error.is_eof() => Taken::Wrong(format!("Parse error: {error}")),
            _ if self.buffer.len() > self.limit => Taken::Wrong(format!("a request of more than {} bytes", self.limit)),
            _ => Taken::More,
        };
        if matches!(taken, Taken::Document(_)) {
            let end = found.byte_offset();
            self.buffer.drain(..end);
        }
        taken
    }
}

struct Response {
    outcome: Result<Data, Failure>,
    id: Value,
}

struct Failure {
    code: i64,
    message: String,
}

async fn one(commands: &Commands, request: &Value) -> Option<Response> {
    let invalid = |what: &str, id: Value| {
        let failure = Failure { code: -32600, message: format!("Invalid Request: {what}") };
        Some(Response { outcome: Err(failure), id })
    };
    let Value::Object(fields) = request else { return invalid("not an object", Value::Null) };
    let id = fields.get("id").cloned();
    if !matches!(id, None | Some(Value::Null | Value::String(_) | Value::Number(_))) {
        return invalid("`id` must be text, a number or null", Value::Null);
    }
    let id_or_null = id.clone().unwrap_or(Value::Null);
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return invalid("`jsonrpc` must be \"2.0\"", id_or_null);
    }
    let Some(method) = fields.get("method").and_then(Value::as_str) else {
        return invalid("`method` must be text", id_or_null);
    };
    let outcome = call(commands, method, fields.get("params")).await;
    // A request without id is a notification and gets no response, whatever came of it (section 4.1).
    Some(Response { outcome, id: id? })
}

async fn call(commands: &Commands, method: &str, params: Option<&Value>) -> Result<Data, Failure> {
    let Some(command) = commands.find(method) else {
        let unknown = commands.unknown(method);
        return Err(Failure { code: -32601, message: format!("Method Not Found: {}", unknown.reason) });
    };
    let args = arguments(command, params).map_err(failure)?;
    commands.call(method, args).await.map_err(failure)
}

/// The arguments of command `name` from the body of a request that holds nothing else.
///
/// # Errors
/// 404 for a name that nothing has, 400 for what are no arguments of it.
pub(crate) fn body_arguments(commands: &Commands, name: &str, body: &[u8]) -> Result<Vec<Data>, CommandError> {
    let command = commands.find(name).ok_or_else(|| commands.unknown(name))?;
    if body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let params = serde_json::from_slice(body).map_err(|error| CommandError::new(400, format!("no JSON: {error}")))?;
    arguments(command, Some(&params))
}

fn failure(error: CommandError) -> Failure {
    match error.code {
        // Only what this server says about the arguments is the mistake of its caller.
        400 if !error.is_of_peer => Failure { code: -32602, message: format!("Invalid params: {}", error.reason) },
        code => Failure { code: code.into(), message: error.reason.into_owned() },
    }
}

/// Arguments in order, or by the names of the command's parameters.
fn arguments(command: &Command, params: Option<&Value>) -> Result<Vec<Data>, CommandError> {
    match params {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items.iter().map(of_json).collect()),
        Some(Value::Object(fields)) => {
            let is_known = |name: &String| command.params.iter().any(|param| param.name == name);
            if let Some(name) = fields.keys().find(|name| !is_known(name)) {
                let text = format!("no parameter is called `{name}`; usage: {}", command.usage());
                return Err(CommandError::new(400, text));
            }
            let mut args: Vec<Data> =
                command.params.iter().map(|param| fields.get(param.name).map_or(Data::Null, of_json)).collect();
            // The last parameter may stand for many arguments.
            if command.params.last().is_some_and(|param| param.kind == ArgumentKind::Rest) {
                match args.pop() {
                    Some(Data::List(rest)) => args.extend(rest),
                    Some(Data::Null) | None => {}
                    Some(one) => args.push(one),
                }
            }
            while args.last() == Some(&Data::Null) {
                args.pop();
            }
            Ok(args)
        }
        Some(_) => Err(CommandError::new(400, "`params` must be an array or an object")),
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("jsonrpc", "2.0")?;
        match &self.outcome {
            Ok(data) => map.serialize_entry("result", &Json(data))?,
            Err(failure) => map.serialize_entry("error", failure)?,
        }
        map.serialize_entry("id", &self.id)?;
        map.end()
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("code", &self.code)?;
        map.serialize_entry("message", &self.message)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::examples;

    fn check(document: &str, expected: Option<&str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let answered = runtime.block_on(answer(&examples(), document.as_bytes(), false));
        let shown = answered.map(|text| String::from_utf8(text).expect("JSON is UTF-8"));
        assert_eq!(shown.as_deref(), expected, "{document}");
    }

    #[test]
    fn a_request_is_answered_with_its_id() {
        let request = r#"{"jsonrpc": "2.0", "method": "test.echo", "params": ["a", 2], "id": "x7"}"#;
        check(request, Some(r#"{"jsonrpc":"2.0","result":["a",2],"id":"x7"}"#));
    }

    #[test]
    fn arguments_may_be_named() {
        let request = r#"{"jsonrpc": "2.0", "method": "test.lookup", "params": {"table": "location"}, "id": 1}"#;
        check(request, Some(r#"{"jsonrpc":"2.0","result":{"Table":"location","AoRs":["alice"]},"id":1}"#));
        let request = r#"{"jsonrpc": "2.0", "method": "test.echo", "params": {"things": [1, 2]}, "id": 1}"#;
        check(request, Some(r#"{"jsonrpc":"2.0","result":[1,2],"id":1}"#));
        let request = r#"{"jsonrpc": "2.0", "method": "test.echo", "params": {"things": "one"}, "id": 1}"#;
        check(request, Some(r#"{"jsonrpc":"2.0","result":["one"],"id":1}"#));
        let request = r#"{"jsonrpc": "2.0", "method": "test.lookup", "params": {"tabel": "location"}, "id": 1}"#;
        let message = "Invalid params: no parameter is called `tabel`; usage: test.lookup TABLE [MOST]";
        check(request, Some(&format!(r#"{{"jsonrpc":"2.0","error":{{"code":-32602,"message":"{message}"}},"id":1}}"#)));
    }

    #[test]
    fn a_notification_gets_no_response() {
        check(r#"{"jsonrpc": "2.0", "method": "test.echo"}"#, None);
        check(r#"{"jsonrpc": "2.0", "method": "no.such"}"#, None);
        check(r#"[{"jsonrpc": "2.0", "method": "test.echo"}]"#, None);
    }

    #[test]
    fn a_batch_is_answered_by_a_batch() {
        let batch = r#"[{"jsonrpc": "2.0", "method": "echo", "params": [1], "id": 1},
            {"jsonrpc": "2.0", "method": "echo"}, 7, {"jsonrpc": "2.0", "method": "echo", "id": 2}]"#;
        let invalid =
            r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request: not an object"},"id":null}"#;
        let first = r#"{"jsonrpc":"2.0","result":[1],"id":1}"#;
        check(batch, Some(&format!(r#"[{first},{invalid},{{"jsonrpc":"2.0","result":[],"id":2}}]"#)));
    }

    #[test]
    fn a_batch_whose_answers_grow_too_long_is_cut_off_with_an_explanation() {
        let text = "x".repeat(500_000);
        let request = format!(r#"{{"jsonrpc": "2.0", "method": "echo", "params": ["{text}"], "id": 1}}"#);
        let batch = format!("[{}]", vec![request; 20].join(","));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let answered = runtime.block_on(answer(&examples(), batch.as_bytes(), false)).expect("an answer");
        let value: Value = serde_json::from_slice(&answered).expect("it is JSON");
        let responses = value.as_array().expect("a batch");
        assert_eq!((responses.len(), &responses[9]["error"]["code"]), (10, &serde_json::json!(507)));
    }

    #[test]
    fn the_code_of_a_sip_peer_is_given_as_it_is() {
        assert_eq!(failure(CommandError::of_peer(400, "Bad Request")).code, 400);
        assert_eq!(failure(CommandError::new(400, "no such thing")).code, -32602);
    }

    fn check_error(document: &str, code: i64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let answered = runtime.block_on(answer(&examples(), document.as_bytes(), false)).expect("an answer");
        let value: Value = serde_json::from_slice(&answered).expect("it is JSON");
        assert_eq!(value["error"]["code"], code, "{document}");
    }

    #[test]
    fn mistakes_have_the_codes_of_the_specification() {
        check_error("{", -32700);
        check_error("[]", -32600);
        check_error(r#"{"method": "test.echo", "id": 1}"#, -32600);
        check_error(r#"{"jsonrpc": "2.0", "method": 7, "id": 1}"#, -32600);
        check_error(r#"{"jsonrpc": "2.0", "method": "test.echo", "id": {}}"#, -32600);
        check_error(r#"{"jsonrpc": "2.0", "method": "no.such", "id": 1}"#, -32601);
        check_error(r#"{"jsonrpc": "2.0", "method": "test.lookup", "id": 1}"#, -32602);
        check_error(r#"{"jsonrpc": "2.0", "method": "test.lookup", "params": 3, "id": 1}"#, -32602);
        check_error(r#"{"jsonrpc": "2.0", "method": "test.lookup", "params": ["x"], "id": 1}"#, 404);
        check_error(&format!("[{}1]", "1,".repeat(100)), -32600);
        check_error(&"[".repeat(100_000), -32700);
    }
}
