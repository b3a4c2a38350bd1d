//! The chart of this checkout.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use image_swap_testbed::{Helm, HelmError, HelmMajor, HelmRelease, Parts};
use serde_json::Value;

use crate::yaml;

/// The complete values of Palette's documentation.
pub(crate) const PAGE: &str = include_str!("../../../testkit/palette/values.yaml");

/// Returns the same block at top level.
pub(crate) fn top_level_block() -> String {
    let (_, block) = PAGE.split_once("  ociImageRegistry:\n").unwrap();
    let fields = block.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap()));
    format!("ociImageRegistry:\n{}", fields.collect::<String>())
}

/// Every value that adds an object or an argument, except those of the fleet.
pub(crate) const EVERYTHING: &str = r#"
config:
  ociImageRegistry:
    endpoint: https://harbor.example.org:8443/
    name: Harbor
    username: robot$pull
    password: "s3cr3t: 'with quotes'"
    baseContentPath: /airgap-images/
    insecureSkipVerify: "true"
    credentialHosts: harbor.example.org:8444,*.registry.example.org
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
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboard: {enabled: true}
agent:
  startupTaint: true
  trialImage: docker.io/library/busybox:1.36
  apiServer: {host: 10.0.0.1, port: 6443}
  openshift: {scc: true}
  restart: rolling
  restartCommand: sh -c 'rc-service "containerd" restart'
  priorityQuota: true
"#;

/// Every value of the fleet, with one namespace.
pub(crate) const FLEET: &str = r"
fleet:
  enabled: true
  namespaces: [clusters]
  selector: env in (prod,test),!old
  credentialProviders: {ocm: secretreader, gke: kubeconfig-secretreader}
  canary: canary=true
  waveSize: 5
  metrics: {perCluster: true}
";

/// Returns the directory of the chart.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap").canonicalize().unwrap()
}

/// Reads a file of the chart.
pub(crate) fn file(path: &str) -> String {
    fs::read_to_string(directory().join(path)).unwrap()
}

fn helm(major: HelmMajor) -> Helm {
    Helm::new(Parts::present().unwrap().helm().unwrap(), major).unwrap()
}

static HELM_3: LazyLock<Helm> = LazyLock::new(|| helm(HelmMajor::Three));
static HELM_4: LazyLock<Helm> = LazyLock::new(|| helm(HelmMajor::Four));

/// The chart and a Helm that renders it.
#[derive(Clone, Copy)]
pub(crate) struct Chart {
    pub(crate) helm: &'static Helm,
}

/// Objects that Helm rendered.
#[derive(Debug, PartialEq)]
pub(crate) struct Rendered {
    /// YAML of each object by its path below `templates`.
    pub(crate) texts: BTreeMap<String, String>,
    /// Each object by the same path.
    pub(crate) objects: BTreeMap<String, Value>,
}

/// Returns the chart with Helm 4.
pub(crate) fn chart() -> Chart {
    Chart { helm: &HELM_4 }
}

/// Returns the chart with Helm 4 and with Helm 3.
pub(crate) fn charts() -> [Chart; 2] {
    [chart(), Chart { helm: &HELM_3 }]
}

impl Chart {
    /// Renders the release `image-swap` with one values file.
    pub(crate) fn with(self, values: &str) -> Rendered {
        self.named("image-swap", &[values])
    }

    /// Renders the release `name` with values files.
    pub(crate) fn named(self, name: &str, values: &[&str]) -> Rendered {
        self.render(&directory(), name, values).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the message with which this Helm and Helm 3 refuse `values`.
    pub(crate) fn refuses(self, values: &str) -> String {
        let [first, second] = [self, Self { helm: &HELM_3 }].map(|chart| {
            match chart.render(&directory(), "image-swap", &[values]) {
                Err(HelmError::Refused(message)) => message,
                Err(error) => panic!("{error}"),
                Ok(_) => panic!("expected a refusal, found manifests for:\n{values}"),
            }
        });
        assert_eq!(first, second, "{values}");
        first
    }

    /// Returns the notes that Helm 4 prints after an installation.
    pub(crate) fn notes(self, values: &[&str]) -> String {
        let chart = directory();
        self.helm.notes(&release(&chart, "image-swap", values)).unwrap()
    }

    /// Returns the chart's own values.
    pub(crate) fn defaults(self) -> Value {
        yaml::one(&self.helm.show_values(&directory()).unwrap())
    }

    /// Renders `chart`, a directory or an archive.
    pub(crate) fn render(
        self,
        chart: &Path,
        name: &str,
        values: &[&str],
    ) -> Result<Rendered, HelmError> {
        let manifests = self.helm.template(&release(chart, name, values))?;
        let mut rendered = Rendered { texts: BTreeMap::new(), objects: BTreeMap::new() };
        for manifest in manifests {
            let path = manifest.source.strip_prefix("image-swap/templates/").unwrap();
            rendered.objects.insert(path.to_owned(), yaml::one(&manifest.text));
            let second = rendered.texts.insert(path.to_owned(), manifest.text);
            assert!(second.is_none(), "expected one object in {path}, found two");
        }
        Ok(rendered)
    }
}

fn release<'a>(chart: &'a Path, name: &'a str, values: &'a [&str]) -> HelmRelease<'a> {
    HelmRelease { chart, name, namespace: "somewhere", values }
}

/// Returns the objects of a kind.
pub(crate) fn of_kind<'r>(rendered: &'r Rendered, kind: &str) -> Vec<&'r Value> {
    rendered.objects.values().filter(|object| object["kind"] == kind).collect()
}

/// Returns every object with a pod template.
pub(crate) fn workloads(rendered: &Rendered) -> Vec<&Value> {
    rendered.objects.values().filter(|object| object["spec"]["template"].is_object()).collect()
}

/// Returns the Deployment of a component.
pub(crate) fn deployment<'r>(rendered: &'r Rendered, component: &str) -> &'r Value {
    &rendered.objects[&format!("{component}/deployment.yaml")]
}

/// Returns the `DaemonSet`s, each with the runtime of its nodes.
pub(crate) fn agents(rendered: &Rendered) -> [(&'static str, &Value); 3] {
    let of = |runtime| (runtime, &rendered.objects[&format!("agent/{runtime}.yaml")]);
    ["containerd", "crio", "k3s"].map(of)
}

/// Returns the arguments of the only container.
pub(crate) fn arguments(workload: &Value) -> Vec<&str> {
    let containers = workload["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1, "one container a pod");
    strings(&containers[0]["args"])
}

/// Returns the value of the argument `--name=value`; `None` without one.
pub(crate) fn argument<'w>(workload: &'w Value, name: &str) -> Option<&'w str> {
    let find =
        |argument: &'w str| argument.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('=');
    arguments(workload).into_iter().find_map(find)
}

/// Returns a list of strings; empty if the list is absent.
pub(crate) fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}
