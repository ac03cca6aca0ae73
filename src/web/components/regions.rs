//! Why the class: the regions of the slice as the classifier sees them.

use std::rc::Rc;

use yew::prelude::*;

use crate::report::SliceReport;
use crate::report::regions::{RankedRegion, RegionReference, THRESHOLDS, slots_over};
use crate::web::sentences::class_names;
use crate::web::texts::{decimal, text};

/// Bars of the histogram.
const BARS: usize = 10;

/// Properties of the component.
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
            <summary>{text!("regions.title")}</summary>
            <p>
                {text!("regions.words", slots = slots, strong = strong)}
                if regions.len() < slots {
                    {text!("regions.copies", distinct = regions.len())}
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
    let label = text!("regions.histogram", slots = slots, counts = words(&counts));
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
            <figcaption>{text!("regions.histogram.caption")}</figcaption>
        </figure>
    }
}

/// A histogram in words.
fn words(counts: &[usize; BARS]) -> String {
    let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let part = |(bar, count): (usize, &usize)| {
        let (low, high) = (bar as f64 / 10.0, (bar + 1) as f64 / 10.0);
        text!("regions.bar", count = count, low = decimal(low, 1), high = decimal(high, 1))
            .to_string()
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
                aria-label={text!("regions.scatter", largest = format_args!("{largest:.0}"))}
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
            <figcaption>{text!("regions.scatter.caption", largest = format_args!("{largest:.0}"))}</figcaption>
        </figure>
    }
}

fn comparison(regions: &[RankedRegion], reference: &RegionReference) -> Html {
    let [control, pneumonia, covid] = reference.slices;
    html! {
        <>
            <p>
                {text!("regions.reference", control = control, pneumonia = pneumonia, covid = covid)}
            </p>
            <div class="scroll" tabindex="0" role="region" aria-label={text!("regions.compared")}>
                <table>
                    <thead>
                        <tr>
                            <th scope="col">{text!("regions.over")}</th>
                            <th scope="col">{text!("regions.here")}</th>
                            for class in class_names() {
                                <th scope="col">{class}</th>
                            }
                        </tr>
                    </thead>
                    <tbody>
                        for (threshold, classes) in THRESHOLDS.iter().zip(&reference.counts) {
                            <tr>
                                <th scope="row">{decimal(*threshold, 1)}</th>
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
