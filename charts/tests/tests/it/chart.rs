//! The chart of this checkout.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use chart_tests::{Failure, Helm, Release, Rendered};
use serde_json::Value;

/// The page's complete values.
pub(crate) const PAGE: &str = include_str!("../../../../examples/values.yaml");

/// The page's complete block, at top level.
pub(crate) fn top_level_block() -> String {
    let (_, block) = PAGE.split_once("  ociImageRegistry:\n").unwrap();
    let fields = block.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap()));
    format!("ociImageRegistry:\n{}", fields.collect::<String>())
}

/// Every value that adds an object or an argument.
pub(crate) const EVERYTHING: &str = r#"
config:
  ociImageRegistry:
    endpoint: https://harbor.example.org:8443/
    name: Harbor
    username: robot$pull
    password: "s3cr3t: 'with quotes'"
    baseContentPath: /airgap-images/
    insecureSkipVerify: "true"
    mirrorRegistries: docker.io::harbor.example.org:8443/airgap-images/docker.io
optIn: true
adopt: true
coexist: true
admission: {hostNetwork: true, port: 10260}
image: {pullSecrets: [other]}
nodeSelector: {pool: tools}
tolerations: [{operator: Exists}]
podLabels: {team: platform}
podAnnotations: {note: hello}
networkPolicy: {metricsFrom: [{namespaceSelector: {matchLabels: {team: monitoring}}}]}
serviceMonitor: {enabled: true, interval: 30s, labels: {release: prometheus}}
dashboard: {enabled: true}
"#;

/// Where the chart is.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../image-swap").canonicalize().unwrap()
}

/// A file of the chart.
pub(crate) fn file(path: &str) -> String {
    fs::read_to_string(directory().join(path)).unwrap()
}

static HELM: LazyLock<Result<Helm, String>> = LazyLock::new(|| {
    let found = Helm::find();
    if let Err(missing) = &found {
        // Past the test harness, which shows what passing tests print to nobody.
        let text = format!("the tests of the chart are skipped: {missing}\n");
        io::stderr().write_all(text.as_bytes()).unwrap();
    }
    found
});

/// The chart, and Helm to ask about it.
pub(crate) struct Chart {
    pub(crate) helm: &'static Helm,
}

/// The chart; or nothing where Helm cannot be had, which fails in CI.
pub(crate) fn chart() -> Option<Chart> {
    match &*HELM {
        Ok(helm) => Some(Chart { helm }),
        Err(missing) if env::var_os("CI").is_some_and(|ci| ci == "true") => panic!("{missing}"),
        Err(_) => None,
    }
}

impl Chart {
    /// What the page's command makes of `values`.
    pub(crate) fn with(&self, values: &str) -> Rendered {
        self.named("image-swap", &[values])
    }

    /// What a release `name` makes of values files.
    pub(crate) fn named(&self, name: &str, values: &[&str]) -> Rendered {
        self.render(name, values).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Why `values` are refused.
    pub(crate) fn refuses(&self, values: &str) -> String {
        match self.render("image-swap", &[values]) {
            Err(Failure::Refused(message)) => message,
            Err(silent) => panic!("{silent}"),
            Ok(_) => panic!("expected a refusal, found manifests for:\n{values}"),
        }
    }

    fn render(&self, name: &str, values: &[&str]) -> Result<Rendered, Failure> {
        self.helm.render(Release { chart: &directory(), name, namespace: "somewhere", values })
    }
}

/// The objects of a kind.
pub(crate) fn of_kind<'r>(rendered: &'r Rendered, kind: &str) -> Vec<&'r Value> {
    rendered.objects.values().filter(|object| object["kind"] == kind).collect()
}

/// Everything that makes pods.
pub(crate) fn workloads(rendered: &Rendered) -> Vec<&Value> {
    rendered.objects.values().filter(|object| object["spec"]["template"].is_object()).collect()
}

/// The Deployment of a component.
pub(crate) fn deployment<'r>(rendered: &'r Rendered, component: &str) -> &'r Value {
    &rendered.objects[&format!("{component}/deployment.yaml")]
}

/// The arguments of its one container.
pub(crate) fn arguments(workload: &Value) -> Vec<&str> {
    let containers = workload["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1, "one container a pod");
    strings(&containers[0]["args"])
}

/// The value of the argument `--name=value`.
pub(crate) fn argument<'w>(workload: &'w Value, name: &str) -> Option<&'w str> {
    let find =
        |argument: &'w str| argument.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('=');
    arguments(workload).into_iter().find_map(find)
}

/// A list of strings; absent: none.
pub(crate) fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}
