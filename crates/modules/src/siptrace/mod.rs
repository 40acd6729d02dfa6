//! Copies of SIP messages for a collector such as Homer, as HEP or as they are.

mod collector;
mod hep;
mod place;
mod plain;
mod state;
mod stored;

use std::sync::Arc;

use bytes::Bytes;
use module_api::{
    Answer, ArgumentKind, Call, Command, CommandParam, Data, Departure, Extent, Function, Module, Outcome, Param,
    ParamKind, Routes, Sighting, Statistic, StatisticKind, Watch,
};

use crate::setting::{ignored, number, text};
use place::Place;
use state::{Eye, SipTrace};

/// Copies of SIP messages for a collector.
pub static MODULE: Module = Module {
    name: "siptrace",
    doc: "Sends copies of SIP messages to a collector such as Homer, as HEP version 3 or as they are, and stores them in a database. Nothing waits for \
          it: what a collector or a database does not take is dropped and counted.",
    parameters: PARAMETERS,
    functions: &[TRACE, MODE, LOG, LOG_AS],
    commands: &[STATUS],
    statistics: &[
        counter("traced_requests", "Requests that were traced."),
        counter("traced_replies", "Replies that were traced."),
        counter("sent_messages", "Copies that were sent to a collector."),
        counter("stored_messages", "Copies that were stored in a database."),
        counter("dropped_messages", "Copies that no collector or database has taken."),
    ],
    watcher: Some(state::watcher),
    make: state::make,
    ..Module::EMPTY
};

const PARAMETERS: &[module_api::Parameter] = &[
    text(
        "duplicate_uri",
        "",
        "Where copies go: `sip:HOST:PORT`, over UDP unless it ends in `;transport=tcp`. A name is resolved beside the \
         workers, and again every minute.",
    ),
    number("trace_on", "0", "1: trace from the start. `siptrace.status on` and `off` change it later."),
    number(
        "trace_mode",
        "0",
        "1: all messages that come and go are traced as HEP, without a word of the script. 4: the same, as they are. 2: \
         they are stored in the database. Numbers add up.",
    ),
    number(
        "trace_flag",
        "0",
        "The message flag that makes sip_trace() trace the whole transaction. Without it, none does.",
    ),
    number("hep_mode_on", "0", "1: copies are sent as HEP. 0: as they are, which only another SIP server understands."),
    number("hep_version", "3", "HEP is sent in version 3, whatever this says. Kamailio's own default is 1."),
    number("hep_capture_id", "1", "The number by which collectors know this server."),
    text("auth_key", "", "The password that the collector asks for. It is sent in the clear."),
    text("trace_local_ip", "", "ADDRESS:PORT that copies name as the source of what this server sends."),
    text("force_send_sock", "", "`sip:ADDRESS:PORT` to send copies from, where it matters."),
    text("send_sock_addr", "", "As `force_send_sock`."),
    number("xheaders_write", "0", "1: copies that are no HEP get X-Siptrace headers that say where they were seen."),
    number("trace_to_database", "0", "1: what the functions trace is stored in the database too."),
    text("db_url", "", "The database of the table. By default ser.db in the data directory."),
    text("table", "sip_trace", "The table, with the columns of Kamailio. Messages are added and never removed."),
    ignored("xheaders_read", "Has no effect: this module sends copies and takes none."),
    ignored("trace_init_mode", "Has no effect: what is traced follows from `trace_mode` and the functions."),
    ignored("trace_sl_acks", "Has no effect: an ACK is traced with the transaction that it belongs to."),
    ignored("send_sock_name", "Has no effect: `force_send_sock` names the address."),
    ignored("data_mode", "Has no effect."),
    ignored("evcb_msg", "Has no effect: no function is called for what is traced."),
    ignored("trace_dialog_ack", "Has no effect: an ACK is traced with its dialog."),
    ignored("trace_dialog_spiral", "Has no effect: all that has the Call-ID of a traced dialog is traced."),
    ignored("trace_delayed", "Has no effect: rows are written beside the workers, many at a time."),
    ignored("trace_db_mode", "Has no effect: rows are written beside the workers, many at a time."),
    ignored("traced_user_avp", "Has no effect: column traced_user stays empty."),
    ignored("trace_table_avp", "Has no effect: there is one table."),
    ignored("date_column", COLUMN),
    ignored("callid_column", COLUMN),
    ignored("traced_user_column", COLUMN),
    ignored("msg_column", COLUMN),
    ignored("method_column", COLUMN),
    ignored("status_column", COLUMN),
    ignored("fromip_column", COLUMN),
    ignored("toip_column", COLUMN),
    ignored("fromtag_column", COLUMN),
    ignored("totag_column", COLUMN),
    ignored("direction_column", COLUMN),
    ignored("time_us_column", COLUMN),
];

const COLUMN: &str = "Has no effect: columns have the names of Kamailio's schema.";

const fn counter(name: &'static str, doc: &'static str) -> Statistic {
    Statistic { group: "siptrace", name, kind: StatisticKind::Counter, doc }
}

