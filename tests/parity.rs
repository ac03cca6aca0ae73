//! Every stage against an independent implementation on torchvision.
//!
//! Needs the reference folder (see `common::reference`); without it every trial is reported as
//! ignored, by name.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::process::ExitCode;

use burn::tensor::Device;
use common::{Golden, assert_close, reference};
use groundglass::detection::anchors::AnchorGenerator;
use groundglass::detection::mask::paste::paste_mask;
use groundglass::detection::mask::rle::Rle;
use groundglass::detection::matcher::MatchThresholds;
use groundglass::detection::matcher::{Match, match_overlaps};
use groundglass::detection::nms::nms;
use groundglass::detection::roi_align::axis::{SamplingRatio, axis_matrix};
use groundglass::detection::roi_batch::RoiBatch;
use groundglass::detection::{BBox, BoxCoder, Mask};
use groundglass::evaluate::average_precision::{ImageMatches, ScoredMask, THRESHOLDS};
use groundglass::evaluate::kolmogorov_smirnov::{Alternative, ks_test};
use groundglass::image::{CtSlice, NetworkInput, decode_slice};
use groundglass::inference::{
    BurnBackend, CpuBackend, EitherBackend, LoadedModel, MaskThreshold, ModelFile, NoProgress,
    Predictor, Settings,
};
use groundglass::report::SliceReport;
use groundglass::train::targets::mask_target;
use libtest_mimic::{Arguments, Trial};

type Outcome = Result<(), libtest_mimic::Failed>;

