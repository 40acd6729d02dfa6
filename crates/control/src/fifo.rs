//! The FIFO of SER: `:command:reply_fifo`, one line for each argument, an empty line.
//!
//! Scripts of 2003 speak it, and those written for `mi_fifo` later. The reply goes to a FIFO of the client's own: a
//! line `200 OK` or `404 what is wrong`, then the result, one value on a line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use module_api::{Data, Level};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::ground::{FrontEnd, Ground};
use crate::path::{self, Access, Listening, OpenError};
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
    let (pipe, file) = open_pipe(ground, settings)?;
    let serve = serve(ground.clone(), pipe, settings.reply_dir.clone());
    Ok(FrontEnd::start(ground, Some(file), serve))
}

pub(crate) fn open_pipe(ground: &Ground, settings: &FifoSettings) -> Result<(Receiver, Listening), OpenError> {
    let _inside = ground.runtime.enter();
    let (fifo, file) = path::make_fifo(&settings.path, &settings.access)?;
    let pipe = Receiver::from_file(fifo).map_err(|error| OpenError::new(settings.path.display(), error))?;
    Ok((pipe, file))
}

/// Replies that may be under way at once. Beyond it the FIFO fills up and its writers wait.
pub(crate) const REPLIES: usize = 256;
/// How long the reader of a reply may take to open its FIFO and to read: clients open it before they ask.
const REPLY_PATIENCE: Duration = Duration::from_secs(2);

