//! Typed hypercalls, foreign memory, event channels and grants for programs in domain 0.
