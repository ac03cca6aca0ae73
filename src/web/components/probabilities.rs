//! The verdict on a slice, what it is worth, and the probabilities behind it.

use std::rc::Rc;

use yew::prelude::*;

use crate::report::verdict::{Calibration, Finding};
use crate::report::{ClassProbabilities, SliceReport};
use crate::web::refusals::reason;
use crate::web::sentences::{class_names, contradiction, measured};
use crate::web::texts::{decimal, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The report of the slice.
    pub report: Rc<SliceReport>,
    /// What verdicts are worth, if that is known.
    pub calibration: Option<Calibration>,
    /// Called to look at a slice all the same of which nothing is said.
    pub on_force: Callback<()>,
}

fn finding(finding: Finding) -> AttrValue {
    match finding {
        Finding::Uncertain => text!("verdict.uncertain"),
        Finding::NoPneumonia => text!("verdict.none"),
        Finding::Pneumonia => text!("verdict.pneumonia"),
        Finding::CommonPneumonia => text!("verdict.common"),
        Finding::Covid19 => text!("verdict.covid19"),
    }
}

/// Verdict, meters, and what they are worth.
#[component]
pub fn Probabilities(props: &Props) -> Html {
    let report = &props.report;
    let worth = props.calibration.as_ref().and_then(|known| known.measured);
    html! {
        <section class="probabilities" aria-label={text!("class.label")}>
            <h2>{text!("class.title")}</h2>
            if let Some(refusal) = &report.refusal_reason {
                if report.segmented {
                    <p class="verdict">{text!("verdict.refused", reason = reason(refusal))}</p>
                } else {
                    <p class="verdict">{text!("verdict.nothing", reason = reason(refusal))}</p>
                    <button type="button" onclick={props.on_force.reform(|_| ())}>
                        {text!("verdict.force")}
                    </button>
                }
            }
            if report.forced {
                <p class="contradiction">{text!("verdict.forced")}</p>
            }
            if let Some(verdict) = report.verdict {
                <p class="verdict">{finding(verdict.finding)}</p>
                <p>{text!("verdict.probability", percent = decimal(verdict.pneumonia * 100.0, 1))}</p>
            }
            if let Some(found) = report.contradiction() {
                <p class="contradiction">{contradiction(found)}</p>
            }
            if let Some(given) = report.corrections.as_ref().and_then(|made| made.class.as_ref()) {
                <p class="verdict">
                    {text!("verdict.reader", class = &class_names()[given.class.index()])}
                </p>
            }
            if let Some(classes) = report.classes {
                { meters(&classes) }
            }
            if let Some(worth) = worth.filter(|_| report.classes.is_some()) {
                <p class="worth">{measured(&worth)}</p>
            }
        </section>
    }
}

/// One meter for each class.
fn meters(classes: &ClassProbabilities) -> Html {
    let bars = class_names().into_iter().zip(classes.values());
    html! {
        for (label, probability) in bars {
            <div class="probability">
                <span class="label">{label.clone()}</span>
                <div
                    class="meter"
                    role="meter"
                    aria-label={label}
                    aria-valuemin="0"
                    aria-valuemax="100"
                    aria-valuenow={format!("{:.1}", probability * 100.0)}
                    aria-valuetext={text!("class.percent", percent = decimal(probability * 100.0, 1))}
                >
                    // A presentation attribute and no style: inline styles are forbidden here.
                    <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">
                        <rect width={format!("{:.2}", probability * 100.0)} height="1" />
                    </svg>
                </div>
                <span class="value">{text!("number.percent", percent = decimal(probability * 100.0, 1))}</span>
            </div>
        }
    }
}
