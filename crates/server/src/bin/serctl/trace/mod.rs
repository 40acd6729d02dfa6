//! `serctl trace`: the SIP messages that the running server keeps, or of a capture file, as ladders, JSON or pcapng.

#[path = "../../../capture/filter.rs"]
mod filter;
mod ladder;
mod live;
mod packet;
mod pcap;
mod screen;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::client::Client;
use filter::Filter;
use live::Live;
use packet::Packet;

/// Options of `serctl trace`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without FILE the running server is asked, which keeps messages when it is started with `ser --trace-memory MIB`.
In a terminal calls are shown live: enter opens a call and an arrow, / filters, s saves, q quits. Elsewhere, and with --follow,
--save or --json, text is printed.

Examples:
  serctl trace                                    calls live in a terminal, each with its ladder; q quits
  serctl trace --user alice | cat                 ladders of what the server still knows
  serctl trace --follow --method INVITE           a line for each message as it comes, until interrupted
  serctl trace --save calls.pcapng                for Wireshark, with the script's steps as comments
  tcpdump -w calls.pcap port 5060
  serctl trace calls.pcap                         a ladder for each call
  serctl trace calls.pcap --user alice            calls of a user
  serctl trace calls.pcap --call-id a@b --json    a call for programs
  serctl trace calls.pcap --method REGISTER --save registers.pcapng"
)]
pub(crate) struct TraceArguments {
    /// A pcap or pcapng file to read instead of asking the server, as tcpdump, Wireshark and this command write them
    file: Option<PathBuf>,
    /// Write the messages to this file as pcapng
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Only messages with this user, NAME or NAME@DOMAIN, in From, To or the Request-URI
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only messages from or to this IP address, with or without port
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Only messages of this call
    #[arg(long, value_name = "CALL-ID")]
    call_id: Option<String>,
    /// Only requests of this method and the replies to them
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Go on with what comes, a line (with --json an object) for each message, until interrupted
    #[arg(long, conflicts_with = "file")]
    follow: bool,
}

/// Prints or saves messages.
///
/// # Errors
/// What kept it from doing so.
pub(crate) fn run(arguments: &TraceArguments, client: Client, json: bool) -> Result<()> {
    let TraceArguments { user, address, call_id, method, .. } = arguments;
    let named = [("user", user), ("address", address), ("call-id", call_id), ("method", method)];
    let words = named.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}")));
    let words: Vec<String> = words.collect();
    let filter = Filter::parse(words.iter().cloned()).map_err(anyhow::Error::msg)?;
    let mut live = Live::new(client, words);
    let packets: Vec<Packet> = match &arguments.file {
        Some(file) => from_file(file)?.into_iter().filter(|packet| packet.passes(&filter)).collect(),
        None => live.kept()?,
    };
    let is_screen = !(json || arguments.follow || arguments.save.is_some()) && std::io::stdout().is_terminal();
    if is_screen {
        let live = arguments.file.is_none().then_some(live);
        return screen::run(packets, live);
    }
    let live = arguments.follow.then_some(live);
    match &arguments.save {
        Some(file) => save(file, &packets, live),
        None if live.is_some() => follow(&packets, live, json),
        None => print(&packets, json),
    }
}

fn from_file(file: &Path) -> Result<Vec<Packet>> {
    let name = file.display();
    let opened = File::open(file).with_context(|| format!("{name}"))?;
    let read = pcap::read(BufReader::new(opened)).with_context(|| format!("{name}"))?;
    if let Some(fault) = &read.fault {
        eprintln!("serctl: {name}: {fault}; what stands before it is shown");
    }
    if read.packets.is_empty() {
        bail!("{name} holds no SIP messages over UDP or TCP ({} packets were read)", read.frames);
    }
    Ok(read.packets)
}

/// Writes packets to a file as pcapng.
fn write(file: &Path, packets: &[Packet]) -> Result<()> {
    let name = file.display();
    let out = File::create(file).with_context(|| format!("{name}"))?;
    let mut writer = pcap::Writer::begin(BufWriter::new(out)).with_context(|| format!("{name}"))?;
    for packet in packets {
        writer.write(packet).with_context(|| format!("{name}"))?;
    }
    writer.flush().with_context(|| format!("{name}"))
}

fn save(file: &Path, packets: &[Packet], live: Option<Live>) -> Result<()> {
    let name = file.display();
    let out = File::create(file).with_context(|| format!("{name}"))?;
    let mut writer = pcap::Writer::begin(BufWriter::new(out)).with_context(|| format!("{name}"))?;
    let mut count = 0;
    each(packets, live, |packets| {
        for packet in packets {
            writer.write(packet).with_context(|| format!("{name}"))?;
        }
        count += packets.len();
        writer.flush().with_context(|| format!("{name}"))
    })?;
    eprintln!("{count} messages are in {name}");
    Ok(())
}

fn follow(packets: &[Packet], live: Option<Live>, json: bool) -> Result<()> {
    let mut out = std::io::stdout();
    each(packets, live, |packets| {
        for packet in packets {
            match json {
                true => writeln!(out, "{}", packet.to_json())?,
                false => writeln!(out, "{}", packet.line())?,
            }
        }
        Ok(out.flush()?)
    })
}

/// Gives `take` what is there, and then what comes.
fn each(packets: &[Packet], live: Option<Live>, mut take: impl FnMut(&[Packet]) -> Result<()>) -> Result<()> {
    take(packets)?;
    let Some(mut live) = live else { return Ok(()) };
    loop {
        let news = live.news(10.0)?;
        if news.lost > 0 {
            eprintln!("serctl: {} records came faster than they were taken and are lost", news.lost);
        }
        take(&news.packets)?;
    }
}

fn print(packets: &[Packet], json: bool) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    if json {
        let all: Vec<_> = packets.iter().map(Packet::to_json).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(out.flush()?);
    }
    for call in by_call(packets) {
        for line in ladder::heading(&call).into_iter().chain(ladder::lines(&call)) {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
    }
    Ok(out.flush()?)
}

/// The messages of each call, the call that began first in front.
fn by_call(packets: &[Packet]) -> Vec<Vec<&Packet>> {
    let mut calls: Vec<Vec<&Packet>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for packet in packets {
        let place = *places.entry(&packet.call_id).or_insert_with(|| {
            calls.push(Vec::new());
            calls.len() - 1
        });
        calls[place].push(packet);
    }
    calls
}