fn main() -> ExitCode {
    let available = reference().join("golden").is_dir();
    let mut trials = vec![
        Trial::test("box_coding_matches", box_coding_matches),
        Trial::test("overlaps_match_including_nan", overlaps_match),
        Trial::test("suppression_matches", suppression_matches),
        Trial::test("base_anchors_match", base_anchors_match),
        Trial::test("roi_align_matches", roi_align_matches),
        Trial::test("mask_targets_match", mask_targets_match),
        Trial::test("pasting_matches", pasting_matches),
        Trial::test("matching_matches", matching_matches),
        Trial::test("kolmogorov_smirnov_matches", kolmogorov_smirnov_matches),
        Trial::test("reference_average_precision_matches", reference_average_precision_matches),
    ];
    trials.push(Trial::test("cut_checkpoints_are_refused", cut_checkpoints_are_refused));
    for on in [On::Cpu, On::Burn] {
        for slice in ["2_10", "4_18", "4_32"] {
            trials.push(Trial::test(format!("stages_match_on_{slice}_{on:?}"), move || {
                stages_match(on, "resnet18t1", slice)
            }));
            trials.push(Trial::test(
                format!("strict_detections_match_on_{slice}_{on:?}"),
                move || detections_match(on, "resnet18t1", slice, "strict"),
            ));
        }
        trials
            .push(Trial::test(format!("stages_match_with_the_papers_anchors_{on:?}"), move || {
                stages_match(on, "resnet18t1_paper", "4_18")
            }));
        trials.push(Trial::test(
            format!("detections_match_with_the_papers_anchors_{on:?}"),
            move || detections_match(on, "resnet18t1_paper", "4_18", "loose"),
        ));
        for slice in
            ["2_10", "4_18", "4_32", "CP_002_1_0040", "NCP_002_1_0066", "Normal_002_1_0092"]
        {
            trials.push(Trial::test(
                format!("loose_detections_match_on_{slice}_{on:?}"),
                move || detections_match(on, "resnet18t1", slice, "loose"),
            ));
            trials.push(Trial::test(
                format!("the_slice_class_matches_on_{slice}_{on:?}"),
                move || class_matches(on, slice),
            ));
        }
    }
    let trials = trials.into_iter().map(|trial| trial.with_ignored_flag(!available)).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn box_coding_matches() -> Outcome {
    let golden = Golden::open("ops");
    let targets: Vec<BBox> = golden.boxes("nms_boxes")[60..120]
        .iter()
        .map(|b| BBox::new(b.x1, b.y1, b.x2 + 1.0, b.y2 + 1.0))
        .collect();
    for (name, coder) in [("rpn", BoxCoder::RPN), ("roi", BoxCoder::ROI)] {
        let references = golden.boxes(&format!("decode_{name}_boxes"));
        let deltas = golden.values(&format!("decode_{name}_deltas"));
        let decoded: Vec<f32> = references
            .iter()
            .zip(deltas.as_chunks::<4>().0)
            .flat_map(|(reference, deltas)| <[f32; 4]>::from(coder.decode(*deltas, reference)))
            .collect();
        assert_close(name, &decoded, &golden.values(&format!("decode_{name}_out")), 1e-5);
        let encoded: Vec<f32> = targets
            .iter()
            .zip(&references)
            .flat_map(|(target, reference)| coder.encode(target, reference))
            .collect();
        assert_close(name, &encoded, &golden.values(&format!("encode_{name}_out")), 1e-5);
    }
    Ok(())
}

fn overlaps_match() -> Outcome {
    let golden = Golden::open("ops");
    let (expected, shape) = golden.get("iou");
    let boxes = golden.boxes("nms_boxes");
    for (row, expected) in boxes.iter().zip(expected.chunks_exact(shape[1])) {
        let actual: Vec<f32> = boxes[shape[0]..][..shape[1]].iter().map(|b| row.iou(b)).collect();
        assert_close("overlap", &actual, expected, 1e-5);
    }
    Ok(())
}

fn suppression_matches() -> Outcome {
    let golden = Golden::open("ops");
    let (boxes, scores) = (golden.boxes("nms_boxes"), golden.values("nms_scores"));
    for (name, threshold) in [("nms_keep_075", 0.75), ("nms_keep_05", 0.5)] {
        let kept: Vec<f32> =
            nms(&boxes, &scores, |_| 0, threshold).into_iter().map(|i| i as f32).collect();
        assert_eq!(kept, golden.values(name), "{name}");
    }
    Ok(())
}

fn base_anchors_match() -> Outcome {
    let anchors: Vec<f32> =
        AnchorGenerator::default().base_anchors().into_iter().flat_map(<[f32; 4]>::from).collect();
    assert_eq!(anchors, Golden::open("ops").values("base_anchors"));
    Ok(())
}

/// RoIAlign of `[channels, height, width]` by dense axis matrices.
fn align(
    map: &[f32],
    [channels, height, width]: [usize; 3],
    bbox: &BBox,
    scale: f32,
    bins: usize,
    sampling: SamplingRatio,
) -> Vec<f32> {
    let rows = axis_matrix((bbox.y1, bbox.y2), scale, height, bins, sampling);
    let columns = axis_matrix((bbox.x1, bbox.x2), scale, width, bins, sampling);
    let mut out = Vec::new();
    for plane in map.chunks_exact(height * width).take(channels) {
        for row in rows.chunks_exact(height) {
            for column in columns.chunks_exact(width) {
                let mut sum = 0.0;
                for (y, a) in row.iter().enumerate().filter(|(_, a)| **a != 0.0) {
                    for (x, b) in column.iter().enumerate().filter(|(_, b)| **b != 0.0) {
                        sum += a * b * plane[y * width + x];
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

fn roi_align_matches() -> Outcome {
    let golden = Golden::open("ops");
    let (map, shape) = golden.get("align_feat");
    for bins in [7, 14] {
        let pooled: Vec<f32> = golden
            .boxes("align_boxes")
            .iter()
            .flat_map(|b| {
                let dims = [shape[1], shape[2], shape[3]];
                align(&map, dims, b, 1.0 / 16.0, bins, SamplingRatio::Fixed(2))
            })
            .collect();
        assert_close("roi align", &pooled, &golden.values(&format!("align_{bins}_s16")), 1e-4);
    }
    Ok(())
}

fn mask_targets_match() -> Outcome {
    let golden = Golden::open("ops");
    let (mask, shape) = golden.get("target_mask");
    let (expected, targets) = golden.get("target_28");
    // The boxes of the targets are the first of the alignment boxes that lie in the mask.
    let dims = [1, shape[2], shape[3]];
    let candidates: Vec<Vec<f32>> = golden
        .boxes("align_boxes")
        .iter()
        .map(|b| align(&mask, dims, b, 1.0, 28, SamplingRatio::Adaptive))
        .collect();
    let pixels = mask.iter().map(|value| *value > 0.5).collect();
    let whole = Mask { width: shape[3], height: shape[2], pixels };
    let mut matched = 0;
    for target in expected.chunks_exact(784) {
        let close = |c: &[f32]| c.iter().zip(target).all(|(a, e)| (a - e).abs() < 1e-4);
        let place = candidates.iter().position(|candidate| close(candidate));
        matched += usize::from(place.is_some());
        // Training's own way to the same target.
        let bbox = place.map(|place| golden.boxes("align_boxes")[place]).unwrap_or_default();
        assert!(close(&mask_target(&whole, &bbox)), "{bbox:?}");
    }
    assert_eq!(matched, targets[0], "targets that one of the boxes gives");
    Ok(())
}

fn matching_matches() -> Outcome {
    let golden = Golden::open("ops");
    let (quality, shape) = golden.get("match_quality");
    let overlaps: Vec<Vec<f32>> = quality.chunks_exact(shape[1]).map(<[f32]>::to_vec).collect();
    for (name, foreground, background, low_quality) in
        [("match_rpn", 0.7, 0.3, true), ("match_roi", 0.75, 0.5, false)]
    {
        let thresholds = MatchThresholds { foreground, background };
        let found = match_overlaps(&overlaps, shape[1], thresholds, low_quality);
        let coded: Vec<f32> = found
            .iter()
            .map(|found| match found {
                Match::Foreground(truth) => *truth as f32,
                Match::Background => -1.0,
                Match::Ignored => -2.0,
            })
            .collect();
        assert_eq!(coded, golden.values(name), "{name}");
    }
    Ok(())
}

fn stored_statistics() -> serde_json::Value {
    let text = std::fs::read_to_string(reference().join("golden/stats.json"));
    serde_json::from_str(&text.expect("stats.json")).expect("JSON")
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().filter_map(serde_json::Value::as_f64).collect()
}

fn kolmogorov_smirnov_matches() -> Outcome {
    for case in stored_statistics()["ks"].as_array().expect("cases") {
        let alternative = match case["alternative"].as_str() {
            Some("less") => Alternative::Less,
            Some("greater") => Alternative::Greater,
            _ => Alternative::TwoSided,
        };
        let found = ks_test(&numbers(&case["x"]), &numbers(&case["y"]), alternative);
        let found = found.expect("samples that are not empty");
        let (statistic, p) = (case["statistic"].as_f64(), case["p"].as_f64());
        let (statistic, p) = statistic.zip(p).expect("numbers");
        assert!((found.statistic - statistic).abs() < 1e-12, "{found:?} {statistic}");
        assert!((found.p - p).abs() <= 1e-6 * p, "{found:?} {p}");
    }
    Ok(())
}

fn reference_average_precision_matches() -> Outcome {
    for (number, case) in
        stored_statistics()["reference_ap"].as_array().expect("cases").iter().enumerate()
    {
        let side = case["side"].as_u64().expect("a side") as usize;
        let masks = |name: &str| -> Vec<Mask> {
            let lists = case[name].as_array().expect("masks").iter();
            lists
                .map(|list| {
                    let mut mask = Mask::empty(side, side);
                    for index in numbers(list) {
                        mask.pixels[index as usize] = true;
                    }
                    mask
                })
                .collect()
        };
        let outlined = |mask, score: f64| ScoredMask { class: 1, score: score as f32, mask };
        let scores = numbers(&case["scores"]);
        let found: Vec<_> =
            masks("pred").into_iter().zip(scores).map(|(m, s)| outlined(m, s)).collect();
        let truth: Vec<_> = masks("gt").into_iter().map(|mask| outlined(mask, 1.0)).collect();
        let image = ImageMatches::new(&found, &truth);
        for (threshold, expected) in THRESHOLDS.into_iter().zip(numbers(&case["ap"])) {
            let actual = image.average_precision(threshold);
            assert!(
                (actual - expected).abs() < 1e-9,
                "case {number}, {threshold}: {actual} {expected}"
            );
        }
    }
    Ok(())
}

fn pasting_matches() -> Outcome {
    let golden = Golden::open("ops");
    let (expected, shape) = golden.get("paste_out");
    let (height, width) = (shape[2], shape[3]);
    let logits = golden.values("paste_logits");
    for (index, bbox) in golden.boxes("paste_boxes").iter().enumerate() {
        let map = &logits[index * 784..][..784];
        let expected = &expected[index * height * width..][..height * width];
        // The fixture holds pasted values; cut both at several levels.
        for threshold in [0.0, 0.5, 1.0] {
            let mask = paste_mask(map, 28, bbox, (width, height), threshold);
            let off = mask
                .pixels
                .iter()
                .zip(expected)
                .filter(|(set, value)| {
                    **set != (**value > threshold) && (**value - threshold).abs() > 1e-4
                })
                .count();
            assert_eq!(off, 0, "paste {index} at {threshold}");
        }
    }
    Ok(())
}

fn slice_of(name: &str) -> CtSlice {
    let data = reference().join("data");
    let path = [
        data.join(format!("lesions/test/imgs/{name}.jpg")),
        data.join(format!("classes/images/{name}.png")),
    ]
    .into_iter()
    .find(|path| path.exists())
    .unwrap_or_else(|| panic!("no slice {name}"));
    decode_slice(name, &std::fs::read(path).expect("a readable slice"), None).expect("a slice")
}

fn weights(name: &str) -> ModelFile {
    let path = reference().join("golden").join(format!("{name}.pth"));
    let bytes = std::fs::read(path).expect("readable weights");
    ModelFile::read(name, &bytes).expect("weights")
}

/// What runs the network: our own code for CPUs, or burn, as on graphics cards.
#[derive(Clone, Copy, Debug)]
enum On {
    Cpu,
    Burn,
}

fn predictor(
    on: On,
    segmentation: Option<&str>,
    classifier: Option<&str>,
) -> Predictor<EitherBackend> {
    let model =
        LoadedModel::new(segmentation.map(weights), classifier.map(weights)).expect("a model");
    let backend = |file: &ModelFile| {
        let (architecture, state) = (file.detector()?, &file.state);
        Ok(match on {
            On::Cpu => EitherBackend::Cpu(Box::new(CpuBackend::new(architecture, state)?)),
            On::Burn => EitherBackend::Burn(Box::new(BurnBackend::new(
                architecture,
                state,
                &Device::flex(),
            )?)),
        })
    };
    Predictor::new(&model, "cpu", backend).expect("a predictor")
}

/// Both layouts, cut at many lengths: always an error, never a crash or a partial network.
fn cut_checkpoints_are_refused() -> Outcome {
    for name in ["resnet18t1_seg", "resnet18t1_paper_seg"] {
        let bytes = std::fs::read(reference().join("golden").join(format!("{name}.pth")))?;
        let headers = (0..24_000).step_by(397);
        let bodies = (0..40).map(|part| bytes.len() / 40 * part);
        for length in headers.chain(bodies).chain([bytes.len() - 1]) {
            let read = ModelFile::read(name, &bytes[..length]);
            assert!(read.is_err(), "{name} cut at {length}");
        }
        for position in (0..24_000).step_by(101) {
            let mut changed = bytes.clone();
            changed[position] ^= 0x55;
            // It may still be readable; it must not crash.
            let _ = ModelFile::read(name, &changed);
        }
    }
    Ok(())
}

fn stages_match(on: On, model: &str, slice: &str) -> Outcome {
    let golden = Golden::open(&format!("{model}_{slice}_strict"));
    let input = NetworkInput::new(&slice_of(slice));
    if model == "resnet18t1" && slice == "4_18" {
        assert_close("input", &input.normalised(), &golden.values("input"), 1e-3);
    }
    let found = pollster::block_on(
        predictor(on, Some(&format!("{model}_seg")), None).stage_outputs(&input),
    )?;
    assert_close("features", &found.features[0], &golden.values("fpn"), 1e-3);
    assert_close("objectness", &found.maps[0].objectness, &golden.values("objectness"), 1e-3);
    assert_close("deltas", &found.maps[0].deltas, &golden.values("deltas"), 1e-3);

    // Proposals of nearly equal score may swap places: each is looked up by its box.
    let expected = golden.boxes("proposals");
    assert_eq!(found.boxes.proposals.len(), expected.len(), "proposals");
    let logits = golden.values("box_logits");
    let deltas = golden.values("box_deltas");
    let largest = logits.iter().chain(&deltas).fold(0.0f32, |m, v| m.max(v.abs()));
    for (index, wanted) in expected.iter().enumerate() {
        let own = found
            .boxes
            .proposals
            .iter()
            .position(|b| distance(b, wanted) < 0.05)
            .ok_or(format!("proposal {index} {wanted:?} is missing"))?;
        for (a, e) in found.boxes.logits[own * 2..][..2].iter().zip(&logits[index * 2..]) {
            assert!((a - e).abs() < 1e-3 * largest, "logit of proposal {index}: {a} is not {e}");
        }
        for (a, e) in found.boxes.deltas[own * 8..][..8].iter().zip(&deltas[index * 8..]) {
            assert!((a - e).abs() < 1e-3 * largest, "delta of proposal {index}: {a} is not {e}");
        }
    }
    Ok(())
}

fn distance(a: &BBox, b: &BBox) -> f32 {
    let (a, b) = (<[f32; 4]>::from(*a), <[f32; 4]>::from(*b));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn predict(slice: &str, predictor: &Predictor<EitherBackend>, settings: &Settings) -> SliceReport {
    pollster::block_on(predictor.predict(&slice_of(slice), settings, &mut NoProgress))
        .expect("a report")
}

fn detections_match(on: On, model: &str, slice: &str, thresholds: &str) -> Outcome {
    let golden = Golden::open(&format!("{model}_{slice}_{thresholds}"));
    let (score_threshold, nms_threshold) =
        if thresholds == "strict" { (0.75, 0.75) } else { (0.05, 0.5) };
    let settings = Settings {
        score_threshold,
        nms_threshold,
        mask_threshold: MaskThreshold::Logit,
        ..Settings::reference()
    };
    let report = predict(slice, &predictor(on, Some(&format!("{model}_seg")), None), &settings);
    let (scores, boxes) = (golden.values("det_scores"), golden.boxes("out_boxes"));
    assert_eq!(report.lesions.len(), scores.len(), "number of lesions");
    let (masks, shape) = golden.get("masks");
    for (index, (score, wanted)) in scores.iter().zip(&boxes).enumerate() {
        let lesion = report
            .lesions
            .iter()
            .find(|lesion| distance(&lesion.bbox, wanted) < 0.05)
            .ok_or(format!("lesion {index} {wanted:?} is missing"))?;
        assert!((lesion.score - score).abs() < 1e-3, "score {index}");
        let pixels = &masks[index * shape[1] * shape[2]..][..shape[1] * shape[2]];
        let expected = Mask {
            width: shape[2],
            height: shape[1],
            pixels: pixels.iter().map(|v| *v > 0.5).collect(),
        };
        let own = lesion.mask.as_ref().map(Rle::decode).ok_or("no mask")??;
        assert!(own.iou(&expected) >= 0.999, "mask {index}: {}", own.iou(&expected));
    }
    Ok(())
}

fn class_matches(on: On, slice: &str) -> Outcome {
    let golden = Golden::open(&format!("resnet18t1_{slice}_class"));
    let predictor = predictor(on, None, Some("resnet18t1_cls"));
    let input = NetworkInput::new(&slice_of(slice));
    let outputs = pollster::block_on(predictor.stage_outputs(&input))?.boxes;
    let mut batch = RoiBatch::new(&outputs, 128, 0);
    let starts: Vec<usize> = golden.values("starts").into_iter().map(|s| s as usize).collect();
    assert_eq!(batch.starts.len(), starts.len(), "distinct regions");
    // How often a region is repeated is random in the reference; its draw is given.
    batch.starts = starts;
    assert_close("RoI batch", &batch.values(128), &golden.values("roi_batch"), 1e-3);
    let logits = predictor.classify(&batch)?.ok_or("no classifier")?;
    assert_close("logits", &logits, &golden.values("logits"), 1e-3);
    Ok(())
}
