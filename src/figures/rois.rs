//! Figures 4 and 5: what the RoI batches of the three classes look like.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::classes::SliceClass;
use crate::figures::{COLOURS, Drawing, FAMILY};
use crate::statistics::quantile;

/// Regions in the narrow columns of Figure 4.
const TOP: usize = 16;
/// Bars of a histogram.
const BARS: usize = 10;

/// Scores and areas of a slice's RoI batch, by rank.
#[derive(Clone, Debug)]
pub struct RankedRegions {
    /// Row title: class and slice.
    pub title: String,
    /// Class, for the colour.
    pub class: SliceClass,
    /// Score and area in square pixels.
    pub regions: Vec<(f64, f64)>,
}

/// Figure 4: per slice a histogram of scores and score against area, for the top 16 and for all.
#[derive(Clone, Debug)]
pub struct ScoreFigure {
    /// One row per slice.
    pub rows: Vec<RankedRegions>,
}

fn colour(class: SliceClass) -> RGBColor {
    [COLOURS[2], COLOURS[0], COLOURS[1]][class.index()]
}

impl Drawing for ScoreFigure {
    fn size(&self) -> (u32, u32) {
        (1480, 320 * self.rows.len().max(1) as u32)
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let cells = area.split_evenly((self.rows.len().max(1), 4));
        for (row, cells) in self.rows.iter().zip(cells.chunks(4)) {
            let all = row.regions.len();
            for (count, pair) in [(TOP.min(all), &cells[..2]), (all, &cells[2..])] {
                let regions = &row.regions[..count];
                let title = format!("{}: top {count}", row.title);
                draw_histogram(&pair[0], &title, colour(row.class), regions)?;
                draw_scatter(&pair[1], colour(row.class), regions)?;
            }
        }
        Ok(())
    }
}

fn draw_histogram<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    colour: RGBColor,
    regions: &[(f64, f64)],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let mut counts = [0u32; BARS];
    for (score, _) in regions {
        counts[((score * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    let highest = counts.iter().copied().max().unwrap_or(0).max(1);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FAMILY, 14))
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..1.0, 0u32..highest + highest.div_ceil(10))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(6)
        .x_desc("Confidence score")
        .y_desc("Frequency")
        .label_style((FAMILY, 12))
        .draw()?;
    chart.draw_series(counts.iter().enumerate().map(|(bar, count)| {
        let left = bar as f64 / BARS as f64;
        Rectangle::new([(left, 0), (left + 1.0 / BARS as f64, *count)], colour.mix(0.8).filled())
    }))?;
    Ok(())
}

fn draw_scatter<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    colour: RGBColor,
    regions: &[(f64, f64)],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let largest = regions.iter().map(|region| region.1).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..1.0, 0.0..largest * 1.1)?;
    chart
        .configure_mesh()
        .x_labels(6)
        .x_desc("Confidence score")
        .y_desc("Area (px\u{b2})")
        .label_style((FAMILY, 12))
        .draw()?;
    chart.draw_series(
        regions
            .iter()
            .map(|(score, area)| Circle::new((*score, *area), 3, colour.mix(0.6).filled())),
    )?;
    Ok(())
}

/// Figure 5: regions over each score threshold, per class, as boxes.
#[derive(Clone, Debug)]
pub struct CountFigure {
    /// Score thresholds.
    pub thresholds: Vec<f64>,
    /// `[threshold][class]`: counts per slice.
    pub counts: Vec<[Vec<f64>; 3]>,
}

impl Drawing for CountFigure {
    fn size(&self) -> (u32, u32) {
        (440 * self.thresholds.len().max(1) as u32, 420)
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let cells = area.split_evenly((1, self.thresholds.len().max(1)));
        for ((threshold, counts), cell) in self.thresholds.iter().zip(&self.counts).zip(&cells) {
            let highest = counts.iter().flatten().copied().fold(1.0, f64::max);
            let mut chart = ChartBuilder::on(cell)
                .caption(format!("Score > {threshold}"), (FAMILY, 18))
                .margin(10)
                .x_label_area_size(32)
                .y_label_area_size(48)
                .build_cartesian_2d(-0.6f64..2.6, -highest * 0.03..highest * 1.08)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .x_labels(4)
                .x_label_formatter(&|place| {
                    let class = place.round();
                    let near = (place - class).abs() < 1e-6 && (0.0..=2.0).contains(&class);
                    if near { SliceClass::ALL[class as usize].name().into() } else { String::new() }
                })
                .y_desc("Regions per slice")
                .label_style((FAMILY, 13))
                .draw()?;
            for (class, values) in SliceClass::ALL.into_iter().zip(counts) {
                if !values.is_empty() {
                    draw_box(&mut chart, class, values)?;
                }
            }
        }
        Ok(())
    }
}

type Chart<'a, B> = ChartContext<
    'a,
    B,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// Quartiles, whiskers to the last value within one and a half quartile distances, and outliers.
fn draw_box<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    class: SliceClass,
    values: &[f64],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let quartile = |share| quantile(&values, share).unwrap_or_default();
    let [lower, middle, upper] = [0.25, 0.5, 0.75].map(quartile);
    let reach = 1.5 * (upper - lower);
    let inside = || values.iter().copied().filter(|v| (lower - reach..=upper + reach).contains(v));
    let (low, high) = (inside().fold(lower, f64::min), inside().fold(upper, f64::max));
    let (x, half, colour) = (class.index() as f64, 0.28, colour(class));
    let line = |points: [(f64, f64); 2]| PathElement::new(points, colour.stroke_width(2));
    let body = [(x - half, lower), (x + half, upper)];
    chart.draw_series([Rectangle::new(body, colour.mix(0.25).filled())])?;
    chart.draw_series([Rectangle::new(body, colour.stroke_width(2))])?;
    chart.draw_series([
        line([(x - half, middle), (x + half, middle)]),
        line([(x, lower), (x, low)]),
        line([(x, upper), (x, high)]),
        line([(x - half / 2.0, low), (x + half / 2.0, low)]),
        line([(x - half / 2.0, high), (x + half / 2.0, high)]),
    ])?;
    let outliers = values.iter().copied().filter(|v| *v < low || *v > high);
    chart.draw_series(outliers.map(|v| Circle::new((x, v), 2, colour.filled())))?;
    Ok(())
}
