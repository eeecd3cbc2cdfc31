//! A run as a picture: memory over time with its limit and what happened, as
//! SVG that is readable on light and dark grounds and needs nothing but itself.

use std::fmt::Write as _;
use std::time::Duration;

use memcap_linux::ByteSize;
use memcap_supervisor::{Happening, OtherLimit, Outcome, TimedEvent, Timeline};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 52.0;
/// What a letter of a label takes, at 12 pixels, roughly.
const LETTER: f64 = 6.8;
/// Rows of labels above the picture.
const ROWS: usize = 2;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}\
.title{font-size:15px;font-weight:600}\
.ground{fill:#ffffff}.grid{stroke:#d8dee4;stroke-width:1}.axis{stroke:#57606a}\
.band{fill:#0969da;fill-opacity:.25}.most{fill:none;stroke:#0969da;stroke-width:1.6}\
.limit{stroke:#cf222e;stroke-width:1.4;stroke-dasharray:6 4}.limit-word{fill:#cf222e}\
.soft{stroke:#9a6700;stroke-width:1.4;stroke-dasharray:3 3}.soft-word{fill:#9a6700}\
.event{stroke:#57606a;stroke-dasharray:2 3}.frozen{fill:#57606a;fill-opacity:.15}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}\
.grid{stroke:#30363d}.axis,.event{stroke:#8b949e}.band{fill:#58a6ff}.most{stroke:#58a6ff}\
.limit{stroke:#ff7b72}.limit-word{fill:#ff7b72}.soft{stroke:#d29922}.soft-word{fill:#d29922}\
.frozen{fill:#8b949e}}";

/// A horizontal line: a limit and what it is called.
struct Level {
    bytes: ByteSize,
    name: &'static str,
    class: &'static str,
}

/// Draws a run; one that was not recorded shows why.
pub(crate) fn draw(outcome: &Outcome, program: &str) -> String {
    let plan = &outcome.plan;
    let title = format!("{program}: {}", outcome.verdict.kind);
    let peak = outcome
        .peak
        .map_or_else(|| "unknown".to_owned(), |peak| peak.to_string());
    let below = format!(
        "{} ({}), peak {peak} of {}",
        plan.mechanism, plan.guarantee, plan.limit
    );
    let limit = Level {
        bytes: plan.limit,
        name: "limit",
        class: "limit",
    };
    let soft = plan.beside.iter().find_map(|held| match held.limit {
        OtherLimit::Soft { bytes } => Some(Level {
            bytes,
            name: "soft limit",
            class: "soft",
        }),
        _ => None,
    });
    let levels: Vec<Level> = [limit].into_iter().chain(soft).collect();
    match &outcome.timeline {
        Some(timeline) if timeline.intervals().next().is_some() => {
            picture(&title, &below, timeline, &levels, outcome.wall)
        }
        _ => words(&title, &outcome.verdict.evidence.join("; ")),
    }
}

/// Draws a run that was refused before it began.
pub(crate) fn draw_refusal(error: &str) -> String {
    words("memcap: the run was refused", error)
}

fn words(title: &str, text: &str) -> String {
    let mut svg = head(title);
    label(&mut svg, LEFT, 70.0, "", "start", text);
    svg.push_str("</svg>\n");
    svg
}

fn picture(
    title: &str,
    below: &str,
    timeline: &Timeline,
    levels: &[Level],
    wall: Option<Duration>,
) -> String {
    let scale = Scale::new(timeline, levels, wall);
    let mut svg = head(title);
    label(&mut svg, LEFT, 50.0, "", "start", below);
    axes(&mut svg, &scale);
    freezes(&mut svg, &scale, timeline.events());
    curve(&mut svg, &scale, timeline);
    for level in levels {
        let (y, right) = (scale.y(level.bytes), WIDTH - RIGHT);
        line(&mut svg, level.class, (LEFT, y), (right, y));
        let text = format!("{} {}", level.name, level.bytes);
        let class = format!("{}-word", level.class);
        label(&mut svg, right - 4.0, y - 5.0, &class, "end", &text);
    }
    events(&mut svg, &scale, timeline.events());
    svg.push_str("</svg>\n");
    svg
}

/// From seconds and bytes to places in the picture.
struct Scale {
    seconds: f64,
    bytes: f64,
    second_step: f64,
    byte_step: f64,
}

impl Scale {
    fn new(timeline: &Timeline, levels: &[Level], wall: Option<Duration>) -> Scale {
        let last = timeline.intervals().last();
        let seen = last.map_or(Duration::ZERO, |last| last.begin);
        let seconds = wall.unwrap_or(seen).max(seen).as_secs_f64().max(0.001);
        let largest = timeline.intervals().map(|interval| interval.most);
        let largest = largest
            .chain(levels.iter().map(|level| level.bytes))
            .max()
            .unwrap_or(ByteSize::from_mib(1));
        let byte_step = binary_step(as_f64(largest) * 1.1 / 5.0);
        let bytes = (as_f64(largest) * 1.05 / byte_step).ceil() * byte_step;
        Scale {
            seconds,
            bytes,
            second_step: decimal_step(seconds / 6.0),
            byte_step,
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }

    fn y(&self, bytes: ByteSize) -> f64 {
        self.height_of(as_f64(bytes))
    }

    fn height_of(&self, bytes: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (bytes / self.bytes).clamp(0.0, 1.0)
    }
}

fn head(title: &str) -> String {
    let mut svg = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>",
        escaped(title)
    );
    label(&mut svg, LEFT, 28.0, "title", "start", title);
    svg
}

fn axes(svg: &mut String, scale: &Scale) {
    let bottom = HEIGHT - BOTTOM;
    for bytes in steps(scale.byte_step, scale.bytes) {
        let y = scale.height_of(bytes);
        line(svg, "grid", (LEFT, y), (WIDTH - RIGHT, y));
        label(svg, LEFT - 8.0, y + 4.0, "", "end", &byte_label(bytes));
    }
    for seconds in steps(scale.second_step, scale.seconds) {
        let x = scale.x(seconds);
        line(svg, "axis", (x, bottom), (x, bottom + 5.0));
        let text = second_label(seconds, scale.second_step);
        label(svg, x, bottom + 20.0, "", "middle", &text);
    }
    line(svg, "axis", (LEFT, bottom), (WIDTH - RIGHT, bottom));
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    let text = "time since the job's start";
    label(svg, middle, HEIGHT - 12.0, "", "middle", text);
}

/// A band from the least to the largest sample of each interval, and a line
/// along the largest.
fn curve(svg: &mut String, scale: &Scale, timeline: &Timeline) {
    let mut upper = String::new();
    let mut lower = Vec::new();
    for interval in timeline.intervals() {
        let x = scale.x(interval.begin.as_secs_f64());
        let _ = write!(upper, "{x:.1},{:.1} ", scale.y(interval.most));
        lower.push(format!("{x:.1},{:.1}", scale.y(interval.least)));
    }
    lower.reverse();
    let _ = writeln!(
        svg,
        "<polygon class=\"band\" points=\"{upper}{}\"/>\n<polyline class=\"most\" points=\"{}\"/>",
        lower.join(" "),
        upper.trim_end()
    );
}

/// A shade from each freeze to its thaw.
fn freezes(svg: &mut String, scale: &Scale, events: &[TimedEvent]) {
    let mut since = None;
    for event in events {
        match (event.what, since) {
            (Happening::Frozen, None) => since = Some(event.at),
            (Happening::Thawed, Some(begin)) => {
                shade(svg, scale, begin, event.at);
                since = None;
            }
            _ => {}
        }
    }
    if let (Some(begin), Some(last)) = (since, events.last()) {
        shade(svg, scale, begin, last.at);
    }
}

fn shade(svg: &mut String, scale: &Scale, from: Duration, to: Duration) {
    let (from, to) = (scale.x(from.as_secs_f64()), scale.x(to.as_secs_f64()));
    let _ = writeln!(
        svg,
        "<rect class=\"frozen\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        (to - from).max(1.0),
        HEIGHT - TOP - BOTTOM
    );
}

/// Lines at what happened, with labels in rows where they do not touch; a
/// label for which there is no room is left to the line's tooltip.
fn events(svg: &mut String, scale: &Scale, events: &[TimedEvent]) {
    let mut free_from = [LEFT - 40.0; ROWS];
    for event in events {
        if matches!(event.what, Happening::Frozen | Happening::Thawed) {
            continue;
        }
        let x = scale.x(event.at.as_secs_f64());
        let name = event.what.name();
        let _ = writeln!(
            svg,
            "<line class=\"event\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\">\
             <title>{name}, {}</title></line>",
            HEIGHT - BOTTOM,
            second_label(event.at.as_secs_f64(), 0.001)
        );
        let half = LETTER * as_f64_of(name.len()) / 2.0;
        let centre = x.clamp(LEFT + half, WIDTH - RIGHT - half);
        let row = free_from.iter().position(|from| centre - half >= *from);
        if let Some(row) = row {
            free_from[row] = centre + half + LETTER;
            let y = TOP - 6.0 - 15.0 * as_f64_of(row);
            label(svg, centre, y, "", "middle", name);
        }
    }
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn label(svg: &mut String, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escaped(text)
    );
}

/// Text as XML may hold it: its own signs by name, and no control characters,
/// which it may not hold at all.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().take(140) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// 0, step, 2 · step, … up to `end`.
fn steps(step: f64, end: f64) -> impl Iterator<Item = f64> {
    (0..100)
        .map(move |n| f64::from(n) * step)
        .take_while(move |value| *value <= end * 1.000_001)
}

/// The next larger of 1, 2, 5 times a power of ten. Counted up, as there are few:
/// logarithms would have every start of memcap load the library of mathematics.
fn decimal_step(at_least: f64) -> f64 {
    (-6..=12)
        .map(|exponent| 10f64.powi(exponent))
        .flat_map(|power| [power, 2.0 * power, 5.0 * power])
        .find(|step| *step >= at_least)
        .unwrap_or(at_least)
}

/// The next larger power of two.
fn binary_step(at_least: f64) -> f64 {
    (0..=64)
        .map(|exponent| 2f64.powi(exponent))
        .find(|step| *step >= at_least)
        .unwrap_or(at_least)
}

fn byte_label(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if bytes == 0.0 {
        return "0".to_owned();
    }
    format!("{text} {}", UNITS[unit])
}

fn second_label(seconds: f64, step: f64) -> String {
    if seconds == 0.0 {
        return "0".to_owned();
    }
    if step < 1.0 && seconds < 60.0 {
        let places = if step < 0.01 {
            3
        } else if step < 0.1 {
            2
        } else {
            1
        };
        return format!("{seconds:.places$} s");
    }
    let whole = Duration::from_secs_f64(seconds.round());
    humantime::format_duration(whole).to_string()
}

fn as_f64(bytes: ByteSize) -> f64 {
    // A picture needs no more than 52 bits.
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    let bytes = bytes.bytes() as f64;
    bytes
}

fn as_f64_of(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (at_least, step) in [(0.004, 0.005), (0.11, 0.2), (1.0, 1.0), (7.0, 10.0)] {
            assert!((decimal_step(at_least) - step).abs() < 1e-9, "{at_least}");
        }
        assert_eq!(byte_label(binary_step(100e6)), "128 MiB");
        assert_eq!(byte_label(3.0 * 512.0 * 1024.0 * 1024.0), "1.5 GiB");
        assert_eq!(second_label(0.05, 0.01), "0.05 s");
        assert_eq!(second_label(90.0, 10.0), "1m 30s");
    }

    #[test]
    fn names_cannot_break_out_of_the_picture() {
        let svg = draw_refusal("</text><script>\u{1b}[31m & \"x\"");
        assert!(!svg.contains("<script>"), "{svg}");
        assert!(!svg.contains('\u{1b}'), "{svg}");
        assert!(svg.contains("&lt;script&gt;"), "{svg}");
    }
}
