//! Choosing weights and a device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::{Args, ValueEnum};

use crate::cli::files;
use crate::inference::manifest::{MAX_BYTES, MAX_CARD, MAX_MANIFEST, Manifest};
use crate::inference::{BurnBackend, CpuBackend, EitherBackend, LoadedModel, ModelFile, Predictor};
use crate::network::StateDict;
use crate::sha256::sha256;

/// Which weights.
#[derive(Clone, Debug, Args)]
pub struct ModelArguments {
    /// A model of the models' folder. Default: the one that its manifest names
    #[arg(long, conflicts_with_all = ["segmentation", "classifier"])]
    model: Option<String>,
    /// Weights of the segmentation network (.bpk, .pth or .safetensors)
    #[arg(long)]
    segmentation: Option<PathBuf>,
    /// Weights of the classifier (.bpk, .pth or .safetensors)
    #[arg(long)]
    classifier: Option<PathBuf>,
    /// The models' folder. Default: $GROUNDGLASS_MODELS, or the one beside the program
    #[arg(long)]
    models: Option<PathBuf>,
}

/// A model, and where it comes from.
#[derive(Debug)]
pub struct ChosenModel {
    /// Its weights.
    pub model: LoadedModel,
    /// Name, hash and place, in words.
    pub origin: String,
    /// The card of a listed model, if it is there.
    pub card: Option<String>,
}

/// The device that computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DeviceArgument {
    /// The processor.
    #[default]
    Cpu,
    /// The graphics card, through wgpu.
    Gpu,
    /// An NVIDIA graphics card, through CUDA.
    Cuda,
}

impl ModelArguments {
    /// Reads the weights.
    pub fn load(&self) -> Result<ChosenModel> {
        if self.segmentation.is_none() && self.classifier.is_none() {
            return self.load_listed();
        }
        let read = |path: &Option<PathBuf>| path.as_deref().map(read_weights).transpose();
        let (segmentation, classifier) = (read(&self.segmentation)?, read(&self.classifier)?);
        let named = format!("{}{}", name(&self.segmentation), name(&self.classifier));
        let model = LoadedModel::new(segmentation, classifier).with_context(|| named.clone())?;
        Ok(ChosenModel { origin: origin(&model, named.trim()), model, card: None })
    }

    fn load_listed(&self) -> Result<ChosenModel> {
        let folder = self.folder()?;
        let manifest = read_manifest(&folder)?;
        let listed = || format!("{}", folder.join("manifest.json").display());
        let (name, entry) = manifest.model(self.model.as_deref()).with_context(listed)?;
        let mut bytes = BTreeMap::new();
        for file in entry.files() {
            bytes.insert(file.to_owned(), files::read(&folder.join(file), MAX_BYTES)?);
        }
        let model = manifest.load(name, entry, &bytes);
        let model = model.with_context(|| format!("{}", folder.display()))?;
        let card = files::read(&folder.join(&entry.card), MAX_CARD).ok();
        let card = card.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(ChosenModel { origin: origin(&model, &folder.display().to_string()), model, card })
    }

    /// Files that a model is read from, whether they are there or not.
    pub fn files(&self) -> Vec<PathBuf> {
        if self.segmentation.is_some() || self.classifier.is_some() {
            return self.segmentation.iter().chain(&self.classifier).cloned().collect();
        }
        let entries = self.folder().ok().and_then(|folder| std::fs::read_dir(folder).ok());
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    fn folder(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.models {
            return Ok(folder.clone());
        }
        if let Some(folder) = std::env::var_os("GROUNDGLASS_MODELS") {
            return Ok(folder.into());
        }
        let program = std::env::current_exe().unwrap_or_default();
        // Never that of the current folder, which a stranger may have packed: it is to be named.
        program
            .ancestors()
            .skip(1)
            .map(|place| place.join("models"))
            .find(|folder| folder.join("manifest.json").is_file())
            .context("no models' folder was found; name one with --models, or weights with --segmentation and --classifier")
    }
}

/// Name and hash of every file of a model, and where they are.
fn origin(model: &LoadedModel, place: &str) -> String {
    let mut files: Vec<String> = [&model.segmentation, &model.classifier]
        .into_iter()
        .flatten()
        .map(|file| format!("{} (SHA-256 {}...)", file.info.name, &file.info.sha256[..16]))
        .collect();
    files.dedup();
    format!("model {} from {place}", files.join(" and "))
}

fn name(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!("{} ", path.display())).unwrap_or_default()
}

/// Reads the weights of a file.
pub fn read_weights(path: &Path) -> Result<ModelFile> {
    let bytes = files::read(path, MAX_BYTES)?;
    ModelFile::read(&files::stem(path), &bytes).with_context(|| format!("{}", path.display()))
}

/// Reads parameters that need not be those of a network known here, and the file's SHA-256.
pub fn read_state(path: &Path) -> Result<(StateDict, String)> {
    let bytes = files::read(path, MAX_BYTES)?;
    let state = StateDict::from_bytes(&bytes).with_context(|| format!("{}", path.display()))?;
    Ok((state, sha256(&bytes)))
}

/// Reads `manifest.json` of a folder.
pub fn read_manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join("manifest.json");
    let text = String::from_utf8_lossy(&files::read(&path, MAX_MANIFEST)?).into_owned();
    Manifest::parse(&text).with_context(|| format!("{}", path.display()))
}

/// Puts a model on a device.
pub fn predictor(model: &LoadedModel, device: DeviceArgument) -> Result<Predictor<EitherBackend>> {
    let (device, name) = match device {
        DeviceArgument::Cpu => (None, format!("cpu ({} threads)", rayon::current_num_threads())),
        DeviceArgument::Gpu => {
            let (device, name) = gpu::device()?;
            (Some(device), name)
        }
        DeviceArgument::Cuda => (Some(cuda::device()?), "gpu (CUDA)".to_owned()),
    };
    let backend = |file: &ModelFile| {
        let (architecture, state) = (file.detector()?, &file.state);
        Ok(match &device {
            None => EitherBackend::Cpu(Box::new(CpuBackend::new(architecture, state)?)),
            Some(device) => {
                EitherBackend::Burn(Box::new(BurnBackend::new(architecture, state, device)?))
            }
        })
    };
    Ok(Predictor::new(model, &name, backend)?)
}

/// A device that records gradients.
pub fn training_device(device: DeviceArgument) -> Result<Device> {
    let device = match device {
        DeviceArgument::Cpu => Device::flex(),
        DeviceArgument::Gpu => gpu::device()?.0,
        DeviceArgument::Cuda => cuda::device()?,
    };
    Ok(device.autodiff())
}

#[cfg(feature = "cuda")]
mod cuda {
    use super::*;

    pub fn device() -> Result<Device> {
        Ok(Device::cuda(0))
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::*;

    pub fn device() -> Result<Device> {
        anyhow::bail!(
            "this program was built without CUDA; build it with `cargo build --release --features cuda`, or use --device cpu"
        )
    }
}

#[cfg(feature = "gpu")]
mod gpu {
    use super::*;

    pub fn device() -> Result<(Device, String)> {
        let (device, setup) = Device::wgpu_options()
            .init_with_setup()
            .context("no graphics card can be used; try --device cpu")?;
        let info = setup.adapter.get_info();
        Ok((device, format!("gpu ({}, {:?})", info.name, info.backend)))
    }
}

#[cfg(not(feature = "gpu"))]
mod gpu {
    use super::*;

    pub fn device() -> Result<(Device, String)> {
        anyhow::bail!(
            "this program was built without GPU support; build it with `cargo build --release --features gpu`, or use --device cpu"
        )
    }
}
