//! Benchmarks of a plan for one host, and of rendering for many registries.
#![expect(clippy::print_stdout, reason = "what a benchmark is for")]

mod command;

use std::{error::Error, hint::black_box, time::Instant};

use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    mirror::Fallback,
    render::{FORMATS, Options},
};
use image_swap_node::{
    ConfigForm, ContainerRuntime, DesiredConfig, HostEntry, HostFile, HostFiles, HostPath,
    ObservedHost, PlannedStep, RestartPolicy, Version, plan,
};
use image_swap_testkit::registry_info;

/// Odd, so that there is a median.
const ROUNDS: usize = 21;
const REGISTRIES: usize = 1000;
const CONFIG: &str = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n\
                      config_path = \"/etc/containerd/certs.d\"\n";

fn main() -> Result<(), Box<dyn Error>> {
    let page = declared(7)?;
    let desired = desired(&page);
    let mut disk = HostFiles::default();
    for path in ["/", "/etc", "/etc/containerd"] {
        disk.apply(&PlannedStep::MakeDirectory { path: path.into(), mode: 0o755 });
    }
    let config = HostFile::public(CONFIG);
    disk.apply(&PlannedStep::Write { path: "/etc/containerd/config.toml".into(), file: config });
    for step in plan(&desired, &look(&desired, &disk))?.steps {
        disk.apply(&step);
    }
    // Observing is part of it: the configuration is read for what it imports.
    let unchanged =
        median(|| plan(&desired, &look(&desired, &disk)).is_ok_and(|plan| plan.steps.is_empty()))?;
    println!("# a plan of an unchanged host, its files in memory: {unchanged:.2} ms");
    match command::plan_unchanged(CONFIG)? {
        Some(time) => println!("node/plan-unchanged-cpu-ms {time}"),
        None => println!("# IMAGE_SWAP names no binary: node plan is not measured"),
    }

    let many = declared(REGISTRIES)?;
    let options = Options { show_credentials: true, ..Options::default() };
    let mut slowest = 0.0_f64;
    for format in &FORMATS {
        let time = median(|| !format.render(black_box(&many), options).files.is_empty())?;
        println!("# {} of {REGISTRIES} registries: {time:.2} ms", format.name);
        slowest = slowest.max(time);
    }
    println!("render/registries-{REGISTRIES}-ms {slowest}");
    Ok(())
}

/// Returns the median milliseconds of one run. Fails if a run returns false.
fn median(run: impl Fn() -> bool) -> Result<f64, &'static str> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        if !black_box(run()) {
            return Err("a run did not do what it should");
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}

/// Returns `disk` as observed: with every file that the plan requires.
fn look(desired: &DesiredConfig<'_>, disk: &HostFiles) -> ObservedHost {
    let mut observed =
        ObservedHost::new(ContainerRuntime::Containerd, Some(Version::new(1, 7, 24)));
    let read = |path: &HostPath| disk.get(path).cloned().unwrap_or(HostEntry::Absent);
    observed.look(Some(desired), read);
    observed
}

const fn desired(declaration: &Declaration) -> DesiredConfig<'_> {
    DesiredConfig {
        declaration,
        form: ConfigForm::CertsD,
        fallback: Fallback::Upstream,
        restart: RestartPolicy::Allow,
        header_over_http: false,
    }
}

/// Returns a declaration with credentials and `registries` rules.
fn declared(registries: usize) -> Result<Declaration, String> {
    let rules: Vec<String> = (0..registries)
        .map(|n| format!("r{n}.example.com::harbor.example.org/airgap-images/r{n}"))
        .collect();
    let text = registry_info(&[
        ("DOMAIN", "harbor.example.org"),
        ("BASE_PATH", "airgap-images"),
        ("USERNAME", "robot"),
        ("PASSWORD", "secret"),
        ("INSECURE", "false"),
        ("MIRROR_REGISTRIES", &rules.join(",")),
    ]);
    Declaration::read(DeclarationSource::RegistryInfo, &text, 0)
        .map_err(|refused| format!("{:?}", refused.findings))
}
