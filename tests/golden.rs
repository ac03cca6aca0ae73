//! Every stage of the six light variants against torch and torchvision, with nothing but this repository.
//!
//! `golden/make.py` wrote the values, from weights that a short generator draws here and there alike. Operators,
//! awkward inputs and trained weights are `parity.rs`'s, which needs the reference folder.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use common::{Golden, assert_close};
use groundglass::detection::mask::rle::Rle;
use groundglass::detection::postprocess::Detection;
use groundglass::detection::roi_batch::RoiBatch;
use groundglass::detection::{BBox, Mask};
use groundglass::image::{CtSlice, NetworkInput, decode_slice};
use groundglass::inference::{
    BurnBackend, CpuBackend, EitherBackend, LoadedModel, MaskThreshold, ModelFile, NoProgress,
    Predictor, Settings,
};
use groundglass::network::weights::{Parameter, StateDict};

/// Samples that are taken of a map.
const SAMPLES: usize = 256;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden_path(variant: &str) -> PathBuf {
    repository().join("tests/golden").join(format!("{variant}.safetensors"))
}

/// SplitMix64, begun with the FNV-1a hash of the name; uniform in [0, 1).
fn draw(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let start = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (1..=count as u64).map(move |place| {
        let mut z = start.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / (1u64 << 24) as f32
    })
}

/// As `parameter` in `golden/make.py`.
fn parameter(name: &str, shape: &[usize]) -> Parameter {
    let count: usize = shape.iter().product();
    let is_norm = name.contains(".bn") || name.contains("downsample");
    let values = draw(name, count);
    let values = if shape.len() > 1 {
        let mut scale = (6.0 / (count / shape[0]) as f64).sqrt();
        if ["cls_logits", "bbox_pred", "cls_score"].iter().any(|part| name.contains(part)) {
            scale /= 10.0;
        }
        if name.contains("mask_fcn_logits") {
            scale *= 4.0;
        }
        values.map(|u| (u * 2.0 - 1.0) * scale as f32).collect()
    } else if name.ends_with("running_var") {
        values.map(|u| u + 0.5).collect()
    } else if name.ends_with("weight") && is_norm {
        values.map(|u| u * 0.5 + 0.25).collect()
    } else {
        values.map(|u| (u - 0.5) * 0.2).collect()
    };
    Parameter { shape: shape.to_vec(), values }
}

/// The weights of the detector and of the classifier, in files as the author has them.
fn weights(golden: &Golden) -> [ModelFile; 2] {
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_str(&golden.metadata("shapes")).expect("shapes");
    let mut state = StateDict::default();
    for (name, shape) in &shapes {
        state.tensors.insert(name.clone(), parameter(name, shape));
    }
    let detector = state.clone().filtered(|name| !name.starts_with("s2new"));
    let classifier = state.filtered(|name| !name.contains("mask"));
    [("detector", detector), ("classifier", classifier)].map(|(name, state)| {
        let bytes = state.to_safetensors().expect("a file");
        ModelFile::read(name, &bytes).expect("weights")
    })
}

/// What runs the network: our own code for CPUs, or burn, as on graphics cards.
#[derive(Clone, Copy, Debug)]
enum On {
    Cpu,
    Burn,
}

fn phantom() -> CtSlice {
    let path = repository().join("www/samples/phantom-covid19.png");
    decode_slice("phantom", &std::fs::read(path).expect("a phantom"), None).expect("a slice")
}

fn sampled(values: &[f32]) -> Vec<f32> {
    (0..SAMPLES).map(|place| values[place * (values.len() / SAMPLES)]).collect()
}

