//! A configuration that a second containerd can run with beside the first.
//!
//! Its source is the output of `containerd config dump`, which merges all imports and fills in
//! all defaults. Every path and address that two processes cannot share is moved or disabled.
//! Settings of CRI and registries are kept.

use std::path::Path;

use image_swap_text::toml::{Array, DocumentMut, Item, Table, TomlError, Value, value};

/// Snapshotters that need a device or a file system of their own. The trial
/// pulls nothing, so they need not be tried.
const SNAPSHOTTERS: [&str; 5] = ["blockfile", "btrfs", "devmapper", "erofs", "zfs"];

/// The private directory of a sandbox.
#[derive(Debug)]
pub(super) struct SandboxConfig {
    dir: String,
}

impl SandboxConfig {
    /// Returns a sandbox below the directory `dir`, as the runtime sees it.
    pub(super) fn new(dir: &str) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Returns the path of `name` in the directory.
    pub(super) fn path(&self, name: &str) -> String {
        [&self.dir, "/", name].concat()
    }

    /// Returns `dump` with every shared resource moved or turned off.
    pub(super) fn moved(&self, dump: &str) -> Result<String, TomlError> {
        let mut document: DocumentMut = dump.parse()?;
        let text = |document: &DocumentMut, key: &str| {
            document.get(key).and_then(Item::as_str).unwrap_or_default().to_owned()
        };
        let live = [text(&document, "root"), text(&document, "state")];
        self.table(document.as_table_mut(), &live, "");
        for (key, path) in [("root", "root"), ("state", "state"), ("temp", "")] {
            document[key] = value(if path.is_empty() { String::new() } else { self.path(path) });
        }
        document["imports"] = value(Array::new());
        document["oom_score"] = value(0);
        for key in ["proxy_plugins", "stream_processors"] {
            document.remove(key);
        }
        let disabled = document.entry("disabled_plugins").or_insert_with(|| value(Array::new()));
        if let Some(disabled) = disabled.as_array_mut() {
            disabled
                .extend(SNAPSHOTTERS.map(|name| ["io.containerd.snapshotter.v1.", name].concat()));
        }
        Ok(document.to_string())
    }

    /// Moves every value of the table `name`.
    fn table(&self, table: &mut Table, live: &[String; 2], name: &str) {
        // An NRI plugin or a server of metrics is one for the whole machine.
        if name == "io.containerd.nri.v1.nri" {
            table["disable"] = value(true);
        }
        for (key, item) in table.iter_mut() {
            let key = key.get().to_owned();
            match item {
                Item::Table(inner) => self.table(inner, live, &key),
                Item::ArrayOfTables(inner) => {
                    inner.iter_mut().for_each(|inner| self.table(inner, live, &key));
                }
                Item::Value(value) => self.value(&key, value, live, name),
                Item::None => {}
            }
        }
    }

    fn value(&self, key: &str, found: &mut Value, live: &[String; 2], table: &str) {
        match found {
            Value::InlineTable(inner) => {
                for (key, value) in inner.iter_mut() {
                    self.value(key.get(), value, live, table);
                }
            }
            Value::Array(array) if key != "config_path" => {
                array.iter_mut().for_each(|value| self.value("", value, live, table));
            }
            Value::String(text) => {
                let moved = self.text(key, text.value(), live, table);
                if let Some(moved) = moved {
                    *found = Value::from(moved);
                }
            }
            _ => {}
        }
    }

