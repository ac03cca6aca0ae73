//! Drawing a slice with its lesions on a canvas.

use wasm_bindgen::{Clamped, JsCast, JsValue};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, HtmlElement, ImageData, Path2d};

use crate::detection::mask::MASK_SIDE;
use crate::detection::mask::contour::{Polygon, contours};
use crate::detection::mask::paste::paste_highest;
use crate::detection::mask::rle::Rle;
use crate::export::overlay::score_colour;
use crate::report::measurements::{Shape, ellipse_outline};
use crate::report::{Origin, SliceReport};
use crate::web::brush;
use crate::web::editing::{Editing, Tool};
use crate::web::scale_bar::ScaleBar;
use crate::web::sentences::measurement;
use crate::web::state::{Display, RenderedSlice};
use crate::web::texts::decimal;
use crate::web::view::View;

/// Canvas pixels per slice pixel, so that lines and figures stay sharp.
const DENSITY: f64 = 2.0;
/// Pixels of a slice's longer side for which the sizes of annotations are given.
const ANNOTATED: f64 = 512.0;
/// The same of the smallest picture that they are made for.
const SMALLEST: f64 = 256.0;
/// Colour of the lungs' outline: none of the lesions'.
const LUNG_COLOUR: &str = "rgb(64 200 255)";
/// Share of the width beyond which a label stands to the left of what it names.
const LABELS_TO_THE_LEFT: f64 = 0.6;
/// Magnification over which single pixels are shown as squares.
const SQUARES: f64 = 3.0;

/// What is outlined on a slice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlines {
    /// Of each lesion.
    lesions: Vec<Vec<Polygon>>,
    /// Of both lungs.
    lungs: Vec<Polygon>,
}

impl Outlines {
    /// The outlines of what a report found.
    pub fn of(report: &SliceReport) -> Self {
        let of = |mask: &Rle| mask.decode().map(|mask| contours(&mask)).unwrap_or_default();
        let lesions = report.lesions.iter().map(|lesion| lesion.mask.as_ref().map(of));
        let lungs =
            report.lungs.iter().flat_map(|lungs| lungs.sides()).flat_map(|lung| of(&lung.mask));
        Self { lesions: lesions.map(Option::unwrap_or_default).collect(), lungs: lungs.collect() }
    }
}

/// A path around polygons.
fn path(polygons: &[Polygon]) -> Result<Path2d, JsValue> {
    let path = Path2d::new()?;
    for polygon in polygons {
        for (i, (x, y)) in polygon.iter().enumerate() {
            let (x, y) = (f64::from(*x), f64::from(*y));
            if i == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
        }
        path.close_path();
    }
    Ok(path)
}

fn context(canvas: &HtmlCanvasElement) -> Result<CanvasRenderingContext2d, JsValue> {
    canvas
        .get_context("2d")?
        .ok_or("the canvas has no 2d context")?
        .dyn_into()
        .map_err(JsValue::from)
}

/// Draws the part of a slice that `display` shows, with the lesions of `report`.
///
/// # Errors
/// If the browser gives no canvas.
pub fn draw(
    canvas: &HtmlCanvasElement,
    picture: &RenderedSlice,
    report: Option<(&SliceReport, &Outlines)>,
    highlighted: Option<usize>,
    display: Display,
) -> Result<(), JsValue> {
    let context = draw_slice(canvas, picture, display.view)?;
    if let Some((_, outlines)) = report.filter(|_| display.lungs) {
        context.set_stroke_style_str(LUNG_COLOUR);
        context.set_line_width(1.5 / display.view.zoom);
        context.stroke_with_path(&path(&outlines.lungs)?);
    }
    if let Some((report, outlines)) = report.filter(|_| display.overlay) {
        draw_lesions(&context, report, &outlines.lesions, highlighted, display)?;
    }
    if let Some((report, _)) = report {
        draw_measurements(&context, picture, report, display.view)?;
    }
    draw_orientation(&context, picture)?;
    draw_scale_bar(&context, picture, display.view)
}

