//! The paper's tables with our rows beside its own (docs/method.md, 1.7, 6.4).

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::classes::{LesionClasses, SliceClass};
use crate::evaluate::bootstrap::Estimate;
use crate::evaluate::classification::ClassificationResult;
use crate::evaluate::paper;
use crate::evaluate::roi_distribution::{RoiDistribution, THRESHOLDS};
use crate::evaluate::segmentation::SegmentationResult;
use crate::network::{Architecture, MaskRcnnConfig, Task, Variant};
use crate::report::{ModelInfo, NOTICE};

/// What an evaluation was made on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Provenance {
    /// The weights.
    pub model: ModelInfo,
    /// The network.
    pub variant: Variant,
    /// Folder or list, as given.
    pub data: String,
    /// Minutes of training, if the weights tell.
    pub training_minutes: Option<f64>,
    /// Program version.
    pub version: String,
    /// What this is not.
    pub notice: String,
}

impl Provenance {
    /// Of weights and data.
    pub fn new(model: ModelInfo, variant: Variant, data: String, minutes: Option<f64>) -> Self {
        Self {
            model,
            variant,
            data,
            training_minutes: minutes,
            version: env!("CARGO_PKG_VERSION").into(),
            notice: NOTICE.into(),
        }
    }
}

/// Two models on the same slices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Against {
    /// The other model.
    pub model: ModelInfo,
    /// The model's measures less the other's, by settings.
    pub differences: Vec<Vec<Difference>>,
}

/// By how much a measure differs; none where one of both has no value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// What is measured.
    pub measure: String,
    /// Over the same resampled patients.
    pub difference: Option<Estimate>,
}

/// A file that `evaluate` writes and `tables` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "lowercase")]
pub enum Evaluation {
    /// Stage I, at one or more settings.
    Segmentation {
        /// What, on what.
        provenance: Provenance,
        /// Results by settings.
        results: Vec<SegmentationResult>,
        /// Another model on the same slices, at the same settings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        against: Option<Against>,
    },
    /// Stage II.
    Classification {
        /// What, on what.
        provenance: Provenance,
        /// Its result.
        result: Box<ClassificationResult>,
    },
}

const PAPER_SEGMENTATION: &str = "paper, CNCB (100 slices)";
const PAPER_CLASSIFICATION: &str = "paper, COVIDx-CT (21191 slices)";

/// Tables 1 to 3 as Markdown.
pub fn markdown(evaluations: &[Evaluation]) -> String {
    let mut text = format!("{NOTICE}\n\n## Table 1: parameters, in millions\n\n");
    text.push_str("| network | detector, paper | detector, state dict | classifier, paper | classifier, state dict | trained in stage II |\n|---|---|---|---|---|---|\n");
    for (name, detector, classifier) in paper::TABLE_1 {
        let Ok(variant) = name.parse::<Variant>() else { continue };
        let count = |task| {
            let architecture = Architecture::paper(variant, task, LesionClasses::Merge);
            MaskRcnnConfig::new(architecture).init(&burn::tensor::Device::flex()).count()
        };
        let (one, two) = (count(Task::Segmentation), count(Task::Classification));
        let millions = |count: usize| count as f64 / 1e6;
        row(
            &mut text,
            format_args!(
                "| {name} | {detector:.2} | {:.3} | {classifier:.2} | {:.3} | {:.3} |",
                millions(one.state_dict_entries),
                millions(two.state_dict_entries),
                millions(two.trainable_stage_two)
            ),
        );
    }
    text.push_str("\n## Table 2: lesion segmentation, per-image AP of masks\n\n| network | data | score >, NMS | AP@0.5 | AP@0.75 | mean AP | minutes |\n|---|---|---|---|---|---|---|\n");
    for (name, [ap50, ap75, mean, minutes]) in paper::TABLE_2 {
        row(
            &mut text,
            format_args!(
                "| {name} | {PAPER_SEGMENTATION} | 0.75, 0.75 | {ap50:.4} | {ap75:.4} | {mean:.4} | {minutes} |"
            ),
        );
    }
    for evaluation in evaluations {
        if let Evaluation::Segmentation { provenance, results, .. } = evaluation {
            for result in results {
                segmentation_row(&mut text, provenance, result);
            }
        }
    }
    text.push_str("\n## Table 3: class of a slice, percent\n\n| network | data | COVID-19 | common pneumonia | control | overall | F1 | minutes |\n|---|---|---|---|---|---|---|---|\n");
    for (name, [covid, pneumonia, control, overall, f1, minutes]) in paper::TABLE_3 {
        row(
            &mut text,
            format_args!(
                "| {name} | {PAPER_CLASSIFICATION} | {covid:.2} | {pneumonia:.2} | {control:.2} | {overall:.2} | {f1:.2} | {minutes} |"
            ),
        );
    }
    for evaluation in evaluations {
        if let Evaluation::Classification { provenance, result } = evaluation {
            classification_row(&mut text, provenance, result);
        }
    }
    text
}

