//! `groundglass export`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::classes::SliceClass;
use crate::cli::files;
use crate::cli::model::{read_state, read_weights};
use crate::cli::outputs::Paths;
use crate::detection::boxes::MAX_LOG_SCALE;
use crate::detection::proposals::{self, ProposalCounts};
use crate::image::preprocess::{DEVIATION, LONG_SIDE, MEAN, MULTIPLE, SHORT_SIDE};
use crate::inference::{ModelFile, Settings};
use crate::network::onnx;
use crate::report::NOTICE;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportWeights {
    /// Weights (.bpk, .pth, .safetensors)
    model: PathBuf,
    /// Format of the file
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write; for ONNX the folder
    #[arg(long)]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Tensors by the names of the author and of torchvision; metadata and anchors as texts.
    Safetensors,
    /// Graphs of operator set 17 (features.onnx, regions.onnx, classifier.onnx, as far as the model has them) and
    /// groundglass.json, which says what to do before, between and after them.
    Onnx,
}

impl ExportWeights {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        Paths::of_inputs([self.model.as_path()]).claim(&self.out)?;
        match self.format {
            Format::Safetensors => {
                let (state, _) = read_state(&self.model)?;
                let bytes = state.to_safetensors()?;
                files::write(&self.out, &bytes)?;
                let (path, count) = (self.out.display(), state.tensors.len());
                println!("{path}: {count} tensors, {} bytes", bytes.len());
            }
            Format::Onnx => write_onnx(&read_weights(&self.model)?, &self.out)?,
        }
        println!("{NOTICE}");
        Ok(ExitCode::SUCCESS)
    }
}

fn write_onnx(file: &ModelFile, folder: &Path) -> Result<()> {
    ensure!(!folder.is_file(), "{}: a file; ONNX needs a folder", folder.display());
    let mut graphs = Vec::new();
    if let Some(detector) = &file.detector {
        if !detector.mask_branch {
            println!("the model has no mask branch: `regions.onnx` gives no masks");
        }
        graphs.push(("features.onnx", onnx::features(detector, &file.state)?));
        graphs.push(("regions.onnx", onnx::regions(detector, &file.state)?));
    }
    if let Some(variant) = file.image_classifier {
        graphs.push(("classifier.onnx", onnx::image_classifier(variant, &file.state)?));
    } else if file.detector.as_ref().is_some_and(|detector| detector.feature_module) {
        println!(
            "a classifier that sees the backbone's features (s+f) is not written as ONNX: no graph gives class logits; safetensors holds it whole"
        );
    } else if !file.classifies() {
        println!("the model has no classifier: no graph gives class logits");
    }
    for (name, bytes) in &graphs {
        let path = folder.join(name);
        files::write(&path, bytes)?;
        println!("{}: {} bytes", path.display(), bytes.len());
    }
    let path = folder.join("groundglass.json");
    let text = serde_json::to_string_pretty(&sidecar(file)?)? + "\n";
    files::write(&path, text.as_bytes()).with_context(|| format!("{}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// What to do before, between and after the graphs.
fn sidecar(file: &ModelFile) -> Result<Value> {
    let settings = Settings::default();
    let detector = file.detector.as_ref().map(|detector| {
        json!({
            "variant": detector.variant,
            "classes": detector.masks.num_classes(),
            "mask_branch": detector.mask_branch,
            "stride": onnx::stride(detector.variant),
            "resize": { "side": file.resize(), "short_side": SHORT_SIDE, "long_side": LONG_SIDE, "pad_to_multiple_of": MULTIPLE, "interpolation": "bilinear, half-pixel centres, no antialiasing" },
            "anchors": { "sizes": detector.anchors.sizes, "aspect_ratios": detector.anchors.aspect_ratios, "order": "(row * columns + column) * anchors + anchor; ratio-major; corners rounded half to even" },
            "proposals": { "before_nms": ProposalCounts::TEST.before_nms, "after_nms": ProposalCounts::TEST.after_nms, "nms": proposals::NMS_THRESHOLD, "box_weights": [1, 1, 1, 1] },
            "detections": { "score": settings.score_threshold, "nms": settings.nms_threshold, "most": settings.detections, "merge": settings.merge, "box_weights": [10, 10, 5, 5], "max_log_scale": MAX_LOG_SCALE },
            "masks": { "threshold": 0.5, "paste": "sigmoid; pad by one cell of zeros; widen the box in proportion; truncate its corners; resize bilinearly; cut" },
            "score_module": detector.score_module.filter(|_| !detector.feature_module).map(|(roi_batch, features)| json!({ "roi_batch": roi_batch, "features": features })),
        })
    });
    let classifier = match file.image_classifier {
        Some(variant) => Some(json!({
            "variant": variant,
            "side": file.image_side(),
            "input": "the slice scaled until its long side is `side` (PIL's bilinear filter), in the middle of a black square; the mean of the logits of picture and mirror image",
            "calibration": file.calibration()?,
        })),
        None => None,
    };
    Ok(json!({
        "notice": NOTICE,
        "model": file.info,
        "opset": onnx::OPSET,
        "input": { "intensities": "grey, 0 to 1, the same in three channels", "mean": MEAN, "standard_deviation": DEVIATION },
        "detector": detector,
        "classifier": classifier,
        "class_names": SliceClass::ALL.map(SliceClass::name),
    }))
}
