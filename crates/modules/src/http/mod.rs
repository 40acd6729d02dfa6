//! Asking web servers: modules http_client and http_async_client.

mod background;
mod client;
mod query;

use bytes::Bytes;
use module_api::{Value, WebAnswer, WebRequest};

pub use client::MODULE as CLIENT;
pub use query::MODULE as ASYNC_CLIENT;

/// Longest body of an answer that a script may have.
const LONGEST: usize = 1 << 20;

/// The lines of a text as headers.
///
/// # Errors
/// The line that is none.
fn headers(text: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let header = |line: &str| {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("`{line}` is not a header such as Name: value"))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    lines.map(header).collect()
}

/// What is asked of a URL, where a script says no more.
fn request(method: &str, url: &[u8]) -> WebRequest {
    WebRequest {
        method: method.to_owned(),
        url: String::from_utf8_lossy(url).into_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
        patience: std::time::Duration::from_secs(4),
        longest: LONGEST,
    }
}

/// Gives a body its type, unless it has one.
fn type_body(request: &mut WebRequest, kind: &str) {
    let is_typed = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if !request.body.is_empty() && !is_typed {
        request.headers.push(("Content-Type".to_owned(), kind.to_owned()));
    }
}

/// How curl calls a body whose type nobody says.
const FORM: &str = "application/x-www-form-urlencoded";

/// A header of an answer.
fn header(answer: &WebAnswer, name: &str) -> Value {
    let found = answer.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map_or(Value::Null, |(_, value)| Value::Str(value.clone()))
}

#[cfg(test)]
mod testing {
    use std::sync::{Arc, Mutex};

    use module_api::{Job, Server, Web, WebAnswer, WebExchange, WebRequest};

    /// A web that gives one answer and keeps what was asked.
    pub(super) struct OneAnswer {
        pub(super) answer: Result<WebAnswer, String>,
        pub(super) asked: Mutex<Vec<WebRequest>>,
    }

    impl OneAnswer {
        pub(super) fn new(answer: Result<(u16, &str), &str>) -> Arc<OneAnswer> {
            let answer = answer.map(|(status, body)| WebAnswer {
                status,
                reason: "So It Is".to_owned(),
                headers: vec![("x-kind".to_owned(), "plain".into())],
                body: body.to_owned().into(),
            });
            Arc::new(OneAnswer { answer: answer.map_err(str::to_owned), asked: Mutex::default() })
        }

        pub(super) fn asked(&self) -> WebRequest {
            self.asked.lock().expect("no test panics in here").pop().expect("something was asked")
        }
    }

    impl Web for OneAnswer {
        fn fetch(&self, request: WebRequest) -> WebExchange {
            self.asked.lock().expect("no test panics in here").push(request);
            let answer = self.answer.clone();
            Box::pin(async move { answer })
        }
    }

    /// A server that has it.
    pub(super) struct Connected(pub(super) Arc<OneAnswer>);

    impl Server for Connected {
        fn post(&self, _: &[u8], job: Job) -> Result<(), Job> {
            Err(job)
        }

        fn web(&self) -> Option<Arc<dyn Web>> {
            Some(Arc::clone(&self.0) as _)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(headers(b"X-A: 1\r\nX-B:2\n\n"), Ok(vec![pair("X-A", "1"), pair("X-B", "2")]));
        assert!(headers(b"no header").is_err());
        let mut request = request("POST", b"http://h/");
        type_body(&mut request, FORM);
        assert!(request.headers.is_empty());
        request.body = Bytes::from_static(b"a=1");
        type_body(&mut request, FORM);
        assert_eq!(request.headers, [pair("Content-Type", FORM)]);
        type_body(&mut request, "text/plain");
        assert_eq!(request.headers.len(), 1);
    }
}