fn distance(a: &BBox, b: &BBox) -> f32 {
    let (a, b) = (<[f32; 4]>::from(*a), <[f32; 4]>::from(*b));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Pixels of each row and of each column.
fn profiles(mask: &Mask) -> [Vec<f32>; 2] {
    let (mut rows, mut columns) = (vec![0.0; mask.height], vec![0.0; mask.width]);
    for (place, _) in mask.pixels.iter().enumerate().filter(|(_, is_set)| **is_set) {
        rows[place / mask.width] += 1.0;
        columns[place % mask.width] += 1.0;
    }
    [rows, columns]
}

fn every_stage_matches(variant: &str) {
    for on in [On::Cpu, On::Burn] {
        every_stage_matches_on(variant, on);
    }
}

fn every_stage_matches_on(variant: &str, on: On) {
    let golden = Golden::at(&golden_path(variant));
    let [detector, classifier] = weights(&golden);
    let model = LoadedModel::new(Some(detector), Some(classifier)).expect("a model");
    let backend = |file: &ModelFile| {
        let (architecture, state) = (file.detector()?, &file.state);
        assert_eq!(architecture.variant.to_string(), variant);
        Ok(match on {
            On::Cpu => EitherBackend::Cpu(Box::new(CpuBackend::new(architecture, state)?)),
            On::Burn => {
                let backend = BurnBackend::new(architecture, state, &Device::flex())?;
                EitherBackend::Burn(Box::new(backend))
            }
        })
    };
    let predictor = Predictor::new(&model, "cpu", backend).expect("a predictor");
    let slice = phantom();
    let found = pollster::block_on(predictor.stage_outputs(&NetworkInput::new(&slice)))
        .expect("every stage");

    // Maps.
    let maps = &found.maps[0];
    assert_close("features", &sampled(&found.features[0]), &golden.values("features"), 1e-3);
    assert_close("objectness", &sampled(&maps.objectness), &golden.values("objectness"), 1e-3);
    assert_close("deltas", &sampled(&maps.deltas), &golden.values("deltas"), 1e-3);

    // Proposals; of nearly equal score they may swap places.
    let expected: usize = golden.metadata("proposals").parse().expect("a number");
    assert!(found.boxes.proposals.len().abs_diff(expected) <= 1, "{}", found.boxes.proposals.len());
    let (logits, deltas) = (golden.values("box_logits"), golden.values("box_deltas"));
    let largest = logits.iter().chain(&deltas).fold(0.0f32, |m, v| m.max(v.abs()));
    for (index, wanted) in golden.boxes("proposals").iter().enumerate() {
        let own = found.boxes.proposals.iter().position(|b| distance(b, wanted) < 0.05);
        let own = own.unwrap_or_else(|| panic!("proposal {index} {wanted:?} is missing"));
        let of =
            |values: &[f32], place: usize, width: usize| values[place * width..][..width].to_vec();
        for (name, own, expected) in [
            ("logits", of(&found.boxes.logits, own, 2), of(&logits, index, 2)),
            ("deltas", of(&found.boxes.deltas, own, 8), of(&deltas, index, 8)),
        ] {
            let off = own.iter().zip(&expected).map(|(a, e)| (a - e).abs()).fold(0.0, f32::max);
            assert!(off < 1e-3 * largest, "{name} of proposal {index}: {own:?}, {expected:?}");
        }
    }

    // The RoI batch, row by row, and what module S says of the very batch.
    let expected = golden.values("roi_batch");
    let rows = expected.as_chunks::<5>().0;
    let own = RoiBatch::new(&found.boxes, rows.len(), 0).values(rows.len());
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (index, row) in rows.iter().enumerate() {
        let is_same =
            |own: &[f32; 5]| own.iter().zip(row).all(|(a, e)| (a - e).abs() < 1e-3 * largest);
        assert!(own.as_chunks::<5>().0.iter().any(is_same), "row {index}: {row:?} is missing");
    }
    let region = |[score, deltas @ ..]: [f32; 5]| Detection {
        proposal: 0,
        class: 1,
        score,
        bbox: BBox::default(),
        deltas,
    };
    let regions = rows.iter().copied().map(region).collect();
    let batch = RoiBatch { regions, starts: (0..=rows.len()).collect() };
    let classes = predictor.classify(&batch).expect("classes").expect("module S");
    assert_close("logits", &classes, &golden.values("logits"), 1e-3);

    // Lesions with their masks.
    let settings = Settings {
        score_threshold: 0.05,
        nms_threshold: 0.75,
        mask_threshold: MaskThreshold::Logit,
        ..Settings::reference()
    };
    let report = pollster::block_on(predictor.predict(&slice, &settings, &mut NoProgress));
    let lesions = report.expect("a report").lesions;
    let (rows, columns) = (golden.get("mask_rows"), golden.values("mask_columns"));
    let side = rows.1[1];
    for (index, (wanted, score)) in
        golden.boxes("boxes").iter().zip(golden.values("scores")).enumerate()
    {
        let lesion = lesions.iter().find(|lesion| distance(&lesion.bbox, wanted) < 0.05);
        let lesion = lesion.unwrap_or_else(|| panic!("lesion {index} {wanted:?} is missing"));
        assert!((lesion.score - score).abs() < 1e-3, "score {index}");
        let mask = lesion.mask.as_ref().map(Rle::decode).expect("a mask").expect("its pixels");
        let expected = [&rows.0[index * side..][..side], &columns[index * side..][..side]];
        let off: f32 = profiles(&mask)
            .iter()
            .flatten()
            .zip(expected.into_iter().flatten())
            .map(|(a, e)| (a - e).abs())
            .sum();
        // A pixel on the very threshold may fall to either side.
        assert!(off <= 4.0, "mask {index} differs by {off} pixels in rows and columns");
    }
}

#[test]
fn every_stage_of_resnet18_matches_torchvision() {
    every_stage_matches("resnet18");
}

#[test]
fn every_stage_of_resnet18t1_matches_torchvision() {
    every_stage_matches("resnet18t1");
}

#[test]
fn every_stage_of_resnet18t2_matches_torchvision() {
    every_stage_matches("resnet18t2");
}

#[test]
fn every_stage_of_resnet34_matches_torchvision() {
    every_stage_matches("resnet34");
}

#[test]
fn every_stage_of_resnet34t1_matches_torchvision() {
    every_stage_matches("resnet34t1");
}

#[test]
fn every_stage_of_resnet34t2_matches_torchvision() {
    every_stage_matches("resnet34t2");
}