async fn serve(ground: Ground, mut pipe: Receiver, reply_dir: PathBuf) {
    let mut reader = RequestReader::new(ground.limits.request);
    let places = Arc::new(Semaphore::new(REPLIES));
    let mut chunk = vec![0; 4096];
    // Whether what is read next began with a write of its own: the pipe was empty after the read before it.
    let mut is_fresh = true;
    let mut deadline = Instant::now() + ground.limits.patience;
    loop {
        if !reader.is_within_request() {
            deadline = Instant::now() + ground.limits.patience;
        }
        match timeout_at(deadline, pipe.read(&mut chunk)).await {
            Ok(Ok(length)) if length > 0 => {
                reader.push(&chunk[..length], is_fresh);
                is_fresh = length < chunk.len();
            }
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
///
/// A line of a request may be text of a stranger, such as the body of a message that is to be sent. It must never be
/// taken for a request of its own, however much it looks like one.
struct RequestReader {
    buffer: Vec<u8>,
    limit: usize,
    open: Option<Open>,
    /// The rest of this line belongs to one that was too long.
    is_in_long_line: bool,
    complaint: Option<String>,
}

/// A request whose end has not come.
struct Open {
    command: String,
    reply: String,
    lines: Vec<String>,
    /// How many lines came, and lines of a dot behind the third.
    count: usize,
    dots: usize,
    /// Bytes of its arguments.
    size: usize,
    /// It is not obeyed, but it lasts until its end: what follows in it is no request.
    is_too_long: bool,
}

impl RequestReader {
    fn new(limit: usize) -> RequestReader {
        RequestReader { buffer: Vec::new(), limit, open: None, is_in_long_line: false, complaint: None }
    }

    /// Whether something has begun and not ended.
    fn is_within_request(&self) -> bool {
        self.open.is_some() || self.is_in_long_line || !self.buffer.is_empty()
    }

    /// Takes what was read. `is_fresh` says that it began with a write of its own.
    fn push(&mut self, bytes: &[u8], is_fresh: bool) {
        // A writer died within its request. What a pipe takes at once is not mixed with other writers' bytes, so a
        // request that begins a fresh read is somebody else's. Not so within a message, which is long and may be
        // written piece by piece: it ends with its end, or when its time is over.
        let may_be_cut = is_fresh && self.open.as_ref().is_none_or(|open| open.command != SENDS_MESSAGE);
        if may_be_cut && self.is_within_request() && begins_request(bytes) {
            self.give_up();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets what has begun and not ended.
    fn give_up(&mut self) {
        let open = self.open.take();
        let is_reported = std::mem::take(&mut self.is_in_long_line) || open.as_ref().is_some_and(|it| it.is_too_long);
        let is_half_line = !self.buffer.is_empty();
        self.buffer.clear();
        if is_reported {
            return;
        }
        self.complaint = match open {
            Some(open) => {
                Some(format!("a request for `{}` did not end with an empty line; it is dropped", open.command))
            }
            None => is_half_line.then(|| "half a line; it is dropped".to_owned()),
        };
    }

    /// The next request that has come whole, or what is wrong with what came.
    fn next(&mut self) -> Option<Result<Request, String>> {
        loop {
            if let Some(complaint) = self.complaint.take() {
                return Some(Err(complaint));
            }
            let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else { break };
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if std::mem::take(&mut self.is_in_long_line) {
                continue;
            }
            let line = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if let Some(request) = self.take_line(line) {
                return Some(Ok(request));
            }
        }
        if self.is_in_long_line {
            self.buffer.clear();
        } else if self.buffer.len() > self.limit {
            self.buffer.clear();
            self.is_in_long_line = true;
            let is_reported = self.open.as_mut().is_some_and(Open::refuse);
            return (!is_reported).then(|| Err(format!("a line of more than {} bytes; it is dropped", self.limit)));
        }
        None
    }

    fn take_line(&mut self, line: String) -> Option<Request> {
        let Some(open) = &mut self.open else {
            if let Some((command, reply)) = header(&line) {
                self.open = Some(Open::new(command, reply));
            } else if !line.is_empty() {
                self.complaint =
                    Some("a line that belongs to no request; one begins with `:command:reply_fifo`".into());
            }
            return None;
        };
        let is_end = open.take(line);
        if open.size > self.limit && !open.refuse() {
            self.complaint = Some(format!("a request of more than {} bytes; it is dropped", self.limit));
        }
        if !is_end {
            return None;
        }
        let open = self.open.take().filter(|open| !open.is_too_long)?;
        let args = if open.command == SENDS_MESSAGE { message_args(&open.lines) } else { plain_args(&open.lines) };
        Some(Request { command: open.command, reply: open.reply, args: args? })
    }
}

impl Open {
    fn new(command: String, reply: String) -> Open {
        Open { command, reply, lines: Vec::new(), count: 0, dots: 0, size: 0, is_too_long: false }
    }

    /// Takes a line; whether it was the last one.
    fn take(&mut self, line: String) -> bool {
        self.count += 1;
        self.dots += usize::from(line == "." && self.count > 3);
        let is_end = if self.command == SENDS_MESSAGE { self.dots == 2 } else { line.is_empty() };
        if !self.is_too_long {
            self.size += line.len() + 1;
            self.lines.push(line);
        }
        is_end
    }

    /// Will not be obeyed any more; whether that was so before.
    fn refuse(&mut self) -> bool {
        self.lines.clear();
        std::mem::replace(&mut self.is_too_long, true)
    }
}

/// The command of SER whose arguments hold a whole message.
const SENDS_MESSAGE: &str = "t_uac_dlg";

fn begins_request(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    end.is_some_and(|end| header(String::from_utf8_lossy(&bytes[..end]).trim_end_matches('\r')).is_some())
}

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
            reader.push(&[*byte], true);
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
        let mut reader = RequestReader::new(64);
        let found = |reader: &mut RequestReader| -> Vec<bool> {
            std::iter::from_fn(|| reader.next()).map(|request| request.is_ok()).collect()
        };
        reader.push(b":ps:r", true);
        reader.give_up();
        reader.push(b":ps:r2\n\n", true);
        assert_eq!(found(&mut reader), [false, true]);
        for died in [":ul_add:r\nlocat", ":ul_add:r\nlocation\n"] {
            reader.push(died.as_bytes(), true);
            assert!(found(&mut reader).is_empty());
            reader.push(b":ps:r2\n\n", true);
            assert_eq!(found(&mut reader), [false, true]);
        }
    }

    #[test]
    fn a_line_within_a_request_is_never_a_request_of_its_own() {
        check(":ul_add:r\nlocation\n:kill:x\n\n", &[Ok(("ul_add", "r", &["location", ":kill:x"]))]);
        // The pipe was not empty after the read before, so this is the same writer.
        let mut reader = RequestReader::new(64);
        reader.push(b":ul_add:r\nlocation\n", true);
        assert_eq!(reader.next(), None);
        reader.push(b":kill:x\n\n", false);
        assert_eq!(reader.next().and_then(Result::ok).map(|request| request.command), Some("ul_add".to_owned()));
        assert_eq!(reader.next(), None);
        // A message is long: a pipe may take it in pieces.
        reader.push(b":t_uac_dlg:r\nM\nsip:a\n.\nTo: y\n.\n", true);
        assert_eq!(reader.next(), None);
        reader.push(b":kill:x\n\n.\n", true);
        let args = reader.next().and_then(Result::ok).and_then(|request| request.args.into_iter().last());
        assert_eq!((args, reader.next()), (Some(Data::from(":kill:x\r\n")), None));
    }

    #[test]
    fn the_rest_of_a_request_that_is_too_long_is_no_request() {
        let (line, rest) = ("x".repeat(64), ":kill:x\n\n");
        let dropped = "a request of more than 64 bytes; it is dropped";
        check(&format!(":ul_add:r\n{line}\n{rest}"), &[Err(dropped)]);
        let start = ":t_uac_dlg:r\nM\nsip:a\n.\n.\n";
        check(&format!("{start}{line}\n{rest}.\n"), &[Err(dropped)]);
        let dropped = "a line of more than 64 bytes; it is dropped";
        check(&format!("{start}{line}x{rest}.\n:ps:r\n\n"), &[Err(dropped), Ok(("ps", "r", &[]))]);
    }

    #[test]
    fn what_is_no_request_or_too_long_is_complained_about_and_dropped() {
        let stray = "a line that belongs to no request; one begins with `:command:reply_fifo`";
        check("hello\n:ps:r\n\n", &[Err(stray), Ok(("ps", "r", &[]))]);
        let long = format!(":ps:r\n{}\n\n:ps:r2\n\n", "x".repeat(64));
        check(&long, &[Err("a request of more than 64 bytes; it is dropped"), Ok(("ps", "r2", &[]))]);
        let mut reader = RequestReader::new(64);
        reader.push(&[b'x'; 65], true);
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
