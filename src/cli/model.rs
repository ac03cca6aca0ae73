//! Choosing weights and a device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::{Args, ValueEnum};

use super::files;
use crate::predict::manifest::{MAX_BYTES, Manifest};
use crate::predict::{AnyEngine, DeviceEngine, HostEngine, LoadedModel, ModelFile, Predictor};

/// Which weights.
#[derive(Clone, Debug, Args)]
pub struct ModelArguments {
    /// A model of the models' folder. Default: the one that its manifest names
    #[arg(long, conflicts_with_all = ["segmentation", "classifier"])]
    model: Option<String>,
    /// Weights of the segmentation network (.bpk or .pth)
    #[arg(long)]
    segmentation: Option<PathBuf>,
    /// Weights of the classifier (.bpk or .pth)
    #[arg(long)]
    classifier: Option<PathBuf>,
    /// The models' folder. Default: $GROUNDGLASS_MODELS, ./models, or the one beside the program
    #[arg(long)]
    models: Option<PathBuf>,
}

/// What computes.
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
    pub fn load(&self) -> Result<LoadedModel> {
        if self.segmentation.is_none() && self.classifier.is_none() {
            return self.load_listed();
        }
        let read = |path: &Option<PathBuf>| path.as_deref().map(read_weights).transpose();
        let (segmentation, classifier) = (read(&self.segmentation)?, read(&self.classifier)?);
        LoadedModel::new(segmentation, classifier)
            .with_context(|| format!("{}{}", name(&self.segmentation), name(&self.classifier)))
    }

    fn load_listed(&self) -> Result<LoadedModel> {
        let folder = self.folder()?;
        let manifest = read_manifest(&folder)?;
        let listed = || format!("{}", folder.join("manifest.json").display());
        let (name, entry) = manifest.model(self.model.as_deref()).with_context(listed)?;
        let mut bytes = BTreeMap::new();
        for file in entry.files() {
            bytes.insert(file.to_owned(), files::read(&folder.join(file), MAX_BYTES)?);
        }
        manifest.load(name, entry, &bytes).with_context(|| format!("{}", folder.display()))
    }

    /// The card of a listed model, if it is there.
    pub fn card(&self) -> Option<String> {
        if self.segmentation.is_some() || self.classifier.is_some() {
            return None;
        }
        let folder = self.folder().ok()?;
        let manifest = read_manifest(&folder).ok()?;
        let (_, entry) = manifest.model(self.model.as_deref()).ok()?;
        std::fs::read_to_string(folder.join(&entry.card)).ok()
    }

    fn folder(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.models {
            return Ok(folder.clone());
        }
        if let Some(folder) = std::env::var_os("GROUNDGLASS_MODELS") {
            return Ok(folder.into());
        }
        let program = std::env::current_exe().unwrap_or_default();
        std::iter::once(PathBuf::from("."))
            .chain(program.ancestors().skip(1).map(Path::to_path_buf))
            .map(|place| place.join("models"))
            .find(|folder| folder.join("manifest.json").is_file())
            .context("no models' folder was found; name one with --models, or weights with --segmentation and --classifier")
    }
}

fn name(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| format!("{} ", path.display())).unwrap_or_default()
}

/// Reads the weights of a file.
pub fn read_weights(path: &Path) -> Result<ModelFile> {
    let bytes = files::read(path, MAX_BYTES)?;
    ModelFile::read(&files::stem(path), &bytes).with_context(|| format!("{}", path.display()))
}

/// Reads `manifest.json` of a folder.
pub fn read_manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join("manifest.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    Manifest::parse(&text).with_context(|| format!("{}", path.display()))
}

/// Puts a model on a device.
pub fn predictor(model: &LoadedModel, device: DeviceArgument) -> Result<Predictor<AnyEngine>> {
    let (device, name) = match device {
        DeviceArgument::Cpu => (None, format!("cpu ({} threads)", rayon::current_num_threads())),
        DeviceArgument::Gpu => {
            let (device, name) = gpu::device()?;
            (Some(device), name)
        }
        DeviceArgument::Cuda => (Some(cuda::device()?), "gpu (CUDA)".to_owned()),
    };
    let engine = |file: &ModelFile| {
        let (architecture, state) = (&file.architecture, &file.state);
        Ok(match &device {
            None => AnyEngine::Host(Box::new(HostEngine::new(architecture, state)?)),
            Some(device) => {
                AnyEngine::Device(Box::new(DeviceEngine::new(architecture, state, device)?))
            }
        })
    };
    Ok(Predictor::new(model, &name, engine)?)
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

#[cfg(feature = "webgpu")]
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

#[cfg(not(feature = "webgpu"))]
mod gpu {
    use super::*;

    pub fn device() -> Result<(Device, String)> {
        anyhow::bail!(
            "this program was built without GPU support; build it with `cargo build --release --features gpu`, or use --device cpu"
        )
    }
}
