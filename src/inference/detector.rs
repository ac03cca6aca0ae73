//! Everything between a slice and its boxes, on any backend.

use crate::detection::BBox;
use crate::detection::postprocess::{BoxOutputs, Detection};
use crate::detection::proposals::{ProposalCounts, RpnMaps, filter_proposals};
use crate::image::NetworkInput;
use crate::inference::backend::Backend;
use crate::inference::error::PredictError;
use crate::inference::progress::{NoProgress, Progress, Stage};
use crate::inference::self_test::{self, SelfTest};
use crate::inference::settings::Settings;

/// What the box stage leaves for the mask stage.
pub struct DetectorOutput<P> {
    /// The backend's.
    pub pyramid: P,
    /// Box outputs on the host.
    pub boxes: BoxOutputs,
}

/// Outputs of every stage before the choice of lesions.
#[derive(Debug)]
pub struct StageOutputs {
    /// Pyramid levels, `[256, height, width]` each.
    pub features: Vec<Vec<f32>>,
    /// Proposal maps.
    pub maps: Vec<RpnMaps>,
    /// Proposals, their logits and deltas.
    pub boxes: BoxOutputs,
}

fn finite(values: &[f32], what: &'static str) -> Result<(), PredictError> {
    if values.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(PredictError::NotFinite { what })
    }
}

/// Features, proposals and boxes of one slice.
pub async fn run<B: Backend>(
    backend: &B,
    input: &NetworkInput,
    settings: Option<&Settings>,
    progress: &mut impl Progress,
    clock: &mut impl FnMut(Stage),
) -> Result<DetectorOutput<B::Pyramid>, PredictError> {
    progress.enter(Stage::Features).await?;
    let (mut pyramid, maps) = pyramid(backend, input, progress).await?;
    clock(Stage::Features);

    progress.enter(Stage::Proposals).await?;
    let proposals = proposals(backend, input, &maps);
    clock(Stage::Proposals);

    progress.enter(Stage::Boxes).await?;
    let boxes = boxes(backend, &mut pyramid, proposals, input, settings).await?;
    clock(Stage::Boxes);
    Ok(DetectorOutput { pyramid, boxes })
}

async fn pyramid<B: Backend>(
    backend: &B,
    input: &NetworkInput,
    progress: &mut impl Progress,
) -> Result<(B::Pyramid, Vec<RpnMaps>), PredictError> {
    let (pyramid, maps) = backend.pyramid(input, progress).await?;
    for level in &maps {
        finite(&level.objectness, "proposal scores")?;
        finite(&level.deltas, "proposal boxes")?;
    }
    Ok((pyramid, maps))
}

fn proposals<B: Backend>(backend: &B, input: &NetworkInput, maps: &[RpnMaps]) -> Vec<BBox> {
    filter_proposals(
        maps,
        &backend.architecture().anchors,
        (input.height, input.width),
        (input.image_height, input.image_width),
        ProposalCounts::TEST,
    )
}

async fn boxes<B: Backend>(
    backend: &B,
    pyramid: &mut B::Pyramid,
    proposals: Vec<BBox>,
    input: &NetworkInput,
    settings: Option<&Settings>,
) -> Result<BoxOutputs, PredictError> {
    let image = (input.image_height, input.image_width);
    let (logits, deltas) = match proposals.is_empty() {
        true => Default::default(),
        false => backend.boxes(pyramid, &proposals, image, settings).await?,
    };
    finite(&logits, "box scores")?;
    finite(&deltas, "box deltas")?;
    let classes = backend.architecture().masks.num_classes();
    Ok(BoxOutputs { proposals, logits, deltas, classes, image })
}

/// Mask logits `[28, 28]` of each detection, for its own class.
pub async fn masks<B: Backend>(
    backend: &B,
    pyramid: &B::Pyramid,
    detections: &[Detection],
) -> Result<Vec<Vec<f32>>, PredictError> {
    let maps = backend.masks(pyramid, detections).await?;
    maps.iter().try_for_each(|map| finite(map, "masks"))?;
    Ok(maps)
}

/// Computes the self-test.
pub async fn self_test<B: Backend>(backend: &B) -> Result<SelfTest, PredictError> {
    let input = self_test::input();
    let (mut pyramid, maps) = pyramid(backend, &input, &mut NoProgress).await?;
    let proposals = maps
        .iter()
        .flat_map(|level| [self_test::sample(&level.objectness), self_test::sample(&level.deltas)])
        .flatten()
        .collect();
    // Everything is a candidate, so the choice on a device is exercised as well; but for one mask alone, so that those are
    // which no device expects.
    let settings = Settings {
        score_threshold: -1.0,
        nms_threshold: 1.0,
        detections: 1,
        ..Settings::default()
    };
    let given = self_test::boxes().to_vec();
    let outputs = boxes(backend, &mut pyramid, given, &input, Some(&settings)).await?;
    let mut masks = Vec::new();
    if backend.architecture().mask_branch {
        let limit = self_test::boxes().len() * outputs.classes;
        let mut detections = outputs.detect(-1.0, 1.0, limit);
        detections.sort_by_key(|detection| (detection.proposal, detection.class));
        for map in self::masks(backend, &pyramid, &detections).await? {
            masks.extend(self_test::sample(&map));
        }
    }
    let boxes = outputs.logits.iter().chain(&outputs.deltas).copied().collect();
    Ok(SelfTest { proposals, boxes, masks })
}

/// Intermediate results for comparison with other implementations.
pub async fn stage_outputs<B: Backend>(
    backend: &B,
    input: &NetworkInput,
) -> Result<StageOutputs, PredictError> {
    let (mut pyramid, maps) = pyramid(backend, input, &mut NoProgress).await?;
    let features = backend.features(&pyramid).await?;
    let proposals = proposals(backend, input, &maps);
    let boxes = boxes(backend, &mut pyramid, proposals, input, None).await?;
    Ok(StageOutputs { features, maps, boxes })
}