/// Draws what a reader measured, with its number and value.
fn draw_measurements(
    context: &CanvasRenderingContext2d,
    picture: &RenderedSlice,
    report: &SliceReport,
    view: View,
) -> Result<(), JsValue> {
    for (index, measured) in report.measurements.iter().enumerate() {
        let (width, height, unit) = begin_annotations(context, picture)?;
        let size = (picture.shown.width, picture.shown.height);
        let seen = |place: (f64, f64)| {
            let (across, down) = brush::share(view, place, size);
            (across * width, down * height)
        };
        let (points, is_closed): (Vec<(f64, f64)>, bool) = match measured.shape {
            Shape::Ruler(ends) => (ends.map(seen).to_vec(), false),
            Shape::Ellipse(corners) => (ellipse_outline(corners).map(seen).collect(), true),
        };
        context.begin_path();
        for (x, y) in &points {
            context.line_to(*x, *y);
        }
        if is_closed {
            context.close_path();
        }
        for (colour, thickness) in [("black", 3.0), ("white", 1.2)] {
            context.set_stroke_style_str(colour);
            context.set_line_width(thickness * unit);
            context.stroke();
        }
        let by_column = |one: &&(f64, f64), other: &&(f64, f64)| one.0.total_cmp(&other.0);
        let ends = points.iter().min_by(by_column).zip(points.iter().max_by(by_column));
        let Some((left, right)) = ends else { continue };
        // Beside the shape, on the side where there is room.
        let (align, (x, y)) = match right.0 > LABELS_TO_THE_LEFT * width {
            true => ("right", (left.0 - 4.0 * unit, left.1)),
            false => ("left", (right.0 + 4.0 * unit, right.1)),
        };
        let label = format!("{} · {}", index + 1, measurement(measured));
        for (line, words) in label.split(", ").enumerate() {
            annotate(context, words, align, (x, y + 13.0 * unit * line as f64), unit)?;
        }
    }
    Ok(())
}

/// Draws what lies beyond each edge, if the file tells.
fn draw_orientation(
    context: &CanvasRenderingContext2d,
    picture: &RenderedSlice,
) -> Result<(), JsValue> {
    let Some(plane) = picture.shown.plane else { return Ok(()) };
    let (width, height, unit) = begin_annotations(context, picture)?;
    let [left, right, upper, lower] = plane.edges();
    let (margin, line) = (4.0 * unit, 11.0 * unit);
    annotate(context, &left, "left", (margin, (height + line) / 2.0), unit)?;
    annotate(context, &right, "right", (width - margin, (height + line) / 2.0), unit)?;
    annotate(context, &upper, "center", (width / 2.0, margin + line), unit)?;
    annotate(context, &lower, "center", (width / 2.0, height - margin), unit)
}

/// Draws a bar of a round length, if the file tells how large its pixels are and they are square.
fn draw_scale_bar(
    context: &CanvasRenderingContext2d,
    picture: &RenderedSlice,
    view: View,
) -> Result<(), JsValue> {
    let Some(bar) = ScaleBar::of(&picture.shown, view) else { return Ok(()) };
    let (width, height, unit) = begin_annotations(context, picture)?;
    let (right, low, tick) = (width - 6.0 * unit, height - 6.0 * unit, 4.0 * unit);
    let left = right - bar.share * width;
    context.begin_path();
    context.move_to(left, low - tick);
    context.line_to(left, low);
    context.line_to(right, low);
    context.line_to(right, low - tick);
    for (colour, thickness) in [("black", 3.0), ("white", 1.0)] {
        context.set_stroke_style_str(colour);
        context.set_line_width(thickness * unit);
        context.stroke();
    }
    let label = format!("{} mm", decimal(bar.millimetres, bar.digits()));
    annotate(context, &label, "right", (right, low - tick - 2.0 * unit), unit)
}

/// From here on the whole of what is seen is as wide and high as the slice has pixels, whatever is magnified; returns
/// that size and the unit that annotations are measured in.
fn begin_annotations(
    context: &CanvasRenderingContext2d,
    picture: &RenderedSlice,
) -> Result<(f64, f64, f64), JsValue> {
    context.set_transform(DENSITY, 0.0, 0.0, DENSITY, 0.0, 0.0)?;
    let (width, height) = (picture.shown.width as f64, picture.shown.height as f64);
    // On a small screen letters are larger than the slice asks for.
    let shown_width = context.canvas().map_or(0, |canvas| canvas.client_width());
    let readable = width / f64::from(shown_width.max(1));
    let unit = (width.max(height) / ANNOTATED).max(readable.min(width.max(height) / SMALLEST));
    context.set_font(&format!("600 {}px system-ui, sans-serif", 11.0 * unit));
    Ok((width, height, unit))
}

