//! `groundglass evaluate lungs`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::classes::mask_value::BACKGROUND;
use crate::dataset::cncb::{self, Pair};
use crate::dataset::{Listed, summary};
use crate::evaluate::union::UnionPixels;
use crate::image::lungs;
use crate::report::NOTICE;

/// Arguments of `evaluate lungs`.
#[derive(Debug, Args)]
pub struct EvaluateLungs {
    /// A folder with `imgs` and `masks`, in whose masks lungs are drawn
    #[arg(long)]
    data: PathBuf,
}

/// What was found on a slice, and whether anything was.
type Found = (UnionPixels, bool);

impl EvaluateLungs {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let (files, skipped) = cncb::list(&self.data)?;
        ensure!(!files.is_empty(), "{}: {}", self.data.display(), summary(&skipped));
        let measured = files.par_iter().map(|file: &Listed<Pair>| {
            let (slice, values) = file.place.read(&mut Sha256::new())?;
            let drawn: Vec<bool> = values.iter().map(|value| *value != BACKGROUND).collect();
            let found = lungs::segment(&slice);
            let both = found.as_ref().map_or_else(
                || vec![false; drawn.len()],
                |found| {
                    let sides = found.right.pixels.iter().zip(&found.left.pixels);
                    sides.map(|(right, left)| *right || *left).collect()
                },
            );
            Ok((file.patient.clone(), (UnionPixels::of(&both, &drawn), found.is_some())))
        });
        let (mut patients, mut unread) = (BTreeMap::<String, Vec<Found>>::new(), skipped);
        for slice in measured.collect::<Vec<Result<_, _>>>() {
            match slice {
                Ok((patient, found)) => patients.entry(patient).or_default().push(found),
                Err(skip) => unread.push(skip),
            }
        }
        println!(
            "| patient | slices with lung | no lung found | Dice of all pixels | mean Dice of slices |"
        );
        println!("|---|---|---|---|---|");
        for (patient, slices) in &patients {
            let drawn: Vec<&Found> = slices.iter().filter(|(pixels, _)| pixels.drawn > 0).collect();
            let missed = drawn.iter().filter(|(_, found)| !found).count();
            let dice: Vec<f64> = drawn.iter().filter_map(|(pixels, _)| pixels.dice()).collect();
            let mean = dice.iter().sum::<f64>() / dice.len().max(1) as f64;
            let all = UnionPixels::sum(slices.iter().map(|(pixels, _)| pixels));
            println!(
                "| {patient} | {} | {missed} | {:.3} | {mean:.3} |",
                drawn.len(),
                all.dice().unwrap_or(0.0),
            );
        }
        println!("{}", summary(&unread));
        println!("{NOTICE}");
        Ok(ExitCode::SUCCESS)
    }
}
