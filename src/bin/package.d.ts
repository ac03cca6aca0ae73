/** What `Groundglass.load` takes. */
export interface LoadOptions {
  /** Address of the folder with `manifest.json` and the weights. Default: `models`. */
  models?: string;
  /** Name of a model in the manifest. Default: the one that the manifest names. */
  model?: string;
  /** Hears of bytes received so far and in all. */
  onProgress?: (received: number, total: number) => void;
}

/** What `predict` takes beside the slice. */
export interface PredictOptions {
  /** Name of the slice in the report. */
  name?: string;
  /** Lesions with a lower score are left out. Default: 0.5. */
  scoreThreshold?: number;
  /** Analyse slices even if they are plainly no axial chest CT. */
  force?: boolean;
  /** Aborting it rejects the promise with the signal's reason. */
  signal?: AbortSignal;
  /** Hears of each stage as it begins. */
  onStage?: (stage: string) => void;
}

/** A mask as pycocotools reads and writes it; `decodeMask` gives its pixels. */
export interface RunLengths {
  /** Height and width. */
  size: [number, number];
  /** Compressed run lengths, column by column. */
  counts: string;
}

/** A value outside of its range in training, of intensities from 0 to 255. */
export interface Unlike {
  value: number;
  low: number;
  high: number;
}

/** Why nothing is said of a slice, or no class given. */
export type Refusal =
  | { not_chest_ct: "localizer" | { modality: string } | { turned: number } }
  | { field_of_view: { width_mm: number; height_mm: number } }
  | "no_contrast"
  /** Millimetres. */
  | { small_body: number }
  | "no_lung"
  | "little_lung"
  | "black_lungs"
  | { unlike_mean: Unlike }
  | { unlike_contrast: Unlike };

/** What the user should know of a file, or of how it was read. */
export type Warning =
  | { copies: number }
  | "ordered_by_number"
  | "ordered_by_name"
  | "not_parallel"
  | "different_pixel_sizes"
  | "shifted"
  | { same_place: number }
  | { uneven_distances: { least_mm: number; most_mm: number } }
  /** Degrees from axial. */
  | { turned: number }
  | "unknown_units"
  | { other_units: string }
  | "no_air"
  | "unknown_orientation"
  | "trailing_data"
  | { other_window: { center: number; width: number } }
  | "coloured"
  | "almost_black"
  | { on_request: Refusal }
  | "no_region";

/** A lung of the patient, and how much of it lesions cover. */
export interface Lung {
  area_px: number;
  affected_px: number;
  mask: RunLengths;
}

/** A lesion, in the slice's own pixels. */
export interface Lesion {
  label: "lesion" | "ground_glass" | "consolidation";
  score: number;
  /** x1, y1, x2, y2. */
  box: [number, number, number, number];
  area_px: number;
  area_mm2: number | null;
  mask: RunLengths | null;
}

/** A region as the classifier sees it. */
export interface RankedRegion {
  score: number;
  area_px: number;
  /** Copies of it in the classifier's batch. */
  slots: number;
}

/** What was found on a slice. For research only, not a medical device. */
export interface SliceReport {
  source: string;
  width: number;
  height: number;
  /** Millimetres between rows and between columns. */
  spacing_mm: [number, number] | null;
  /** Calibrated probabilities. */
  classes: { control: number; common_pneumonia: number; covid19: number } | null;
  /** What may be said: pneumonia or not, and only then which. */
  verdict: {
    /** Probability of pneumonia of any kind. */
    pneumonia: number;
    finding: "uncertain" | "no_pneumonia" | "pneumonia" | "common_pneumonia" | "covid19";
  } | null;
  /** Why there are no probabilities, in words. */
  refusal: string | null;
  /** The same for programs. */
  refusal_reason: Refusal | null;
  /** Millimetres towards the patient's head. */
  position_mm: number | null;
  /** The lungs, found by thresholds. */
  lungs: {
    right: Lung;
    left: Lung;
    /** Mean column of the body, and whether the patient's right lies before it. */
    midline: { column: number; right_first: boolean };
  } | null;
  logits: [number, number, number] | null;
  /** The regions that the class was told from, strongest first. */
  regions: RankedRegion[];
  /** Lesions, strongest first. */
  lesions: Lesion[];
  /** Whether lesions were looked for. */
  segmented: boolean;
  /** Whether it was looked at although it is plainly no axial chest CT. */
  forced: boolean;
  /** Milliseconds of each stage, and `total`. */
  milliseconds: Record<string, number>;
  /** What the user should know, in words. */
  warnings: string[];
  /** The same for programs. */
  warning_codes: Warning[];
}
