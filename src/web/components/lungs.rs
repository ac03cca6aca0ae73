//! How much of the lungs on the slice lesions cover.

use yew::prelude::*;

use crate::report::lungs::{LungSlice, LungsSlice};
use crate::web::texts::{decimal, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The lungs.
    pub lungs: LungsSlice,
}

fn percent(lung: &LungSlice) -> AttrValue {
    match lung.area_px {
        0 => text!("lungs.none"),
        area => {
            let share = lung.affected_px as f64 / area as f64 * 100.0;
            text!("number.percent", percent = decimal(share, 1))
        }
    }
}

/// Both lungs.
#[component]
pub fn Lungs(props: &Props) -> Html {
    let LungsSlice { right, left, .. } = &props.lungs;
    html! {
        <section class="lungs">
            <h2>{text!("lungs.title")}</h2>
            <p>{text!("lungs.sides", right = percent(right), left = percent(left))}</p>
            <p class="worth">{text!("lungs.worth")}</p>
        </section>
    }
}
