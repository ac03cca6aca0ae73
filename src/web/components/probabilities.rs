//! Three bars: the probabilities of the classes.

use yew::prelude::*;

use crate::predict::report::ClassProbabilities;

/// What to show.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The probabilities.
    pub classes: ClassProbabilities,
}

/// One meter for each class.
#[component]
pub fn Probabilities(props: &Props) -> Html {
    let ClassProbabilities { control, common_pneumonia, covid19 } = props.classes;
    let bars =
        [("Control", control), ("Common Pneumonia", common_pneumonia), ("COVID-19", covid19)];
    html! {
        <section class="probabilities" aria-label="Class probabilities">
            <h2>{"This slice"}</h2>
            for (label, probability) in bars {
                <div class="probability">
                    <span class="label">{label}</span>
                    <div
                        class="meter"
                        role="meter"
                        aria-label={label}
                        aria-valuemin="0"
                        aria-valuemax="100"
                        aria-valuenow={format!("{:.1}", probability * 100.0)}
                        aria-valuetext={format!("{:.1} percent", probability * 100.0)}
                    >
                        // A presentation attribute and no style: inline styles are forbidden here.
                        <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">
                            <rect width={format!("{:.2}", probability * 100.0)} height="1" />
                        </svg>
                    </div>
                    <span class="value">{format!("{:.1} %", probability * 100.0)}</span>
                </div>
            }
        </section>
    }
}
