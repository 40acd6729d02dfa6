//! Rows of `domain` and `dbaliases`.

/// A domain that this server is responsible for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDomain {
    /// The name.
    pub domain: String,
    /// Identifier that several names of one virtual domain share; absent when it is the name itself.
    pub did: Option<String>,
}

/// The address of record that an alias stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasTarget {
    /// User part.
    pub username: String,
    /// Domain.
    pub domain: String,
}
