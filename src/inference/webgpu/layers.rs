//! Layers as dispatches: convolutions, directly or by Winograd's algorithm, pooling, products.

use crate::inference::load::{ConvTransposeWeights, ConvWeights, LinearWeights};
use crate::inference::webgpu::gpu::{Gpu, NUMBER, Numbers, Work};
use crate::inference::webgpu::recorder::{Map, Recorder, words};
use crate::inference::webgpu::shader::Shader;
use crate::inference::webgpu::weights;
use crate::kernels::conv::ConvShape;
use crate::kernels::transpose;
use crate::kernels::winograd::{ENTRIES, TILE};

/// Input channels from which on Winograd's algorithm pays: with fewer, what it moves costs more than what it saves.
const WINOGRAD_CHANNELS: usize = 128;
/// Rows and columns of a workgroup of the product.
const TILE_ROWS: usize = 32;
const TILE_COLUMNS: usize = 64;

/// What follows a convolution.
#[derive(Clone, Copy, Debug, Default)]
pub struct After<'a> {
    /// A map that is added.
    pub residual: Option<&'a Map>,
    /// Whether ReLU follows.
    pub relu: bool,
    /// Number of the images that count, on the device.
    pub count: Option<&'a Numbers>,
}

impl Recorder<'_> {
    /// The maximum of 3x3 cells, stride 2, padding 1.
    pub fn max_pool(&mut self, input: &Map) -> Map {
        let (height, width) = (input.height.div_ceil(2), input.width.div_ceil(2));
        let output = self.map([1, height, width, input.channels]);
        let channels = input.channels / 4;
        let shape = [input.height, input.width, height, width, channels];
        let kernel = self.gpu.kernel(Shader::MaxPool, Vec::new());
        let shape = self.shape(&words(&shape));
        let work = Work {
            operations: 9 * output.len() as u64,
            bytes: (NUMBER * (input.len() + output.len())) as u64,
        };
        self.dispatches.push(self.gpu.dispatch(
            &kernel,
            &[Some(&input.numbers), Some(&output.numbers), Some(&shape)],
            [channels.div_ceil(16), (height * width).div_ceil(8), 1],
            work,
        ));
        output
    }

    /// Products of `left` and `right` `[number, inner, columns]` to `output` `[number, rows, columns]`.
    fn products(
        &mut self,
        products: Products<'_>,
        (left, right, output): (&Numbers, &Numbers, &Numbers),
    ) {
        let Products { number, rows, inner, columns, row_step, product_step, counted } = products;
        // Each matrix is a stack of images of one row.
        let image = counted.map_or(rows, |(_, rows)| rows);
        let shape = [
            rows,
            image,
            columns / 4,
            row_step / 4,
            inner / 4,
            1,
            image,
            image,
            0,
            product_step / 4,
            inner * columns / 4,
            rows * columns / 4,
        ];
        let constants =
            vec![("HAS_BIAS", 0.0), ("IS_COUNTED", f64::from(u8::from(counted.is_some())))];
        let kernel = self.gpu.kernel(Shader::Convolution, constants);
        let shape = self.shape(&words(&shape));
        self.dispatches.push(self.gpu.dispatch(
            &kernel,
            &[
                Some(left),
                Some(right),
                None,
                None,
                counted.map(|(count, _)| count),
                Some(output),
                Some(&shape),
            ],
            [columns.div_ceil(TILE_COLUMNS), rows.div_ceil(TILE_ROWS), number],
            Work {
                operations: 2 * (number * rows * inner * columns) as u64,
                bytes: (NUMBER * (left.len + right.len + output.len)) as u64,
            },
        ));
    }
}

/// Products of matrices that run at once.
struct Products<'a> {
    number: usize,
    /// Of one product.
    rows: usize,
    inner: usize,
    columns: usize,
    /// Numbers from one row of the left side to the next.
    row_step: usize,
    /// Numbers from the left side of one product to that of the next.
    product_step: usize,
    /// How many images count, on the device, and the rows of each.
    counted: Option<(&'a Numbers, usize)>,
}

/// A convolution whose weights are on the device.
#[derive(Debug)]
pub struct Conv {
    kernels: Numbers,
    bias: Numbers,
    shape: ConvShape,
    is_winograd: bool,
}

impl Conv {
    /// Lays weights out; output channels are filled up to a multiple of four.
    pub fn new(gpu: &Gpu, ConvWeights { kernels, mut bias, shape }: ConvWeights<'_>) -> Self {
        let outputs = shape.outputs.next_multiple_of(4);
        let is_winograd = shape.kernel == 3
            && shape.stride == 1
            && shape.padding == 1
            && shape.inputs >= WINOGRAD_CHANNELS
            && outputs == shape.outputs;
        let kernels = if is_winograd {
            weights::winograd(&kernels, shape.inputs, shape.outputs)
        } else {
            weights::taps_first(&kernels, &shape, [shape.inputs, outputs])
        };
        bias.resize(outputs, 0.0);
        Self {
            kernels: gpu.upload(&kernels),
            bias: gpu.upload(&bias),
            shape: ConvShape { outputs, ..shape },
            is_winograd,
        }
    }

