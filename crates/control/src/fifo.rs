//! The FIFO of SER: `:command:reply_fifo`, one line for each argument, an empty line.
//!
//! Scripts of 2003 speak it, and those written for `mi_fifo` later. The reply goes to a FIFO of the client's own: a
//! line `200 OK` or `404 what is wrong`, then the result, one value on a line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use module_api::{Data, Level};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::sync::Semaphore;

use crate::ground::{FrontEnd, Ground};
use crate::path::{self, Access, OpenError};
use crate::reply_pipe;

/// Where the FIFO lies and where replies may go.
#[derive(Debug, Clone)]
pub struct FifoSettings {
    /// The FIFO to which clients write.
    pub path: PathBuf,
    /// Who may write to it.
    pub access: Access,
    /// The directory of reply FIFOs.
    pub reply_dir: PathBuf,
}

/// Serves a FIFO.
///
/// # Errors
/// When it cannot be made.
pub fn open(ground: &Ground, settings: &FifoSettings) -> Result<FrontEnd, OpenError> {
    let file = path::make_fifo(&settings.path, &settings.access)?;
    let pipe = open_pipe(ground, &settings.path)?;
    let serve = serve(ground.clone(), pipe, settings.reply_dir.clone());
    Ok(FrontEnd::start(ground, Some(file), serve))
}

/// Opened for writing too, so that it does not end each time the last client closes it.
pub(crate) fn open_pipe(ground: &Ground, path: &std::path::Path) -> Result<Receiver, OpenError> {
    let _inside = ground.runtime.enter();
    OpenOptions::new().read_write(true).open_receiver(path).map_err(|error| OpenError::new(path.display(), error))
}

/// Replies that may be under way at once. Beyond it the FIFO fills up and its writers wait.
pub(crate) const REPLIES: usize = 256;
/// How long the reader of a reply may take to open its FIFO and to read: clients open it before they ask.
const REPLY_PATIENCE: Duration = Duration::from_secs(2);

