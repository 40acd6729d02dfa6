//! `serctl top`: how the running server is doing, live in a terminal or as a plain table.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use serde_json::Value;

use crate::client::Client;
use crate::show::print_result;

/// How often it looks, unless `--watch` says otherwise.
const EVERY: Duration = Duration::from_secs(1);
/// How often it looks at the keyboard.
const KEYS: Duration = Duration::from_millis(100);
/// Peers that are asked for; as many are shown as fit.
const PEERS: &str = "40";

/// What the server said at one moment.
struct Sample {
    value: Value,
    time: f64,
    figures: BTreeMap<String, f64>,
    /// Messages by peer.
    peers: BTreeMap<String, f64>,
}

impl Sample {
    fn take(client: &Client) -> Result<Sample> {
        Ok(Sample::of(client.call("core.top", &[PEERS.to_owned()])?))
    }

    fn of(value: Value) -> Sample {
        let figures = value["figures"].as_object().into_iter().flatten();
        let figures = figures.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect();
        let messages = |peer: &Value| number(&peer["requests"]) + number(&peer["replies"]);
        let peers = value["peers"].as_array().into_iter().flatten();
        let peers = peers.map(|peer| (text(&peer["address"]), messages(peer))).collect();
        Sample { time: number(&value["time"]), figures, peers, value }
    }

    fn figure(&self, name: &str) -> f64 {
        self.figures.get(name).copied().unwrap_or(0.0)
    }
}

/// Shows the server: live where standard output is a terminal, once as a table elsewhere, as JSON where asked.
///
/// # Errors
/// When the server does not answer, or the terminal cannot be used.
pub(crate) fn run(client: &Client, json: bool, every: Option<Duration>) -> Result<()> {
    if json {
        return print_result(&client.call("core.top", &[PEERS.to_owned()])?, true);
    }
    let first = Sample::take(client)?;
    if !std::io::stdout().is_terminal() {
        let text = lines(&first, None).join("\n") + "\n";
        return std::io::stdout().write_all(text.as_bytes()).context("cannot print");
    }
    let mut terminal = ratatui::try_init().context("cannot use the terminal")?;
    let result = live(&mut terminal, client, first, every.unwrap_or(EVERY));
    ratatui::restore();
    result
}

fn live(terminal: &mut ratatui::DefaultTerminal, client: &Client, first: Sample, every: Duration) -> Result<()> {
    let (mut now, mut before) = (first, None);
    loop {
        terminal.draw(|frame| draw(frame, &now, before.as_ref())).context("cannot draw")?;
        let next = Instant::now() + every;
        while Instant::now() < next {
            let pause = KEYS.min(next.saturating_duration_since(Instant::now()));
            if !event::poll(pause).context("cannot read the keyboard")? {
                continue;
            }
            match event::read().context("cannot read the keyboard")? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    let is_break = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    if is_break || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                        return Ok(());
                    }
                }
                Event::Resize(..) => break,
                _ => {}
            }
        }
        before = Some(std::mem::replace(&mut now, Sample::take(client)?));
    }
}

fn draw(frame: &mut Frame<'_>, now: &Sample, before: Option<&Sample>) {
    let [body, foot] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    let bold = Style::default().add_modifier(Modifier::BOLD);
    let line = |text: String| {
        let is_heading = text.starts_with(|c: char| c.is_ascii_uppercase());
        Line::styled(text, if is_heading { bold } else { Style::default() })
    };
    frame.render_widget(Paragraph::new(lines(now, before).into_iter().map(line).collect::<Vec<_>>()), body);
    frame.render_widget(Paragraph::new("q quits").style(Style::default().add_modifier(Modifier::DIM)), foot);
}

/// All that is shown, headings in capitals first.
fn lines(now: &Sample, before: Option<&Sample>) -> Vec<String> {
    let mut lines = vec![format!("{}, up {}", text(&now.value["version"]), duration(number(&now.value["uptime"])))];
    lines.push(String::new());
    lines.extend(state(now));
    lines.push(String::new());
    lines.extend(rates(now, before));
    lines.push(String::new());
    lines.extend(latencies(now));
    lines.push(String::new());
    lines.extend(peers(now, before));
    lines
}

fn state(now: &Sample) -> Vec<String> {
    let count = |name: &str| format!("{:.0}", now.figure(name));
    let ratio = |name: &str| match now.value["ratios"][name].as_f64() {
        Some(ratio) => format!("{:.1} %", ratio * 100.0),
        None => "-".to_owned(),
    };
    let cells = [
        ("calls", count("core:active_calls"), "SER", ratio("session_establishment_ratio")),
        ("transactions", count("tmx:inuse_transactions"), "SEER", ratio("session_establishment_effectiveness_ratio")),
        ("waiting", count("core:parked_requests"), "ISA", ratio("ineffective_session_attempts_ratio")),
        ("registered users", count("usrloc:registered_users"), "SCR", ratio("session_completion_ratio")),
        ("contacts", count("usrloc:location_contacts"), "IRA", ratio("ineffective_registration_attempts_ratio")),
        ("connections", count("tcp:current_opened_connections"), "memory", bytes(now.figure("shmem:real_used_size"))),
        (
            "in mailboxes",
            count("core:mailbox_letters"),
            "per binding",
            bytes(now.figure("usrloc:location_binding_bytes")),
        ),
    ];
    let row = |(name, value, other, figure): (&str, String, &str, String)| {
        format!("  {name:<18}{value:>10}    {other:<12}{figure:>10}")
    };
    std::iter::once("NOW".to_owned()).chain(cells.map(row)).collect()
}

