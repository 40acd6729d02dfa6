//! The user that a function is asked about: by a word such as `From`, or by a URI.

use module_api::{Call, Context};
use sip_message::{Uri, unescape};

/// A user and the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Without the escapes that a URI needs.
    pub(crate) user: String,
    /// As written.
    pub(crate) domain: String,
}

impl Subject {
    /// Who `word` names: `Request-URI`, `From`, `To`, `Credentials` (those that were verified), or a URI itself.
    ///
    /// # Errors
    /// A phrase for the log.
    pub(crate) fn named(call: &Call<'_>, word: &[u8]) -> Result<Subject, &'static str> {
        let context = &*call.context;
        match word {
            b"Request-URI" | b"$ru" => Subject::of_uri(&context.target.uri),
            b"From" | b"$fu" => Subject::of_uri(context.message.from().map_err(|_| "From cannot be read")?.uri),
            b"To" | b"$tu" => Subject::of_uri(context.message.to().map_err(|_| "To cannot be read")?.uri),
            b"Credentials" => Subject::verified(context).ok_or("no credentials have been verified"),
            uri => Subject::of_uri(uri),
        }
    }

    /// The user of a URI.
    pub(crate) fn of_uri(uri: &[u8]) -> Result<Subject, &'static str> {
        let uri = Uri::parse(uri).map_err(|_| "the URI cannot be read")?;
        let user = uri.user.ok_or("the URI has no user")?;
        Ok(Subject { user: text(&unescape(user)), domain: text(uri.host_text) })
    }

    /// Whose credentials were verified. A user name with a domain in it counts as that of the domain.
    pub(crate) fn verified(context: &Context) -> Option<Subject> {
        let credentials = crate::auth::verified(context)?;
        let (user, realm) = (text(credentials.username), text(credentials.realm));
        Some(match user.split_once('@') {
            Some((user, domain)) => Subject { user: user.to_owned(), domain: domain.to_owned() },
            None => Subject { user, domain: realm },
        })
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// A user name as a URI writes it (RFC 3261 section 25.1, `user`).
pub(crate) fn escaped(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for octet in user.bytes() {
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}
