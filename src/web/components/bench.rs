//! `?bench=1`: the same slice again and again, and the median of each stage.

use std::collections::BTreeMap;
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::inference::Stage;
use crate::report::SliceReport;
use crate::statistics::median;
use crate::web::messages::worker::Download;
use crate::web::session::Session;
use crate::web::state::{Phase, State};
use crate::web::texts::text;
use crate::web::{browser, fetch};

/// Predictions measured, after one that is not.
const RUNS: usize = 5;
const SAMPLE: &str = "samples/phantom-covid19.png";

/// What it needs.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// Connection to reader and workers.
    pub session: Session,
}

/// Submits the sample until it has been measured often enough, then shows a table.
#[component]
pub fn Bench(props: &Props) -> Html {
    let reports = use_mut_ref(Vec::<Rc<SliceReport>>::new);
    let count = use_state(|| 0);
    // Milliseconds from the page's address to the first result.
    let first = use_mut_ref(|| None::<f64>);
    {
        let (session, reports, count) = (props.session.clone(), reports.clone(), count.clone());
        let first = first.clone();
        let report = props.state.reports.get(&props.state.shown).cloned();
        let dependencies = (props.state.phase.clone(), report);
        use_effect_with(dependencies, move |(phase, report)| {
            if let Some(report) = report.clone().filter(|_| *phase == Phase::Idle) {
                first.borrow_mut().get_or_insert_with(browser::now);
                reports.borrow_mut().push(report);
                count.set(reports.borrow().len());
            }
            if *phase == Phase::Idle && reports.borrow().len() <= RUNS {
                spawn_local(async move {
                    match fetch::bytes(SAMPLE).await {
                        Ok(bytes) => match browser::file(SAMPLE, &bytes) {
                            Ok(file) => session.open(vec![(SAMPLE.into(), file)]),
                            Err(error) => log::error!("{}", browser::describe(&error)),
                        },
                        Err(error) => log::error!("{error}"),
                    }
                });
            }
        });
    }
    if *count <= RUNS {
        return html! { <p class="bench">{text!("bench.measuring", done = count.saturating_sub(1), runs = RUNS)}</p> };
    }
    let mut laps: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for report in &reports.borrow()[1..] {
        for (stage, milliseconds) in &report.milliseconds {
            laps.entry(stage.clone()).or_default().push(*milliseconds);
        }
    }
    let rows = Stage::ALL.iter().map(|stage| stage.name()).chain(["total"]);
    let model = props.state.model.as_ref();
    let device = model.map(|model| model.device.clone()).unwrap_or_default();
    let mut downloads = browser::downloads();
    downloads.extend(model.map(|model| model.downloads.clone()).unwrap_or_default());
    html! {
        <section
            class="bench"
            aria-label={text!("bench.label")}
            data-first-result={first.borrow().map(|first| format!("{first:.1}"))}
        >
            <h2>{text!("bench.title", device = device, runs = RUNS)}</h2>
            <table>
                <tbody>
                    for stage in rows {
                        <tr>
                            <th scope="row">{stage}</th>
                            <td data-stage={stage}>
                                {format!("{:.1} ms", median(&mut laps.get(stage).cloned().unwrap_or_default()))}
                            </td>
                        </tr>
                    }
                </tbody>
            </table>
            <h2>{text!("bench.downloads")}</h2>
            <table>
                <tbody>
                    for Download { name, decoded_bytes, transferred_bytes } in downloads {
                        <tr>
                            <th scope="row">{name}</th>
                            <td>{text!("bench.download", decoded = decoded_bytes, sent = transferred_bytes)}</td>
                        </tr>
                    }
                </tbody>
            </table>
        </section>
    }
}