fn row(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").ok();
}

fn minutes(provenance: &Provenance) -> String {
    provenance.training_minutes.map(|m| format!("{m:.1}")).unwrap_or_default()
}

fn segmentation_row(text: &mut String, provenance: &Provenance, result: &SegmentationResult) {
    let value = |estimate: &Option<Estimate>| {
        estimate.as_ref().map(|estimate| format!("{:.4}", estimate.value)).unwrap_or_default()
    };
    row(
        text,
        format_args!(
            "| {} ({}) | {} ({} slices, {} scans) | {}, {} | {} | {} | {} | {} |",
            provenance.variant,
            provenance.model.name,
            provenance.data,
            result.slices,
            result.scans,
            result.settings.score_threshold,
            result.settings.nms_threshold,
            value(&result.ap50),
            value(&result.ap75),
            value(&result.mean_ap),
            minutes(provenance)
        ),
    );
}

fn classification_row(text: &mut String, provenance: &Provenance, result: &ClassificationResult) {
    let percent = |estimate: &Option<Estimate>| {
        estimate
            .as_ref()
            .map(|estimate| format!("{:.2}", 100.0 * estimate.value))
            .unwrap_or_default()
    };
    let [control, pneumonia, covid] = result.sensitivities.each_ref().map(percent);
    row(
        text,
        format_args!(
            "| {} ({}) | {} ({} slices, {} patients) | {covid} | {pneumonia} | {control} | {} | {} | {} |",
            provenance.variant,
            provenance.model.name,
            provenance.data,
            result.slices,
            result.patients.iter().sum::<usize>(),
            percent(&result.accuracy),
            percent(&result.adjusted_f1),
            minutes(provenance)
        ),
    );
}

/// Tables 4 and 5 as Markdown.
pub fn roi_markdown(found: &RoiDistribution, data: &str) -> String {
    let mut text = format!(
        "{NOTICE}\n\nData: {data}\n\n## Table 4: regions of the RoI batch over a score, mean \u{b1} 1.96 standard deviations\n\n| class | slices |"
    );
    for threshold in THRESHOLDS {
        write!(text, " > {threshold} |").ok();
    }
    text.push_str("\n|---|---|---|---|---|\n");
    for class in [2, 1, 0] {
        let cells: Vec<_> = found.table4.iter().map(|row| row[class]).collect();
        let slices = cells.first().and_then(|cell| cell.map(|cell| cell.slices)).unwrap_or(0);
        write!(text, "| {} | {slices} |", SliceClass::ALL[class].name()).ok();
        for cell in cells {
            let cell = cell.map(|cell| format!("{:.2} \u{b1} {:.2}", cell.mean, cell.spread));
            write!(text, " {} |", cell.unwrap_or("none".into())).ok();
        }
        text.push('\n');
    }
    text.push_str("\n## Table 5: one-sided Kolmogorov-Smirnov test that the first class has more such regions\n\n| classes | score > | D | exact p | asymptotic p |\n|---|---|---|---|---|\n");
    for comparison in &found.table5 {
        let pair = format!(
            "{} / {}",
            SliceClass::ALL[comparison.higher].name(),
            SliceClass::ALL[comparison.lower].name()
        );
        let threshold = comparison.threshold;
        match comparison.test {
            Some(test) => row(
                &mut text,
                format_args!(
                    "| {pair} | {threshold} | {:.3} | {:.2e} | {:.2e} |",
                    test.statistic, test.p, test.p_asymptotic
                ),
            ),
            None => row(&mut text, format_args!("| {pair} | {threshold} | N/A | N/A | N/A |")),
        }
    }
    text
}
