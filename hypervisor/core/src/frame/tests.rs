//! Tests of the frame room.
