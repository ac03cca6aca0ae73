//! `groundglass info`.

use std::process::ExitCode;

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use serde::Serialize;

use crate::classes::LesionClasses;
use crate::evaluate::paper;
use crate::network::{Architecture, MaskRcnnConfig, Task, Variant};

/// Arguments of `info`.
#[derive(Debug, Args)]
pub struct Info {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One row: a variant for a task.
#[derive(Debug, Serialize)]
struct Row {
    variant: Variant,
    task: Task,
    masks: LesionClasses,
    parameters: usize,
    state_dict_entries: usize,
    trainable: usize,
    paper_millions: Option<f64>,
}

/// Table 1 of the paper, in millions: segmentation, classification.
fn paper_millions(variant: Variant, task: Task) -> Option<f64> {
    let row = paper::TABLE_1.iter().find(|(name, ..)| *name == variant.to_string())?;
    Some(if task == Task::Segmentation { row.1 } else { row.2 })
}

fn rows() -> Vec<Row> {
    let variants = Variant::LIGHTWEIGHT.into_iter().chain([Variant::RESNET50]);
    let mut rows = Vec::new();
    for variant in variants {
        for task in [Task::Segmentation, Task::Classification] {
            for masks in [LesionClasses::Merge, LesionClasses::Both] {
                let architecture = Architecture::paper(variant, task, masks);
                let count = MaskRcnnConfig::new(architecture).init(&Device::flex()).count();
                rows.push(Row {
                    variant,
                    task,
                    masks,
                    parameters: count.parameters,
                    state_dict_entries: count.state_dict_entries,
                    trainable: match task {
                        Task::Segmentation => count.parameters,
                        Task::Classification => count.trainable_stage_two,
                    },
                    // The paper counts one lesion class.
                    paper_millions: (masks == LesionClasses::Merge)
                        .then(|| paper_millions(variant, task))
                        .flatten(),
                });
            }
        }
    }
    rows
}

impl Info {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let rows = rows();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&rows)?);
            return Ok(ExitCode::SUCCESS);
        }
        println!(
            "{:<11} {:<14} {:<6} {:>12} {:>12} {:>12} {:>9}",
            "variant", "task", "masks", "parameters", "state dict", "trainable", "paper, M"
        );
        for row in rows {
            println!(
                "{:<11} {:<14} {:<6} {:>12} {:>12} {:>12} {:>9}",
                row.variant.to_string(),
                row.task,
                row.masks,
                row.parameters,
                row.state_dict_entries,
                row.trainable,
                row.paper_millions.map(|m| format!("{m:.2}")).unwrap_or_default()
            );
        }
        println!(
            "\nThe paper counts state-dict values, and for the truncated variants deletes blocks from the\n\
             full model's count, which leaves a 512-channel lateral that such a model cannot have."
        );
        Ok(ExitCode::SUCCESS)
    }
}
