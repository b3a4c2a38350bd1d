//! Hosts that an earlier image-swap left: the present one finishes and restores them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Outcome,
    containerd_host::{ContainerdHost, PROGRAM, Ran, Tree, run, walk},
};

/// A file, or a directory without content, of a host.
type Entries = BTreeMap<String, (u32, Option<Vec<u8>>)>;

/// A host before and after a run of an earlier image-swap; see `hosts/README.md`.
#[derive(Default)]
struct EarlierHost {
    name: String,
    flags: Vec<String>,
    form: Vec<String>,
    declaration: Vec<u8>,
    before: Entries,
    after: Entries,
}

impl EarlierHost {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut host = Self { name, ..Self::default() };
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let mut content = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with(['|', 'x'])) {
                content.push(line);
            }
            let content: Vec<u8> = match content[..] {
                [hex] if hex.starts_with('x') => {
                    let digits = hex.as_bytes()[2..].chunks(2);
                    let digits = digits.map(|pair| std::str::from_utf8(pair).unwrap());
                    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
                }
                _ => content.iter().map(|line| &line[1..]).collect::<Vec<_>>().join("\n").into(),
            };
            let entry = || {
                let is_file = !words[1].ends_with('/');
                let mode = u32::from_str_radix(&words[2], 8).unwrap();
                (words[1].clone(), (mode, is_file.then(|| content.clone())))
            };
            match words[0].as_str() {
                "flags" => host.flags = words[1..].to_vec(),
                "form" => host.form = words[1..].to_vec(),
                "declaration" => host.declaration = content,
                "before" => host.before.extend([entry()]),
                "after" => host.after.extend([entry()]),
                "both" => {
                    host.before.extend([entry()]);
                    host.after.extend([entry()]);
                }
                other => unreachable!("{}: {other}", host.name),
            }
        }
        host
    }

    /// Returns the hosts whose names begin with one of `names`.
    fn all(names: &[&str]) -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/hosts");
        let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|end| end == "host")).collect();
        paths.sort();
        let hosts = paths.iter().map(|path| Self::read(path));
        hosts.filter(|host| names.iter().any(|name| host.name.starts_with(name))).collect()
    }

    /// Runs `image-swap node VERB` on the host whose `/` is `root`.
    fn node(&self, root: &Path, verb: &str, options: &[&str]) -> Ran {
        let mut command = Command::new(PROGRAM);
        command.args(["node", verb, "--output", "json", "--root"]).arg(root).args(&self.flags);
        if verb != "restore" {
            let declaration = root.with_extension("yaml");
            fs::write(&declaration, &self.declaration).unwrap();
            command.args(&self.form).arg("--registry-info").arg(declaration);
        }
        run({
            command.args(options);
            command
        })
    }
}

