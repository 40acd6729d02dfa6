//! Drawing what the model holds.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::model::{Call, Model, Prompt, View};
use crate::trace::ladder;
use crate::trace::packet::{Packet, clock, printable};

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let areas = Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]);
    let [head, body, foot] = areas.areas(frame.area());
    let page = match model.view {
        View::Calls => calls(model),
        View::Ladder(number) => model.call(number).map(|call| of_call(model, call)).unwrap_or_default(),
        View::Message(number, arrow) => {
            let packet = model.call(number).and_then(|call| call.packets.get(arrow));
            packet.map(|packet| of_message(model, packet)).unwrap_or_default()
        }
    };
    let bold = Style::default().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(page.title).style(bold), head);
    render(frame, body, &page.lines, (page.chosen, page.first));
    let dim = Style::default().add_modifier(Modifier::DIM);
    frame.render_widget(Paragraph::new(footer(model)).style(dim), foot);
}

/// What is shown between the first line and the last.
#[derive(Default)]
struct Page {
    title: String,
    lines: Vec<String>,
    /// The line that keys act on.
    chosen: Option<usize>,
    /// The first line to show.
    first: usize,
}

fn calls(model: &Model) -> Page {
    let shown = model.shown();
    let row = |call: &&Call| {
        let packets: Vec<&Packet> = call.packets.iter().collect();
        let Some(first) = packets.first() else { return String::new() };
        let about = format!("{} {} -> {}", first.method, first.from, first.to);
        let (at, count) = (&clock(first.sighting.at)[..12], packets.len());
        format!("{at}  {about:<60}  {count:>4}  {}", ladder::outcome(&packets))
    };
    let filter = if model.filter_text.is_empty() { String::new() } else { format!(", of {}", model.filter_text) };
    Page {
        title: format!("{} calls and other transactions{filter}", shown.len()),
        lines: shown.iter().map(row).collect(),
        chosen: (!shown.is_empty()).then(|| model.place(&shown)),
        first: 0,
    }
}

fn of_call(model: &Model, call: &Call) -> Page {
    let packets: Vec<&Packet> = call.packets.iter().collect();
    let mut heading = ladder::heading(&packets).into_iter();
    let title = heading.next().unwrap_or_default();
    let mut lines: Vec<String> = heading.collect();
    let before = lines.len() + 1;
    lines.extend(ladder::lines(&packets));
    // The columns' names stand in front of the arrows.
    Page { title, lines, chosen: Some(before + model.arrow), first: 0 }
}

fn of_message(model: &Model, packet: &Packet) -> Page {
    let text = String::from_utf8_lossy(&packet.sighting.bytes).into_owned();
    let mut lines: Vec<String> = text.lines().map(|line| printable(line.as_bytes())).collect();
    for run in &packet.runs {
        lines.push(String::new());
        lines.push(format!("Script: {}", run.route));
        lines.extend(run.lines.iter().map(|line| printable(line.as_bytes())));
    }
    let first = model.scroll.min(lines.len().saturating_sub(1));
    Page { title: packet.line(), lines, chosen: None, first }
}

/// As many lines as there is room for, the chosen one among them.
fn render(frame: &mut Frame<'_>, area: Rect, lines: &[String], (chosen, first): (Option<usize>, usize)) {
    let height = usize::from(area.height).max(1);
    let first = match chosen {
        Some(chosen) => (chosen + 1).saturating_sub(height),
        None => first,
    };
    let line = |(n, text): (usize, &String)| {
        let is_chosen = chosen == Some(n);
        let style = if is_chosen { Style::default().add_modifier(Modifier::REVERSED) } else { Style::default() };
        Line::styled(text.clone(), style)
    };
    let shown: Vec<Line<'_>> = lines.iter().enumerate().skip(first).take(height).map(line).collect();
    frame.render_widget(Paragraph::new(shown), area);
}

fn footer(model: &Model) -> String {
    match &model.prompt {
        Some(Prompt::Filter(text)) => return format!("only user= address= call-id= method= : {text}_"),
        Some(Prompt::File(text)) => return format!("save as: {text}_"),
        None => {}
    }
    let keys = match model.view {
        View::Calls => "enter: ladder  /: filter  s: save  q: quit",
        View::Ladder(_) => "enter: message and script  esc: back  s: save  q: quit",
        View::Message(..) => "esc: back  arrows: scroll  s: save the call  q: quit",
    };
    let lost = if model.lost > 0 { format!("  {} were lost", model.lost) } else { String::new() };
    let more = [&model.said, &model.trouble].into_iter().filter(|text| !text.is_empty());
    let more: String = more.map(|text| format!("  {text}")).collect();
    format!("{keys}{lost}{more}")
}