    /// Output channels, filled up.
    pub fn outputs(&self) -> usize {
        self.shape.outputs
    }

    /// Convolves into a new map.
    pub fn record(&self, recorder: &mut Recorder<'_>, input: &Map, after: After<'_>) -> Map {
        let side = |length: usize| {
            (length + 2 * self.shape.padding - self.shape.kernel) / self.shape.stride + 1
        };
        let dims = [input.images, side(input.height), side(input.width), self.shape.outputs];
        let output = recorder.map(dims);
        self.record_into(recorder, input, after, &output);
        output
    }

    /// Convolves into a map that is there.
    pub fn record_into(
        &self,
        recorder: &mut Recorder<'_>,
        input: &Map,
        after: After<'_>,
        output: &Map,
    ) {
        // Only the direct convolution can add a residual of half the size.
        let is_coarser = after.residual.is_some_and(|map| map.len() != output.len());
        if self.is_winograd && !is_coarser {
            self.by_winograd(recorder, input, after, output);
        } else {
            self.directly(recorder, input, after, output, is_coarser);
        }
    }

    fn directly(
        &self,
        recorder: &mut Recorder<'_>,
        input: &Map,
        After { residual, relu, count }: After<'_>,
        output: &Map,
        is_coarser: bool,
    ) {
        let ConvShape { kernel, stride, padding, outputs, .. } = self.shape;
        let image_rows = output.height * output.width;
        let rows = output.images * image_rows;
        let shape = [
            rows,
            image_rows,
            outputs / 4,
            input.channels / 4,
            input.channels / 4,
            input.height,
            input.width,
            output.width,
            residual.map_or(0, |map| map.width),
            0,
            0,
            0,
        ];
        let is = |value: bool| f64::from(u8::from(value));
        let constants = vec![
            ("KERNEL", kernel as f64),
            ("STRIDE", stride as f64),
            ("PADDING", padding as f64),
            ("HAS_RESIDUAL", is(residual.is_some())),
            ("IS_RESIDUAL_COARSER", is(is_coarser)),
            ("HAS_RELU", is(relu)),
            ("IS_COUNTED", is(count.is_some())),
        ];
        let gpu = recorder.gpu;
        let shape = recorder.shape(&words(&shape));
        let inner = kernel * kernel * input.channels;
        let numbers = input.len() + inner * outputs + output.len();
        recorder.dispatches.push(gpu.dispatch(
            &gpu.kernel(Shader::Convolution, constants),
            &[
                Some(&input.numbers),
                Some(&self.kernels),
                Some(&self.bias),
                residual.map(|map| &map.numbers),
                count,
                Some(&output.numbers),
                Some(&shape),
            ],
            [outputs.div_ceil(TILE_COLUMNS), rows.div_ceil(TILE_ROWS), 1],
            Work {
                operations: 2 * (rows * inner * outputs) as u64,
                bytes: (NUMBER * (numbers + residual.map_or(0, Map::len))) as u64,
            },
        ));
    }

    fn by_winograd(
        &self,
        recorder: &mut Recorder<'_>,
        input: &Map,
        After { residual, relu, count }: After<'_>,
        output: &Map,
    ) {
        let gpu = recorder.gpu;
        let (down, across) = (output.height.div_ceil(TILE), output.width.div_ceil(TILE));
        let tiles = output.images * down * across;
        let (inputs, outputs) = (input.channels, self.shape.outputs);
        let patches = recorder.buffer(ENTRIES * tiles * inputs);
        let sums = recorder.buffer(ENTRIES * tiles * outputs);
        let [input_shape, output_shape] = [inputs, outputs].map(|channels| {
            let shape = [output.images, output.height, output.width, down, across, channels / 4];
            recorder.shape(&words(&shape))
        });
        let is = |value: bool| f64::from(u8::from(value));
        let counted = ("IS_COUNTED", is(count.is_some()));
        let grid = |channels: usize| [(channels / 4).div_ceil(32), tiles.div_ceil(2), 1];
        recorder.dispatches.push(gpu.dispatch(
            &gpu.kernel(Shader::WinogradInput, vec![counted]),
            &[Some(&input.numbers), count, Some(&patches), Some(&input_shape)],
            grid(inputs),
            Work {
                operations: (tiles * inputs * 6 * 2 * 14) as u64,
                bytes: (NUMBER * (input.len() + patches.len)) as u64,
            },
        ));
        let products = Products {
            number: ENTRIES,
            rows: tiles,
            inner: inputs,
            columns: outputs,
            row_step: inputs,
            product_step: tiles * inputs,
            counted: count.map(|count| (count, down * across)),
        };
        recorder.products(products, (&patches, &self.kernels, &sums));
        let constants =
            vec![("HAS_RESIDUAL", is(residual.is_some())), ("HAS_RELU", is(relu)), counted];
        recorder.dispatches.push(gpu.dispatch(
            &gpu.kernel(Shader::WinogradOutput, constants),
            &[
                Some(&sums),
                Some(&self.bias),
                residual.map(|map| &map.numbers),
                count,
                Some(&output.numbers),
                Some(&output_shape),
            ],
            grid(outputs),
            Work {
                operations: (tiles * outputs * 10 * 11) as u64,
                bytes: (NUMBER * (sums.len + output.len() + residual.map_or(0, Map::len))) as u64,
            },
        ));
        recorder.release(&patches);
        recorder.release(&sums);
    }
}

