//! The reference's average precision: per image, by mask, not exclusive (docs/method.md, 6.1).

use crate::detection::Mask;

/// IoU thresholds 0.50, 0.55, ... 0.95.
pub const THRESHOLDS: [f64; 10] = [0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95];

/// A predicted or true lesion.
#[derive(Clone, Debug)]
pub struct ScoredMask {
    /// 1 or 2.
    pub class: usize,
    /// Probability; 1 for the truth.
    pub score: f32,
    /// Its pixels.
    pub mask: Mask,
}

/// Predictions against truth in one image: the overlaps are computed once for all thresholds.
#[derive(Clone, Debug)]
pub struct ImageMatches {
    /// `[prediction][truth]`, predictions by descending score.
    overlaps: Vec<Vec<f64>>,
    predicted: Vec<usize>,
    truth: Vec<usize>,
}

impl ImageMatches {
    /// Compares all with all.
    pub fn new(predictions: &[ScoredMask], truth: &[ScoredMask]) -> Self {
        let mut order: Vec<usize> = (0..predictions.len()).collect();
        order.sort_by(|a, b| predictions[*b].score.total_cmp(&predictions[*a].score));
        let overlaps = order
            .iter()
            .map(|index| truth.iter().map(|t| predictions[*index].mask.iou(&t.mask)).collect())
            .collect();
        let predicted = order.iter().map(|index| predictions[*index].class).collect();
        Self::from_overlaps(overlaps, predicted, truth.iter().map(|t| t.class).collect())
    }

    /// From overlaps `[prediction][truth]`, predictions by descending score, and classes.
    pub fn from_overlaps(
        overlaps: Vec<Vec<f64>>,
        predicted: Vec<usize>,
        truth: Vec<usize>,
    ) -> Self {
        Self { overlaps, predicted, truth }
    }

    /// Average precision at an IoU threshold; 1 if there is neither lesion nor prediction, 0 if
    /// there is one without the other.
    pub fn average_precision(&self, threshold: f64) -> f64 {
        match (self.predicted.is_empty(), self.truth.is_empty()) {
            (true, true) => return 1.0,
            (true, false) | (false, true) => return 0.0,
            (false, false) => {}
        }
        // Each lesion takes the prediction of its class that overlaps it most, even one that another
        // lesion has taken.
        let mut matched = vec![false; self.predicted.len()];
        for (lesion, class) in self.truth.iter().enumerate() {
            let mut best: Option<(usize, f64)> = None;
            for (index, row) in self.overlaps.iter().enumerate() {
                let candidate = row[lesion] > threshold && self.predicted[index] == *class;
                if candidate && best.is_none_or(|(_, overlap)| row[lesion] > overlap) {
                    best = Some((index, row[lesion]));
                }
            }
            if let Some((index, _)) = best {
                matched[index] = true;
            }
        }
        let mut precisions = vec![0.0];
        let mut recalls = vec![0.0];
        let mut hits = 0;
        for (index, hit) in matched.iter().enumerate() {
            hits += usize::from(*hit);
            precisions.push(hits as f64 / (index + 1) as f64);
            recalls.push(hits as f64 / self.truth.len() as f64);
        }
        precisions.push(0.0);
        recalls.push(1.0);
        for index in (0..precisions.len() - 1).rev() {
            precisions[index] = precisions[index].max(precisions[index + 1]);
        }
        (1..recalls.len())
            .map(|index| (recalls[index] - recalls[index - 1]) * precisions[index])
            .sum()
    }
}

/// Average precision at each of [`THRESHOLDS`], mean over images; zeros without images.
pub fn mean_by_threshold<'a>(images: impl Iterator<Item = &'a ImageMatches> + Clone) -> [f64; 10] {
    let count = images.clone().count().max(1) as f64;
    THRESHOLDS.map(|t| images.clone().map(|image| image.average_precision(t)).sum::<f64>() / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_the_values_worked_out_by_hand() {
        let ap = |overlaps: Vec<Vec<f64>>| {
            let (rows, columns) = (overlaps.len(), overlaps[0].len());
            let image = ImageMatches::from_overlaps(overlaps, vec![1; rows], vec![1; columns]);
            image.average_precision(0.5)
        };
        let three = ap(vec![vec![0.8, 0.1], vec![0.6, 0.0], vec![0.2, 0.7]]);
        assert!((three - 0.833333).abs() < 1e-6);
        assert!((ap(vec![vec![0.55, 0.6]]) - 0.5).abs() < 1e-12);
        assert!((ap(vec![vec![0.6], vec![0.9]]) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn another_class_does_not_match_and_empty_images_have_values() {
        let image = |predicted: Vec<usize>, truth: Vec<usize>| {
            let overlaps = vec![vec![0.9; truth.len()]; predicted.len()];
            ImageMatches::from_overlaps(overlaps, predicted, truth).average_precision(0.5)
        };
        assert_eq!(image(vec![1], vec![2]), 0.0);
        assert_eq!(image(vec![], vec![]), 1.0);
        assert_eq!(image(vec![1], vec![]), 0.0);
        assert_eq!(image(vec![], vec![1]), 0.0);
    }
}