/// Counters with what they grew by in a second.
fn rates(now: &Sample, before: Option<&Sample>) -> Vec<String> {
    const SHOWN: [(&str, &str); 12] = [
        ("requests", "core:rcv_requests"),
        ("INVITE", "core:rcv_requests_invite"),
        ("REGISTER", "core:rcv_requests_register"),
        ("MESSAGE", "core:rcv_requests_message"),
        ("replies", "core:rcv_replies"),
        ("2xx", "tmx:2xx_transactions"),
        ("4xx", "tmx:4xx_transactions"),
        ("5xx", "tmx:5xx_transactions"),
        ("retransmissions", "core:retransmissions"),
        ("refused", "core:refused_requests"),
        ("malformed", "core:bad_msg_hdr"),
        ("events lost", "events:lost"),
    ];
    let cell = |(shown, name): &(&str, &str)| {
        let total = now.figure(name);
        let rate = before.map_or("-".to_owned(), |before| per_second(total - before.figure(name), now, before));
        format!("  {shown:<16}{total:>12.0}{rate:>10}")
    };
    let head = format!("{:<18}{:>12}{:>10}{:<20}{:>12}{:>10}", "COUNTED", "total", "per s", "", "total", "per s");
    let rows = SHOWN.chunks(2).map(|pair| pair.iter().map(cell).collect::<Vec<_>>().join("  "));
    std::iter::once(head).chain(rows).collect()
}

fn latencies(now: &Sample) -> Vec<String> {
    let head = format!("{:<44}{:>10}{:>10}{:>10}{:>10}", "LATENCY", "count", "half", "95 %", "99 %");
    let rows = now.value["latencies"].as_array().into_iter().flatten();
    let rows = rows.filter(|row| text(&row["name"]).ends_with("_seconds")).map(|row| {
        let name = text(&row["name"]);
        let name = name.split_once(':').map_or(&*name, |(_, name)| name).trim_end_matches("_seconds").replace('_', " ");
        let label = text(&row["label"]);
        let time = |quantile: &str| duration(number(&row[quantile]));
        let name = format!("{name} {label}");
        format!("  {name:<42}{:>10.0}{:>10}{:>10}{:>10}", number(&row["count"]), time("p50"), time("p95"), time("p99"))
    });
    std::iter::once(head).chain(rows).collect()
}

fn peers(now: &Sample, before: Option<&Sample>) -> Vec<String> {
    let head = format!("{:<44}{:>10}{:>10}{:>10}{:>10}", "PEER", "requests", "replies", "failures", "per s");
    let rows = now.value["peers"].as_array().into_iter().flatten().map(|peer| {
        let address = text(&peer["address"]);
        let total = now.peers.get(&address).copied().unwrap_or(0.0);
        let known = |before: &Sample| before.peers.get(&address).copied().unwrap_or(total);
        let rate = before.map_or("-".to_owned(), |before| per_second(total - known(before), now, before));
        let figure = |name: &str| number(&peer[name]);
        format!(
            "  {address:<42}{:>10.0}{:>10.0}{:>10.0}{rate:>10}",
            figure("requests"),
            figure("replies"),
            figure("failures")
        )
    });
    std::iter::once(head).chain(rows).collect()
}

fn per_second(growth: f64, now: &Sample, before: &Sample) -> String {
    // A counter that was reset, or a server that started anew, has not run backwards.
    format!("{:.1}", growth.max(0.0) / (now.time - before.time).max(0.001))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// What a peer has sent must not command the terminal.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

fn bytes(value: f64) -> String {
    match value {
        1_048_576.0.. => format!("{:.1} MiB", value / 1_048_576.0),
        1024.0.. => format!("{:.1} KiB", value / 1024.0),
        _ => format!("{value:.0} B"),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        86_400.0.. => format!("{:.1} d", seconds / 86_400.0),
        3_600.0.. => format!("{:.1} h", seconds / 3_600.0),
        60.0.. => format!("{:.1} min", seconds / 60.0),
        1.0.. => format!("{seconds:.1} s"),
        0.001.. => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{:.0} µs", seconds * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time: f64, requests: i64) -> Sample {
        Sample::of(serde_json::json!({
            "version": "ser 0.1.0", "uptime": 7_200, "time": time,
            "figures": {"core:rcv_requests": requests, "core:active_calls": 3, "shmem:real_used_size": 3 << 20},
            "ratios": {"session_establishment_ratio": 0.5},
            "latencies": [{"name": "core:script_seconds", "label": "invite", "count": 2, "p50": 0.000_05, "p95": 0.002, "p99": 1.5}],
            "peers": [{"address": "192.0.2.1\u{1b}", "requests": requests, "replies": 1, "failures": 0}],
        }))
    }

    #[test]
    fn rates_are_what_counters_grew_by_in_a_second() {
        let (before, now) = (sample(10.0, 100), sample(12.0, 150));
        let shown = lines(&now, Some(&before)).join("\n");
        for line in [
            "ser 0.1.0, up 2.0 h",
            "  calls                      3    SER             50.0 %",
            "  requests                 150      25.0",
            "  script invite                                      2     50 µs    2.0 ms     1.5 s",
            "  192.0.2.1                                        150         1         0      25.0",
        ] {
            assert!(shown.contains(line), "{line:?} is not in\n{shown}");
        }
        assert!(lines(&now, None).join("\n").contains("  requests                 150         -"));
    }

    #[test]
    fn a_counter_that_was_reset_has_no_negative_rate() {
        assert!(
            lines(&sample(12.0, 1), Some(&sample(10.0, 100)))
                .join("\n")
                .contains("  requests                   1       0.0")
        );
    }
}
