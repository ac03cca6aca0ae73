//! Line charts, with a logarithmic y axis or a linear one.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::figures::{COLOURS, Drawing, FAMILY};

/// A named curve.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points; those not above zero are left out.
    pub points: Vec<(f64, f64)>,
}

/// Curves over a common axis.
#[derive(Clone, Debug)]
pub struct LineChart {
    /// Above the chart.
    pub title: String,
    /// Of the x and y axes.
    pub labels: [String; 2],
    /// The curves.
    pub series: Vec<Series>,
    /// Whether the y axis is logarithmic; points not above zero are left out then.
    pub logarithmic: bool,
}

impl Drawing for LineChart {
    fn size(&self) -> (u32, u32) {
        (900, 540)
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let points = || {
            self.series.iter().flat_map(|series| &series.points).filter(|point| self.shows(point))
        };
        let bounds = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (x_low, x_high) = bounds(&mut points().map(|point| point.0));
        let (y_low, y_high) = bounds(&mut points().map(|point| point.1));
        if x_low > x_high {
            return Ok(());
        }
        let x = x_low..x_high.max(x_low + if self.logarithmic { 1.0 } else { 1e-6 });
        match self.logarithmic {
            true => self.plot(area, x, (y_low * 0.9..y_high * 1.1).log_scale()),
            false => self.plot(area, x, y_low.min(0.0)..y_high.max(y_low + 1e-6)),
        }
    }
}

impl LineChart {
    fn shows(&self, point: &(f64, f64)) -> bool {
        point.1 > 0.0 || !self.logarithmic
    }

    fn plot<B: DrawingBackend, Y: AsRangedCoord<Value = f64>>(
        &self,
        area: &DrawingArea<B, Shift>,
        x: std::ops::Range<f64>,
        y: Y,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
    where
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FAMILY, 22))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(&self.labels[0])
            .y_desc(&self.labels[1])
            .label_style((FAMILY, 14))
            .draw()?;
        for (index, series) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points = series.points.iter().filter(|point| self.shows(point)).copied();
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(&series.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                });
        }
        let position = match self.logarithmic {
            true => SeriesLabelPosition::UpperRight,
            false => SeriesLabelPosition::LowerRight,
        };
        chart
            .configure_series_labels()
            .position(position)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font((FAMILY, 14))
            .draw()
    }
}
