//! Figures as inline SVG. The page's style gives the colours, also in dark mode.

use askama::Template;

/// A figure's size, and the margins that its axes take, in the units of its drawing.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = WIDTH - 10.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = HEIGHT - 36.0;

/// Lines over two axes.
#[derive(Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    title: String,
    /// The number that the figure is about, if there is one.
    value: Option<String>,
    /// What the figure shows, for those who do not see it.
    summary: String,
    axes: Axes,
    lines: Vec<Line>,
    marks: Vec<Mark>,
}

/// Where values lie in the drawing.
pub(super) struct Axes {
    x: Axis,
    y: Axis,
}

/// An axis from one value to another.
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) is_logarithmic: bool,
}

/// A value's place on an axis, with its name.
pub(super) struct Tick {
    pub(super) at: String,
    pub(super) label: String,
}

struct Line {
    class: &'static str,
    points: String,
}

/// Something at a point, or at a place of the x axis.
struct Mark {
    class: &'static str,
    x: String,
    /// `None` for a line across the figure.
    y: Option<String>,
}

impl Axis {
    pub(super) fn new(label: &'static str, from: f64, to: f64) -> Self {
        Self {
            label,
            from,
            to,
            is_logarithmic: false,
        }
    }

    /// An axis whose values are above 0, with steps of equal ratio.
    pub(super) fn logarithmic(label: &'static str, from: f64, to: f64) -> Self {
        Self {
            is_logarithmic: true,
            ..Self::new(label, from, to)
        }
    }

    /// Where between the axis's start, 0, and its end, 1, `value` lies.
    pub(super) fn share(&self, value: f64) -> f64 {
        let &Self { from, to, .. } = self;
        let share = if self.is_logarithmic {
            (value / from).ln() / (to / from).ln()
        } else {
            (value - from) / (to - from)
        };
        share.clamp(0.0, 1.0)
    }

    /// About `count` round values.
    pub(super) fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let &Self { from, to, .. } = self;
        if self.is_logarithmic {
            let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
            let inside = |digits: &[f64]| -> Vec<_> {
                let all = decades.clone().flat_map(|decade| {
                    let decimals = usize::try_from(-decade).unwrap_or(0);
                    digits.iter().map(move |digit| {
                        let value = digit * 10f64.powi(decade);
                        (value, format!("{value:.decimals$}"))
                    })
                });
                all.filter(|(value, _)| (from..=to).contains(value)).collect()
            };
            let finest = inside(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
            let coarser = [&[1.0][..], &[1.0, 2.0, 5.0]].map(inside);
            let all = coarser.into_iter().find(|ticks| ticks.len() >= 3).unwrap_or(finest);
            let step = all.len().div_ceil(count).max(1);
            return all.into_iter().step_by(step).collect();
        }
        let rough = (to - from) / count as f64;
        let decade = 10f64.powf(rough.log10().floor());
        let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * decade >= rough);
        let step = decade * digit.unwrap_or(10.0);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let (first, last) = ((from / step).ceil() as i64, (to / step + 1e-9).floor() as i64);
        (first..=last)
            .map(|index| index as f64 * step)
            .map(|value| (value, format!("{value:.decimals$}")))
            .collect()
    }
}

impl Axes {
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        Self { x, y }
    }

    fn place(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [
            LEFT + (RIGHT - LEFT) * self.x.share(x),
            BOTTOM - (BOTTOM - TOP) * self.y.share(y),
        ]
    }

    fn x_ticks(&self) -> Vec<Tick> {
        let tick = |(value, label): (f64, String)| Tick {
            at: shown(self.place([value, self.y.from])[0]),
            label,
        };
        self.x.ticks(5).into_iter().map(tick).collect()
    }

    fn y_ticks(&self) -> Vec<Tick> {
        let tick = |(value, label): (f64, String)| Tick {
            at: shown(self.place([self.x.from, value])[1]),
            label,
        };
        self.y.ticks(5).into_iter().map(tick).collect()
    }
}

