//! The network in shaders, against the network on the CPU, on whatever GPU Vulkan finds (a software one will do). Without
//! any, what needs one is reported as ignored, by name.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::ExitCode;
use std::rc::Rc;

use burn::tensor::Device;
use groundglass::classes::{LesionClasses, SliceClass};
use groundglass::detection::BBox;
use groundglass::detection::postprocess::BoxOutputs;
use groundglass::image::NetworkInput;
use groundglass::image::phantom::draw;
use groundglass::inference::webgpu::{Access, Gpu, Shader, WebGpuBackend};
use groundglass::inference::{Backend, CpuBackend, NoProgress, Settings};
use groundglass::network::{Architecture, MaskRcnnConfig, StateDict, Task, Variant};
use libtest_mimic::{Arguments, Trial};

/// Largest difference, relative to the largest value.
const TOLERANCE: f32 = 2e-4;

/// The first GPU, whatever it is.
fn gpu() -> Option<Rc<Gpu>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).ok()?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).ok()?;
    Some(Rc::new(Gpu::new(device, queue)))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two at once on a software GPU would only wait for each other.
    arguments.test_threads = Some(1);
    let is_missing = gpu().is_none();
    if is_missing {
        println!("no Vulkan device was found: what needs one is ignored");
    }
    let mut trials = vec![Trial::test("every_shader_is_valid_and_bound_as_declared", || {
        every_shader();
        Ok(())
    })];
    for variant in Variant::LIGHTWEIGHT.into_iter().chain([Variant::RESNET50]) {
        // The largest takes its time on a software GPU.
        let all = [LesionClasses::Both, LesionClasses::Merge];
        let classes = if variant == Variant::RESNET50 { &all[..1] } else { &all[..] };
        for classes in classes.iter().copied() {
            let name = format!("{variant}_with_{classes:?}_computes_what_the_cpu_computes");
            let test = move || {
                variant_is_as_on_the_cpu(variant, classes);
                Ok(())
            };
            trials.push(Trial::test(name, test).with_ignored_flag(is_missing));
        }
    }
    let others: [(&str, fn()); 4] = [
        ("costs_of_a_slice_are_few_dispatches_and_no_bottleneck", costs),
        ("a_series_takes_as_much_memory_as_its_largest_slices", memory),
        ("what_belongs_to_another_slice_is_refused", another_slice),
        ("a_shader_that_does_not_compile_is_noticed", a_refusal),
    ];
    for (name, test) in others {
        let test = move || {
            test();
            Ok(())
        };
        trials.push(Trial::test(name, test).with_ignored_flag(is_missing));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn every_shader() {
    for shader in Shader::ALL {
        let module = naga::front::wgsl::parse_str(shader.source()).unwrap_or_else(|error| {
            panic!("{}: {}", shader.name(), error.emit_to_string(shader.source()))
        });
        let mut validator = naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            naga::valid::Capabilities::empty(),
        );
        validator.validate(&module).unwrap_or_else(|error| panic!("{}: {error:?}", shader.name()));
        for (binding, access) in shader.bindings().iter().enumerate() {
            let (_, variable) = module
                .global_variables
                .iter()
                .find(|(_, v)| v.binding.as_ref().is_some_and(|b| b.binding == binding as u32))
                .unwrap_or_else(|| panic!("{} has no binding {binding}", shader.name()));
            let declared = match variable.space {
                naga::AddressSpace::Uniform => Access::Shape,
                naga::AddressSpace::Storage { access }
                    if access.contains(naga::StorageAccess::STORE) =>
                {
                    Access::Write
                }
                _ => Access::Read,
            };
            assert_eq!(declared, *access, "{}, binding {binding}", shader.name());
        }
        let bound = module.global_variables.iter().filter(|(_, v)| v.binding.is_some()).count();
        assert_eq!(bound, shader.bindings().len(), "{}", shader.name());
    }
}

fn architecture(variant: Variant, classes: LesionClasses) -> (Architecture, StateDict) {
    let architecture = Architecture::paper(variant, Task::Segmentation, classes);
    let device = Device::flex();
    device.seed(1);
    let state = MaskRcnnConfig::new(architecture.clone()).init(&device).state();
    (architecture, state)
}

