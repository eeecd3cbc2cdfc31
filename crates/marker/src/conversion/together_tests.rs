//! Conversions that share a total with others, and chunks that are converted at
//! the same time, with a scripted marker.

use super::tests::{convert, in_tens};
use crate::drive::Drive;
use crate::plan::{Request, plan};
use crate::testing::{FakeMarker, Machine};

#[test]
fn a_step_says_what_it_is_expected_to_take() {
    for drive in [Drive::Fresh, Drive::Warm] {
        let machine = Machine::new();
        let request = Request {
            drive,
            ..in_tens(machine.request("book.pdf", 26))
        };
        let mut marker = FakeMarker::new();
        let planned = plan(&request, &machine.world(), &mut marker).unwrap();
        convert(&machine, &request, &mut marker).0.unwrap();
        let told: Vec<_> = marker.steps().iter().map(|step| step.estimate).collect();
        // Later ones are corrected by what was seen; a worker is told once.
        assert_eq!(told[0], Some(planned.chunks[0].estimate), "{drive:?}");
        assert!(told.iter().all(Option::is_some), "{drive:?} {told:?}");
    }
}
