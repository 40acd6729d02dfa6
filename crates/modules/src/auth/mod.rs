//! Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760): challenges and passwords of the script.

mod challenge;
mod credentials;
mod password;
mod settings;

use module_api::Module;

pub(crate) use credentials::{Check, Claim, Kind, outcome, realm_or_domain, verified};
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
        credentials::CONSUME,
        credentials::HAS,
        password::WWW,
        crate::also("pv_www_authorize", password::WWW),
        password::PROXY,
        crate::also("pv_proxy_authorize", password::PROXY),
        password::CHECK,
    ],
    variables: &[],
    make: settings::make,
};
