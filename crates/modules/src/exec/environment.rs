//! What a program finds in its environment about the request.

use module_api::Context;
use sip_message::{HeaderName, Uri};

/// Name and value of each variable. The names are those of both families.
pub(super) fn variables(context: &Context) -> Vec<(String, Vec<u8>)> {
    let message = &context.message;
    let (current, original) = (context.target.uri.to_vec(), message.request_uri().to_vec());
    let user = |uri: &[u8]| Uri::parse(uri).ok().and_then(|uri| uri.user).unwrap_or_default().to_vec();
    let branch = message.top_via().ok().and_then(|via| via.branch().map(<[u8]>::to_vec));
    let mut variables = vec![
        ("SIP_USER".to_owned(), user(&current)),
        ("SIP_OUSER".to_owned(), user(&original)),
        ("SIP_RURI".to_owned(), current),
        ("SIP_ORURI".to_owned(), original.clone()),
        // Kamailio has spelt it so for years, and its users' programs with it.
        ("SIP_ORUI".to_owned(), original),
        ("SIP_SRCIP".to_owned(), context.arrival.source.ip().to_string().into_bytes()),
        ("SIP_TID".to_owned(), branch.unwrap_or_default()),
        ("SIP_DID".to_owned(), message.to_tag().unwrap_or_default().to_vec()),
    ];
    for header in message.headers() {
        let name = variable_name(header.name, header.raw_name);
        let value = header.unfolded();
        match variables.iter_mut().find(|(own, _)| *own == name) {
            Some((_, earlier)) => {
                earlier.push(b',');
                earlier.extend_from_slice(&value);
            }
            None => variables.push((name, value.into_owned())),
        }
    }
    // An environment cannot hold a NUL.
    for (_, value) in &mut variables {
        value.retain(|byte| *byte != 0);
    }
    variables
}

fn variable_name(name: HeaderName, written: &[u8]) -> String {
    let text = match name {
        HeaderName::CallId => "CALLID".into(),
        HeaderName::Other => String::from_utf8_lossy(written),
        known => known.as_str().into(),
    };
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("SIP_HF_{}", text.chars().map(letter).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, INVITE};

    // The names are those that Kamailio 5.6.3 sets, and SIP_ORURI that of SER.
    #[test]
    fn headers_and_uris_are_variables() {
        let text = INVITE.replace("Subject", "k: timer, path\r\nSupported: 100rel\r\nX-My.Own: 1\r\nSubject");
        let mut bench = Bench::new(&text);
        bench.context.set_uri("sip:carol@h".into());
        let variables = variables(&bench.context);
        let value = |name: &str| {
            variables.iter().find(|(own, _)| own == name).map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        for (name, expected) in [
            ("SIP_HF_CALLID", "3848276298220188511@198.51.100.7"),
            ("SIP_HF_CSEQ", "1 INVITE"),
            ("SIP_HF_MAX_FORWARDS", "70"),
            ("SIP_HF_SUPPORTED", "timer, path,100rel"),
            ("SIP_HF_X_MY_OWN", "1"),
            ("SIP_USER", "carol"),
            ("SIP_OUSER", "bob"),
            ("SIP_ORURI", "sip:bob@example.com"),
            ("SIP_RURI", "sip:carol@h"),
            ("SIP_SRCIP", "198.51.100.7"),
            ("SIP_DID", ""),
        ] {
            assert_eq!(value(name).as_deref(), Some(expected), "{name}");
        }
    }
}
