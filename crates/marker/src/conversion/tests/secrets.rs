//! Passwords and keys, which nobody may read afterwards.

use std::fs;
use std::path::Path;

use super::super::Status;
use super::{convert, expected_text, in_tens, interrupted, text, work_folder};
use crate::password::Password;
use crate::plan::{Request, plan};
use crate::runner::Ending;
use crate::testing::{FakeMarker, Machine, Scene};

#[test]
fn a_locked_document_is_opened_for_as_long_as_it_is_converted() {
    let locked = || FakeMarker {
        lock: Some("hunter2"),
        ..FakeMarker::new()
    };
    let machine = Machine::new();
    let mut request = in_tens(machine.request("book.pdf", 12));
    let refused = |request: &Request| plan(request, &machine.world(), &mut locked()).unwrap_err();
    let error = refused(&request);
    assert!(
        error.to_string().ends_with("is protected by a password"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--password-file"));
    request.password = Some(Password::new("hunter3"));
    let error = refused(&request);
    assert!(
        error
            .to_string()
            .contains("does not open with the password"),
        "{error}"
    );

    request.password = Some(Password::new("hunter2"));
    let mut runner = FakeMarker {
        lock: Some("hunter2"),
        ..FakeMarker::with_scenes([Scene::Converts, interrupted()])
    };
    let (outcome, _) = convert(&machine, &request, &mut runner);
    assert_eq!(outcome.unwrap().status, Status::Interrupted);
    for step in runner.steps().iter() {
        let words = format!("{:?}{:?}", step.args, step.env);
        assert!(!words.contains("hunter2"), "{words}");
        let input = Path::new(step.args.last().unwrap());
        assert!(
            input.starts_with(work_folder(&machine).join("input")),
            "{input:?}"
        );
    }
    assert!(!work_folder(&machine).join("input").exists());

    // As a killed run leaves it.
    fs::create_dir(work_folder(&machine).join("input")).unwrap();
    fs::write(work_folder(&machine).join("input/document.pdf"), "open").unwrap();
    let (outcome, _) = convert(&machine, &request, &mut locked());
    assert_eq!(outcome.unwrap().status, Status::Complete);
    assert_eq!(text(&machine, "book"), expected_text(1..=12));
    assert!(!work_folder(&machine).join("input").exists());
    assert!(!tree_contains(&machine.output(), b"hunter2"));
    let plan = plan(&request, &machine.world(), &mut locked()).unwrap();
    assert!(!format!("{plan:?}").contains("hunter2"));
}

#[test]
fn no_secret_is_written_down() {
    let machine = Machine::new();
    let mut request = machine.request("book.pdf", 3);
    request.marker_args = vec!["--gemini_api_key".into(), "hunter2".into()];
    let plan = plan(&request, &machine.world(), &mut FakeMarker::new()).unwrap();
    assert!(!serde_json::to_string(&plan).unwrap().contains("hunter2"));
    let crash = Scene::Ends(Ending::Finished { exit_code: 1 }, "");
    plan.run(
        &mut FakeMarker::with_scenes([crash, interrupted()]),
        &mut |_| (),
    )
    .unwrap();
    assert!(!tree_contains(&machine.output(), b"hunter2"));
}

fn tree_contains(folder: &Path, words: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return tree_contains(&path, words);
        }
        fs::read(&path)
            .unwrap()
            .windows(words.len())
            .any(|window| window == words)
    })
}
