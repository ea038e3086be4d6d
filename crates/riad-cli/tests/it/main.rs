//! The program as people run it: every test starts it, and looks at what it prints and writes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(unix)]
mod bad_entries;
mod bench;
mod channels;
mod compare;
mod data_sets;
mod exports;
mod from_nothing;
mod held_out;
mod imports;
mod killed;
mod method;
mod newcomer;
mod overwriting;
mod photos;
mod pipeline;
mod report;
mod roi;
mod serve;
mod start;
mod support;
mod suspects;
mod system;
mod thresholds;
mod tiles;
mod usage;
mod values;
mod watch;
