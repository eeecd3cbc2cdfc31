//! Tables as wide as the terminal.

use comfy_table::{ContentArrangement, Row, Table, presets};

/// Cells where there is no terminal.
const USUAL_WIDTH: u16 = 100;

/// An empty table with this header.
pub(super) fn new(header: impl Into<Row>) -> Table {
    let width = terminal_size::terminal_size_of(std::io::stderr())
        .map_or(USUAL_WIDTH, |(width, _)| width.0.max(60));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    table.set_header(header);
    table
}
