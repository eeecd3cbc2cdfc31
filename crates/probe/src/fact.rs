//! Answers in three values.

use memcap_linux::one_line;
use serde::{Deserialize, Serialize};

/// What is known about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Fact<T> {
    /// It is there.
    Present {
        /// What it is.
        value: T,
    },
    /// It is certainly not there, or not usable.
    Absent {
        /// Why, in one line.
        because: String,
    },
    /// It could not be found out.
    Unknown {
        /// Why, in one line.
        because: String,
    },
}

impl<T> Fact<T> {
    /// It is there.
    pub fn present(value: T) -> Fact<T> {
        Fact::Present { value }
    }

    /// It is certainly not there.
    pub fn absent(because: impl Into<String>) -> Fact<T> {
        Fact::Absent {
            because: because.into(),
        }
    }

    /// It could not be found out.
    pub fn unknown(error: &dyn std::error::Error) -> Fact<T> {
        Fact::Unknown {
            because: one_line(error),
        }
    }

    /// It could not be found out, for a reason in words.
    pub fn unknown_since(because: impl Into<String>) -> Fact<T> {
        Fact::Unknown {
            because: because.into(),
        }
    }

    /// What follows from the value, where there is one.
    pub fn map<U>(self, follows: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Fact::Present { value } => Fact::present(follows(value)),
            Fact::Absent { because } => Fact::Absent { because },
            Fact::Unknown { because } => Fact::Unknown { because },
        }
    }

    /// What follows from the value, which may be that nothing is known.
    pub fn and_then<U>(self, follows: impl FnOnce(T) -> Fact<U>) -> Fact<U> {
        match self {
            Fact::Present { value } => follows(value),
            Fact::Absent { because } => Fact::Absent { because },
            Fact::Unknown { because } => Fact::Unknown { because },
        }
    }

    /// A value that was understood, or that this text could not be.
    pub(crate) fn understood(value: Option<T>, file: &str) -> Fact<T> {
        match value {
            Some(value) => Fact::present(value),
            None => Fact::unknown_since(format!("{file} is not as the kernel writes it")),
        }
    }

    /// Whether it is there for certain.
    pub fn is_present(&self) -> bool {
        self.value().is_some()
    }

    /// Whether it is certainly not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Fact::Absent { .. })
    }

    /// The value, where there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Fact::Present { value } => Some(value),
            Fact::Absent { .. } | Fact::Unknown { .. } => None,
        }
    }

    /// The reason, where there is no value.
    pub fn because(&self) -> Option<&str> {
        match self {
            Fact::Present { .. } => None,
            Fact::Absent { because } | Fact::Unknown { because } => Some(because),
        }
    }
}
