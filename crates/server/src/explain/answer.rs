//! What a simulated phone does with a request.

/// What a branch answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A reply: `486 Busy Here`.
    Status(String),
    /// Nothing, ever.
    Silence,
    /// Nobody listens there.
    Unreachable,
}

impl Answer {
    /// Reads `486`, `486 Busy Here`, `silence` or `unreachable`.
    ///
    /// # Errors
    /// In words, when it is none of these.
    pub(crate) fn parse(text: &str) -> Result<Answer, String> {
        match text.trim() {
            "silence" => Ok(Answer::Silence),
            "unreachable" => Ok(Answer::Unreachable),
            status => with_reason(status).map(Answer::Status),
        }
    }
}

/// A status code with its reason phrase, the usual one where none is given.
///
/// # Errors
/// In words, when it is no status code.
pub(crate) fn with_reason(text: &str) -> Result<String, String> {
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    let number: u16 = code.parse().unwrap_or(0);
    if !(100..700).contains(&number) {
        return Err(format!("`{text}` is no answer; write a status from 100 to 699, silence or unreachable"));
    }
    let reason = if reason.is_empty() { usual(number) } else { reason };
    Ok(format!("{number} {reason}"))
}

/// Reason phrases as RFC 3261 section 21 and its extensions have them.
fn usual(code: u16) -> &'static str {
    const REASONS: &[(u16, &str)] = &[
        (100, "Trying"),
        (180, "Ringing"),
        (181, "Call Is Being Forwarded"),
        (182, "Queued"),
        (183, "Session Progress"),
        (200, "OK"),
        (202, "Accepted"),
        (300, "Multiple Choices"),
        (301, "Moved Permanently"),
        (302, "Moved Temporarily"),
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (405, "Method Not Allowed"),
        (407, "Proxy Authentication Required"),
        (408, "Request Timeout"),
        (415, "Unsupported Media Type"),
        (420, "Bad Extension"),
        (480, "Temporarily Unavailable"),
        (481, "Call/Transaction Does Not Exist"),
        (482, "Loop Detected"),
        (483, "Too Many Hops"),
        (484, "Address Incomplete"),
        (486, "Busy Here"),
        (487, "Request Terminated"),
        (488, "Not Acceptable Here"),
        (500, "Server Internal Error"),
        (501, "Not Implemented"),
        (503, "Service Unavailable"),
        (600, "Busy Everywhere"),
        (603, "Decline"),
        (604, "Does Not Exist Anywhere"),
    ];
    REASONS.iter().find(|(known, _)| *known == code).map_or("Unknown", |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_silence_or_unreachable() {
        assert_eq!(Answer::parse("486"), Ok(Answer::Status("486 Busy Here".into())));
        assert_eq!(Answer::parse("486 At Lunch"), Ok(Answer::Status("486 At Lunch".into())));
        assert_eq!(Answer::parse("silence"), Ok(Answer::Silence));
        assert_eq!(Answer::parse("unreachable"), Ok(Answer::Unreachable));
        assert!(Answer::parse("99").is_err());
        assert!(Answer::parse("busy").is_err());
    }
}