/// The first convolution, of a grey plane.
#[derive(Debug)]
pub struct Stem {
    kernels: Numbers,
    bias: Numbers,
    outputs: usize,
}

impl Stem {
    /// Lays out the weights of a convolution of two channels, grey and "inside".
    pub fn new(gpu: &Gpu, ConvWeights { kernels, bias, shape }: ConvWeights<'_>) -> Self {
        let kernels = weights::taps_first(&kernels, &shape, [shape.inputs, shape.outputs]);
        Self { kernels: gpu.upload(&kernels), bias: gpu.upload(&bias), outputs: shape.outputs }
    }

    /// What the shader has to know of a picture in a plane of `[height, width]`.
    pub fn shape(&self, [height, width]: [usize; 2], [rows, columns]: [usize; 2]) -> [u32; 8] {
        let (out_height, out_width) = (height.div_ceil(2), width.div_ceil(2));
        words(&[
            height,
            width,
            rows,
            columns,
            out_width,
            out_height * out_width,
            self.outputs / 4,
            0,
        ])
    }

    /// Convolves a plane; `shape` is written for each picture.
    pub fn record(
        &self,
        recorder: &mut Recorder<'_>,
        (grey, [height, width]): (&Numbers, [usize; 2]),
        shape: &Numbers,
    ) -> Map {
        let output = recorder.map([1, height.div_ceil(2), width.div_ceil(2), self.outputs]);
        let rows = output.height * output.width;
        let gpu = recorder.gpu;
        recorder.dispatches.push(gpu.dispatch(
            &gpu.kernel(Shader::Stem, Vec::new()),
            &[
                Some(grey),
                Some(&self.kernels),
                Some(&self.bias),
                Some(&output.numbers),
                Some(shape),
            ],
            [self.outputs.div_ceil(TILE_COLUMNS), rows.div_ceil(TILE_ROWS), 1],
            Work {
                operations: 2 * (rows * 98 * self.outputs) as u64,
                bytes: (NUMBER * (grey.len + output.len())) as u64,
            },
        ));
        output
    }
}

/// A product that is summed in parts, so that a few rows keep a device busy: its bias and what else follows is left to
/// whoever adds the parts.
#[derive(Debug)]
pub struct SplitLinear {
    /// `[inputs, outputs]`.
    matrix: Numbers,
    inputs: usize,
    outputs: usize,
}

/// Parts of a split product.
pub const PARTS: usize = 8;

impl SplitLinear {
    /// Lays weights out.
    pub fn new(gpu: &Gpu, LinearWeights { matrix, bias }: &LinearWeights<'_>) -> Self {
        let outputs = bias.len();
        let inputs = matrix.len() / outputs;
        Self { matrix: gpu.upload(&transpose(matrix, inputs)), inputs, outputs }
    }

    /// `[rows, inputs]` to `[PARTS, rows, outputs]`.
    pub fn record(&self, recorder: &mut Recorder<'_>, input: &Numbers, rows: usize) -> Numbers {
        let output = recorder.buffer(PARTS * rows * self.outputs);
        let inner = self.inputs / PARTS;
        let products = Products {
            number: PARTS,
            rows,
            inner,
            columns: self.outputs,
            row_step: self.inputs,
            product_step: inner,
            counted: None,
        };
        recorder.products(products, (input, &self.matrix, &output));
        output
    }
}

/// A transposed convolution as a product: `[pixels, inputs]` to `[pixels, row, column, outputs]`, with bias and ReLU.
pub fn conv_transpose(gpu: &Gpu, weights: &ConvTransposeWeights<'_>) -> Conv {
    let outputs = weights.bias.len();
    let inputs = weights.kernels.len() / (4 * outputs);
    // [inputs, outputs, 4] to [4 * outputs, inputs]
    let mut kernels = vec![0.0; weights.kernels.len()];
    for (place, value) in weights.kernels.iter().enumerate() {
        let (input, output, tap) = (place / (4 * outputs), place / 4 % outputs, place % 4);
        kernels[(tap * outputs + output) * inputs + input] = *value;
    }
    let shape = ConvShape { inputs, outputs: 4 * outputs, kernel: 1, stride: 1, padding: 0 };
    Conv::new(gpu, ConvWeights { kernels: kernels.into(), bias: weights.bias.repeat(4), shape })
}