impl Chart {
    pub(super) fn new(title: impl Into<String>, value: Option<String>, summary: String, axes: Axes) -> Self {
        Self {
            title: title.into(),
            value,
            summary,
            axes,
            lines: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// Adds a line through `points`, straight from each to the next.
    pub(super) fn line(mut self, class: &'static str, points: impl IntoIterator<Item = [f64; 2]>) -> Self {
        let point = |point| {
            let [x, y] = self.axes.place(point).map(shown);
            format!("{x},{y}")
        };
        let mut points: Vec<_> = points.into_iter().map(point).collect();
        // A line of a single point is one to itself, which round ends make a dot.
        if let [single] = points.as_slice() {
            points.push(single.clone());
        }
        self.lines.push(Line {
            class,
            points: points.join(" "),
        });
        self
    }

    /// Adds a mark at a point.
    pub(super) fn mark(mut self, class: &'static str, point: [f64; 2]) -> Self {
        let [x, y] = self.axes.place(point).map(shown);
        self.marks.push(Mark { class, x, y: Some(y) });
        self
    }

    /// Adds a line across the figure at a place of the x axis.
    pub(super) fn rule(mut self, class: &'static str, x: f64) -> Self {
        let [x, _] = self.axes.place([x, self.axes.y.from]).map(shown);
        self.marks.push(Mark { class, x, y: None });
        self
    }
}

/// The points of a curve and those that make steps of it, each as high as its right end.
pub(super) fn steps(points: &[[f64; 2]]) -> impl Iterator<Item = [f64; 2]> {
    let first = points.first().copied();
    let pairs = points.windows(2);
    first
        .into_iter()
        .chain(pairs.flat_map(|ends| [[ends[0][0], ends[1][1]], ends[1]]))
}

/// A place in a drawing, as finely as can be seen.
pub(super) fn shown(place: f64) -> String {
    let text = format!("{place:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let labels = |axis: Axis| axis.ticks(5).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(
            labels(Axis::new("", 0.0, 1.0)),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(labels(Axis::new("", 0.0, 0.3)), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(Axis::new("", 1.0, 300.0)), ["100", "200", "300"]);
        assert_eq!(
            labels(Axis::new("", -0.013, 0.031)),
            ["-0.01", "0.00", "0.01", "0.02", "0.03"]
        );
        assert_eq!(labels(Axis::logarithmic("", 0.03, 0.9)), ["0.05", "0.1", "0.2", "0.5"]);
        assert_eq!(labels(Axis::logarithmic("", 0.25, 0.45)), ["0.3", "0.4"]);
        assert_eq!(
            labels(Axis::logarithmic("", 0.6, 1.3)),
            ["0.6", "0.7", "0.8", "0.9", "1"]
        );
        assert_eq!(labels(Axis::logarithmic("", 1e-4, 50.0)), ["0.0001", "0.01", "1"]);
    }

    #[test]
    fn a_line_goes_from_corner_to_corner_and_a_single_point_is_a_dot() {
        let line = |points: &[[f64; 2]]| {
            let axes = Axes::new(Axis::new("", 0.0, 1.0), Axis::new("", 0.0, 1.0));
            let chart = Chart::new("", None, String::new(), axes);
            chart.line("", points.iter().copied()).lines.remove(0).points
        };
        assert_eq!(line(&[[0.0, 0.0], [0.25, 0.1], [1.0, 1.0]]), "44,164 90.5,148.4 230,8");
        assert_eq!(line(&[[0.5, 0.5]]), "137,86 137,86");
    }

    #[test]
    fn precision_is_as_high_as_the_right_end() {
        let points = [[0.0, 1.0], [0.5, 0.8], [1.0, 0.4]];
        assert_eq!(
            steps(&points).collect::<Vec<_>>(),
            [[0.0, 1.0], [0.0, 0.8], [0.5, 0.8], [0.5, 0.4], [1.0, 0.4]]
        );
    }
}
