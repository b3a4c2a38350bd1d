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
struct Question {
    /// The row's first cell.
    row: &'static str,
    told: Told,
    /// The responses of the mirror.
    answers: Answers,
    /// True if the mirror accepts only tokens.
    tokens: bool,
}

/// The configuration of containerd.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
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

const fn question(row: &'static str, told: Told) -> Question {
    Question { row, told, answers: Answers::Serves, tokens: false }
}

const QUESTIONS: [Question; 10] = [
    question("`certs.d`", Told::CertsD),
    Question {
        answers: Answers::Missing,
        ..question("`certs.d`; the mirror lacks the image", Told::CertsD)
    },
    Question {
        answers: Answers::Missing,
        ..question("the same with `--fallback never`", Told::Never)
    },
    Question {
        answers: Answers::Status(500),
        ..question("the same, and the mirror answers 500", Told::Never)
    },
    question("`--fallback never` without the empty `[host]` at its end", Told::WithoutHost),
    Question {
        tokens: true,
        ..question(
            "`certs.d`, credentials in a header, and a registry that takes tokens alone",
            Told::CertsD,
        )
    },
    question("`certs.d`, and a list `a:b` as `config_path`", Told::List),
    question("`config.toml`, endpoints as URLs", Told::Mirrors),
    question("`config.toml` as Palette's documentation shows it", Told::Palette),
    question("`config.toml`, and `config_path` beside it", Told::MirrorsBesideConfigPath),
];

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn containerd_behaves_as_documented_in_the_table() -> Outcome {
    let (runtimes, content) = lab()?;
    for containerd in &runtimes.containerds {
        let column = column(containerd).ok_or("docs/nodes.md lacks a column of this version")?;
        for question in QUESTIONS {
            let host = LabHost::start(content)?;
            let seen = ask(&host, containerd, question);
            let row = format!("| {} |", question.row);
            let line = TABLE.lines().find(|line| line.starts_with(&row));
            assert!(line.is_some(), "docs/nodes.md: expected a row {row}");
            let line = line.unwrap_or_default();
            let cell = line.split('|').nth(column).unwrap_or_default().trim();
            assert_eq!(cell, seen, "{} on {}", question.row, containerd.version);
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
fn ask(host: &LabHost, containerd: &Containerd, question: Question) -> String {
    let access = if question.tokens { Access::Bearer(robot()) } else { Access::Anonymous };
    let options = HostOptions { access, trust: Trust::Public };
    let declared = Declared::palette(host, &options);
    let mirror = host.mirror(&options).unwrap();
    mirror.set(question.answers);
    tell(host, containerd, question.told, &declared);
    let mut daemon = Daemon::new(host, containerd).unwrap();
    if daemon.start().is_err() {
        return "CRI does not start".to_owned();
    }
    host.log().clear();
    let pulled = daemon.pull(&SAMPLES[5].reference(Named::Tag, parts()).unwrap());
    let mut asked: Vec<&str> = Vec::new();
    for request in host.log().requests().iter().filter(|request| request.is_pull()) {
        let name = match request.server {
            Server::Public => "public registry",
            Server::Mirror if request.path.starts_with("/v2/") => "mirror",
            _ => "mirror without `/v2`",
        };
        if !asked.contains(&name) {
            asked.push(name);
        }
    }
    let asked = asked.join(", then ");
    if pulled.is_ok() { asked } else { format!("{asked}; no pull") }
}

fn tell(host: &LabHost, containerd: &Containerd, told: Told, declared: &Declared) {
    let config = "/etc/containerd/config.toml";
    let certs = "/etc/containerd/certs.d";
    let path = host.root().join(config.trim_start_matches('/'));
    let with_path = with_config_path(containerd);
    match told {
        Told::CertsD | Told::List => {
            declared.render(host, "containerd", certs, &[]);
            let list = format!("{certs}:/etc/docker/certs.d");
            let with_path =
                if told == Told::List { with_path.replace(certs, &list) } else { with_path };
            host.write(config, &with_path).unwrap();
        }
        Told::Never | Told::WithoutHost => {
            declared.render(host, "containerd", certs, &["--fallback", "never"]);
            host.write(config, &with_path).unwrap();
            if told == Told::WithoutHost {
                let hosts = host.root().join("etc/containerd/certs.d/quay.io/hosts.toml");
                let text = fs::read_to_string(&hosts).unwrap();
                fs::write(&hosts, text.strip_suffix("\n[host]\n").unwrap()).unwrap();
            }
        }
        Told::Mirrors | Told::Palette | Told::MirrorsBesideConfigPath => {
            let endpoint = if told == Told::Palette { "page" } else { "url" };
            declared.render(
                host,
                "containerd-mirrors",
                "/etc/containerd",
                &["--endpoint", endpoint],
            );
            let tables = fs::read_to_string(&path).unwrap();
            let beside = if told == Told::MirrorsBesideConfigPath {
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
