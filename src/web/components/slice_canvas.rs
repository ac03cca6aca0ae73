//! The slice with masks, boxes and scores.

use std::rc::Rc;

use wasm_bindgen::{Clamped, JsCast, JsValue};
use web_sys::{
    CanvasRenderingContext2d, HtmlCanvasElement, HtmlInputElement, HtmlSelectElement, ImageData,
    Path2d,
};
use yew::prelude::*;

use crate::export::overlay::lesion_colour;
use crate::geometry::contour::{Polygon, contours};
use crate::image::Window;
use crate::predict::report::SliceReport;
use crate::web::environment;
use crate::web::state::Picture;

/// Canvas pixels per slice pixel, so that lines and figures stay sharp.
const ZOOM: f64 = 2.0;

/// What to show.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The slice.
    pub picture: Picture,
    /// What was found on it, once known.
    pub report: Option<Rc<SliceReport>>,
    /// The lesion pointed at.
    pub highlighted: Option<usize>,
    /// Opacity of the masks.
    pub opacity: f64,
    /// Called with another opacity.
    pub on_opacity: Callback<f64>,
    /// The window; `None` for the one that the network sees.
    pub window: Option<Window>,
    /// Called with another window.
    pub on_window: Callback<Option<Window>>,
}

/// Windows to choose from.
const WINDOWS: [(&str, Option<Window>); 3] = [
    ("as the network sees it", None),
    ("lung, -600/1500", Some(Window::LUNG)),
    ("mediastinum, 40/400", Some(Window::MEDIASTINUM)),
];

fn summary(props: &Props) -> String {
    let source = &props.picture.source;
    match props.report.as_ref().map(|report| report.lesions.len()) {
        None => format!("Slice {source}"),
        Some(1) => format!("Slice {source} with 1 outlined lesion"),
        Some(count) => format!("Slice {source} with {count} outlined lesions"),
    }
}

/// The canvas with its opacity slider.
#[component]
pub fn SliceCanvas(props: &Props) -> Html {
    let canvas = use_node_ref();
    // Outlines are traced once a report, not once a frame.
    let outlines = use_memo(props.report.clone(), |report| {
        report.as_ref().map(|report| outlines(report)).unwrap_or_default()
    });
    {
        let canvas = canvas.clone();
        let dependencies =
            (props.picture.clone(), props.report.clone(), props.highlighted, props.opacity);
        use_effect_with(dependencies, move |(picture, report, highlighted, opacity)| {
            if let Some(canvas) = canvas.cast::<HtmlCanvasElement>() {
                let drawn = draw_slice(&canvas, picture).and_then(|context| match report {
                    Some(report) => {
                        draw_lesions(&context, report, &outlines, *highlighted, *opacity)
                    }
                    None => Ok(()),
                });
                if let Err(error) = drawn {
                    log::error!("the slice could not be drawn: {}", environment::describe(&error));
                }
            }
        });
    }
    let on_input = props.on_opacity.reform(|event: InputEvent| {
        event
            .target()
            .and_then(|target| target.dyn_into::<HtmlInputElement>().ok())
            .map(|input| input.value_as_number())
            .unwrap_or_default()
    });
    let on_window = props.on_window.reform(|event: Event| {
        let select = event.target_dyn_into::<HtmlSelectElement>();
        let index = select.and_then(|select| usize::try_from(select.selected_index()).ok());
        index.and_then(|index| WINDOWS.get(index)).and_then(|(_, window)| *window)
    });
    html! {
        <figure class="slice">
            <canvas ref={canvas} role="img" aria-label={summary(props)} />
            <figcaption>
                <span>{&props.picture.source}</span>
                <label>
                    {"Window "}
                    <select onchange={on_window}>
                        for (name, window) in WINDOWS {
                            <option selected={window == props.window}>{name}</option>
                        }
                    </select>
                </label>
                <label>
                    {"Mask opacity "}
                    <input
                        type="range"
                        min="0"
                        max="1"
                        step="0.05"
                        value={props.opacity.to_string()}
                        oninput={on_input}
                    />
                </label>
            </figcaption>
        </figure>
    }
}

fn outlines(report: &SliceReport) -> Vec<Vec<Polygon>> {
    report
        .lesions
        .iter()
        .map(|lesion| {
            let mask = lesion.mask.as_ref().and_then(|rle| rle.decode().ok());
            mask.map(|mask| contours(&mask)).unwrap_or_default()
        })
        .collect()
}