async fn serve(ground: Ground, mut pipe: Receiver, reply_dir: PathBuf) {
    let mut reader = RequestReader::new(ground.limits.request);
    let places = Arc::new(Semaphore::new(REPLIES));
    let mut chunk = vec![0; 4096];
    loop {
        let read = tokio::time::timeout(ground.limits.patience, pipe.read(&mut chunk)).await;
        match read {
            Ok(Ok(length)) if length > 0 => reader.push(&chunk[..length]),
            Ok(Ok(_) | Err(_)) => {
                return (ground.log)(Level::Error, "the control FIFO is gone; no more commands from it");
            }
            // What a client has begun and not ended must not spoil the next client's request.
            Err(_) => reader.give_up(),
        }
        while let Some(request) = reader.next() {
            let request = match request {
                Ok(request) => request,
                Err(complaint) => {
                    (ground.log)(Level::Warning, &format!("control FIFO: {complaint}"));
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (ground, reply_dir) = (ground.clone(), reply_dir.clone());
            tokio::spawn(async move {
                execute(&ground, &reply_dir, request).await;
                drop(place);
            });
        }
    }
}

async fn execute(ground: &Ground, reply_dir: &std::path::Path, request: Request) {
    let path = match reply_pipe::place(reply_dir, &request.reply) {
        Ok(path) => path,
        Err(complaint) => return (ground.log)(Level::Warning, &format!("control FIFO: {complaint}")),
    };
    let text = match ground.commands.call(&request.command, request.args).await {
        Ok(data) => format!("200 OK\n{}", lines(&data)),
        Err(error) => format!("{error}\n"),
    };
    if let Err(error) = reply_pipe::write(&path, text.as_bytes(), REPLY_PATIENCE).await {
        let text = format!("control FIFO: reply to {} is lost: {error}", path.display());
        (ground.log)(Level::Notice, &text);
    }
}

/// A result as lines of text: values one below the other, named ones as `name: value`, inner ones indented.
pub fn lines(data: &Data) -> String {
    let mut out = String::new();
    write_lines(data, 0, &mut out);
    out
}

fn write_lines(data: &Data, depth: usize, out: &mut String) {
    let indent = "\t".repeat(depth);
    match data {
        Data::Null => {}
        Data::List(items) => items.iter().for_each(|item| write_lines(item, depth, out)),
        Data::Struct(fields) => {
            for (name, value) in fields {
                match value {
                    Data::List(_) | Data::Struct(_) => {
                        *out += &format!("{indent}{name}:\n");
                        write_lines(value, depth + 1, out);
                    }
                    _ => *out += &format!("{indent}{name}: {}\n", one_line(&value.to_text())),
                }
            }
        }
        _ => *out += &format!("{indent}{}\n", one_line(&data.to_text())),
    }
}

/// What came from a message must not look like lines of ours.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// A request as it was written.
#[derive(Debug, PartialEq)]
struct Request {
    command: String,
    reply: String,
    args: Vec<Data>,
}

/// Takes requests out of a stream of bytes.
struct RequestReader {
    buffer: Vec<u8>,
    limit: usize,
    open: Option<Open>,
    /// Bytes of the open request's arguments.
    size: usize,
    complaint: Option<String>,
}

/// A request whose end has not come.
struct Open {
    command: String,
    reply: String,
    lines: Vec<String>,
}

impl RequestReader {
    fn new(limit: usize) -> RequestReader {
        RequestReader { buffer: Vec::new(), limit, open: None, size: 0, complaint: None }
    }

    fn push(&mut self, bytes: &[u8]) {
        // A writer died within a line. What a pipe takes at once is not mixed with other writers' bytes, so a
        // request that begins here is somebody else's.
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if !self.buffer.is_empty() && header(&String::from_utf8_lossy(first)).is_some() {
            self.give_up();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets what has begun and not ended.
    fn give_up(&mut self) {
        let what = self.open.take().map(|open| open.command);
        if what.is_some() || !self.buffer.is_empty() {
            self.buffer.clear();
            self.complaint = Some(match what {
                Some(command) => format!("a request for `{command}` did not end with an empty line; it is dropped"),
                None => "half a line; it is dropped".to_owned(),
            });
        }
    }

    /// The next request that has come whole, or what is wrong with what came.
    fn next(&mut self) -> Option<Result<Request, String>> {
        loop {
            if let Some(complaint) = self.complaint.take() {
                return Some(Err(complaint));
            }
            let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else { break };
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if let Some(request) = self.take_line(line) {
                return Some(Ok(request));
            }
        }
        if self.buffer.len() > self.limit {
            self.buffer.clear();
            self.open = None;
            return Some(Err(format!("a line of more than {} bytes; it is dropped", self.limit)));
        }
        None
    }

    fn take_line(&mut self, line: String) -> Option<Request> {
        if let Some((command, reply)) = header(&line) {
            // The writer before this one died within its request.
            if let Some(open) = self.open.take() {
                self.complaint = Some(format!("a request for `{}` did not end; it is dropped", open.command));
            }
            self.open = Some(Open { command, reply, lines: Vec::new() });
            self.size = 0;
            return None;
        }
        let Some(open) = &mut self.open else {
            if !line.is_empty() {
                self.complaint =
                    Some("a line that belongs to no request; one begins with `:command:reply_fifo`".into());
            }
            return None;
        };
        self.size += line.len() + 1;
        if self.size > self.limit {
            self.complaint = Some(format!("a request of more than {} bytes; it is dropped", self.limit));
            self.open = None;
            return None;
        }
        open.lines.push(line);
        let args = if open.command == SENDS_MESSAGE { message_args(&open.lines) } else { plain_args(&open.lines) };
        let args = args?;
        let open = self.open.take()?;
        Some(Request { command: open.command, reply: open.reply, args })
    }
}

/// The command of SER whose arguments hold a whole message.
const SENDS_MESSAGE: &str = "t_uac_dlg";

fn header(line: &str) -> Option<(String, String)> {
    let (command, reply) = line.strip_prefix(':')?.split_once(':')?;
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    (!command.is_empty() && is_name(command)).then(|| (command.to_owned(), reply.to_owned()))
}

/// Arguments, once the empty line has come.
fn plain_args(lines: &[String]) -> Option<Vec<Data>> {
    let (last, args) = lines.split_last()?;
    last.is_empty().then(|| args.iter().map(|line| Data::Str(line.clone())).collect())
}

/// Method, URI and next hop, then header lines up to `.` and the body up to `.`: a body may hold empty lines.
fn message_args(lines: &[String]) -> Option<Vec<Data>> {
    let is_dot = |line: &String| line == ".";
    let (start, rest) = lines.split_at_checked(3)?;
    let headers = rest.iter().position(is_dot)?;
    let body = rest[headers + 1..].iter().position(is_dot)? + headers + 1;
    let join = |lines: &[String]| lines.join("\r\n");
    let start = start.iter().map(|line| Data::Str(line.clone()));
    Some(start.chain([join(&rest[..headers]).into(), join(&rest[headers + 1..body]).into()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'a> = Result<(&'a str, &'a str, &'a [&'a str]), &'a str>;

    fn check(bytes: &str, expected: &[Expected<'_>]) {
        let mut reader = RequestReader::new(64);
        // However the pipe cuts it.
        let mut found = Vec::new();
        for byte in bytes.as_bytes() {
            reader.push(&[*byte]);
            while let Some(request) = reader.next() {
                found.push(request);
            }
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|request| match request {
                Ok((command, reply, args)) => Ok(Request {
                    command: (*command).into(),
                    reply: (*reply).into(),
                    args: args.iter().map(|arg| Data::from(*arg)).collect(),
                }),
                Err(complaint) => Err((*complaint).to_owned()),
            })
            .collect();
        assert_eq!(found, expected, "{bytes:?}");
    }

    #[test]
    fn a_request_is_a_header_its_arguments_and_an_empty_line() {
        check(":ps:reply\n\n", &[Ok(("ps", "reply", &[]))]);
        let two = ":ul_show_contact:r1\nlocation\nalice\n\n\n:ul.dump:r2\r\n\r\n";
        check(two, &[Ok(("ul_show_contact", "r1", &["location", "alice"])), Ok(("ul.dump", "r2", &[]))]);
    }

    #[test]
    fn a_message_to_send_may_hold_empty_lines() {
        check(
            ":t_uac_dlg:r\nMESSAGE\nsip:a@h\n.\nFrom: x\nTo: y\n.\nhello\n\nyou\n.\n\n",
            &[Ok(("t_uac_dlg", "r", &["MESSAGE", "sip:a@h", ".", "From: x\r\nTo: y", "hello\r\n\r\nyou"]))],
        );
    }

    #[test]
    fn a_request_that_its_writer_did_not_end_does_not_spoil_the_next() {
        check(
            ":ul_add:r1\nlocation\n:ps:r2\n\n",
            &[Err("a request for `ul_add` did not end; it is dropped"), Ok(("ps", "r2", &[]))],
        );
        let mut reader = RequestReader::new(64);
        reader.push(b":ps:r");
        reader.give_up();
        reader.push(b":ps:r2\n\n");
        let found: Vec<_> = std::iter::from_fn(|| reader.next()).map(|request| request.is_ok()).collect();
        assert_eq!(found, [false, true]);
        reader.push(b":ul_add:r\nlocat");
        reader.push(b":ps:r2\n\n");
        let found: Vec<_> = std::iter::from_fn(|| reader.next()).map(|request| request.is_ok()).collect();
        assert_eq!(found, [false, true]);
    }

    #[test]
    fn what_is_no_request_or_too_long_is_complained_about_and_dropped() {
        let stray = "a line that belongs to no request; one begins with `:command:reply_fifo`";
        check("hello\n:ps:r\n\n", &[Err(stray), Ok(("ps", "r", &[]))]);
        let long = format!(":ps:r\n{}\n:ps:r2\n\n", "x".repeat(64));
        check(&long, &[Err("a request of more than 64 bytes; it is dropped"), Ok(("ps", "r2", &[]))]);
        let mut reader = RequestReader::new(64);
        reader.push(&[b'x'; 65]);
        assert_eq!(reader.next(), Some(Err("a line of more than 64 bytes; it is dropped".to_owned())));
        assert!(reader.buffer.is_empty());
    }

    #[test]
    fn results_are_lines() {
        let inner = Data::of([("Size", 2.into()), ("Names", Data::List(vec!["a\nb".into(), "c".into()]))]);
        assert_eq!(lines(&Data::of([("Domain", inner)])), "Domain:\n\tSize: 2\n\tNames:\n\t\ta b\n\t\tc\n");
        assert_eq!(lines(&Data::List(vec!["one".into(), 2.into()])), "one\n2\n");
    }
}
