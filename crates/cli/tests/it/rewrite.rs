//! `image-swap rewrite`

use std::{fs, path::Path};

use crate::run::{Ran, image_swap_in, root};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop}
spec:
  containers:
  - {name: web, image: nginx}  # the web server
";
const REWRITTEN: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop}
spec:
  containers:
  - {name: web, image: h.example/d/library/nginx}  # the web server
";
const MIRRORS: &str = "docker.io::h.example/d";
const SHARED: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {image: &i nginx}}
spec: {containers: [{name: web, image: *i}]}
";

fn rewrite_in(directory: &Path, args: &[&str], stdin: &str) -> Ran {
    let args = [&["rewrite", "--mirrors", MIRRORS], args].concat();
    image_swap_in(directory, &args, stdin)
}

fn rewrite(args: &[&str], stdin: &str) -> Ran {
    rewrite_in(&root(), args, stdin)
}

/// Creates a directory with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn standard_input_is_rewritten_to_standard_output() {
    for args in [&[][..], &["-"]] {
        let ran = rewrite(args, POD);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, REWRITTEN));
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn declaration_on_standard_input_is_used() {
    let directory = directory(&[("pod.yaml", POD)]);
    let args = ["rewrite", "--map", "-", "pod.yaml"];
    let ran = image_swap_in(directory.path(), &args, MIRRORS);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, REWRITTEN), "{}", ran.stderr);
}

#[test]
fn bytes_that_look_like_colours_are_kept() {
    // Raw in a JSON string: the C1 control character that begins a terminal's commands.
    let text = "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"x\":\"\u{9b}31m\u{7f}\"}";
    let ran = rewrite(&[], text);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, text));
}

#[test]
fn several_files_become_one_stream_in_their_order() {
    let directory =
        directory(&[("a.yaml", POD.trim_end()), ("b.yaml", POD), ("c.yaml", "---\nx: y\n")]);
    let ran = rewrite_in(directory.path(), &["b.yaml", "a.yaml", "-", "c.yaml"], "kind: z");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let a = REWRITTEN.trim_end();
    assert_eq!(ran.stdout, format!("{REWRITTEN}---\n{a}\n---\nkind: z\n---\nx: y\n"));
}

#[test]
fn rewrite_in_place_keeps_unchanged_files() {
    let directory = directory(&[("a.yaml", POD), ("b.yaml", REWRITTEN)]);
    let unchanged = directory.path().join("b.yaml");
    let before = fs::metadata(&unchanged).unwrap().modified().unwrap();
    let ran = rewrite_in(directory.path(), &["--in-place", "a.yaml", "b.yaml"], "");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "a.yaml:6:24: Pod shop/p web: nginx -> h.example/d/library/nginx\n");
    assert_eq!(fs::read_to_string(directory.path().join("a.yaml")).unwrap(), REWRITTEN);
    assert_eq!(fs::metadata(&unchanged).unwrap().modified().unwrap(), before);
    assert_eq!(names(directory.path()), ["a.yaml", "b.yaml"], "no other file stays behind");
}

#[cfg(unix)]
#[test]
fn rewrite_in_place_keeps_mode_and_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory = directory(&[("a.yaml", POD)]);
    let (file, link) = (directory.path().join("a.yaml"), directory.path().join("link.yaml"));
    symlink("a.yaml", &link).unwrap();
    for mode in [0o640, 0o755] {
        fs::write(&file, POD).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let ran = rewrite_in(directory.path(), &["--in-place", "link.yaml"], "");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), REWRITTEN);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, mode);
    }
}

