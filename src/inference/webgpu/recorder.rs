//! Records the dispatches for one slice size, and the buffers for intermediate results.

use crate::inference::webgpu::gpu::{Dispatch, Gpu, Numbers};

/// Fewest numbers of a buffer. Larger ones have powers of two: so there are few sizes, and what one slice needs serves
/// the next, however many proposals it has.
const MIN_BUFFER_LEN: usize = 1 << 14;

/// A map on the device, channels last.
#[derive(Clone, Debug)]
pub struct Map {
    /// `[images, height, width, channels]`.
    pub numbers: Numbers,
    /// Images.
    pub images: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels, a multiple of four.
    pub channels: usize,
}

impl Map {
    /// Numbers of it.
    pub fn len(&self) -> usize {
        self.images * self.height * self.width * self.channels
    }
}

/// Records dispatches, and finds buffers for intermediate results.
#[derive(Debug)]
pub struct Recorder<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// What is to be run.
    pub dispatches: Vec<Dispatch>,
    /// Rooms that nothing written down uses.
    unused: Vec<Numbers>,
    /// Rooms whose contents are wanted no more: later dispatches may write over them.
    released: Vec<Numbers>,
    taken: Vec<Numbers>,
    shapes: Vec<Numbers>,
}

/// What was written down.
#[derive(Debug)]
pub struct Recording {
    /// What is to be run.
    pub dispatches: Vec<Dispatch>,
    /// All buffers.
    pub buffers: Vec<Numbers>,
    /// Shapes of the dispatches.
    pub shapes: Vec<Numbers>,
}

impl<'a> Recorder<'a> {
    /// With buffers that are free.
    pub fn new(gpu: &'a Gpu, unused: Vec<Numbers>) -> Self {
        let (dispatches, released, taken, shapes) = Default::default();
        Self { gpu, dispatches, unused, released, taken, shapes }
    }

    /// Room for so many numbers; its contents are unspecified.
    pub fn buffer(&mut self, len: usize) -> Numbers {
        let wanted = len.next_power_of_two().max(MIN_BUFFER_LEN);
        let of_size = |buffers: &mut Vec<Numbers>| {
            let place = buffers.iter().position(|buffer| buffer.len == wanted)?;
            Some(buffers.swap_remove(place))
        };
        let buffer = of_size(&mut self.released)
            .or_else(|| of_size(&mut self.unused))
            .unwrap_or_else(|| self.gpu.buffer(wanted));
        self.taken.push(buffer.clone());
        buffer.part(0, len)
    }

    /// Words on the device before the first dispatch runs: not in a buffer that one of them uses.
    pub fn written(&mut self, words: &[u32]) -> Numbers {
        let released = std::mem::take(&mut self.released);
        let buffer = self.buffer(words.len());
        self.released = released;
        self.gpu.write_words(&buffer, words);
        buffer
    }

    /// The shape of a dispatch.
    pub fn shape(&mut self, words: &[u32]) -> Numbers {
        let shape = self.gpu.shape(words);
        self.shapes.push(shape.clone());
        shape
    }

    /// What lay there is wanted no more.
    pub fn release(&mut self, numbers: &Numbers) {
        if let Some(place) = self.taken.iter().position(|buffer| buffer.contains(numbers)) {
            self.released.push(self.taken.swap_remove(place));
        }
    }

    /// What was written down.
    pub fn finish(self) -> Recording {
        let buffers = [self.unused, self.released, self.taken].concat();
        Recording { dispatches: self.dispatches, buffers, shapes: self.shapes }
    }

    /// Room for a map of `[images, height, width, channels]`.
    pub fn map(&mut self, [images, height, width, channels]: [usize; 4]) -> Map {
        let numbers = self.buffer(images * height * width * channels);
        Map { numbers, images, height, width, channels }
    }
}

/// Words of a shape.
pub fn words<const N: usize>(shape: &[usize; N]) -> [u32; N] {
    shape.map(|value| value as u32)
}
