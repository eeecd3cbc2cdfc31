//! Whether the kernel tells how long tasks wait for memory (PSI).

use serde::{Deserialize, Serialize};

use super::boot::Boot;
use super::read;
use crate::{Fact, Roots};

/// Stall times of the machine, in percent of the last ten seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Some tasks waited.
    pub some: f64,
    /// All of them did.
    pub full: f64,
}

impl Pressure {
    pub(super) fn observe(roots: &Roots, boot: &Boot) -> Fact<Pressure> {
        const FILE: &str = "/proc/pressure/memory";
        match read::optional(roots, FILE) {
            Fact::Present { value } => Fact::understood(parse(&value), FILE),
            Fact::Absent { because } => Fact::absent(match built(boot) {
                Some(false) => format!("{because}: the kernel was built without CONFIG_PSI"),
                Some(true) | None => because,
            }),
            // Built with CONFIG_PSI_DEFAULT_DISABLED: the file is there, and
            // reading it gives EOPNOTSUPP.
            Fact::Unknown { because } if is_off(boot) => {
                Fact::absent(format!("{because}: it is turned on by psi=1 at boot"))
            }
            Fact::Unknown { because } => Fact::unknown_since(because),
        }
    }
}

fn built(boot: &Boot) -> Option<bool> {
    boot.config.value()?.pressure
}

fn is_off(boot: &Boot) -> bool {
    let config = boot.config.value();
    let by_default = config.is_some_and(|config| config.pressure_is_off_by_default == Some(true));
    (by_default && !boot.has_word("psi=1")) || boot.has_word("psi=0")
}

/// `some avg10=0.00 avg60=… total=…` and the same with `full`.
fn parse(text: &str) -> Option<Pressure> {
    let average = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let words = line.split_whitespace();
        let value = words
            .into_iter()
            .find_map(|word| word.strip_prefix("avg10="))?;
        value.parse::<f64>().ok().filter(|share| share.is_finite())
    };
    Some(Pressure {
        some: average("some ")?,
        full: average("full ")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_read() {
        let text =
            "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\nfull avg10=0.25 avg60=0 total=1\n";
        let pressure = Pressure {
            some: 1.5,
            full: 0.25,
        };
        assert_eq!(parse(text), Some(pressure));
        for odd in [
            "",
            "some avg10=1",
            "some avg10=NaN\nfull avg10=0\n",
            "some\nfull\n",
        ] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