    /// Returns the replacement of `text`; `None` if it stays.
    fn text(&self, key: &str, text: &str, live: &[String; 2], table: &str) -> Option<String> {
        let is_server = matches!(table, "grpc" | "ttrpc" | "debug" | "metrics" | "cgroup")
            || table.starts_with("io.containerd.server.");
        // `io.containerd.server.v1.grpc-tcp` is disabled like other servers.
        let grpc = matches!(table, "grpc" | "io.containerd.server.v1.grpc");
        match key {
            "address" if grpc => Some(self.path("c.sock")),
            "address" | "tcp_address" | "path" if is_server => Some(String::new()),
            "snapshotter" if !text.is_empty() => Some("native".to_owned()),
            "stream_server_port" => Some("0".to_owned()),
            "root_path" => Some(String::new()),
            // Credentials, endpoints and the like are no paths of this machine.
            _ if !text.starts_with('/') => None,
            "path" if table == "io.containerd.internal.v1.opt" => Some(self.path("opt")),
            _ if Path::new(text).extension().is_some_and(|found| found == "sock") => {
                Some(self.path("other.sock"))
            }
            _ => live.iter().zip(["root", "state"]).find_map(|(live, own)| {
                let rest = text.strip_prefix(live.as_str()).filter(|_| !live.is_empty())?;
                (rest.is_empty() || rest.starts_with('/')).then(|| [&self.path(own), rest].concat())
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_places_are_moved_and_the_rest_stays() {
        let dump = r#"
disabled_plugins = ["a"]
imports = ["/etc/containerd/config.toml"]
oom_score = -999
root = "/var/lib/containerd"
state = "/run/containerd"
version = 2

[cgroup]
  path = "/containerd"

[debug]
  address = "/run/debug.sock"

[grpc]
  address = "/run/containerd/containerd.sock"
  tcp_address = "127.0.0.1:1"

[metrics]
  address = "127.0.0.1:1338"

[plugins]

  [plugins."io.containerd.grpc.v1.cri"]
    stream_server_port = "10010"

    [plugins."io.containerd.grpc.v1.cri".containerd]
      snapshotter = "zfs"

    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "/var/lib/containerd/certs.d"

  [plugins."io.containerd.nri.v1.nri"]
    disable = false
    socket_path = "/var/run/nri/nri.sock"

  [plugins."io.containerd.snapshotter.v1.overlayfs"]
    root_path = "/data"
    upper = "/var/lib/containerdx"

  [plugins."io.containerd.server.v1.grpc"]
    address = "/run/containerd/containerd.sock"

  [plugins."io.containerd.server.v1.grpc-tcp"]
    address = "127.0.0.1:1"

  [plugins."io.containerd.server.v1.metrics"]
    address = "0.0.0.0:9"

  [plugins."io.containerd.server.v1.ttrpc"]
    address = "/run/containerd/containerd.sock.ttrpc"

[proxy_plugins]
  [proxy_plugins.stargz]
    address = "/run/stargz.sock"
"#;
        let moved = SandboxConfig::new("/p").moved(dump).unwrap();
        let read: DocumentMut = moved.parse().unwrap();
        let plugins = &read["plugins"];
        for (found, expected) in [
            (&read["root"], "/p/root"),
            (&read["state"], "/p/state"),
            (&read["cgroup"]["path"], ""),
            (&read["debug"]["address"], ""),
            (&read["metrics"]["address"], ""),
            (&read["grpc"]["address"], "/p/c.sock"),
            (&read["grpc"]["tcp_address"], ""),
            (&plugins["io.containerd.grpc.v1.cri"]["stream_server_port"], "0"),
            (&plugins["io.containerd.grpc.v1.cri"]["containerd"]["snapshotter"], "native"),
            (&plugins["io.containerd.snapshotter.v1.overlayfs"]["root_path"], ""),
            (&plugins["io.containerd.snapshotter.v1.overlayfs"]["upper"], "/var/lib/containerdx"),
            (&plugins["io.containerd.server.v1.grpc"]["address"], "/p/c.sock"),
            (&plugins["io.containerd.server.v1.grpc-tcp"]["address"], ""),
            (&plugins["io.containerd.server.v1.metrics"]["address"], ""),
            (&plugins["io.containerd.server.v1.ttrpc"]["address"], ""),
            (&plugins["io.containerd.nri.v1.nri"]["socket_path"], "/p/other.sock"),
        ] {
            assert_eq!(found.as_str(), Some(expected), "{moved}");
        }
        assert_eq!(plugins["io.containerd.nri.v1.nri"]["disable"].as_bool(), Some(true));
        assert!(read.get("proxy_plugins").is_none());
        assert_eq!(read["disabled_plugins"].as_array().unwrap().len(), 6);
        assert_eq!(read["imports"].as_array().unwrap().len(), 0);
    }
}
