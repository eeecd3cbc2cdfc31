//! One setting: what it is worth in this run, where that comes from, how it
//! reaches marker and whether it does anything there.

use std::fmt;

use serde::Serialize;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lever {
    /// What it changes.
    pub kind: LeverKind,
    /// What it is, for people: `batch size: layout`.
    pub name: String,
    /// Its value in this run. A switch has `yes` or `no`.
    pub value: String,
    /// How it reaches marker.
    pub passed_as: PassedAs,
    /// Where the value comes from.
    pub set_by: SetBy,
    /// Whether it does anything.
    pub effect: Effect,
}

/// The value of a switch that is set.
pub const ON: &str = "yes";

/// The value of a switch that is not set.
pub const OFF: &str = "no";

/// What a setting changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeverKind {
    /// How many items a stage takes at once: memory against time, with the
    /// same result.
    BatchSize,
    /// How finely pages are rendered, in dots per inch: memory against
    /// quality.
    Resolution,
    /// How many processes extract text.
    TextWorkers,
    /// Threads of the numerical libraries; no memory.
    Threads,
    /// The number format of the models.
    Precision,
    /// How PyTorch allocates memory of a CUDA device.
    CudaAllocator,
    /// How the C library keeps freed memory.
    Heap,
    /// Which models run, and where.
    Models,
    /// What is left out of the result.
    Content,
    /// A variable from the user's environment that no other lever covers.
    Environment,
}

/// How a setting reaches marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassedAs {
    /// As an option of `marker_single` with a value.
    Flag(String),
    /// As an option of `marker_single` without a value.
    Switch(String),
    /// As a key of the file for `--config_json`.
    ConfigFile(String),
    /// As an environment variable.
    Environment(String),
}

impl PassedAs {
    /// Marker's word for it.
    pub fn word(&self) -> &str {
        match self {
            PassedAs::Flag(word)
            | PassedAs::Switch(word)
            | PassedAs::ConfigFile(word)
            | PassedAs::Environment(word) => word,
        }
    }
}

impl fmt::Display for PassedAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Where a setting's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetBy {
    /// It is marker's own; nothing is passed.
    Marker,
    /// The request, or memcap's own default.
    Memcap,
    /// An option for marker that the user wrote out.
    Hand,
    /// The user's environment, which marker inherits.
    Environment,
}

/// Whether a setting does anything in the installed marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It does what it says.
    Yes,
    /// It does not, and why; memcap does not pass it.
    No {
        /// One sentence without its full stop.
        because: String,
    },
}

/// It does nothing, for this reason.
pub(super) fn no(because: &str) -> Effect {
    Effect::No {
        because: because.to_owned(),
    }
}

impl Lever {
    /// Marker's own value.
    pub(super) fn of_marker(
        kind: LeverKind,
        name: impl Into<String>,
        value: impl Into<String>,
        passed_as: PassedAs,
    ) -> Lever {
        Lever {
            kind,
            name: name.into(),
            value: value.into(),
            passed_as,
            set_by: SetBy::Marker,
            effect: Effect::Yes,
        }
    }

    /// An environment variable.
    pub(super) fn variable(
        kind: LeverKind,
        name: &str,
        variable: &str,
        value: &str,
        set_by: SetBy,
    ) -> Lever {
        let passed_as = PassedAs::Environment(variable.to_owned());
        Lever {
            set_by,
            ..Lever::of_marker(kind, name, value, passed_as)
        }
    }

    /// The same with another value of memcap's.
    pub(super) fn set(self, value: impl Into<String>) -> Lever {
        Lever {
            value: value.into(),
            set_by: SetBy::Memcap,
            ..self
        }
    }

    /// The same with what is known of its effect.
    pub(super) fn with(self, effect: Effect) -> Lever {
        Lever { effect, ..self }
    }

    /// Whether memcap has to hand it to marker.
    pub fn is_passed(&self) -> bool {
        let ours = match self.set_by {
            SetBy::Memcap | SetBy::Hand => true,
            SetBy::Marker | SetBy::Environment => false,
        };
        ours && self.effect == Effect::Yes
    }
}
