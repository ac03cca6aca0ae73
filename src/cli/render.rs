//! `groundglass render`: Figure 3.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::classes::{CLASSES, SliceClass};
use crate::cli::files;
use crate::cli::model::{DeviceArgument, ModelArguments, predictor};
use crate::export::overlay;
use crate::figures::panels::SliceFigure;
use crate::image::{Window, decode_slice};
use crate::inference::{NoProgress, Settings};
use crate::report::NOTICE;

/// Largest image file read.
const MAX_BYTES: u64 = 256 << 20;

/// Arguments of `render`.
#[derive(Debug, Args)]
pub struct Render {
    /// The slice (PNG, JPEG, DICOM)
    image: PathBuf,
    /// Its true mask (PNG with 0 background, 1 lung, 2 ground glass, 3 consolidation)
    #[arg(long)]
    mask: Option<PathBuf>,
    /// Its true class: 0 control, 1 common pneumonia, 2 COVID-19
    #[arg(long)]
    class: Option<usize>,
    #[command(flatten)]
    model: ModelArguments,
    /// Leave out lesions with a lower score; the paper shows controls with one far below
    #[arg(long, default_value_t = Settings::default().score_threshold)]
    score_threshold: f32,
    /// Window for DICOM as CENTER/WIDTH
    #[arg(long, allow_hyphen_values = true)]
    window: Option<Window>,
    /// The figure, .png or .svg
    #[arg(long)]
    out: PathBuf,
    /// Device to compute on
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
}

impl Render {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        if let Some(class) = self.class {
            ensure!(class < CLASSES, "--class must be 0, 1 or 2");
        }
        let bytes = files::read(&self.image, MAX_BYTES)?;
        let name = self.image.display().to_string();
        let slice = decode_slice(&name, &bytes, self.window).with_context(|| name.clone())?;
        let truth = match &self.mask {
            Some(path) => {
                let mask =
                    image::open(path).with_context(|| path.display().to_string())?.to_luma8();
                let size = (mask.width() as usize, mask.height() as usize);
                ensure!(
                    size == (slice.width, slice.height),
                    "{}: the mask has another size than the slice",
                    path.display()
                );
                Some(mask.into_raw())
            }
            None => None,
        };
        let predictor = predictor(&self.model.load()?.model, self.device)?;
        let settings = Settings { score_threshold: self.score_threshold, ..Settings::reference() };
        let settings = settings.checked()?;
        let mut nobody = NoProgress;
        let predicted = predictor.predict_with_masks(&slice, &settings, &mut nobody);
        let prediction = pollster::block_on(predicted)?;
        let (logits, report) = (prediction.pasted_logits(), prediction.report);

        let mut lines = Vec::new();
        if let Some(class) = self.class {
            lines.push((format!("True class: {}", SliceClass::ALL[class].name()), [0, 100, 0]));
        }
        if let Some((values, classes)) = report.logits.zip(report.classes) {
            for ((class, logit), share) in SliceClass::ALL.iter().zip(values).zip(classes.values())
            {
                let name = class.name();
                let percent = 100.0 * share;
                lines.push((format!("{name}: logit {logit:.3} ({percent:.1} %)"), [200, 0, 0]));
            }
        }
        for lesion in report.lesions.iter().take(8) {
            let text =
                format!("{:.2} {}, {} px", lesion.score, lesion.label.name(), lesion.area_px);
            lines.push((text, [40, 40, 40]));
        }
        lines.push((NOTICE.into(), [90, 90, 90]));
        let overlay = overlay::draw(&slice, &report);
        let figure = SliceFigure { overlay, logits, truth, lines };
        match self.out.extension().and_then(|ending| ending.to_str()) {
            Some("png") => files::write(&self.out, &figure.png()?)?,
            Some("svg") => files::write(&self.out, figure.svg()?.as_bytes())?,
            _ => bail!("{}: the figure must end in .png or .svg", self.out.display()),
        }
        println!("{}\n{NOTICE}", self.out.display());
        Ok(ExitCode::SUCCESS)
    }
}
