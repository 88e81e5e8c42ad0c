//! The figures as bars, in an SVG that needs nothing else and is readable in light and dark pages.

use std::fmt::Write as _;

use crate::report::Unit;

/// Who a bar belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    LanceBackfill,
    /// Lance by itself: what nobody can do without.
    Limit,
    Other,
}

/// One bar with its spread.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) owner: Owner,
    pub(crate) value: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// A bound that the project sets, in the unit of the chart.
    pub(crate) target: Option<f64>,
}

/// Bars of one unit.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) unit: Unit,
    pub(crate) bars: Vec<Bar>,
}

const WIDTH: f64 = 920.0;
const MARGIN: f64 = 28.0;
const GAP: f64 = 24.0;
const HEADER: f64 = 66.0;
const CHART_HEADER: f64 = 62.0;
const BAR_STEP: f64 = 34.0;
const BAR_HEIGHT: f64 = 18.0;
const LABEL_WIDTH: f64 = 132.0;
const VALUE_WIDTH: f64 = 76.0;
const CARD_PADDING: f64 = 16.0;

const STYLE: &str = "
    .page { fill: #ffffff } .card { fill: #f6f7f9; stroke: #d9dde3 }
    .head { fill: #1c2128; font-weight: 600 } .text { fill: #30363d } .soft { fill: #59636e }
    .ours { fill: #1f7a4d } .limit { fill: #8b95a3 } .other { fill: #c08a2e }
    .axis { stroke: #b8bfc8 } .range { stroke: #1c2128 } .target { stroke: #b3261e }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 } .card { fill: #161b22; stroke: #30363d }
      .head { fill: #f0f3f6 } .text { fill: #d1d7e0 } .soft { fill: #9198a1 }
      .ours { fill: #3fb27f } .limit { fill: #7d8794 } .other { fill: #d9a441 }
      .axis { stroke: #444c56 } .range { stroke: #f0f3f6 } .target { stroke: #ff7b72 }
    }
";

/// Draws the charts, two beside each other; bars of one title go into one chart.
pub(crate) fn svg(charts: impl IntoIterator<Item = Chart>) -> String {
    let mut joined: Vec<Chart> = vec![];
    for mut chart in charts {
        chart.bars.retain(|bar| bar.value.is_finite());
        match joined.iter_mut().find(|other| other.title == chart.title) {
            Some(other) => other.bars.append(&mut chart.bars),
            None => joined.push(chart),
        }
    }
    let charts = joined;
    let width = (WIDTH - 2.0 * MARGIN - GAP) / 2.0;
    let mut body = String::new();
    let mut top = HEADER;
    for pair in charts.chunks(2) {
        let bars = pair.iter().map(|chart| chart.bars.len()).max();
        let height = CHART_HEADER + bars.unwrap_or(0) as f64 * BAR_STEP + CARD_PADDING;
        for (place, chart) in pair.iter().enumerate() {
            let left = MARGIN + place as f64 * (width + GAP);
            draw(&mut body, chart, left, top, width, height);
        }
        top += height + GAP;
    }
    let height = top - GAP + MARGIN;
    let label: Vec<String> = charts.iter().map(describe).collect();
    let mut text = String::new();
    let _ = write!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         font-family=\"-apple-system, Segoe UI, Helvetica, Arial, sans-serif\" font-size=\"13\" \
         role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height:.0}\" rx=\"10\"/>\n",
        escape(&label.join(" "))
    );
    legend(&mut text);
    text.push_str(&body);
    text.push_str("</svg>\n");
    text
}

fn legend(text: &mut String) {
    let _ = writeln!(
        text,
        "<text class=\"head\" x=\"{MARGIN}\" y=\"40\" font-size=\"19\">Benchmark: shorter is better</text>"
    );
    let mut left = WIDTH - MARGIN - 480.0;
    for (class, name, width) in [
        ("ours", "lance-backfill", 122.0),
        ("limit", "Lance alone", 108.0),
        ("other", "others", 76.0),
    ] {
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{left}\" y=\"29\" width=\"12\" height=\"12\" rx=\"2\"/>\
             <text class=\"text\" x=\"{}\" y=\"40\">{name}</text>",
            left + 18.0
        );
        left += width;
    }
    let _ = writeln!(
        text,
        "<line class=\"target\" x1=\"{left}\" x2=\"{left}\" y1=\"27\" y2=\"43\" stroke-width=\"2\" stroke-dasharray=\"4 2\"/>\
         <text class=\"text\" x=\"{}\" y=\"40\">target</text>\
         <line class=\"range\" x1=\"{}\" x2=\"{}\" y1=\"35\" y2=\"35\" stroke-width=\"1.5\"/>\
         <text class=\"text\" x=\"{}\" y=\"40\">all rounds</text>",
        left + 8.0,
        left + 66.0,
        left + 86.0,
        left + 94.0
    );
}

fn draw(text: &mut String, chart: &Chart, left: f64, top: f64, width: f64, height: f64) {
    let _ = writeln!(
        text,
        "<rect class=\"card\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"head\" x=\"{0}\" y=\"{1}\" font-size=\"15\">{2}</text>\n\
         <text class=\"soft\" x=\"{0}\" y=\"{3}\" font-size=\"12\">{4}</text>",
        left + CARD_PADDING,
        top + 26.0,
        escape(&chart.title),
        top + 45.0,
        escape(&chart.subtitle),
    );
    let zero = left + CARD_PADDING + LABEL_WIDTH;
    let room = width - 2.0 * CARD_PADDING - LABEL_WIDTH - VALUE_WIDTH;
    let longest = (chart.bars.iter())
        .flat_map(|bar| [bar.value, bar.most, bar.target.unwrap_or(0.0)])
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| room * value.max(0.0) / longest;
    let first = top + CHART_HEADER;
    for (place, bar) in chart.bars.iter().enumerate() {
        let y = first + place as f64 * BAR_STEP;
        let middle = y + BAR_HEIGHT / 2.0;
        let class = match bar.owner {
            Owner::LanceBackfill => "ours",
            Owner::Limit => "limit",
            Owner::Other => "other",
        };
        let _ = writeln!(
            text,
            "<text class=\"text\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{zero:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>",
            zero - 9.0,
            middle + 4.5,
            escape(&bar.label),
            scale(bar.value).max(1.0),
        );
        if bar.most > bar.least {
            let (from, to) = (zero + scale(bar.least), zero + scale(bar.most));
            let _ = writeln!(
                text,
                "<line class=\"range\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke-width=\"1.5\"/>"
            );
        }
        let mut end = zero + scale(bar.value.max(bar.most));
        if let Some(target) = bar.target {
            let x = zero + scale(target);
            end = end.max(x);
            let _ = writeln!(
                text,
                "<line class=\"target\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke-width=\"2\" stroke-dasharray=\"4 2\"/>",
                y - 4.0,
                y + BAR_HEIGHT + 4.0,
            );
        }
        let _ = writeln!(
            text,
            "<text class=\"head\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            end + 8.0,
            middle + 4.5,
            escape(&chart.unit.print(bar.value)),
        );
    }
    let bottom = first + chart.bars.len() as f64 * BAR_STEP - (BAR_STEP - BAR_HEIGHT) + 6.0;
    let _ = writeln!(
        text,
        "<line class=\"axis\" x1=\"{zero:.1}\" x2=\"{zero:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>",
        first - 6.0
    );
}

fn describe(chart: &Chart) -> String {
    let bars: Vec<String> = (chart.bars.iter())
        .map(|bar| format!("{} {}", bar.label, chart.unit.print(bar.value)))
        .collect();
    format!("{}: {}.", chart.title, bars.join(", "))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_tells_its_figures_to_those_who_cannot_see_it() {
        let bar = |label: &str, value| Bar {
            label: label.to_owned(),
            owner: Owner::LanceBackfill,
            value,
            least: value,
            most: value * 1.5,
            target: Some(value * 2.0),
        };
        let chart = Chart {
            title: "Fill & \"more\"".to_owned(),
            subtitle: "seconds".to_owned(),
            unit: Unit::Seconds,
            bars: vec![bar("us", 0.25), bar("them", 0.5)],
        };
        let other = Chart {
            title: "Plan".to_owned(),
            bars: vec![bar("unknown", f64::NAN)],
            ..chart.clone()
        };
        let plot = svg([chart.clone(), other, chart]);
        assert!(
            plot.contains("aria-label=\"Fill &amp; &quot;more&quot;: us 0.25 s, them 0.50 s, us")
        );
        assert_eq!(plot.matches("class=\"card\"").count(), 2);
        assert_eq!(plot.matches("class=\"ours\" x").count(), 5);
        assert!(!plot.contains("NaN"));
    }
}
