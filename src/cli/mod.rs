//! The command line: one file per subcommand.

mod analyse;
mod average;
mod bench;
mod calibrate;
mod class_pictures;
mod console;
mod evaluate;
mod export;
mod exports;
mod files;
mod import;
mod info;
mod interrupt;
mod manifest;
mod model;
mod outputs;
mod phantom;
mod predict;
mod reading;
mod recalibrate;
mod render;
mod tables;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::image::decode::panic_guard::is_guarded;

/// Finds and outlines lesions on chest CT slices. Research use only, not a medical device.
#[derive(Debug, Parser)]
#[command(name = "groundglass", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Outline lesions and classify slices.
    Predict(predict::Predict),
    /// List the network variants with their parameter counts beside the paper's.
    Info(info::Info),
    /// Turn a checkpoint (.pth, .safetensors) into ours (.bpk), or join a detector and a classifier.
    Import(import::Import),
    /// Write weights for other programs.
    Export(export::ExportWeights),
    /// Write phantoms: chest-like slices with known lesions.
    Phantom(phantom::WritePhantoms),
    /// Train a network.
    Train(Box<train::Train>),
    /// Average the batch norm statistics of a trained network over many slices.
    Recalibrate(recalibrate::Recalibrate),
    /// Average the weights of models that began with the same ones.
    Average(average::Average),
    /// Calibrate a classifier on held-out slices.
    Calibrate(calibrate::Calibrate),
    /// Measure a network against true masks or classes.
    Evaluate(evaluate::Evaluate),
    /// Analyse the classifier's regions and training curves.
    Analyse(analyse::Analyse),
    /// Draw the paper's Figure 3 for a slice.
    Render(render::Render),
    /// Write the paper's Tables 1 to 3 with rows of our own.
    Tables(tables::Tables),
    /// Measure a prediction stage by stage, its memory, and what a visit downloads.
    Bench(bench::Bench),
    /// List the .bpk files of a folder in its manifest.json, with hashes and start-up checks.
    Manifest(manifest::WriteManifest),
}

/// Runs the command line; the exit code is 1 if anything failed.
pub fn run() -> ExitCode {
    let command = Arguments::parse().command;
    // `groundglass info | head` ends quietly, as other programs do; `predict` writes its files all the same.
    if !matches!(command, Command::Predict(_)) {
        sigpipe::reset();
    }
    quiet_behind_walls();
    let result = match command {
        Command::Predict(command) => command.run(),
        Command::Info(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Phantom(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Recalibrate(command) => command.run(),
        Command::Average(command) => command.run(),
        Command::Calibrate(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Analyse(command) => command.run(),
        Command::Render(command) => command.run(),
        Command::Tables(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Manifest(command) => command.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            outputs::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A panic that is about to become a file's error says nothing by itself.
fn quiet_behind_walls() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_guarded() {
            usual(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Commands of the program in the shell examples of a document, each as its words.
    fn examples(document: &str) -> Vec<Vec<String>> {
        let shell = document.split("```sh\n").skip(1).filter_map(|part| part.split("```").next());
        let lines = shell.flat_map(|part| {
            let joined = part.replace("\\\n", " ");
            joined.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        let commands = lines.flat_map(|line| {
            let line = line.split(" #").next().unwrap_or_default().to_owned();
            line.split("&&").map(str::to_owned).collect::<Vec<_>>()
        });
        let words = commands.map(|line| line.split_whitespace().map(str::to_owned).collect());
        words
            .filter(|words: &Vec<String>| {
                words.first().is_some_and(|first| first.rsplit('/').next() == Some("groundglass"))
            })
            .collect()
    }

    #[test]
    fn every_command_in_the_documents_is_understood() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let documents = ["", "docs", "models"].into_iter().flat_map(|folder| {
            let entries = std::fs::read_dir(root.join(folder)).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        });
        let mut commands = 0;
        for path in documents.filter(|path| path.extension().is_some_and(|end| end == "md")) {
            for words in examples(&std::fs::read_to_string(&path).unwrap()) {
                commands += 1;
                let parsed = Arguments::try_parse_from(&words);
                assert!(parsed.is_ok(), "{}: {words:?}: {}", path.display(), parsed.unwrap_err());
            }
        }
        assert!(commands > 20, "examples were found: {commands}");
    }
}
