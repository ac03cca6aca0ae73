//! `groundglass manifest`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cli::files;
use crate::cli::model::{read_manifest, read_weights};
use crate::inference::manifest::{FileEntry, MAX_BYTES, Manifest, ModelEntry, SCHEMA};
use crate::inference::{LoadedModel, Predictor};
use crate::sha256::sha256;

/// Arguments of `manifest`.
#[derive(Debug, Args)]
pub struct WriteManifest {
    /// The folder with .bpk files
    #[arg(default_value = "models")]
    folder: PathBuf,
    /// The model used unless another is asked for. Default: as before, or the first
    #[arg(long)]
    default: Option<String>,
    /// What `analyse rois` found for a model (its reference.json), for the page to compare slices with
    #[arg(long, value_name = "MODEL=FILE")]
    regions: Vec<String>,
}

impl WriteManifest {
    /// Runs the command. Licences and cards that an earlier manifest names are kept.
    pub fn run(self) -> Result<ExitCode> {
        let before = read_manifest(&self.folder).ok();
        let mut packs: Vec<PathBuf> = std::fs::read_dir(&self.folder)
            .with_context(|| format!("{}", self.folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "bpk"))
            .collect();
        packs.sort();
        ensure!(!packs.is_empty(), "{}: there is no .bpk file", self.folder.display());

        let (mut models, mut listed) = (BTreeMap::<String, ModelEntry>::new(), BTreeMap::new());
        for path in &packs {
            let bytes = files::read(path, MAX_BYTES)?;
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let entry = FileEntry { bytes: bytes.len() as u64, sha256: sha256(&bytes) };
            let name = files::stem(path);
            let old = before.as_ref().and_then(|manifest| manifest.models.get(&name));
            models.insert(name.clone(), describe(path, &name, &file, old)?);
            listed.insert(file, entry);
        }
        for given in &self.regions {
            let (name, file) =
                given.split_once('=').with_context(|| format!("{given} is not MODEL=FILE"))?;
            let entry =
                models.get_mut(name).with_context(|| format!("there is no model {name}"))?;
            let text = files::read(Path::new(file), MAX_BYTES)?;
            entry.regions = Some(serde_json::from_slice(&text).with_context(|| file.to_owned())?);
        }
        let first = models.keys().next().cloned().unwrap_or_default();
        let default = self.default.or(before.map(|manifest| manifest.default)).unwrap_or(first);
        ensure!(models.contains_key(&default), "there is no model `{default}` to be the default");
        let manifest = Manifest { schema: SCHEMA.into(), default, models, files: listed };
        let text = serde_json::to_string_pretty(&manifest)? + "\n";
        let path = self.folder.join("manifest.json");
        files::write(&path, text.as_bytes())?;
        println!("{}: {} models", path.display(), manifest.models.len());
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(path: &Path, name: &str, file: &str, old: Option<&ModelEntry>) -> Result<ModelEntry> {
    let weights = read_weights(path)?;
    let by_regions = weights.image_classifier.is_none();
    let part = |has: bool| has.then(|| file.to_owned());
    let (segments, classifies) = (weights.segments(), weights.classifies());
    let model =
        LoadedModel::new(segments.then(|| weights.clone()), classifies.then(|| weights.clone()))?;
    let predictor = Predictor::on_cpu(&model, "cpu")?;
    Ok(ModelEntry {
        variant: weights.detector()?.variant,
        segmentation: part(segments),
        classifier: part(classifies),
        card: old.map_or_else(|| format!("{name}.md"), |old| old.card.clone()),
        licence: old.map_or_else(|| format!("see {name}.md"), |old| old.licence.clone()),
        self_test: pollster::block_on(predictor.self_test())?,
        // They stand beside the regions that module S goes by.
        regions: old.filter(|_| by_regions).and_then(|old| old.regions.clone()),
    })
}