/// Writes a word that stands out from any picture.
fn annotate(
    context: &CanvasRenderingContext2d,
    word: &str,
    align: &str,
    (x, baseline): (f64, f64),
    unit: f64,
) -> Result<(), JsValue> {
    context.set_text_align(align);
    context.set_line_width(2.5 * unit);
    context.set_stroke_style_str("black");
    context.stroke_text(word, x, baseline)?;
    context.set_fill_style_str("white");
    context.fill_text(word, x, baseline)?;
    context.set_text_align("start");
    Ok(())
}

/// Draws the part of the mask scores that is shown of the slice: what each pixel's score is, where a lesion's
/// box lies, and the lowest elsewhere. `scores` has 28 x 28 bytes for each lesion.
///
/// # Errors
/// If the browser gives no canvas.
pub fn draw_scores(
    canvas: &HtmlCanvasElement,
    report: &SliceReport,
    scores: &[u8],
    view: View,
) -> Result<(), JsValue> {
    let maps: Vec<f32> = scores.iter().map(|score| f32::from(*score) / 255.0).collect();
    let maps = maps.chunks_exact(MASK_SIDE * MASK_SIDE);
    let size = (report.width, report.height);
    // They are the model's, whatever a reader corrected.
    let own = report.corrections.as_ref().map_or(&report.lesions, |made| &made.model_lesions);
    let lesions = own.iter().map(|lesion| lesion.bbox);
    let pasted = paste_highest(maps.zip(lesions), MASK_SIDE, size);
    let colour = |score: &f32| {
        let [red, green, blue] = score_colour(if score.is_nan() { 0.0 } else { *score });
        [red, green, blue, 255]
    };
    let rgba: Vec<u8> = pasted.iter().flat_map(colour).collect();
    draw_pixels(canvas, &rgba, size, view).map(|_| ())
}

fn draw_slice(
    canvas: &HtmlCanvasElement,
    picture: &RenderedSlice,
    view: View,
) -> Result<CanvasRenderingContext2d, JsValue> {
    let rgba: Vec<u8> = picture.pixels.iter().flat_map(|v| [*v, *v, *v, 255]).collect();
    draw_pixels(canvas, &rgba, (picture.shown.width, picture.shown.height), view)
}

fn draw_pixels(
    canvas: &HtmlCanvasElement,
    rgba: &[u8],
    (width, height): (usize, usize),
    view: View,
) -> Result<CanvasRenderingContext2d, JsValue> {
    let (width, height) = (width as u32, height as u32);
    // The page fits the picture, and what lies on it, into its window by this.
    let around = canvas.parent_element().ok_or("the canvas lies nowhere")?;
    let around: HtmlElement = around.dyn_into()?;
    around.style().set_property("--ratio", &format!("calc({width} / {height})"))?;
    let data = ImageData::new_with_u8_clamped_array_and_sh(Clamped(rgba), width, height)?;
    let document = web_sys::window().and_then(|w| w.document()).ok_or("there is no document")?;
    let plain: HtmlCanvasElement = document.create_element("canvas")?.dyn_into()?;
    plain.set_width(width);
    plain.set_height(height);
    context(&plain)?.put_image_data(&data, 0.0, 0.0)?;

    canvas.set_width((f64::from(width) * DENSITY) as u32);
    canvas.set_height((f64::from(height) * DENSITY) as u32);
    let context = context(canvas)?;
    look_through(&context, view, (f64::from(width), f64::from(height)))?;
    context.set_image_smoothing_enabled(view.zoom < SQUARES);
    context.draw_image_with_html_canvas_element(&plain, 0.0, 0.0)?;
    Ok(context)
}

/// From here on places are columns and rows of the slice.
fn look_through(
    context: &CanvasRenderingContext2d,
    view: View,
    (width, height): (f64, f64),
) -> Result<(), JsValue> {
    let scale = DENSITY * view.zoom;
    let (left, top) = (-view.left * width * scale, -view.top * height * scale);
    context.set_transform(scale, 0.0, 0.0, scale, left, top)
}

