//! Why the class: the regions of the slice as the classifier sees them.

use std::rc::Rc;

use yew::prelude::*;

use crate::predict::regions::{RankedRegion, RegionReference, THRESHOLDS, slots_over};
use crate::predict::report::SliceReport;

/// Bars of the histogram.
const BARS: usize = 10;
/// Names of the classes, in the order of the reference.
const CLASSES: [&str; 3] = ["Control", "Common Pneumonia", "COVID-19"];

/// What to show.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The slice's report.
    pub report: Rc<SliceReport>,
    /// Regions of labelled slices.
    pub reference: Option<Rc<RegionReference>>,
}

/// Histogram of the scores, scores against areas, and the counts beside those of labelled slices.
#[component]
pub fn Regions(props: &Props) -> Html {
    let regions = &props.report.regions;
    let slots: usize = regions.iter().map(|region| region.slots).sum();
    let strong = slots_over(regions, 0.5);
    html! {
        <details class="regions">
            <summary>{"Why this class"}</summary>
            <p>
                {format!("The classifier does not see the picture. It sees {slots} regions, ranked by how much each looks like a lesion, with a score and a place. In this slice {strong} of them score over 0.5.")}
                if regions.len() < slots {
                    {format!(" Only {} differ; the others are copies that fill the batch.", regions.len())}
                }
            </p>
            <div class="plots">
                { histogram(regions, slots) }
                { scatter(regions) }
            </div>
            if let Some(reference) = &props.reference {
                { comparison(regions, reference) }
            }
        </details>
    }
}

fn histogram(regions: &[RankedRegion], slots: usize) -> Html {
    let mut counts = [0usize; BARS];
    for region in regions {
        counts[((region.score * BARS as f32) as usize).min(BARS - 1)] += region.slots;
    }
    let label = format!("Scores of the {slots} regions: {}", words(&counts));
    html! {
        <figure>
            <svg viewBox="0 0 100 60" role="img" aria-label={label}>
                for (bar, count) in counts.iter().enumerate() {
                    <rect
                        class="bar"
                        x={format!("{}", bar * 10)}
                        width="9"
                        y={format!("{:.2}", 60.0 - 60.0 * *count as f64 / slots.max(1) as f64)}
                        height={format!("{:.2}", 60.0 * *count as f64 / slots.max(1) as f64)}
                    />
                }
            </svg>
            <figcaption>{"Regions by score, from 0 to 1"}</figcaption>
        </figure>
    }
}

/// A histogram in words.
fn words(counts: &[usize; BARS]) -> String {
    let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let part = |(bar, count): (usize, &usize)| {
        format!("{count} from {:.1} to {:.1}", bar as f64 / 10.0, (bar + 1) as f64 / 10.0)
    };
    filled.map(part).collect::<Vec<_>>().join(", ")
}

fn scatter(regions: &[RankedRegion]) -> Html {
    let largest = regions.iter().map(|region| region.area_px).fold(1.0, f32::max);
    html! {
        <figure>
            <svg
                viewBox="-2 -2 104 64"
                role="img"
                aria-label={format!("Score against area, which goes up to {largest:.0} square pixels")}
            >
                for region in regions {
                    <circle
                        class="dot"
                        cx={format!("{:.2}", region.score * 100.0)}
                        cy={format!("{:.2}", 60.0 - 60.0 * region.area_px / largest)}
                        r="1.6"
                    />
                }
            </svg>
            <figcaption>{format!("Score (across) and area (up to {largest:.0} px²)")}</figcaption>
        </figure>
    }
}

fn comparison(regions: &[RankedRegion], reference: &RegionReference) -> Html {
    let [control, pneumonia, covid] = reference.slices;
    html! {
        <>
            <p>
                {format!("How many regions pass a score, here and on the labelled slices the classifier was trained on ({control} of control, {pneumonia} of common pneumonia, {covid} of COVID-19; the model card says from how many patients): the middle half of the slices lies within the range, the median in brackets.")}
            </p>
            <div class="scroll" tabindex="0" role="region" aria-label="Regions compared">
                <table>
                    <thead>
                        <tr>
                            <th scope="col">{"Score over"}</th>
                            <th scope="col">{"Here"}</th>
                            for class in CLASSES {
                                <th scope="col">{class}</th>
                            }
                        </tr>
                    </thead>
                    <tbody>
                        for (threshold, classes) in THRESHOLDS.iter().zip(&reference.counts) {
                            <tr>
                                <th scope="row">{threshold}</th>
                                <td>{slots_over(regions, *threshold)}</td>
                                for [_, lower, median, upper, _] in classes {
                                    <td>{format!("{lower:.0}–{upper:.0} ({median:.0})")}</td>
                                }
                            </tr>
                        }
                    </tbody>
                </table>
            </div>
        </>
    }
}
