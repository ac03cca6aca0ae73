//! A GPU as kernels and buffers: the one file that knows wgpu's calls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;

use crate::inference::error::PredictError;
use crate::inference::webgpu::poll;
use crate::inference::webgpu::shader::{Access, Constants, Shader};

/// Bytes that a binding's start must be a multiple of.
pub const ALIGNMENT: usize = 256;

/// Bytes of a number.
pub const NUMBER: usize = 4;

/// A device with its queue, and the kernels made so far.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    kernels: RefCell<Vec<(Shader, Constants, Rc<Kernel>)>>,
    /// Stands where a kernel has no use for a buffer.
    nothing: wgpu::Buffer,
    /// Submissions so far.
    submissions: Cell<usize>,
    /// Numbers allocated so far, what was given back included.
    allocated: Cell<usize>,
}

/// Collects what the device says of all calls until it is asked: a browser reports a shader that does not compile, or
/// memory that is not there, after the call that asked for it.
#[derive(Debug)]
pub struct Watch([wgpu::ErrorScopeGuard; 3]);

impl Watch {
    /// What went wrong, if anything did. The watch ends with the call; only the answer takes its time.
    pub fn end(self) -> impl Future<Output = Result<(), PredictError>> {
        // Scopes end in the reverse order of their beginning.
        let [memory, validity, internal] = self.0;
        let answers = (internal.pop(), validity.pop(), memory.pop());
        async move {
            let errors = [answers.0.await, answers.1.await, answers.2.await];
            match errors.into_iter().flatten().next() {
                None => Ok(()),
                Some(error) => Err(PredictError::Device { reason: error.to_string() }),
            }
        }
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("kernels", &self.kernels.borrow().len()).finish()
    }
}

/// A compiled shader.
#[derive(Debug)]
pub struct Kernel {
    shader: Shader,
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// Numbers in a buffer of the device, or a part of them.
#[derive(Clone, Debug)]
pub struct Numbers {
    buffer: wgpu::Buffer,
    /// First byte, a multiple of [`ALIGNMENT`].
    start: u64,
    /// How many.
    pub len: usize,
}

impl Numbers {
    /// `len` of them from `start` on, which is a multiple of [`ALIGNMENT`] bytes.
    pub fn part(&self, start: usize, len: usize) -> Self {
        Self { buffer: self.buffer.clone(), start: self.start + (start * NUMBER) as u64, len }
    }

    /// Gives the memory back, as soon as nothing submitted needs it: a browser would wait for its garbage collector.
    pub fn destroy(&self) {
        self.buffer.destroy();
    }

    /// Whether the others are a part of this buffer.
    pub fn contains(&self, part: &Self) -> bool {
        self.buffer == part.buffer
    }

    fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.start,
            size: wgpu::BufferSize::new((self.len * NUMBER) as u64),
        })
    }
}

/// What a kernel's run costs, by its shapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiplications and additions.
    pub operations: u64,
    /// Bytes that are read and written at least once.
    pub bytes: u64,
}

/// A run of a kernel.
#[derive(Clone, Debug)]
pub struct Dispatch {
    kernel: Rc<Kernel>,
    bindings: wgpu::BindGroup,
    /// Workgroups along each axis.
    pub grid: [u32; 3],
    /// What it costs.
    pub work: Work,
}

impl Dispatch {
    /// What runs.
    pub fn shader(&self) -> Shader {
        self.kernel.shader
    }
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

impl Gpu {
    /// For an open device.
    pub fn new(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let nothing = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("nothing"),
            size: 16,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        Self {
            device,
            queue,
            kernels: RefCell::default(),
            nothing,
            submissions: Cell::new(0),
            allocated: Cell::new(0),
        }
    }

    /// Begins to collect what the device says.
    pub fn watch(&self) -> Watch {
        let begin = |filter| self.device.push_error_scope(filter);
        let memory = begin(wgpu::ErrorFilter::OutOfMemory);
        let validity = begin(wgpu::ErrorFilter::Validation);
        Watch([memory, validity, begin(wgpu::ErrorFilter::Internal)])
    }

    /// Makes something of shaders and buffers, and waits for what the device says of them.
    ///
    /// # Errors
    /// If the device refuses anything.
    pub async fn checked<T>(&self, make: impl FnOnce() -> T) -> Result<T, PredictError> {
        let watch = self.watch();
        let made = make();
        watch.end().await?;
        Ok(made)
    }

    /// Submissions so far.
    pub fn submissions(&self) -> usize {
        self.submissions.get()
    }

    /// The kernel of a shader with these constants; compiled once.
    pub fn kernel(&self, shader: Shader, constants: Constants) -> Rc<Kernel> {
        let known = self
            .kernels
            .borrow()
            .iter()
            .find(|(s, c, _)| *s == shader && *c == constants)
            .map(|(.., kernel)| kernel.clone());
        known.unwrap_or_else(|| {
            let kernel = Rc::new(self.compile(shader, &constants));
            self.kernels.borrow_mut().push((shader, constants, kernel.clone()));
            kernel
        })
    }

