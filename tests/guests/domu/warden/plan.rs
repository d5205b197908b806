//! What the warden is told to run: the lines of the file `plan`.
//!
//! A line is a round: its options, then its guests, each behind a colon. The guests of a round run together. A guest's
//! first word names it; all its words are on its command line, where it finds options of its own too.
//!
//! ```text
//! repeat=100 : tiny
//! timeout=20000 recount : grants vcpus=2 pages=2048 role=map : granter image=grants background role=grant
//! ```

/// Guests of a round at most.
pub const GUESTS: usize = 16;

/// One line of the plan.
#[derive(Clone, Copy)]
pub struct Round {
    /// How often the round is run.
    pub repeat: u64,
    /// How long one run may take, in milliseconds.
    pub timeout_ms: u64,
    /// By how many pages the hypervisor's own heap may grow meanwhile, because it serves more than ever before. Then the
    /// round is run once more, until a run changes nothing.
    pub heap: u64,
    /// By how many pages each run may change it: Xen's heap goes on growing for long when domains come and go at once.
    pub slack: u64,
    /// Whether the hypervisor is asked to recount its world afterwards (debug key C of ours; Xen's C crashes Xen).
    pub recount: bool,
    guests: &'static str,
}

/// One guest of a round.
#[derive(Clone, Copy)]
pub struct Guest {
    /// Its name.
    pub name: &'static str,
    /// Which image it runs.
    pub image: &'static str,
    /// How many vcpus it may start.
    pub vcpus: u32,
    /// Pages of memory.
    pub pages: u64,
    /// Whether the round ends without waiting for it.
    pub is_background: bool,
    /// All its words.
    pub words: &'static str,
}

/// The rounds of a plan.
pub fn rounds(plan: &'static [u8]) -> impl Iterator<Item = Round> {
    let text = core::str::from_utf8(plan).unwrap_or_default();
    text.lines().filter_map(|line| {
        let (options, guests) = line.split_once(':')?;
        Some(Round {
            repeat: number(options, "repeat").unwrap_or(1),
            timeout_ms: number(options, "timeout").unwrap_or(20_000),
            heap: number(options, "heap").unwrap_or(8),
            slack: number(options, "slack").unwrap_or(0),
            recount: has(options, "recount"),
            guests,
        })
    })
}

impl Round {
    /// Its guests.
    pub fn guests(&self) -> impl Iterator<Item = Guest> {
        self.guests.split(':').take(GUESTS).map(|words| {
            let words = words.trim();
            let name = words.split_ascii_whitespace().next().unwrap_or_default();
            Guest {
                name,
                image: value(words, "image").unwrap_or(name),
                vcpus: number(words, "vcpus").unwrap_or(1) as u32,
                pages: number(words, "pages").unwrap_or(1024),
                is_background: has(words, "background"),
                words,
            }
        })
    }
}

fn has(words: &str, flag: &str) -> bool {
    words.split_ascii_whitespace().any(|word| word == flag)
}

fn value(words: &'static str, name: &str) -> Option<&'static str> {
    let mut pairs = words
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn number(words: &'static str, name: &str) -> Option<u64> {
    value(words, name)?.parse().ok()
}