/// A backend and its GPU.
fn on_gpu(architecture: &Architecture, state: &StateDict) -> (Rc<Gpu>, WebGpuBackend) {
    let gpu = gpu().expect("a device");
    let backend = gpu.checked(|| WebGpuBackend::new(gpu.clone(), architecture, state));
    let backend = pollster::block_on(backend).expect("the device takes all shaders");
    (gpu.clone(), backend.expect("the weights"))
}

/// A picture of other sides than its plane's.
fn input([height, width]: [usize; 2]) -> NetworkInput {
    let slice = draw(SliceClass::Covid19, 3).slice;
    let grey = slice.pixels.iter().cycle().step_by(7).map(|pixel| f32::from(*pixel) / 255.0);
    NetworkInput {
        grey: grey.take(height * width).collect(),
        height,
        width,
        image_height: height - 6,
        image_width: width - 11,
        slice_from_network: [1.0; 2],
    }
}

fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let off = |(index, (found, expected)): (usize, (&f32, &f32))| ((found - expected).abs(), index);
    let (off, index) = found
        .iter()
        .zip(expected)
        .enumerate()
        .map(off)
        .fold((0.0f32, 0), |worst, next| if next.0 > worst.0 { next } else { worst });
    eprintln!("{what}: off by {off} at {index} of {}, where the largest is {largest}", found.len());
    assert!(
        off <= TOLERANCE * largest,
        "{what}: off by {off} at {index} where the largest is {largest}"
    );
}

/// Boxes inside, across the border, outside, without area, and of every level's size.
fn boxes(count: usize) -> Vec<BBox> {
    (0..count)
        .map(|index| {
            let at = |factor: usize, range: usize| (index * factor % range) as f32;
            let (x, y) = (at(37, 150) - 20.0, at(53, 120) - 15.0);
            let side = if index % 7 == 0 { 0.0 } else { at(29, 110) };
            let side = if index % 11 == 5 { 4.0 * side } else { side };
            BBox::new(x, y, x + side, y + 0.7 * side)
        })
        .collect()
}

fn variant_is_as_on_the_cpu(variant: Variant, classes: LesionClasses) {
    let (architecture, state) = architecture(variant, classes);
    let (device, gpu) = on_gpu(&architecture, &state);
    let cpu = CpuBackend::new(&architecture, &state).expect("the weights");
    for size in [[96, 64], [64, 160]] {
        slice_is_as_on_the_cpu(&device, &gpu, &cpu, &input(size));
    }
}

fn slice_is_as_on_the_cpu(
    device: &Gpu,
    gpu: &WebGpuBackend,
    cpu: &CpuBackend,
    input: &NetworkInput,
) {
    let has_one_level = cpu.architecture().variant.pyramid_channels().len() == 1;
    let classes = cpu.architecture().masks.num_classes();
    let image = (input.image_height, input.image_width);
    pollster::block_on(async {
        let (mut expected, maps) = cpu.pyramid(input, &mut NoProgress).await.expect("maps");
        let (mut found, own) = gpu.pyramid(input, &mut NoProgress).await.expect("maps");
        let levels = cpu.features(&expected).await.expect("levels");
        for (found, expected) in gpu.features(&found).await.expect("levels").iter().zip(&levels) {
            close("levels", found, expected);
        }
        for (own, maps) in own.iter().zip(&maps) {
            close("objectness", &own.objectness, &maps.objectness);
            close("RPN deltas", &own.deltas, &maps.deltas);
        }
        let mut most = 0;
        // The last keeps almost every box, whatever the weights say of it.
        for (count, score_threshold, nms_threshold) in
            [(1, 0.2, 0.8), (9, 0.2, 0.8), (130, 0.0, 0.95)]
        {
            let boxes = boxes(count);
            let settings = Settings { score_threshold, nms_threshold, ..Settings::default() };
            let wanted = cpu.boxes(&mut expected, &boxes, image, None).await.expect("outputs");
            let (logits, deltas) =
                gpu.boxes(&mut found, &boxes, image, Some(&settings)).await.expect("outputs");
            close("logits", &logits, &wanted.0);
            close("deltas", &deltas, &wanted.1);
            let outputs = BoxOutputs { proposals: boxes.clone(), logits, deltas, classes, image };
            let detections = outputs.detect(settings.score_threshold, settings.nms_threshold, 40);
            let masks = cpu.masks(&expected, &detections).await.expect("masks");
            let before = device.submissions();
            let own = gpu.masks(&found, &detections).await.expect("masks");
            assert_eq!(own.len(), masks.len());
            // Up to 32 masks are there already, if the device chose the very boxes.
            let later =
                if has_one_level { detections.len().saturating_sub(32) } else { detections.len() };
            most = most.max(detections.len());
            assert_eq!(
                device.submissions() - before,
                later.div_ceil(32),
                "{} boxes",
                detections.len()
            );
            for (own, mask) in own.iter().zip(&masks) {
                close("mask", own, mask);
            }
            let seen = cpu.slice_features(&expected, &boxes[..count.min(5)]).await.expect("seen");
            let own = gpu.slice_features(&found, &boxes[..count.min(5)]).await.expect("seen");
            close("means", &own.means, &seen.means);
            close("maxima", &own.maxima, &seen.maxima);
            close("representations", &own.representations, &seen.representations);
        }
        assert!(most > 32, "more than the device expects: {most}");
    });
}