    fn compile(&self, shader: Shader, constants: &Constants) -> Kernel {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(shader.name()),
            source: wgpu::ShaderSource::Wgsl(shader.source().into()),
        });
        let entry = |(binding, access): (usize, &Access)| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match access {
                    Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Access::Write => wgpu::BufferBindingType::Storage { read_only: false },
                    Access::Shape => wgpu::BufferBindingType::Uniform,
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<_> = shader.bindings().iter().enumerate().map(entry).collect();
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(shader.name()),
            entries: &entries,
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(shader.name()),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(shader.name()),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        Kernel { shader, pipeline, layout }
    }

    /// Numbers allocated so far.
    pub fn allocated(&self) -> usize {
        self.allocated.get()
    }

    /// Room for numbers.
    pub fn buffer(&self, len: usize) -> Numbers {
        self.allocated.set(self.allocated.get() + len);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            // Four at a time are read, and an empty buffer is not allowed.
            size: (len.max(4) * NUMBER) as u64,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Numbers { buffer, start: 0, len: len.max(4) }
    }

    /// Numbers on the device.
    pub fn upload(&self, values: &[f32]) -> Numbers {
        let numbers = self.buffer(values.len());
        self.write(&numbers, values);
        numbers
    }

    /// Replaces the first numbers; they are there before what is submitted next runs.
    pub fn write(&self, numbers: &Numbers, values: &[f32]) {
        self.queue.write_buffer(&numbers.buffer, numbers.start, &bytes(values));
    }

    /// The same with words.
    pub fn write_words(&self, numbers: &Numbers, values: &[u32]) {
        self.queue.write_buffer(&numbers.buffer, numbers.start, &words(values));
    }

    /// The shape of a run.
    pub fn shape(&self, values: &[u32]) -> Numbers {
        // A uniform's size is a multiple of 16 bytes.
        let len = values.len().next_multiple_of(4);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("shape"),
            size: (len * NUMBER) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, &words(values));
        Numbers { buffer, start: 0, len }
    }

    /// A run of a kernel on buffers, in the order of the shader's bindings; `None` where it has no use for one.
    pub fn dispatch(
        &self,
        kernel: &Rc<Kernel>,
        buffers: &[Option<&Numbers>],
        grid: [usize; 3],
        work: Work,
    ) -> Dispatch {
        let nothing = Numbers { buffer: self.nothing.clone(), start: 0, len: 4 };
        let entries: Vec<_> = buffers
            .iter()
            .enumerate()
            .map(|(binding, numbers)| wgpu::BindGroupEntry {
                binding: binding as u32,
                resource: numbers.unwrap_or(&nothing).binding(),
            })
            .collect();
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.shader.name()),
            layout: &kernel.layout,
            entries: &entries,
        });
        Dispatch { kernel: kernel.clone(), bindings, grid: grid.map(|side| side as u32), work }
    }

    /// Runs kernels one after the other, then reads numbers back: one submission, one round trip. `watch` began before what
    /// they need was made: a submission with anything invalid in it does nothing, and zeros would be read.
    ///
    /// # Errors
    /// If the device is lost, or has refused anything since.
    pub async fn run(
        &self,
        watch: Watch,
        dispatches: &[Dispatch],
        wanted: &[&Numbers],
    ) -> Result<Vec<Vec<f32>>, PredictError> {
        let failed = |error: &dyn std::fmt::Display| PredictError::Device {
            reason: format!("nothing can be read back: {error}"),
        };
        let size = |numbers: &Numbers| (numbers.len * NUMBER) as u64;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: wanted.iter().map(|part| size(part)).sum(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for Dispatch { kernel, bindings, grid: [x, y, z], .. } in dispatches {
                pass.set_pipeline(&kernel.pipeline);
                pass.set_bind_group(0, bindings, &[]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
        }
        let mut end = 0;
        for part in wanted {
            encoder.copy_buffer_to_buffer(&part.buffer, part.start, &staging, end, size(part));
            end += size(part);
        }
        self.queue.submit([encoder.finish()]);
        self.submissions.set(self.submissions.get() + 1);
        let (sender, receiver) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // Nobody may wait any more: the slice was cancelled.
            sender.send(result).ok();
        });
        let answer = watch.end();
        poll::wait(&self.device).map_err(|error| failed(&error))?;
        let mapped = receiver.await.map_err(|error| failed(&error))?;
        answer.await?;
        mapped.map_err(|error| failed(&error))?;
        let view = staging.get_mapped_range(..).map_err(|error| failed(&error))?;
        let mut rest: &[u8] = &view;
        let mut found = Vec::with_capacity(wanted.len());
        for part in wanted {
            let (own, others) = rest.split_at(size(part) as usize);
            let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            found.push(own.chunks_exact(NUMBER).map(value).collect());
            rest = others;
        }
        drop(view);
        staging.unmap();
        staging.destroy();
        Ok(found)
    }
}
