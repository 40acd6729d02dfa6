//! The command line of `ser bench`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::drive::Pace;

/// What the load consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Sessions: INVITE, 180, 200, ACK, BYE, 200, between users that are registered before
    Call,
    /// Registrations, refreshed again and again
    Register,
    /// Instant messages to users that are registered before
    Message,
    /// OPTIONS that the server answers
    Options,
}

/// Options of `ser bench`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// What to send
    #[arg(value_enum)]
    pub kind: Kind,
    /// The server: HOST[:PORT]
    #[arg(long, value_name = "HOST:PORT")]
    pub target: String,
    /// Attempts a second; where the search for the capacity begins
    #[arg(long, value_name = "N", default_value_t = 100.0, value_parser = positive)]
    pub rate: f64,
    /// How long attempts are begun, in seconds; of each trial, with --find-capacity
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive)]
    pub duration: f64,
    /// How the server is reached; UDP is all there is yet
    #[arg(long, value_name = "TRANSPORT", default_value = "udp", value_parser = ["udp"])]
    pub transport: String,
    /// From how many ports the load comes; on this machine also from as many of its addresses, up to 250
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub addresses: u16,
    /// Number of users: they are called u0, u1, and so on
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub users: u32,
    /// What users' names begin with
    #[arg(long, value_name = "TEXT", default_value = "u")]
    pub prefix: String,
    /// The users' domain [default: the target]
    #[arg(long, value_name = "NAME")]
    pub domain: Option<String>,
    /// Answer the server's challenges with this password, which all users have
    #[arg(long, value_name = "PASSWORD")]
    pub auth: Option<String>,
    /// How long a call lasts, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pub hold: u64,
    /// An attempt without success after so long has failed (RFC 7501: Establishment Threshold Time), in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub threshold: u64,
    /// Search the highest rate at which no attempt fails (RFC 7502)
    #[arg(long)]
    pub find_capacity: bool,
    /// Print the result for programs
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// The target's address.
    pub(crate) fn resolve(&self) -> Result<SocketAddr> {
        const PORT: u16 = 5060;
        let with_port = |text: &str| text.to_socket_addrs().ok().and_then(|mut found| found.next());
        let bare = self.target.trim_start_matches('[').trim_end_matches(']');
        let address = with_port(&self.target).or_else(|| (bare, PORT).to_socket_addrs().ok()?.next());
        let address =
            address.with_context(|| format!("no address is known of `{}`; --target wants HOST:PORT", self.target))?;
        ensure!(address.port() > 0, "--target: nobody listens at port 0");
        Ok(address)
    }

    /// How attempts are begun.
    pub(crate) fn pace(&self, rate: f64) -> Pace {
        Pace {
            rate,
            attempts: (rate * self.duration).ceil() as u64,
            threshold: Duration::from_millis(self.threshold),
            hold: Duration::from_millis(self.hold),
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) && (0.001..=10_000_000.0).contains(&number) => Ok(number),
        _ => Err("a number between 0.001 and 10000000 is wanted".to_owned()),
    }
}
