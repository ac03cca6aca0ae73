//! The command line: one file per subcommand.

mod analyse;
mod bench;
mod evaluate;
mod exports;
mod files;
mod import;
mod info;
mod manifest;
mod model;
mod phantom;
mod predict;
mod recalibrate;
mod render;
mod tables;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Turn an author's checkpoint (.pth) into ours (.bpk).
    Import(import::Import),
    /// Write phantoms: chest-like slices with known lesions.
    Phantom(phantom::WritePhantoms),
    /// Train a network.
    Train(train::Train),
    /// Average the batch norm statistics of a trained network over many slices.
    Recalibrate(recalibrate::Recalibrate),
    /// Measure a network against true masks or classes.
    Evaluate(evaluate::Evaluate),
    /// Look into what the classifier sees.
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
    let result = match Arguments::parse().command {
        Command::Predict(command) => command.run(),
        Command::Info(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Phantom(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Recalibrate(command) => command.run(),
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
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
