//! A record as a row of Kamailio's or SER's table.

use module_api::{Call, Value};
use store::{Cell, ColumnName};

use super::facts::{Addresses, Facts, values};
use super::settings::Accounting;

/// The columns of a row, in the order in which [`row`] fills them.
pub(super) enum Columns {
    /// method, from_tag, to_tag, callid, sip_code, sip_reason, time.
    Kamailio(Box<[ColumnName; 7]>),
    /// The 14 of [`SER_COLUMNS`].
    Ser(Box<[ColumnName; 14]>),
}

/// Parameters that name the columns of Kamailio's table, and their defaults.
pub(super) const KAMAILIO_COLUMNS: [&str; 7] = [
    "acc_method_column",
    "acc_from_tag_column",
    "acc_to_tag_column",
    "acc_callid_column",
    "acc_sip_code_column",
    "acc_sip_reason_column",
    "acc_time_column",
];

/// Parameters that name the columns of SER's table.
pub(super) const SER_COLUMNS: [&str; 14] = [
    "acc_sip_from_column",
    "acc_sip_to_column",
    "acc_sip_status_column",
    "acc_sip_method_column",
    "acc_i_uri_column",
    "acc_o_uri_column",
    "acc_sip_callid_column",
    "acc_user_column",
    "acc_time_column",
    "acc_from_uri_column",
    "acc_to_uri_column",
    "acc_totag_column",
    "acc_fromtag_column",
    "acc_domain_column",
];

impl Columns {
    pub(super) fn all(&self) -> &[ColumnName] {
        match self {
            Columns::Kamailio(columns) => &columns[..],
            Columns::Ser(columns) => &columns[..],
        }
    }
}

pub(super) fn row(call: &mut Call<'_>, state: &Accounting, facts: &Facts) -> Vec<(ColumnName, Cell)> {
    let cells = match &state.columns {
        Columns::Kamailio(_) => kamailio(facts),
        Columns::Ser(_) => ser(facts, &Addresses::of(call)),
    };
    let mut row: Vec<_> = state.columns.all().iter().cloned().zip(cells).collect();
    let found = values(call, &state.db_extra);
    row.extend(state.extra_columns.iter().cloned().zip(found.into_iter().map(cell)));
    match (state.time_mode, &state.time_columns) {
        (1, Some([seconds, micros])) => {
            row.push((seconds.clone(), Cell::Int(facts.time.0)));
            row.push((micros.clone(), Cell::Int(facts.time.1.into())));
        }
        (2, Some([seconds, _])) => {
            row.push((seconds.clone(), Cell::Real(facts.time.0 as f64 + f64::from(facts.time.1 / 1000) / 1000.0)));
        }
        _ => {}
    }
    row
}

fn kamailio(facts: &Facts) -> Vec<Cell> {
    vec![
        Cell::text(&facts.method),
        Cell::text(&facts.from_tag),
        Cell::text(&facts.to_tag),
        Cell::text(&facts.call_id),
        Cell::Text(facts.code.clone()),
        Cell::text(&facts.reason),
        Cell::Time(facts.time.0),
    ]
}

fn ser(facts: &Facts, addresses: &Addresses) -> Vec<Cell> {
    vec![
        Cell::text(&addresses.from),
        Cell::text(&addresses.to),
        Cell::Text(facts.code.clone()),
        Cell::text(&facts.method),
        Cell::text(&addresses.inbound_uri),
        Cell::text(&addresses.outbound_uri),
        Cell::text(&facts.call_id),
        Cell::text(&addresses.user),
        Cell::Time(facts.time.0),
        Cell::text(&addresses.from_uri),
        Cell::text(&addresses.to_uri),
        Cell::text(&facts.to_tag),
        Cell::text(&facts.from_tag),
        Cell::text(&addresses.domain),
    ]
}

/// Kamailio writes what is undefined as an empty text, since the columns of its schema take no NULL.
pub(super) fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Text(String::new()),
        // Text, whatever the column: it is converted where the column holds numbers, and most hold text.
        Value::Int(number) => Cell::Text(number.to_string()),
        Value::Str(octets) => Cell::text(&octets),
    }
}
