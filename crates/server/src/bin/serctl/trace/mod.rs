//! `serctl trace`: the SIP messages of a capture file, as ladders, JSON or another capture file.

mod filter;
mod ladder;
mod packet;
mod pcap;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use filter::Filter;
use packet::Packet;

/// Options of `serctl trace`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tcpdump -w calls.pcap port 5060
  serctl trace calls.pcap                         a ladder for each call
  serctl trace calls.pcap --user alice            calls of a user
  serctl trace calls.pcap --call-id a@b --json    a call for programs
  serctl trace calls.pcap --method REGISTER --save registers.pcapng")]
pub(crate) struct TraceArguments {
    /// A pcap or pcapng file, as tcpdump, Wireshark and this command write them
    file: PathBuf,
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
}

/// Prints or saves messages.
///
/// # Errors
/// What kept it from doing so.
pub(crate) fn run(arguments: &TraceArguments, json: bool) -> Result<()> {
    let TraceArguments { user, address, call_id, method, .. } = arguments;
    let named = [("user", user), ("address", address), ("call-id", call_id), ("method", method)];
    let words = named.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}")));
    let filter = Filter::parse(words).map_err(anyhow::Error::msg)?;
    let packets: Vec<Packet> =
        from_file(&arguments.file)?.into_iter().filter(|packet| packet.passes(&filter)).collect();
    match &arguments.save {
        Some(file) => save(file, &packets),
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

fn save(file: &Path, packets: &[Packet]) -> Result<()> {
    let name = file.display();
    let out = File::create(file).with_context(|| format!("{name}"))?;
    let mut writer = pcap::Writer::begin(BufWriter::new(out)).with_context(|| format!("{name}"))?;
    for packet in packets {
        writer.write(packet).with_context(|| format!("{name}"))?;
    }
    writer.flush().with_context(|| format!("{name}"))?;
    eprintln!("{} messages are in {name}", packets.len());
    Ok(())
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
