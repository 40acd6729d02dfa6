//! Conformance and interop tests live in `it/`.
