//! An error with its causes in one line: `failed to write `x`: Permission
//! denied`. Errors here never repeat their source, so nothing is said twice.

use std::error::Error;

/// The message of `error` and of every cause behind it, joined by colons.
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::V2Group;

    #[test]
    fn causes_follow_their_effect() {
        let error = V2Group::at("/nowhere")
            .max()
            .expect_err("there is no such group");
        assert_eq!(
            one_line(&error),
            "failed to read `/nowhere/memory.max`: No such file or directory (os error 2)"
        );
    }
}
