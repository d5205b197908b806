//! Requests against a simulated host.