#[test]
fn check_lists_changes_and_writes_nothing() {
    let directory = directory(&[("a.yaml", POD), ("b.yaml", REWRITTEN)]);
    let ran = rewrite_in(directory.path(), &["--check", "a.yaml", "b.yaml"], "");
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stdout, "a.yaml:6:24: Pod shop/p web: nginx -> h.example/d/library/nginx\n");
    assert_eq!(fs::read_to_string(directory.path().join("a.yaml")).unwrap(), POD);

    let ran = rewrite_in(directory.path(), &["--check", "--output", "json", "a.yaml"], "");
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.stdout,
        "{\"file\":\"a.yaml\",\"line\":6,\"column\":24,\"kind\":\"Pod\",\"namespace\":\"shop\",\
         \"name\":\"p\",\"container\":\"web\",\"from\":\"nginx\",\
         \"to\":\"h.example/d/library/nginx\",\"reason\":\"rule\"}\n"
    );

    let ran = rewrite_in(directory.path(), &["--check", "b.yaml"], "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
}

#[test]
fn unchanged_image_is_a_warning() {
    for args in [&[][..], &["--check"]] {
        let ran = rewrite(args, SHARED);
        assert_eq!(ran.code, i32::from(!args.is_empty()));
        assert_eq!(ran.stdout, if args.is_empty() { SHARED } else { "" });
        assert_eq!(
            ran.stderr,
            "warning: -:3:45: Pod p web: \"nginx\" stays unchanged: its anchor is also used for \
             another purpose (line 3, column 45)\n"
        );
    }
}

#[test]
fn broken_manifest_stops_everything() {
    let directory = directory(&[("good.yaml", POD), ("bad.yaml", "a: b\nc: d: e\n")]);
    for args in [
        &["good.yaml", "bad.yaml"][..],
        &["--in-place", "good.yaml", "bad.yaml"],
        &["--check", "good.yaml", "bad.yaml"],
    ] {
        let ran = rewrite_in(directory.path(), args, "");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(
            ran.stderr.starts_with("error: bad.yaml:2:5: not valid YAML or JSON: "),
            "{}",
            ran.stderr
        );
        assert_eq!(fs::read_to_string(directory.path().join("good.yaml")).unwrap(), POD);
    }
}

