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
