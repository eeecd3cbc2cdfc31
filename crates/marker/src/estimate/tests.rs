//! Estimates against peaks that were measured.

use super::*;

fn model(version: &str, weights_mib: u64, layout_batch: u32) -> MemoryModel {
    let weights = Weights::Measured {
        bytes: ByteSize::from_mib(weights_mib),
        copied: ByteSize::default(),
    };
    let conditions = Conditions {
        layout_batch,
        ..Conditions::least(version.parse().unwrap(), weights)
    };
    MemoryModel::new(conditions, &[])
}

fn letters(model: &MemoryModel, pages: u32, effort: Effort) -> u64 {
    model
        .run(&PageSet::all(pages), effort, |_| PageSize::LETTER)
        .mib()
}

#[test]
fn estimates_are_near_the_peaks_that_were_measured() {
    // (layout batch, pages, peak in MiB) of 1.10.2 with random models of real
    // size, mapped from their files, as the proportional set size, so that the
    // estimates are to be some hundred MiB below.
    let measured = [(1, 8, 4024), (6, 8, 4370), (8, 8, 4664)];
    for (batch, pages, peak) in measured {
        let estimate = letters(&model("1.10.2", 5466, batch), pages, Effort::Usual);
        let off = estimate.abs_diff(peak) * 100 / peak;
        assert!(
            off <= 13,
            "batch {batch}, {pages} pages: {estimate} MiB estimated, {peak} MiB measured"
        );
    }
}

#[test]
fn less_effort_costs_less() {
    let model = model("1.10.2", 40, 6);
    let hundred = |effort| letters(&model, 100, effort);
    assert!(hundred(Effort::SmallBatches) < hundred(Effort::Usual));
    // 100 pages at 48 and 96 dpi took 46 % of what they took at 96 and 192
    // (proportional set size, toy models).
    let share = hundred(Effort::LowResolution) * 100 / hundred(Effort::Usual);
    assert!((35..=50).contains(&share), "{share} %");
}

#[test]
fn a_poster_weighs_as_much_as_its_area() {
    let model = model("1.10.2", 40, 6);
    let a0 = model.page_cost(PageSize(2384, 3370), Effort::Usual);
    assert!((420..450).contains(&a0.mib()), "{a0}");
    let huge = model.page_cost(PageSize(u32::MAX, u32::MAX), Effort::Usual);
    assert!(huge.bytes() > 1 << 50);
}

#[test]
fn a_measured_spread_uses_more_of_the_limit() {
    let mut model = model("1.10.2", 40, 6);
    assert_eq!(model.planned_share(), 91);
    assert_eq!(model.limit_for(ByteSize::from_mib(910)).mib(), 1000);
    model.spread = 0.02;
    assert_eq!(model.planned_share(), 96);
    model.spread = 0.5;
    assert_eq!(model.planned_share(), 75);
}

#[test]
fn processes_that_extract_text_count_where_they_weigh() {
    let model = MemoryModel {
        text_workers: 4,
        ..model("1.10.2", 40, 6)
    };
    let single = |pages| letters(&self::model("1.10.2", 40, 6), pages, Effort::Usual);
    assert_eq!(letters(&model, 19, Effort::Usual), single(19));
    assert_eq!(letters(&model, 100, Effort::Usual), single(100));
    assert!(letters(&model, 40, Effort::Usual) > 1900);
}
