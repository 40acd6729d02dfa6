//! What can go wrong: with a question, and with a setting.

use std::path::PathBuf;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No server answered in time.
    #[error("no RADIUS server answered: {0}")]
    Silent(String),
    /// All servers were found silent a moment ago; none is asked until they have rested.
    #[error("every RADIUS server is resting after it did not answer")]
    Resting,
    /// As many questions are on the way as there may be.
    #[error("too many questions to the RADIUS servers are on the way")]
    Busy,
    /// A question that no packet can hold.
    #[error("the question does not fit into a RADIUS packet: {0}")]
    TooLong(String),
}

/// What is wrong with a setting or a file that one names.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line of a file says nothing that is known.
    #[error("{path}:{line}: {cause}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        cause: String,
    },
    /// A setting or the whole of a file does not do.
    #[error("{0}")]
    Setting(String),
}
