//! The post-renderer: the plugin file of Helm 4 and the arguments of Helm 3.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use image_swap_core::yaml::{NodeId, Tree};

use crate::run::{image_swap_in, root};

/// What Helm 4 hands to a post-renderer: all manifests, each with the file it came from.
const RENDERED: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    postrenderer.helm.sh/postrender-filename: 'demo/templates/web.yaml'
spec:
  template:
    spec:
      containers:
      - image: nginx:1.27 # by {{ .Values.image }}
        name: web
---
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {\"helm.sh/hook\": pre-upgrade, postrenderer.helm.sh/postrender-filename: 'demo/templates/job.yaml'}
spec:
  template:
    spec: {containers: [{name: job, image: \"quay.io/team/job:7\"}]}
";

fn expected() -> String {
    RENDERED
        .replace("nginx:1.27", "harbor.example.org/airgap-images/docker.io/library/nginx:1.27")
        .replace("quay.io/team", "harbor.example.org/airgap-images/quay.io/team")
}

fn plugin_directory() -> PathBuf {
    root().join("plugins/helm")
}

fn text<'t>(tree: &'t Tree<'_>, id: NodeId, key: &str) -> &'t str {
    tree.get(id, key).and_then(|id| tree.scalar(id)).unwrap_or_default()
}

/// The command of a plugin file, made as Helm 4 makes it (`PrepareCommands` in
/// `internal/plugin/subprocess_commands.go`): split at spaces, `${…}` expanded,
/// the arguments of the file and then those of the call.
fn prepared(plugin: &str, extra: &[&str]) -> Vec<String> {
    let tree = Tree::parse(plugin).unwrap();
    let runtime = tree.get(tree.documents[0], "runtimeConfig").unwrap();
    let commands = tree.items(tree.get(runtime, "platformCommand").unwrap());
    assert_eq!(commands.len(), 1, "one command for every platform");
    let command = commands[0];
    assert!(tree.get(command, "os").is_none() && tree.get(command, "arch").is_none());
    let directory = plugin_directory();
    let expand = |part: &str| part.replace("${HELM_PLUGIN_DIR}", directory.to_str().unwrap());
    let args = tree.get(command, "args").map_or(&[][..], |args| tree.items(args));
    text(&tree, command, "command")
        .split(' ')
        .chain(args.iter().filter_map(|arg| tree.scalar(*arg)))
        .map(expand)
        .chain(extra.iter().map(|arg| (*arg).to_owned()))
        .collect()
}

#[test]
fn the_plugin_file_is_one_that_helm_4_takes() {
    let plugin = fs::read_to_string(plugin_directory().join("plugin.yaml")).unwrap();
    let tree = Tree::parse(&plugin).unwrap();
    let get = |key| text(&tree, tree.documents[0], key);
    assert_eq!(get("apiVersion"), "v1");
    assert_eq!(get("type"), "postrenderer/v1");
    assert_eq!(get("runtime"), "subprocess");
    assert_eq!(get("name"), "image-swap");
    assert_eq!(get("version"), env!("CARGO_PKG_VERSION"), "plugin and program are released as one");
}

#[test]
fn what_the_plugin_file_names_rewrites_what_helm_rendered() {
    let plugin = fs::read_to_string(plugin_directory().join("plugin.yaml")).unwrap();
    let command = prepared(&plugin, &["--values", "examples/values.yaml"]);
    let (program, args) = command.split_first().unwrap();
    assert_eq!(program, "image-swap", "found on PATH");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = image_swap_in(&root(), &args, RENDERED);
    assert_eq!((ran.code, ran.stdout), (0, expected()), "{}", ran.stderr);
}

#[test]
fn the_arguments_of_helm_3_rewrite_what_helm_rendered() {
    // helm … --post-renderer image-swap, and each of these after a --post-renderer-args.
    let ran = image_swap_in(&root(), &["rewrite", "--values", "examples/values.yaml"], RENDERED);
    assert_eq!((ran.code, ran.stdout), (0, expected()), "{}", ran.stderr);
}

#[test]
fn a_post_renderer_that_fails_prints_nothing() {
    // Helm 3 takes what was printed only if the call succeeded, and so does Helm 4.
    let ran = image_swap_in(&root(), &["rewrite", "-", "--values", "absent.yaml"], RENDERED);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
}

/// Installs a chart by Helm's own SDK, without a cluster, and prints the manifest.
const INSTALL: &str = r#"
import json, sys
from helm_python import Chart, Config, _native
config = Config(namespace="default")
chart = Chart.load(sys.argv[1])
handle, reference = config._chart_args(chart)
options = {
    "namespace": "default", "dry_run": "client",
    "post_renderer": "image-swap", "post_renderer_args": sys.argv[2:],
}
release = _native.call_string("helm_install", config._raw(), config._context_arg(None), handle, reference, "web", None, json.dumps(options))
print(json.loads(release)["manifest"])
"#;

#[test]
fn a_real_helm_4_runs_the_plugin() {
    let python = match chart_tests::python() {
        Ok(python) => python,
        Err(missing) if env::var_os("CI").is_some() => panic!("{missing}"),
        Err(missing) => return eprintln!("skipped: {missing}"),
    };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("chart/templates")).unwrap();
    fs::create_dir_all(path("plugins")).unwrap();
    fs::write(path("chart/Chart.yaml"), "apiVersion: v2\nname: demo\nversion: 0.1.0\n").unwrap();
    let template = RENDERED.split("---\n").next().unwrap().replace(" # by {{ .Values.image }}", "");
    fs::write(path("chart/templates/web.yaml"), template).unwrap();
    // What `helm plugin install` does with a local directory.
    #[cfg(unix)]
    std::os::unix::fs::symlink(plugin_directory(), path("plugins/image-swap")).unwrap();

    let binary = Path::new(env!("CARGO_BIN_EXE_image-swap")).parent().unwrap();
    let path_variable = format!("{}:{}", binary.display(), env::var("PATH").unwrap());
    let output = Command::new(python)
        .args(["-c", INSTALL, path("chart").to_str().unwrap()])
        .args(["--values", root().join("examples/values.yaml").to_str().unwrap()])
        .env("PATH", path_variable)
        .env("HELM_PLUGINS", path("plugins"))
        .env("HOME", directory.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let image = "image: harbor.example.org/airgap-images/docker.io/library/nginx:1.27";
    assert!(stdout.contains(image), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
}
