//! Behaviour of real containerds with each form of configuration, compared with the table of
//! docs/nodes.md.

use std::fs;

use image_swap_lab::{Access, Answers, Daemon, HostOptions, LabHost, Server, Trust};
use image_swap_testbed::Containerd;

use crate::{
    Outcome,
    declared::{Declared, robot},
    images::{Named, SAMPLES},
    lab, parts,
    rendered::with_config_path,
};

const TABLE: &str = include_str!("../../../../docs/nodes.md");

/// One row of the table.
#[derive(Clone, Copy)]
struct TableRow {
    /// The row's first cell.
    name: &'static str,
    configured_by: ConfiguredBy,
    /// The responses of the mirror.
    answers: Answers,
    /// True if the mirror accepts only tokens.
    tokens: bool,
}

/// The configuration of containerd.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConfiguredBy {
    CertsD,
    Never,
    /// Fallback never, without the empty `[host]` at its end.
    WithoutHost,
    /// `config_path` is a list.
    List,
    Mirrors,
    Palette,
    MirrorsBesideConfigPath,
}

const fn row(name: &'static str, configured_by: ConfiguredBy) -> TableRow {
    TableRow { name, configured_by, answers: Answers::Serves, tokens: false }
}

const ROWS: [TableRow; 10] = [
    row("`certs.d`", ConfiguredBy::CertsD),
    TableRow {
        answers: Answers::Missing,
        ..row("`certs.d`; the mirror lacks the image", ConfiguredBy::CertsD)
    },
    TableRow {
        answers: Answers::Missing,
        ..row("the same with `--fallback never`", ConfiguredBy::Never)
    },
    TableRow {
        answers: Answers::Status(500),
        ..row("the same, and the mirror answers 500", ConfiguredBy::Never)
    },
    row("`--fallback never` without the empty `[host]` at its end", ConfiguredBy::WithoutHost),
    TableRow {
        tokens: true,
        ..row(
            "`certs.d`, credentials in a header, and a registry that takes tokens alone",
            ConfiguredBy::CertsD,
        )
    },
    row("`certs.d`, and a list `a:b` as `config_path`", ConfiguredBy::List),
    row("`config.toml`, endpoints as URLs", ConfiguredBy::Mirrors),
    row("`config.toml` as Palette's documentation shows it", ConfiguredBy::Palette),
    row("`config.toml`, and `config_path` beside it", ConfiguredBy::MirrorsBesideConfigPath),
];

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_behaves_as_documented_in_the_table() -> Outcome {
    let (runtimes, content) = lab()?;
    for containerd in &runtimes.containerds {
        let column = column(containerd).ok_or("docs/nodes.md lacks a column of this version")?;
        for row in ROWS {
            let host = LabHost::start(content)?;
            let seen = pull(&host, containerd, row);
            let start = format!("| {} |", row.name);
            let line = TABLE.lines().find(|line| line.starts_with(&start));
            assert!(line.is_some(), "docs/nodes.md: expected a row {start}");
            let line = line.unwrap_or_default();
            let cell = line.split('|').nth(column).unwrap_or_default().trim();
            assert_eq!(cell, seen, "{} on {}", row.name, containerd.version);
        }
    }
    Ok(())
}

/// Returns the column of a containerd in the table.
fn column(containerd: &Containerd) -> Option<usize> {
    let head = TABLE.lines().find(|line| line.starts_with("| configured by |"))?;
    let name = format!("containerd {}", containerd.minor());
    head.split('|').position(|cell| cell.trim() == name)
}

/// Pulls one image, and returns the servers that received a request.
fn pull(host: &LabHost, containerd: &Containerd, row: TableRow) -> String {
    let access = if row.tokens { Access::Bearer(robot()) } else { Access::Anonymous };
    let options = HostOptions { access, trust: Trust::Public };
    let declared = Declared::palette(host, &options);
    let mirror = host.mirror(&options).unwrap();
    mirror.set(row.answers);
    configure(host, containerd, row.configured_by, &declared);
    let mut daemon = Daemon::new(host, containerd).unwrap();
    if daemon.start().is_err() {
        return "CRI does not start".to_owned();
    }
    host.log().clear();
    let pulled = daemon.pull(&SAMPLES[5].reference(Named::Tag, parts()).unwrap());
    let mut servers: Vec<&str> = Vec::new();
    for request in host.log().requests().iter().filter(|request| request.is_pull()) {
        let name = match request.server {
            Server::Public => "public registry",
            Server::Mirror if request.path.starts_with("/v2/") => "mirror",
            _ => "mirror without `/v2`",
        };
        if !servers.contains(&name) {
            servers.push(name);
        }
    }
    let servers = servers.join(", then ");
    if pulled.is_ok() { servers } else { format!("{servers}; no pull") }
}

fn configure(
    host: &LabHost,
    containerd: &Containerd,
    configured_by: ConfiguredBy,
    declared: &Declared,
) {
    let config = "/etc/containerd/config.toml";
    let certs = "/etc/containerd/certs.d";
    let path = host.root().join(config.trim_start_matches('/'));
    let with_path = with_config_path(containerd);
    match configured_by {
        ConfiguredBy::CertsD | ConfiguredBy::List => {
            declared.render(host, "containerd", certs, &[]);
            let list = format!("{certs}:/etc/docker/certs.d");
            let with_path = if configured_by == ConfiguredBy::List {
                with_path.replace(certs, &list)
            } else {
                with_path
            };
            host.write(config, &with_path).unwrap();
        }
        ConfiguredBy::Never | ConfiguredBy::WithoutHost => {
            declared.render(host, "containerd", certs, &["--fallback", "never"]);
            host.write(config, &with_path).unwrap();
            if configured_by == ConfiguredBy::WithoutHost {
                let hosts = host.root().join("etc/containerd/certs.d/quay.io/hosts.toml");
                let text = fs::read_to_string(&hosts).unwrap();
                fs::write(&hosts, text.strip_suffix("\n[host]\n").unwrap()).unwrap();
            }
        }
        ConfiguredBy::Mirrors | ConfiguredBy::Palette | ConfiguredBy::MirrorsBesideConfigPath => {
            let endpoint = if configured_by == ConfiguredBy::Palette { "page" } else { "url" };
            declared.render(
                host,
                "containerd-mirrors",
                "/etc/containerd",
                &["--endpoint", endpoint],
            );
            let tables = fs::read_to_string(&path).unwrap();
            let beside = if configured_by == ConfiguredBy::MirrorsBesideConfigPath {
                format!(
                    "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{certs}\"\n"
                )
            } else {
                String::new()
            };
            fs::write(&path, format!("version = 2\n{beside}{tables}")).unwrap();
        }
    }
}
