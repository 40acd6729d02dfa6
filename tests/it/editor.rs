//! `ser lsp` as an editor meets it: a process that speaks JSON-RPC.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Scratch, program_file};

/// An editor and the language server that it has started.
struct Editor {
    server: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    requests: i64,
    /// What the server said of its own accord.
    told: Vec<Value>,
}

impl Editor {
    fn start() -> Editor {
        let mut command = Command::new(program_file("ser"));
        command.arg("lsp").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().expect("ser can be started");
        let stdin = server.stdin.take().expect("standard input is piped");
        let stdout = BufReader::new(server.stdout.take().expect("standard output is piped"));
        let mut editor = Editor { server, stdin, stdout, requests: 0, told: Vec::new() };
        let capabilities = editor.ask("initialize", json!({"capabilities": {}}));
        assert_eq!(capabilities["capabilities"]["hoverProvider"], true);
        editor.tell("initialized", json!({}));
        editor
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("the server reads");
        self.stdin.flush().expect("the server reads");
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).expect("the server writes") > 0, "the server has ended");
            match line.trim() {
                "" => break,
                line => {
                    if let Some(number) = line.strip_prefix("Content-Length: ") {
                        length = number.parse().expect("a number");
                    }
                }
            }
        }
        let mut body = vec![0; length];
        self.stdout.read_exact(&mut body).expect("the server writes");
        serde_json::from_slice(&body).expect("JSON")
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let message = self.receive();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.told.push(message);
        }
    }

    /// The latest diagnostics of a document. Asks something first: answers come in order.
    fn diagnostics(&mut self, uri: &str) -> Vec<Value> {
        self.ask("textDocument/documentSymbol", json!({"textDocument": {"uri": uri}}));
        let of_file = self
            .told
            .iter()
            .rev()
            .find(|told| told["method"] == "textDocument/publishDiagnostics" && told["params"]["uri"] == uri);
        of_file.expect("diagnostics were published")["params"]["diagnostics"].as_array().expect("an array").clone()
    }

    fn at(&mut self, method: &str, uri: &str, (line, character): (u32, u32)) -> Value {
        let position = json!({"line": line, "character": character});
        self.ask(method, json!({"textDocument": {"uri": uri}, "position": position}))
    }

    fn labels(&mut self, uri: &str, place: (u32, u32)) -> Vec<String> {
        let items = self.at("textDocument/completion", uri, place);
        let items = items.as_array().expect("an array");
        items.iter().map(|item| item["label"].as_str().expect("text").to_owned()).collect()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // A test that failed before it said good-bye.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

const SCRIPT: &str = "#!KAMAILIO
#!define FLT_ACC 3
loadmodule \"tm.so\"
loadmodule \"sl.so\"
modparam(\"tm\", \"fr_timer\", 5000)
include_file \"more.cfg\"
request_route {
    setflag(FLT_ACC);
    t_on_failure(\"LATER\");
    if (!t_rellay()) sl_send_reply(\"500\", \"$rU\");
    route(ELSEWHERE);
}
failure_route[LATER] { exit; }
";

#[test]
fn an_editor_gets_diagnostics_documentation_completion_definitions_outline_and_layout() {
    let scratch = Scratch::new();
    let (file, more) = (scratch.file("k.cfg"), scratch.file("more.cfg"));
    fs::write(&file, "route { }\n").expect("the directory is writable");
    fs::write(&more, "route[ELSEWHERE] { exit; }\n").expect("the directory is writable");
    let uri = format!("file://{}", file.display());
    let mut editor = Editor::start();
    let document = json!({"uri": uri, "languageId": "sercfg", "version": 1, "text": SCRIPT});
    editor.tell("textDocument/didOpen", json!({"textDocument": document}));

    // What the editor holds counts, not what is on disk.
    let found = editor.diagnostics(&uri);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["code"], "SCL0201");
    assert_eq!(found[0]["range"]["start"], json!({"line": 9, "character": 9}));
    assert!(found[0]["message"].as_str().expect("text").contains("did you mean `t_relay`?"), "{found:?}");

    let hover = |editor: &mut Editor, place| {
        let shown = editor.at("textDocument/hover", &uri, place);
        shown["contents"]["value"].as_str().unwrap_or_default().to_owned()
    };
    assert!(hover(&mut editor, (8, 6)).contains("t_on_failure("));
    assert!(hover(&mut editor, (7, 14)).contains("#!define FLT_ACC 3"));
    assert!(hover(&mut editor, (4, 20)).contains("fr_timer"));
    assert!(hover(&mut editor, (9, 44)).contains("$rU"));

    let definition = editor.at("textDocument/definition", &uri, (8, 20));
    assert_eq!(definition[0]["range"]["start"], json!({"line": 12, "character": 14}));
    let definition = editor.at("textDocument/definition", &uri, (10, 12));
    assert_eq!(definition[0]["uri"], format!("file://{}", more.display()));
    let definition = editor.at("textDocument/definition", &uri, (7, 14));
    assert_eq!(definition[0]["range"]["start"], json!({"line": 1, "character": 9}));
    let definition = editor.at("textDocument/definition", &uri, (5, 16));
    assert_eq!(definition["uri"], format!("file://{}", more.display()));

    let in_route = editor.labels(&uri, (7, 4));
    assert!(in_route.contains(&"t_relay".to_owned()) && in_route.contains(&"FLT_ACC".to_owned()));
    assert!(editor.labels(&uri, (8, 18)).contains(&"LATER".to_owned()));
    assert!(editor.labels(&uri, (4, 16)).contains(&"fr_timer".to_owned()));
    assert!(editor.labels(&uri, (2, 12)).contains(&"usrloc".to_owned()));
    assert!(editor.labels(&uri, (9, 44)).contains(&"$rU".to_owned()));
    assert!(editor.labels(&uri, (10, 10)).contains(&"ELSEWHERE".to_owned()));

    let symbols = editor.ask("textDocument/documentSymbol", json!({"textDocument": {"uri": uri}}));
    let names: Vec<&str> =
        symbols.as_array().expect("an array").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["FLT_ACC", "tm", "sl", "more.cfg", "request_route", "LATER"]);

    let options = json!({"tabSize": 4, "insertSpaces": true});
    let edits = editor.ask("textDocument/formatting", json!({"textDocument": {"uri": uri}, "options": options}));
    assert!(edits[0]["newText"].as_str().expect("text").contains("    if (!t_rellay()) sl_send_reply("));

    let mended = SCRIPT.replace("t_rellay", "t_relay");
    let changes = json!([{"text": mended}]);
    editor
        .tell("textDocument/didChange", json!({"textDocument": {"uri": uri, "version": 2}, "contentChanges": changes}));
    assert_eq!(editor.diagnostics(&uri), Vec::<Value>::new());

    editor.ask("shutdown", Value::Null);
    editor.tell("exit", Value::Null);
    let exit = editor.server.wait().expect("it can be waited for");
    assert_eq!(exit.code(), Some(0));
}
