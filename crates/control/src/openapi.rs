//! A description of the HTTP interface, generated from the table of commands: OpenAPI 3.1 with JSON Schema.

use module_api::{ArgumentKind, Command};
use serde_json::{Map, Value, json};

/// The description.
pub fn document(commands: &[&Command], version: &str) -> Value {
    let mut paths = Map::new();
    paths.insert("/RPC".into(), rpc_path(commands));
    for command in commands {
        paths.insert(format!("/commands/{}", command.name), command_path(command));
    }
    for (path, summary, kind) in [
        ("/metrics", "Figures in the text format of Prometheus.", "text/plain"),
        (
            "/events",
            "Events as they happen, over WebSocket or as server-sent events; `?events=call.*&user=alice&address=IP` chooses.",
            "text/event-stream",
        ),
        ("/healthz", "200 while the server runs.", "text/plain"),
        ("/readyz", "200 while the server takes new work, 503 while it drains.", "text/plain"),
        ("/openapi.json", "This description.", "application/json"),
    ] {
        let answer = json!({"description": summary, "content": {kind: {}}});
        paths.insert(path.into(), json!({"get": {"summary": summary, "responses": {"200": answer}}}));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "SER, the SIP Express Router",
            "version": version,
            "description": "Commands of the running server. From this machine no token is needed; others send \
                            `Authorization: Bearer TOKEN`.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
            }},
        },
        "security": [{"token": []}, {}],
    })
}

fn rpc_path(commands: &[&Command]) -> Value {
    let names: Vec<&str> = commands.iter().flat_map(|c| c.aliases.iter().copied().chain([c.name])).collect();
    let request = json!({
        "type": "object",
        "required": ["jsonrpc", "method"],
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "method": {"enum": names},
            "params": {"type": ["array", "object"]},
            "id": {"type": ["string", "number", "null"]},
        },
    });
    json!({"post": {
        "summary": "JSON-RPC 2.0, single or batch.",
        "requestBody": {"required": true, "content": {"application/json": {"schema": {
            "anyOf": [request, {"type": "array", "minItems": 1, "maxItems": 100, "items": request}],
        }}}},
        "responses": {
            "200": {"description": "A response or a batch of them.", "content": {"application/json": {}}},
            "204": {"description": "Nothing but notifications."},
        },
    }})
}

fn command_path(command: &Command) -> Value {
    let properties: Map<String, Value> =
        command.params.iter().map(|param| (param.name.to_owned(), schema(param.kind, param.doc))).collect();
    let is_required = |param: &&module_api::CommandParam| !param.optional && param.kind != ArgumentKind::Rest;
    let required: Vec<&str> = command.params.iter().filter(is_required).map(|param| param.name).collect();
    let body = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    let error = json!({"description": "What is wrong.", "content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/Error"},
    }}});
    json!({"post": {
        "operationId": command.name,
        "summary": command.doc,
        "requestBody": {"required": !required.is_empty(), "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": command.result, "content": {"application/json": {}}},
            "4XX": error,
            "5XX": error,
        },
    }})
}

fn schema(kind: ArgumentKind, doc: &str) -> Value {
    match kind {
        ArgumentKind::Int => json!({"type": "integer", "description": doc}),
        ArgumentKind::Float => json!({"type": "number", "description": doc}),
        ArgumentKind::Str => json!({"type": "string", "description": doc}),
        ArgumentKind::Any => json!({"type": ["string", "number"], "description": doc}),
        ArgumentKind::Rest => json!({
            "type": "array", "items": {"type": ["string", "number"]}, "description": doc,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::EXAMPLES;

    #[test]
    fn every_command_is_described_with_its_arguments() {
        let all: Vec<&Command> = EXAMPLES.iter().collect();
        let document = document(&all, "1.2.3");
        assert_eq!(document["openapi"], "3.1.0");
        let lookup = &document["paths"]["/commands/test.lookup"]["post"];
        let schema = &lookup["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["required"], json!(["table"]));
        assert_eq!(schema["properties"]["most"], json!({"type": "integer", "description": "How many."}));
        assert_eq!(lookup["responses"]["200"]["description"], "a struct.");
        let methods = &document["paths"]["/RPC"]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
            [0]["properties"]["method"]["enum"];
        assert_eq!(methods, &json!(["echo", "test.echo", "test.lookup", "test.stuck"]));
    }
}
