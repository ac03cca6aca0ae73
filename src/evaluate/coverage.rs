//! Accuracy against coverage: how often the surest part of the answers is right.

use crate::evaluate::classification::Classified;

/// Answers with their sureness, and whether they were right.
pub type Answers = Vec<(f32, bool)>;

/// Which of the three classes, as sure as its probability.
pub fn classes(slices: &[Classified]) -> Answers {
    let of = |slice: &Classified| {
        let said = slice.predicted();
        (slice.probabilities[said.index()], said == slice.class)
    };
    slices.iter().map(of).collect()
}

/// Pneumonia or not, as sure as the larger of the two probabilities.
pub fn pneumonia(slices: &[Classified]) -> Answers {
    let of = |slice: &Classified| {
        let ill = 1.0 - slice.probabilities[0];
        (ill.max(1.0 - ill), (ill > 0.5) == (slice.class.is_pneumonia()))
    };
    slices.iter().map(of).collect()
}

/// Points `(coverage, accuracy)`: of the surest answers, more and more; those that are equally sure come together.
pub fn curve(mut answers: Answers) -> Vec<(f64, f64)> {
    answers.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all = answers.len() as f64;
    let (mut seen, mut right) = (0, 0);
    let tied = answers.chunk_by(|a, b| a.0 == b.0);
    tied.map(|tied| {
        seen += tied.len();
        right += tied.iter().filter(|(_, is_right)| *is_right).count();
        (seen as f64 / all, right as f64 / seen as f64)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_come_first_and_all_are_covered_at_the_end() {
        let answers = vec![(0.5, false), (0.9, true), (0.7, true), (0.7, false)];
        let expected = [(0.25, 1.0), (0.75, 2.0 / 3.0), (1.0, 0.5)];
        assert_eq!(curve(answers), expected);
        assert!(curve(Vec::new()).is_empty());
    }
}
