//! Texts of files on hosts.

/// Returns a `config.toml` of containerd, version 2, with `folders` as `config_path`: one directory
/// with files of registries, or several with `:` between them.
pub fn config_with_path(folders: &str) -> String {
    format!(
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{folders}\"\n"
    )
}
