//! Lesions through the slices of a series; a click leads to the slice with most of one.

use yew::prelude::*;

use crate::report::joined_lesions::{JoinedLesion, LISTED};
use crate::web::components::lesion_list::kind;
use crate::web::texts::{decimal, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The lesions, the largest first.
    pub lesions: Vec<JoinedLesion>,
    /// Called to go to a slice of the series.
    pub on_slice: Callback<usize>,
}

fn describe(lesion: &JoinedLesion) -> String {
    let [first, last] = lesion.slices.map(|slice| slice + 1);
    let mut words = match first == last {
        true => text!("joined.slice", slice = first),
        false => text!("joined.slices", first = first, last = last),
    }
    .to_string();
    if let Some(volume) = lesion.volume_ml {
        words += &text!("joined.volume", volume = decimal(volume, 1));
    }
    if let Some(diameter) = lesion.diameter_mm {
        words += &text!("joined.diameter", diameter = decimal(diameter, 0));
    }
    words
}

/// The list.
#[component]
pub fn JoinedLesions(props: &Props) -> Html {
    if props.lesions.is_empty() {
        return Html::default();
    }
    let count = props.lesions.len();
    html! {
        <details class="joined">
            <summary>{text!("joined.title", count = count)}</summary>
            <ol>
                for lesion in props.lesions.iter().take(LISTED) {
                    <li>
                        <button
                            type="button"
                            onclick={
                                let slice = lesion.largest_slice;
                                props.on_slice.reform(move |_: MouseEvent| slice)
                            }
                        >{text!("joined.item", kind = kind(lesion.label), about = describe(lesion))}</button>
                    </li>
                }
            </ol>
            if count > LISTED {
                <p>{text!("joined.more", shown = LISTED, count = count)}</p>
            }
        </details>
    }
}
