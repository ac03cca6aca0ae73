//! What the paper reports, to stand beside what is measured here.

/// Table 1: millions of parameters of detector and classifier.
pub const TABLE_1: [(&str, f64, f64); 7] = [
    ("resnet18", 14.52, 14.75),
    ("resnet18t1", 6.12, 6.35),
    ("resnet18t2", 4.02, 4.25),
    ("resnet34", 24.63, 24.86),
    ("resnet34t1", 11.45, 11.74),
    ("resnet34t2", 4.68, 4.92),
    ("resnet50", 31.78, 34.14),
];

/// Table 2: AP at 0.5, at 0.75, mean, minutes.
pub const TABLE_2: [(&str, [f64; 4]); 8] = [
    ("resnet18", [0.3699, 0.2898, 0.3137, 128.75]),
    ("resnet18t1", [0.4995, 0.3778, 0.3932, 108.8]),
    ("resnet18t2", [0.4993, 0.3852, 0.3759, 126.9]),
    ("resnet34", [0.5357, 0.3333, 0.3465, 119.23]),
    ("resnet34t1", [0.5988, 0.4506, 0.4476, 134.01]),
    ("resnet34t2", [0.4491, 0.3118, 0.3404, 129.2]),
    ("resnet50 (merged)", [0.6192, 0.4522, 0.4468, 137.38]),
    ("resnet50 (separate)", [0.5020, 0.4198, 0.3871, 145.54]),
];

/// Table 3: sensitivities of COVID-19, common pneumonia, control; accuracy, F1 (percent), minutes.
pub const TABLE_3: [(&str, [f64; 6]); 6] = [
    ("resnet18", [87.51, 77.31, 74.57, 78.18, 79.11, 151.2]),
    ("resnet18t1", [91.35, 91.63, 96.98, 93.95, 94.01, 106.6]),
    ("resnet18t2", [84.05, 85.81, 93.01, 88.66, 88.69, 113.66]),
    ("resnet34", [86.98, 94.27, 71.12, 82.45, 83.02, 163.81]),
    ("resnet34t1", [91.76, 91.70, 94.36, 92.89, 92.92, 144.73]),
    ("resnet34t2", [89.25, 93.32, 92.11, 91.99, 92.00, 112.6]),
];
