//! A patch of a ClusterClass, which patches the templates of each cluster of the class.

use crate::render::cluster_api::{
    COMMANDS, MachineContent, MachineSetup, TemplateTarget, additions, component,
    yaml::{Yaml, map},
};

/// The variable of the ClusterClass: the name of the Secret; empty for machines without mirrors.
pub const VARIABLE: &str = "imageSwapSecret";
/// The name of the patch in the ClusterClass.
const PATCH: &str = "imageSwap";

/// A version of the APIs of Cluster API, which a ClusterClass names in its patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterApiVersion {
    /// `v1beta1`, up to Cluster API 1.10.
    Beta1,
    /// `v1beta2`, from Cluster API 1.11 on.
    #[default]
    Beta2,
}

/// A ClusterClass to patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassTarget {
    /// The name; `None` for all of them.
    pub name: Option<String>,
    /// True if the class has variables.
    pub has_variables: bool,
    /// True if the class has patches.
    pub has_patches: bool,
}

impl ClusterApiVersion {
    /// Returns the name of the version.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Beta1 => "v1beta1",
            Self::Beta2 => "v1beta2",
        }
    }
}

impl MachineSetup {
    /// Prints a component of kustomize that adds a variable and a patch to `class`. The patch adds
    /// the files of the Secret that the variable names to the `templates` of the class.
    pub fn cluster_class_component(
        &self,
        version: ClusterApiVersion,
        class: &ClassTarget,
        templates: &[TemplateTarget],
        secret: &str,
    ) -> String {
        let mut operations =
            additions("/spec/variables", vec![variable(secret)], class.has_variables);
        let patch = self.class_patch(version, templates);
        operations.extend(additions("/spec/patches", vec![patch], class.has_patches));
        let mut select =
            vec![("group", Yaml::text("cluster.x-k8s.io")), ("kind", Yaml::text("ClusterClass"))];
        select.extend(class.name.iter().map(|name| ("name", Yaml::text(name))));
        component([(select, operations)].into_iter())
    }

    /// Returns the patch of a ClusterClass for `templates`.
    fn class_patch(&self, version: ClusterApiVersion, templates: &[TemplateTarget]) -> Yaml {
        let definitions = templates.iter().map(|target| {
            let kind = target.kind;
            let resources = if kind.is_control_plane {
                map([("controlPlane", Yaml::Bool(true))])
            } else {
                // A pattern: every class of the ClusterClass.
                let all = || map([("names", Yaml::List(vec![Yaml::text("*")]))]);
                map([("machineDeploymentClass", all()), ("machinePoolClass", all())])
            };
            let api_version = [kind.group, "/", version.as_str()].concat();
            let selector = map([
                ("apiVersion", Yaml::text(&api_version)),
                ("kind", Yaml::text(kind.kind)),
                ("matchResources", resources),
            ]);
            let patches = Yaml::List(self.class_operations(target));
            map([("selector", selector), ("jsonPatches", patches)])
        });
        map([
            ("name", Yaml::text(PATCH)),
            ("enabledIf", Yaml::text(&format!("{{{{ if .{VARIABLE} }}}}true{{{{ end }}}}"))),
            ("definitions", Yaml::List(definitions.collect())),
        ])
    }

    /// Returns the operations for a template of the class. A file has the Secret that the
    /// variable names, which the Go template of the value inserts.
    fn class_operations(&self, target: &TemplateTarget) -> Vec<Yaml> {
        let reference = format!("{{{{ .{VARIABLE} }}}}");
        let keys = target.kind.keys.join("/");
        let mut operations = Vec::new();
        for (name, values) in self.lists(MachineContent::Secret(&reference)) {
            let path = format!("/{keys}/{name}");
            if name == COMMANDS {
                operations.extend(additions(&path, values, target.has_commands));
                continue;
            }
            let values = if target.has_files { values } else { vec![Yaml::List(values)] };
            let path = if target.has_files { [&path, "/-"].concat() } else { path };
            operations.extend(values.into_iter().map(|value| {
                map([
                    ("op", Yaml::text("add")),
                    ("path", Yaml::text(&path)),
                    ("valueFrom", map([("template", Yaml::text(&value.document()))])),
                ])
            }));
        }
        operations
    }
}

/// Returns the variable, whose default is `secret`.
fn variable(secret: &str) -> Yaml {
    let schema = map([
        ("type", Yaml::text("string")),
        ("default", Yaml::text(secret)),
        (
            "description",
            Yaml::text("Secret with the files of image-swap for new machines; empty for none."),
        ),
    ]);
    map([
        ("name", Yaml::text(VARIABLE)),
        ("required", Yaml::Bool(false)),
        ("schema", map([("openAPIV3Schema", schema)])),
    ])
}
