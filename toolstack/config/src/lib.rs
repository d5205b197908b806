//! Domain configurations, from what a user writes to a typed specification.
