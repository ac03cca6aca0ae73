//! From the box head's outputs to detections (docs/method.md, 1.5), on the host: torchvision's
//! `RoIHeads.postprocess_detections`.

use serde::{Deserialize, Serialize};

use crate::detection::nms::nms;
use crate::detection::{BBox, BoxCoder};

/// What the box head says about every proposal.
#[derive(Clone, Debug)]
pub struct BoxOutputs {
    /// The proposals, in network pixels.
    pub proposals: Vec<BBox>,
    /// `[proposals, classes]`.
    pub logits: Vec<f32>,
    /// `[proposals, classes * 4]`.
    pub deltas: Vec<f32>,
    /// Classes, background included.
    pub classes: usize,
    /// (height, width) that boxes are clipped to.
    pub image: (usize, usize),
}

/// One box of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Its proposal.
    pub proposal: usize,
    /// Its class, 1 or 2.
    pub class: usize,
    /// Probability of the class.
    pub score: f32,
    /// Decoded and clipped, in network pixels.
    pub bbox: BBox,
    /// The deltas it was decoded from, still scaled by the coder's weights.
    pub deltas: [f32; 4],
}

/// How class logits become scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreFunction {
    /// Softmax over all classes, background included.
    #[default]
    Softmax,
    /// Each class by itself; the paper tried it and dropped it (section 4).
    Sigmoid,
}

/// Which boxes become detections.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DetectionRule {
    /// A lower score is left out.
    pub score_threshold: f32,
    /// Of two boxes of a class that overlap more (IoU), the weaker is left out.
    pub nms_threshold: f32,
    /// Most detections.
    pub limit: usize,
    /// Scores from logits.
    pub scores: ScoreFunction,
    /// Keep boxes without area, which the paper removes.
    pub keep_empty: bool,
}

impl BoxOutputs {
    /// Candidates above `score_threshold` with a box that is not empty, suppressed per class, the
    /// `limit` strongest, by descending score.
    pub fn detect(&self, score_threshold: f32, nms_threshold: f32, limit: usize) -> Vec<Detection> {
        self.postprocess_detections(&DetectionRule {
            score_threshold,
            nms_threshold,
            limit,
            ..DetectionRule::default()
        })
    }

    /// The same by any rule. Both stages use it: the detector with the user's thresholds, the
    /// classifier with its own.
    pub fn postprocess_detections(&self, rule: &DetectionRule) -> Vec<Detection> {
        let candidates: Vec<Detection> = (0..self.proposals.len())
            .flat_map(|proposal| {
                let logits = &self.logits[proposal * self.classes..][..self.classes];
                let scores = match rule.scores {
                    ScoreFunction::Softmax => softmax(logits),
                    ScoreFunction::Sigmoid => logits.iter().map(|logit| sigmoid(*logit)).collect(),
                };
                (1..self.classes).map(move |class| (proposal, class, scores[class]))
            })
            .filter(|(_, _, score)| *score > rule.score_threshold)
            .map(|(proposal, class, score)| self.decode(proposal, class, score))
            .filter(|detection| rule.keep_empty || detection.bbox.area() > 0.0)
            .collect();
        let boxes: Vec<BBox> = candidates.iter().map(|c| c.bbox).collect();
        let scores: Vec<f32> = candidates.iter().map(|c| c.score).collect();
        let mut kept = nms(&boxes, &scores, |index| candidates[index].class, rule.nms_threshold);
        kept.truncate(rule.limit);
        kept.into_iter().map(|index| candidates[index]).collect()
    }

    fn decode(&self, proposal: usize, class: usize, score: f32) -> Detection {
        let start = (proposal * self.classes + class) * 4;
        let deltas = std::array::from_fn(|k| self.deltas[start + k]);
        let bbox = BoxCoder::ROI.decode(deltas, &self.proposals[proposal]);
        let bbox = bbox.clip(self.image.1 as f32, self.image.0 as f32);
        Detection { proposal, class, score, bbox, deltas }
    }
}

/// Probability from a logit.
pub fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Probabilities from logits.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(classes: usize) -> BoxOutputs {
        let proposals = vec![
            BBox::new(10.0, 10.0, 50.0, 50.0),
            BBox::new(11.0, 10.0, 51.0, 50.0),
            BBox::new(70.0, 70.0, 90.0, 90.0),
            BBox::new(70.0, 70.0, 90.0, 70.0),
        ];
        let strong = [2.0, 3.0, 1.0, 4.0];
        let logits = strong
            .iter()
            .flat_map(|s| (0..classes).map(move |c| if c == 0 { 0.0 } else { s - c as f32 }))
            .collect();
        BoxOutputs {
            proposals,
            logits,
            deltas: vec![0.0; 16 * classes],
            classes,
            image: (100, 100),
        }
    }

    #[test]
    fn weaker_overlapping_and_empty_boxes_are_dropped() {
        let found = outputs(2).detect(0.05, 0.5, 10);
        let proposals: Vec<_> = found.iter().map(|d| d.proposal).collect();
        assert_eq!(proposals, [1, 2]);
        assert!(outputs(2).detect(0.99, 0.5, 10).is_empty());
    }

    #[test]
    fn empty_boxes_stay_and_scores_are_sigmoids_where_asked_for() {
        let rule = DetectionRule {
            score_threshold: 0.05,
            nms_threshold: 0.5,
            limit: 10,
            ..Default::default()
        };
        let found = outputs(2).postprocess_detections(&DetectionRule { keep_empty: true, ..rule });
        assert_eq!(found.iter().map(|d| d.proposal).collect::<Vec<_>>(), [3, 1, 2]);
        let found = outputs(2)
            .postprocess_detections(&DetectionRule { scores: ScoreFunction::Sigmoid, ..rule });
        assert_eq!(found[0].score, sigmoid(2.0));
    }

    #[test]
    fn two_classes_are_suppressed_separately() {
        let found = outputs(3).detect(0.05, 0.5, 10);
        assert_eq!(found.iter().filter(|d| d.class == 1).count(), 2);
        assert_eq!(found.iter().filter(|d| d.class == 2).count(), 2);
    }

    #[test]
    fn probabilities_of_huge_logits_are_finite() {
        assert_eq!(softmax(&[1e4, -1e4]), [1.0, 0.0]);
    }
}