/// Writes `entries` below `root`.
fn write(root: &Path, entries: &Entries) {
    fs::create_dir_all(root).unwrap();
    for (path, (mode, content)) in entries {
        let path = root.join(path.trim_start_matches('/'));
        match content {
            None => fs::create_dir_all(&path).unwrap(),
            Some(content) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, content).unwrap();
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
}

/// Returns all files below `root`, by their paths below it.
fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    walk(root, &mut tree);
    let below = |(path, entry): (PathBuf, _)| (path.strip_prefix(root).unwrap().to_owned(), entry);
    tree.into_iter().map(below).collect()
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

// guarantee: 5a
#[test]
fn hosts_of_earlier_versions_are_recognised_and_restored() -> Outcome {
    let hosts = EarlierHost::all(&["containerd", "crio", "docker", "k3s", "podman", "rke2"]);
    assert_eq!(hosts.len(), 54);
    for host in hosts {
        let dir = tempfile::tempdir()?;
        let (root, before) = (dir.path().join("root"), dir.path().join("before"));
        write(&root, &host.after);
        write(&before, &host.before);
        let name = &host.name;
        let ran = host.node(&root, "status", &[]);
        let status = json(&ran);
        assert_eq!(status["form"], host.form[1], "{name}");
        assert_eq!(status["outcome"], "in-place", "{name}: {ran:?}");
        let files = status["files"].as_array().unwrap();
        assert!(!files.is_empty(), "{name}");
        assert!(files.iter().all(|file| file["state"] == "as-written"), "{name}: {files:?}");
        let ran = host.node(&root, "plan", &[]);
        assert_eq!((&json(&ran)["outcome"], ran.code), (&"in-place".into(), 0), "{name}: {ran:?}");
        let applied = tree(&root);
        let ran = host.node(&root, "apply", &["--no-check"]);
        assert_eq!((&json(&ran)["result"], ran.code), (&"in-place".into(), 0), "{name}: {ran:?}");
        assert_eq!(tree(&root), applied, "{name}");
        let ran = host.node(&root, "restore", &[]);
        assert_eq!((&json(&ran)["result"], ran.code), (&"restored".into(), 0), "{name}: {ran:?}");
        assert_eq!(tree(&root), tree(&before), "{name}");
    }
    Ok(())
}

#[test]
fn json_fields_of_node_verbs_stay() -> Outcome {
    let host = &EarlierHost::all(&["docker-01"])[0];
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root");
    write(&root, &host.after);
    let runtime = "{\"runtime\":\"docker\",\"version\":\"28.5.2\",";
    let hosts = "\"hosts\":[{\"host\":\"docker.io\",\"path\":\"/etc/docker/daemon.json\",\
                 \"state\":\"in-place\",\"urls\":[\"https://h.io/v2\",\
                 \"https://registry-1.docker.io/v2\"]}],\"inexpressible\":[],";
    let note = "\"notes\":[\"dockerd has no credentials of its own: log in with docker login\"]";
    let plan = format!(
        "{runtime}\"outcome\":\"in-place\",\"why\":null,\"steps\":[],{hosts}{note},\"diff\":\"\"}}\n"
    );
    assert_eq!(host.node(&root, "plan", &[]).stdout, plan);
    let apply = format!("{runtime}\"result\":\"in-place\",\"detail\":null,{hosts}{note}}}\n");
    assert_eq!(host.node(&root, "apply", &["--no-check"]).stdout, apply);
    let status = format!(
        "{runtime}\"socket\":\"/run/docker.sock\",\"cri\":\"not-asked\",\
         \"config\":\"/etc/docker/daemon.json\",\"form\":\"certs-d\",\
         \"files\":[{{\"path\":\"/etc/docker/daemon.json\",\"state\":\"as-written\"}}],\
         \"outcome\":\"in-place\",\"why\":null,{hosts}\"rolled_back\":null,\"interrupted\":false}}\n"
    );
    assert_eq!(host.node(&root, "status", &[]).stdout, status);
    Ok(())
}

// guarantee: 5c
#[test]
fn change_of_an_earlier_version_is_rolled_back() -> Outcome {
    for host in EarlierHost::all(&["killed-k3s", "rolled-back-k3s"]) {
        let dir = tempfile::tempdir()?;
        let (root, before) = (dir.path().join("root"), dir.path().join("before"));
        write(&root, &host.after);
        write(&before, &host.before);
        let status = json(&host.node(&root, "status", &[]));
        let killed = host.name.starts_with("killed");
        assert_eq!(status["interrupted"], killed);
        let text = "Everything was taken back, since it was told to end by SIGTERM: done";
        assert_eq!(status["rolled_back"].as_str(), (!killed).then_some(text));
        let ran = host.node(&root, "restore", &[]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(tree(&root), tree(&before), "{}", host.name);
        assert_eq!(json(&host.node(&root, "status", &[]))["interrupted"], false);
    }
    Ok(())
}

// guarantee: 5c
#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn restart_of_an_earlier_version_is_rolled_back() -> Outcome {
    let hosts = EarlierHost::all(&["killed-containerd"]);
    let stage = ContainerdHost::set()?;
    write(&stage.host.root(), &hosts[0].before);
    stage.start();
    let before = stage.tree();
    write(&stage.host.root(), &hosts[0].after);
    let ran = stage.node("status", &[]);
    assert!(ran.stdout.contains("interrupted"), "{ran:?}");
    let ran = stage.allowed("restore", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stage.tree(), before);
    stage.client()?.version()?;
    Ok(())
}