#[test]
fn unreadable_file_stops_everything() {
    let directory = directory(&[("good.yaml", POD)]);
    fs::write(directory.path().join("latin1.yaml"), b"a: b\n# \xfc\n").unwrap();
    let utf_16: Vec<u8> = POD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(directory.path().join("utf16.yaml"), [&b"\xff\xfe"[..], &utf_16].concat()).unwrap();
    for (name, message) in [
        ("absent.yaml", "cannot read absent.yaml: no such file or directory\n"),
        ("latin1.yaml", "latin1.yaml:2:3: the byte is not valid UTF-8"),
        ("utf16.yaml", "utf16.yaml: the text is UTF-16; save it as UTF-8"),
    ] {
        let ran = rewrite_in(directory.path(), &["good.yaml", name], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
}

#[test]
fn contradictory_flags_are_rejected() {
    for (args, message) in [
        (&["rewrite", "--mirrors", MIRRORS, "--in-place", "-"][..], "--in-place needs files"),
        (&["rewrite", "--mirrors", MIRRORS, "--in-place"], "--in-place needs files"),
        (&["rewrite", "--mirrors", MIRRORS, "-", "-"], "read only once"),
        (&["rewrite", "--map", "-"], "read only once"),
        (&["rewrite", "--mirrors", MIRRORS, "--in-place", "--check", "a"], "cannot be used with"),
        (&["rewrite", "--mirrors", MIRRORS, "--output", "json"], "--check"),
        (&["rewrite", "--mirrors", MIRRORS, "--image-field", "Kafka"], "KIND:path/to/image"),
        (
            &["rewrite"],
            "use -f FILE, --registry-info FILE, --values FILE, --map FILE or --mirrors LIST",
        ),
    ] {
        let ran = image_swap_in(&root(), args, POD);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(ran.stderr.contains(message), "{args:?}: {}", ran.stderr);
    }
}

// guarantee: 3b
#[test]
fn unusable_declaration_changes_nothing() {
    let ran = image_swap_in(&root(), &["rewrite", "--mirrors", "docker.io::not_a_host/d"], POD);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
}

#[test]
fn label_is_a_setting() {
    let text = POD.replace("{name: p,", "{name: p, labels: {mine: disabled},");
    let ran = rewrite(&["--disable-label", "mine"], &text);
    assert_eq!((ran.code, ran.stdout), (0, text));
}

#[test]
fn example_is_rewritten_as_its_comments_state() {
    let args = ["rewrite", "--map", "examples/imageswap-map.conf", "examples/pods.yaml"];
    let ran = image_swap_in(&root(), &args, "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let source = fs::read_to_string(root().join("examples/pods.yaml")).unwrap();
    let (mut changed, mut stayed) = (0, 0);
    for (before, after) in source.lines().zip(ran.stdout.lines()) {
        let value = |line: &str| {
            let value = line.split("  # ").next().unwrap().trim_end().rsplit(' ').next().unwrap();
            value.trim_matches(['\'', '"']).to_owned()
        };
        if let Some((_, expected)) = before.split_once("# -> ") {
            assert_eq!(value(after), expected, "{before}");
            changed += 1;
        } else {
            assert_eq!(before, after);
            stayed += usize::from(before.ends_with("# stays"));
        }
    }
    assert_eq!(source.lines().count(), ran.stdout.lines().count());
    assert!(changed > 10 && stayed > 3, "{changed} {stayed}");
}

/// Small inputs, reduced from public reports.
const CASES: &str = "tests/it/cases";

#[test]
fn custom_resources_are_rewritten_at_configured_fields() {
    let args = ["rewrite", "--map", "mirrors.conf", "--check", "crds.yaml"];
    let ran = image_swap_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join(CASES), &args, "");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    let found: Vec<_> = ran.stdout.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let to = |image: &str| format!("{image} -> harbor.example.org/m/{image}");
    assert_eq!(
        found,
        [
            format!("Rollout r a: {}", to("quay.io/team/a:1")),
            format!("Service k: {}", to("quay.io/team/a:1")),
            format!("Prometheus p spec/image: {}", to("quay.io/prometheus/prometheus:v3")),
            format!("Kafka p spec/kafka/image: {}", to("quay.io/strimzi/kafka:0.45")),
            format!("Task p s: {}", to("quay.io/a/b:1")),
            format!("WorkflowTemplate p: {}", to("quay.io/a/b:1")),
            format!(
                "VirtualMachine p spec/template/spec/volumes/containerDisk/image: {}",
                to("quay.io/containerdisks/fedora:42")
            ),
            format!("DeploymentConfig dc a: {}", to("quay.io/team/a:1")),
            format!("Cluster pg spec/imageName: {}", to("ghcr.io/cloudnative-pg/postgresql:17")),
        ]
    );
}

#[test]
fn unchanged_images_are_listed_and_counted() {
    let text = "apiVersion: example.org/v1\nkind: My\nspec: {image: org/app, other: docker.io/x}\n";
    for (args, code) in [(&[][..], 0), (&["--check"], 1)] {
        let ran = rewrite(args, text);
        assert_eq!(ran.code, code);
        assert_eq!(
            ran.stderr,
            "warning: -:3:15: \"org/app\" stays unchanged: the field is not known to hold an image; \
             --image-field 'example.org/My:spec/image' rewrites it\n\
             warning: -:3:31: \"docker.io/x\" stays unchanged: the field is not known to hold an \
             image; --image-field 'example.org/My:spec/other' rewrites it\n\
             warning: 2 images of declared registries in unknown fields\n"
        );
    }
    let fields =
        ["--image-field", "example.org/My:spec/image", "--image-field", "kind=My,path=spec/other"];
    let ran = rewrite(&fields, text);
    assert_eq!(ran.stderr, "");
    assert!(ran.stdout.contains("{image: h.example/d/org/app, other: h.example/d/library/x}"));
}

#[test]
fn files_without_a_manifest_are_named() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join(CASES);
    for (file, image) in
        [("compose.yaml", "\"nginx:1.27\""), ("values.yaml", "\"docker.io/bitnami/redis\"")]
    {
        let ran = image_swap_in(&cases, &["rewrite", "--map", "mirrors.conf", "--check", file], "");
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{file}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("{file}: no manifest found")), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("{image} stays")), "{}", ran.stderr);
    }
    let ran = rewrite(&["--check"], "# nothing\n---\n");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn texts_that_kubectl_reads_are_rewritten() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join(CASES);
    for file in ["comments.yaml", "quoted.yaml"] {
        let ran = image_swap_in(&cases, &["rewrite", "--map", "mirrors.conf", file], "");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let source = fs::read_to_string(cases.join(file)).unwrap();
        let mirrored = "image: harbor.example.org/m/docker.io/library/nginx";
        assert_eq!(ran.stdout, source.replace("image: nginx", mirrored));
    }
}