const TRACE: Function = Function {
    name: "sip_trace",
    params: &[
        Param::optional("address", ParamKind::Format),
        Param::optional("correlation_id", ParamKind::Format),
        Param::optional("mode", ParamKind::Format),
    ],
    routes: Routes::ANY,
    doc: "Sends a copy of the message, as it was received, to `duplicate_uri` or to the collector given: `sip:HOST:PORT`, and \
          stores it where `trace_to_database` says so. Mode \
          \"m\" is this message only; \"t\" is its whole transaction, \"d\" its whole dialog, with what is relayed and the \
          replies. Without a mode it is the transaction where the trace flag is set, else this message. HEP carries the \
          correlation id. False while tracing is off, where there is no collector nor database, or too much is traced already.",
    example: "sip_trace(\"sip:192.0.2.9:9060\", \"$ci\", \"t\");",
    run: |call| {
        let to = match call.text(0) {
            address if address.is_empty() => call.state::<SipTrace>().to.clone(),
            address => match Place::parse(&address) {
                Ok(place) => Some(Arc::new(place)),
                Err(cause) => return Outcome::fail(format!("sip_trace: {cause}")),
            },
        };
        let (correlation, mode) = (call.text(1), call.text(2));
        trace(call, to, Some(correlation).filter(|id| !id.is_empty()), &mode)
    },
};

const MODE: Function = Function {
    name: "sip_trace_mode",
    params: &[Param::required("mode", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "As sip_trace() with this mode, of which the first letter counts: message, transaction or dialog.",
    example: "sip_trace_mode(\"t\");",
    run: |call| {
        let to = call.state::<SipTrace>().to.clone();
        let mode = call.text(0);
        trace(call, to, None, &mode)
    },
};

const LOG: Function = Function {
    name: "hlog",
    params: &[Param::required("message", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "Sends a line of text to `duplicate_uri` as HEP, for the call of this message. False as sip_trace() is.",
    example: "hlog(\"no gateway for $rU\");",
    run: |call| {
        let call_id = Bytes::copy_from_slice(call.context.message.call_id());
        let text = call.text(0);
        log(call, call_id, text)
    },
};

const LOG_AS: Function = Function {
    name: "hlog",
    params: &[Param::required("correlation_id", ParamKind::Format), Param::required("message", ParamKind::Format)],
    routes: Routes::ANY,
    doc: "As hlog(message), for a correlation id of the script's choice.",
    example: "hlog(\"$hdr(X-Call)\", \"no gateway for $rU\");",
    run: |call| {
        let (id, text) = (call.text(0), call.text(1));
        log(call, id, text)
    },
};

const STATUS: Command = Command {
    name: "siptrace.status",
    aliases: &["sip_trace"],
    params: &[CommandParam::optional(
        "status",
        ArgumentKind::Str,
        "`on` or `off` switches it; `check`, the default, changes nothing.",
    )],
    doc: "Switches tracing on or off, and says whether it is on.",
    result: "`Status`, `Sent` and `Dropped`: what collectors have been sent and what they have not taken.",
    example: "siptrace.status on",
    run: |call| {
        let trace = call.state::<SipTrace>();
        match call.text(0).unwrap_or("check") {
            "on" => trace.switch(true),
            "off" => trace.switch(false),
            "check" => {}
            other => return Answer::error(400, format!("argument `status`: `{other}` is neither on, off nor check")),
        }
        let (sent, dropped) = trace.figures();
        let status = if trace.is_on() { "Enabled" } else { "Disabled" };
        Data::of([("Status", status.into()), ("Sent", sent.into()), ("Dropped", dropped.into())]).into()
    },
};

fn trace(call: &mut Call<'_>, to: Option<Arc<Place>>, correlation: Option<Bytes>, mode: &[u8]) -> Outcome {
    let trace = call.shared_state::<SipTrace>();
    let to = trace.aims(to);
    if to.is_empty() || !trace.is_on() {
        return Outcome::FALSE;
    }
    let is_flagged = trace.flag.is_some_and(|flag| call.context.has_flag(flag));
    let extent = match mode.first().map(u8::to_ascii_lowercase) {
        None if is_flagged => Some(Extent::Transaction),
        None | Some(b'm') => None,
        Some(b't') => Some(Extent::Transaction),
        Some(b'd') => Some(Extent::Dialog),
        Some(_) => {
            let mode = String::from_utf8_lossy(mode);
            return Outcome::fail(format!("sip_trace: `{mode}` is no mode; write m, t or d"));
        }
    };
    trace.mirror(&current(call), &to, correlation.as_deref());
    let Some(extent) = extent else { return Outcome::TRUE };
    let name = to.collector.as_ref().map_or_else(|| "a database".to_owned(), |place| place.to_string());
    let name = Bytes::from(name);
    let watcher = Arc::new(Eye { trace, to, correlation });
    call.host.watch(call.context, Watch { extent, name, watcher }).into()
}

fn log(call: &mut Call<'_>, correlation: Bytes, text: Bytes) -> Outcome {
    let trace = call.state::<SipTrace>();
    let Some(to) = trace.to.as_ref().filter(|_| trace.is_on()) else { return Outcome::FALSE };
    trace.log(&Sighting { bytes: text, ..current(call) }, to, &correlation);
    Outcome::TRUE
}

/// The message at hand: as it came, and in an onsend_route as it leaves.
fn current(call: &Call<'_>) -> Sighting {
    let (message, arrival) = (&call.context.message, &call.context.arrival);
    let bytes = message.slice(sip_message::Span::new(0, message.bytes().len()));
    let at = call.host.unix_time();
    let Some(departure) = call.context.note::<Departure>() else {
        let (source, destination) = (arrival.source, arrival.local);
        return Sighting { at, is_sent: false, transport: arrival.transport, source, destination, bytes };
    };
    let socket = call.host.sockets().get(usize::from(departure.socket.0));
    let source = socket.map_or(arrival.local, |socket| socket.address);
    Sighting { at, is_sent: true, transport: departure.transport, source, destination: departure.peer, bytes }
}
