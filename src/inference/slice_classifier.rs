//! What tells the class of a slice: by the regions that the detector ranks, or by the slice as a whole.

use crate::classes::CLASSES;
use crate::detection::roi_batch::RoiBatch;
use crate::image::preprocess::letterbox;
use crate::image::{CtSlice, NetworkInput};
use crate::inference::cpu::{CpuFeatureModule, CpuImageClassifier, CpuScoreModule};
use crate::inference::error::PredictError;
use crate::inference::model::ModelFile;
use crate::network::WeightsError;
use crate::report::verdict::Calibration;

/// What tells the class of a slice. It runs on the CPU, on whatever device the rest is: it is small, and its
/// input comes from the host.
#[derive(Debug)]
pub(super) enum ClassNetwork {
    /// Module S with its batch size.
    Regions { module: Box<CpuScoreModule>, features: Option<CpuFeatureModule>, roi_batch: usize },
    /// A network that sees the slice, with the side of the square that it sees.
    Image { network: CpuImageClassifier, side: usize },
}

/// A class network and what its logits are worth.
#[derive(Debug)]
pub(super) struct SliceClassifier {
    pub(super) network: ClassNetwork,
    pub(super) calibration: Calibration,
}

/// What a class network that goes by regions needs of a slice.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) batch: RoiBatch,
    /// The row of [`SliceFeatures`](crate::inference::slice_features::SliceFeatures), if it sees the backbone's features.
    pub(super) features: Option<Vec<f32>>,
}

impl SliceClassifier {
    /// The class network of a file; `None` if it has none.
    pub(super) fn new(file: &ModelFile) -> Result<Option<Self>, WeightsError> {
        let detector = file.detector.as_ref();
        let regions = detector.and_then(|detector| detector.score_module);
        let network = match (file.image_classifier, regions) {
            (Some(variant), _) => {
                let network = CpuImageClassifier::new(&file.state, variant)?;
                ClassNetwork::Image { network, side: file.image_side() }
            }
            (None, Some(sizes)) => {
                let module = Box::new(CpuScoreModule::new(&file.state, sizes)?);
                let features = detector
                    .filter(|detector| detector.feature_module)
                    .map(|detector| CpuFeatureModule::new(&file.state, detector.variant))
                    .transpose()?;
                ClassNetwork::Regions { module, features, roi_batch: sizes.0 }
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(Self { network, calibration: file.calibration()? }))
    }

    /// Whether it goes by what the detector finds.
    pub(super) fn goes_by_regions(&self) -> bool {
        matches!(self.network, ClassNetwork::Regions { .. })
    }

    /// Class logits of a slice; `None` if regions are needed and none were computed.
    pub(super) fn logits(
        &self,
        slice: &CtSlice,
        evidence: Option<&Evidence>,
    ) -> Result<Option<[f32; CLASSES]>, PredictError> {
        match &self.network {
            ClassNetwork::Regions { module, features, roi_batch } => {
                let Some(Evidence { batch, features: row }) = evidence else { return Ok(None) };
                let mut logits = region_logits(module, *roi_batch, batch)?;
                if let Some((network, row)) = features.as_ref().zip(row.as_ref()) {
                    let more = network.forward(row);
                    logits.iter_mut().zip(more).for_each(|(sum, logit)| *sum += logit);
                }
                checked(logits).map(Some)
            }
            ClassNetwork::Image { network, side } => {
                checked(image_logits(network, slice, *side)).map(Some)
            }
        }
    }
}

pub(super) fn region_logits(
    module: &CpuScoreModule,
    roi_batch: usize,
    batch: &RoiBatch,
) -> Result<[f32; CLASSES], PredictError> {
    let logits = module.forward(&batch.values(roi_batch));
    logits.try_into().map_err(|_| PredictError::NotFinite { what: "class logits" })
}

pub(super) fn checked(logits: [f32; CLASSES]) -> Result<[f32; CLASSES], PredictError> {
    match logits.iter().all(|logit| logit.is_finite()) {
        true => Ok(logits),
        false => Err(PredictError::NotFinite { what: "class logits" }),
    }
}

/// Class logits of a slice: the mean of the picture's and of its mirror image's, for neither side of a chest is
/// special.
pub fn image_logits(network: &CpuImageClassifier, slice: &CtSlice, side: usize) -> [f32; CLASSES] {
    let input = NetworkInput::unscaled(&letterbox(slice, side));
    let mut mirrored = input.clone();
    mirrored.grey.chunks_exact_mut(input.width).for_each(<[f32]>::reverse);
    let logits = network.forward(&[input, mirrored]);
    let mut mean = [0.0; CLASSES];
    for logits in logits.chunks_exact(CLASSES) {
        mean.iter_mut().zip(logits).for_each(|(sum, logit)| *sum += logit / 2.0);
    }
    mean
}
