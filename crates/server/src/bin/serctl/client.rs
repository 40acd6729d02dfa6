//! Asking the running server: JSON-RPC over its control socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

/// The way to the running server.
pub(crate) struct Client {
    socket: PathBuf,
}

/// Longer than a drain and what follows it may take, and so than any other command.
const PATIENCE: Duration = Duration::from_secs(60);

impl Client {
    /// A client of the server whose control socket lies there.
    pub(crate) fn new(socket: PathBuf) -> Client {
        Client { socket }
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether a server answers.
    pub(crate) fn is_served(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    /// Calls `command` and gives its result.
    ///
    /// # Errors
    /// When no server answers, and what to do then; or what the command says.
    pub(crate) fn call(&self, command: &str, arguments: &[String]) -> Result<Value> {
        let request = json!({"jsonrpc": "2.0", "method": command, "params": arguments, "id": 1});
        let mut stream = UnixStream::connect(&self.socket).map_err(|error| self.explain(&error))?;
        let mut answer = Vec::new();
        let mut talk = || {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(request.to_string().as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)?;
            stream.read_to_end(&mut answer)
        };
        talk().with_context(|| format!("the server at {} does not answer", self.socket.display()))?;
        let answer: Value = serde_json::from_slice(&answer).context("the server's answer cannot be read")?;
        if let Some(error) = answer.get("error") {
            let message = error.get("message").and_then(Value::as_str).unwrap_or("the server refused");
            let message =
                message.split_once(": ").filter(|(kind, _)| *kind == "Method Not Found").map_or(message, |m| m.1);
            bail!("{}", message.replace(char::is_control, " "));
        }
        answer.get("result").cloned().context("the server's answer holds no result")
    }

    fn explain(&self, error: &std::io::Error) -> anyhow::Error {
        let socket = self.socket.display();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => anyhow!(
                "no server answers at {socket}; start one with `serctl start` or `ser`, or name its socket with --socket \
                 or its data directory with --data-dir"
            ),
            ErrorKind::PermissionDenied => {
                anyhow!("{socket} is not open to you; run serctl as the user that runs the server")
            }
            _ => anyhow!("{socket}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_server_the_error_says_what_to_do() {
        let client = Client::new(PathBuf::from("/nonexistent/control.sock"));
        let error = client.call("core.uptime", &[]).expect_err("nobody is there").to_string();
        assert!(error.starts_with("no server answers at /nonexistent/control.sock; start one with"), "{error}");
        assert!(!client.is_served());
    }
}