fn costs() {
    let (architecture, state) =
        architecture("resnet18t1".parse().expect("a variant"), LesionClasses::Merge);
    let (_, gpu) = on_gpu(&architecture, &state);
    let dispatches = gpu.dispatches([512, 512], &boxes(1000));
    let operations: u64 = dispatches.iter().map(|dispatch| dispatch.work.operations).sum();
    let bytes: u64 = dispatches.iter().map(|dispatch| dispatch.work.bytes).sum();
    for dispatch in &dispatches {
        let groups: u32 = dispatch.grid.iter().product();
        let share = dispatch.work.operations as f64 / operations as f64;
        println!(
            "{:16} {:>14} groups {groups:>6} {:>5.1} % {:>6.1} MB",
            dispatch.shader().name(),
            format!("{:?}", dispatch.grid),
            100.0 * share,
            dispatch.work.bytes as f64 / 1e6,
        );
        assert!(
            groups >= 64 || share < 0.05,
            "{} has {groups} workgroups",
            dispatch.shader().name()
        );
    }
    println!(
        "{} dispatches, {:.1} GFLOP, {:.0} MB",
        dispatches.len(),
        operations as f64 / 1e9,
        bytes as f64 / 1e6
    );
    assert!(dispatches.len() <= 60, "{} dispatches", dispatches.len());
    // With 32 masks, and Winograd's patches and sums.
    assert!(bytes <= 525_000_000, "{bytes} bytes");
}

fn memory() {
    let (architecture, state) =
        architecture("resnet18t2".parse().expect("a variant"), LesionClasses::Merge);
    let allocated = |counts: &[usize]| {
        let (gpu, backend) = on_gpu(&architecture, &state);
        counts.iter().for_each(|count| drop(backend.dispatches([64, 64], &boxes(*count))));
        gpu.allocated()
    };
    let rising: Vec<usize> = (1..40).map(|step| 25 * step).collect();
    let (few, many) = (allocated(&[975]), allocated(&rising));
    println!("{few} numbers for one slice, {many} for a series");
    assert!(many < 2 * few, "{many} numbers, {few} for the largest slice");
}

fn another_slice() {
    let (architecture, state) =
        architecture("resnet18t2".parse().expect("a variant"), LesionClasses::Merge);
    let (_, gpu) = on_gpu(&architecture, &state);
    pollster::block_on(async {
        let input = input([64, 96]);
        let (mut first, _) = gpu.pyramid(&input, &mut NoProgress).await.expect("maps");
        let (_second, _) = gpu.pyramid(&input, &mut NoProgress).await.expect("maps");
        let refused = gpu.boxes(&mut first, &boxes(1), (58, 85), None).await;
        let reason = refused.expect_err("another slice is there").to_string();
        assert!(reason.contains("another slice"), "{reason}");
    });
}

fn a_refusal() {
    let gpu = gpu().expect("a device");
    let constants = vec![("NO_SUCH_CONSTANT", 1.0)];
    let checked = gpu.checked(|| gpu.kernel(Shader::Convolution, constants));
    let reason = pollster::block_on(checked).expect_err("it is refused").to_string();
    assert!(reason.contains("NO_SUCH_CONSTANT"), "{reason}");
}
