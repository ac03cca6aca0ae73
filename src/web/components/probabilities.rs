//! Three bars: the probabilities of the classes.

use yew::prelude::*;

use crate::predict::report::ClassProbabilities;
use crate::web::texts::text;

/// What to show.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The probabilities.
    pub classes: ClassProbabilities,
}

/// Names of the classes in their order.
pub fn class_names() -> [AttrValue; 3] {
    [text!("class.control"), text!("class.pneumonia"), text!("class.covid19")]
}

/// One meter for each class.
#[component]
pub fn Probabilities(props: &Props) -> Html {
    let ClassProbabilities { control, common_pneumonia, covid19 } = props.classes;
    let bars = class_names().into_iter().zip([control, common_pneumonia, covid19]);
    html! {
        <section class="probabilities" aria-label={text!("class.label")}>
            <h2>{text!("class.title")}</h2>
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
                        aria-valuetext={text!("class.percent", percent = format_args!("{:.1}", probability * 100.0))}
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
