//! `ser explain`: the way of one message through a script.

mod answer;
mod difference;
mod report;
mod request;

use std::io::{IsTerminal, Read, stdin, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use sip_message::Transport;

use crate::commands::ScriptArguments;
use crate::simulate::message::Text;
use crate::simulate::{BEGIN, Hosts, Props, Registration, Stage};
use answer::Answer;
pub(crate) use answer::with_reason;
pub(crate) use report::step as step_json;
pub(crate) use request::uri;

/// Options of `ser explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  ser explain -f ser.cfg INVITE sip:bob@example.com --from alice@example.com --source 192.0.2.1
  ser explain -f ser.cfg INVITE sip:bob@example.com --user-registered sip:bob@192.0.2.9 --answer 486
  ser explain -f ser.cfg < message.sip")]
pub(crate) struct ExplainArguments {
    /// Script to run [default: the built-in set-up]
    #[arg(short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Method of the request; without it the message is read from standard input
    #[arg(value_name = "METHOD", requires = "uri")]
    method: Option<String>,
    /// Request-URI
    #[arg(value_name = "URI")]
    uri: Option<String>,
    /// Sender: user@domain or a URI
    #[arg(long, value_name = "WHO", default_value = "alice@example.com")]
    from: String,
    /// Receiver in To [default: the Request-URI; of a REGISTER the sender]
    #[arg(long, value_name = "WHO")]
    to: Option<String>,
    /// Address that the message comes from: IP or IP:PORT
    #[arg(long, value_name = "ADDRESS", default_value = "192.0.2.1")]
    source: String,
    /// Transport that it comes over
    #[arg(long, value_name = "NAME", default_value = "udp")]
    transport: String,
    /// Header line to add, or to put in place of the one of its name; repeatable
    #[arg(long, value_name = "LINE")]
    header: Vec<String>,
    /// File with the body
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Contact that is registered for the user of the Request-URI, or AOR=CONTACT for another; repeatable
    #[arg(long, value_name = "CONTACT")]
    user_registered: Vec<String>,
    /// User with a password in the database: user@domain:password; repeatable
    #[arg(long, value_name = "USER")]
    user: Vec<String>,
    /// Address of a name: NAME=IP; repeatable
    #[arg(long, value_name = "NAME=IP")]
    host: Vec<String>,
    /// What the next branch answers: a status (486), `silence` (nobody answers) or `unreachable`; repeatable
    #[arg(long, value_name = "WHAT", value_parser = Answer::parse)]
    answer: Vec<Answer>,
    #[command(flatten)]
    script: ScriptArguments,
}

/// Runs the message and prints what happened.
///
/// # Errors
/// When the script does not load or the message cannot be made.
pub(crate) fn run(arguments: &ExplainArguments) -> Result<ExitCode> {
    let source = source(&arguments.source)?;
    let transport = Transport::from_token(arguments.transport.as_bytes());
    let transport = transport.with_context(|| format!("`{}` is no transport", arguments.transport))?;
    let mut stage = Stage::set_up(&arguments.script.for_file(arguments.file.clone()), props(arguments)?)?;
    let text = match (&arguments.method, &arguments.uri) {
        (Some(method), Some(uri)) => {
            let (_, local) = stage.socket(source, transport)?;
            request::build(arguments, (method, uri), (source, local), transport)?
        }
        _ => piped()?,
    };
    stage.send(source, transport, &Text::parse(&text).to_wire())?;
    play(&mut stage, &arguments.answer, source)?;
    if arguments.script.is_json() {
        println!("{}", report::json(&stage));
    } else {
        print!("{}", report::text(&stage, stdout().is_terminal()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers what leaves for others, in turn, until there is nothing more to answer or no answer left.
fn play(stage: &mut Stage, answers: &[Answer], source: SocketAddr) -> Result<()> {
    let mut answers = answers.iter();
    let mut waiting: std::collections::VecDeque<_> = stage.take_sent().into();
    while let Some(sent) = waiting.pop_front() {
        let request = Text::parse(&sent.text);
        if !request.is_request() || matches!(request.method(), "ACK" | "CANCEL") {
            if request.method() == "CANCEL" && request.is_request() {
                let ok = request.reply("200 OK", "answered", &format!("sip:{}", sent.to));
                stage.send(sent.to, sent.transport, &ok.to_wire())?;
                waiting.extend(stage.take_sent());
            }
            continue;
        }
        if sent.to == source && request.header("Via").is_none() {
            continue;
        }
        let Some(answer) = answers.next() else { break };
        match answer {
            Answer::Status(status) => {
                let reply = request.reply(status, "answered", &format!("sip:{}", sent.to));
                stage.send(sent.to, sent.transport, &reply.to_wire())?;
            }
            Answer::Unreachable => stage.network.unreachable(&sent.to.to_string()),
            // Longer than Timer B, and than the time that a script or RFC 3261 gives a phone to ring.
            Answer::Silence => stage.network.advance(Duration::from_secs(200)),
        }
        stage.network.settle();
        waiting.extend(stage.take_sent());
    }
    Ok(())
}

fn props(arguments: &ExplainArguments) -> Result<Props> {
    let split = |text: &String, by: char, what: &str| {
        let parts = text.split_once(by).map(|(left, right)| (left.to_owned(), right.to_owned()));
        parts.with_context(|| format!("`{text}` must be {what}"))
    };
    let mut registrations = Vec::new();
    for text in &arguments.user_registered {
        registrations.push(registration(text, arguments.uri.as_deref())?);
    }
    let users = arguments.user.iter().map(|user| split(user, ':', "user@domain:password")).collect::<Result<_>>()?;
    let hosts: Vec<_> = arguments.host.iter().map(|host| split(host, '=', "NAME=IP")).collect::<Result<_>>()?;
    Ok(Props { users, registrations, hosts: Hosts::new(&hosts, true)?, begin: BEGIN })
}

/// `CONTACT` or `AOR=CONTACT`. A URI may hold `=` in its parameters, so only one before a scheme counts.
fn registration(text: &str, uri: Option<&str>) -> Result<Registration> {
    if let Some(at) = text.find("=sip") {
        let aor = request::uri(&text[..at]);
        return Ok(Registration { aor, contact: text[at + 1..].to_owned() });
    }
    let aor = uri.context("--user-registered needs AOR=CONTACT where the message comes from standard input")?;
    Ok(Registration { aor: aor.to_owned(), contact: request::uri(text) })
}

fn source(text: &str) -> Result<SocketAddr> {
    let with_port = text.parse::<SocketAddr>().ok();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let source = with_port.or_else(|| bare.parse().ok().map(|ip| SocketAddr::new(ip, 5060)));
    source.with_context(|| format!("`{text}` is no address; write 192.0.2.1 or 192.0.2.1:5060"))
}

fn piped() -> Result<String> {
    if stdin().is_terminal() {
        bail!("name a method and a URI, as in `ser explain INVITE sip:bob@example.com`, or pipe a message in");
    }
    let mut bytes = Vec::new();
    stdin().read_to_end(&mut bytes).context("cannot read the message from standard input")?;
    let text = String::from_utf8(bytes).context("the message is not UTF-8")?;
    if text.trim().is_empty() {
        bail!("there is no message on standard input, and no method and URI on the command line");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_of_the_request_uri_or_names_its_own_user() {
        let of_uri = registration("sip:bob@192.0.2.9;transport=tcp", Some("sip:bob@example.com")).expect("a contact");
        assert_eq!(of_uri.aor, "sip:bob@example.com");
        assert_eq!(of_uri.contact, "sip:bob@192.0.2.9;transport=tcp");
        let named = registration("carol@example.com=sip:carol@192.0.2.9", None).expect("both");
        assert_eq!((named.aor.as_str(), named.contact.as_str()), ("sip:carol@example.com", "sip:carol@192.0.2.9"));
        assert!(registration("sip:bob@192.0.2.9", None).is_err());
    }

    #[test]
    fn a_source_needs_no_port() {
        assert_eq!(source("192.0.2.1").expect("an address"), "192.0.2.1:5060".parse().expect("a literal"));
        assert_eq!(source("[2001:db8::1]:5070").expect("both"), "[2001:db8::1]:5070".parse().expect("a literal"));
        assert!(source("example.com").is_err());
    }
}