fn context(canvas: &HtmlCanvasElement) -> Result<CanvasRenderingContext2d, JsValue> {
    canvas
        .get_context("2d")?
        .ok_or("the canvas has no 2d context")?
        .dyn_into()
        .map_err(JsValue::from)
}

fn draw_slice(
    canvas: &HtmlCanvasElement,
    picture: &Picture,
) -> Result<CanvasRenderingContext2d, JsValue> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let rgba: Vec<u8> = picture.pixels.iter().flat_map(|v| [*v, *v, *v, 255]).collect();
    let data = ImageData::new_with_u8_clamped_array_and_sh(Clamped(&rgba), width, height)?;
    let document = web_sys::window().and_then(|w| w.document()).ok_or("there is no document")?;
    let plain: HtmlCanvasElement = document.create_element("canvas")?.dyn_into()?;
    plain.set_width(width);
    plain.set_height(height);
    context(&plain)?.put_image_data(&data, 0.0, 0.0)?;

    canvas.set_width((f64::from(width) * ZOOM) as u32);
    canvas.set_height((f64::from(height) * ZOOM) as u32);
    let context = context(canvas)?;
    context.scale(ZOOM, ZOOM)?;
    context.draw_image_with_html_canvas_element(&plain, 0.0, 0.0)?;
    Ok(context)
}

fn draw_lesions(
    context: &CanvasRenderingContext2d,
    report: &SliceReport,
    outlines: &[Vec<Polygon>],
    highlighted: Option<usize>,
    opacity: f64,
) -> Result<(), JsValue> {
    let mut labels = Labels::default();
    // The weakest first, so that the strongest lie on top.
    for (index, lesion) in report.lesions.iter().enumerate().rev() {
        let is_highlighted = highlighted == Some(index);
        let [r, g, b] = lesion_colour(&lesion.label);
        let colour = format!("rgb({r} {g} {b})");
        let path = Path2d::new()?;
        for polygon in outlines.get(index).into_iter().flatten() {
            for (i, (x, y)) in polygon.iter().enumerate() {
                let (x, y) = (f64::from(*x), f64::from(*y));
                if i == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
            }
            path.close_path();
        }
        context.set_fill_style_str(&colour);
        context.set_stroke_style_str(if is_highlighted { "white" } else { &colour });
        context.set_global_alpha(if is_highlighted { opacity.max(0.6) } else { opacity });
        context.fill_with_path_2d_and_winding(&path, web_sys::CanvasWindingRule::Evenodd);
        context.set_global_alpha(1.0);
        context.set_line_width(if is_highlighted { 2.0 } else { 1.0 });
        context.stroke_with_path(&path);

        let bbox = lesion.bbox;
        let dashes = js_sys::Array::of2(&4.0.into(), &3.0.into());
        context.set_line_dash(&dashes)?;
        let [x, y] = [f64::from(bbox.x1), f64::from(bbox.y1)];
        context.stroke_rect(x, y, f64::from(bbox.width()), f64::from(bbox.height()));
        context.set_line_dash(&js_sys::Array::new())?;

        let label = format!("{} · {:.2}", index + 1, lesion.score);
        context.set_font("9px system-ui, sans-serif");
        let above = if y > 12.0 { y - 3.0 } else { f64::from(bbox.y2) + 9.0 };
        let baseline = labels.place(x, above);
        context.set_line_width(2.5);
        context.set_stroke_style_str("black");
        context.stroke_text(&label, x, baseline)?;
        context.set_fill_style_str("white");
        context.fill_text(&label, x, baseline)?;
    }
    Ok(())
}

/// Where labels stand already, so that the next finds a free line.
#[derive(Default)]
struct Labels(Vec<(f64, f64)>);

impl Labels {
    /// Size of a label in slice pixels, roughly.
    const WIDTH: f64 = 40.0;
    const HEIGHT: f64 = 10.0;

    /// A baseline at `y` or, line by line, above it, or below it at the top of the slice.
    fn place(&mut self, x: f64, y: f64) -> f64 {
        let taken = |y: f64| {
            self.0.iter().any(|(other_x, other_y)| {
                (other_x - x).abs() < Self::WIDTH && (other_y - y).abs() < Self::HEIGHT
            })
        };
        let upwards = (0..32).map(|line| y - f64::from(line) * Self::HEIGHT);
        let downwards = (1..32).map(|line| y + f64::from(line) * Self::HEIGHT);
        let free = upwards
            .filter(|y| *y > Self::HEIGHT)
            .chain(downwards)
            .find(|y| !taken(*y))
            .unwrap_or(y);
        self.0.push((x, free));
        free
    }
}
