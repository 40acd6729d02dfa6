//! Which events a consumer wants: by kind, by user, by address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use module_api::{Data, EventKind, PublicEvent};
use percent_encoding::percent_decode_str;

/// What a consumer wants. The default wants all but spans.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    kinds: Option<Vec<EventKind>>,
    users: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// Why a filter cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError(pub String);

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FilterError {}

impl Filter {
    /// Only spans, which nobody else gets unless they ask for them by name.
    pub fn spans() -> Filter {
        Filter { kinds: Some(vec![EventKind::Span]), ..Filter::default() }
    }

    /// Reads `events=call.*,ban&user=alice&address=192.0.2.1`, each part optional. Kinds add up, as do users, as do
    /// addresses; an event must meet each of the three that is given.
    ///
    /// # Errors
    /// When a part has another name, or a value that means nothing.
    pub fn parse(query: &str) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = decoded(value);
            let values = value.split(',').map(str::trim).filter(|value| !value.is_empty());
            match name {
                "events" => {
                    for value in values {
                        filter.kinds.get_or_insert_default().extend(kinds(value)?);
                    }
                }
                "user" => filter.users.extend(values.map(|user| bare(user).to_ascii_lowercase())),
                "address" => {
                    for value in values {
                        let address = value.trim_matches(['[', ']']).parse();
                        filter
                            .addresses
                            .push(address.map_err(|_| FilterError(format!("`{}` is no IP address", shown(value))))?);
                    }
                }
                _ => {
                    let text = format!("there is no filter `{}`; there are events, user and address", shown(name));
                    return Err(FilterError(text));
                }
            }
        }
        Ok(filter)
    }

    /// The kinds that it may let through.
    pub fn kinds(&self) -> Vec<EventKind> {
        let all = || EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::Span).collect();
        self.kinds.clone().unwrap_or_else(all)
    }

    pub(super) fn passes(&self, event: &PublicEvent) -> bool {
        let field = |name: &str| event.fields.iter().find(|(known, _)| *known == name).map(|(_, data)| data);
        let is_kind = match &self.kinds {
            Some(kinds) => kinds.contains(&event.kind),
            None => event.kind != EventKind::Span,
        };
        let is_party = |name: &&str| match field(name) {
            Some(Data::Str(uri)) => self.users.iter().any(|user| is_of(user, &bare(uri).to_ascii_lowercase())),
            _ => false,
        };
        let is_source = |name: &&str| match field(name) {
            Some(Data::Str(source)) => address_of(source).is_some_and(|source| self.addresses.contains(&source)),
            _ => false,
        };
        is_kind
            && (self.users.is_empty() || ["from", "to", "aor"].iter().any(is_party))
            && (self.addresses.is_empty() || ["source", "address"].iter().any(is_source))
    }
}

fn kinds(text: &str) -> Result<Vec<EventKind>, FilterError> {
    let group = text.strip_suffix(".*").unwrap_or(text);
    let is_meant = |kind: &EventKind| kind.name() == text || kind.name().split('.').next() == Some(group);
    let found: Vec<_> = EventKind::ALL.into_iter().filter(is_meant).collect();
    if found.is_empty() {
        let names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        return Err(FilterError(format!("there are no events `{}`; there are {}", shown(text), names.join(", "))));
    }
    Ok(found)
}

fn address_of(text: &str) -> Option<IpAddr> {
    text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse()).ok().map(|ip| ip.to_canonical())
}

/// A user with or without domain, of an address without scheme and parameters.
fn is_of(user: &str, address: &str) -> bool {
    match user.contains('@') {
        true => user == address,
        false => address.split('@').next() == Some(user),
    }
}

fn bare(uri: &str) -> &str {
    let uri = uri.strip_prefix("sips:").or_else(|| uri.strip_prefix("sip:")).unwrap_or(uri);
    uri.split([';', '?']).next().unwrap_or(uri)
}

/// `%40` and the like, as clients write them in a query.
fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event(kind: EventKind, fields: &[(&'static str, &str)]) -> PublicEvent {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).into())).collect();
        PublicEvent { kind, time: Duration::ZERO, fields }
    }

    fn check(query: &str, event: &PublicEvent, expected: bool) {
        assert_eq!(Filter::parse(query).expect("a filter").passes(event), expected, "{query}");
    }

    #[test]
    fn events_pass_by_kind_user_and_address() {
        let call = event(
            EventKind::CallStart,
            &[
                ("from", "sip:Alice@example.com"),
                ("to", "sip:bob@example.com;user=phone"),
                ("source", "192.0.2.1:5060"),
            ],
        );
        for query in [
            "",
            "events=call.*",
            "events=call",
            "events=ban,call.start",
            "user=alice",
            "user=sip:bob%40example.com",
            "user=carol,bob",
            "address=192.0.2.1",
            "events=call&user=alice&address=192.0.2.1",
        ] {
            check(query, &call, true);
        }
        for query in
            ["events=ban", "user=carol", "user=alice@example.org", "address=192.0.2.2", "events=ban&user=alice"]
        {
            check(query, &call, false);
        }
        check("user=alice", &event(EventKind::Reload, &[]), false);
    }

    #[test]
    fn spans_are_for_those_who_ask_for_them_by_name() {
        check("", &event(EventKind::Span, &[]), false);
        check("events=span", &event(EventKind::Span, &[]), true);
        assert!(!Filter::default().kinds().contains(&EventKind::Span));
    }

    #[test]
    fn a_filter_that_means_nothing_is_refused_with_what_there_is() {
        let why = |query: &str| Filter::parse(query).expect_err("it means nothing").to_string();
        assert_eq!(why("kind=ban"), "there is no filter `kind`; there are events, user and address");
        assert!(why("events=calls").starts_with("there are no events `calls`; there are call.start, "));
        assert_eq!(why("address=example.com"), "`example.com` is no IP address");
    }
}
