//! Tests of the page-table rules.
