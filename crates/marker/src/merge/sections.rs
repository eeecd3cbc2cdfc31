//! Sections that go on in the next part. Pure.
//!
//! In JSON each block names the headings under which it stands, one a level
//! (`section_hierarchy`). A run of marker does not know under which headings
//! its first page stands; the part before does.

use super::survey::{Edit, Hierarchy, Survey};

/// Adds the edits that carry sections from each part into the next.
pub(super) fn carry(parts: &mut [Survey]) {
    let mut state = Hierarchy::new();
    for part in parts {
        let carried = state;
        // A heading ends all sections of its level and below.
        let mut ended = u32::MAX;
        state = carried.clone();
        for section in &part.sections {
            ended = section.begins.map_or(ended, |level| ended.min(level));
            let go_on = carried.iter().filter(|(level, _)| *level < ended);
            let is_carried = go_on.clone().next().is_some();
            let mut whole: Hierarchy = go_on.cloned().collect();
            whole.extend(section.hierarchy.iter().cloned());
            if is_carried {
                part.edits.push(Edit {
                    range: section.range.clone(),
                    text: written(&whole, section.indent),
                });
            }
            state = whole;
        }
    }
}

/// As marker writes it, two blanks for each depth.
fn written(hierarchy: &Hierarchy, indent: usize) -> String {
    let blanks = " ".repeat(indent);
    let entries = hierarchy.iter().map(|(level, id)| {
        format!(
            "{blanks}  \"{level}\": {}",
            serde_json::Value::from(id.as_str())
        )
    });
    let entries: Vec<String> = entries.collect();
    format!("{{\n{}\n{blanks}}}", entries.join(",\n"))
}