#[test]
fn placeholder_of_an_injector_stays_if_exempt() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join(CASES);
    let args = ["rewrite", "--map", "istio-auto.conf", "--check", "istio-gateway.yaml"];
    let ran = image_swap_in(&cases, &args, "");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
}

#[test]
fn directory_is_searched_for_manifests() {
    let directory = directory(&[("a.yaml", POD), ("c.txt", "{"), (".hidden.yaml", "{")]);
    fs::create_dir_all(directory.path().join("below/deep")).unwrap();
    fs::create_dir(directory.path().join(".git")).unwrap();
    fs::write(directory.path().join(".git/x.yaml"), "{").unwrap();
    fs::write(directory.path().join("below/deep/b.yml"), POD).unwrap();
    let ran = rewrite_in(directory.path(), &["--in-place", "."], "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let files: Vec<_> = ran.stdout.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(files, ["./a.yaml", "./below/deep/b.yml"]);
    for file in files {
        assert_eq!(fs::read_to_string(directory.path().join(file)).unwrap(), REWRITTEN);
    }
    fs::create_dir(directory.path().join("empty")).unwrap();
    let ran = rewrite_in(directory.path(), &["empty"], "");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("empty: the directory contains no file *.yaml"), "{}", ran.stderr);
}

#[test]
fn templates_of_a_chart_are_named() {
    let text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: {{ .Values.image }}\n";
    let ran = rewrite(&["--check"], text);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("-:5:12: Pod: \"{{ .Values.image }}\" stays"), "{}", ran.stderr);
    let ran = rewrite(&[], "{{- if .Values.x }}\nkind: Pod\n{{- end }}\n");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("helm template"), "{}", ran.stderr);
}

#[test]
fn exempt_images_stay_and_flags_change_the_list() {
    let pod = |owner: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, ownerReferences: [{owner}]}}\n\
             spec: {{containers: [{{name: istio-proxy, image: auto}}, {{name: a, image: nginx}}]}}\n"
        )
    };
    let cluster = pod("{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, name: pg, uid: '1'}");
    let database = pod("{apiVersion: example.org/v1, kind: Database, name: db, uid: '1'}");
    let ran = rewrite(&[], &cluster);
    assert_eq!((ran.code, ran.stdout), (0, cluster.clone()));
    let swapped = |text: &str| text.matches("h.example/d/library/").count();
    assert_eq!(swapped(&rewrite(&[], &database).stdout), 1);
    assert_eq!(swapped(&rewrite(&["--default-exemptions=false"], &cluster).stdout), 2);
    let own = ["--exempt-owners", "Database.example.org,Other.example.org"];
    assert_eq!(swapped(&rewrite(&own, &database).stdout), 0);
    assert_eq!(swapped(&rewrite(&["--exempt-images=a=nginx"], &database).stdout), 0);

    let ran = rewrite(&["--exempt-owners=Database"], &database);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    let expected = "expected an owner as KIND.GROUP, found 'Database'; write for example";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[test]
fn exempt_placeholder_is_noted_and_passes_the_check() {
    let file = "tests/it/cases/istio-gateway.yaml";
    let ran = crate::run::image_swap(&["rewrite", "--mirrors", MIRRORS, "--check", file]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let note = "images stay unchanged: placeholder that Istio replaces";
    assert!(ran.stderr.contains(note), "{}", ran.stderr);
}
