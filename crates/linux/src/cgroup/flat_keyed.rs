//! Files of the form `key value` per line: memory.events, memory.stat,
//! cgroup.events, memory.oom_control.

/// The pairs of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlatKeyed(Vec<(String, u64)>);

impl FlatKeyed {
    /// Every line that is a word and a number; others are skipped.
    pub fn parse(text: &str) -> FlatKeyed {
        let pair = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        };
        FlatKeyed(text.lines().filter_map(pair).collect())
    }

    /// The value of a key; `None` where this kernel does not have it.
    pub fn get(&self, key: &str) -> Option<u64> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::FlatKeyed;

    #[test]
    fn absent_is_not_zero() {
        let events = FlatKeyed::parse("low 0\noom 1\noom_kill 2\n\nodd line here\n");
        assert_eq!(events.get("oom_kill"), Some(2));
        assert_eq!(events.get("low"), Some(0));
        assert_eq!(events.get("oom_group_kill"), None);
        assert_eq!(events.get("odd"), None);
    }
}
