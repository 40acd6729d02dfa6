//! Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760): challenges and passwords of the script.

mod challenge;
mod credentials;
mod password;
mod rpid;
mod settings;

use module_api::Module;

#[cfg(test)]
pub(crate) use credentials::DatabaseAway;
pub(crate) use credentials::{Check, Claim, Kind, away, outcome, verified};
pub(crate) use settings::Authentication;

/// Challenges, and what is common to all ways of verifying the answers.
pub static MODULE: Module = Module {
    name: "auth",
    doc: "Challenges requests and verifies the answers against passwords that the script has.",
    parameters: &settings::PARAMETERS,
    functions: &[
        challenge::WWW,
        crate::also("challenge", challenge::WWW),
        challenge::PROXY,
        challenge::AUTO,
        challenge::HEADER,
        challenge::ALGORITHM,
        credentials::CONSUME,
        credentials::HAS,
        password::WWW,
        crate::also("pv_www_authorize", password::WWW),
        password::PROXY,
        crate::also("pv_proxy_authorize", password::PROXY),
        password::CHECK,
        rpid::APPEND,
        rpid::APPEND_WITH,
        rpid::IS_E164,
    ],
    make: settings::make,
    ..Module::EMPTY
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use module_api::{Dialect, Setting, State};

    use super::MODULE;
    use crate::testing::{Bench, INVITE, make, text};

    // The user, password, realm and cnonce of RFC 7616 section 3.9.1; nonces are those of this secret, realm and time,
    // and the responses were computed for them with another implementation of MD5, SHA-256 and HMAC.
    const REALM: &str = "http-auth@example.org";
    const PASSWORD: &str = "Circle of Life";
    const SHA_256: (&str, &str, &str) = (
        "SHA-256",
        "006553f10000000000000000017071550f3e33b2825e26530931a9c86b",
        "cd4fa3f95b4efae858f03536a6f438931693699fc48dd3a1a9ffddebcaa177d9",
    );
    const MD5: (&str, &str, &str) =
        ("MD5", "006553f10000000000000000020be1f0cfd1c3f70c0714f3bcd18e5bc6", "3d4c3433cb093212f441768e761eb009");

    fn state() -> Arc<dyn State> {
        let settings = [("secret", "kept for the test"), ("algorithm", "SHA-256,MD5")]
            .map(|(name, value)| Setting { name: name.into(), value: text(value) });
        make(&MODULE, &settings, Dialect::Kamailio, &|_| None).unwrap()
    }

    fn register(line: &str, state: &Arc<dyn State>) -> Bench {
        let text = INVITE.replace("INVITE", "REGISTER").replace("Subject", &format!("{line}Subject"));
        Bench::with_state(&text, Arc::clone(state))
    }

    fn answer((algorithm, nonce, response): (&str, &str, &str)) -> String {
        format!(
            "Authorization: Digest username=\"Mufasa\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"sip:example.org\",\r\n \
             algorithm={algorithm}, response=\"{response}\", qop=auth, nc=00000001,\r\n \
             cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\"\r\n"
        )
    }

    #[test]
    fn a_challenge_is_answered_and_the_answer_is_accepted() {
        let state = state();
        let mut bench = register("", &state);
        assert_eq!(bench.run(&MODULE, "pv_www_authenticate", &[REALM, PASSWORD, "0"]), -5);
        assert_eq!(bench.run(&MODULE, "www_challenge", &[REALM, "1"]), 1);
        for (algorithm, nonce, _) in [SHA_256, MD5] {
            let line = format!("nonce=\"{nonce}\", qop=\"auth\", algorithm={algorithm}|");
            assert!(bench.host.done[0].contains(&line), "{}", bench.host.done[0]);
        }
        for given in [SHA_256, MD5] {
            let mut bench = register(&answer(given), &state);
            assert_eq!(bench.run(&MODULE, "pv_www_authenticate", &[REALM, PASSWORD, "0"]), 1, "{given:?}");
            assert_eq!(bench.run(&MODULE, "pv_www_authenticate", &[REALM, "Circle of life", "0"]), -2, "{given:?}");
            assert_eq!(bench.run(&MODULE, "pv_www_authenticate", &[REALM, PASSWORD, "0", "INVITE"]), -2, "{given:?}");
        }
    }

    #[test]
    fn an_old_nonce_is_challenged_as_stale_and_a_wrong_password_is_not() {
        let state = state();
        let mut bench = register(&answer(MD5), &state);
        bench.host.unix_time += Duration::from_secs(301);
        assert_eq!(bench.run(&MODULE, "pv_www_authenticate", &[REALM, "Circle of life", "0"]), -2);
        bench.run(&MODULE, "www_challenge", &[REALM, "1"]);
        assert!(!bench.host.done[0].contains("stale"), "{}", bench.host.done[0]);
        assert_eq!(bench.run(&MODULE, "pv_www_authenticate", &[REALM, PASSWORD, "0"]), -4);
        bench.run(&MODULE, "www_challenge", &[REALM, "1"]);
        assert!(bench.host.done[1].ends_with("algorithm=MD5, stale=true|"), "{}", bench.host.done[1]);
    }
}
