//! The post-renderer: the plugin of Helm 4 and the program of Helm 3.

use std::{env, fs, path::Path};

use image_swap_testbed::{Helm, HelmError, HelmMajor, Parts};
use tempfile::TempDir;

use crate::run::{example, root};

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - image: {{ .Values.image }} # of the values
        name: web
";

/// A hook, with an image that only a flow mapping names.
const JOB: &str = "\
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: pre-upgrade}
spec:
  template:
    spec: {containers: [{name: job, image: \"quay.io/team/job:7\"}]}
";

const WEB: [&str; 2] =
    ["nginx:1.27", "harbor.example.org/airgap-images/docker.io/library/nginx:1.27"];
const HOOK: [&str; 2] =
    ["quay.io/team/job:7", "harbor.example.org/airgap-images/quay.io/team/job:7"];

/// A chart with two images and a Helm that finds `image-swap` on PATH.
struct Demo {
    helm: Helm,
    chart: TempDir,
}

impl Demo {
    fn new(major: HelmMajor) -> Self {
        let helm = Helm::new(Parts::present().unwrap().helm().unwrap(), major).unwrap();
        let chart = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(chart.path().join(name), text).unwrap();
        fs::create_dir(chart.path().join("templates")).unwrap();
        write("Chart.yaml", "apiVersion: v2\nname: demo\nversion: 0.1.0\n");
        write("values.yaml", "image: nginx:1.27\n");
        write("templates/web.yaml", DEPLOYMENT);
        write("templates/job.yaml", JOB);
        Self { helm, chart }
    }

    /// Returns a Helm 4 with the plugin of this checkout.
    fn with_plugin() -> Self {
        let demo = Self::new(HelmMajor::Four);
        let plugin = root().join("plugins/helm");
        let mut install = demo.helm.command(&["plugin", "install"]);
        demo.helm.run(install.arg(plugin)).unwrap();
        demo
    }

    /// Runs `helm template`, with each of `words` for the post-renderer if there are any.
    fn template(&self, words: &[&str]) -> Result<String, HelmError> {
        let mut command = self.helm.command(&["template", "demo"]);
        command.arg(self.chart.path());
        if !words.is_empty() {
            command.args(["--post-renderer", "image-swap"]);
        }
        for word in words {
            command.args(["--post-renderer-args", word]);
        }
        let program = Path::new(env!("CARGO_BIN_EXE_image-swap")).parent().unwrap();
        let path = format!("{}:{}", program.display(), env::var("PATH").unwrap());
        self.helm.run(command.env("PATH", path))
    }

    /// Asserts that the post-renderer makes the `swapped` replacements and no others.
    fn assert_swapped(&self, words: &[&str], swapped: &[[&str; 2]]) {
        let lines = |text: &str| -> Vec<String> {
            // Helm 4 adds an empty line at the end.
            text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
        };
        let mut expected = self.template(&[]).unwrap();
        for [from, to] in swapped {
            assert!(expected.contains(from), "{expected}");
            expected = expected.replace(from, to);
        }
        assert_eq!(lines(&self.template(words).unwrap()), lines(&expected));
    }
}

#[test]
fn plugin_has_the_version_of_the_program() {
    let plugin = fs::read_to_string(root().join("plugins/helm/plugin.yaml")).unwrap();
    let version = concat!("\nversion: ", env!("CARGO_PKG_VERSION"), "\n");
    assert!(plugin.contains(version), "{plugin}");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn helm_4_swaps_templates_and_hooks() {
    let words = ["--values", &example("values.yaml")];
    Demo::with_plugin().assert_swapped(&words, &[WEB, HOOK]);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn helm_3_swaps_templates_without_hooks() {
    let words = ["rewrite", "--values", &example("values.yaml")];
    Demo::new(HelmMajor::Three).assert_swapped(&words, &[WEB]);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn failing_post_renderer_fails_helm() {
    for (demo, words, reason) in [
        (Demo::with_plugin(), &["--values", "absent.yaml"][..], "\"image-swap\" exited with error"),
        (
            Demo::new(HelmMajor::Three),
            &["rewrite", "--values", "absent.yaml"],
            "error: cannot read absent.yaml: ",
        ),
    ] {
        match demo.template(words) {
            Err(HelmError::Refused(message)) => {
                assert!(message.contains(reason), "{message}");
                assert!(!message.contains("kind:"), "{message}");
            }
            other => panic!("{}: {other:?}", demo.helm.major()),
        }
    }
}
