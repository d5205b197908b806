//! Events: what happens to domains and consoles, told to whoever listens.

use serde_json::Value;

/// Events that a slow listener may lag behind before it misses some.
pub const BACKLOG: usize = 256;

/// One event of the API (2.0's names and values).
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Such as `xend.domain.create`.
    pub name: String,
    /// Such as `["name", 3]`.
    pub value: Value,
}

impl Event {
    /// Makes an event.
    pub fn new(name: &str, value: Value) -> Self {
        Self {
            name: name.to_owned(),
            value,
        }
    }

    /// Whether a subscription pattern covers it: exact, `a.?` for any last component, `a.*` for `a` and all below, `*` for all.
    pub fn matches(&self, pattern: &str) -> bool {
        if pattern == "*" {
            return true;
        }
        if let Some(prefix) = pattern.strip_suffix(".*") {
            return self.name == prefix
                || self
                    .name
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with('.'));
        }
        if let Some(prefix) = pattern.strip_suffix(".?") {
            return self
                .name
                .rsplit_once('.')
                .is_some_and(|(head, _)| head == prefix);
        }
        self.name == pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_xen_2() {
        let event = Event::new("xend.domain.exit", Value::Null);
        for (pattern, fits) in [
            ("*", true),
            ("xend.domain.exit", true),
            ("xend.domain.?", true),
            ("xend.?", false),
            ("xend.*", true),
            ("xend.domain.exit.*", true),
            ("xend.dom.*", false),
            ("xend.domain.create", false),
        ] {
            assert_eq!(event.matches(pattern), fits, "{pattern}");
        }
    }
}