/// Draws a part of a stroke over the slice, until the lesion that it changes is drawn anew.
///
/// # Errors
/// If the browser gives no canvas.
pub fn draw_stroke(
    canvas: &HtmlCanvasElement,
    picture: &RenderedSlice,
    display: Display,
    (from, to): ((f64, f64), (f64, f64)),
    editing: Editing,
) -> Result<(), JsValue> {
    let context = context(canvas)?;
    let size = (picture.shown.width as f64, picture.shown.height as f64);
    look_through(&context, display.view, size)?;
    let [r, g, b] = editing.kind.rgb();
    let colour = match editing.tool {
        Tool::Eraser => "black".to_owned(),
        _ => format!("rgb({r} {g} {b})"),
    };
    context.set_stroke_style_str(&colour);
    context.set_line_width(2.0 * editing.radius);
    context.set_line_cap("round");
    context.begin_path();
    context.move_to(from.0, from.1);
    context.line_to(to.0, to.1);
    context.stroke();
    context.set_line_cap("butt");
    Ok(())
}

fn draw_lesions(
    context: &CanvasRenderingContext2d,
    report: &SliceReport,
    outlines: &[Vec<Polygon>],
    highlighted: Option<usize>,
    display: Display,
) -> Result<(), JsValue> {
    // Lines and labels stay as thick and large as they are, however much is magnified.
    let unit = 1.0 / display.view.zoom;
    let opacity = if display.filled { display.opacity } else { 0.0 };
    let mut labels = Labels::default();
    // The weakest first, so that the strongest lie on top.
    for (index, lesion) in report.lesions.iter().enumerate().rev() {
        let is_highlighted = highlighted == Some(index);
        let [r, g, b] = lesion.label.rgb();
        let colour = format!("rgb({r} {g} {b})");
        let path = path(outlines.get(index).map_or(&[], Vec::as_slice))?;
        context.set_fill_style_str(&colour);
        context.set_stroke_style_str(if is_highlighted { "white" } else { &colour });
        let emphasis = if display.filled { opacity.max(0.6) } else { 0.0 };
        context.set_global_alpha(if is_highlighted { emphasis } else { opacity });
        context.fill_with_path_2d_and_winding(&path, web_sys::CanvasWindingRule::Evenodd);
        context.set_global_alpha(1.0);
        context.set_line_width(unit * if is_highlighted { 2.0 } else { 1.0 });
        context.stroke_with_path(&path);

        let bbox = lesion.bbox;
        let dashes = js_sys::Array::of2(&(4.0 * unit).into(), &(3.0 * unit).into());
        context.set_line_dash(&dashes)?;
        let [x, y] = [f64::from(bbox.x1), f64::from(bbox.y1)];
        context.stroke_rect(x, y, f64::from(bbox.width()), f64::from(bbox.height()));
        context.set_line_dash(&js_sys::Array::new())?;

        let label = match lesion.origin {
            Origin::Reader => (index + 1).to_string(),
            _ => format!("{} · {}", index + 1, decimal(lesion.score, 2)),
        };
        context.set_font(&format!("{}px system-ui, sans-serif", 9.0 * unit));
        let above = if y > 12.0 * unit { y - 3.0 * unit } else { f64::from(bbox.y2) + 9.0 * unit };
        let baseline = labels.place(x, above, unit);
        context.set_line_width(2.5 * unit);
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
    /// Size of a label in slice pixels without magnification, roughly.
    const WIDTH: f64 = 40.0;
    const HEIGHT: f64 = 10.0;

    /// A baseline at `y` or, line by line, above it, or below it at the top of the slice.
    fn place(&mut self, x: f64, y: f64, unit: f64) -> f64 {
        let (width, height) = (Self::WIDTH * unit, Self::HEIGHT * unit);
        let taken = |y: f64| {
            self.0.iter().any(|(other_x, other_y)| {
                (other_x - x).abs() < width && (other_y - y).abs() < height
            })
        };
        let upwards = (0..32).map(|line| y - f64::from(line) * height);
        let downwards = (1..32).map(|line| y + f64::from(line) * height);
        let free =
            upwards.filter(|y| *y > height).chain(downwards).find(|y| !taken(*y)).unwrap_or(y);
        self.0.push((x, free));
        free
    }
}
